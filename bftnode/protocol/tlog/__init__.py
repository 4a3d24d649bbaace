"""The transparency-log formats of C2SP: what lets other people's tools check this log (docs/receipts.md).

Pure words and bytes: signed notes, checkpoints, cosignatures, proofs, policies and tiles, after the documents of the
same names in https://github.com/C2SP/C2SP. Who signs, keeps and serves them is decided elsewhere.
"""
