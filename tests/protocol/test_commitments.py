"""What stands in the log for a private record: it names one payload, one salt and one client."""

import hashlib

import pytest

from bftnode.protocol.commitments import commitment_of

CLIENT, SALT, PAYLOAD = b"c" * 32, b"s" * 32, b"a payload"


def test_it_is_the_hash_that_the_decision_says() -> None:
    """Anybody can compute it: SHA-256 over domain, client, salt and payload."""
    said = b"bftnode/v1/commitment\x00" + CLIENT + SALT + PAYLOAD
    assert commitment_of(CLIENT, SALT, PAYLOAD) == hashlib.sha256(said).digest()


@pytest.mark.parametrize(
    ("client", "salt", "payload"),
    [(b"x" * 32, SALT, PAYLOAD), (CLIENT, b"x" * 32, PAYLOAD), (CLIENT, SALT, b"another"), (CLIENT, SALT, b"")],
    ids=["of another client", "with another salt", "another payload", "no payload"],
)
def test_it_opens_for_nothing_else(client: bytes, salt: bytes, payload: bytes) -> None:
    """Nobody makes a payload theirs by copying its commitment into a record of their own."""
    assert commitment_of(client, salt, payload) != commitment_of(CLIENT, SALT, PAYLOAD)
