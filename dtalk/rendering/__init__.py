"""Rendering: frames of a head."""
