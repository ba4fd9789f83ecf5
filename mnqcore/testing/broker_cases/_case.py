"""What a case is, how one is written down, and words that several share."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import attrs

from mnqcore.api import port
from mnqcore.errors import BrokerError
from mnqcore.testing.bench import NotOffered, Scene

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Run = Callable[[Scene], Awaitable[None]]

BARS = 6
"""Bars within which what is caused must happen."""


@attrs.frozen(kw_only=True)
class Case:
    """A case: `number` as in "B07", the `rule` that it shows, the situation that it needs, and what it does."""

    number: str
    name: str
    rule: str
    situation: str
    run: Run


FOUND: list[Case] = []
"""All cases, as they were written down."""


def case(situation: str = "plain") -> Callable[[Run], Run]:
    """Write a function "b07_what_it_shows" down as a case; its docstring is the rule."""

    def add(run: Run) -> Run:
        name = getattr(run, "__name__", "")
        rule = " ".join(inspect.cleandoc(run.__doc__ or "").split())
        number = name.partition("_")[0].upper()
        FOUND.append(Case(number=number, name=name, rule=rule, situation=situation, run=run))
        return run

    return add


async def raises(answer: Awaitable[object], what: str) -> None:
    """Expect BrokerError."""
    try:
        found = await asyncio.wait_for(answer, 30)
    except BrokerError:
        return
    raise AssertionError(f"{what}: no BrokerError; found: {found}")


async def ends(scene: Scene, ref: str) -> None:
    """Expect that an order is told to have ended without a fill."""
    await scene.hears(object, lambda event: isinstance(event, port.Rejected | port.Cancelled) and event.ref == ref)


def ref_of(event: object) -> str:
    """Return the ref that an event is of."""
    ref = event.execution.ref if isinstance(event, port.Filled) else getattr(event, "ref", "")
    return str(ref)


def offers(scene: Scene, method: str) -> None:
    if not callable(getattr(scene.broker, method, None)):
        raise NotOffered(f"the broker has no {method}")
