"""`python -m bftnode` is `bftnode`."""

from bftnode.cli import main

if __name__ == "__main__":
    main()
