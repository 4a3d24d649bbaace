"""One run: the world is unkind first, then kind, and then everything that correct clients asked for must be done.

Safety is judged all the time (judges/). Liveness is judged in the second part: no loss, no cuts, every correct
node up, liars as before; within a bound every required envelope is executed on every correct node, and the logs
are equal.
"""

from dataclasses import dataclass
from typing import TypeVar

from bftnode.apps.execution import Executor
from bftnode.apps.kv import KeyValue
from bftnode.apps.log import Records
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.membership import Membership
from bftnode.replica import agreement
from bftnode.replica.nonces import QuarantineRecord
from bftnode.replica.position import Quarantine, Timing
from simulations.adversaries import BEHAVIOURS, TWINS
from simulations.adversaries.fabricator import Fabricator
from simulations.adversaries.liar import Liar
from simulations.adversaries.other_cluster import OtherCluster
from simulations.adversaries.twins import Numbering, Twin
from simulations.crypto import Keyring
from simulations.disks import Disk
from simulations.elsewhere import inform
from simulations.faults import Faults
from simulations.judges import Judge
from simulations.judges.linearizability import Linearizability
from simulations.network import Network
from simulations.node import Envelopes, Node
from simulations.swarm import Plan
from simulations.workload import Workload
from simulations.world import Violation, World

T = TypeVar("T", bound=Node)

