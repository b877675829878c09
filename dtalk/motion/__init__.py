"""Motion: 52 ARKit curves, their files and what moves by itself."""
