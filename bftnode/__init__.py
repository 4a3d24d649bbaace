"""bftnode: a Byzantine fault-tolerant replicated log (PBFT over a hash chain)."""

__version__ = "0.1.0"
