"""Data directories of a real member, copied along a short run: what the storage sets damage.

Four daemons under a small load of the log application, with private records and an erasure; one of them stands still
for a moment now and then, while its directory is copied, and is stopped in order at the end. That is a directory:

    genesis.toml     of the cluster
    images/N/        the member's data directory, as kill -9 at that moment would leave it; the last one as SIGTERM did

Keys and times differ, so two recordings do; a finding names the one that it was found in, which is kept.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import trio

from bftnode.apps import log
from bftnode.apps.execution import application_operation
from bftnode.node.home import load_genesis, write_new
from bftnode.protocol.commitments import commitment_of
from bftnode.protocol.genesis import Genesis, write_genesis
from bftnode.protocol.results import TransactionResult
from theatre.nights.night import failure_of
from theatre.nights.town import MEMBERS, Town, raised
from theatre.troupe import Failed

IMAGES = 6
ROUNDS_BETWEEN = 4
"""Of records, between two images: some blocks each."""

PRIVATE_EACH = 2
SUBJECT = 1
"""The member that is copied; a backup in the first view."""

DIRECTORY_VARIABLE = "BFTNODE_RECORDING"
"""Names the recording that is used, where a finding is to be shown again; where it is not set, one is made."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One that is there."""

    path: Path

    def genesis(self) -> Genesis:
        return load_genesis(self.path / "genesis.toml")

    @property
    def images(self) -> list[Path]:
        """In the order in which they were taken."""
        return sorted((self.path / "images").iterdir(), key=lambda path: int(path.name))


async def _record(path: Path) -> None:
    """Make one in `path`, which is empty. Takes some ten seconds. Raises Failed."""
    (path / "images").mkdir()
    async with raised(path / "town", "recording", "log", {}, 1) as town:
        client = town.clients[0]
        private: list[int] = []

        async def submit(operation: bytes) -> TransactionResult:
            result = await client.submit((application_operation(operation),))
            if result.code or any(one.code for one in result.results):
                raise Failed(f"a record was rejected: {result}")
            return result

        for image in range(IMAGES):
            for turn in range(ROUNDS_BETWEEN):
                async with trio.open_nursery() as nursery:
                    for size in (10, 300, 2000)[: 1 + turn % 3]:
                        nursery.start_soon(submit, log.append(b"%d/%d " % (image, turn) + bytes(size)))
            for number in range(PRIVATE_EACH):
                payload = b"private %d/%d" % (image, number)
                salt = sha256(payload).digest()
                done = await submit(log.commit(commitment_of(client.public_key, salt, payload)))
                answer = log.open_answer(done.results[0].value)
                if not isinstance(answer, log.Appended):
                    raise Failed("the answer is not one to a record")
                private.append(answer.index)
                said = await client.keep_payload(answer.index, salt, payload, min_height=done.seq)
                if any(refused is not None for refused in said.values()):
                    raise Failed(f"a payload is not kept: {said}")
            if image == 2:
                await submit(log.erase(private[0]))
            if image < IMAGES - 1:
                _copy(town, path / "images" / str(image))
        await town.equal()
        await town.troupe.stop(*range(MEMBERS))
        _copy(town, path / "images" / str(IMAGES - 1))
        write_new(path / "genesis.toml", write_genesis(town.troupe.genesis))
    shutil.rmtree(path / "town")


def _copy(town: Town, target: Path) -> None:
    """Of the subject's data; LMDB makes its lock file again."""
    town.troupe.copy_data(SUBJECT)
    shutil.copytree(town.troupe.image_path(SUBJECT), target, ignore=shutil.ignore_patterns("lock.mdb"))


@contextmanager
def recording() -> Iterator[Recording]:
    """The one that the environment names, or one that is made now and removed afterwards. Raises Failed."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    if named:
        yield Recording(Path(named))
        return
    path = Path(tempfile.mkdtemp(prefix="bftnode-recording-"))
    try:
        failed = trio.run(failure_of, partial(_record, path), strict_exception_groups=True)
        if failed is not None:
            raise failed
        yield Recording(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)
