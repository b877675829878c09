"""Neural layers that know nothing of speech or faces."""
