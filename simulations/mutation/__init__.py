"""Structure-aware mutation: small worlds in which a liar's messages are changed field by field, and messages are lost.

Each run is "d rounds with network faults, c rounds with process faults" over a small world, after ByzzFuzz (Winter et
al., "Randomized Testing of Byzantine Fault Tolerant Algorithms", OOPSLA 2023, section 4), and aims at one cell of the
matrix message x field x operator (matrix.py). What a message is made of is read off its structs (shapes.py), so a new
kind of message has its cells as soon as it exists (decision 023).
"""
