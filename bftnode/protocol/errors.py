"""The one way in which input from outside is turned down: a reason that has a code.

`Refused` is raised by everything that reads bytes from a peer, a client or a file; whoever owns the
connection catches it, counts it by its code and goes on. It never means that this node is broken: a broken
belief of ours is an `AssertionError`, a broken disk is an `OSError`.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why something from outside was refused. The values are stable: counters, logs and replies carry them."""

    # codec (faults.md C01..C17)
    CODEC_SIZE = "codec.size"
    CODEC_MALFORMED = "codec.malformed"
    CODEC_TYPE = "codec.type"
    CODEC_NONCANONICAL = "codec.noncanonical"
    CODEC_UNKNOWN_KIND = "codec.unknown_kind"
    FRAME_LENGTH = "frame.len"

    # authentication and replay (R01..R17)
    AUTH_SIGNATURE = "auth.signature"
    AUTH_UNKNOWN_KEY = "auth.unknown_key"
    AUTH_WEAK_KEY = "auth.weak_key"
    ID_MISMATCH = "id.mismatch"
    REPLAY = "replay.dup"
    WRONG_CHAIN = "auth.wrong_chain"
    WRONG_EPOCH = "auth.wrong_epoch"

    # connections between replicas (W01..W15)
    TLS_NOT_TLS = "tls.not_tls"
    TLS_VERSION = "tls.version"
    TLS_EXPIRED = "tls.expired"
    TLS_UNTRUSTED = "tls.untrusted"
    TLS_NO_CERTIFICATE = "tls.nocert"
    TLS_FAILED = "tls.failed"
    CONN_DEADLINE = "conn.deadline"
    CONN_LOST = "conn.lost"
    CONN_UNREACHABLE = "conn.unreachable"
    CONN_EVICTED = "conn.evicted"
    ID_DUPLICATE = "id.duplicate"
    WRONG_VERSION = "handshake.version"
    PEER_BARRED = "peer.barred"

    # agreement (N, V, K)
    NOT_PRIMARY = "consensus.not_primary"
    OUT_OF_WINDOW = "future.drop"
    STALE = "consensus.stale"
    BAD_BLOCK = "block.invalid"
    BAD_BLOCK_SIZE = "batch.size"
    BAD_TIME = "time.reject"
    BAD_CERTIFICATE = "certificate.invalid"
    BAD_VIEW_CHANGE = "view_change.invalid"
    BAD_NEW_VIEW = "new_view.invalid"
    UNREQUESTED = "sync.unrequested"
    EQUIVOCATION = "evidence.equivocation"

    # transactions (A)
    TX_MALFORMED = "tx.malformed"
    TX_SIZE = "tx.size"
    TX_SIGNATURE = "tx.signature"
    TX_UNKNOWN_CLIENT = "tx.unknown_client"
    TX_NONCE_USED = "tx.nonce_used"
    TX_NONCE_OLD = "tx.nonce_too_old"
    TX_NONCE_FAR = "tx.nonce_too_far"
    TX_EXPIRED = "tx.expired"
    TX_DENIED = "tx.denied"
    TX_INVALID_OPERATION = "tx.invalid_operation"
    TX_RESULT_SIZE = "tx.result_size"
    BUSY = "busy"
    CLIENT_LIMIT = "client.limit"
    NOT_READY = "not_ready"
    DISK_FULL = "disk.full"

    # receipts, checkpoints and what signs them (docs/receipts.md)
    NOTE_MALFORMED = "note.malformed"
    NOTE_UNPROVED = "note.unproved"

    # sessions, storage, configuration
    HANDSHAKE = "handshake"
    UNEXPECTED = "unexpected_message"
    FOREIGN_DATA = "data.foreign"
    NEWER_DATA = "data.newer"
    OLDER_DATA = "data.older"
    DATA_LOCKED = "data.locked"
    INTEGRITY = "data.integrity"
    CONFIGURATION = "configuration"
    NOT_FOUND = "not_found"


DETAIL_CHARACTERS_MAX = 400
"""Of a refusal's words. What is longer is cut: a file or a library may have put somebody's megabyte into them."""


class Refused(Exception):
    """Input from outside that is turned down.

    `reason` is the stable code; `detail` is one sentence for people, made of our own words and of numbers,
    never of raw bytes that an attacker chose (faults.md A19).
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        if len(detail) > DETAIL_CHARACTERS_MAX:
            detail = detail[: DETAIL_CHARACTERS_MAX - 4] + " ..."
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
