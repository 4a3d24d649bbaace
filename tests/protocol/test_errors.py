"""Refusals: the code for programs, and few words for people."""

from bftnode.protocol.errors import DETAIL_CHARACTERS_MAX, Reason, Refused


def test_a_refusal_says_its_code_and_what_is_known_of_it() -> None:
    """Or the code alone."""
    plain, told = Refused(Reason.BUSY), Refused(Reason.BUSY, "the pool is full")
    assert (plain.detail, str(plain)) == ("", "busy")
    assert (told.reason, told.detail, str(told)) == (Reason.BUSY, "the pool is full", "busy: the pool is full")


def test_its_words_are_few() -> None:
    """What is longer is cut, and says so."""
    most = "x" * DETAIL_CHARACTERS_MAX
    assert Refused(Reason.BUSY, most).detail == most
    cut = Refused(Reason.BUSY, most + "x").detail
    assert (len(cut), cut[-5:]) == (DETAIL_CHARACTERS_MAX, "x ...")
