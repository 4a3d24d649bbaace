"""What a liar knows of another cluster with the same keys is signed with these keys, for that other cluster."""

from pathlib import Path

import pytest

from bftnode.protocol import ed25519
from bftnode.protocol.envelope import open_frame, signing_bytes
from bftnode.protocol.membership import Parameters
from simulations.adversaries.other_cluster import CHAIN_ELSEWHERE
from simulations.elsewhere import recorded
from theatre import malicious
from theatre.elsewhere import RealKeys

SEEDS = [bytes((i,)) * 32 for i in range(4)]


@pytest.mark.covers("R06")
def test_it_is_signed_by_the_members_for_the_other_chain() -> None:
    """Every member spoke there; each signature is true of that chain and of no other."""
    keys = RealKeys(SEEDS, bytes(32))
    assert keys.members == tuple(sorted(map(ed25519.public_key_of, SEEDS)))
    frames = [open_frame(raw) for raw in recorded(keys, Parameters(), CHAIN_ELSEWHERE, 0)]
    assert {frame.sender for frame in frames} == set(range(4))
    for frame in frames[:40]:
        for chain_id, good in ((CHAIN_ELSEWHERE, True), (bytes(32), False)):
            said = signing_bytes(chain_id, frame.kind, frame.sender, frame.boot, frame.counter, frame.body)
            assert ed25519.verify(keys.members[frame.sender], said, frame.signature) is good


def test_who_has_no_keys_has_no_words_from_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A liar that would say nothing for want of words is no liar."""
    with pytest.raises(SystemExit):
        malicious.main(["--home", str(tmp_path), "--behaviour", "old epoch"])
    assert "--homes" in capsys.readouterr().err
