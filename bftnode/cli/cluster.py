"""Reaching the cluster: which genesis and key a client command uses, and a client that works with them."""

import functools
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

from bftnode.cli.errors import USAGE, CommandFailed
from bftnode.cli.options import DIRECTORY, FILE, json_option
from bftnode.cli.output import note
from bftnode.client.client import Client, open_client
from bftnode.client.growth import FileMemory
from bftnode.client.nonces import FileNonces
from bftnode.client.options import Options
from bftnode.node.home import Home, load_genesis, named_home
from bftnode.node.identity import load_seed
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.genesis import Genesis
from bftnode.protocol.results import TransactionResult
from bftnode.protocol.transactions import Transaction

TIMEOUT_S = 30.0

PATIENCE_S = 5.0
"""For members that are asked one by one to be connected: who is not there by then is not looked at."""

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class KeyNonces:
    """The nonces in the file beside a key; not touched by a command that only reads."""

    def __init__(self, key_path: Path) -> None:
        self._path = key_path.with_suffix(".nonces")
        self._file: FileNonces | None = None
        self._used = 0

    def take(self) -> int:
        if self._file is None:
            self._file = FileNonces(self._path)
            self._file.skip_to(self._used)
        return self._file.take()

    def skip_to(self, used: int) -> None:
        self._used = max(self._used, used)
        if self._file is not None:
            self._file.skip_to(used)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True, slots=True)
class Access:
    """What --home, --genesis, --key and --timeout (or their variables) say."""

    home: Path | None
    genesis_path: Path | None
    key_path: Path | None
    timeout_s: float

    def genesis(self) -> Genesis:
        """Raises Refused(CONFIGURATION)."""
        if self.genesis_path is not None:
            return load_genesis(self.genesis_path)
        return self._home("--genesis FILE").load_genesis()

    def key(self) -> Path:
        """Raises Refused(CONFIGURATION)."""
        return self.key_path if self.key_path is not None else self._home("--key FILE").client_key_path

    def memory_path(self) -> Path:
        """Beside the key: the largest checkpoint that was verified. Raises Refused(CONFIGURATION)."""
        return self.key().with_suffix(".checkpoint")

    def run(
        self, work: Callable[[Client], Awaitable[T]], options: Options | None = None, *, remembering: bool = True
    ) -> T:
        """`work` with a client; what it raises. Raises Refused(CONFIGURATION) for a bad genesis or key.

        `remembering`: the client refuses a log that does not extend what was verified before.
        """
        genesis, key_path = self.genesis(), self.key()
        seed = load_seed(key_path)
        settings = options or Options(timeout_s=self.timeout_s)

        async def main() -> T:
            async with open_client(
                genesis,
                seed,
                next_nonce=KeyNonces(key_path),
                options=settings,
                memory=FileMemory(self.memory_path()) if remembering else None,
            ) as client:
                return await work(client)

        return trio.run(main)

    def submit(self, *operations: bytes) -> TransactionResult:
        """One envelope, executed. Its id is told before it leaves. Raises Refused also for a rejected envelope."""

        def told(transaction: Transaction) -> None:
            note(f"transaction {transaction.id.hex()}")

        result = self.run(lambda client: client.submit(operations, on_signed=told))
        if result.code:
            raise refused_by(result.code, f"transaction {result.transaction.hex()} was rejected")
        return result

    def _home(self, flag: str) -> Home:
        path = named_home(self.home, os.environ)
        if path is None:
            raise Refused(Reason.CONFIGURATION, f"no home is named: use --home DIR, set BFTNODE_HOME, or name {flag}")
        return Home(path)


def access_options(function: F) -> F:
    """--home, --genesis, --key, --timeout as one parameter `access`; and --json."""

    @functools.wraps(function)
    def with_access(
        *args: Any, home: Path | None, genesis_file: Path | None, key_file: Path | None, timeout: float, **rest: Any
    ) -> Any:
        return function(*args, access=Access(home, genesis_file, key_file, timeout), **rest)

    options = (
        click.option("--home", type=DIRECTORY, metavar="DIR", help="Home with genesis and key. Default: BFTNODE_HOME."),
        click.option(
            "--genesis",
            "genesis_file",
            type=FILE,
            envvar="BFTNODE_GENESIS",
            metavar="FILE",
            help="Another genesis. Or BFTNODE_GENESIS.",
        ),
        click.option(
            "--key",
            "key_file",
            type=FILE,
            envvar="BFTNODE_KEY",
            metavar="FILE",
            help="Another key file. Or BFTNODE_KEY.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=TIMEOUT_S,
            show_default=True,
            metavar="SECONDS",
            help="Give up after so long.",
        ),
        json_option,
    )
    decorated: Any = with_access
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]  # click's decorators keep the callable


def members_named(genesis: Genesis, names: Sequence[str]) -> list[int]:
    """Their places in the genesis; of no names: all. Raises Refused(CONFIGURATION)."""
    known = [member.name for member in genesis.members]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Refused(Reason.CONFIGURATION, f"--node {unknown[0]!r} is no member; they are {', '.join(known)}")
    return [known.index(name) for name in names] or list(range(len(known)))


async def reached(client: Client, members: list[int], timeout_s: float) -> None:
    """All of them are connected, or time is up and one is. Raises Refused(NOT_READY)."""
    if not await client.connected_to(members, min(timeout_s, PATIENCE_S)):
        raise Refused(Reason.NOT_READY, "no member that is to be asked answers")


def refused_by(code: str, detail: str) -> Refused:
    """A code of a result as the refusal that it is."""
    try:
        return Refused(Reason(code), detail)
    except ValueError:
        return Refused(Reason.UNEXPECTED, f"{detail}: {code}")


def need_application(genesis: Genesis, application: str, verb: str) -> None:
    """Raises CommandFailed where the cluster replicates something else."""
    if genesis.application != application:
        raise CommandFailed(
            f"this cluster replicates {genesis.application}; `{verb}` needs {application}",
            "application",
            "`bftnode tx submit HEX` submits operations of any application",
            USAGE,
        )
