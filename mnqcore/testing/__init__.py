"""Contracts that plugin authors test their plugins against. Needs no pytest; works with it.

class TestMyBroker(BrokerContract):
    make = staticmethod(my_bench)
"""

from mnqcore.testing.bench import SITUATIONS, Bench, NotOffered
from mnqcore.testing.broker import BrokerContract, Outcome, check_broker

__all__ = ["SITUATIONS", "Bench", "BrokerContract", "NotOffered", "Outcome", "check_broker"]
"""Names for authors."""
