"""`forensics`: two members' data, receipts and exported logs that contradict each other, from the shell."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from bftnode.apps.execution import Executor
from bftnode.apps.registry import load_application
from bftnode.node.home import Home
from bftnode.protocol.blocks import Block, Header, genesis_block, make_block
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, VoteSignature, vote_body
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import Signer, signer
from bftnode.protocol.envelope import encode_frame, seal, signing_bytes
from bftnode.protocol.genesis import Genesis
from bftnode.protocol.merkle import EMPTY_ROOT
from bftnode.protocol.messages import Kind, NewView, ViewChange
from bftnode.protocol.receipts import Receipt, write_receipt
from bftnode.replica.effects import AppendBlock
from bftnode.storage.store import Storage, Turn
from tests.cli.commands import bftnode

N, Q = 4, 3
LEFT, RIGHT = (0, 1, 2), (1, 2, 3)


class Town:
    """A cluster's homes with all its secrets, and what a coalition of members can do with theirs."""

    def __init__(self, path: Path) -> None:
        assert bftnode("testnet", "--dir", str(path)).exit_code == 0
        homes = [Home(path / f"node{i}") for i in range(N)]
        self.genesis: Genesis = homes[0].load_genesis()
        self.chain = self.genesis.chain_id()
        keys = self.genesis.membership().public_keys
        self.homes = sorted(homes, key=lambda home: keys.index(home.load_identity().public_key))
        self.signers: list[Signer] = [signer(home.load_identity().seed) for home in self.homes]

    def block(self, parent: Block, time_ms: int) -> Block:
        header = Header(self.chain, 0, parent.seq + 1, parent.hash, time_ms, EMPTY_ROOT, 0, EMPTY_ROOT, 0, 0)
        return make_block(header, (), [])

    def certificate(self, block: Block, view: int, senders: Iterable[int], phase: int = COMMIT) -> Certificate:
        body = vote_body(0, view, block.seq, block.hash)
        votes = tuple(
            VoteSignature(i, 1, 7, self.signers[i](signing_bytes(self.chain, phase, i, 1, 7, body))) for i in senders
        )
        return Certificate(phase, 0, view, block.seq, block.hash, votes)

    def new_view(self, view: int, senders: Iterable[int]) -> bytes:
        """Nobody reports anything."""
        body = encode(ViewChange(0, view, None))
        changes = tuple(
            encode_frame(seal(self.chain, Kind.VIEW_CHANGE, i, 1, 8, body, self.signers[i])) for i in senders
        )
        primary = view % N
        frame = seal(self.chain, Kind.NEW_VIEW, primary, 1, 9, encode(NewView(0, view, changes)), self.signers[primary])
        return encode_frame(frame)

    def write(
        self,
        member: int,
        blocks: list[tuple[Block, Certificate]],
        journal: dict[str, bytes] | None = None,
        stored: Iterable[Block] = (),
    ) -> Path:
        """The member's home, with this log."""
        executor = Executor(load_application(self.genesis.application), self.genesis.administrator_keys(), 100)
        storage = Storage.open(self.homes[member].data_path, self.genesis.membership(), member, executor)
        try:
            appends = [AppendBlock(block, (), certificate) for block, certificate in blocks]
            storage.commit(Turn(journal=journal or {}, blocks=list(stored), appends=appends))
        finally:
            storage.close()
        return self.homes[member].path

    def names(self, *members: int) -> list[str]:
        return [self.genesis.members[member].name for member in members]


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path / "d")


def common(town: Town) -> tuple[Block, tuple[Block, Certificate]]:
    block = town.block(genesis_block(town.chain), 1)
    return block, (block, town.certificate(block, 0, LEFT))


