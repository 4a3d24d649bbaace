"""What ends a comparison."""


class Failed(Exception):
    """Something cannot be measured here; a sentence, and what to do where there is something to do."""
