"""What a member's data say to forensics (docs/decisions/010-what-forensics-needs.md): headers, certificates, NEW-VIEWs.

Of blocks that are not in the log, too: a branch that it did not take, and the highest certificate that it holds.

Read beside a node that runs, from a stopped one, or from a copy of its files, which stays as it is. Nothing is checked
here but the records' own seals: who compares two testimonies believes neither. Whose files they are may be the one who
lied, so LMDB does not see them before their pages were walked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bftnode.protocol import limits
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import decoder_of
from bftnode.protocol.forensics import Testimony
from bftnode.protocol.messages import ForkProof
from bftnode.replica.core import FORK
from bftnode.replica.forks import FORK_PROOF
from bftnode.storage.environment import check_structure, opened_read_only
from bftnode.storage.log import certificate_in
from bftnode.storage.records import Databases, Txn, items, open_kept, open_logged, opened
from bftnode.storage.verify import held

NEW_VIEW_PREFIX = b"new_view."
HIGHEST = b"highest"

_open_certificate = decoder_of(Certificate, limits.BODY_BYTES_MAX)
_open_fork_proof = decoder_of(ForkProof, limits.BODY_BYTES_MAX)


def read_testimony(path: Path) -> Testimony:
    """Of the LMDB directory `path`; the whole log's headers and certificates are in memory then.

    Raises IntegrityError, StorageBroken.
    """
    with _reading(path) as (databases, txn):
        certificates: list[Certificate] = []
        headers: list[bytes] = []
        new_views: list[bytes] = []
        shown: list[bytes] = []
        for key, raw in items(txn, databases.log):
            logged = opened(databases.log, key, open_logged, raw)
            headers.append(logged.header)
            certificate = certificate_in(databases.log, key, logged)
            if certificate is not None:
                certificates.append(certificate)
        for key, raw in items(txn, databases.journal):
            if key in (FORK.encode(), HIGHEST):
                certificates.append(opened(databases.journal, key, _open_certificate, raw))
            elif key == FORK_PROOF.encode():
                proof: ForkProof = opened(databases.journal, key, _open_fork_proof, raw)
                certificates.extend(proof.certificates)
                shown.extend(proof.headers)
            elif key.startswith(NEW_VIEW_PREFIX):
                new_views.append(raw)
        kept = [opened(databases.stored, key, open_kept, raw) for key, raw in items(txn, databases.stored)]
        loose = (*shown, *(block.header for block in kept if block.seq >= len(headers)))
    return Testimony(headers=tuple(headers), certificates=tuple(certificates), new_views=tuple(new_views), loose=loose)


@contextmanager
def _reading(path: Path) -> Iterator[tuple[Databases, Txn]]:
    with held(path.parent) as alive:
        if not alive:
            check_structure(path, None)
        with opened_read_only(path, lock=alive) as (env, databases), env.begin() as txn:
            yield databases, txn
