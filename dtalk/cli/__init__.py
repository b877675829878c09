"""The command line; ``dtalk.cli:main`` is the program."""

from dtalk.cli.app import main as main
