"""The simulated broker keeps every rule of the port; a broker that breaks one is found out."""

import asyncio
import contextlib
import tempfile
from functools import partial
from typing import Any

import attrs
import pytest

from mnqcore.api import port
from mnqcore.errors import BrokerError
from mnqcore.testing import SITUATIONS, BrokerContract, NotOffered, check_broker
from mnqcore.testing.bench import Scene
from mnqcore.testing.broker_cases import CASES
from mnqcore.testing.subject import of_class
from mnqcore.testing.verdict import report
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


class Broken:
    """The simulated broker with one method that is wrong."""

    def __init__(self, broker, name, method):
        self.broker, self.name, self.method = broker, name, method

    def __getattr__(self, name):
        return partial(self.method, self.broker) if name == self.name else getattr(self.broker, name)


async def nothing(_broker, *_arguments):
    """Answer that there is nothing, whatever there is."""
    return []


async def one_by_one(broker, bracket):
    """Send the orders of a bracket as if they had nothing to do with each other."""
    for order in bracket.orders:
        await broker.submit(port.BracketOrder(orders=(attrs.evolve(order, parent=None, group=None),)))


async def silently(broker, bracket):
    """Send nothing where a ref was used before, and do not say so."""
    with contextlib.suppress(BrokerError):
        await broker.submit(bracket)


async def twice(broker):
    """Tell each execution in every revision."""
    found = await broker.executions()
    return found + [attrs.evolve(each, revision=each.revision - 1) for each in found if each.revision]


async def nobody(_broker, _ref):
    """Take a cancellation and never answer it."""


async def another(broker, _ref):
    """Answer a cancellation by a word about another order."""
    await broker.cancel("another")


async def a_bug(_broker):
    """Break down instead of telling anything."""
    raise KeyError("a bug")
    yield


@pytest.mark.parametrize(
    ("name", "method", "numbers"),
    [
        ("positions", nothing, {"B10", "B25"}),
        ("open_orders", nothing, {"B03", "B05", "B22"}),
        ("executions", nothing, {"B10", "B21", "B24"}),
        ("executions", twice, {"B15"}),
        ("submit", one_by_one, {"B05", "B07", "B13", "B17"}),
        ("submit", silently, {"B04"}),
        ("cancel", nobody, {"B17", "B18", "B19"}),
        ("cancel", another, {"B19"}),
        ("events", a_bug, {"B07"}),
    ],
    ids=[
        "no positions",
        "no orders",
        "no executions",
        "old revisions",
        "one by one",
        "used refs",
        "no answer",
        "another answer",
        "no events",
    ],
)
@pytest.mark.proof
def test_a_broken_broker_is_found_out(name, method, numbers, monkeypatch):
    monkeypatch.setattr("mnqcore.testing.bench._PATIENCE", 0.5)
    monkeypatch.setattr("mnqcore.testing.broker.CASES", [case for case in CASES if case.number in numbers])

    @contextlib.asynccontextmanager
    async def broken(situation):
        async with simulated(situation) as made:
            made.broker = Broken(made.broker, name, method)
            yield made

    outcomes = check_broker(broken)

    assert {outcome.number: outcome.verdict for outcome in outcomes} == dict.fromkeys(numbers, "failed")


@pytest.mark.proof
def test_bars_that_come_before_their_close_are_found_out(monkeypatch):
    monkeypatch.setattr("mnqcore.testing.broker.CASES", [case for case in CASES if case.number == "B28"])

    @contextlib.asynccontextmanager
    async def early(situation):
        async with simulated(situation) as made:
            bar = made.bar

            async def begun():
                delivered = await bar()
                return attrs.evolve(delivered, time=delivered.bars.index[0].value + 1)

            made.bar = begun
            yield made

    (found,) = check_broker(early)

    assert found.verdict == "failed"
    assert "the clock is not before" in found.why


def test_what_a_bench_cannot_bring_about_is_not_offered(monkeypatch):
    monkeypatch.setattr("mnqcore.testing.broker.CASES", CASES[:1])

    @contextlib.asynccontextmanager
    async def nowhere(situation):
        raise NotOffered("no market")
        yield

    assert [(outcome.verdict, outcome.why) for outcome in check_broker(nowhere)] == [("not offered", "no market")]


def test_a_broker_none_of_whose_cases_ran_has_not_passed_them():
    @contextlib.asynccontextmanager
    async def nowhere(situation):
        raise NotOffered("no market")
        yield

    subject = of_class("broker", Broken, make=nowhere)
    (found,) = [result for result in report(subject).results if result.check == "cases of the port"]

    assert (found.verdict, found.reason) == ("skip", "the bench offers no case: no market")


def test_a_bench_that_delivers_no_bar_does_not_keep_the_cases_waiting():
    class Blind:
        broker: Any = type("Streaming", (), {"stream": lambda self, request: None})()
        login: Any = None
        contract = ""

        async def bar(self):
            return None

        async def restart(self): ...

        async def lose(self): ...

    async def tried(case):
        with pytest.raises(NotOffered, match="delivers no bar"):
            await case.run(Scene(Blind()))

    for case in CASES:
        if case.number in ("B28", "B29", "B30"):
            asyncio.run(tried(case))
