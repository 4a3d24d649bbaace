"""Coalitions of any size, up to n-1 of n, and what comes of it: safety, liveness, detection, attribution, recovery.

A coalition acts as one mind with the keys of its members and no others. Its strongest attack on agreement needs no
cleverness: two copies of each of its members (twins.py), one of which speaks with one part of the honest, the other
with the rest, while nothing passes between the parts. Each copy is convincing, for it runs the protocol; together they
vote for both histories. Where the first primary conspires the histories part in one view; where it is honest, one part
changes views, and the copies there report nothing of what was committed elsewhere: amnesia across views (faults.md X02
to X05). Where no honest member is left for the second part, its history is what an eclipsed client is shown (X06).
Copies that know what they do can part the histories without a second vote at any height, nor a VIEW-CHANGE that hides
one (ladder.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bftnode.apps.execution import Executor, application_operation
from bftnode.apps.log import Records, append
from bftnode.protocol import quorums
from bftnode.protocol.codec import decode
from bftnode.protocol.forensics import Findings, Testimony, investigate
from bftnode.protocol.limits import BODY_BYTES_MAX
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.messages import ForkProof
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction
from bftnode.replica.forks import FORK_PROOF
from simulations.adversaries import BEHAVIOURS
from simulations.adversaries.ladder import Climber, Scheme, Watcher, Way
from simulations.adversaries.liar import Behaviour, Liar
from simulations.adversaries.twins import Numbering, Twin
from simulations.crypto import Keyring
from simulations.disks import Disk
from simulations.judges.observer import Observer, part_at, testimony_of
from simulations.network import Network
from simulations.node import Envelopes, Node
from simulations.simulation import CHAIN, QUICK
from simulations.swarm import CONSPIRACY
from simulations.workload import FAR_AHEAD
from simulations.world import Violation, World

CLIENTS = 3
FRAMERS = ("framer", "crooked certificate", "vote equivocator", "fork forger")
APART_MS = 30_000
"""Virtual time in which the parts go on alone: some view changes, where a part needs them."""
TOGETHER_MS = 60_000
"""Virtual time for what is promised once everybody hears everybody: (2f+8) timeouts and more (swarm.py)."""
SPREAD_MS = 3 * QUICK.status_interval_ms + 100
"""Virtual time in which all honest members stop once one of them has the proof of a fork and they hear each other:
three status intervals, and what frames take on the way."""
UNPROMISED_MS = 10_000
"""Virtual time for what is not promised and only looked at."""


@dataclass(slots=True)
class Came:
    """What came of one run. None: the question does not arise."""

    attack: str
    seed: int
    forked: bool = False  # two honest parties hold histories that contradict each other
    live: bool | None = None  # while the attack lasts, everything that honest clients ask for is executed
    detected: bool | None = None  # honest members of both sides hear each other: all stop and say so, with the proof
    exposed: bool | None = None  # the two histories, compared offline, contradict each other
    culprits: tuple[int, ...] | None = None
    proofs: tuple[str, ...] = ()  # what is proved of each of them
    blamed: bool | None = None  # at least f+1 culprits, all of them conspirators
    recovered: bool | None = None  # after the attack all that was asked for is executed by all honest members


class Cabal:
    """n members of which `coalition` conspire, and the world that they live in."""

    def __init__(self, n: int, coalition: Sequence[int], seed: int, attack: str) -> None:
        self.n = n
        self.coalition = tuple(sorted(coalition))
        self.honest = tuple(member for member in range(n) if member not in self.coalition)
        self.seed = seed
        self.world = World(f"{attack} {n} {len(self.coalition)} {seed}")
        self.dice = self.world.random("cabal")
        self.network = Network(self.world)
        self.keyring = Keyring(n, CLIENTS)
        self.members = Membership(
            CHAIN,
            0,
            self.keyring.members,
            Parameters(
                block_transactions_max=self.dice.choice((1, 3)),
                window=self.dice.choice((2, 8)),
                checkpoint_interval=self.dice.choice((2, 4)),
            ),
        )
        self.judge = Observer(self.members, self.keyring.verify, self.coalition, self.keyring.clients)
        self._executor = Executor(Records(), self.keyring.clients, 100)
        self._envelopes = Envelopes(self.members, self._executor, self.keyring.verify)
        self._nonces = [0] * CLIENTS
        self.nodes = [self._settle(Liar if member in self.coalition else Node, member, member) for member in range(n)]

    def _settle(self, kind: type[Node], member: int, place: int) -> Node:
        return kind(
            self.world,
            self.network,
            self.judge,
            self.members,
            member,
            self.keyring.member_signer(member),
            self.keyring.verify,
            self._envelopes,
            Disk(self.members, self._executor),
            QUICK,
            place=place,
        )

    def twins(self, scheme: Scheme | None = None) -> list[Liar]:
        """A second copy of each conspirator; both say what they like under one member's key, or keep to a scheme."""
        second: list[Liar] = []
        for number, member in enumerate(self.coalition):
            numbering = Numbering()
            other = self._settle(Liar, member, self.n + number)
            assert isinstance(other, Liar), "settled as one"
            for copy in (self.nodes[member], other):
                assert isinstance(copy, Liar), "settled as one"
                behaviours: list[Behaviour] = [Twin(self.world.random(f"twin {copy.place}"), numbering)]
                if scheme is not None:
                    dice = self.world.random(f"scheme {copy.place}")
                    behaviours.insert(0, Climber(dice, scheme) if copy is other else Watcher(dice, scheme))
                copy.misbehave(behaviours, self.dice)
            second.append(other)
        return second

    @property
    def patience_ms(self) -> int:
        """For how long progress is waited for, while the coalition does what it can."""
        return TOGETHER_MS if len(self.coalition) <= quorums.max_faulty(self.n) else UNPROMISED_MS

    def start(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            node.start()

    def run(self, ms: int, done: Callable[[], bool] | None = None) -> bool:
        return self.world.run(self.world.now_ms + ms, done)

    def submit(self, nodes: Sequence[Node], count: int, client: int) -> list[Transaction]:
        """An honest client asks all of these."""
        asked = []
        for _ in range(count):
            self._nonces[client] += 1
            operation = application_operation(append(b"%d/%d" % (client, self._nonces[client])))
            body = TransactionBody(CHAIN, self.keyring.clients[client], self._nonces[client], FAR_AHEAD, (operation,))
            transaction = sign_transaction(body, self.keyring.client_signer(client))
            asked.append(transaction)
            for node in nodes:
                node.submit(transaction)
        return asked

    def executed(self, asked: Sequence[Transaction], members: Sequence[int]) -> bool:
        """Whether these honest members have executed all of it, as one history."""
        done = self.judge.done
        if not all(item.key in done.get(member, {}) for item in asked for member in members):
            return False
        return len({tuple(sorted(self.judge.chains.get(member, {}).items())) for member in members}) <= 1

    def compare(self, left: Disk, right: Disk) -> Findings:
        """What a third party finds in two histories that it is shown."""
        return investigate(testimony_of(left), testimony_of(right), self.members, self.keyring.verify)


def silent(n: int, coalition: Sequence[int], seed: int) -> Came:
    """The coalition falls silent, and comes back."""
    cabal, came = Cabal(n, coalition, seed, "silent"), Came("silent", seed)
    cabal.start(cabal.nodes)
    honest = [cabal.nodes[member] for member in cabal.honest]
    asked = cabal.submit(honest, 2, 0)
    cabal.run(cabal.dice.randint(20, 400))
    for member in cabal.coalition:
        cabal.nodes[member].crash()
    asked += cabal.submit(honest, 3, 1)
    came.live = cabal.run(cabal.patience_ms, lambda: cabal.executed(asked, cabal.honest))
    for member in cabal.coalition:
        cabal.nodes[member].start()
    came.recovered = cabal.run(TOGETHER_MS, lambda: cabal.executed(asked, cabal.honest))
    came.forked = _parted(cabal) is not None
    _acquit(cabal)
    return came


def conspirators(
    n: int, coalition: Sequence[int], seed: int, *, attack: str = "conspirators", behaviours: Sequence[str] = CONSPIRACY
) -> Came:
    """Equivocation, double votes and VIEW-CHANGEs that hide, by all of the coalition, in an open network."""
    cabal, came = Cabal(n, coalition, seed, attack), Came(attack, seed)
    for member in cabal.coalition:
        liar, dice = cabal.nodes[member], cabal.world.random(f"liar {member}")
        assert isinstance(liar, Liar), "settled as one"
        liar.misbehave([BEHAVIOURS[name](dice) for name in behaviours], dice)
    cabal.start(cabal.nodes)
    honest = [cabal.nodes[member] for member in cabal.honest]
    asked: list[Transaction] = []
    for client in range(CLIENTS):
        asked += cabal.submit(honest, 2, client)
        cabal.run(cabal.dice.randint(20, 800))
    came.live = cabal.run(cabal.patience_ms, lambda: cabal.executed(asked, cabal.honest))
    parted = _parted(cabal)
    came.forked = parted is not None
    if parted is not None:
        one, other = parted
        came.detected = _all_stop(cabal, cabal.honest, honest)
        _expose(cabal, came, one.disk, other.disk)
    _acquit(cabal)
    return came


def framers(n: int, coalition: Sequence[int], seed: int) -> Came:
    """Accusations with altered fields and of other chains, crooked certificates, forged proofs of forks: to have honest
    members blamed, or stopped."""
    return conspirators(n, coalition, seed, attack="framers", behaviours=FRAMERS)


def split(n: int, coalition: Sequence[int], seed: int, *, part: int | None = None) -> Came:
    """Two parts of the honest, or the honest and an eclipsed client, are shown histories of their own.

    `part`: how many honest members are in the second part; by default half of them.
    """
    attack = "split" if part is None else "eclipsed client"
    cabal, came = Cabal(n, coalition, seed, attack), Came(attack, seed)
    second = cabal.twins()
    share = len(cabal.honest) // 2 if part is None else part
    there = list(cabal.dice.sample(cabal.honest, share))
    near = [node for node in cabal.nodes if node.member not in there]
    far = [*(cabal.nodes[member] for member in sorted(there)), *second]
    cabal.network.cut_between([node.place for node in near], [node.place for node in far])
    cabal.start([*cabal.nodes, *second])
    cabal.run(20)
    asked = cabal.submit(near, cabal.dice.randint(1, 3), 0)
    elsewhere = cabal.submit(far, cabal.dice.randint(1, 3), 1)
    near_honest = [node for node in near if node.member in cabal.honest]
    far_honest = [node for node in far if node.member in cabal.honest] or second[:1]

    def apart() -> bool:
        return part_at(near_honest[0].disk, far_honest[0].disk) is not None

    came.forked = cabal.run(APART_MS, apart)
    cabal.run(2000)
    left, right = near_honest[0].disk, far_honest[0].disk
    if came.forked:
        _expose(cabal, came, left, right)
    cabal.network.join()
    if came.forked:
        if share:
            came.detected = _find_out(cabal, (near_honest, far_honest), second)
    else:
        # Copies that were cut off from each other are one member that lies, no more.
        asked += [*elsewhere, *cabal.submit([*cabal.nodes, *second], 2, 2)]
        came.live = cabal.run(TOGETHER_MS, lambda: cabal.executed(asked, cabal.honest))
    _acquit(cabal)
    return came


def ladder(n: int, coalition: Sequence[int], seed: int) -> Came:
    """Two parts of the honest are shown two branches of the first view, whose primary conspires, by votes at different
    heights. By seed the upper block is committed at once, or reported to the next view by the conspirators, or by the
    honest alone. With fewer than two honest members there are no parts."""
    scheme = Scheme(Way(seed % len(Way)), quorums.quorum(n))
    cabal, came = Cabal(n, coalition, seed, "ladder"), Came("ladder", seed)
    second = cabal.twins(scheme)
    there = cabal.honest[len(cabal.honest) // 2 :]
    near = [node for node in cabal.nodes if node.member not in there]
    far = [*(cabal.nodes[member] for member in there), *second]
    cabal.network.cut_between([node.place for node in near], [node.place for node in far])
    cabal.start([*cabal.nodes, *second])
    cabal.run(20)
    left = cabal.nodes[cabal.honest[0]].disk
    right = cabal.nodes[there[-1]].disk
    asked = cabal.submit(near, 1, 0)
    cabal.run(APART_MS, lambda: left.height > 0)
    climber = second[0].behaviours[0]
    assert isinstance(climber, Climber), "the copies there climb"
    climber.climb(cabal.submit([], scheme.height + 1, 1))
    came.forked = cabal.run(APART_MS, lambda: part_at(left, right) is not None)
    if came.forked:
        _expose(cabal, came, left, right)
    scheme.over = True
    cabal.network.join()
    if came.forked:
        parts = [[node for node in part if node.member in cabal.honest] for part in (near, far)]
        came.detected = _find_out(cabal, parts, second)
    else:
        asked += cabal.submit([*cabal.nodes, *second], 2, 2)
        came.live = cabal.run(TOGETHER_MS, lambda: cabal.executed(asked, cabal.honest))
    _acquit(cabal)
    return came


def _acquit(cabal: Cabal) -> None:
    """Whatever came of it, all that honest members hold together convicts none of them. Raises Violation."""
    testimonies = [testimony_of(cabal.nodes[member].disk) for member in cabal.honest]
    together = Testimony(
        headers=tuple(raw for one in testimonies for raw in one.headers),
        certificates=tuple(item for one in testimonies for item in one.certificates),
        new_views=tuple(raw for one in testimonies for raw in one.new_views),
        loose=tuple(raw for one in testimonies for raw in one.loose),
    )
    findings = investigate(together, Testimony((), (), ()), cabal.members, cabal.keyring.verify)
    framed = [culprit for culprit in findings.culprits if culprit.member not in cabal.coalition]
    if framed:
        raise Violation("framed", f"n{framed[0].member} is honest, and blamed for {framed[0].proved}")


def _find_out(cabal: Cabal, parts: Sequence[Sequence[Node]], copies: Sequence[Node]) -> bool:
    """Whether all honest members stop, those who hear each other and one that was down meanwhile, where a part has more
    than one."""
    late = next((part[-1] for part in parts if len(part) > 1), None)
    if late is not None:
        late.crash()
    members = [member for member in cabal.honest if cabal.nodes[member] is not late]
    stopped = _all_stop(cabal, members, [*cabal.nodes, *copies])
    if late is None or not stopped:
        return stopped
    for node in [*(cabal.nodes[member] for member in cabal.coalition), *copies]:
        node.crash()  # only those who have stopped are left to tell it
    cabal.run(SPREAD_MS)  # what was on its way has arrived
    late.start()
    return cabal.run(SPREAD_MS, lambda: _has_stopped(cabal, late))


def _all_stop(cabal: Cabal, members: Sequence[int], everybody: Sequence[Node]) -> bool:
    """Whether one of these honest members finds out, and all of them stop soon after, by its proof if not their own."""
    nodes = [cabal.nodes[member] for member in members]
    # Members that stand at one height and have nothing to do send each other no certificate.
    found = any(
        cabal.submit(everybody, 1, 2)
        and cabal.run(TOGETHER_MS // 10, lambda: any(_has_stopped(cabal, node) for node in nodes))
        for _ in range(10)
    )
    return found and cabal.run(SPREAD_MS, lambda: all(_has_stopped(cabal, node) for node in nodes))


def _has_stopped(cabal: Cabal, node: Node) -> bool:
    """Whether this honest member has stopped and said so, and what proves the fork is on its disk."""
    raw = node.disk.journal.get(FORK_PROOF)
    if raw is None or node.member not in cabal.judge.halted or not node.replica.position.halted:
        return False
    return len(decode(raw, ForkProof, BODY_BYTES_MAX).certificates) == 2


def _parted(cabal: Cabal) -> tuple[Node, Node] | None:
    """Two honest members whose logs part."""
    honest = [cabal.nodes[member] for member in cabal.honest]
    for place, one in enumerate(honest):
        for other in honest[place + 1 :]:
            if part_at(one.disk, other.disk) is not None:
                return one, other
    return None


def _expose(cabal: Cabal, came: Came, left: Disk, right: Disk) -> None:
    """Compare what the two parties hold, and ask who is to blame."""
    findings = cabal.compare(left, right)
    came.exposed = findings.fork_height is not None
    came.culprits = tuple(culprit.member for culprit in findings.culprits)
    came.proofs = tuple(culprit.proved for culprit in findings.culprits)
    came.blamed = set(came.culprits) <= set(cabal.coalition) and len(came.culprits) > quorums.max_faulty(cabal.n)
