"""`BacktestEngine`: signals over a frame of bars, without a strategy file. A thin face of the same simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from mnqcore.market.instruments import Instrument
    from mnqcore.simulator import Account


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
        from mnqcore.simulator import rulebook
        from mnqcore.strategy.settings import Risk
        from mnqcore.tape.frame import costs_of, instrument_called, lay_frame

        self.instrument = instrument_called(instrument) if isinstance(instrument, str) else instrument
        self.costs = costs_of(initial_capital, commission, slippage_ticks)
        self._df = df
        self._frame = lay_frame(df, self.instrument, session, stop_loss_ticks)
        self.index, self.market = self._frame.index, self._frame.market
        self._law = rulebook(self.instrument, self.costs, Risk())

    def run(self, signals: ArrayLike | pd.Series) -> EngineResult:
        """Trade one contract by signals and return what came out.

        Args:
            signals: one action a bar of `df`, 0 HOLD, 1 BUY, 2 SELL, 3 CLOSE, taken at the bar's close.

        Raises:
            DataError: not one action a bar.
        """
        import numpy as np

        from mnqcore.simulator import Account

        market = self.market
        account = Account(market.tape, market.orders, self._law, initial_balance=self.costs.initial_balance)
        return self._result(account, account.run(self._actions(signals), sizes=np.ones(len(market.tape), np.int64)))

    def run_with_model(self, model: Any, feature_columns: Sequence[str]) -> EngineResult:
        """Trade one contract by a trained model, from the first bar that has a whole window of features before it.

        The features are scaled as they were in the model's training. Its actions are those of
        `model.predict(observation, deterministic=True)`.

        Args:
            model: a TradingAgent, or a stable-baselines3 model that was trained on a TradingEnv made of a frame.
            feature_columns: the columns of df that it was trained on, in that order.

        Raises:
            DataError: a feature is missing in the midst of the bars, or there are too few of them.
            UsageError: df has no such column, or the model does not know how its features were scaled.
        """
        from mnqcore.agent.frame import play_frame
        from mnqcore.tape.frame import columns_of

        market = self.market
        chosen = columns_of(self._df, feature_columns).iloc[self._frame.rows]
        led = play_frame(model, chosen, market, self._law, self.costs.initial_balance)
        return self._result(led.account, led.equity)

    def _result(self, account: Account, curve: NDArray[np.int64]) -> EngineResult:
        import pandas as pd

        from mnqcore.metrics import summarise
        from mnqcore.simulator import outcome

        market = self.market
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
        actions: NDArray[np.int8] = found.astype(np.int8)[self._frame.rows]
        return actions
