"""The studies of bftnode alone, by topic."""

from collections.abc import Mapping

from comparison import attacks, catching_up, growth, memory, sizes
from comparison.findings import Study

STUDIES: Mapping[str, Study] = {
    "T6": catching_up.study,
    "T7": memory.study,
    "T8": growth.study,
    "T9": sizes.study,
    "T10": attacks.study,
}