CHAIN = b"the chain of the small world 32b"
QUICK = Timing(
    view_change_timeout_ms=500,
    view_change_timeout_max_ms=4000,
    status_interval_ms=200,
    fetch_timeout_ms=400,
    courtesy_delay_ms=2000,
    courtesy_interval_ms=6000,
)
"""Timeouts of worlds that follow a script."""
CLIENTS = 5
AFTER_HEALING = 3
"""Envelopes submitted when the world has become kind, so that there is something to agree on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    seed: int
    violation: Violation | None
    trace: str
    height: int
    view: int
    healed_after_ms: int  # how long it took from healing until all was done
    happened: int
    delivered: int  # frames that were handed to replicas
    simulated_ms: int
    required: int  # envelopes of correct clients, all of which had to be executed
    story: tuple[str, ...]


class Simulation:
    """The small world of one plan."""

    def __init__(self, plan: Plan, *, remember: int = 0) -> None:
        self.plan = plan
        self.world = World(str(plan.seed), remember=remember)
        self.network = Network(self.world)
        self.keyring = Keyring(plan.n, CLIENTS, real=plan.real_crypto)
        self.members = Membership(CHAIN, 0, self.keyring.members, plan.parameters)
        # Client 2 is admitted by an operation, if at all (workload.LATECOMER).
        administrators = [key for i, key in enumerate(self.keyring.clients) if i != 2]
        self.judge = Judge(self.members, self.keyring.verify, [*plan.liars, *plan.amnesiacs], administrators)
        if plan.registers:
            self.judge.registers = Linearizability(self.members.some_correct)
        self._executor = Executor(KeyValue() if plan.registers else Records(), administrators, 100)
        self._envelopes = Envelopes(self.members, self._executor, self.keyring.verify)
        self.nodes: list[Node] = []
        self.twins: list[Node] = []
        for member in range(plan.n):
            self._settle(member)
        self.workload = Workload(self.world, self.keyring, CHAIN, self.nodes, self.judge, plan.retry_ms)
        for node in self.nodes:
            for behaviour in node.behaviours if isinstance(node, Liar) else ():
                if isinstance(behaviour, Fabricator):
                    behaviour.contraband = self.workload.contraband()
                elif isinstance(behaviour, OtherCluster):
                    inform(behaviour, self.keyring, self.members)
        self.faults = Faults(self.world, self.network, self.judge, plan, self.nodes, self.twins)

    def _settle(self, member: int) -> None:
        names = self.plan.liars.get(member)
        if names is None:
            self.nodes.append(self._node(Node, member, member))
        elif names == (TWINS,):
            numbering = Numbering()
            one = self._node(Liar, member, member)
            other = self._node(Liar, member, self.plan.n + len(self.twins))
            for twin in (one, other):
                dice = self.world.random(f"twin {twin.place}")
                twin.misbehave([Twin(dice, numbering)], dice)
            self.nodes.append(one)
            self.twins.append(other)
        else:
            liar = self._node(Liar, member, member)
            dice = self.world.random(f"liar {member}")
            liar.misbehave([BEHAVIOURS[name](dice) for name in names], dice)
            self.nodes.append(liar)

    def _node(self, kind: type[T], member: int, place: int) -> T:
        plan, dice = self.plan, self.world.random(f"node {place}")
        return kind(
            self.world,
            self.network,
            self.judge,
            self.members,
            member,
            self.keyring.member_signer(member),
            self.keyring.verify,
            self._envelopes,
            Disk(self.members, self._executor, plan.run_blocks_max),
            plan.timings[member],
            place=place,
            wall_offset_ms=dice.randint(0, plan.wall_offset_max_ms),
        )

    # ---- the run

    def run(self) -> Outcome:
        """Play the plan. A violation is part of the outcome."""
        before, agreement.PIPELINE_TRANSACTIONS = agreement.PIPELINE_TRANSACTIONS, self.plan.pipeline
        violation = None
        healed_ms = self.plan.unkind_ms
        try:
            self._unkind()
            healed_ms = self.world.now_ms
            self._kind()
        except Violation as found:
            violation = found
        finally:
            agreement.PIPELINE_TRANSACTIONS = before
        views = [node.replica.position.view for node in self.nodes if node.up]
        return Outcome(
            self.plan.seed,
            violation,
            self.world.trace(),
            len(self.judge.log) - 1,
            max(views, default=0),
            self.world.now_ms - healed_ms,
            self.world.happened,
            self.world.delivered,
            self.world.now_ms,
            len(self.workload.required),
            tuple(self.world.story),
        )

    def _unkind(self) -> None:
        plan = self.plan
        self.network.weather = plan.weather
        self.faults.schedule()
        self.workload.schedule(plan.transactions, plan.unkind_ms, odd=plan.odd)
        for node in [*self.nodes, *self.twins]:
            self.world.after(0, node.start)
        self.world.run(plan.unkind_ms)

    def _kind(self) -> None:
        self.world.tell("", "=== the world becomes kind")
        self.faults.heal()
        if self.plan.allowed_to_rejoin:
            for member in self.plan.amnesiacs:
                self._allow(self.nodes[member])
        if self.plan.amnesiacs and self.plan.allowed_to_rejoin:
            # Whoever comes back votes again above a barrier some windows ahead (nonces.py).
            self.workload.schedule(6 * self.plan.parameters.window, 3000, odd=0)
        self.workload.schedule(AFTER_HEALING, 1000, odd=0)
        # What the last envelopes need at least, so that they exist when `done` is asked.
        self.world.run(self.world.now_ms + 1000)
        if not self.world.run(self.world.now_ms + self.plan.liveness_bound_ms, self.done):
            raise Violation("liveness", self._what_is_missing())
        self._check_end()

    def _allow(self, node: Node) -> None:
        """The operator decides, offline, that a member which has forgotten its past may come back."""
        node.crash()
        raw = node.disk.journal.get("quarantine")
        if raw is not None and decode(raw, QuarantineRecord, 64).state == Quarantine.WAITING:
            node.disk.journal["quarantine"] = encode(QuarantineRecord(Quarantine.ALLOWED, 0, 0))
        node.start()

    def obliged(self) -> list[Node]:
        """Those who must have everything in the end: all but the liars."""
        return [node for node in self.nodes if node.member not in self.plan.liars]

    def done(self) -> bool:
        height = len(self.judge.log) - 1
        return all(node.disk.height == height for node in self.obliged()) and self.workload.done()

    def _what_is_missing(self) -> str:
        executed = self.judge.executed
        waiting = [f"{key[0].hex()[:4]}/{key[1]}" for key in self.workload.required if key not in executed]
        stand = [
            f"{node.name}: view {node.replica.position.view}{'' if node.replica.position.active else ' waiting'}"
            f" height {node.disk.height} timeout {node.replica.view_changes.timeout_ms}"
            for node in self.obliged()
        ]
        return f"not executed: {', '.join(waiting) or 'nothing'}; height {len(self.judge.log) - 1}; {'; '.join(stand)}"

    def _check_end(self) -> None:
        if self.judge.registers is not None:
            self.judge.registers.judge()
        logs = {tuple(block.hash for block, _ in node.disk.log) for node in self.obliged()}
        if len(logs) != 1:
            raise Violation("equal-logs", "correct nodes end with different logs")


def play(plan: Plan, *, remember: int = 0) -> Outcome:
    """Run a plan."""
    return Simulation(plan, remember=remember).run()
