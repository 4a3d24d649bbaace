"""One run of a seed: a small world with faulty rounds, then a kind one, in which all that was asked for gets done.

The seed chooses a cell of the matrix, a situation in which that message is said, in which rounds messages are lost, and
in which others the liar's are changed. Each fault has dice of its own: with fewer of them the rest stay as they were,
so that what fails can be made smaller by leaving some out (`smallest`).
"""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import TypeVar

from bftnode.apps.execution import Executor, application_operation
from bftnode.apps.log import Records, append
from bftnode.protocol import quorums
from bftnode.protocol.cosigning import CheckpointKeys, CheckpointSigner
from bftnode.protocol.ed25519 import signer
from bftnode.protocol.errors import Refused
from bftnode.protocol.forensics import Testimony, investigate
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.transactions import Transaction
from bftnode.replica import agreement
from bftnode.replica.core import Replica
from bftnode.replica.effects import Effect
from bftnode.replica.events import Event, Now, Received
from bftnode.replica.position import Timing
from simulations.adversaries.liar import Liar
from simulations.crypto import Keyring
from simulations.disks import Disk
from simulations.judges import Judge
from simulations.judges.observer import testimony_of
from simulations.mutation.matrix import Cell, cells
from simulations.mutation.mutator import Ledger, Mutator, Order, mutated
from simulations.mutation.operators import OLDER, OMITTED, RENEWED, REPEATED, WHOLE, Unchanged
from simulations.mutation.pens import Pens
from simulations.mutation.rounds import Partition, Rounds, rule_of
from simulations.mutation.shapes import ENVELOPE
from simulations.mutation.situations import CUT_OFF_MS, FIRST_BLOCK_MS, SPAN_MS, STORIES, UNDECIDED_MS, Scene, scene
from simulations.mutation.statements import statement_of
from simulations.network import Network, Weather
from simulations.node import Envelopes, Node
from simulations.scenarios.stage import log_members, log_seed
from simulations.simulation import CHAIN
from simulations.swarm import liveness_bound_ms
from simulations.workload import EQUIVOCATOR, FAR_AHEAD, Workload
from simulations.world import Violation, World

T = TypeVar("T", bound=Node)

SIZES = (4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 7)
CLIENTS = 4
TIMING = Timing(
    view_change_timeout_ms=300,
    view_change_timeout_max_ms=1200,
    status_interval_ms=230,
    fetch_timeout_ms=300,
    courtesy_delay_ms=900,
    courtesy_interval_ms=1800,
)
WEATHER = Weather(delay_min_ms=1, delay_max_ms=4)
RETRY_MS = 400
NETWORK_MAX, PROCESS_MAX, TRANSACTIONS_MAX = 3, 3, 2
ROUNDS = 18
"""Faults are in the first so many rounds: six blocks of one view, or four and a view change."""
AFTER_HEALING = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed stands for. `network` and `process` are d and c of the paper."""

    seed: int
    n: int
    aim: Cell
    scene: Scene
    network: int
    process: int
    transactions: int
    restarts: bool

    def __str__(self) -> str:
        liars = ", ".join(f"n{liar}" for liar in self.scene.liars)
        return (
            f"n={self.n}; {STORIES[self.scene.name]} (liars: {liars}); {self.network} rounds lose messages, "
            f"in {self.process} the liar's are changed, first {self.aim}; {self.transactions} transactions"
            + ("; all crash when it is over" if self.restarts else "")
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    plan: Plan
    violation: Violation | None
    trace: str
    height: int
    delivered: int
    mutations: int  # messages that were changed
    heard: Mapping[Cell, int]
    story: tuple[str, ...]

    @property
    def hit(self) -> bool:
        """Whether the cell that was aimed at was reached."""
        return self.plan.aim in self.heard


def draw(seed: int, *, network: int | None = None, process: int | None = None, transactions: int | None = None) -> Plan:
    """The plan of a seed; with other numbers of faults or transactions, the same one with more or fewer of them.

    Seed after seed aims at cell after cell: as many seeds as there are cells aim at each once.
    """
    dice = Random(f"mutation {seed}")
    aim = cells()[seed % len(cells())]
    n = dice.choice(SIZES)
    drawn = Plan(
        seed,
        n,
        aim,
        scene(aim.message, n, quorums.max_faulty(n), dice, certified="certificate" in aim.field),
        dice.randint(0, NETWORK_MAX),
        dice.randint(1, PROCESS_MAX),
        dice.randint(0, TRANSACTIONS_MAX),
        dice.random() < 0.15,
    )
    return replace(
        drawn,
        network=drawn.network if network is None else network,
        process=drawn.process if process is None else process,
        transactions=drawn.transactions if transactions is None else transactions,
    )


class Hearer(Node):
    """An honest node, of which the ledger knows what it took steps with."""

    ledger: Ledger

    def _step(self, replica: Replica, event: Event, now: Now) -> list[Effect]:
        if isinstance(event, Received):
            self.ledger.hears(self.member, event.frame)
        return super()._step(replica, event, now)


class Lines(Network):
    """A network in which two who start together get one link, and not one each: half the STATUS at the beginning."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._linked_ms: dict[tuple[int, int], int] = {}

    def _link(self, place: int, other: int) -> None:
        pair, now_ms = (min(place, other), max(place, other)), self._world.now_ms
        if self._linked_ms.get(pair) != now_ms:
            self._linked_ms[pair] = now_ms
            super()._link(place, other)


