"""The numbered cases of the broker port: the rules that every broker keeps, each shown once."""

from mnqcore.testing.broker_cases import account, connection, fills, orders
from mnqcore.testing.broker_cases._case import FOUND, Case

CASES = sorted(FOUND, key=lambda case: case.number)
"""All cases, in order of their numbers."""

__all__ = ["CASES", "Case", "account", "connection", "fills", "orders"]
