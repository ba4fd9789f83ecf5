"""The simulated broker keeps every rule of the port; a broker that breaks one is found out."""

import contextlib
import tempfile

from mnqcore.testing import SITUATIONS, BrokerContract
from mnqcore.testing.broker_cases import CASES
from tests.venues import FAULTS, bench


@contextlib.asynccontextmanager
async def simulated(situation):
    with tempfile.TemporaryDirectory() as folder:
        async with bench(folder, faults=FAULTS[situation]) as made:
            yield made


class TestSimulated(BrokerContract):
    make = staticmethod(simulated)


def test_cases_are_numbered_in_order_and_say_their_rule():
    assert [case.number for case in CASES] == [f"B{number:02d}" for number in range(1, len(CASES) + 1)]
    assert all(case.rule.endswith(".") and len(case.rule) > 40 for case in CASES)
    assert {case.situation for case in CASES} == set(SITUATIONS) == set(FAULTS)
