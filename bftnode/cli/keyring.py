"""Client keys for a load that many clients make: made once beside a home's own key, admitted, and used again.

They live in a directory of their own: KEY.bench/0.key, 0.nonces, 1.key and so on, next to the key file KEY. A key that
was used once has nonces that must never be used again, so keys are kept with their nonces, like any other client's.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from bftnode.cli.cluster import refused_by
from bftnode.client.client import Client, Signatory, signatory
from bftnode.client.nonces import FileNonces
from bftnode.client.operations import admit_client
from bftnode.node.identity import create_client_key, load_seed
from bftnode.protocol.errors import Reason
from bftnode.protocol.nonces import CLIENT

KEYS_MAX = 256
"""A key has a file of nonces open while it is used; many systems grant a process 1024 open files."""


@contextmanager
def keyring(key_path: Path, count: int) -> Iterator[tuple[Signatory, ...]]:
    """The first `count` keys beside `key_path`, made where they are not there yet.

    Raises Refused(CONFIGURATION | INTEGRITY) naming a file that is something else, OSError.
    """
    directory = key_path.with_suffix(".bench")
    directory.mkdir(mode=0o700, exist_ok=True)
    with ExitStack() as stack:
        keys = []
        for number in range(count):
            path = directory / f"{number}.key"
            if not path.exists():
                create_client_key(path)
            nonces = stack.enter_context(closing(FileNonces(path.with_suffix(".nonces"))))
            keys.append(signatory(load_seed(path), nonces))
        yield tuple(keys)


async def admit(client: Client, keys: Sequence[Signatory]) -> bool:
    """Admit them, in one envelope, by an administrator's client; admitted keys stay so. False: the client is none, and
    an administrator has to have done it. Raises Refused as the cluster does."""
    result = await client.submit([admit_client(one.key.public_key, CLIENT) for one in keys])
    codes = [result.code] if result.code else [one.code for one in result.results]
    if str(Reason.TX_DENIED) in codes:
        return False
    for code in codes:
        if code:
            raise refused_by(code, "the bench's keys are not admitted")
    return True
