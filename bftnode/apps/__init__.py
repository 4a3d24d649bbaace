"""Floor 1: applications. The contract, the deterministic execution of a block, and the built-in applications."""
