"""Which target a unit plays: by turns, each as often as its share says. Known without bftnode."""

SHARES = {
    "framing": 6,
    "frames": 24,
    "greetings": 10,
    "envelopes": 20,
    "requests": 32,
    "answers": 28,
    "receipts": 4,
    "policies": 3,
    "checkpoints": 6,
    "tiles": 16,
    "witness": 8,
    "genesis": 2,
    "config": 1,
    "small-files": 3,
    "bundles": 4,
    "forensics": 4,
    "records": 28,
    "http": 1,
}
"""Of 200 units: most go to what anybody on the network may send; what takes milliseconds (files, HTTP) gets few."""

SCHEDULE = [name for turn in range(max(SHARES.values())) for name, share in SHARES.items() if turn < share]
