"""Real nights: sets of numbered units (simulations/work.py) on daemons that are killed and disks that lie.

`python -m theatre SET A..B` plays units of one; docs/decisions/026 says what each asks.
"""
