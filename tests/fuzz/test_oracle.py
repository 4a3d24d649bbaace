"""The oracles can fail: planted readers that raise, that take a second spelling, that eat memory or time."""

import json
from collections.abc import Callable
from random import Random

import pytest

from bftnode.protocol import codec, envelope
from bftnode.protocol.errors import Reason, Refused
from nights.fuzz import oracle
from nights.fuzz.oracle import Breach, Broken, Examiner, Target, attempt, holds
from nights.fuzz.targets import TARGETS, clients, peers
from nights.fuzz.trees import leave, mutator


def breach_of(check: Callable[[bytes], bool], data: bytes = b"data", *, traced: bool = False) -> Breach | None:
    target = Target("planted", "", check, list, mutator(leave, list))
    return Examiner(target).examine(data, traced=traced)


def examined(check: Callable[[bytes], bool], data: bytes = b"data", *, traced: bool = False) -> str:
    """The judge that speaks of this reader."""
    breach = breach_of(check, data, traced=traced)
    return "" if breach is None else breach.judge


def test_what_holds_is_no_finding() -> None:
    """Taken and refused."""
    assert examined(lambda data: True) == ""
    assert examined(lambda data: attempt(Refused, _refuse, data) is not None) == ""


def _refuse(data: bytes) -> bytes:
    raise Refused(Reason.CODEC_SIZE, "x" * (len(data) - 4))


def _refuse_at_length(data: bytes) -> bytes:
    raise KeyError(data.decode())


def test_another_exception_is_found() -> None:
    """A KeyError, an assertion of ours, the end of the stack."""
    for error in (KeyError("kind"), AssertionError("a belief"), RecursionError(), MemoryError(), SystemExit(1)):
        assert examined(lambda data, error=error: _raise(error)) == "nothing but refusals is raised"


def test_what_is_raised_is_named_the_same_on_every_machine() -> None:
    """By the innermost error that was raised, and by a file below the checkout or a library."""

    def group(_: bytes) -> bool:
        try:
            return _raise(KeyError("kind"))
        except KeyError as error:
            raise ExceptionGroup("outer", [ExceptionGroup("inner", [error])]) from None

    def never_raised(_: bytes) -> bool:
        raise ExceptionGroup("outer", [KeyError("kind")])

    for check, named in (
        (group, "KeyError: 'kind' at tests/fuzz/test_oracle.py:"),
        (never_raised, "ExceptionGroup: outer (1 sub-exception) at tests/fuzz/test_oracle.py:"),
        (json.loads, "JSONDecodeError: Expecting value: line 1 column 1 (char 0) at json/decoder.py:"),
    ):
        breach = breach_of(check)
        assert breach is not None
        assert breach.detail.startswith(named)


def _raise(error: BaseException) -> bool:
    raise error


def test_a_long_refusal_is_found() -> None:
    """What a peer sent is not said back at length."""
    judge = examined(lambda data: attempt(KeyError, _refuse_at_length, data) is not None, b"d" * 1000)
    assert judge == "a refusal's words are few"


def test_memory_and_time_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A length that is believed, and a loop over it."""
    monkeypatch.setattr(oracle, "SECONDS_MAX", 0.02)
    assert examined(lambda data: bool([0] * 2_000_000), traced=True) == "an input takes little memory"
    assert examined(lambda data: sum(range(4_000_000)) > 0) == "an input takes little time"


def test_a_planted_second_spelling_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that does not encode again what it has read takes wider integers: the target says so."""
    read = codec.msgspec.msgpack.Decoder(envelope.Frame).decode
    monkeypatch.setattr(peers, "open_frame", read)
    monkeypatch.setattr(peers, "decode", lambda data, kind, bytes_max: read(data))
    frame = peers.seeds_of_frames()[1]
    assert examined(peers.check_frame, frame) == ""
    wider = frame[:1] + b"\xcc" + frame[1:]
    assert examined(peers.check_frame, wider) == "one spelling"


def test_a_planted_key_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a table of kinds that is asked without looking."""
    table = {1: b""}
    monkeypatch.setattr(clients.cm, "open_auth", lambda data: table[data[0]])
    assert examined(clients.check_request, b"\x02") == "nothing but refusals is raised"


def test_a_planted_disagreement_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verifier that stands alone takes an envelope of any cluster."""
    other = clients.verify_receipt.open_entry
    body, _ = codec.unpack(clients.seeds_of_envelopes()[0], 10_000)
    monkeypatch.setattr(clients.verify_receipt, "_ed25519", lambda *of: True)
    forged = codec.encode((body, bytes(64)))
    assert other is clients.verify_receipt.open_entry
    assert examined(clients.check_envelope, forged) == "two readers agree"


def test_changed_trees_meet_a_planted_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the decoder: a query that waits longest, of a request number that no seed has."""
    read = clients.cm.open_request

    def careless(raw: bytes) -> object:
        request = read(raw)
        if isinstance(request, clients.cm.Query) and request.request > 100 and request.wait_ms:
            raise KeyError(request.request)
        return request

    monkeypatch.setattr(clients.cm, "open_request", careless)
    target, seeds = TARGETS["requests"], [one for one in TARGETS["requests"].seeds() if one[1] == 12][2:]
    examiner = Examiner(target)
    assert not [one for one in seeds if examiner.examine(one)]
    found = (examiner.examine(target.mutate(seeds[dice % len(seeds)], Random(dice))) for dice in range(3000))
    assert next(breach for breach in found if breach).judge == "nothing but refusals is raised"


def test_holds_says_what_does_not() -> None:
    """By the name of the property."""
    with pytest.raises(Broken, match="one spelling: of a frame"):
        holds(False, "one spelling", "of a frame")
