"""How high each member of bftnode is, over time.

`python -m comparison.watching CLIENT_HOME`: until it is ended, about twenty times a second and member a line of JSON
with the time by the machine's monotonic clock, which all its processes share, its name, and the height that it has
executed. A member that does not answer has no lines.
"""

import json
import sys
import time
from pathlib import Path

import trio

from bftnode.apps import kv
from bftnode.client.client import Client, open_client
from bftnode.client.nonces import CountingNonces
from bftnode.client.options import Options
from bftnode.node.home import Home
from bftnode.node.identity import load_seed
from bftnode.protocol.errors import Refused

INTERVAL_S = 0.05
ANSWER_S = 5.0
OPTIONS = Options(reconnect_first_s=0.05, reconnect_max_s=0.1)
"""A member that comes back is to be seen at once: this client measures, it is not what is measured."""

_QUERY = kv.get(b"a key that nobody has")


async def watch(home: Home) -> None:
    """For ever."""
    genesis = home.load_genesis()
    seed = load_seed(home.client_key_path)
    async with (
        open_client(genesis, seed, next_nonce=CountingNonces(), options=OPTIONS) as client,
        trio.open_nursery() as nursery,
    ):
        for number, member in enumerate(genesis.members):
            nursery.start_soon(_watch_one, client, number, member.name)


async def _watch_one(client: Client, number: int, name: str) -> None:
    while True:
        try:
            answer = await client.query(_QUERY, "local", number, ANSWER_S)
        except Refused:
            pass
        else:
            print(json.dumps([time.monotonic(), name, answer.height]), flush=True)
        await trio.sleep(INTERVAL_S)


def watch_command(client: Path) -> list[str]:
    """This module, as a process."""
    return [sys.executable, "-m", "comparison.watching", str(client)]


def main(path: str) -> None:
    trio.run(watch, Home(Path(path)))


if __name__ == "__main__":
    main(*sys.argv[1:])
