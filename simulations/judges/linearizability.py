"""Linearizability of what clients of the key-value application see (Herlihy and Wing 1990).

A client's operation lasts from when it is first submitted to when f+1 members have executed it: then the client
believes the result. The history of each key is judged alone (linearizability is local, Herlihy and Wing, theorem 1) by
the search of Wing and Gong (1993): some order that respects real time must explain every result. Configurations that
were met are not searched again (Lowe 2017), so histories of some dozens of operations cost milliseconds.

The judge knows what a register is from the application's documentation, not from its code.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bftnode.apps import kv
from bftnode.protocol.results import TransactionResult
from simulations.world import Violation

NEVER = 2**62
"""When an operation ends of which no client heard. It may have been made, or not."""

OPERATIONS_MAX = 400
"""Operations on one key that are searched; more of them is a workload that asks too much of this judge, and said so."""

Value = bytes | None


@dataclass(slots=True)
class Call:
    """One operation of a client on one key."""

    operation: kv.Operation
    began_ms: int
    ended_ms: int = NEVER
    result: kv.Result | None = None


def apply(call: Call, value: Value) -> tuple[Value, kv.Result]:
    """What the register holds after an operation, and what its client is told."""
    match call.operation:
        case kv.Put():
            return call.operation.value, kv.Done()
        case kv.Get():
            return value, kv.Found(value)
        case kv.Delete():
            return None, kv.Deleted(value is not None)
        case kv.CompareAndSwap():
            if value == call.operation.expected:
                return call.operation.value, kv.Swapped(True, value)
            return value, kv.Swapped(False, value)
        case _:
            raise AssertionError("operations on one key only")


def explained(calls: Sequence[Call]) -> bool:
    """Whether an order exists that respects real time and explains every result, from an absent key on."""
    calls = sorted(calls, key=lambda call: call.began_ms)
    everything = (1 << len(calls)) - 1
    owed = sum(1 << place for place, call in enumerate(calls) if call.ended_ms != NEVER)
    met: set[tuple[int, Value]] = set()  # only membership is asked
    stack: list[tuple[int, Value]] = [(0, None)]
    while stack:
        made, value = stack.pop()
        if made & owed == owed:
            return True
        if (made, value) in met:
            continue
        met.add((made, value))
        # Whoever comes next began before the first of those that are left ended.
        left = everything & ~made
        first_end = min(call.ended_ms for place, call in enumerate(calls) if left >> place & 1)
        for place, call in enumerate(calls):
            if call.began_ms > first_end:
                break
            if left >> place & 1:
                after, result = apply(call, value)
                if call.result is None or call.result == result:
                    stack.append((made | 1 << place, after))
    return False


def judge_history(history: Iterable[tuple[bytes, Call]]) -> None:
    """Calls with their keys, in any order. Raises Violation for a key whose results no order explains."""
    by_key: dict[bytes, list[Call]] = {}
    for key, call in history:
        by_key.setdefault(key, []).append(call)
    for key, calls in sorted(by_key.items()):
        if len(calls) > OPERATIONS_MAX:
            raise Violation("linearizability", f"{len(calls)} operations on {key!r} are too many to be judged")
        if not explained(calls):
            told = "; ".join(
                f"{call.began_ms}..{'' if call.ended_ms == NEVER else call.ended_ms} {call.operation} {call.result}"
                for call in calls
            )
            raise Violation("linearizability", f"no order explains what was seen of {key!r}: {told}")


class Linearizability:
    """Collects the history of a run; `judge` it at the end."""

    def __init__(self, heard_by: int, open_result: Callable[[bytes], kv.Result] = kv.open_result) -> None:
        self._heard_by = heard_by  # members whose equal word a client believes: f+1
        self._open_result = open_result
        self._calls: dict[bytes, tuple[bytes, Call]] = {}  # transaction id -> (key, its one operation)
        self._members: dict[bytes, dict[bytes, dict[int, None]]] = {}  # id -> result -> who said so

    @property
    def size(self) -> int:
        """Operations of the history."""
        return len(self._calls)

    def began(self, transaction: bytes, operation: kv.Operation, now_ms: int) -> None:
        """A client submits a transaction of one operation on one key, for the first time."""
        assert not isinstance(operation, kv.Batch | kv.Scan), "operations on one key only"
        self._calls[transaction] = operation.key, Call(operation, now_ms)

    def heard(self, member: int, result: TransactionResult, encoded: bytes, now_ms: int) -> None:
        """A member executed it and says what came of it. Raises Violation: it was refused."""
        found = self._calls.get(result.transaction)
        if found is None or found[1].ended_ms != NEVER or result.code:
            return  # nobody's of ours, believed already, or ordered a second time and rejected
        members = self._members.setdefault(result.transaction, {}).setdefault(encoded, {})
        members[member] = None
        if len(members) >= self._heard_by:
            (done,) = result.results
            if done.code:
                raise Violation("linearizability", f"a valid operation is refused: {done.code}")
            found[1].ended_ms, found[1].result = now_ms, self._open_result(done.value)
            del self._members[result.transaction]

    def judge(self) -> None:
        """Raises Violation for a key whose results no order explains."""
        judge_history(self._calls.values())
