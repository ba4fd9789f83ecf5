"""A trading session: the journal it lives by, what it decides and sends, and the proof that it did what was tested."""
