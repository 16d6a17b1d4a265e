"""Attacks: bytes that nobody should send, and what must be true of the answers."""
