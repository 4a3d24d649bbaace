"""What clients say and are told: envelopes, what is in them, requests, answers, greetings, results."""

from typing import Any, get_args

import msgspec

from bftnode import verify_receipt
from bftnode.apps import kv, log
from bftnode.apps.execution import open_system_operation
from bftnode.protocol import client_messages as cm
from bftnode.protocol import ed25519
from bftnode.protocol.codec import decoder_of, encode
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.results import TransactionResult
from bftnode.protocol.transactions import TransactionBody, open_transaction, sign_transaction, transaction_id
from nights.fuzz.cluster import CHAIN, CLIENTS, golden, seed_of, sign_again
from nights.fuzz.examples import examples_of
from nights.fuzz.oracle import Target, attempt, holds, passes
from nights.fuzz.targets.peers import AGREE, ONE_SPELLING
from nights.fuzz.trees import leave, mutator

_open_result = decoder_of(TransactionResult, 4 * 1024 * 1024)
"""As the client's session reads it."""

# ---- envelopes


def check_envelope(data: bytes) -> bool:
    """Opened; named alike with and without opening; its signature judged alike by the verifier that stands alone."""
    named = cm.envelope_id(data)
    holds(len(named) == 32, "everything has a name", "of 32 bytes")
    transaction = attempt(Refused, open_transaction, data, CHAIN)
    if transaction is None:
        return False
    holds(named == transaction.id == transaction_id(transaction.signed), AGREE, "the name of an envelope")
    signed = transaction.signature_valid(ed25519.verify)
    alone = attempt(verify_receipt.NotProved, verify_receipt.open_entry, data, CHAIN)
    holds((alone is not None) == signed, AGREE, "whether a client signed an envelope")
    holds(alone is None or alone == (transaction.body.client, list(transaction.body.operations)), AGREE, "its content")
    known = [_operation(one) for one in transaction.body.operations]
    return signed and all(known)


def _operation(operation: bytes) -> bool:
    """Whether it is a system operation, or one of either application."""
    if operation[:1] != b"\x01":
        return attempt(Refused, open_system_operation, operation) is not None
    found = [attempt(Refused, read, operation[1:]) for read in (kv.open_operation, log.open_operation)]
    for one in found:
        holds(one is None or encode(one) == operation[1:], ONE_SPELLING, "of an operation")
    return any(one is not None for one in found)


# ---- requests and answers

_hello = cm.Hello(cm.VERSION, CHAIN, 1, b"c" * 32)


def check_request(data: bytes) -> bool:
    """A client's frame, as AUTH and as a request."""
    auth = attempt(Refused, cm.open_auth, data)
    request = attempt(Refused, cm.open_request, data)
    holds(auth is None or request is None, "a frame has one meaning", "AUTH and a request")
    if auth is not None:
        holds(encode(auth) == data, ONE_SPELLING, "of an AUTH")
        return passes(Refused, cm.check_auth, auth, _hello, ed25519.verify)
    if request is None:
        return False
    holds(encode(request) == data, ONE_SPELLING, "of a request")
    if isinstance(request, cm.Query):
        for read in (kv.open_query, log.open_query):
            query = attempt(Refused, read, request.query)
            holds(query is None or encode(query) == request.query, ONE_SPELLING, "of a query")
    return True


def check_answers(data: bytes) -> bool:
    """A node's frame, as the client's link and session read it; packed again it is the same frame."""
    answers = attempt(Refused, cm.open_answers, data)
    if answers is None:
        return False
    holds(cm.pack_messages(answers) == data, ONE_SPELLING, "of answers")
    packed = [encode(answer) for answer in answers]
    holds(b"".join(cm.pack_answers(packed)) == data or not answers, ONE_SPELLING, "of answers that are packed")
    known = [_answer(answer, raw) for answer, raw in zip(answers, packed, strict=True)]
    return all(known)


def _answer(answer: cm.ServerMessage, raw: bytes) -> bool:
    tag = cm.answer_tag(raw)
    match answer:
        case cm.Hello():
            return passes(Refused, cm.check_hello, answer, CHAIN, 1)
        case cm.Ack() | cm.Nack() | cm.Reject() | cm.Result() | cm.Forgotten() | cm.Unknown():
            holds(cm.answer_transaction(raw) == answer.transaction, AGREE, "which transaction an answer is about")
            holds((tag in cm.FINAL_TAGS) == (not isinstance(answer, cm.Ack | cm.Unknown)), AGREE, "what is final")
            if isinstance(answer, cm.Result):
                result = attempt(Refused, _open_result, answer.result)
                holds(result is None or encode(result) == answer.result, ONE_SPELLING, "of a result")
                return result is not None and all(_value(one.value) for one in result.results)
            return not isinstance(answer, cm.Nack | cm.Reject) or isinstance(cm.reason_of(answer.code), Reason)
        case cm.QueryValue():
            return _value(answer.value)
    return True


