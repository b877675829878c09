"""Layers of the networks that know nothing of speech or faces."""
