"""Data sets: what there is, and clips in memory."""