def _value(raw: bytes) -> bool:
    """What an application answered."""
    found = [attempt(Refused, read, raw) for read in (kv.open_result, log.open_answer)]
    for one in found:
        holds(one is None or encode(one) == raw, ONE_SPELLING, "of an application's answer")
    return any(one is not None for one in found)


# ---- seeds


def seeds_of_envelopes() -> list[bytes]:
    (whole,) = [raw for raw in golden("transaction") if raw[:1] == b"\x92"]
    operations = [b"\x01" + raw for raw in (*golden("kv."), *golden("log."))]
    operations += [b"\x00" + encode((action, next(iter(CLIENTS)), role)) for action, role in ((1, 1), (1, 2), (2, 0))]
    operations += [b"", b"\x02", b"\x00\x93\x01" + encode(next(iter(CLIENTS))) + b"\x00", b"\x01\x90"]
    many = [_envelope(number, (one,)) for number, one in enumerate(operations, 1)]
    long = _envelope(98, (b"\x01" + kv.put(b"k", bytes(60_000)), b"\x01" + kv.put(b"k", bytes(60_000))))
    middle = _envelope(97, (b"\x01" + kv.put(b"k", bytes(300)),))
    elsewhere = TransactionBody(bytes(32), next(iter(CLIENTS)), 1, 1, (b"\x01",))
    other = sign_transaction(elsewhere, next(iter(CLIENTS.values()))).raw
    return [whole, *many, _envelope(99, tuple(operations)), long, middle, other, bytes(256 * 1024 + 1)]


def _envelope(nonce: int, operations: tuple[bytes, ...]) -> bytes:
    key = seed_of(0, "client")
    body = TransactionBody(CHAIN, ed25519.public_key_of(key), nonce, 1000, operations)
    return sign_transaction(body, ed25519.signer(key)).raw


def seeds_of_requests() -> list[bytes]:
    """One of each kind or two, with queries of both applications."""
    auth = cm.make_auth(_hello, ed25519.public_key_of(seed_of(0, "client")), ed25519.signer(seed_of(0, "client")))
    queries = (kv.get(b"key"), kv.scan(b"a"), log.read(3), log.read_range(1, 5), log.erasures(0))
    wrong: tuple[dict[str, Any], ...] = ({"version": 2}, {"chain_id": bytes(32)}, {"signature": bytes(64)})
    return [
        encode(auth),
        *(encode(msgspec.structs.replace(auth, **change)) for change in wrong),
        b"\x93\x21" + bytes(40),
        b"\x93\x63" + bytes(40),
        *(encode(one) for kind in get_args(cm.Request) for one in examples_of(kind)),
        *(encode(cm.Query(number, 0, 10, query)) for number, query in enumerate(queries)),
    ]


def seeds_of_answers() -> list[bytes]:
    """One of each kind or two, each alone and all together."""
    each = [one for kind in get_args(cm.ServerMessage) for one in examples_of(kind)]
    (result,) = golden("result")
    each += [cm.Result(b"t" * 32, result), cm.Hello(cm.VERSION, CHAIN, 1, b"c" * 32)]
    each += [cm.Hello(2, CHAIN, 1, b"c" * 32), cm.Hello(1, bytes(32), 1, b"c" * 32), cm.Hello(1, CHAIN, 2, b"c" * 32)]
    each += [cm.QueryValue(1, 2, encode(one)) for kind in _values() for one in examples_of(kind)]
    return [*(cm.pack_messages([one]) for one in each), cm.pack_messages(each[:12])]


def _values() -> list[type]:
    return [*get_args(kv.Result), *get_args(log.Answer)]


TARGETS = (
    Target(
        "envelopes",
        "a client's envelope and the operations in it; the node's reader beside verify_receipt.py's",
        check_envelope,
        seeds_of_envelopes,
        mutator(sign_again, seeds_of_envelopes),
    ),
    Target(
        "requests",
        "a client's AUTH or request, with queries of both applications",
        check_request,
        seeds_of_requests,
        mutator(leave, seeds_of_requests),
    ),
    Target(
        "answers",
        "a node's frame of answers to a client, with results and applications' values",
        check_answers,
        seeds_of_answers,
        mutator(leave, seeds_of_answers),
    ),
)
