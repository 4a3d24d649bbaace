"""Floor 2: clients and operators to one replica, over TLS 1.3. docs/protocol.md, "Transactions"."""
