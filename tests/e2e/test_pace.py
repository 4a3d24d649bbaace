"""A guard: what an operation costs a member, in signature checks of the same minute.

Not the wall clock's: CPU of the four daemons for an operation, from /proc, against the CPU of an Ed25519 verification
before and after, which a slow or busy machine makes dearer alike. With a dozen processes busy on two cores the ratios
were 0.10 to 0.17 and 2.0 to 2.9, on an idle machine 0.16 and 2.6. The bounds are half as much again as the worst of
these, so a hot path that takes twice as long fails. Loads whose blocks are as large as time allows (callers' own
operations, one caller) are not guarded so: on a busy machine their blocks get smaller, and an operation dearer.
"""

import time
from pathlib import Path

from nacl.signing import SigningKey

from bftnode.cli.bench import Load, operation_maker, run_load
from comparison.processes import cpu_seconds_of
from tests.e2e.cluster import Cluster, running

VERIFY_S = 0.3
VALUE_BYTES = 128
TIME_MAX_S = 60.0

GUARDED = (
    ("many", 4, 1, 1000, 20_000, 0.24),
    ("alone", 64, 4, 1, 1500, 4.5),
)
"""Mode, callers, depth, batch, operations; and how many verifications an operation may cost a member."""


def verification_s() -> float:
    """CPU of one."""
    key, message = SigningKey.generate(), bytes(VALUE_BYTES)
    signature, verify = key.sign(message).signature, key.verify_key.verify
    count, began = 0, time.process_time()
    while (spent := time.process_time() - began) < VERIFY_S:
        verify(message, signature)
        count += 1
    return spent / count


async def test_an_operation_costs_what_it_used_to(tmp_path: Path) -> None:
    """In batches of a thousand, and each signed alone."""
    found = {}
    async with running(Cluster(tmp_path)) as cluster, cluster.client() as client:
        await cluster.equal(client)
        for mode, callers, depth, batch, operations, _ in GUARDED:
            load = Load(mode, callers, depth, TIME_MAX_S, operations, operation_maker("kv", VALUE_BYTES), batch)
            await run_load(client, load)  # what comes once, at the first
            before_s, began = verification_s(), cpu_s(cluster)
            tally, _ = await run_load(client, load)
            spent = cpu_s(cluster) - began
            assert tally.operations == operations
            a_verification_s = (before_s + verification_s()) / 2
            found[mode] = spent / len(cluster.members) / operations / a_verification_s
    print("verifications an operation:", found)
    for mode, *_, most in GUARDED:
        assert found[mode] < most, (
            f"{mode}: an operation costs a member {found[mode]:.2f} verifications, {most} is the most: {found}"
        )


def cpu_s(cluster: Cluster) -> float:
    """Of all members so far."""
    return sum(cpu_seconds_of(process.pid) for process in cluster.processes.values())
