"""Floor 2: replica to replica. TLS, the greeting, links with bounded outboxes. Knows frames, never what is in them."""
