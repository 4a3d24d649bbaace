"""Gathering calls into envelopes: in order, within bounds, and never with one that wants to be alone."""

from bftnode.client.batch import Call, Gathering, envelopes_of


def gathered(*operations: bytes) -> Gathering:
    gathering = Gathering(3, 100)
    for operation in operations:
        gathering.add(Call(operation))
    return gathering


def sizes(gathering: Gathering) -> list[list[int]]:
    found = []
    while (batch := gathering.take()) is not None:
        assert [call.place for call in batch.calls] == list(range(len(batch.calls)))
        found.append([len(call.operation) for call in batch.calls])
    return found


async def test_envelopes_are_bounded_by_count_and_bytes() -> None:
    """One operation longer than the bytes travels alone."""
    assert sizes(gathered(*[b"x"] * 7)) == [[1, 1, 1], [1, 1, 1], [1]]
    assert sizes(gathered(bytes(60), bytes(40), bytes(1), bytes(500), bytes(2))) == [[60, 40], [1], [500], [2]]
    assert sizes(gathered()) == []


async def test_callers_that_left_and_callers_that_want_no_company() -> None:
    """The first are dropped, the others have an envelope to themselves."""
    gathering = Gathering(3, 100)
    calls = [Call(b"x" * (number + 1)) for number in range(5)]
    calls[0].abandoned = calls[4].abandoned = True
    calls[2].alone = True
    for call in calls:
        gathering.add(call)
    assert sizes(gathering) == [[2], [3], [4]]
    assert len(gathering) == 0


async def test_what_is_worth_an_envelope() -> None:
    """As many as are out, or as many, or as long, as fill one."""
    assert gathered(b"x").is_worth(0)
    assert gathered(b"x").is_worth(1)
    assert not gathered(b"x", b"x").is_worth(3)
    assert gathered(b"x", b"x", b"x").is_worth(50)
    assert gathered(bytes(60), bytes(40)).is_worth(50)
    long = gathered(bytes(60), bytes(40), bytes(1))
    long.take()
    assert not long.is_worth(2)


def test_a_list_is_cut_as_callers_are_gathered() -> None:
    """By count and by bytes, in order; what is too long for company is alone."""

    def cut(*lengths: int) -> list[list[int]]:
        return [[len(operation) for operation in part] for part in envelopes_of([bytes(n) for n in lengths], 3, 100)]

    assert cut(*[1] * 7) == [[1, 1, 1], [1, 1, 1], [1]]
    assert cut(60, 40, 1, 500, 2) == [[60, 40], [1], [500], [2]]
    assert cut() == []
