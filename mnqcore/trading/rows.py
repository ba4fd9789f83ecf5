"""What plugins say of each bar that closes: the same functions as for a backtest, over the bars known by then.

A replay has all its bars before it begins and asks the plugins once, for all of them: exact, since no row depends on a
later one, and seen to be so on one bar in 500. Otherwise each trading day has an anchor, the bar at which its history
begins, and each bar is computed from there: parity does the same from the journal.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from mnqcore.api.values import Action
from mnqcore.errors import DataError, PluginError
from mnqcore.market.bars import PRICES
from mnqcore.trading.desk import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.strategy.model import Choice, Strategy
    from mnqcore.tape import Tape
    from mnqcore.tape.feeds import Feed
    from mnqcore.tape.scaler import Scaler
    from mnqcore.trading.clockwork import Clockwork

    Floats = NDArray[np.float32]

CHECKED = 500
"""In a replay one bar of so many is computed again from the bars before it alone."""


class NoBar(DataError):
    """The series has no bar of a start: what was delivered then is of another contract than the one that leads."""


class Early(NoBar):
    """Too few bars are known to say anything of a bar: the history begins with it, or with a feed's first bar."""


@attrs.frozen(kw_only=True, eq=False)
class Seen(Row):
    """A row with what its agent needs: `action` of a rule, `window` float32 (lookback, n) of a learner."""

    action: int | None = None
    window: Floats | None = None


class Rule:
    """A mind whose actions are worked out with the bars."""

    def act(self, row: Row, seen: Floats) -> int:
        """Return the rule's action at a bar."""
        assert isinstance(row, Seen)
        return int(Action.HOLD) if row.action is None else row.action


@attrs.frozen
class Learned:
    """A mind that is a trained model; HOLD while there is no whole window of features."""

    decide: Callable[[Floats, Floats], int]

    def act(self, row: Row, seen: Floats) -> int:
        """Return the model's action at a bar, for the position that it is met with."""
        assert isinstance(row, Seen)
        return int(Action.HOLD) if row.window is None else self.decide(row.window, seen)


def computed(strategy: Strategy, bars: pd.DataFrame, feeds: Mapping[str, Feed]) -> Tape:
    """Lay bars on the clock and ask every plugin of a strategy for them.

    `feeds`: those that have data of their own; what closes after the last bar is left out.
    """
    from mnqcore.market.bars import bar_size
    from mnqcore.tape import build, lay

    return build(strategy, lay(bars, strategy.instrument, strategy.session, bar_size(strategy.bar_size)), feeds)


def history_bars(strategy: Strategy) -> int:
    """Return how many bars before a trading day its anchor lies: the longest warm-up, and a window."""
    pieces = [*strategy.features.values(), strategy.bracket, strategy.sizer, strategy.agent]
    longest = max(_warmup_bars(strategy, choice) for choice in pieces)
    return longest + (strategy.lookback if strategy.learns else 1)


def _warmup_bars(strategy: Strategy, choice: Choice) -> int:
    """Return the bars of a piece's warm-up; that of one on a feed counts in the feed's bars.

    With feeds there are two of the largest feed's bars more: the anchor lies within one, which is left out, and the
    newest has not closed yet.
    """
    from mnqcore.market.bars import bar_size

    own = bar_size(strategy.bar_size)
    sizes = {name: int(bar_size(feed.bar_size) / own) for name, feed in strategy.feeds.items()}
    warmup = int(getattr(choice.build(), "warmup", 0)) * sizes.get(choice.on, 1)
    return warmup + 2 * max(sizes.values(), default=0)


@attrs.frozen(kw_only=True, eq=False)
class Table:
    """Rows of one tape, by the start of their bar; `scaled` has a row a bar, for a learner."""

    tape: Tape
    clock: Clockwork
    lookback: int
    features: NDArray[np.float64]
    volume: NDArray[np.float64]
    scaled: Floats | None
    places: Mapping[int, int]

    @classmethod
    def of(cls, strategy: Strategy, tape: Tape, clock: Clockwork, scaler: Scaler | None) -> Table:
        """Return the rows of a tape."""
        scaled = scaler(tape.features) if scaler is not None else None
        times: list[int] = tape.market.orders["time"].tolist()
        places = {start: at for at, start in enumerate(times)}
        return cls(
            tape=tape,
            clock=clock,
            lookback=strategy.lookback,
            features=tape.features.to_numpy(np.float64),
            volume=tape.market.raw["volume"].to_numpy(np.float64),
            scaled=scaled,
            places=places,
        )

    def row(self, start: int, number: int) -> Seen:
        """Return the row of a bar, as the session's bar `number`.

        Raises:
            NoBar: the series has no bar of that start.
        """
        at = self.places.get(start)
        if at is None:
            raise NoBar("the series has no bar of this start", found=str(np.datetime64(start, "ns")))
        market = self.tape.market
        now = market.tape[at : at + 1].copy()
        # Days are told apart by a number that no anchor changes, and a roll ahead shows in the clock alone.
        now["day"] = self.clock.trading_day(start)
        if self.clock.is_slot(start):
            now["flat"] = self.clock.slot(start)["flat"]
        bar = now[0]
        return Seen(
            start=start,
            end=self.clock.slot_end(start),
            number=number,
            contract=str(market.contracts[at]),
            now=now,
            order=market.orders[at : at + 1],
            prices=tuple(int(bar[name]) for name in PRICES),
            volume=float(self.volume[at]),
            features=_plain(self.features[at]),
            action=None if self.tape.actions is None else int(self.tape.actions[at]),
            window=self._window(at),
        )  # fmt: skip

    def _window(self, at: int) -> Floats | None:
        if self.scaled is None or at + 1 < self.lookback:
            return None
        window = np.ascontiguousarray(self.scaled[at + 1 - self.lookback : at + 1])
        return window if np.isfinite(window).all() else None


