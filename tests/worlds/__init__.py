"""Finite sets of small worlds, and mutation: slices of them, and bugs that each finds."""
