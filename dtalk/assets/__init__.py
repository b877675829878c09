"""Files that ship with dtalk: the built-in head, and the script that builds it."""
