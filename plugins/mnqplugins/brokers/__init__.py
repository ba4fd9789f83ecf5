"""Brokers: what executes orders."""
