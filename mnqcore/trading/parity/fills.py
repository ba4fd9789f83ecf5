"""Third row: where the simulator's rules fill an order, and where it was filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore.api.port import Role
from mnqcore.trading.parity.outcome import Difference, Row, Slippage
from mnqcore.trading.parity.texts import side_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnqcore.api.port import Execution
    from mnqcore.trading.parity.ground import Ground
    from mnqcore.trading.parity.model import Expected, FillModel
    from mnqcore.trading.parity.story import Story

_ABOUT = "price and bar of each fill, given orders and bars"


@attrs.frozen(kw_only=True)
class _Pair:
    """A fill and what the rules say; either may be missing."""

    story: Story
    made: Execution | None
    wanted: Expected | None
    at: int
    """Number of the bar in which it was filled, on the model's bars."""

    @property
    def worse(self) -> int | None:
        """Ticks by which the fill is worse than the rules say; None where they are not of one bar."""
        if self.made is None or self.wanted is None or self.at != self.wanted.bar:
            return None
        return self.made.side * (self.made.price - self.wanted.price)


def compare(stories: Sequence[Story], model: FillModel, ground: Ground, until: int) -> tuple[Row, Slippage | None]:
    """Compare every fill with the rules; the slippage of all of them is measured as well.

    `until`: a fill that the rules see at or after this time, UTC ns, need not be known yet.
    """
    row = Row(name="fills", about=_ABOUT)
    pairs = [pair for story in stories for pair in _pairs(story, model, until)]
    row.compared = len(pairs)
    wrong = [pair for pair in pairs if pair.worse != 0 or _unlike(pair)] if ground.exact else []
    tilt = _tilt(pairs, ground)
    row.differences += [_difference(pair, model, ground, tilt) for pair in wrong]
    return row, _measured(pairs, ground)


def _pairs(story: Story, model: FillModel, until: int) -> Iterable[_Pair]:
    """Yield each fill of an order beside what the rules say of it, and what they say of one that never came."""
    wanted = model.first(story)
    if not story.fills:
        if wanted is not None and model.starts[wanted.bar] < until:
            yield _Pair(story=story, made=None, wanted=wanted, at=-1)
        return
    for made in story.fills:
        yield _Pair(story=story, made=made, wanted=wanted, at=model.bar_at(made.time))
        wanted = model.next(story, made.time)


def _unlike(pair: _Pair) -> bool:
    """Whether a fill is of another side or contract than its order, or of more than it is for."""
    made, order = pair.made, pair.story.order
    if made is None:
        return False
    filled = sum(one.contracts for one in pair.story.fills)
    return (made.side, made.contract) != (order.side, order.contract) or filled > order.contracts


def _difference(pair: _Pair, model: FillModel, ground: Ground, tilt: str) -> Difference:
    made, wanted, order = pair.made, pair.wanted, pair.story.order
    at = pair.at if made is not None else (wanted.bar if wanted is not None else -1)
    start = int(model.starts[at]) if at >= 0 else pair.story.sent
    return Difference(
        bar=model.number(at),
        time=start,
        what=f"{order.role.value} {order.ref}",
        recorded="no fill" if made is None else _filled(made.side, made.contracts, made.price, pair.at, model, ground),
        computed="no fill"
        if wanted is None
        else _filled(order.side, order.contracts, wanted.price, wanted.bar, model, ground),
        cause=_cause(pair, model, tilt),
    )


def _filled(side: int, contracts: int, price: int, bar: int, model: FillModel, ground: Ground) -> str:
    return f"{side_text(side, contracts)} at {ground.price(price)} in bar {model.number(bar):,}"


def _cause(pair: _Pair, model: FillModel, tilt: str) -> str:
    made, wanted = pair.made, pair.wanted
    if made is None:
        return "the bars reach this order, and no fill of it is known"
    if wanted is None:
        return "by the bars nothing fills this order"
    if _unlike(pair):
        return "side, contract or size are not those of the order"
    if pair.at != wanted.bar:
        bars = model.number(pair.at) - model.number(wanted.bar)
        return f"filled {abs(bars)} {'bar' if abs(bars) == 1 else 'bars'} {'later' if bars > 0 else 'sooner'}"
    if tilt and pair.story.order.role is not Role.TARGET:
        return tilt
    worse = pair.worse or 0
    return f"{abs(worse)} {'tick' if abs(worse) == 1 else 'ticks'} {'worse' if worse > 0 else 'better'}"


def _tilt(pairs: Sequence[_Pair], ground: Ground) -> str:
    """Return in words by how much all fills that slip are worse or better, where it is one amount for all."""
    worse = {pair.worse for pair in pairs if pair.worse is not None and pair.story.order.role is not Role.TARGET}
    if len(worse) != 1 or 0 in worse:
        return ""
    (ticks,) = worse
    size, word = abs(ticks), "worse" if ticks > 0 else "better"
    text = f"every fill is {size} {'tick' if size == 1 else 'ticks'} {word}"
    broker, strategy = ground.strategy.trade.broker, ground.strategy.costs.slippage_ticks
    theirs = broker.params.get("slippage_ticks")
    return text if theirs is None else f"{text}: slippage_ticks {theirs}, the strategy says {strategy}"


def _measured(pairs: Sequence[_Pair], ground: Ground) -> Slippage | None:
    """Measure how far fills lay from the price of the bars."""
    assumed, limit = ground.strategy.costs.slippage_ticks, ground.strategy.trade.limits.max_slippage_ticks
    slipped = [
        pair.worse + assumed for pair in pairs if pair.worse is not None and pair.story.order.role is not Role.TARGET
    ]
    if not slipped:
        return None
    return Slippage(
        count=len(slipped),
        mean=sum(slipped) / len(slipped),
        worst=max(slipped),
        assumed=assumed,
        over=sum(ticks > limit for ticks in slipped),
    )
