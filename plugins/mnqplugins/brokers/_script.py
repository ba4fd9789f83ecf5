"""The fault script at work: what it does to exchange, events and bars of a replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqplugins.brokers._faults import Fault, parse
from mnqplugins.brokers._strikes import AT_OPEN, BEFORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mnqcore import port
    from mnqplugins.brokers._exchange import Exchange, Slot

_SECOND = 1_000_000_000
_FATES = ("drop KIND", "delay KIND BARS", "duplicate KIND")
_DELIVERY = ("late BARS", "revise PRICE TICKS", "duplicate bar", "forming")
_PRICES = ("open", "high", "low", "close")


@attrs.frozen
class Item:
    """What the stream delivers: rows of a bar start, none where it is silent."""

    start: int
    rows: Sequence[Sequence[Any]]
    forming: bool = False


class Script:
    """Strikes when its bars come.

    `away`: for how many more bars nobody is let in. `cuts`: whoever is there is to be cut off. `skew`: nanoseconds by
    which the broker's clock is wrong.

    Args:
        faults: the lines of the script.
        columns: of the rows that are delivered.
        tick_size: of prices.
    """

    def __init__(self, faults: Iterable[str] = (), columns: Sequence[str] = (), tick_size: float = 1.0) -> None:
        self.away, self.cuts, self.skew, self.bar = 0, False, 0, 0
        self._columns, self._tick = list(columns), tick_size
        self._waiting = [parse(text) for text in faults]
        self._armed: list[Fault] = []
        self._silent = 0
        self._held: list[tuple[int, port.Event]] = []
        """Bar from which on an event is told."""
        self._late: list[tuple[int, Item]] = []
        """Bar with which an item is delivered."""

    def begin(self, bar: int, exchange: Exchange) -> None:
        """Arm the faults of a bar that is about to open."""
        self.bar = bar
        self._armed += [fault for fault in self._waiting if fault.bar <= bar]
        self._waiting = [fault for fault in self._waiting if fault.bar > bar]
        for fault in list(self._armed):
            if fault.form in BEFORE:
                BEFORE[fault.form](exchange, fault.words)
            elif not self._begins(fault):
                continue
            self._armed.remove(fault)

    def skip(self, bars: int) -> None:
        """Forget the faults of bars that are left out."""
        self._waiting = [fault for fault in self._waiting if fault.bar > bars]

    def opened(self, exchange: Exchange, slot: Slot) -> None:
        """Strike at what there is at the open of a bar, once its market orders are filled."""
        for fault in list(self._armed):
            if fault.form in AT_OPEN and AT_OPEN[fault.form](exchange, slot, fault.words):
                self._armed.remove(fault)

    def closed(self) -> None:
        """Note that a bar has passed."""
        self.away = max(self.away - 1, 0)

    def items(self, item: Item) -> list[Item]:
        """Return what is delivered in place of a bar."""
        due = [late for bar, late in self._late if bar <= self.bar]
        self._late = [(bar, late) for bar, late in self._late if bar > self.bar]
        if self._silent:
            self._silent -= 1
            return [*due, attrs.evolve(item, rows=())]
        delivered = [item]
        for fault in [each for each in self._armed if each.form in _DELIVERY and item.rows]:
            self._armed.remove(fault)
            delivered = self._delivered(fault, delivered)
        return [*due, *delivered]

    def through(self, events: list[port.Event]) -> list[port.Event]:
        """Return the events that are told, in their order."""
        told = [event for bar, event in self._held if bar <= self.bar]
        self._held = [(bar, event) for bar, event in self._held if bar > self.bar]
        if not self._armed:
            return told + events
        for event in events:
            told += self._fate(event)
        if len(told) > 1 and self._take(lambda fault: fault.form == "reorder"):
            told.reverse()
        return told

    def _begins(self, fault: Fault) -> bool:
        """Begin what lasts for some bars, or for ever; whether the fault is of that kind."""
        if fault.form == "disconnect BARS":
            self.away, self.cuts = fault.number, True
        elif fault.form == "silent BARS":
            self._silent = fault.number
        elif fault.form == "skew SECONDS":
            self.skew = fault.number * _SECOND
        else:
            return False
        return True

    def _fate(self, event: port.Event) -> list[port.Event]:
        """Return an event as often as it is told now."""
        kind = type(event).__name__.lower()
        fault = self._take(lambda each: each.form in _FATES and each.words[0] == kind)
        if fault is None:
            return [event]
        if fault.form == "delay KIND BARS":
            self._held.append((self.bar + fault.number, event))
        return [event, event] if fault.form == "duplicate KIND" else []

    def _delivered(self, fault: Fault, items: list[Item]) -> list[Item]:
        if fault.form == "late BARS":
            self._late.append((self.bar + fault.number, items[-1]))
            return [attrs.evolve(items[-1], rows=())]
        if fault.form == "duplicate bar":
            return [*items, items[-1]]
        if fault.form == "forming":
            return [attrs.evolve(items[0], rows=[self._begun(row) for row in items[0].rows], forming=True), *items]
        rows = [self._revised(row, str(fault.words[0]), fault.number * self._tick) for row in items[-1].rows]
        return [*items, attrs.evolve(items[-1], rows=rows)]

    def _revised(self, row: Sequence[Any], name: str, change: float) -> tuple[Any, ...]:
        """Return a row with a price changed, and what must follow from it."""
        values = dict(zip(self._columns, row, strict=True))
        values[name] += change
        prices = [values[each] for each in _PRICES]
        values["high"], values["low"] = max(prices), min(prices)
        return tuple(values.values())

    def _begun(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """Return a row as it stood after its first trade."""
        values = dict(zip(self._columns, row, strict=True))
        return tuple((values | dict.fromkeys(_PRICES, values["open"]) | {"volume": 1.0}).values())

    def _take(self, fits: Callable[[Fault], bool]) -> Fault | None:
        """Return the first armed fault that fits, and disarm it."""
        fault = next(filter(fits, self._armed), None)
        if fault is not None:
            self._armed.remove(fault)
        return fault
