"""What a case of the broker port stands on: a connected broker, a market that moves on, and what goes wrong in it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mnqcore.api import port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    Make = Callable[[str], AbstractAsyncContextManager["Bench"]]
    """Makes a bench for a situation; raises NotOffered where it cannot bring it about."""

SITUATIONS = {
    "plain": "nothing goes wrong",
    "partial": "the first entry fills one contract only, and the rest of it is cancelled",
    "stop refused": "the first stop is rejected when it would get to work",
    "stop cancelled": "the first stop at work is cancelled by somebody else",
    "corrected": "after the first execution, its price is corrected",
    "bust": "the first execution is taken back",
    "foreign trade": "somebody else buys a contract, with the first bar",
    "foreign order": "somebody else sends a limit order that does not fill, with the first bar",
    "liquidated": "the broker closes the first position that there is",
    "cut off": "the connection is lost before the third bar, and comes back; two bars or more pass meanwhile",
    "forming": "a bar is delivered before it has closed, too",
}
"""situation -> what happens in it, besides what the case does."""

_Event = TypeVar("_Event")
_PATIENCE = 5.0  # seconds for what must be told
_PAUSE = 0.01
_BARS = 4


class NotOffered(Exception):
    """A bench cannot bring about a situation, or a broker does not offer what a case is about."""


class Bench(Protocol):
    """A broker on a market that is known. `login`: how it was connected. `contract`: what can be traded now."""

    broker: port.Broker
    login: port.Login
    contract: str

    async def bar(self) -> port.Delivered | None:
        """Let the market go on by one bar, and return what the broker's stream delivered; None where there is none."""
        ...

    async def restart(self) -> None:
        """Lose the client, as if its process had been killed, and connect a new one: `broker` is that one then."""
        ...

    async def lose(self) -> None:
        """Let the broker be gone, for good."""
        ...


class Scene:
    """A bench with what has been told on it so far, and words for what cases do."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.told: list[port.Event] = []
        self.ended = False
        """Whether the stream of events has ended."""
        self._listening: asyncio.Task[None] | None = None
        self._refs = 0

    @property
    def broker(self) -> port.Broker:
        """The broker of the bench."""
        return self.bench.broker

    def listen(self) -> None:
        """Hear the events of the broker."""
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    async def leave(self) -> None:
        """Hear no more."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self) -> None:
        async for event in self.broker.events():
            self.told.append(event)
        self.ended = True

    async def restart(self) -> None:
        """Go on with a new client."""
        await self.leave()
        await self.bench.restart()
        self.listen()

    async def price(self) -> int:
        """Return the last close, in ticks; a bar passes."""
        for _ in range(_BARS * 10):
            delivered = await self.bench.bar()
            if delivered is not None and len(delivered.bars):
                facts = await self.broker.facts(self.bench.contract)
                return round(float(delivered.bars["close"].iloc[0]) / facts.tick_size)
        raise NotOffered("the market tells no price")

    async def bars(self, count: int) -> list[port.Delivered]:
        """Let so many bars pass, and return what was delivered of them; NotOffered where nothing ever is."""
        passed = [await self.bench.bar() for _ in range(count)]
        found = [delivered for delivered in passed if delivered is not None and len(delivered.bars)]
        if not found:
            raise NotOffered("the bench delivers no bar")
        return found

    def order(self, role: port.Role, side: int, **fields: Any) -> port.Order:
        """Return an order with a ref of its own."""
        self._refs += 1
        given: dict[str, Any] = {"ref": f"case-{self._refs}", "contract": self.bench.contract, "contracts": 1}
        return port.Order(role=role, side=side, **given | fields)

    async def bracket(self, *, contracts: int = 1, side: int = 1) -> tuple[port.Order, port.Order, port.Order]:
        """Return an entry with a stop and a target that no bar of a quiet market reaches; a bar passes."""
        price = await self.price()
        entry = self.order(port.Role.ENTRY, side, contracts=contracts)
        child = {"contracts": contracts, "parent": entry.ref, "group": entry.ref}
        stop = self.order(port.Role.STOP, -side, price=price - side * price // 5, **child)
        return entry, stop, self.order(port.Role.TARGET, -side, price=price + side * price // 5, **child)

    async def send(self, *orders: port.Order) -> None:
        """Send orders as one."""
        await self.broker.submit(port.BracketOrder(orders=orders))

    async def opened(self, *, contracts: int = 1, side: int = 1) -> tuple[port.Order, port.Order, port.Order]:
        """Send a bracket and let bars pass until its entry has filled."""
        orders = await self.bracket(contracts=contracts, side=side)
        await self.send(*orders)
        await self.hears(port.Filled, lambda event: event.execution.ref == orders[0].ref, bars=_BARS)
        return orders

    async def hears(
        self, kind: type[_Event], fits: Callable[[_Event], bool] = lambda _event: True, *, bars: int = 0
    ) -> _Event:
        """Return the first event of a kind that fits, which must come within a few seconds, or within some bars."""
        patience = _PATIENCE
        while patience > 0:
            found = self.heard(kind, fits)
            if found:
                return found[0]
            if self._listening is not None and self._listening.done() and not self.ended:
                self._listening.result()  # raises what `events` has raised
            if bars:
                await self.bench.bar()
                bars -= 1
            await asyncio.sleep(_PAUSE)
            patience -= _PAUSE
        raise AssertionError(f"no {kind.__name__} came; told: {self.told[-8:]}")

    async def hears_of(self, kind: type[_Event], ref: str, *, bars: int = 0) -> _Event:
        """Return the first event of a kind that is of an order."""
        return await self.hears(kind, lambda event: getattr(event, "ref", "") == ref, bars=bars)

    def heard(self, kind: type[_Event], fits: Callable[[_Event], bool] = lambda _event: True) -> list[_Event]:
        """Return the events of a kind that fit, so far."""
        return [event for event in self.told if isinstance(event, kind) and fits(event)]

    async def quiet(self) -> None:
        """Let what is on its way arrive."""
        await asyncio.sleep(5 * _PAUSE)

    async def open_refs(self) -> dict[str, port.OrderState]:
        """Return ref -> order that may still fill."""
        return {state.ref: state for state in await self.broker.open_orders()}

    async def completed(self, ref: str) -> port.OrderState:
        """Return an order that has ended."""
        states = await self.broker.completed_orders()
        return one([state for state in states if state.ref == ref], f"completed orders of {ref}")

    async def held(self) -> int:
        """Return the signed contracts held of the bench's contract."""
        positions = await self.broker.positions()
        return sum(each.contracts for each in positions if each.contract == self.bench.contract)


def expect(holds: bool, what: str, found: object = "") -> None:
    """Fail a case where something does not hold."""
    if not holds:
        raise AssertionError(f"{what}; found: {found}" if found != "" else what)


def one(items: list[_Event], what: str) -> _Event:
    """Return the only item there is."""
    expect(len(items) == 1, f"exactly one of {what}", items)
    return items[0]


@contextlib.asynccontextmanager
async def staged(make: Make, situation: str) -> AsyncIterator[Scene]:
    """Make a bench and listen on it."""
    async with make(situation) as bench:
        scene = Scene(bench)
        scene.listen()
        try:
            yield scene
        finally:
            await scene.leave()
