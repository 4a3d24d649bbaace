"""Quorum arithmetic: the only place where thresholds are computed.

The names say what a threshold guarantees (docs/protocol.md, "Terms"). With n replicas of which at most
f = (n-1)//3 are Byzantine, any two quorums of q = (n+f)//2 + 1 share f+1 replicas, so at least one correct one
(2q - n >= f + 1), and the correct replicas alone are a quorum (q <= n - f). 2f+1 is only right where n = 3f+1.
"""

MEMBERS_MIN = 4
MEMBERS_MAX = 64


def max_faulty(n: int) -> int:
    """How many of `n` members may be Byzantine: f = (n-1)//3 (Castro and Liskov 1999, section 3)."""
    return (n - 1) // 3


def quorum(n: int) -> int:
    """The smallest number of members such that any two such groups share a correct one."""
    return (n + max_faulty(n)) // 2 + 1


def some_correct(n: int) -> int:
    """The smallest number of members among whom one is certainly correct: f+1."""
    return max_faulty(n) + 1


def primary_of(view: int, n: int) -> int:
    """The index of the primary of `view`: round robin over the sorted membership."""
    return view % n