@pytest.mark.covers("X02", "O10")
def test_two_homes_that_forked_in_one_view(town: Town, tmp_path: Path) -> None:
    """Who signed both is named, exit code 5, and the bundle convinces a verifier that shares no code with the node."""
    parent, first = common(town)
    one, two = town.block(parent, 2), town.block(parent, 3)
    a = town.write(0, [first, (one, town.certificate(one, 0, LEFT))])
    b = town.write(3, [first, (two, town.certificate(two, 0, RIGHT))])
    bundle = tmp_path / "proof.json"
    result = bftnode("forensics", str(a), str(b), "--bundle", str(bundle))
    assert result.exit_code == 5, result.output
    assert "fork at height 2" in result.stdout
    assert one.hash.hex()[:16] in result.stdout
    assert two.hash.hex()[:16] in result.stdout
    assert "(forensics.contradiction)" in result.stderr
    for name in town.names(1, 2):
        assert f"culprit: {name}: two COMMITs for different blocks at view 0, height 2" in result.stdout
    for name in town.names(0, 3):
        assert f"culprit: {name}" not in result.stdout
    command = [sys.executable, "-m", "bftnode.verify_bundle", str(bundle), str(Home(a).genesis_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.split(": ")[1] for line in done.stdout.splitlines()] == town.names(1, 2)


@pytest.mark.covers("X03", "V02")
def test_a_data_directory_against_a_copy_of_its_files(town: Town, tmp_path: Path) -> None:
    """Across views, from the NEW-VIEW that the other side kept; as JSON."""
    parent, first = common(town)
    one, two = town.block(parent, 2), town.block(parent, 3)
    a = town.write(0, [first, (one, town.certificate(one, 0, LEFT))])
    kept = {"new_view.2": town.new_view(2, RIGHT)}
    b = town.write(3, [first, (two, town.certificate(two, 2, RIGHT))], kept)
    copy = tmp_path / "copy"
    shutil.copytree(Home(b).data_path / "lmdb", copy)
    result = bftnode("forensics", str(a / "data"), str(copy), "--genesis", str(Home(a).genesis_path), "--json")
    assert result.exit_code == 5, result.output
    report = json.loads(result.stdout)
    assert report["fork_height"] == 2
    proved = "a VIEW-CHANGE for view 2 that hides its COMMIT at view 0, height"
    assert [one["name"] for one in report["culprits"]] == town.names(1, 2)
    assert all(one["proved"].startswith(proved) for one in report["culprits"])
    assert [item["view"] for side in report["sides"] for item in side["certificates"]] == [0, 2]
    assert report["sides"][1]["certificates"][0]["signed"] == town.names(*RIGHT)


@pytest.mark.covers("X06", "X04")
def test_a_receipt_against_an_exported_log(town: Town, tmp_path: Path) -> None:
    """The receipt as a line, as bare bytes and as its file; the log as another machine exported it."""
    parent, first = common(town)
    one, two = town.block(parent, 2), town.block(parent, 3)
    a = town.write(0, [first, (one, town.certificate(one, 0, LEFT))])
    log, line, bare, text = (tmp_path / name for name in ("log.jsonl", "receipt.jsonl", "receipt", "x.receipt"))
    result = bftnode("forensics", str(a), str(a), "--export", str(log))
    assert result.exit_code == 0, result.output
    receipt = Receipt(two.header_raw, 0, (), town.certificate(two, 0, RIGHT))
    line.write_text(json.dumps({"receipt": encode(receipt).hex()}) + "\n", encoding="ascii")
    bare.write_bytes(encode(receipt))
    text.write_bytes(write_receipt(receipt, b"an entry"))
    for file in (line, bare, text):
        result = bftnode("forensics", str(file), str(log), "--genesis", str(Home(a).genesis_path), "--json")
        assert result.exit_code == 5, result.output
        assert [one["name"] for one in json.loads(result.stdout)["culprits"]] == town.names(1, 2)


def test_a_node_that_halted_holds_both_certificates(town: Town) -> None:
    """Its own home twice is enough, however deep the fork is below its head."""
    parent, first = common(town)
    one, two = town.block(parent, 2), town.block(parent, 3)
    top = town.block(one, 4)
    blocks = [first, (one, town.certificate(one, 0, LEFT)), (top, town.certificate(top, 0, LEFT))]
    home = town.write(0, blocks, {"fork": encode(town.certificate(two, 0, RIGHT))})
    result = bftnode("forensics", str(home), str(home), "--json")
    assert result.exit_code == 5, result.output
    assert json.loads(result.stdout)["fork_height"] == 2
    shown = [item["block"] for item in json.loads(result.stdout)["sides"][0]["certificates"]]
    assert shown == [one.hash.hex(), two.hash.hex()]
    assert [one["name"] for one in json.loads(result.stdout)["culprits"]] == town.names(1, 2)


@pytest.mark.covers("X02", "O10")
def test_a_node_that_halted_below_what_was_prepared(town: Town, tmp_path: Path) -> None:
    """Two branches of one view at two heights, by the headers that it holds beside its log: alone, from its export, and
    for the verifier that shares no code with the node."""
    parent, first = common(town)
    one, two = town.block(parent, 2), town.block(parent, 3)
    top = town.block(one, 4)
    journal = {
        "highest": encode(town.certificate(top, 0, LEFT, PREPARE)),
        "fork": encode(town.certificate(two, 0, RIGHT)),
    }
    home = town.write(0, [first], journal, stored=[one, two, top])
    export, bundle = tmp_path / "export", tmp_path / "proof.json"
    result = bftnode("forensics", str(home), str(home), "--export", str(export), "--bundle", str(bundle))
    assert result.exit_code == 5, result.output
    for name in town.names(1, 2):
        proved = "a PREPARE at view 0, height 3, on another branch than its COMMIT at height 2"
        assert f"culprit: {name}: {proved}" in result.stdout
    again = bftnode("forensics", str(export), str(export), "--genesis", str(Home(home).genesis_path))
    assert again.stdout == result.stdout.replace(str(home), str(export))
    command = [sys.executable, "-m", "bftnode.verify_bundle", str(bundle), str(Home(home).genesis_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.split(": ")[1] for line in done.stdout.splitlines()] == town.names(1, 2)


@pytest.mark.covers("X07")
def test_logs_of_different_length_do_not_contradict_each_other(town: Town, tmp_path: Path) -> None:
    """One is behind; their certificates are of different quorums. Exit code 0, and no bundle."""
    parent, first = common(town)
    one = town.block(parent, 2)
    a = town.write(0, [first, (one, town.certificate(one, 0, LEFT))])
    b = town.write(3, [(parent, town.certificate(parent, 0, RIGHT))])
    result = bftnode("forensics", str(a), str(b), "--bundle", str(tmp_path / "proof"))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("no fork")
    assert not (tmp_path / "proof").exists()


@pytest.mark.covers("X03")
def test_a_fork_that_convicts_nobody_says_what_is_missing(town: Town) -> None:
    """Across views without the NEW-VIEW: a fork all the same, and whom to ask."""
    parent, first = common(town)
    one, two = town.block(parent, 2), town.block(parent, 3)
    a = town.write(0, [first, (one, town.certificate(one, 0, LEFT))])
    b = town.write(3, [first, (two, town.certificate(two, 2, RIGHT))])
    result = bftnode("forensics", str(a), str(b))
    assert result.exit_code == 5, result.output
    assert "nobody is proved guilty" in result.stdout
    assert "active in the views between" in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"index": 0, "envelope": "00"}\n', "prove nothing against a member"),
        ('{"header": "00", "more": "00"}\n', "line 1 is not of an exhibit"),
        ('{"header": 3}\n', "line 1 is not of an exhibit"),
        ('{"stranger": "00"}\n', "line 1 is not of an exhibit"),
        ('{"receipt": "00"}\n{\n', "line 2 is not of an exhibit"),
        ("junk", ""),
    ],
)
def test_a_file_that_is_no_exhibit_is_refused(town: Town, tmp_path: Path, text: str, said: str) -> None:
    """In a sentence: an entry export carries no certificate, and proves nothing."""
    (tmp_path / "file").write_text(text, encoding="ascii")
    home = town.homes[0].path
    result = bftnode("forensics", str(tmp_path / "file"), str(home), "--genesis", str(town.homes[0].genesis_path))
    assert result.exit_code in (1, 5), result.output
    assert said in result.stderr
    assert "internal" not in result.stderr


def test_the_genesis_must_be_known_and_theirs(town: Town, tmp_path: Path) -> None:
    """Without one, or with another cluster's: exit code 78."""
    home = town.write(0, [])
    (tmp_path / "bare").mkdir()
    result = bftnode("forensics", str(home / "data"), str(home / "data"))
    assert result.exit_code == 78
    assert "--genesis FILE" in result.stderr
    other = Town(tmp_path / "e")
    result = bftnode("forensics", str(home), str(home), "--genesis", str(other.homes[0].genesis_path))
    assert result.exit_code == 78
    assert "(data.foreign)" in result.stderr
    result = bftnode("forensics", str(tmp_path / "bare"), str(home))
    assert result.exit_code == 1
    assert "no data directory" in result.stderr
