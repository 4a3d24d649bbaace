"""One damaged data directory: opened as a daemon opens it, asked everything, compared with what it was.

    unaffected    every answer is the true one, and so it is after more was written; the damage is still there, in what
                  nothing refers to
    repaired      every answer is the true one, and the damage is gone
    refused       it is not opened, or an answer is not given; in words, with what the operator can do (cli/errors.py)
    kept by none  a payload of a private record is not shown: other members have it

Anything else is a finding: another answer than the true one, an error that tells nobody what to do, a death.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from bftnode.apps import log
from bftnode.apps.execution import Executor, Scoped
from bftnode.apps.log import Records
from bftnode.apps.registry import load_application
from bftnode.cli.errors import complaint_of
from bftnode.node.keeper import Keeper
from bftnode.protocol.ed25519 import signer, verify
from bftnode.protocol.errors import Refused
from bftnode.protocol.transactions import open_transaction
from bftnode.replica.core import Replica
from bftnode.replica.events import Now
from bftnode.storage.directory import LMDB_NAME, PAYLOADS_NAME, VERSION_NAME, identity_of
from bftnode.storage.environment import DATA_NAME
from bftnode.storage.errors import DiskFull, StorageBroken
from bftnode.storage.payloads import Payloads
from bftnode.storage.store import Storage, Turn
from theatre.nights.recording import Recording
from theatre.nights.town import MAP_BYTES

UNAFFECTED, REPAIRED, REFUSED, KEPT_BY_NONE = "unaffected", "repaired", "refused", "kept by none"
WRONG, UNTOLD, DIED = "wrong answer", "untold", "died"
GOOD = (UNAFFECTED, REPAIRED, REFUSED, KEPT_BY_NONE)

PAYLOAD_BYTES_MAX = 1024 * 1024
SCAN_MAX = 100_000
WRITTEN = {"night": b"written after the damage"}


class Verdict(NamedTuple):
    """What became of one case."""

    kind: str
    detail: str


Answers = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes of one file of an image. `used`: how many of them mean something."""

    name: str
    size: int
    used: int