@attrs.define(kw_only=True)
class Replayed:
    """Rows of a replay: from one table, seen now and then to be those that the bars before them alone make.

    `table`: of all bars of the data source. `delivered`: the bars delivered so far.
    """

    strategy: Strategy
    table: Table
    scaler: Scaler | None
    delivered: Callable[[], pd.DataFrame]

    def row(self, start: int, number: int) -> Seen:
        """Return a bar's row.

        Raises:
            NoBar: the series has none of that start.
            PluginError: a plugin says something else of the bar once it knows no later one.
        """
        row = self.table.row(start, number)
        if number % CHECKED == CHECKED - 1:
            self._check(row)
        return row

    def _check(self, row: Seen) -> None:
        tape = computed(self.strategy, self.delivered(), self.table.tape.market.feeds)
        alone = Table.of(self.strategy, tape, self.table.clock, self.scaler)
        times = alone.tape.market.orders["time"]
        if not np.array_equal(times, self.table.tape.market.orders["time"][: len(times)]):
            return  # bars that were never delivered are no plugin's fault
        again = alone.row(row.start, row.number)
        differing = [name for name, one, other in _compared(self.table, row, again) if not _same(one, other)]
        if differing:
            raise PluginError(
                f"a plugin knows the future: {', '.join(differing[:4])} of a bar differs once no later bar is known",
                where=f"bar {row.number} = {np.datetime64(row.start, 'ns')} UTC",
                next="look for what reads later bars: a shift, a centred window, a mean of all bars",
            )


@attrs.define(kw_only=True)
class Anchored:
    """Rows computed bar by bar, each from its trading day's anchor on.

    `since`: returns the bars known so far from a start on. `feeds`: those that have data of their own. `anchors`: told
    each new anchor (first bar of its history, first bar decided from it), UTC ns.
    """

    strategy: Strategy
    clock: Clockwork
    scaler: Scaler | None
    since: Callable[[int], pd.DataFrame]
    feeds: Mapping[str, Feed]
    anchors: Callable[[int, int], Any]
    history: int
    _day: int | None = None
    _anchor: int = 0

    def recall(self, anchor: int, first: int) -> None:
        """Go on from an anchor that was noted before a restart."""
        self._day, self._anchor = self.clock.trading_day(first), anchor

    def row(self, start: int, number: int) -> Seen:
        """Return a bar's row, computed from the bars since the anchor.

        Raises:
            Early: too few bars are known.
            NoBar: the series has none of that start.
        """
        from mnqcore.tape.market import TooFewBars

        day = self.clock.trading_day(start)
        anchor = self._anchor if day == self._day else self._start_of(start)
        try:
            tape = computed(self.strategy, self.since(anchor), self.feeds)
        except TooFewBars as error:
            raise Early(error.what, **error.facts) from error
        if day != self._day:
            self._day, self._anchor = day, anchor
            self.anchors(anchor, start)
        return Table.of(self.strategy, tape, self.clock, self.scaler).row(start, number)

    def _start_of(self, start: int) -> int:
        """Return the start of the bar that lies the history's length before a bar."""
        times = np.unique(self.since(0).index.to_numpy("M8[ns]").astype(np.int64))
        before = times[times < start]
        return int(before[-self.history]) if len(before) >= self.history else int(times[0])


def _compared(table: Table, row: Seen, again: Seen) -> list[tuple[str, Any, Any]]:
    names = table.tape.features.columns
    found = [(str(name), one, other) for name, one, other in zip(names, row.features, again.features, strict=True)]
    found += [(name, row.order[name][0], again.order[name][0]) for name in ("stop", "target", "sizer_signal")]
    return [*found, ("the agent's action", row.action, again.action)]


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) or (one != one and other != other)


def _plain(features: NDArray[np.float64]) -> list[float | None]:
    """Return a row of features as JSON holds it: None where there is no number."""
    return [value if math.isfinite(value) else None for value in features.tolist()]
