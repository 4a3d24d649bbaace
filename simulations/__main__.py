"""`python -m simulations`: see campaign.py."""

import sys

from simulations.campaign import main

if __name__ == "__main__":
    sys.exit(main())
