"""Which target a unit plays: by turns, each as often as its share says. Known without bftnode."""

SHARES = {"framing": 1, "frames": 4, "greetings": 1, "envelopes": 2, "requests": 2, "answers": 2}

SCHEDULE = [name for turn in range(max(SHARES.values())) for name, share in SHARES.items() if turn < share]
