"""Which target a unit plays: by turns, each as often as its share says. Known without bftnode."""

SHARES = {
    "framing": 2,
    "frames": 8,
    "greetings": 2,
    "envelopes": 4,
    "requests": 5,
    "answers": 5,
    "receipts": 2,
    "policies": 1,
    "checkpoints": 2,
    "tiles": 3,
    "witness": 2,
    "genesis": 1,
    "config": 1,
    "small-files": 2,
    "bundles": 2,
    "forensics": 2,
    "records": 5,
    "http": 1,
}
"""Of 50 units: most go to what anybody on the network may send; what takes long (a genesis, HTTP) gets few."""

SCHEDULE = [name for turn in range(max(SHARES.values())) for name, share in SHARES.items() if turn < share]
