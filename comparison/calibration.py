"""What this machine can do in this minute, whoever uses it: signatures and synced writes."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nacl.signing import SigningKey

from comparison.failures import Failed
from comparison.loads import VALUE_BYTES

SECONDS = 0.5
"""Of each of the three."""
PAGE_BYTES = 4096
IN_MEMORY = {"tmpfs", "ramfs", "ramdisk"}


@dataclass(frozen=True, slots=True)
class Calibration:
    """By one core, and by the disk that the data is on."""

    verifications_per_s: float  # of Ed25519, by PyNaCl
    signatures_per_s: float
    synced_writes_per_s: float  # of 4 kB, each followed by fdatasync


def calibrate(path: Path) -> Calibration:
    """Takes a second and a half. The disk is the one of `path`."""
    key, message = SigningKey.generate(), os.urandom(VALUE_BYTES)
    signature, verify = key.sign(message).signature, key.verify_key.verify
    with tempfile.TemporaryFile(dir=path, buffering=0) as file:
        page, number = os.urandom(PAGE_BYTES), file.fileno()

        def write() -> None:
            os.pwrite(number, page, 0)
            os.fdatasync(number)

        return Calibration(
            verifications_per_s=rate_of(lambda: verify(message, signature)),
            signatures_per_s=rate_of(lambda: key.sign(message)),
            synced_writes_per_s=rate_of(write),
        )


def rate_of(work: Callable[[], object]) -> float:
    """Times a second."""
    count, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < SECONDS:
        work()
        count += 1
    return count / elapsed


def filesystem_of(path: Path, mounts: str) -> str:
    """The kind of filesystem that `path` is on, by the text of /proc/self/mounts. Raises Failed for one in memory."""
    kinds = {Path(line.split()[1]): line.split()[2] for line in mounts.splitlines()}
    above = [path, *path.parents]
    kind = next((kinds[one] for one in above if one in kinds), "unknown")
    if kind in IN_MEMORY:
        raise Failed(f"{path} is on a {kind}: nothing is durable there, so nothing of use can be measured")
    return kind
