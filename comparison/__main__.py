"""`python -m comparison`: see command.py."""

import sys

from comparison.command import main

if __name__ == "__main__":
    sys.exit(main())
