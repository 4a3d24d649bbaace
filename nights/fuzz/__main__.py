"""`python -m nights.fuzz`: see command.py."""

import sys

from nights.fuzz.command import main

if __name__ == "__main__":
    sys.exit(main())
