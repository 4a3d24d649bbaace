"""The roof: the command line. It parses, delegates to the floors below, and prints; nothing is decided here.

Data goes to standard output, progress and notes to standard error. Exit codes and the one form of an error are
errors.py's. docs/operations.md, "Command line".
"""

from typing import NoReturn


def main() -> NoReturn:
    """The console script."""
    from bftnode.cli.root import cli  # noqa: PLC0415  # so that importing this package costs nothing

    cli.main()
    raise AssertionError("click's main ends the process")
