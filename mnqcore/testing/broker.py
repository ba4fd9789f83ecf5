"""Runs a broker through the numbered cases of the port."""

from __future__ import annotations

import asyncio
import unittest
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.testing.bench import NotOffered, staged
from mnqcore.testing.broker_cases import CASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnqcore.testing.bench import Make
    from mnqcore.testing.broker_cases import Case

LONGEST = 120.0
"""Seconds that a case may take."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a case: `verdict` is "passed", "failed" or "not offered"; `rule` is what it is about."""

    number: str
    rule: str
    verdict: str
    why: str = ""


def check_broker(make: Make) -> list[Outcome]:
    """Run every case and return what came of each, in order.

    Args:
        make: makes a bench for a situation of `SITUATIONS`: `async with make("plain") as bench`.
    """
    return [_outcome(case, make) for case in CASES]


def run_case(case: Case, make: Make) -> None:
    """Run one case; AssertionError says what does not hold, NotOffered that the broker cannot show it."""
    asyncio.run(asyncio.wait_for(_run(case, make), LONGEST))


class BrokerContract:
    """Every case as a test, to be subclassed with a `make`; pytest and unittest both find them.

    class TestMyBroker(BrokerContract):
        make = staticmethod(my_bench)
    """

    make: Any = None


async def _run(case: Case, make: Make) -> None:
    async with staged(make, case.situation) as scene:
        await case.run(scene)


def _outcome(case: Case, make: Make) -> Outcome:
    try:
        run_case(case, make)
    except NotOffered as reason:
        return Outcome(number=case.number, rule=case.rule, verdict="not offered", why=str(reason))
    except (Exception, asyncio.CancelledError) as error:  # whatever a broker raises is what the case finds
        return Outcome(number=case.number, rule=case.rule, verdict="failed", why=f"{type(error).__name__}: {error}")
    return Outcome(number=case.number, rule=case.rule, verdict="passed")


def _test(case: Case) -> Callable[[BrokerContract], None]:
    def test(self: BrokerContract) -> None:
        try:
            run_case(case, self.make)
        except NotOffered as reason:
            raise unittest.SkipTest(str(reason)) from reason

    test.__name__, test.__doc__ = f"test_{case.name}", case.rule
    return test


for _case in CASES:
    setattr(BrokerContract, f"test_{_case.name}", _test(_case))
