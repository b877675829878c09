"""``python -m dtalk`` is ``dtalk``."""

from dtalk.cli import main

main()
