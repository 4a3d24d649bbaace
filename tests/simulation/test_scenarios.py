"""The directed schedules, played with the replica as it is, in clusters of every size."""

import pytest

from simulations.scenarios import (
    ancestors_of_the_base,
    censored_and_left_out,
    certificate_of_a_later_view,
    dead_primary,
    every_crash,
    forgotten_disk,
    lone_replica,
    lowest_certificate,
    no_quorum,
    own_commit,
    power_cut,
    two_quorums,
    withheld_base,
)


@pytest.mark.covers("V02", "V18", "P4", "P5")
def test_the_highest_certificate_decides() -> None:
    """What one replica committed and nobody else knows of survives its absence."""
    lowest_certificate.play()


@pytest.mark.covers("P4", "P23", "P27", "V18")
def test_ancestors_of_the_base_are_not_voted_for_again() -> None:
    """TRAP 1: two blocks in flight, two view changes, and both stay."""
    ancestors_of_the_base.play()


@pytest.mark.covers("P10", "V10", "V15")
def test_a_certificate_ends_every_earlier_view() -> None:
    """TRAP 3: a primary that was cut off comes back where the others are."""
    certificate_of_a_later_view.play()


@pytest.mark.covers("N01", "N11", "P1")
@pytest.mark.parametrize("n", [4, 5, 6, 7])
def test_no_two_halves_are_quorums(n: int) -> None:
    """A primary that shows two halves two chains gets neither committed twice."""
    two_quorums.play(n)


@pytest.mark.covers("N03", "V12", "P16", "P19", "P22")
@pytest.mark.parametrize("n", [4, 5, 6, 7, 10, 31])
def test_dead_primaries_are_replaced(n: int) -> None:
    """Agreement, up to three dead primaries in a row, agreement, and their return."""
    dead_primary.play(n)


@pytest.mark.covers("N02", "N05", "P16", "P31")
def test_a_censored_client_of_a_left_out_member_is_served() -> None:
    """The member hears of blocks all the time and still relays what its client waits for."""
    censored_and_left_out.play()


@pytest.mark.covers("P17", "P18", "V07", "V15")
def test_a_lone_replica_is_fetched_home() -> None:
    """It cannot come back by itself; one view change, granted by the others, brings all together."""
    lone_replica.play()


@pytest.mark.covers("X01", "P17", "P28")
@pytest.mark.parametrize("n", [4, 7])
def test_without_a_quorum_nothing_happens_and_nothing_breaks(n: int) -> None:
    """A minute without f+1 members; then it goes on by itself."""
    no_quorum.play(n)


@pytest.mark.covers("D07", "D08", "R13", "K12")
@pytest.mark.parametrize("wiped", [True, False])
def test_who_has_forgotten_stays_silent_until_it_may_speak(wiped: bool) -> None:
    """A wiped disk or an old one: quarantine, the operator's word, probation, and a vote that counts again."""
    forgotten_disk.play(wiped=wiped)


@pytest.mark.covers("D01", "D02", "P13", "P26")
@pytest.mark.parametrize("member", [1, 2])
def test_a_crash_at_every_point(member: int) -> None:
    """kill -9 of one member in each of its writes and after each of its words, in a run with a view change."""
    assert every_crash.play(member) >= 18, "crashes were tried"


@pytest.mark.covers("T12", "D01", "P13")
@pytest.mark.parametrize("behind_ms", [1, 20, 1000])
@pytest.mark.parametrize("n", [4, 7])
def test_everybody_loses_power_at_once(n: int, behind_ms: int) -> None:
    """At every moment of a decision, however late what promises nothing is written."""
    power_cut.play(n, behind_ms=behind_ms)


@pytest.mark.covers("T12", "N18", "P22")
def test_a_prepared_block_that_only_a_liar_remembers_stops_nobody() -> None:
    """The primary of the next view builds on what it can have."""
    withheld_base.play()


@pytest.mark.covers("T12", "N18", "P22")
def test_a_prepared_block_whose_parent_only_a_liar_remembers_stops_nobody() -> None:
    """To have the base is to have what it stands on."""
    withheld_base.play(gives_the_base=True)


@pytest.mark.covers("P13", "D01", "T12")
def test_a_member_does_not_count_its_own_commit_before_it_is_durable() -> None:
    """Nothing is executed on a certificate that a power cut takes away."""
    own_commit.play()
