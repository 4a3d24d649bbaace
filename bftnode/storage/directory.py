"""The data directory: VERSION, LOCK, lmdb/ and payloads/, and the questions that are asked before LMDB is opened.

VERSION is text for people and for older and newer binaries (faults.md D09, D19); the identity inside LMDB is the
one that counts, and the two must agree. LOCK is flocked as long as a node lives (D10); the kernel lets it go
whatever way the process ends. What is written in it is the matter of metas.py.
"""

import fcntl
import os
import tomllib
from pathlib import Path

from bftnode.protocol.errors import Reason, Refused
from bftnode.storage.records import SCHEMA, Identity

VERSION_NAME = "VERSION"
LOCK_NAME = "LOCK"
LMDB_NAME = "lmdb"
PAYLOADS_NAME = "payloads"
RECORDING_NAME = "recording"
_EXPECTED = frozenset({VERSION_NAME, LOCK_NAME, LMDB_NAME, PAYLOADS_NAME, RECORDING_NAME, "lost+found"})
"""The last one is what a file system of its own has at its root."""

VERSION_BYTES_MAX = 4096
"""A longer VERSION is not one of ours."""


def lock_directory(path: Path, *, shared: bool = False) -> int:
    """The descriptor of the locked LOCK file; closing it lets go. Raises Refused(DATA_LOCKED)."""
    mode = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path / LOCK_NAME, mode | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Refused(Reason.DATA_LOCKED, f"another process uses {path}") from None
    return descriptor


def create_directory(path: Path) -> None:
    """Make the data directory, private, where there is none; a directory of something else is refused.

    Raises Refused(FOREIGN_DATA).
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    strangers = any(entry.name not in _EXPECTED for entry in path.iterdir())
    if strangers and not (path / VERSION_NAME).exists():
        raise Refused(Reason.FOREIGN_DATA, f"{path} holds other files and is not a data directory")
    (path / LMDB_NAME).mkdir(mode=0o700, exist_ok=True)


def write_version(path: Path, identity: Identity) -> None:
    """Write VERSION durably, whole or not at all."""
    text = (
        "# A bftnode data directory. Do not edit; docs/operations.md says what may be copied and when.\n"
        f"schema = {identity.schema}\n"
        f'chain_id = "{identity.chain_id.hex()}"\n'
        f"member = {identity.member}\n"
        f'public_key = "{identity.public_key.hex()}"\n'
    )
    temporary = path / f"{LMDB_NAME}/VERSION.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path / VERSION_NAME)
    for directory in (path / LMDB_NAME, path, path.parent):
        sync_directory(directory)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable; LMDB only does so for contents."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def identity_of(path: Path) -> Identity:
    """Whose data directory this is, from VERSION alone: nothing is locked or opened for writing.

    Raises Refused(NOT_FOUND | NEWER_DATA | OLDER_DATA | FOREIGN_DATA).
    """
    try:
        with open(path / VERSION_NAME, "rb") as file:
            raw = file.read(VERSION_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise Refused(Reason.NOT_FOUND, f"no data directory at {path}") from None
    try:
        if len(raw) > VERSION_BYTES_MAX:
            raise ValueError
        fields = tomllib.loads(raw.decode())
        schema = fields["schema"]
        if type(schema) is not int or schema < 1:
            raise ValueError
        _check_schema(schema, str(path))
        member = fields["member"]
        chain_id, public_key = bytes.fromhex(fields["chain_id"]), bytes.fromhex(fields["public_key"])
        if type(member) is not int or not 0 <= member <= 255 or len(chain_id) != 32 or len(public_key) != 32:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused(Reason.FOREIGN_DATA, f"{path / VERSION_NAME} is not one of ours") from None
    return Identity(schema, chain_id, member, public_key)


def check_identity(found: Identity, expected: Identity) -> None:
    """Raises Refused(NEWER_DATA | OLDER_DATA | FOREIGN_DATA) unless the data are this node's."""
    _check_schema(found.schema, "the data")
    if found.chain_id != expected.chain_id:
        raise Refused(Reason.FOREIGN_DATA, f"data of the cluster {found.chain_id.hex()[:16]}")
    if (found.member, found.public_key) != (expected.member, expected.public_key):
        raise Refused(Reason.FOREIGN_DATA, f"data of member {found.member} (key {found.public_key.hex()[:16]})")


def _check_schema(schema: int, whose: str) -> None:
    if schema != SCHEMA:
        reason = Reason.NEWER_DATA if schema > SCHEMA else Reason.OLDER_DATA
        raise Refused(reason, f"{whose} of schema {schema}, this version of bftnode knows {SCHEMA}")
