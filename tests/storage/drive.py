"""What storage alone costs: `python -m tests.storage.drive DIRECTORY kv 1000000 1000 1`.

The application, how many operations, how many in an envelope, how many envelopes in a block. Values of 128 bytes, all
different, and keys as `bftnode bench` makes them. Prints CPU for an operation, bytes for an operation by database, and
how long a start takes after a kill and after a close.
"""

import os
import sys
import time
from pathlib import Path

import lmdb

from bftnode.apps import kv, log
from bftnode.apps.execution import Executor, application_operation
from bftnode.apps.kv import KeyValue
from bftnode.apps.log import Records
from bftnode.storage.records import NAMES
from bftnode.storage.store import Storage
from tests.storage.chains import World, crash

PAGE_BYTES = 4096


def operation(application: str, number: int) -> bytes:
    if application == "kv":
        return application_operation(kv.put(b"bench/0a1b2c3d/%d" % number, os.urandom(128)))
    return application_operation(log.append(os.urandom(128)))


def print_bytes(path: Path, operations: int) -> None:
    with lmdb.open(str(path / "lmdb"), readonly=True, lock=False, max_dbs=len(NAMES), map_size=2**40) as env:
        for name in NAMES:
            db = env.open_db(name.encode(), create=False)
            with env.begin() as txn:
                found = txn.stat(db)
            pages = found["branch_pages"] + found["leaf_pages"] + found["overflow_pages"]
            print(f"{name:12} {found['entries']:10} entries {pages * PAGE_BYTES / operations:8.1f} bytes an operation")
        print(f"used {(env.info()['last_pgno'] + 1) * PAGE_BYTES / operations:.1f}")
    print(f"data file {os.stat(path / 'lmdb' / 'data.mdb').st_blocks * 512 / operations:.1f}")


def main(path: Path, application: str, operations: int, batch: int, envelopes: int) -> None:
    world = World()
    executor = Executor(KeyValue() if application == "kv" else Records(), [world.admin.key], 1000)
    storage = Storage.open(path, world.membership, 0, executor)
    executing = committing = 0.0
    payload, number = 0, 0
    while number < operations:
        sent = []
        for _ in range(envelopes):
            sent.append(world.admin.envelope(*(operation(application, number + i) for i in range(batch))))
            executor.validate(sent[-1])
            payload += sum(len(item) for item in sent[-1].body.operations)
            number += batch
        turn = world.turn(world.append(*sent))
        start = time.thread_time()
        storage.execute(turn.appends[0])
        executed = time.thread_time()
        storage.commit(turn)
        executing += executed - start
        committing += time.thread_time() - executed
    print(f"payload {payload / number:.1f} bytes an operation")
    print(f"execute {executing / number * 1e6:.2f} us, commit {committing / number * 1e6:.2f} us of CPU an operation")
    crash(storage)
    for after in ("a kill", "a close"):
        start = time.perf_counter()
        storage = Storage.open(path, world.membership, 0, executor)
        storage.recover()
        print(f"start after {after}: {time.perf_counter() - start:.3f} s")
        storage.close()
    print_bytes(path, number)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6]))
