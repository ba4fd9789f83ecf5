"""The Python side of the kernel: lanes on one tape, and the sizer that is asked when a lane enters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnqcore.api.values import Entry, Step
from mnqcore.errors import MnqError
from mnqcore.market.instruments import MICRO
from mnqcore.rules import OFF, Denial
from mnqcore.simulator import kernel
from mnqcore.simulator.addresses import by_address
from mnqcore.simulator.decision import ASKS
from mnqcore.simulator.episode import begin
from mnqcore.simulator.records import ASK, LEDGER, RULES, STEP, TRADE
from mnqcore.tape.naming import at_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnqcore.market.instruments import Instrument
    from mnqcore.strategy.settings import Costs, Risk

    Records = NDArray[np.void]
    SizeOf = Callable[[Entry], NDArray[np.int64]]

_NO_SIZES = np.empty(0, np.int64)
_ASK_FIELDS = ("side", "price", "stop_distance", "stop_ticks", "tick_value", "point_value", "equity", "wins", "losses",
               "average_win", "average_loss", "signal", "max_contracts")  # fmt: skip
_STEP_FIELDS = tuple(STEP.names or ())


def rulebook(instrument: Instrument, costs: Costs, risk: Risk) -> Records:
    """Return costs and limits as the one RULES record that the kernel reads."""
    law = np.zeros(1, RULES)
    fees = costs.commission
    law["tick_micros"], law["tick_size"] = instrument.tick_micros, instrument.tick_size
    law["margin"], law["margin_share"] = instrument.margin_micros, risk.margin_share
    law["slippage"] = costs.slippage_ticks
    law["per_contract"], law["minimum"] = round(fees.per_contract * MICRO), round(fees.minimum * MICRO)
    law["percent"] = fees.percent
    law["max_position"], law["cooldown_bars"] = risk.max_position, risk.cooldown_bars
    law["max_trades_per_day"] = OFF if risk.max_trades_per_day is None else risk.max_trades_per_day
    law["max_daily_loss"] = OFF if risk.max_daily_loss is None else round(risk.max_daily_loss * MICRO)
    law["max_loss"] = OFF if risk.max_loss is None else round(risk.max_loss * MICRO)
    return law


class Account:
    """One integer ledger a lane, all on the same tape.

    Args:
        tape, orders: BAR and ORDER records on one index.
        law: the RULES record of `rulebook`.
        initial_balance: dollars, of every lane.
        lanes: how many independent ledgers.
        first: the bar whose close is the first decision.
    """

    def __init__(
        self, tape: Records, orders: Records, law: Records, *, initial_balance: float, lanes: int = 1, first: int = 0
    ) -> None:
        self.tape, self.orders = np.ascontiguousarray(tape), np.ascontiguousarray(orders)
        self.law = law
        self._breaks = _breaks(tape)
        self.ledger = np.zeros(lanes, LEDGER)
        self.denied = np.zeros((lanes, len(Denial)), np.int64)
        self.trades = [np.zeros(0, TRADE) for _ in range(lanes)]
        self._asks = np.zeros(lanes, ASK)
        for lane in range(lanes):
            self.begin(lane, first=first, last=len(tape) - 1, balance=initial_balance)
        self.steps = np.zeros(lanes, STEP)
        self.step_trades = np.zeros((lanes, kernel.TRADES_A_STEP), TRADE)
        self._actions = np.zeros(lanes, np.int8)
        self._moved = np.zeros(lanes, np.bool_)
        self._bind()

    def begin(self, lane: int, *, first: int, last: int, balance: float) -> None:
        """Let a lane start anew at the close of bar `first`, with `balance` dollars; it ends at that of bar `last`."""
        begin(self.ledger, self.tape, lane, first, last, round(balance * MICRO))

    def run(
        self,
        actions: NDArray[np.int8],
        *,
        sizes: NDArray[np.int64] | None = None,
        size_of: SizeOf | None = None,
    ) -> NDArray[np.int64]:
        """Run every lane to its end and return equity in micro-units.

        Args:
            actions: (bars,) or (lanes, bars); the action of bar t is taken at its close.
            sizes: (bars,) contracts wanted by an entry decided at bar t; else `size_of` is asked.
            size_of: turns an Entry into whole contracts, at least 0.

        Returns:
            int64 (lanes, bars). Where a lane ended early its last equity is repeated.
        """
        rows = np.broadcast_to(np.atleast_2d(actions), (len(self.ledger), len(self.tape)))
        equity = np.full((len(self.ledger), len(self.tape)), self.ledger["equity"][:, None], np.int64)
        wanted = _NO_SIZES if sizes is None else sizes
        waiting = list(range(len(self.ledger)))
        while waiting:
            waiting = [lane for lane in waiting if self._asks_for_size(lane, rows[lane], wanted, equity[lane])]
            if waiting:
                self._answer(waiting, size_of)
        for lane, led in enumerate(self.ledger):
            equity[lane, led["bar"] :] = led["equity"]
            self.trades[lane] = self.trades[lane][: led["trades"]]
        return equity

    def step(self, actions: NDArray[np.int8], size_of: SizeOf) -> Step:
        """Move every lane one bar and return what happened; the trades of the step are in `step_trades`."""
        self.move(actions.astype(np.int64), size_of)
        return _step(self.steps.copy())

    def move(self, actions: NDArray[np.int64], size_of: SizeOf) -> None:
        """Move every lane one bar; what happened stands in `steps`, and in `seen`, until the next move.

        Args:
            actions: (lanes,), in one piece.
            size_of: as in `run`.

        Raises:
            ValueError: an action is none, or a size is below 0.
        """
        asking = kernel.move(self._world, actions, _NO_SIZES)
        while asking > 0:
            if asking not in self._entries:
                self._entries[asking] = entry_of(self._asks[:asking])
            try:
                sizes = size_of(self._entries[asking])
            except MnqError as error:
                raise error.placed(entries_at(self._asks[:asking], self.orders, len(self.ledger))) from error
            if sizes.shape != (asking,):
                raise ValueError(f"{asking} entries were answered by sizes of shape {sizes.shape}")
            asking = kernel.move(self._world, _NO_SIZES, np.ascontiguousarray(sizes))
        if asking < 0:
            raise ValueError("an action is none" if asking == kernel.BAD_ACTION else "a size is below 0")

    def _bind(self) -> None:
        """Make once what is a view on the arrays, or an address: making it takes longer than a lane's move."""
        self.seen = _step(self.steps)
        self._answers = self.ledger["answer"]
        self._alone = entry_of(self._asks[:1])
        self._entries = {1: self._alone}  # number of entries -> what the sizer is told of them
        self._world = by_address(
            self.tape, self.orders, self.law, self.ledger, self._actions, self._moved, self.step_trades, self.denied,
            self._asks, self.steps,
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        views = ("seen", "_answers", "_alone", "_entries", "_world")
        return {name: value for name, value in self.__dict__.items() if name not in views}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind()

    def _asks_for_size(
        self, lane: int, actions: NDArray[np.int8], sizes: NDArray[np.int64], equity: NDArray[np.int64]
    ) -> bool:
        """Run one lane as far as it goes; True when it waits for a size."""
        while True:
            status = kernel.advance(
                self.tape,
                self.orders,
                self._breaks,
                self.law,
                self.ledger,
                lane,
                len(self.tape),
                actions,
                sizes,
                self.trades[lane],
                self.denied,
                equity,
                self._asks[lane : lane + 1],
            )
            if status != kernel.FULL:
                return bool(status == ASKS)
            grown = np.zeros(max(1024, 2 * len(self.trades[lane])), TRADE)
            grown[: len(self.trades[lane])] = self.trades[lane]
            self.trades[lane] = grown

    def _answer(self, lanes: list[int], size_of: SizeOf | None) -> None:
        if size_of is None:
            raise TypeError("an account without sizes needs a sizer")
        alone = len(self.ledger) == 1
        try:
            sizes = size_of(self._alone if alone else entry_of(self._asks[lanes]))
        except MnqError as error:
            raise error.placed(entries_at(self._asks[lanes], self.orders, len(self.ledger))) from error
        if alone:
            self._answers[0] = size = sizes[0]
        else:
            self._answers[lanes] = sizes
            size = sizes.min()
        if size < 0:  # the kernel would ask again, for ever
            raise ValueError(f"a size is below 0: {size}")


def entries_at(asks: Records, orders: Records, lanes: int, start: int = 0) -> str:
    """Return the bar at whose close sizes were asked for, in words; of several entries that of the first.

    Args:
        asks: ASK records.
        orders: ORDER records, which know the time of a bar.
        lanes: how many accounts there are.
        start: the number of the first of these bars.
    """
    first, more = asks[0], f" and {len(asks) - 1} more" if len(asks) > 1 else ""
    bar = int(first["bar"])
    return at_bar(bar + start, int(orders["time"][bar]), int(first["lane"]), lanes) + more


def entry_of(asks: Records) -> Entry:
    """Return rows of ASK as plugins see them, read-only; those of a lane's own buffer change with its next entry."""
    asks = asks.view()
    asks.flags.writeable = False
    return Entry(lanes=asks["lane"], **{name: asks[name] for name in _ASK_FIELDS})


def _step(steps: Records) -> Step:
    """Return rows of STEP as plugins see them, read-only."""
    steps = steps.view()
    steps.flags.writeable = False
    columns = {name: steps[name] for name in _STEP_FIELDS}
    return Step(**columns | {"time": columns["time"].view("M8[ns]")})


def _breaks(tape: Records) -> NDArray[np.int64]:
    """Return the bars in which a day begins or a position may not be held, and twice the end of the tape."""
    day = tape["day"].copy()  # in one piece: read twice from records it would cost as much as the kernel
    found = (tape["flat"] | tape["missed"]) != 0
    found[1:] |= day[1:] != day[:-1]
    return np.append(np.flatnonzero(found), [len(tape), len(tape)])


def dollars(micros: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return micro-units as dollars: the one division at the edge."""
    result: Any = micros / MICRO
    return result  # type: ignore[no-any-return]
