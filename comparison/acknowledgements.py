"""Load on bftnode whose report lists the silences between acknowledgements, for the kill of the primary.

`python -m comparison.acknowledgements CLIENT_HOME RATE SECONDS`: an open loop, as of `etcd_load.go -rate` for etcd, and
the same names in the report. One client with the library's defaults. At its end every operation that was acknowledged
is read back from every member that is up, each by its own word: what one of them lacks was lost.
"""

import itertools
import json
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import trio

from bftnode.apps import kv
from bftnode.client.client import Client, open_client
from bftnode.client.nonces import FileNonces
from bftnode.client.operations import application_operation
from bftnode.client.outcomes import OutcomeUnknown
from bftnode.node.home import Home
from bftnode.node.identity import load_seed
from bftnode.protocol.client_messages import NodeStatus
from bftnode.protocol.errors import Refused
from comparison.loads import VALUE_BYTES

SILENCE_MIN_S = 0.020
"""Shorter ones are not listed."""
PREFIX = b"kill/"
READ_BACK_S = 30.0
"""How long a member may take to have what is read back from it."""
POLL_S = 0.05


class Acknowledgements:
    """When each operation was acknowledged, by the wall clock, which the one who kills shares."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.keys: list[bytes] = []  # of what was acknowledged
        self.refused = 0
        self.unknown = 0

    async def ask(self, client: Client, key: bytes, value: bytes) -> None:
        try:
            result = await client.call(application_operation(kv.put(key, value)))
        except Refused:
            self.refused += 1
        except OutcomeUnknown:
            self.unknown += 1
        else:
            if result.code:
                self.refused += 1
            else:
                self.at.append(time.time())
                self.keys.append(key)


def silences(at: list[float]) -> list[tuple[float, float]]:
    """From one acknowledgement to the next, where that took long."""
    ordered = sorted(at)
    return [(one, following) for one, following in itertools.pairwise(ordered) if following - one >= SILENCE_MIN_S]


async def load(home: Home, rate: float, duration_s: float) -> tuple[Acknowledgements, dict[int, int]]:
    """Asks at an even pace, whatever became of what was asked before; all of it is waited for, then read back.

    What was seen, and how many of the acknowledged operations each member that is up lacks.
    """
    seen, value = Acknowledgements(), secrets.token_bytes(VALUE_BYTES)
    nonces = FileNonces(home.client_key_path.with_suffix(".nonces"))
    async with open_client(home.load_genesis(), load_seed(home.client_key_path), next_nonce=nonces) as client:
        await client.ready()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(round(rate * duration_s)):
                await trio.sleep_until(began + number / rate)
                nursery.start_soon(seen.ask, client, PREFIX + b"%d" % number, value)
        written = dict.fromkeys(seen.keys, value)
        return seen, await read_back(client, written)


async def read_back(client: Client, written: Mapping[bytes, bytes]) -> dict[int, int]:
    """Of each member that is up, how many of these keys it does not hold with their values.

    Not by agreement but by each member's own word, from a state in which all that was acknowledged before is to be: the
    one in which a barrier was executed. Raises Refused, trio.TooSlowError.
    """
    height = (await client.query(kv.get(PREFIX), "linearizable")).height
    lacking = {}
    for number, status in (await client.status_all()).items():
        if isinstance(status, NodeStatus):
            with trio.fail_after(READ_BACK_S):
                while True:
                    if (await client.query(kv.get(PREFIX), "local", number)).height >= height:
                        break
                    await trio.sleep(POLL_S)
                lacking[number] = missing(written, await _held(client, number))
    return lacking


async def _held(client: Client, number: int) -> dict[bytes, bytes]:
    """All that this member has under the prefix, page by page."""
    held: dict[bytes, bytes] = {}
    start: bytes | None = b""
    while start is not None:
        answer = await client.query(kv.scan(PREFIX, start, kv.PAGE_ENTRIES_MAX), "local", number)
        page = kv.open_result(answer.value)
        assert isinstance(page, kv.Page), "what a scan answers"
        held.update((entry.key, entry.value) for entry in page.entries)
        start = page.next
    return held


def missing(written: Mapping[bytes, bytes], held: Mapping[bytes, bytes]) -> int:
    """How many are absent, or have another value."""
    return sum(held.get(key) != value for key, value in written.items())


def main(path: str, rate: str, duration_s: str) -> None:
    seen, lacking = trio.run(load, Home(Path(path)), float(rate), float(duration_s))
    report = {
        "operations": len(seen.at),
        "refused": seen.refused,
        "outcome_unknown": seen.unknown,
        "silences": silences(seen.at),
        "last_acknowledged": max(seen.at, default=0.0),
        "read_back_from": len(lacking),
        "acknowledged_and_lost": max(lacking.values(), default=0),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
