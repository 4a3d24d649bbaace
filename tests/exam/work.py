"""The exam as a set of the nights: a unit is a patch."""

from simulations.work import Done, Finding
from tests.exam.answers import wrong
from tests.exam.hunting import hunt
from tests.exam.planting import patches


class Exam:
    """Each patch in a copy of its own; what falls short is a finding."""

    name = "exam"
    story = "a patch: a bug that ./scripts/hunt has to find, or what is none (docs/exam.md: what was asked by itself)"
    chunk = 1
    alone = True  # a hunt is two processes, and it is about time
    sources = ("simulations/**/*.py", "simulations/**/*.toml", "tests/**/*.py", "tests/exam/*.toml", "scripts/hunt")

    @property
    def units(self) -> int:
        return len(patches())

    @property
    def full(self) -> int:
        return self.units

    def play(self, first: int, last: int) -> Done:
        """Raises BadPatch where a patch does not apply, Broken where a hunt has no ending."""
        counts = {"runs": 0, "bugs": 0, "found": 0, "harmless": 0, "alarms": 0}
        findings = []
        for unit, patch in list(enumerate(patches()))[first:last]:
            answer = hunt(patch)
            counts["runs"] += 1
            counts["harmless" if patch.harmless else "bugs"] += 1
            counts["alarms" if patch.harmless else "found"] += answer.found
            if short := wrong(patch, answer):
                detail = f"{patch.name}: {short}; {answer.seconds:.0f} s, {answer.test} {answer.judge}"
                findings.append(Finding(unit, "exam", detail, f"./scripts/exam --again --only {patch.name}"))
        return Done(counts["runs"], counts, tuple(findings))


EXAM = Exam()
