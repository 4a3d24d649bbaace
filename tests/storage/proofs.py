"""What a proof costs in a long log: `python -m tests.storage.proofs DIRECTORY 10000000`.

Makes the Merkle tree of so many leaves in LMDB, as appending makes it, and nothing else of a log. Prints how many
nodes a proof reads, and its CPU and wall time: the median and the worst of random ones, after each other.
"""

import random
import statistics
import sys
import time
from pathlib import Path

import lmdb

from bftnode.protocol.merkle import Frontier, consistency_proof, inclusion_proof, leaf_hash, verify_inclusion
from bftnode.storage.log import LogReader, node_records
from bftnode.storage.records import NAMES, Databases, database, nodes_before, put_many

STEP = 100_000
PROOFS = 2000


def leaf(index: int) -> bytes:
    return leaf_hash(index.to_bytes(8, "big"))


def grow(env: lmdb.Environment, databases: Databases, size: int) -> bytes:
    """The root of the tree of `size` leaves, whose nodes are written."""
    frontier = Frontier()
    for start in range(0, size, STEP):
        first = nodes_before(start)
        frontier, nodes = frontier.append([leaf(index) for index in range(start, min(start + STEP, size))])
        with env.begin(write=True) as txn:
            put_many(txn, databases.nodes, node_records(first, [digest for _, _, digest in nodes]), append=True)
    return frontier.root()


def main(path: Path, size: int) -> None:
    env = lmdb.open(str(path), map_size=2**36, max_dbs=len(NAMES))
    databases = Databases(*(database(name, env.open_db(name.encode())) for name in NAMES))
    root = grow(env, databases, size)
    dice = random.Random(1)
    chosen = [dice.randrange(size) for _ in range(PROOFS)]
    with env.begin() as txn:
        log, reads = LogReader(txn, databases), 0

        def counted(level: int, index: int) -> bytes:
            nonlocal reads
            reads += 1
            return log.node_at(level, index)

        most = 0
        for index in chosen:
            reads = 0
            path_ = inclusion_proof(index, size, counted)
            most = max(most, reads)
            assert verify_inclusion(leaf(index), index, size, path_, root)
        print(f"at most {most} nodes are read, {len(path_)} hashes in a proof")
        for prove in (inclusion_proof, consistency_proof):
            wall_us, cpu = [], time.process_time()
            for index in chosen:
                start = time.perf_counter()
                prove(index, size, log.node_at)
                wall_us.append((time.perf_counter() - start) * 1e6)
            cpu_us = (time.process_time() - cpu) / PROOFS * 1e6
            print(
                f"{prove.__name__}: {cpu_us:.0f} us of CPU; wall: median {statistics.median(wall_us):.0f} us, "
                f"99 of 100 below {sorted(wall_us)[PROOFS * 99 // 100]:.0f} us, worst {max(wall_us):.0f} us"
            )
    env.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
