"""Floor 1: the replica. A pure state machine: events in, effects out (docs/protocol.md).

No I/O, no clock, no randomness, no logging, no async: the daemon and the simulator run these files, byte for byte.
"""
