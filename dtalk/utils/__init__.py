"""Files, jobs, devices and pickles."""
