"""All members conspire, with all of their keys, and write another history: only a witness that is no member refuses it.

First the true one: honest members, one of which is down for a while, cosign it; a witness follows their checkpoints.
Then another world of the same members and keys, where other envelopes were ordered. Its checkpoints are cosigned by a
quorum, and valid for whoever knows only the policy; none of them is proved to extend what the witness cosigned.
"""

from bftnode.protocol.cosigning import CheckpointKeys, Cosigned
from bftnode.protocol.merkle import consistency_proof, root_of
from bftnode.protocol.tlog.policy import check_checkpoint, cluster_policy
from bftnode.protocol.tlog.witness import NOTHING, AddCheckpoint, Denied, Latest, judge
from simulations.node import Node
from simulations.scenarios.stage import Stage
from simulations.world import Violation

covers = ("X04", "O04", "D07")


class Witness:
    """Remembers one checkpoint of the log, as C2SP tlog-witness asks; a new one remembers nothing."""

    def __init__(self, keys: CheckpointKeys) -> None:
        self._keys = keys
        self.latest = NOTHING

    def cosigns(self, node: Node, cosigned: Cosigned) -> bool:
        """Whether it cosigns what this member shows it, with the best proof that the member's log has."""
        leaves = [leaf for block, _ in node.disk.log for leaf in block.leaves]
        old = self.latest.size

        def node_at(level: int, index: int) -> bytes:
            return root_of(leaves[index << level : (index + 1) << level])

        path = tuple(consistency_proof(old, cosigned.log_size, node_at)) if 0 < old <= cosigned.log_size else ()
        request = AddCheckpoint(min(old, cosigned.log_size), path, self._keys.note(cosigned))
        verdict = judge(request, {self._keys.origin: self._keys.log_keys}, {self._keys.origin: self.latest})
        if isinstance(verdict, Denied):
            return False
        self.latest = Latest(verdict.size, verdict.root)
        return True


def history(seed: str, envelopes: int, text: bytes) -> Stage:
    """A cluster that cosigns, to which so many envelopes were submitted, and where each was executed and cosigned."""
    stage = Stage(seed=seed, cosigns=True)
    for number in range(envelopes):
        if number == 1:
            stage.nodes[3].crash()
        if number == envelopes - 1:
            stage.nodes[3].start()
        transaction = stage.transaction(text=text)
        for node in stage.nodes:
            node.submit(transaction)
        stage.expect_executed(transaction) if stage.nodes[3].up else stage.run(400)
    size = stage.nodes[0].disk.log[-1][0].header.log_size
    if size != envelopes:
        raise Violation("liveness", f"{size} of {envelopes} envelopes are in the log")
    if not stage.run(10_000, lambda: all(size in node.disk.checkpoints for node in stage.nodes)):
        raise Violation("liveness", "the head is not cosigned by a quorum on every disk within ten seconds")
    for node in stage.nodes:
        roots = {block.header.log_size: block.header.log_root for block, _ in node.disk.log}
        for cosigned in node.disk.checkpoints.values():
            if roots[cosigned.log_size] != cosigned.log_root:
                raise Violation("cosigning", f"{node.name} keeps a checkpoint that is not of its log")
            check_checkpoint(stage.log_keys.note(cosigned), cluster_policy(stage.members.chain_id, stage.log_members))
    return stage


def play() -> None:
    stage = history("the true history", 6, b"")
    witness = Witness(stage.log_keys)
    for node in (stage.nodes[0], stage.nodes[1]):
        for _, cosigned in sorted(node.disk.checkpoints.items()):
            if cosigned.log_size > witness.latest.size and not witness.cosigns(node, cosigned):
                raise Violation(
                    "witness", f"a checkpoint of {cosigned.log_size} entries that extends the last is refused"
                )
    known = witness.latest
    if known.size != 6:
        raise Violation("witness", f"it followed up to {known.size} of 6 entries")
    for length in (3, 6, 9):
        other = history("another history", length, b", as it never was")
        for node in other.nodes:
            for _, cosigned in sorted(node.disk.checkpoints.items()):
                if witness.cosigns(node, cosigned):
                    raise Violation("witness", f"it cosigned a rewritten history of {cosigned.log_size} entries")
                if not Witness(other.log_keys).cosigns(node, cosigned):
                    raise Violation("scenario", "the rewritten history is not even valid")
    if witness.latest != known:
        raise Violation("witness", "what it remembers has changed")