class Examiner:
    """Of one recording; works in `room`, where there is place for one data directory."""

    def __init__(self, recording: Recording, room: Path) -> None:
        self._room = room
        self._images = recording.images
        genesis = recording.genesis()
        self._membership = genesis.membership()
        self._executor = Executor(
            load_application(genesis.application),
            genesis.administrator_keys(),
            self._membership.parameters.clients_max,
        )
        self._member = identity_of(self._images[0]).member
        self._truths: dict[int, Answers] = {}
        self._places: dict[int, list[Place]] = {}

    def truth(self, image: int) -> Answers:
        """What the undamaged image says."""
        if image not in self._truths:
            data = self._copied(image)
            self._truths[image] = self._answers(data)
        return self._truths[image]

    def places(self, image: int) -> list[Place]:
        """The files of an image, the data file first."""
        if image not in self._places:
            root, found = self._images[image], list[Place]()
            for path in sorted(path for path in root.rglob("*") if path.is_file()):
                size = used = path.stat().st_size
                if path.name == DATA_NAME:
                    with self._opened(self._copied(image)) as storage:
                        used = storage.statistics()["used_bytes"]
                if size:
                    found.append(Place(str(path.relative_to(root)), size, used))
            self._places[image] = sorted(found, key=lambda place: (not place.name.endswith(DATA_NAME), place.name))
        return self._places[image]

    def draw_image(self, dice: Random) -> int:
        return dice.randrange(len(self._images))

    def examine(self, image: int, damage: Callable[[Path], None], still_there: Callable[[Path], bool]) -> Verdict:
        """Of a copy of this image after `damage`. Raises nothing that a disk can bring about."""
        truth, data = self.truth(image), self._copied(image)
        damage(data)
        try:
            found = self._answers(data)
        except Exception as error:  # judged by what it says, whatever it is
            return _told(error)
        if found != truth:
            name = next(name for name in (*truth, *found) if found.get(name) != truth.get(name))
            if name.startswith("payload") and found.get(name) is None:
                return Verdict(KEPT_BY_NONE, name)
            return Verdict(WRONG, f"{name}: {str(found.get(name))[:80]} and not {str(truth.get(name))[:80]}")
        return Verdict(UNAFFECTED if still_there(data) else REPAIRED, "")

    def _copied(self, image: int) -> Path:
        data = self._room / "data"
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(self._images[image], data)
        return data

    def _answers(self, data: Path) -> Answers:
        """All that it says; again after some writes, which it has to say too. Raises what the disk brings about."""
        with self._opened(data) as storage:
            answers = self._ask(storage, data)
            storage.commit(Turn(WRITTEN))
            storage.flush()
        with self._opened(data) as storage:
            again = self._ask(storage, data)
        assert again["journal"] == answers["journal"] | WRITTEN, "what was written is there"
        again["journal"] = answers["journal"]
        for name, answer in again.items():
            if answer != answers[name]:
                return {**answers, f"{name}, when more was written": answer}
        return answers

    @contextmanager
    def _opened(self, data: Path) -> Iterator[Storage]:
        storage = Storage.open(
            data, self._membership, self._member, self._executor, map_bytes_initial=min(MAP_BYTES, 256 * 1024)
        )
        try:
            yield storage
        finally:
            storage.close()

    def _ask(self, storage: Storage, data: Path) -> Answers:
        past = storage.recover()
        Replica(
            self._membership,
            self._member,
            signer(bytes(32)),
            verify,
            lambda raw: open_transaction(raw, self._membership.chain_id),
            past,
            Now(0, 0),
        )
        answers: Answers = {
            "head": past.head.hash,
            "frontier": past.frontier.peaks,
            "certificate": past.certificate,
            "journal": past.journal,
            "blocks": list(past.blocks),
            "clients": {key: (window.role, window.highest, window.used) for key, window in past.clients.items()},
            "run": storage.read_run(1, 1000),
            "checkpoint": storage.checkpoint(None),
        }
        entries = storage.entries(0, 1000)
        answers["entries"] = entries
        for entry in entries:
            transaction = open_transaction(entry.envelope, self._membership.chain_id)
            answers[f"receipt {entry.log_index}"] = storage.receipt(entry.log_index)
            answers[f"place {entry.log_index}"] = storage.find_transaction(transaction.id)
            answers[f"result {entry.log_index}"] = storage.result_of(*transaction.key)
        for seq in range(past.head.seq + 1):
            answers[f"block {seq}"] = storage.block_at(seq)
        with storage.reading() as view:
            answers["state"] = view.state.scan(b"", None, SCAN_MAX)
        self._ask_for_payloads(storage, data, answers)
        storage.check_state()
        return answers

    def _ask_for_payloads(self, storage: Storage, data: Path, answers: Answers) -> None:
        application = self._executor.application
        assert isinstance(application, Records), "what was recorded"

        def query(query: bytes) -> bytes:
            with storage.reading() as view:
                return application.query(Scoped(view.state), query)

        payloads = Payloads(data / PAYLOADS_NAME, PAYLOAD_BYTES_MAX)
        keeper = Keeper(payloads, query)
        keeper.carry_out()
        answers["erasures carried out"] = payloads.erasures
        index = 0
        while True:
            found = log.open_answer(query(log.read(index)))
            assert isinstance(found, log.Found), "the application answers what it is asked"
            if found.record is None:
                break
            if not isinstance(found.record.data, bytes):
                try:
                    answers[f"payload {index}"] = keeper.read(index)
                except Refused:
                    answers[f"payload {index}"] = None
                answers[f"file of payload {index}"] = payloads.get(index) is not None
            index += 1


