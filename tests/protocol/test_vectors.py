"""Golden bytes: the wire of today is the wire of yesterday, unless somebody ran tests/vectors/make.py."""

import json

import pytest

from bftnode.protocol.codec import decode, encode
from bftnode.protocol.genesis import parse_genesis, write_genesis
from bftnode.protocol.messages import Kind
from tests.vectors import make

KNOWN: dict[str, str] = json.loads((make.FOLDER / "wire.json").read_text(encoding="ascii"))
EXAMPLES = make.examples()


@pytest.mark.parametrize("name", KNOWN)
def test_the_bytes_are_those_on_record(name: str) -> None:
    """A difference is a change of the protocol: old signatures, logs and receipts would not be readable."""
    assert make.golden()[name] == KNOWN[name]


def test_everything_is_on_record() -> None:
    """A new message kind or example is added to wire.json by running the script."""
    assert list(make.golden()) == list(KNOWN)
    assert {f"frame.{kind.name}" for kind in Kind} <= set(KNOWN)


@pytest.mark.parametrize("name", EXAMPLES)
def test_recorded_bytes_are_read_back(name: str) -> None:
    """What was written then is read now, to the same value and the same bytes."""
    raw = bytes.fromhex(KNOWN[name])
    assert encode(decode(raw, EXAMPLES[name].kind, len(raw))) == raw


def test_the_recorded_genesis_is_read_back() -> None:
    """The file of the first cluster gives the chain id on record."""
    text = (make.FOLDER / "genesis.toml").read_text(encoding="utf-8")
    assert parse_genesis(text).chain_id().hex() == KNOWN["genesis.chain_id"]
    assert write_genesis(parse_genesis(text)) == text
