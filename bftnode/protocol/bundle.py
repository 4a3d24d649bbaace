"""A proof bundle: culprits with the bytes that convict them, for a third party that has the genesis and
bftnode/verify_bundle.py."""

import json
from collections.abc import Sequence

from bftnode.protocol.forensics import Culprit
from bftnode.protocol.genesis import Genesis

FORMAT = "bftnode-proof/2"


def write_bundle(culprits: Sequence[Culprit], genesis: Genesis) -> str:
    """JSON that ends in a newline. Nothing in it has to be believed: the verifier computes all of it again."""
    bundle = {
        "format": FORMAT,
        "chain_id": genesis.chain_id().hex(),
        "culprits": [
            {
                "member": culprit.member,
                "name": genesis.members[culprit.member].name,
                "proved": culprit.proved,
                "first": culprit.first.hex(),
                "second": culprit.second.hex(),
                "headers": [header.hex() for header in culprit.headers],
            }
            for culprit in culprits
        ],
    }
    return json.dumps(bundle, indent=1) + "\n"