def _told(error: Exception) -> Verdict:
    complaint = complaint_of(error)
    if isinstance(error, StorageBroken | DiskFull | Refused) and complaint.code != "internal" and complaint.hint:
        return Verdict(REFUSED, complaint.message)
    return Verdict(UNTOLD, f"{complaint.code}: {complaint.message}")


# ---- the damage, each by its unit


class Case(NamedTuple):
    """One image, and what is done to a copy of it."""

    image: int
    damage: Callable[[Path], None]
    still_there: Callable[[Path], bool]
    words: str


META_BYTES = 8192
META_MEANT_BYTES = 16 + 136  # of each of the two pages: the rest of them is never read
PAGE_BYTES = 4096


def _drawn_place(dice: Random, places: list[Place]) -> Place:
    """Mostly the data file; else one of the others: payloads, what is erased, VERSION."""
    return places[0] if len(places) == 1 or dice.random() < 0.9 else dice.choice(places[1:])


def flipped(examiner: Examiner, unit: int) -> Case:
    """One bit: of every twenty, one in LMDB's two meta pages, one anywhere in the file, sixteen in its used pages, two
    in another file."""
    dice = Random(f"bitflips/{unit}")
    image = examiner.draw_image(dice)
    place = _drawn_place(dice, examiner.places(image))
    at = dice.randrange(place.used)
    if place.name.endswith(DATA_NAME):
        kind = dice.random()
        if kind < 1 / 18:
            at = dice.randrange(2) * PAGE_BYTES + dice.randrange(META_MEANT_BYTES)
        elif kind < 2 / 18:
            at = dice.randrange(place.size)
        else:
            at = dice.randrange(META_BYTES, place.used)
    bit = dice.randrange(8)

    def damage(data: Path) -> None:
        with open(data / place.name, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes((byte ^ 1 << bit,)))
        damaged.append(_bytes_at(data / place.name, at, 1))

    damaged: list[bytes] = []
    return Case(
        image,
        damage,
        lambda data: _bytes_at(data / place.name, at, 1) == damaged[-1],
        f"bit {bit} of byte {at} of {place.name} of image {image}",
    )


def truncated(examiner: Examiner, unit: int) -> Case:
    """A file is as short as drawn: at any byte or at a page's end."""
    dice = Random(f"truncations/{unit}")
    image = examiner.draw_image(dice)
    place = _drawn_place(dice, examiner.places(image))
    size = dice.randrange(place.used if dice.random() < 0.9 else place.size)
    if dice.random() < 1 / 3:
        size -= size % PAGE_BYTES

    def damage(data: Path) -> None:
        with open(data / place.name, "r+b") as file:
            file.truncate(size)

    return Case(
        image,
        damage,
        lambda data: (data / place.name).stat().st_size == size,
        f"{place.name} of image {image} cut to {size} of {place.size} bytes",
    )


def zeroed(examiner: Examiner, unit: int) -> Case:
    """A page of the data file, or what there is of it in another one, is zeros: each page in turn, image by image."""
    dice = Random(f"zeroed/{unit}")
    image = examiner.draw_image(dice)
    place = _drawn_place(dice, examiner.places(image))
    page = dice.randrange(-(-place.used // PAGE_BYTES))
    size = min(PAGE_BYTES, place.size - page * PAGE_BYTES)

    def damage(data: Path) -> None:
        with open(data / place.name, "r+b") as file:
            file.seek(page * PAGE_BYTES)
            file.write(bytes(size))

    return Case(
        image,
        damage,
        lambda data: _bytes_at(data / place.name, page * PAGE_BYTES, size) == bytes(size),
        f"page {page} of {place.name} of image {image} zeroed",
    )


def _bytes_at(path: Path, at: int, size: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(at)
            return file.read(size)
    except FileNotFoundError:
        return b""


CASES: dict[str, Callable[[Examiner, int], Case]] = {"bitflips": flipped, "truncations": truncated, "zeroed": zeroed}
VERSION = VERSION_NAME
DATA = f"{LMDB_NAME}/{DATA_NAME}"
