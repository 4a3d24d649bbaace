"""`python -m simulations`: see command.py."""

import sys

from simulations.command import main

if __name__ == "__main__":
    sys.exit(main())
