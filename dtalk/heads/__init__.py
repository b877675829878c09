"""Heads that the 52 coefficients deform."""
