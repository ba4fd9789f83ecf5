"""What an event of a journal says, in one line for a person."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mnqcore.api.values import Action, ExitReason
from mnqcore.rules import Denial
from mnqcore.trading.journal_export import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mnqcore.trading.journal import Event

    Data = Mapping[str, Any]

_FEWEST = 2  # decimals of a price


class Wording:
    """Says events of one journal; prices as the instrument's tick size makes them, or in ticks where it is unknown."""

    def __init__(self, instrument: Mapping[str, Any]) -> None:
        size = instrument.get("tick_size")
        self._tick = Decimal(str(size)) if isinstance(size, int | float) else None

    def line(self, event: Event) -> str:
        """Return what an event says; what a broker or a person wrote cannot break out of the line."""
        say = _WORDS.get(event.kind)
        try:
            text = say(self, event.data) if say else _plainly(event.data)
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):  # it is shown as it is
            text = _plainly(event.data)
        return visible(text)

    def price(self, ticks: int) -> str:
        """Return a price of so many ticks: 24,762.25."""
        if self._tick is None:
            return f"{ticks:,} ticks"
        decimals = max(_FEWEST, -int(self._tick.normalize().as_tuple().exponent))
        return f"{self._tick * ticks:,.{decimals}f}"

    def _start(self, data: Data) -> str:
        versions = data.get("versions") or {}
        return (
            f"mnq {versions['mnq']}, restart {data['restart']}" if "mnq" in versions else f"restart {data['restart']}"
        )

    def _anchor(self, data: Data) -> str:
        return f"history from {_minute(data['bar'])}, decides from {_minute(data['first'])}"

    def _bar(self, data: Data) -> str:
        if data.get("final"):
            return f"{_minute(data['time'])} the last one's bookings"
        prices = " ".join(self.price(data[name]) for name in ("open", "high", "low", "close"))
        ledger = data.get("ledger") or {}
        position = f", position {ledger['position']:+d}" if ledger.get("position") else ""
        return f"{_minute(data['time'])} {data['contract']} {prices}{position}"

    def _odd_bar(self, data: Data) -> str:
        return f"{data['verdict']}: {_minute(data['time'])} {data.get('contract', '')}".rstrip()

    def _decision(self, data: Data) -> str:
        parts = [_minute(data["bar"])[11:], Action(data["action"]).name.lower()]
        if data.get("contracts"):
            parts.append(str(data["contracts"]))
        parts += [f"{name} {self.price(data[name])}" for name in ("stop", "target") if data.get(name) is not None]
        if data.get("exit"):
            parts.append(f"exit: {ExitReason(data['exit']).label}")
        if data.get("denied"):
            parts.append(f"denied: {Denial(data['denied']).label}")
        return " ".join([*parts, *map(str, data.get("world") or ())])

    def _intent(self, data: Data) -> str:
        price = data.get("price")
        kind = (
            "at market" if price is None else f"{'target' if data['role'] == 'target' else 'stop'} {self.price(price)}"
        )
        reason = f" ({ExitReason(data['reason']).label})" if data.get("reason") else ""
        return f"{_sized(data)} {kind}{reason} [{data['ref']}]"

    def _sent(self, data: Data) -> str:
        return " ".join(f"[{ref}]" for ref in data["refs"])

    def _cancel(self, data: Data) -> str:
        return f"[{data['ref']}] {data['why']}"

    def _event(self, data: Data) -> str:
        execution = data.get("execution")
        if isinstance(execution, dict):
            again = f", revision {execution['revision']}" if execution.get("revision") else ""
            forced = ", forced" if execution.get("forced") else ""
            price = self.price(execution["price"])
            return f"{data['type']} {_sized(execution)} at {price}{again}{forced} [{execution['ref'] or 'not ours'}]"
        known = {"ref", "type", "time"}
        ref = [f"[{data['ref']}]"] if data.get("ref") else []
        return " ".join(
            [data["type"], *ref, *(f"{name} {_short(data[name])}" for name in data if name not in known and data[name])]
        )

    def _denied(self, data: Data) -> str:
        return f"{data['rule']} {data['code']}: {_short(data.get('found'))}, limit {_short(data.get('limit'))}"

    def _operator(self, data: Data) -> str:
        given = " ".join(map(_short, data["args"])) if isinstance(data.get("args"), list) else _short(data.get("args"))
        return f"{data['command']} {given}: {_short(data.get('answer'))}"

    def _reconciled(self, data: Data) -> str:
        held = ", ".join(f"{one['contracts']:+d} {one['contract']}" for one in data["positions"]) or "flat"
        orders = len(data["orders"])
        differs = f"; DIFFERS: {_short(data['difference'])}" if data.get("difference") else ""
        return f"{held}, {orders} {'order' if orders == 1 else 'orders'}{differs}"


def visible(text: str) -> str:
    """Return a text in which nothing can move the cursor or begin a line: such characters as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _sized(data: Data) -> str:
    return f"{'buy' if data['side'] > 0 else 'sell'} {data['contracts']} {data['contract']}"


def _minute(time: int) -> str:
    return iso(time)[:16].replace("T", " ")


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _plainly(data: Data) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in data.items()) or "-"


_WORDS: dict[str, Callable[[Wording, Data], str]] = {
    "start": Wording._start,
    "state": lambda _self, data: f"{data['state']}: {data['why']}" if data.get("why") else data["state"],
    "anchor": Wording._anchor,
    "bar": Wording._bar,
    "odd-bar": Wording._odd_bar,
    "decision": Wording._decision,
    "intent": Wording._intent,
    "sent": Wording._sent,
    "cancel": Wording._cancel,
    "event": Wording._event,
    "denied": Wording._denied,
    "operator": Wording._operator,
    "alert": lambda _self, data: f"{data['level']}: {data['message']}",
    "reconciled": Wording._reconciled,
    "end": lambda _self, data: data["why"],
}
