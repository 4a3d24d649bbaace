"""Directed schedules: for what dice hardly find, and for what must be shown by name. Each file says what it attacks.

`play` raises Violation where a property does not hold, and AssertionError where the scenario is not what it says.
"""
