"""Motion: 52 ARKit curves, their files, and idle motion."""
