"""Floor 2: the library that a user imports: `client.open_client` on trio, `sync.SyncClient` without it."""
