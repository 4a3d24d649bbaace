"""Floor 2, below the rooms that have connections: TLS 1.3 as all of them speak it, with members and with clients."""
