"""Floor 0: the words of the protocol and their bytes. Pure: no I/O, no clock, no randomness.

If two replicas must agree on it, it lives here. docs/protocol.md is the specification.
"""
