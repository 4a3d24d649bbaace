"""What was said in another epoch of the same chain, by members with the same keys, said in this one."""

from simulations.adversaries.other_cluster import OtherCluster

covers = ("R08", "O03", "V06")


class OldEpoch(OtherCluster):
    """The signatures hold here; only the epoch in what they sign is another one."""

    chain_id = None
    epoch = 7
