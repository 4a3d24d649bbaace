"""`python -m nights`, or `./scripts/night`: see night.py."""

import sys

from nights.night import main

if __name__ == "__main__":
    sys.exit(main())
