"""Load on bftnode whose report lists the silences between acknowledgements, for the kill of the primary.

`python -m comparison.acknowledgements CLIENT_HOME RATE SECONDS`: an open loop, as of `etcd_load.go -rate` for etcd, and
the same names in the report. One client with the library's defaults.
"""

import itertools
import json
import secrets
import sys
import time
from pathlib import Path

import trio

from bftnode.apps import kv
from bftnode.client.client import Client, open_client
from bftnode.client.nonces import FileNonces
from bftnode.client.operations import application_operation
from bftnode.client.outcomes import OutcomeUnknown
from bftnode.node.home import Home
from bftnode.node.identity import load_seed
from bftnode.protocol.errors import Refused
from comparison.loads import VALUE_BYTES

SILENCE_MIN_S = 0.020
"""Shorter ones are not listed."""


class Acknowledgements:
    """When each operation was acknowledged, by the wall clock, which the one who kills shares."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.refused = 0
        self.unknown = 0

    async def ask(self, client: Client, operation: bytes) -> None:
        try:
            result = await client.call(operation)
        except Refused:
            self.refused += 1
        except OutcomeUnknown:
            self.unknown += 1
        else:
            self.refused += bool(result.code)
            self.at.append(time.time())


def silences(at: list[float]) -> list[tuple[float, float]]:
    """From one acknowledgement to the next, where that took long."""
    ordered = sorted(at)
    return [(one, following) for one, following in itertools.pairwise(ordered) if following - one >= SILENCE_MIN_S]


async def load(home: Home, rate: float, duration_s: float) -> Acknowledgements:
    """Asks at an even pace, whatever became of what was asked before; all of it is waited for."""
    seen, value = Acknowledgements(), secrets.token_bytes(VALUE_BYTES)
    nonces = FileNonces(home.client_key_path.with_suffix(".nonces"))
    async with open_client(home.load_genesis(), load_seed(home.client_key_path), next_nonce=nonces) as client:
        await client.ready()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(round(rate * duration_s)):
                await trio.sleep_until(began + number / rate)
                operation = application_operation(kv.put(b"kill/%d" % number, value))
                nursery.start_soon(seen.ask, client, operation)
    return seen


def main(path: str, rate: str, duration_s: str) -> None:
    seen = trio.run(load, Home(Path(path)), float(rate), float(duration_s))
    report = {
        "operations": len(seen.at),
        "refused": seen.refused,
        "outcome_unknown": seen.unknown,
        "silences": silences(seen.at),
        "last_acknowledged": max(seen.at, default=0.0),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
