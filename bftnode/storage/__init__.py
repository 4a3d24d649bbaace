"""Floor 2: what survives a crash. One LMDB environment holds the journal, the log and the application's state.

`store.Storage` is the door; `verify.verify_log` walks a log offline. One thread commits, any thread reads. It
implements docs/protocol.md, "What must survive a crash".
"""
