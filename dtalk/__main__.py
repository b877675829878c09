"""``python -m dtalk`` is ``dtalk``."""

from dtalk.cli.app import main

main()