@cache
def _keyring(n: int) -> Keyring:
    return Keyring(n, CLIENTS)


@cache
def _members(n: int, parameters: Parameters) -> Membership:
    return Membership(CHAIN, 0, _keyring(n).members, parameters)


@cache
def _executor(n: int) -> Executor:
    return Executor(Records(), _keyring(n).clients, 100)


@cache
def _cosigners(members: Membership) -> tuple[CheckpointSigner, ...]:
    keys = CheckpointKeys(CHAIN, log_members(members))
    signers = [signer(log_seed(member)) for member in range(members.n)]
    return tuple(CheckpointSigner(keys, member, sign, (sign,)) for member, sign in enumerate(signers))


class Run:
    """The small world of one plan."""

    def __init__(self, plan: Plan, *, remember: int = 0) -> None:
        self.plan = plan
        n, stage = plan.n, plan.scene
        self.world = World(f"mutation {plan.seed}", remember=remember)
        self.network = Lines(self.world)
        self.network.weather = WEATHER
        self.keyring = _keyring(n)
        self.members = _members(n, stage.parameters)
        self.judge = Judge(self.members, self.keyring.verify, stage.liars, self.keyring.clients)
        self.ledger = Ledger()
        self.rounds = Rounds()
        self._envelopes = Envelopes(self.members, _executor(n), self.keyring.verify)
        self._dice = self.world.random("client")
        self._nonce = 0
        self.nodes: list[Node] = [self._settle(member) for member in range(n)]
        self.honest = [node for node in self.nodes if node.member not in stage.liars]
        self.workload = Workload(self.world, self.keyring, CHAIN, self.nodes, self.judge, RETRY_MS)
        self.network.rule = rule_of(self.rounds, frozenset(stage.liars), self._partitions(), stage.losses(self.world))

    def _settle(self, member: int) -> Node:
        if member not in self.plan.scene.liars:
            node = self._node(Hearer, member)
            node.ledger = self.ledger
            return node
        liar = self._node(Liar, member)
        first = member == self.plan.scene.liars[0]
        dice = self.world.random(f"mutator {member}")
        out = self.plan.scene.out_of_reach
        victims = tuple(other for other in range(self.plan.n) if other not in self.plan.scene.liars and other != out)
        mutator = Mutator(dice, self._orders(member, aims=first), self.rounds, self.ledger, victims)
        clients = self.keyring.clients
        mutator.pens = Pens(
            liar,
            self.keyring.member_signer(member),
            clients[EQUIVOCATOR],
            self.keyring.client_signer(EQUIVOCATOR),
            frozenset(key for key in clients if key != clients[EQUIVOCATOR]),
        )
        if first:
            self.mutator = mutator
            if self.plan.scene.speaks_ms:
                mutator.unprovoked = lambda message: statement_of(message, liar, self._envelope, dice)
        liar.misbehave([mutator], dice)
        return liar

    def _node(self, kind: type[T], member: int) -> T:
        members = self.members
        node = kind(
            self.world,
            self.network,
            self.judge,
            members,
            member,
            self.keyring.member_signer(member),
            self.keyring.verify,
            self._envelopes,
            Disk(members, _executor(members.n)),
            TIMING,
        )
        if self.plan.scene.cosigns:
            node.cosigner = _cosigners(members)[member]
        return node

    def _orders(self, member: int, *, aims: bool) -> list[Order]:
        """Process faults, each with its own dice, so that with fewer the others are the same."""
        orders = []
        for index in range(self.plan.process):
            dice = self.world.random(f"process fault {index} of n{member}")
            if index == 0 and aims:
                orders.append(Order(0, dice, self.plan.aim))
            else:
                orders.append(Order(dice.randrange(ROUNDS), dice))
        return orders

    def _partitions(self) -> list[Partition]:
        found = []
        for index in range(self.plan.network):
            dice = self.world.random(f"network fault {index}")
            side = dice.sample(range(self.plan.n), dice.choice((1, 1, 2)))
            found.append(Partition(dice.randrange(self.plan.scene.first_fault, ROUNDS), frozenset(side)))
        return found

    # ---- the run

    def play(self) -> Outcome:
        """Play the plan. A violation is part of the outcome."""
        before, agreement.PIPELINE_TRANSACTIONS = agreement.PIPELINE_TRANSACTIONS, 1
        violation = None
        try:
            self._unkind()
            self._kind()
            self._check_end()
        except Violation as found:
            violation = found
        except Exception as error:
            if _is_ours(error):
                raise
            # Judges that cannot read what a correct member has written, and disks that it must not be written to.
            violation = _raised("somebody", error)
        finally:
            agreement.PIPELINE_TRANSACTIONS = before
        world = self.world
        return Outcome(
            self.plan,
            violation,
            world.trace(),
            len(self.judge.log) - 1,
            world.delivered,
            self.ledger.made,
            self.ledger.heard,
            tuple(world.story),
        )

    def _unkind(self) -> None:
        plan = self.plan
        for node in self.nodes:
            self.world.after(0, node.start)
        self.world.at(2, self._ask_for, 1)
        self.workload.schedule(plan.transactions, SPAN_MS, odd=0)
        at_ms = UNDECIDED_MS[0] + 1 if plan.scene.undecided else self._dice.randint(FIRST_BLOCK_MS + 10, SPAN_MS)
        self.world.at(at_ms, self._ask_for, 2)
        if plan.aim.message == ENVELOPE and plan.process:
            for _ in range(3):
                self.world.after(self._dice.randint(5, SPAN_MS), self._lie_at_the_door)
        if plan.scene.cut_off is not None:
            alone, _, ends_ms = plan.scene.cut_off
            self.world.at(ends_ms, self.network.link, alone)
            if ends_ms == CUT_OFF_MS:  # the next primary has something to propose
                self.world.at(ends_ms - 80, self._ask_for, 1)
        for at_ms in plan.scene.speaks_ms:
            self.world.at(at_ms, self.mutator.speak)
        self.world.run(plan.scene.unkind_ms)

    def _kind(self) -> None:
        world = self.world
        world.tell("", "=== the world becomes kind")
        self.network.heal()
        self.mutator.hurry()
        if self.plan.process and not self.ledger.made:  # the liar has been too quiet: its next words will do
            world.run(world.now_ms + 2 * TIMING.status_interval_ms, lambda: self.ledger.made > 0)
        if self.plan.restarts:
            self._restart()
        self.workload.schedule(AFTER_HEALING, 20, odd=0)
        world.run(world.now_ms + 21)
        if not world.run(world.now_ms + liveness_bound_ms(self.plan.n, TIMING), self._done):
            stand = "; ".join(
                f"{node.name}: view {node.replica.position.view}"
                f"{'' if node.replica.position.active else ' waiting'} height {node.disk.height}"
                for node in self.honest
            )
            raise Violation("liveness", f"height {len(self.judge.log) - 1}; {stand}")

    def _done(self) -> bool:
        height = len(self.judge.log) - 1
        return all(node.disk.height == height for node in self.honest) and self.workload.done()

    def _restart(self) -> None:
        """The power goes everywhere: what a liar said is on the disks, and is read again."""
        for node in self.honest:
            node.crash()
        for node in self.honest:
            try:
                node.start()
            except Violation:
                raise
            except Exception as error:
                raise _raised(node.name, error) from error

    def _check_end(self) -> None:
        """All have one log, and whoever compares what is on the disks finds nobody honest guilty."""
        if len({tuple(block.hash for block, _ in node.disk.log) for node in self.honest}) != 1:
            raise Violation("equal-logs", "correct nodes end with different logs")
        one, other = (testimony_of(node.disk) for node in self.honest[:2])
        self._convict(one, other)
        try:
            liars = testimony_of(self.nodes[self.plan.scene.liars[0]].disk)
        except Refused:
            return  # others believed its lies about itself, so that its own numbers have come to their end
        self._convict(one, liars)

    def _convict(self, one: Testimony, other: Testimony) -> None:
        for culprit in investigate(one, other, self.members, self.keyring.verify).culprits:
            if culprit.member not in self.judge.faulty:
                raise Violation("framed", f"forensics convicts n{culprit.member}: {culprit.proved}")

    # ---- the client that lies

    def _envelope(self) -> Transaction:
        """The next one of the client that lies: as it should be."""
        self._nonce += 1
        texts = (b"lie %d" % self._nonce, b"and another")
        return self._envelope_of(self._nonce, *(application_operation(append(text)) for text in texts))

    def _envelope_of(self, nonce: int, *operations: bytes) -> Transaction:
        return self.workload.transaction(EQUIVOCATOR, nonce, operations, FAR_AHEAD)

    def _ask_for(self, count: int) -> None:
        """Good ones of the client that lies, to everybody: for a first block, and for one with several."""
        asked = [self._envelope() for _ in range(count)]
        for transaction in asked:
            self.mutator.bank.keep(ENVELOPE, transaction.raw, own=True)
        for node in self.nodes:
            if node.up:
                node.submit(*asked)

    def _lie_at_the_door(self) -> None:
        """An envelope that is changed, shown to members as a client shows it."""
        cell, dice = self.plan.aim, self._dice
        transaction = self._envelope()
        bank, pens = self.mutator.bank, self.mutator.pens
        assert pens is not None, "given when the member was settled"
        bank.keep(ENVELOPE, transaction.raw, own=True)
        how = ""
        raws: tuple[bytes, ...]
        try:
            match cell.operator:
                case operator if operator not in WHOLE:
                    raw, how = mutated(cell, transaction.raw, bank, pens, dice)
                    raws = (raw,)
                case operator if operator == OMITTED:
                    raws = ()
                case operator if operator == REPEATED:
                    raws = (transaction.raw, transaction.raw)
                case operator if operator == RENEWED:
                    self._nonce += 1
                    raws = (transaction.raw, self._envelope_of(self._nonce, *transaction.body.operations).raw)
                case operator:
                    assert operator == OLDER, "the last of them"
                    raws = (bank.older(ENVELOPE, transaction.raw, dice),)
        except Unchanged:
            return
        self.ledger.made += 1
        self.world.tell("", f"a client MUTATES {cell}: {how}")
        if not raws:
            self.ledger.count(cell)
        for node in dice.sample(self.honest, dice.randint(1, len(self.honest))):
            for raw in raws:
                self._knock(node, raw, cell)

    def _knock(self, node: Node, raw: bytes, cell: Cell) -> None:
        """As the daemon's door: opened and judged before the replica sees it."""
        if not node.up:
            return
        self.ledger.count(cell)
        try:
            transaction = self._envelopes.open(raw)
        except Refused as refused:
            self.world.tell(node.name, f"refuses an envelope: {refused}")
            return
        except Exception as error:
            raise _raised(node.name, error) from error
        node.submit(transaction)


def _is_ours(error: Exception) -> bool:
    """Whether it is the mutator's own mistake."""
    return f"/{__package__.replace('.', '/')}/" in traceback.extract_tb(error.__traceback__)[-1].filename


def _raised(who: str, error: Exception) -> Violation:
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno}"
    return Violation("raised", f"{who}: {type(error).__name__} at {where}: {error}")


def play(plan: Plan, *, remember: int = 0) -> Outcome:
    """Run a plan."""
    return Run(plan, remember=remember).play()


def smallest(plan: Plan) -> Plan:
    """The same seed with as few faults and transactions as still fail, in any way: fewer lost rounds first, then fewer
    changed ones, then fewer transactions. The plan itself, where nothing smaller fails."""
    for network in range(plan.network + 1):
        for process in range(plan.process + 1):
            for transactions in range(plan.transactions + 1):
                smaller = replace(plan, network=network, process=process, transactions=transactions)
                if smaller == plan or play(smaller).violation is not None:
                    return smaller
    return plan
