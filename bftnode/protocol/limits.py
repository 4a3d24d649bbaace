"""Sizes on the wire that every replica shares. What may differ between clusters is in genesis.Parameters."""

FRAME_BYTES_MAX = 16 * 1024 * 1024
"""A peer frame. A run of catch-up blocks is at most RUN_BYTES_TARGET and one uncertified window more; a longer
declared length closes the connection before anything is allocated."""

RUN_BYTES_TARGET = 2 * 1024 * 1024
"""A catch-up answer stops at the last certified block within this size, or the first one past it. So much is read in
some ten milliseconds, and executed in some eighty: what one costs beside (q signatures, a synced write) is little, and
nobody waits long for the end of one."""

RUN_BLOCKS_MAX = 256
"""The same for their number."""

BODY_BYTES_MAX = 1024 * 1024
"""The signed part of a frame. The largest, a NEW-VIEW of 64 members, is about 43 * (43 * 90 + 300) = 180 kB."""

EVIDENCE_BYTES_MAX = BODY_BYTES_MAX // 2
"""One of the two frames of an accusation. All that a correct member installs or answers is far below it; a longer frame
is a liar's junk, and a contradiction with it is not told: nobody could take it in."""

EVIDENCE_HEADERS_MAX = 512
"""Headers in an accusation of two votes on two branches, twice a catch-up run: some 110 kB, 264 kB at most. Votes that
are further apart are no evidence; with a commit certificate from between there is a nearer pair."""

FORK_HEADERS_MAX = 512
"""Headers in a proof of a fork, at most 256 kB: more than a catch-up run or the tree above a log holds. Where two
certificates are further apart no proof is made of them; certificates in between will do."""

TRANSACTION_BYTES_MAX = 256 * 1024
"""One client envelope; larger ones are rejected before anything else is looked at."""

OPERATIONS_MAX = 4096
"""Operations in one envelope."""

RESULT_BYTES_MAX = 64 * 1024
"""The result of one operation; an application's longer result is replaced by an error."""

RESULTS_BYTES_MAX = 256 * 1024
"""The results of one envelope together: an operation whose result would exceed it is refused and undone. They are
kept in replicated state, and 4096 operations of 64 KiB each would otherwise be a 256 MiB entry."""

NONCE_WINDOW = 4096
"""How far below a client's highest nonce an unused one is still accepted (and results are kept)."""

NONCE_JUMP_MAX = 65_536
"""How far above a client's highest nonce the next one may be."""

REPLAY_WINDOW = 4096
"""How far below a peer's highest frame counter a late one is still accepted."""
