"""`BacktestEngine`: signals over a frame of bars, without a strategy file. A thin face of the same simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import DataError, UsageError, suggest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from mnqcore.market.instruments import Instrument
    from mnqcore.strategy.settings import Costs

_FARTHEST = 2**31  # ticks


@attrs.frozen(kw_only=True, eq=False)
class EngineResult:
    """Figures, round trips, and equity in dollars at each close."""

    metrics: dict[str, Any]
    trades: pd.DataFrame
    equity: pd.Series


class BacktestEngine:
    """Trades signals over bars with the rules, costs and accounting of a strategy's backtest.

    Args:
        df: bars indexed by UTC bar start, columns open high low close volume (and contract, if it has several).
        initial_capital: dollars.
        commission: dollars a contract a side.
        instrument: a name in the catalogue, or an Instrument.
        slippage_ticks: ticks against us on each fill.
        stop_loss_ticks: distance of the stop; None trades without one.
        session: what must be flat when; None is flat over the close.

    Raises:
        DataError: the frame is not bars, or none lie within the session.
        UsageError: no such instrument, or a number that is out of its range.
    """

    def __init__(
        self,
        df: pd.DataFrame,
        initial_capital: float = 10_000.0,
        commission: float = 0.62,
        *,
        instrument: str | Instrument = "MNQ",
        slippage_ticks: int = 1,
        stop_loss_ticks: int | None = 200,
        session: Any = None,
    ) -> None:
        from mnqcore.market.bars import validate
        from mnqcore.simulator import rulebook
        from mnqcore.strategy.settings import Risk, Session
        from mnqcore.tape import lay

        self.instrument = _known(instrument) if isinstance(instrument, str) else instrument
        self.costs = _costs(initial_capital, commission, slippage_ticks)
        if stop_loss_ticks is not None and not 0 < stop_loss_ticks < _FARTHEST:
            raise UsageError("stop_loss_ticks must be above 0, or None", found=str(stop_loss_ticks))
        bars = validate(_as_floats(df))
        self.index = bars.index
        self._contracts = bars.get("contract")
        self.market = lay(bars, self.instrument, session or Session(), _bar_size(bars))
        self.market.orders["stop"] = stop_loss_ticks or 0
        self._law = rulebook(self.instrument, self.costs, Risk())

    def run(self, signals: ArrayLike | pd.Series) -> EngineResult:
        """Trade one contract by signals and return what came out.

        Args:
            signals: one action a bar of `df`, 0 HOLD, 1 BUY, 2 SELL, 3 CLOSE, taken at the bar's close.

        Raises:
            DataError: not one action a bar.
        """
        import numpy as np
        import pandas as pd

        from mnqcore.metrics import summarise
        from mnqcore.simulator import Account, outcome

        market = self.market
        account = Account(market.tape, market.orders, self._law, initial_balance=self.costs.initial_balance)
        curve = account.run(self._actions(signals), sizes=np.ones(len(market.tape), np.int64))
        out = outcome(account, curve, market.times, market.contracts, self.instrument)
        metrics = summarise(
            out.columns,
            out.equity,
            market.days,
            initial_balance=self.costs.initial_balance,
            days_per_year=market.calendar.days_per_year,
            instrument=self.instrument,
            slippage_ticks=self.costs.slippage_ticks,
        )
        metrics |= {"denied": out.denied, "counts": out.counts}
        return EngineResult(metrics=metrics, trades=out.trades, equity=pd.Series(out.equity, index=market.times))

    def _actions(self, signals: ArrayLike | pd.Series) -> NDArray[np.int8]:
        """Return signals of the bars that are traded: those within the session, of the contract that leads."""
        import numpy as np
        import pandas as pd

        if isinstance(signals, pd.Series) and not signals.index.equals(self.index):
            raise DataError("signals are on another index than df", next="give them the index of df")
        found = np.asarray(signals)
        if found.shape != (len(self.index),):
            raise DataError(
                "signals are not one action a bar",
                found=f"shape {found.shape} for {len(self.index)} bars",
                next="one int8 a row of df",
            )
        if found.dtype.kind not in "iu" or ((found < 0) | (found > 3)).any():
            raise DataError(
                "a signal is not 0 HOLD, 1 BUY, 2 SELL or 3 CLOSE",
                found=f"{found.dtype}: {', '.join(map(str, found[:8]))}, ...",
                next="give whole numbers, such as int8",
            )
        actions: NDArray[np.int8] = found.astype(np.int8)[self._traded()]
        return actions

    def _traded(self) -> Any:
        """Return which rows of df the tape holds."""
        import pandas as pd

        if self._contracts is None or self.index.is_unique:
            same = len(self.market.tape) == len(self.index)
            return slice(None) if same else self.index.isin(self.market.times)
        every = pd.MultiIndex.from_arrays([self.index, self._contracts])
        return every.get_indexer(pd.MultiIndex.from_arrays([self.market.times, self.market.contracts]))


def _costs(initial_capital: float, commission: float, slippage_ticks: int) -> Costs:
    from mnqcore.strategy.settings import Commission, Costs

    try:
        return Costs(
            initial_balance=float(initial_capital),
            commission=Commission(per_contract=float(commission)),
            slippage_ticks=slippage_ticks,
        )
    except (TypeError, ValueError) as error:
        raise UsageError("an account cannot be opened with these numbers", found=str(error)) from error


def _as_floats(df: pd.DataFrame) -> pd.DataFrame:
    """Return real numbers of any width as float64: what is read from a CSV holds whole volumes."""
    import pandas as pd

    narrow = [name for name in df if pd.api.types.is_any_real_numeric_dtype(df[name]) and df[name].dtype != "float64"]
    return df.astype(dict.fromkeys(narrow, "float64")) if narrow else df


def _known(name: str) -> Instrument:
    from mnqcore.market.instruments import catalogue

    known = catalogue()
    if name not in known:
        close = suggest(name, list(known))
        raise UsageError(f"no instrument {name!r}", next=f"did you mean {close}?" if close else ", ".join(known))
    return known[name]


def _bar_size(bars: pd.DataFrame) -> pd.Timedelta:
    """Return the most frequent distance between bars: gaps are rarer than bars."""
    import numpy as np
    import pandas as pd

    distances = np.diff(pd.DatetimeIndex(bars.index).asi8)
    distances = distances[distances > 0]  # several contracts may share a time
    if not len(distances):
        raise DataError("two bars or more are needed", found=f"{len(bars)}")
    least = distances.min()
    if 2 * np.count_nonzero(distances == least) > len(distances):  # nearly always, and no sort is needed to see it
        return pd.Timedelta(int(least), unit="ns")
    steps, counts = np.unique(distances, return_counts=True)
    return pd.Timedelta(int(steps[counts.argmax()]), unit="ns")
