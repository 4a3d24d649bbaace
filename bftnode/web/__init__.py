"""What a node shows the world over HTTP: the log as static tiles, and the door of a witness (docs/receipts.md)."""
