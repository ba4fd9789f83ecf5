"""Contracts that plugin authors test their plugins against. Needs no pytest; works with it.

    from mnqcore.testing import contract

    TestPatience = contract("reward", "patience")

A broker keeps the numbered cases of the port as well:

    class TestMyBroker(BrokerContract):
        make = staticmethod(my_bench)
"""

from mnqcore.testing.bench import SITUATIONS, Bench, NotOffered
from mnqcore.testing.broker import BrokerContract, Outcome, check_broker
from mnqcore.testing.contract import contract

__all__ = ["SITUATIONS", "Bench", "BrokerContract", "NotOffered", "Outcome", "check_broker", "contract"]
"""Names for authors."""
