"""Transfer of the built-in head's shapes to other meshes."""
