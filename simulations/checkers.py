"""The judge: properties that must hold in every run, whatever the world does, looked at while they can break.

It trusts no arithmetic of the replica's: quorums are computed here again. `faulty` members (Byzantine, wiped or
rolled back) owe nobody anything, except that a wiped one, which still runs correct code, must not append a block that
contradicts the others'. What each property means stands beside it; a `Violation` names it.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from bftnode.protocol.blocks import open_header
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote, rank_of, vote_body
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.ed25519 import Verifier
from bftnode.protocol.envelope import open_frame, signing_bytes
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.evidence import check_accusation
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Kind, NewView, PrePrepare, ViewChange, open_body
from bftnode.protocol.transactions import Transaction
from bftnode.replica.chain import BLOCKS_MAX
from bftnode.replica.checkpoints import KEPT_PER_MEMBER
from bftnode.replica.core import Replica
from bftnode.replica.effects import Accuse, Note
from bftnode.replica.position import NO_VOTE, ViewRecord, VoteRecord
from bftnode.replica.sync import WANTED_MAX
from bftnode.replica.view_change import CERTIFICATES_REMEMBERED
from bftnode.replica.voice import ACCUSATIONS_MAX, BootRecord
from bftnode.replica.votes import BALLOTS_MAX
from simulations.disks import Committed, Disk
from simulations.world import Violation

SAID_ONCE = frozenset({Kind.PRE_PREPARE, Kind.PREPARE, Kind.COMMIT, Kind.VIEW_CHANGE, Kind.NEW_VIEW})

EXPECTED_REFUSALS = frozenset(
    {
        Reason.REPLAY,  # the network duplicates
        Reason.OUT_OF_WINDOW,  # who lags behind
        Reason.BAD_TIME,  # clocks differ
        Reason.UNREQUESTED,  # the answer to a fetch that was given up
    }
)
"""Why one correct replica may refuse what another one sent. Anything else is a misunderstanding between the two."""

Key = tuple[bytes, int]


class Judged(Protocol):
    """What the judge needs to know of a node."""

    member: int
    disk: Disk
    name: str

    @property
    def replica(self) -> Replica: ...


def kind_of(frame: bytes) -> int:
    """The kind of an encoded frame: the first element of its array (a one-byte integer)."""
    return frame[1]


class Judge:
    """Looks at everything that correct nodes say and keep."""

    def __init__(self, members: Membership, verify: Verifier, faulty: Iterable[int]) -> None:
        self._members = members
        self._verify = verify
        self.faulty = dict.fromkeys(faulty)
        n = members.n
        self._quorum = (n + (n - 1) // 3) // 2 + 1
        self.log: list[tuple[bytes, tuple[bytes, ...], bytes]] = [(b"", (), b"")]  # (hash, results, state digest)
        self.executed: dict[Key, int] = {}  # (client, nonce) -> height, over everything that anyone committed
        self._said: dict[tuple[int, int, int, int], bytes] = {}  # (member, kind, view, seq) -> what
        self._left: dict[int, int] = {}  # member -> the highest view for which it sent VIEW-CHANGE
        self._stood: dict[int, tuple[int, bool]] = {}  # member -> (view, active)
        self._ranks: dict[int, tuple[int, int, int]] = {}
        self._valid: dict[bytes, None] = {}
        self._bases: dict[bytes, tuple[int, int]] = {}  # NEW-VIEW -> (view, height of its base)
        self._turns = 0
        self.refusals: dict[str, int] = {}
        self.accused: dict[int, None] = {}  # by correct members, with a proof

    def is_correct(self, node: Judged) -> bool:
        return node.member not in self.faulty

    # ---- what is kept

    def on_committed(self, node: Judged, committed: Committed) -> None:
        """Agreement, validity of the chain, of certificates and of envelopes; exactly-once; one state everywhere."""
        block, certificate = committed.effect.block, committed.effect.certificate
        if certificate is not None:
            self._check_certificate(node, certificate)
            self._own_commit_is_durable(node, certificate)
        results = tuple(encode(result) for result in committed.results)
        if block.seq < len(self.log):
            known, known_results, digest = self.log[block.seq]
            if known != block.hash:
                raise Violation("agreement", f"{node.name} appends another block at height {block.seq}")
            if known_results != results or digest != committed.digest:
                raise Violation("one-state", f"{node.name} executes height {block.seq} differently")
            return
        if block.seq != len(self.log):
            raise Violation("order", f"{node.name} appends height {block.seq} where {len(self.log)} is next")
        self.log.append((block.hash, results, committed.digest))
        for transaction, result in zip(committed.effect.transactions, committed.results, strict=True):
            if transaction.raw not in self._valid and not transaction.signature_valid(self._verify):
                raise Violation("validity", f"height {block.seq} holds an envelope that its client did not sign")
            self._valid[transaction.raw] = None
            if not result.code:
                if transaction.key in self.executed:
                    raise Violation("exactly-once", f"nonce {transaction.key[1]} is executed at height {block.seq} too")
                self.executed[transaction.key] = block.seq

    def _own_commit_is_durable(self, node: Judged, certificate: Certificate) -> None:
        """Clients are told from here on: where q members are said to have made the block durable, this one has."""
        if not self.is_correct(node) or all(vote.sender != node.member for vote in certificate.votes):
            return
        record = _recorded(node, "commit")
        if (record.view, record.seq) < (certificate.view, certificate.seq):
            raise Violation("durable", f"{node.name} counts its own COMMIT at {certificate.seq}, which it may forget")
        if not node.disk.durable(certificate.block, certificate.seq):
            raise Violation("durable", f"{node.name} may forget the block at {certificate.seq}, which it executes")

    def _check_certificate(self, node: Judged, certificate: Certificate) -> None:
        """Integrity: what is kept as a proof is one (computed here with thresholds of our own)."""
        key = encode(certificate)
        if key in self._valid:
            return
        senders = [vote.sender for vote in certificate.votes]
        body = vote_body(certificate.epoch, certificate.view, certificate.seq, certificate.block)
        chain_id, keys = self._members.chain_id, self._members.public_keys
        if certificate.phase != COMMIT or len(set(senders)) != len(senders) or len(senders) < self._quorum:
            raise Violation("certificate", f"{node.name} keeps {len(set(senders))} votes as a commit certificate")
        for vote in certificate.votes:
            message = signing_bytes(chain_id, certificate.phase, vote.sender, vote.boot, vote.counter, body)
            if not self._verify(keys[vote.sender], message, vote.signature):
                raise Violation("certificate", f"{node.name} keeps an invalid vote of member {vote.sender}")
        self._valid[key] = None

    # ---- what is said

    def on_frame(self, node: Judged, raw: bytes) -> None:
        """Said once, durable before it is said, and nothing of a view that was left. Asked as the frame leaves."""
        kind = kind_of(raw)
        if kind not in SAID_ONCE or not self.is_correct(node):
            return
        frame = open_frame(raw)
        if frame.sender != node.member:
            return  # another one's NEW-VIEW, passed on
        body = open_body(frame)
        boot = decode(node.disk.journal["boot"], BootRecord, 64)
        if (boot.boot, boot.reserved) < (frame.boot, frame.counter):
            raise Violation("durable", f"{node.name} speaks in boot {frame.boot}, which it may forget")
        match body:
            case Vote():
                self._once(node, kind, body.view, body.seq, body.block)
                self._durable_vote(node, kind, body)
                if body.view < self._left.get(node.member, 0):
                    raise Violation("left-view", f"{node.name} votes in view {body.view}, which it has left (P10)")
            case PrePrepare():
                self._once(node, kind, body.view, open_header(body.header).seq, body.header)
            case ViewChange():
                self._once(node, kind, body.view, 0, encode(body))
                self._left[node.member] = max(body.view, self._left.get(node.member, 0))
                record = decode(node.disk.journal["view_change"], ViewChange, 1 << 20)
                if record.view < body.view or decode(node.disk.journal["view"], ViewRecord, 64).view < body.view:
                    raise Violation("durable", f"{node.name} may forget its VIEW-CHANGE for view {body.view}")
            case NewView():
                self._once(node, kind, body.view, 0, frame.body)
                if decode(node.disk.journal["view"], ViewRecord, 64).view < body.view:
                    raise Violation("durable", f"{node.name} may forget its NEW-VIEW of view {body.view}")
            case _:
                pass

    def _once(self, node: Judged, kind: int, view: int, seq: int, what: bytes) -> None:
        """No correct member ever says two different things in one place, across crashes too."""
        said = self._said.setdefault((node.member, kind, view, seq), what)
        if said != what:
            raise Violation("said-once", f"{node.name}: two different {Kind(kind).name}s at view {view}, height {seq}")

    def _durable_vote(self, node: Judged, phase: int, vote: Vote) -> None:
        """A COMMIT is on record, with its block and with a certificate that says as much; a PREPARE is, or the node
        will know after a crash that it may have been (decision 009)."""
        record = _recorded(node, "prepare" if phase == PREPARE else "commit")
        said = (vote.view, vote.seq)
        if phase == PREPARE and (record.view, record.seq) < said <= self._vouched(node):
            return
        if (record.view, record.seq) < said:
            raise Violation("durable", f"{node.name} may forget its {Kind(phase).name} at {vote.view}/{vote.seq} (P13)")
        if (record.view, record.seq) == said and record.block != vote.block:
            raise Violation("durable", f"{node.name} remembers another {Kind(phase).name} than it casts")
        if phase == COMMIT:
            raw = node.disk.journal.get("highest")
            if raw is None or decode(raw, Certificate, 1 << 20).rank < (*said, PREPARE):
                raise Violation("durable", f"{node.name} may forget the certificate for its COMMIT at {said}")
            if not node.disk.durable(vote.block, vote.seq):
                raise Violation("durable", f"{node.name} may forget the block of its COMMIT at {said}")

    def _vouched(self, node: Judged) -> tuple[int, int]:
        """Up to which (view, height) a node that restarts with what its disk has now keeps quiet."""
        view = decode(node.disk.journal["view"], ViewRecord, 64).view if "view" in node.disk.journal else 0
        base = 0
        if view:
            raw = node.disk.journal["new_view"]
            if raw not in self._bases:
                body = open_body(open_frame(raw))
                assert isinstance(body, NewView), "journalled as such"
                reports = [open_body(open_frame(item)) for item in body.view_changes]
                ranked = [item.certificate for item in reports if isinstance(item, ViewChange) and item.certificate]
                self._bases[raw] = body.view, max(ranked, key=rank_of).seq if ranked else 0
            opened, base = self._bases[raw]
            if opened != view:
                return (0, 0)
        commit = _recorded(node, "commit")
        if commit.view == view:
            base = max(base, commit.seq)
        return view, base + self._members.parameters.window

    def on_accuse(self, node: Judged, accuse: Accuse) -> None:
        """Nobody correct is ever accused, and every accusation holds for a third party (O12, X07)."""
        if not self.is_correct(node):
            return
        if accuse.culprit not in self.faulty:
            raise Violation("framed", f"{node.name} accuses correct member {accuse.culprit}: {accuse.proved}")
        try:
            culprit, _ = check_accusation(accuse.accusation, self._members, self._verify)
        except Refused as refused:
            raise Violation("evidence", f"{node.name} accuses with what proves nothing: {refused}") from None
        self.accused[culprit] = None
        if culprit != accuse.culprit:
            raise Violation("evidence", f"{node.name} accuses {accuse.culprit} with the words of {culprit}")

    def on_note(self, node: Judged, note: Note) -> None:
        """Correct replicas understand each other."""
        if note.name != "refused":
            return
        reason = str(note.fields["reason"])
        self.refusals[reason] = self.refusals.get(reason, 0) + 1
        if self.is_correct(node) and note.fields["member"] not in self.faulty and reason not in EXPECTED_REFUSALS:
            detail = note.fields["detail"]
            raise Violation("misunderstanding", f"{node.name} refuses {note.fields['member']}: {reason}: {detail}")

    # ---- how it stands

    def on_start(self, node: Judged) -> None:
        """A certificate that it learnt and promised nothing with may be forgotten in a crash."""
        self._ranks.pop(node.member, None)

    def on_turn(self, node: Judged) -> None:
        """Views and certificates only rise; nobody correct stops; nothing grows without bound."""
        self._turns += 1
        if self._turns % 16 == 0:
            self._check_bounds(node)
        if not self.is_correct(node):
            return
        position = node.replica.position
        stands = (position.view, position.active)
        if stands < self._stood.get(node.member, (0, True)):
            raise Violation("view-monotone", f"{node.name} goes from {self._stood[node.member]} back to {stands}")
        self._stood[node.member] = stands
        rank = rank_of(position.highest)
        commit = node.replica.agreement.last_commit
        if commit.seq and rank < (commit.view, commit.seq, PREPARE):
            raise Violation("certificate-monotone", f"{node.name}: {rank} after COMMIT at {commit.view}/{commit.seq}")
        if rank < self._ranks.get(node.member, rank):
            raise Violation("certificate-monotone", f"{node.name}: {rank} after {self._ranks[node.member]}")
        self._ranks[node.member] = rank
        if rank[0] > position.view:
            raise Violation("view-over", f"{node.name} stays in view {position.view} with a certificate of {rank[0]}")
        if position.halted:
            raise Violation("halted", f"{node.name}: {position.halted}")
        if position.quarantine:
            raise Violation("quarantined", f"{node.name}, whose disk is as it left it")

    def _check_bounds(self, node: Judged) -> None:
        """Bounds that each room promises in its own words."""
        replica, members = node.replica, self._members
        window = 2 * members.parameters.window
        ballots = 2 * members.n * BALLOTS_MAX
        sizes = {
            "votes": (len(replica.votes._heights), window + 2),  # and the last votes, for a base far above
            "ballots": (
                max((_ballots(height.tallies) for height in replica.votes._heights.values()), default=0),
                ballots,
            ),
            "verified": (len(replica.votes._verified), 64 + window * ballots),
            "waiting": (len(replica.agreement._waiting), window),
            "accepted": (len(replica.agreement.accepted), window + 1),
            "blocks": (len(replica.chain), BLOCKS_MAX),
            "view changes": (len(replica.view_changes._slots), members.n),
            "certificates": (len(replica.memo._valid), CERTIFICATES_REMEMBERED),
            "wanted": (len(replica.sync._wanted), WANTED_MAX),
            "peers": (len(replica.sync.peers), members.n - 1),
            "checkpoints": (max((len(of) for of in replica.checkpoints._of.values()), default=0), KEPT_PER_MEMBER),
            "accusations": (max((len(of) for of in replica.voice._accused.values()), default=0), ACCUSATIONS_MAX),
        }
        for name, (size, bound) in sizes.items():
            if size > bound:
                raise Violation("bounded", f"{node.name} keeps {size} {name}; the bound is {bound}")


def _recorded(node: Judged, name: str) -> VoteRecord:
    raw = node.disk.journal.get(name)
    return NO_VOTE if raw is None else decode(raw, VoteRecord, 128)


def _ballots(tallies: Mapping[tuple[int, int, bytes], Mapping[int, object]]) -> int:
    return sum(len(tally) for tally in tallies.values())


def missing(judge: Judge, required: Iterable[Transaction]) -> list[Transaction]:
    """What correct clients submitted and nobody has executed."""
    return [transaction for transaction in required if transaction.key not in judge.executed]
