"""Go's tools and ours agree: golang.org/x/mod/sumdb (note, tlog) and filippo.io/torchwood (policies, proofs, tiles).

What Go said and wrote is kept in go-*.json, and ours is always held against that. Where Go is installed it is asked
again, and has to say the same (`python -m tests.interop.test_go` keeps its answers).
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bftnode.cli.tiles import TileFolder
from bftnode.protocol.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from bftnode.protocol.tlog.policy import write_policy
from bftnode.verify_receipt import verify
from tests.protocol.mutants import Subject, here
from tests.protocol.tlog.cosigners import ENTRIES, Cosigners, node_at, root_at
from tests.vectors.receipts import make

FOLDER = Path(__file__).parent
GO = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
TREES = 17
ROWS = {row["name"]: row for row in json.loads((make.FOLDER / "vectors.json").read_text(encoding="ascii"))}

TAKEN_BY_GO = {
    # It is asked whether these bytes are in the log, and they are; what they say is not its business.
    *("entry-not-signed-by-its-client", "entry-of-another-cluster", "entry-of-half-an-envelope", "entry-of-no-kind"),
    *("entry-with-more-behind-it", "entry-without-operations"),
    *("record-is-a-part", "record-is-another", "record-is-empty"),
    # Spellings that the documents do not allow, of the same proof.
    *("file-with-a-leading-zero", "file-with-a-sign", "file-with-base64-of-another-spelling"),
    # A policy that names a witness twice, under two names; and a comment.
    *("policy-with-a-witness-twice", "policy-with-an-unknown-remark"),
}


def kept(name: str) -> Any:
    return json.loads((FOLDER / f"go-{name}.json").read_text(encoding="ascii"))


@pytest.fixture(scope="session")
def interop(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The program of go/main.go; None where there is no Go."""
    return build(tmp_path_factory.mktemp("go") / "interop")


def build(target: Path) -> Path | None:
    if GO is None:
        return None
    # torchwood needs this Go; an older one fetches it as a module (go.dev/doc/toolchain).
    environment = {**os.environ, "GOTOOLCHAIN": "go1.27.3", "GOFLAGS": "-mod=readonly"}
    command = [GO, "build", "-o", str(target), "."]
    subprocess.run(command, cwd=FOLDER / "go", env=environment, check=True, timeout=900)
    return target


def ask(program: Path, *arguments: str) -> Any:
    done = subprocess.run([str(program), *arguments], capture_output=True, check=True, timeout=300)
    return json.loads(done.stdout)


def test_go_says_what_it_said(interop: Path | None) -> None:
    """Of every published standard receipt: what is kept is what Go says, and what we say, but for what is named."""
    said = kept("vectors")
    if interop is not None:
        assert ask(interop, "vectors", str(make.FOLDER)) == said
    torchwood, sumdb = said["torchwood"], said["sumdb"]
    assert torchwood.keys() == {name for name, row in ROWS.items() if row["receipt"].endswith(".tlog-proof")}
    assert {name for name in torchwood if torchwood[name] and not ROWS[name]["valid"]} == TAKEN_BY_GO
    assert not [name for name, row in ROWS.items() if row["valid"] and not torchwood.get(name, True)]
    # sumdb counts no cosigners; the log's signature and the path have to hold all the same.
    assert not [name for name in torchwood if torchwood[name] and not sumdb[name]]
    wrong = ("path-", "index-", "log-signature-", "root-", "size-", "origin-", "no-signature", "entry-is-")
    assert not [name for name in sumdb if sumdb[name] and name.startswith(wrong)]


def test_its_trees_are_ours(interop: Path | None) -> None:
    """Every root, inclusion and consistency proof of golang.org/x/mod/sumdb/tlog up to some size."""
    trees = kept("trees")
    if interop is not None:
        assert ask(interop, "trees", str(TREES)) == trees
    assert len(trees) == TREES
    leaves = [leaf_hash(b"record %d" % number) for number in range(TREES)]
    nodes = {(level, index): digest for level, index, digest in Frontier().append(leaves)[1]}

    def at(level: int, index: int) -> bytes:
        return nodes[level, index]

    roots = [bytes.fromhex(tree["root"]) for tree in trees]
    for size, tree in enumerate(trees, 1):
        assert Frontier.load(size, at).root() == roots[size - 1]
        for index in range(size):
            path, growth = unhex(tree["inclusion"][index]), unhex(tree["consistency"][index])
            assert path == inclusion_proof(index, size, at)
            assert growth == consistency_proof(index + 1, size, at)
            assert verify_inclusion(leaves[index], index, size, path, roots[size - 1])
            assert verify_consistency(index + 1, size, roots[index], roots[size - 1], growth)


def unhex(texts: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def test_what_go_writes_is_believed_here(interop: Path | None) -> None:
    """A policy, a checkpoint signed by sumdb/note and cosigned by torchwood with both kinds of keys, and a proof."""
    written = [kept("write")]
    if interop is not None:
        written.append(ask(interop, "write"))
    for one in written:
        subject = Subject(one["proof"].encode(), one["policy"].encode())
        verdict = verify(*subject)
        assert (verdict.entry, verdict.index, verdict.size) == (one["entry"].encode(), 7, 13)
        assert sorted(verdict.signers) == ["witness-a", "witness-b"]
        assert here(subject) is None


def exported(path: Path) -> None:
    """A log of static files, in two steps, with its policy."""
    cluster = Cosigners()
    for size in (260, len(ENTRIES)):
        folder = TileFolder(path)
        for entry in ENTRIES[folder.start : size]:
            folder.add(entry)
        tree = cluster.checkpoint(size, root_at(size))
        folder.finish(tree, cluster.note(tree))
    (path / "policy").write_text(write_policy(cluster.policy), encoding="ascii")


def test_its_client_follows_our_tiles(interop: Path | None, tmp_path: Path) -> None:
    """Every entry of an exported folder, authenticated by torchwood."""
    exported(tmp_path)
    said = kept("tiles")
    if interop is not None:
        assert ask(interop, "tiles", str(tmp_path)) == said
    size, middle = len(ENTRIES), len(ENTRIES) // 2
    assert (said["size"], said["entries"], bytes.fromhex(said["middle"])) == (size, size, ENTRIES[middle])
    assert unhex(said["path"]) == inclusion_proof(middle, size, node_at)
    digests = b"".join(hashlib.sha256(entry).digest() for entry in ENTRIES)
    assert said["digest"] == hashlib.sha256(digests).hexdigest()


def keep(folder: Path) -> None:
    """Ask Go everything and keep what it says."""
    exported(folder / "log")
    program = build(folder / "interop")
    assert program is not None, "there is no Go here"
    for name, arguments in {
        "vectors": ("vectors", str(make.FOLDER)),
        "trees": ("trees", str(TREES)),
        "write": ("write",),
        "tiles": ("tiles", str(folder / "log")),
    }.items():
        (FOLDER / f"go-{name}.json").write_text(json.dumps(ask(program, *arguments), indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        keep(Path(scratch))
