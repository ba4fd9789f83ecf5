"""What the fault script does to the exchange: before a bar opens, and at its open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnqcore import port, rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnqplugins.brokers._exchange import Exchange, Slot
    from mnqplugins.brokers._orders import Live

    Words = tuple[Any, ...]


def _reject(exchange: Exchange, words: Words) -> None:
    exchange.orders.refused[words[0]] = words[1] if len(words) > 1 else "201"


def _swallow(exchange: Exchange, words: Words) -> None:
    exchange.orders.swallowed.add(words[0])


def _part(exchange: Exchange, words: Words) -> None:
    exchange.partial = (words[0], False)


def _part_only(exchange: Exchange, words: Words) -> None:
    exchange.partial = (words[0], True)


# At the open of a bar; they return whether there was an occasion.


def _trade(exchange: Exchange, slot: Slot, words: Words) -> bool:
    contract = _contract(exchange, slot)
    if contract is None:
        return False
    signed = words[0]
    price = rules.slipped(slot.quotes[contract].open, 1 if signed > 0 else -1, exchange.account.terms.slippage)
    exchange.trade(contract, signed, price, slot.start)
    return True


def _order(exchange: Exchange, slot: Slot, words: Words) -> bool:
    contract = _contract(exchange, slot)
    if contract is None:
        return False
    exchange.orders.foreign(contract, words[0], slot.quotes[contract].open + words[1])
    return True


def _liquidate(exchange: Exchange, slot: Slot, _words: Words) -> bool:
    found = [each for each in exchange.account.positions() if each.contract in slot.quotes]
    for position in found:
        for live in exchange.orders:
            if live.order.contract == position.contract:
                exchange.orders.cancel(live, slot.start, "liquidation", "the broker liquidates")
        side = -1 if position.contracts > 0 else 1
        price = rules.slipped(slot.quotes[position.contract].open, side, exchange.account.terms.slippage)
        exchange.trade(position.contract, -position.contracts, price, slot.start, forced=True)
    return bool(found)


def _correct(exchange: Exchange, slot: Slot, words: Words) -> bool:
    return _revised(exchange, slot, exchange.account.correct(ticks=words[0]))


def _bust(exchange: Exchange, slot: Slot, _words: Words) -> bool:
    return _revised(exchange, slot, exchange.account.correct(bust=True))


def _revised(exchange: Exchange, slot: Slot, execution: port.Execution | None) -> bool:
    if execution is not None:
        exchange.orders.events.append(port.Filled(execution=execution, time=slot.start))
    return execution is not None


def _cancel(exchange: Exchange, slot: Slot, words: Words) -> bool:
    live = _at_work(exchange, words[0])
    if live is not None:
        exchange.orders.cancel(live, slot.start, "outside", "cancelled by hand")
    return live is not None


def _park(exchange: Exchange, slot: Slot, words: Words) -> bool:
    live = _at_work(exchange, words[0])
    if live is not None:
        exchange.orders.park(live, slot.start)
    return live is not None


def _at_work(exchange: Exchange, role: port.Role) -> Live | None:
    found = (live for live in exchange.orders if live.status is port.Status.WORKING and not live.foreign)
    return next((live for live in found if live.order.role is role), None)


def _contract(exchange: Exchange, slot: Slot) -> str | None:
    """Return what a person would trade now: what is held, or what orders are for, or the first that there is."""
    held = [each.contract for each in exchange.account.positions()]
    asked = [live.order.contract for live in exchange.orders]
    return next((contract for contract in [*held, *asked, *slot.quotes] if contract in slot.quotes), None)


BEFORE: dict[str, Callable[[Exchange, Words], None]] = {
    "reject ROLE": _reject,
    "reject ROLE CODE": _reject,
    "swallow ROLE": _swallow,
    "partial CONTRACTS": _part,
    "partial CONTRACTS cancel": _part_only,
}
"""form of a fault -> what it does before its bar opens."""

AT_OPEN: dict[str, Callable[[Exchange, Slot, Words], bool]] = {
    "trade SIGNED": _trade,
    "order SIGNED TICKS": _order,
    "liquidate": _liquidate,
    "correct TICKS": _correct,
    "bust": _bust,
    "cancel ROLE": _cancel,
    "park ROLE": _park,
}
"""form of a fault -> what it does once market orders have filled; whether there was an occasion."""
