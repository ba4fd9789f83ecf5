"""The replay: slots of recorded bars, one after the other, through exchange and fault script. No clock, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnqplugins.brokers._account import Account, Terms
from mnqplugins.brokers._exchange import Exchange, Quote, Slot
from mnqplugins.brokers._script import Item, Script

if TYPE_CHECKING:
    from mnqcore import Recorded, port

MICRO = 1_000_000
_PRICES = ("open", "high", "low", "close")


def terms(recorded: Recorded, account: str, slippage: int | None, equity: float | None) -> Terms:
    """Return a strategy's costs as the account reads them; slippage and equity (dollars) may be given."""
    costs, traded = recorded.strategy.costs, recorded.strategy.instrument
    fees = costs.commission
    return Terms(
        account=account,
        equity=round((costs.initial_balance if equity is None else equity) * MICRO),
        tick_micros=traded.tick_micros,
        margin=traded.margin_micros,
        slippage=costs.slippage_ticks if slippage is None else slippage,
        per_contract=round(fees.per_contract * MICRO),
        percent=fees.percent,
        minimum=round(fees.minimum * MICRO),
        currency=traded.currency,
    )


class Tape:
    """Recorded bars by slot: what of them is streamed, and what came before."""

    def __init__(self, recorded: Recorded, start: int | None, end: int | None) -> None:
        import numpy as np

        bars = recorded.bars
        self.recorded = recorded
        self.columns = list(bars.columns)
        first = 0 if start is None else int(np.searchsorted(recorded.start, start))
        last = len(recorded.start) if end is None else int(np.searchsorted(recorded.start, end))
        self.first, self.last = first, max(last, first)
        self._names = bars["contract"].tolist() if "contract" in bars else [""] * len(bars)
        ticks = recorded.strategy.instrument.to_ticks(bars[list(_PRICES)].to_numpy())
        self._ticks = ticks.tolist()
        self._columns = [bars[name].tolist() for name in self.columns]
        self._times = {name: getattr(recorded, name).tolist() for name in ("start", "close", "session", "day", "first")}

    @property
    def ends(self) -> dict[str, int]:
        """Contract -> its last slot, of those that are streamed."""
        first = self._times["first"]
        found = dict.fromkeys(self._names, 0)
        for slot in range(self.last):
            for row in range(first[slot], first[slot + 1]):
                found[self._names[row]] = slot
        return found

    def rows(self, slot: int) -> list[tuple[Any, ...]]:
        """Return the rows of a slot, in the order of `columns`."""
        begin, end = self._times["first"][slot], self._times["first"][slot + 1]
        return [tuple(column[row] for column in self._columns) for row in range(begin, end)]

    def page(self, begin: int, end: int) -> dict[str, Any]:
        """Return rows by column, with their times."""
        return {"rows": [column[begin:end] for column in self._columns], "times": self.times(begin, end)}

    def times(self, begin: int, end: int) -> list[int]:
        """Return the bar starts of rows, UTC ns."""
        import pandas as pd

        found: list[int] = pd.DatetimeIndex(self.recorded.bars.index[begin:end]).as_unit("ns").asi8.tolist()
        return found

    def number(self, start: int) -> int:
        """Return the first slot that begins after a time, UTC ns."""
        return int(self.recorded.start.searchsorted(start, side="right"))

    def row_of(self, slot: int) -> int:
        """Return the first row of a slot."""
        return int(self._times["first"][slot])

    def slot(self, number: int) -> Slot:
        """Return a slot as the exchange reads it."""
        times = self._times
        begin, end = times["first"][number], times["first"][number + 1]
        quotes = {self._names[row]: Quote(*self._ticks[row]) for row in range(begin, end)}
        waits, carried = frozenset[str](), dict[str, int | None]()
        for roll in self.recorded.carried:
            if roll.after < number < roll.at:
                waits |= {roll.contract}
            elif number == roll.at:
                carried[roll.contract] = roll.open
        return Slot(
            number=number, start=times["start"][number], close=times["close"][number],
            session=times["session"][number], day=times["day"][number], quotes=quotes, waits=waits, carried=carried,
        )  # fmt: skip


class Replay:
    """Steps through slots: `open`, `reach`, `close`, and what they came to in `events` and `items`."""

    def __init__(self, tape: Tape, terms: Terms, script: Script) -> None:
        self.tape, self.script = tape, script
        self.exchange = Exchange(Account(terms), tape.ends)
        self.at = tape.first
        """Number of the next slot, or of the one that is open."""
        self.items: list[Item] = []
        self.opened: Slot | None = None
        """The slot that is open, whose stops are not reached yet."""
        self._slot: Slot | None = None
        self._history()

    def _history(self) -> None:
        """Let the exchange know the last closes before the first slot, and its session."""
        before = self.tape.slot(max(self.at - 1, 0))
        self.exchange.orders.session = before.session
        if self.at > 0:
            self.exchange.close(before)

    @property
    def fresh(self) -> bool:
        """Whether no slot has opened yet."""
        return self.at == self.tape.first and self.opened is None

    def skip(self, start: int) -> None:
        """Go on behind the slot that began at `start`: a client has dealt with it at a venue that is gone."""
        self.at = min(max(self.tape.number(start), self.at), self.tape.last)
        self.script.skip(self.at - self.tape.first)
        self._history()
        if self.over:
            self.exchange.last_orders()

    @property
    def over(self) -> bool:
        """Whether the last slot has closed."""
        return self.at >= self.tape.last

    @property
    def clock(self) -> int:
        """The close of the last slot, or the start of the first: where time stands between two slots."""
        if self.at == self.tape.first:
            return self.tape.slot(min(self.at, self.tape.last - 1)).start
        return self.tape.slot(self.at - 1).close

    def step(self) -> None:
        """Go through the next slot."""
        self.open()
        self.reach()
        self.close()

    def open(self) -> Slot:
        """Let the next slot open."""
        slot = self._slot = self.opened = self.tape.slot(self.at)
        self.script.begin(slot.number - self.tape.first + 1, self.exchange)
        self.exchange.open(slot)
        self.script.opened(self.exchange, slot)
        return slot

    def reach(self) -> None:
        """Let its bars run."""
        if self._slot is not None:
            self.opened = None
            self.exchange.reach(self._slot)

    def close(self) -> None:
        """Let it close, and what it delivers come to `items`."""
        slot = self._slot
        if slot is None:
            return
        self.exchange.close(slot)
        self.script.closed()
        self.items += self.script.items(Item(slot.start, self.tape.rows(slot.number)))
        self.at, self._slot = self.at + 1, None
        if self.over:
            self.exchange.last_orders()

    def submit(self, bracket: port.BracketOrder, now: int) -> None:
        """Take orders; within an open slot market orders fill at once. ValueError: nothing was taken."""
        self.exchange.submit(bracket, now, self.opened)

    def take(self) -> list[port.Event]:
        """Return what has happened since the last time, as the fault script lets it through."""
        events, self.exchange.orders.events = self.exchange.orders.events, []
        return self.script.through(events)

    def missed(self, after: int | None) -> list[Item]:
        """Return the bars of the slots that have closed after the one that started at `after`."""
        first = self.tape.first if after is None else max(self.tape.number(after), self.tape.first)
        slots = map(self.tape.slot, range(first, self.at))
        return [Item(slot.start, self.tape.rows(slot.number)) for slot in slots]
