"""Damaged and hostile files, made of good ones, for every reader of dtalk."""
