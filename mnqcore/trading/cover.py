"""What protects a position at this moment, in one line: from a session's memory, or from a broker's answers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnqcore.market.instruments import Instrument

PROTECTED, UNPROTECTED, FLAT = "PROTECTED", "UNPROTECTED", "FLAT"


@attrs.frozen(kw_only=True)
class Stop:
    """A stop that may still fill: `side` +1 buys; `price` in ticks; `contracts` left; `working`: in the market."""

    contract: str
    side: int
    contracts: int
    price: int | None
    working: bool
    broker_id: str = ""
    why: str = ""


@attrs.frozen(kw_only=True)
class Cover:
    """How a position is protected: `level` is PROTECTED, UNPROTECTED or FLAT; `worst` in dollars, if it is known."""

    level: str
    text: str
    worst: float | None = None

    def __str__(self) -> str:
        return f"{self.level}  {self.text}"


@attrs.frozen(kw_only=True)
class Costs:
    """What turns a stop into money. `instrument`: of the position. `fee`: dollars that a contract costs, both sides."""

    instrument: Instrument
    fee: float = 0.0


def cover(
    held: Mapping[str, int],
    averages: Mapping[str, float],
    stops: Sequence[Stop],
    costs: Costs,
    broker: str,
    *,
    doubt: str = "",
) -> Cover:
    """Return what protects a position.

    Args:
        held: contract -> signed contracts.
        averages: contract -> average price of what is held, in ticks, where it is known.
        stops: stops that may still fill, of any contract.
        costs: of the instrument.
        broker: the name of the broker.
        doubt: why this may not be how it is, such as a lost connection.
    """
    held = {contract: contracts for contract, contracts in held.items() if contracts}
    if not held:
        stray = [f"stop {_price(one.price, costs.instrument)}{_id(one)}" for one in stops if one.working]
        more = f", but {', '.join(stray)} is still at work: filled, it would open a position" if stray else ""
        return Cover(level=FLAT, text=f"nothing to protect{more}{_doubtful(doubt)}")
    shown, worst, bare = [], 0.0, []
    for contract, contracts in held.items():
        own = [one for one in stops if one.contract == contract and one.side * contracts < 0]
        working = [one for one in own if one.working and one.price is not None]
        if (covered := sum(one.contracts for one in working)) < abs(contracts):
            bare.append(_bare(contract, abs(contracts), covered, own, costs.instrument))
            continue
        shown += [f"stop {_price(one.price, costs.instrument)} working at {broker}{_id(one)}" for one in working]
        worst += _loss(contracts, averages.get(contract), working, costs)
    if bare:
        return Cover(level=UNPROTECTED, text="; ".join(bare) + _doubtful(doubt))
    known = worst == worst  # NaN: a price is not known
    text = f"{', '.join(shown)}{f', worst about {_dollars(worst)}' if known else ''}"
    return Cover(level=PROTECTED, text=text + _doubtful(doubt), worst=round(worst, 2) if known else None)


def average_prices(fills: Sequence[tuple[str, int, int]]) -> dict[str, float]:
    """Return contract -> average price in ticks of what is held, from (contract, signed contracts, price) in order."""
    held: dict[str, int] = {}
    averages: dict[str, float] = {}
    for contract, signed, price in fills:
        before = held.get(contract, 0)
        after = held[contract] = before + signed
        if before * signed >= 0:
            averages[contract] = (averages.get(contract, 0.0) * abs(before) + price * abs(signed)) / max(abs(after), 1)
        elif before * after < 0:  # it turned round
            averages[contract] = float(price)
    return {contract: averages[contract] for contract, contracts in held.items() if contracts}


def _bare(contract: str, contracts: int, covered: int, own: Sequence[Stop], instrument: Instrument) -> str:
    """Return why contracts are not covered."""
    if covered:
        return f"stops at work cover {covered} of {contracts} contracts of {contract or instrument.name}"
    if own:
        why = f": {own[0].why}" if own[0].why else ""
        return f"the stop at {_price(own[0].price, instrument)} is not at work{why}"
    return f"no stop for {contracts} {contract or instrument.name}"


def _loss(contracts: int, average: float | None, working: Sequence[Stop], costs: Costs) -> float:
    """Return dollars that are left or lost when the farthest stops fill at their prices; NaN where that is unknown."""
    if average is None:
        return float("nan")
    side, left, found = (1 if contracts > 0 else -1), abs(contracts), 0.0
    for stop in sorted(working, key=lambda one: side * (one.price or 0)):
        taken = min(left, stop.contracts)
        found += taken * (side * ((stop.price or 0) - average) * costs.instrument.tick_value - costs.fee)
        left -= taken
    return found


def _price(ticks: int | None, instrument: Instrument) -> str:
    return "?" if ticks is None else price_text(ticks * instrument.tick_size, instrument)


def price_text(price: float, instrument: Instrument) -> str:
    """Return a price with the decimals of its tick: 24,762.25."""
    decimals = len(f"{instrument.tick_size:.10f}".rstrip("0").partition(".")[2])
    return f"{price:,.{decimals}f}"


def _id(stop: Stop) -> str:
    return f" (id {stop.broker_id})" if stop.broker_id else ""


def _dollars(value: float) -> str:
    return f"{'-' if value < 0 else '+'}${abs(value):,.0f}"


def _doubtful(doubt: str) -> str:
    return f" ({doubt})" if doubt else ""
