"""Data sets: indices of clips, and clips in memory."""
