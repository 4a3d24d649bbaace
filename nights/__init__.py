"""Campaigns: sets of numbered units (simulations/work.py), played in tasks, written down and continued."""
