"""The simulator's fill rules, asked order by order: what the kernel does of a whole series at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnqcore import rules
from mnqcore.api.port import Role
from mnqcore.api.values import Window
from mnqcore.tape.records import NO_PRICE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnqcore.strategy.model import Strategy
    from mnqcore.tape import Market
    from mnqcore.trading.clockwork import Clockwork
    from mnqcore.trading.parity.story import Story

    Ints = NDArray[np.int64]


class Expected(NamedTuple):
    """A fill by the rules: in which bar, and at how many ticks."""

    bar: int
    price: int


class FillModel:
    """Says where the rules fill an order.

    Args:
        strategy: its slippage, and whether entries are good for their session alone.
        market: every bar that traded.
        clock: says when each bar ends.
        numbers: start of a bar -> its number in the session.
        last: start of the last bar, UTC ns; None for all that there are.
    """

    def __init__(
        self, strategy: Strategy, market: Market, clock: Clockwork, numbers: Mapping[int, int], last: int | None = None
    ) -> None:
        if last is not None:
            count = int(market.orders["time"].searchsorted(last, side="right"))
            market = market.between(Window(first=0, last=count - 1))
        self.starts: Ints = np.ascontiguousarray(market.orders["time"])
        self._ends = [clock.slot_end(int(start)) for start in self.starts]
        self._market, self._numbers = market, numbers
        self._slippage = strategy.costs.slippage_ticks
        located = market.calendar.locate(market.times)
        self._session = located.session if strategy.session.flat_by_close else np.zeros(len(self.starts), np.int64)

    def bar_at(self, time: int) -> int:
        """Return the bar in which a time lies, or the last before it."""
        return int(np.searchsorted(self.starts, time, side="right")) - 1

    def number(self, bar: int) -> int:
        """Return a bar's number in the session, or that of the newest before it; -1 where there is none."""
        while bar >= 0 and int(self.starts[bar]) not in self._numbers:
            bar -= 1
        return self._numbers[int(self.starts[bar])] if bar >= 0 else -1

    def first(self, story: Story) -> Expected | None:
        """Return where an order fills first; None where the bars never come to it while it lives.

        What the broker never spoke of may have been lost on the way: nothing is asked of it.
        """
        if not story.heard:
            return None
        if story.order.price is None:
            return self._market_order(story, self._begin(story))
        parent = story.parent
        if parent is None:
            return self._reached(story, self._begin(story))
        return self._reached(story, self.bar_at(parent.fills[0].time)) if parent.fills else None

    def next(self, story: Story, time: int) -> Expected | None:
        """Return where what is left of an order fills after a fill of that time."""
        if story.order.price is None:
            return self._market_order(story, self.bar_at(time) + 1)
        return self._reached(story, self.bar_at(time))

    def _begin(self, story: Story) -> int:
        """Return the first bar that had not ended when an order was sent: never the one that it was decided at."""
        decided = self.bar_at(story.bar)
        moment = max(story.sent, self._ends[decided] if decided >= 0 else 0)
        at = max(self.bar_at(moment), 0)
        return at if self._ends[at] > moment else at + 1

    def _market_order(self, story: Story, bar: int) -> Expected | None:
        """Return the next open of the order's contract, or its last close where it opens no more."""
        order, tape = story.order, self._market.tape
        leaves = order.role is Role.EXIT
        if bar < len(self.starts):
            ended = story.ended
            if ended is not None and ended <= self.starts[bar] and not story.fills:
                return None
            if not leaves and self._session[bar] != self._session[self.bar_at(story.bar)]:
                return None
            same = self._market.contracts[bar] == order.contract
            price = int(tape["open"][bar] if same else self._market.orders["carry_open"][bar])
            if price != NO_PRICE:
                return Expected(bar, rules.slipped(price, order.side, self._slippage))
        if not leaves:
            return None
        last = min(bar, len(self.starts)) - 1
        return Expected(last, rules.slipped(int(tape["close"][last]), order.side, self._slippage))

    def _reached(self, story: Story, begin: int) -> Expected | None:
        """Return where bars reach a stop or a target; a bar that reaches both takes the stop."""
        until = self._until(story)
        own = self._reach(story, begin, until)
        if own is None or story.order.role is Role.STOP:
            return own
        stops = [mate for mate in story.mates if mate.order.role is Role.STOP]
        taken = [found.bar for mate in stops if (found := self._reach(mate, begin, self._until(mate))) is not None]
        return None if taken and min(taken) <= own.bar else own

    def _until(self, story: Story) -> int:
        """Return the bar behind the last that can reach an order."""
        ended = story.ended
        if ended is None:
            return len(self.starts)
        at = self.bar_at(ended)
        if at < 0:
            return 0
        middle = int(self.starts[at]) + (self._ends[at] - int(self.starts[at])) // 2
        return at + 1 if ended >= middle else at

    def _reach(self, story: Story, begin: int, until: int) -> Expected | None:
        order, tape, price = story.order, self._market.tape, story.order.price
        if price is None or begin >= until:
            return None
        part = slice(max(begin, 0), until)
        held = -order.side
        stop = order.role is Role.STOP
        edge = tape["low" if (held > 0) == stop else "high"][part]
        hit = edge <= price if (held > 0) == stop else edge >= price
        hit &= self._market.contracts[part] == order.contract
        if not hit.any():
            return None
        bar = int(hit.argmax()) + part.start
        opened = int(tape["open"][bar])
        filled = (
            rules.stop_fill(held, opened, price, self._slippage) if stop else rules.target_fill(held, opened, price)
        )
        return Expected(bar, filled)
