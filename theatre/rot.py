"""Disks that do not give back what was written: bits that flip in LMDB's file, records that lie in another one's place.

Both hit what a scenario names, one database's records, and go past every check that bftnode has: the seal of a record
stays as it was written. LMDB copies pages before it changes them, so a record's bytes may stand in the file more than
once; all of them are damaged alike, and all but one are nobody's.
"""

from pathlib import Path
from random import Random

import lmdb

from bftnode.storage.directory import LMDB_NAME
from bftnode.storage.environment import DATA_NAME, opened_read_only
from bftnode.storage.records import NAMES, number
from theatre.troupe import Failed

GENESIS_KEY = number(0)


def flip_bits(data: Path, what: str, count: int, dice: Random, *, alive: bool) -> list[str]:
    """A bit in each of `count` records of the database `what` (all, where it has fewer); their names.

    `alive`: its member runs, and sees it at once, for the file is mapped into its memory. Raises Failed where there is
    none.
    """
    records, used = _records(data, what, alive=alive)
    chosen = dice.sample(records, min(count, len(records)))
    if not chosen:
        raise Failed(f"{what} holds nothing that could rot")
    with open(data / LMDB_NAME / DATA_NAME, "r+b") as file:
        whole = file.read(used)
        for _, sealed in chosen:
            bit = dice.randrange(8 * len(sealed))
            found = whole.find(sealed)
            if found < 0:
                raise Failed(f"a record of {what} is not in the file in one piece")
            while found >= 0:
                place = found + bit // 8
                file.seek(place)
                file.write(bytes((whole[place] ^ 1 << bit % 8,)))
                found = whole.find(sealed, found + 1)
    return [_name(what, key) for key, _ in chosen]


def misdirect(data: Path, what: str, dice: Random) -> tuple[str, str]:
    """What was written as one record of `what` lies where another one should; their names. The member is down.

    Raises Failed where there are not two.
    """
    records, _ = _records(data, what, alive=False)
    if len(records) < 2:
        raise Failed(f"{what} holds no two records that could be mistaken for each other")
    (source, sealed), (target, _) = dice.sample(records, 2)
    env = lmdb.open(str(data / LMDB_NAME), max_dbs=len(NAMES))  # of the size that it has
    try:
        handle = env.open_db(what.encode(), create=False)
        with env.begin(write=True) as txn:
            txn.put(target, sealed, db=handle)
    finally:
        env.close()
    return _name(what, source), _name(what, target)


def _records(data: Path, what: str, *, alive: bool) -> tuple[list[tuple[bytes, bytes]], int]:
    """By key, sealed, and how many bytes of the file are used. Block 0 does not rot in the simulator either."""
    if what not in NAMES:
        raise Failed(f"a disk has no {what}")
    with opened_read_only(data / LMDB_NAME, lock=alive) as (env, databases), env.begin() as txn:
        found = list(txn.cursor(db=getattr(databases, what).handle))
        used = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    return [(key, sealed) for key, sealed in found if (what, key) != ("log", GENESIS_KEY)], used


def _name(what: str, key: bytes) -> str:
    return f"{what}/{key.hex()[:32]}"
