"""A fixed history of every kind of operation, printed as digests: `python -m tests.apps.history`."""

import hashlib

from bftnode.apps import kv, log
from bftnode.apps.execution import ADMIT, REMOVE
from bftnode.protocol.codec import encode
from bftnode.protocol.nonces import CLIENT
from tests.apps.chain import ADMIN, Chain, Person, system


def key_value_history() -> str:
    chain, admin = Chain(kv.KeyValue(), clients_max=20), Person(ADMIN)
    people = [Person(f"person {i}") for i in range(12)]
    lines = []
    chain.block(admin.signs(*(system(ADMIT, person.key, CLIENT) for person in people)))
    for height in range(6):
        done = chain.block(
            *(
                person.asks(kv.put(b"%d" % (i * 7 % 5), b"%d" % height), kv.scan(limit=3))
                for i, person in enumerate(people)
            ),
            people[height].asks(kv.batch([kv.Put(b"b", b"1"), kv.CompareAndSwap(b"b", None, b"2")])),
            people[height].asks(kv.compare_and_swap(b"c", None, b"%d" % height), kv.delete(b"1"), b"junk"),
            admin.signs(system(REMOVE, people[11 - height].key, 0), system(ADMIT, admin.key, CLIENT)),
        )
        lines += [encode(result).hex() for result in done.results] + [key.hex() for key in done.changes]
        lines += [f"{client.hex()} {role}" for client, role in done.clients.items()] + [chain.digest.hex()]
    return "\n".join(lines)


def log_history() -> str:
    chain, admin = Chain(log.Records()), Person(ADMIN)
    for height in range(4):
        chain.block(*(admin.asks(log.append(b"%d" % i), log.append(b"%d" % height)) for i in range(5)))
    return chain.query(log.read_range(0, 50)).hex() + chain.digest.hex()


def fingerprint() -> str:
    """One line; the order of results, changes and role changes is part of it."""
    return " ".join(hashlib.sha256(history().encode()).hexdigest() for history in (key_value_history, log_history))


if __name__ == "__main__":
    print(fingerprint())
