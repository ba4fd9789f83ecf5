"""A data source that streams by the wall clock, and a broker that owns neither clock nor bars: as a real one would be.

Second bars of a market that never closes. The broker fills market orders at once, at the last price, which the two
share through a file that stands for the exchange.
"""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from mnqcore import DataError, hookimpl, param, plugin, port, state

SECOND = 1_000_000_000


def price_at(start: int) -> int:
    """The tick at which the bar of a start closes: up and down, a minute each."""
    return 4_000 + abs(start // SECOND % 120 - 60)


def frame(starts: list[int]) -> Any:
    import pandas as pd

    closes = [price_at(start) * 0.25 for start in starts]
    opens = [price_at(start - SECOND) * 0.25 for start in starts]
    columns = {
        "open": opens,
        "high": [max(pair) for pair in zip(opens, closes, strict=True)],
        "low": [min(pair) for pair in zip(opens, closes, strict=True)],
        "close": closes,
        "volume": [1.0] * len(starts),
    }
    index = pd.DatetimeIndex([pd.Timestamp(start, unit="ns", tz="UTC") for start in starts], name="time")
    return pd.DataFrame(columns, index=index.as_unit("ns"))


@plugin
class Ticker:
    """Bars of a second, as they close."""

    count: int = param(8, ge=1, help="bars until the stream ends")

    def bars(self, request: Any) -> Any:
        """Return the bars of the last minute that have closed."""
        now = time.time_ns() // SECOND * SECOND
        return frame([now - back * SECOND for back in range(60, 0, -1)])

    async def stream(self, request: Any) -> Any:
        """Yield each bar as it closes, the missed ones first, and each again before: it is forming then."""
        start = int(request.start.as_unit("ns").value)
        for _ in range(self.count):
            start += SECOND
            if start + SECOND > time.time_ns():
                yield port.Delivered(bars=frame([start]), time=time.time_ns(), forming=True)
                await asyncio.sleep((start + SECOND - time.time_ns()) / SECOND)
            yield port.Delivered(bars=frame([start]), time=time.time_ns())


@plugin
class AtOnce:
    """Fills market orders at once; its account is a file."""

    book: str = param(help="where the account is kept")
    _events: Any = state(asyncio.Queue)

    async def connect(self, login: Any) -> None:
        """Find the account."""
        if not Path(self.book).exists():
            self._save({"orders": {}, "executions": [], "position": 0})

    async def close(self) -> None:
        """Hang up."""

    async def account(self) -> Any:
        """Return the account."""
        return port.AccountState(id="A1", paper=True, currency="USD", time=time.time_ns())

    async def facts(self, contract: str) -> Any:
        """Return what is known of the one contract."""
        return port.ContractFacts(contract=contract, id="1", tick_size=0.25, tick_value=0.5, currency="USD")

    async def positions(self) -> list[Any]:
        """Return what is held."""
        held = self._load()["position"]
        return [port.Position(contract="", contracts=held)] if held else []

    async def open_orders(self) -> list[Any]:
        """Return what is at work."""
        return [self._state(one) for one in self._load()["orders"].values() if one["status"] == "working"]

    async def completed_orders(self) -> list[Any]:
        """Return what has ended."""
        return [self._state(one) for one in self._load()["orders"].values() if one["status"] != "working"]

    async def executions(self) -> list[Any]:
        """Return all executions."""
        return [port.Execution(**one) for one in self._load()["executions"]]

    async def submit(self, bracket: Any) -> None:
        """Take orders, all of them or none: market orders fill now, the others work."""
        book, now = self._load(), time.time_ns()
        told: list[Any] = []
        for order in bracket.orders:
            kept = {"ref": order.ref, "side": order.side, "contracts": order.contracts, "group": order.group,
                    "price": order.price, "role": order.role.value, "status": "working"}  # fmt: skip
            book["orders"][order.ref] = kept
            told.append(port.Accepted(ref=order.ref, broker_id=order.ref, time=now))
            if order.price is None:
                told += self._filled(book, order, now)
            else:
                told.append(port.Working(ref=order.ref, broker_id=order.ref, time=now))
        self._save(book)
        for event in told:
            self._events.put_nowait(event)

    def _filled(self, book: dict[str, Any], order: Any, now: int) -> list[Any]:
        """Fill an order in the book; return what is told of it."""
        price = price_at(now // SECOND * SECOND - SECOND)
        execution = {"id": f"x{len(book['executions'])}", "ref": order.ref, "broker_id": order.ref, "contract": "",
                     "side": order.side, "contracts": order.contracts, "price": price, "time": now}  # fmt: skip
        book["executions"].append(execution)
        book["orders"][order.ref]["status"] = "filled"
        book["position"] += order.side * order.contracts
        told: list[Any] = [port.Filled(execution=port.Execution(**execution), time=now)]
        for other in book["orders"].values():
            if other["group"] == order.group and order.group and other["status"] == "working":
                other["status"] = "cancelled"
                told.append(port.Cancelled(ref=other["ref"], time=now))
        return [*told, port.Charged(execution=execution["id"], commission=700_000, time=now)]

    async def cancel(self, ref: str) -> None:
        """Cancel an order at work."""
        book = self._load()
        if book["orders"][ref]["status"] == "working":
            book["orders"][ref]["status"] = "cancelled"
            self._save(book)
            self._events.put_nowait(port.Cancelled(ref=ref, time=time.time_ns()))

    async def events(self) -> Any:
        """Yield what happens."""
        while True:
            yield await self._events.get()

    def _state(self, one: dict[str, Any]) -> Any:
        return port.OrderState(
            ref=one["ref"], broker_id=one["ref"], role=port.Role(one["role"]), contract="", side=one["side"],
            contracts=one["contracts"], filled=one["contracts"] if one["status"] == "filled" else 0,
            price=one["price"], status=port.Status(one["status"]),
        )  # fmt: skip

    def _load(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(Path(self.book).read_text())
        except OSError as error:
            raise DataError("no book", where=self.book) from error
        return found

    def _save(self, book: dict[str, Any]) -> None:
        Path(self.book + ".new").write_text(json.dumps(book))
        os.replace(self.book + ".new", self.book)


@plugin
class EveryOther:
    """Buys, holds, closes, waits: one step a bar."""

    warmup = 0

    def signals(self, view: Any) -> Any:
        """Return actions that follow from the second of a bar."""
        import pandas as pd

        seconds = view.bars.index.as_unit("ns").asi8 // SECOND % 4
        return pd.Series([(1, 0, 3, 0)[second] for second in seconds], index=view.bars.index, dtype="int8")


@hookimpl
def register_data_sources(register: Any) -> None:
    """Register the source."""
    register("ticker", Ticker)


@hookimpl
def register_brokers(register: Any) -> None:
    """Register the broker."""
    register("at-once", AtOnce)


@hookimpl
def register_agents(register: Any) -> None:
    """Register the agent."""
    register("every-other", EveryOther)
