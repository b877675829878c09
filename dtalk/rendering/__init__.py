"""Frames of a head."""
