"""Videos and still pictures of rendered heads."""
