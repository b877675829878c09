"""Videos and still pictures of heads that move."""
