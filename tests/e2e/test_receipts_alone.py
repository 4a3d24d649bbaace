"""Receipts of a real cluster: had from it, and verified when it is gone, with nothing but the policy."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from bftnode import verify_receipt
from bftnode.apps import log
from bftnode.apps.execution import application_operation
from bftnode.protocol.tlog.tiles import ENTRIES, Tile, parse_entry_bundle
from tests.e2e.cluster import Cluster, running
from tests.interop.test_go import ask, build

RECORDS = [f"the door was opened, {number}" for number in range(40)]


async def test_what_was_recorded_is_proved_when_the_cluster_is_gone(tmp_path: Path) -> None:
    """Both kinds, by index and by id; by the command and by the file that stands alone; tiles; then all is deleted."""
    kept = tmp_path / "kept"
    kept.mkdir()
    async with running(Cluster(tmp_path / "cluster", application="log")) as cluster, cluster.client() as client:
        await cluster.equal(client)

        def run(*arguments: str) -> str:
            done = cluster.bftnode(*arguments)
            assert done.returncode == 0, (arguments, done.stdout, done.stderr)
            return done.stdout

        (kept / "policy").write_text(run("genesis", "policy"))
        first = json.loads(run("log", "append", RECORDS[0], "--json"))
        (kept / "quick.receipt").write_text(run("receipt", "get", first["transaction"]))
        (kept / "standard.tlog-proof").write_text(run("receipt", "get", first["transaction"], "--standard"))
        (kept / "bare.tlog-proof").write_text(
            run("receipt", "get", first["transaction"], "--standard", "--without-entry")
        )
        one = json.loads(run("log", "export", "--tiles", str(kept / "tiles"), "--json"))
        await client.submit([application_operation(log.append(record.encode())) for record in RECORDS[1:]])
        await client.standard_receipt(first["index"] + 1)
        two = json.loads(run("log", "export", "--tiles", str(kept / "tiles"), "--json"))
        assert two["new"] == two["size"] - one["size"] > 0
        await cluster.stop()
    shutil.rmtree(tmp_path / "cluster")

    verified_alone(kept, first["index"], two["size"])
    go = build(tmp_path / "interop")
    if go is not None:
        said = ask(go, "tiles", str(kept / "tiles"))
        assert (said["size"], said["entries"]) == (two["size"], two["size"])


def verified_alone(kept: Path, index: int, size: int) -> None:
    """With the record or the entry, by the command and by the file that stands alone."""
    (kept / "record").write_text(RECORDS[0])
    (kept / "other").write_text(RECORDS[1])
    copy = kept / "verify_receipt.py"
    copy.write_bytes(Path(verify_receipt.__file__).read_bytes())
    bundle = (kept / "tiles" / Tile(ENTRIES, 0, size).path).read_bytes()
    (kept / "entry").write_bytes(parse_entry_bundle(bundle)[index])
    for command in ([sys.executable, "-P", str(copy)], [sys.executable, "-m", "bftnode", "receipt", "verify"]):
        for receipt, record, code in (
            ("quick.receipt", "record", 0),
            ("standard.tlog-proof", "record", 0),
            ("standard.tlog-proof", "other", 5),
            ("bare.tlog-proof", "entry", 0),
            ("bare.tlog-proof", "record", 5),
        ):
            words = [*command, str(kept / receipt), "--policy", str(kept / "policy"), "--record", str(kept / record)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.returncode == code, (words, done.stdout, done.stderr)
