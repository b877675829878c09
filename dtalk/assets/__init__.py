"""The built-in head, which ships with dtalk."""
