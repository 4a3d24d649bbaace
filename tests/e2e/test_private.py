"""Private records on a real cluster: a receipt with and without the payload, and an erasure that reaches every disk."""

import json
from contextlib import suppress
from pathlib import Path

import trio

from bftnode.protocol.tlog.policy import write_policy
from tests.e2e.cluster import Cluster, running

DEADLINE_S = 60.0
SECRET = b"patient 4711, a payload that is like no other"
OTHER = b"patient 4712, who stays"


def holders(cluster: Cluster, secret: bytes) -> list[int]:
    """Members with these bytes anywhere in their home."""
    found = []
    for member in range(len(cluster.genesis.members)):
        for file in cluster.home(member).path.rglob("*"):
            with suppress(FileNotFoundError, IsADirectoryError):  # erased while we look
                if secret in file.read_bytes():
                    found.append(member)
                    break
    return found


async def until_held_by(cluster: Cluster, secret: bytes, members: list[int]) -> None:
    """Erasing follows the execution of its entry."""
    with trio.fail_after(DEADLINE_S):
        while holders(cluster, secret) != members:  # noqa: ASYNC110 - other processes' files have no events
            await trio.sleep(0.05)


async def test_a_payload_is_shown_erased_and_the_log_still_verifies(tmp_path: Path) -> None:
    """With the command line: appended, read, proved, erased at members that are there and at one that comes back."""
    async with running(Cluster(tmp_path, application="log")) as cluster:
        async with cluster.client() as client:
            await cluster.equal(client)

        def run(*arguments: str, code: int = 0, home: Path | None = None) -> str:
            done = cluster.bftnode(*arguments, home=home)
            assert done.returncode == code, (arguments, done.stdout, done.stderr)
            return done.stdout

        def private(payload: bytes, name: str) -> dict[str, object]:
            (tmp_path / f"{name}.txt").write_bytes(payload)
            words = ("--file", str(tmp_path / f"{name}.txt"), "--private", "--salt", str(tmp_path / f"{name}.salt"))
            return dict(json.loads(run("log", "append", *words, "--json")))

        one, two = private(SECRET, "one"), private(OTHER, "two")
        assert [len(done["kept_by"]) for done in (one, two)] == [4, 4]
        shown = json.loads(run("log", "read", str(one["record"]), "--json"))
        assert (shown["data"], shown["erased"]) == (SECRET.decode(), None)
        assert holders(cluster, SECRET) == holders(cluster, OTHER) == [0, 1, 2, 3]
        assert SECRET.decode() not in run("log", "export")

        # One member is away while it is erased; it has to come to it later.
        await cluster.stop(3)
        run("log", "erase", str(one["record"]))
        await until_held_by(cluster, SECRET, [3])
        cluster.start(3)
        await until_held_by(cluster, SECRET, [])
        assert holders(cluster, OTHER) == [0, 1, 2, 3]

        shown = json.loads(run("log", "read", str(one["record"]), "--json"))
        assert shown["data"] is None
        assert shown["erased"]["client"] == shown["client"]
        again = ("--file", str(tmp_path / "one.txt"), "--salt", str(tmp_path / "one.salt"))
        run("log", "keep", str(one["record"]), *again, code=3)
        assert holders(cluster, SECRET) == []
        copies = ("-o", str(tmp_path / "copy.txt"), "--salt", str(tmp_path / "copy.salt"))
        run("log", "read", str(two["record"]), *copies)
        assert (tmp_path / "copy.txt").read_bytes() == OTHER
        assert (tmp_path / "copy.salt").read_text() == (tmp_path / "two.salt").read_text()

        for kind, name in (("--standard", "one.tlog-proof"), ("", "one.receipt")):
            words = [word for word in (str(one["transaction"]), kind) if word]
            run("receipt", "get", *words, "-o", str(tmp_path / name))
        policy = tmp_path / "policy"
        policy.write_text(write_policy(cluster.genesis.policy()))
        await cluster.stop()
        for member in range(4):
            run("log", "verify", "--state", home=cluster.home(member).path)
        for name in ("one.tlog-proof", "one.receipt"):
            verify = ("receipt", "verify", str(tmp_path / name), "--policy", str(policy))
            salt = ("--salt", str(tmp_path / "one.salt"))
            run(*verify)
            run(*verify, "--record", str(tmp_path / "one.txt"), *salt)
            run(*verify, "--record", str(tmp_path / "two.txt"), *salt, code=5)
            run(*verify, "--record", str(tmp_path / "one.txt"), code=5)


async def test_who_was_away_is_handed_the_payload_again(tmp_path: Path) -> None:
    """Kept by a quorum while one is away; then by all, handed over by whoever has the payload and its salt."""
    async with running(Cluster(tmp_path, application="log")) as cluster:
        async with cluster.client() as client:
            await cluster.equal(client)
        await cluster.stop(2)
        salt = tmp_path / "salt"
        done = cluster.bftnode("log", "append", OTHER.decode(), "--private", "--salt", str(salt), "--json")
        assert done.returncode == 0, done.stderr
        appended = json.loads(done.stdout)
        assert len(appended["kept_by"]) == 3
        assert holders(cluster, OTHER) == [0, 1, 3]
        cluster.start(2)
        async with cluster.client() as client:
            await cluster.equal(client)
        (tmp_path / "payload").write_bytes(OTHER)
        words = ("log", "keep", str(appended["record"]), "--file", str(tmp_path / "payload"), "--salt", str(salt))
        done = cluster.bftnode(*words, "--json")
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["kept_by"]) == 4
        assert holders(cluster, OTHER) == [0, 1, 2, 3]
