"""`TradingEnv`: one account as a gymnasium environment."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from mnqcore.api.values import ExitReason
from mnqcore.env.accounts import FRESH, Accounts
from mnqcore.env.frame import arena_of
from mnqcore.env.spaces import action_space
from mnqcore.env.windows import Windows
from mnqcore.errors import UsageError
from mnqcore.market.instruments import MICRO
from mnqcore.rules import Denial
from mnqcore.simulator.episode import GOES_ON, TERMINATED, TRUNCATED
from mnqcore.simulator.observation import FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.env.arena import Arena
    from mnqcore.market.instruments import Instrument
    from mnqcore.tape.scaler import Scaler

    Observation = dict[str, NDArray[Any]]

_REASONS = tuple(reason.label for reason in ExitReason)
_DENIALS = tuple(denial.label for denial in Denial)
_FIRST = np.ones(1, np.bool_)


class TradingEnv(gymnasium.Env[dict[str, Any], np.int64]):
    """One account that trades; market rules, stops, costs and sizes act as in a backtest.

    It is made of a frame of bars and features, or of the `arena` of a training. Actions: 0 HOLD, 1 BUY, 2 SELL,
    3 CLOSE, filled at the next bar's open. Observations: `market_features`, float32 (lookback, n), scaled, up to the
    bar that closed, and `position_info`, float32 (4,): side, unrealised profit in percent of the initial balance, bars
    held by lookback, equity by initial balance. With `observe = "bar"` its number, `bar`, int32 (1,), takes the place
    of the features.

    An episode begins at a random bar. It is terminated when ruin or `max_loss` has closed the position, and truncated
    when the bars end: what is open is then booked at the last close. `reset(options={"start": bar, "balance":
    dollars})` says where it begins, and with how much.

    Every info holds `bar`, `time` (start of the bar that closed, UTC nanoseconds), `equity`, `position` (signed
    contracts), `realised` (net dollars of trades closed in the step), `denied` (why an entry was refused) and
    `exit_reason`, both "none" where nothing happened.

    `scaler`: what the features were scaled with; `dropped`: rows at the start of df that lack a feature and are left
    out, so that bar 0 is the row behind them. None and 0 with an arena.

    Args:
        df: bars as `BacktestEngine` takes them, with the features as further columns.
        feature_columns: the columns to be seen, taken as they are, and scaled.
        initial_balance: dollars.
        lookback_window: bars of a window.
        stop_loss_ticks: distance of the stop; None trades without one.
        arena: takes the place of all that describes a frame.
        observe: "window" or "bar".
        settings: more about a frame: `commission`, `slippage_ticks`, `instrument`, `session`, `scaler`, `reward`,
            `risk`, `episode_bars`, `start_balance_range`, `reward_scale`; see `mnqcore.env.frame.arena_of`.

    Raises:
        DataError: the frame is not bars, or a feature is missing in its midst.
        UsageError: neither or both of df and arena, a column that is not there, or a number out of its range.
    """

    metadata = {"render_modes": []}

    def __init__(
        self,
        df: pd.DataFrame | None = None,
        feature_columns: Sequence[str] = (),
        initial_balance: float = 10_000.0,
        lookback_window: int = 50,
        stop_loss_ticks: int | None = 200,
        *,
        arena: Arena | None = None,
        observe: str = "window",
        **settings: Any,
    ) -> None:
        if (df is None) == (arena is None):
            raise UsageError("an environment is made of a frame, df=, or of an arena=", next="give one of them")
        self.scaler: Scaler | None = None
        self.instrument: Instrument | None = None
        self.dropped = 0
        if df is not None:
            settings |= {"initial_balance": initial_balance, "lookback_window": lookback_window}
            framed = arena_of(df, feature_columns, stop_loss_ticks=stop_loss_ticks, **settings)
            arena, self.instrument, self.scaler, self.dropped = framed
        elif settings:
            raise UsageError(f"an arena already says what {next(iter(settings))} is", next="leave it out")
        assert arena is not None
        self.arena = arena
        self.observation_space = arena.space(observe)
        self.action_space = action_space()
        self._accounts = Accounts(arena, [self.np_random])
        self._windows = Windows(arena) if observe == "window" else None
        self._over = True
        self._action, self._bar = np.zeros(1, np.int64), np.zeros((1, 1), np.int32)
        self._paid, self._done = np.zeros(1, np.float32), np.zeros(1, np.bool_)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; the same seed draws the same ones.

        Args:
            seed: of this and all later episodes, until the next seed.
            options: `start`, a bar, and `balance`, dollars, in place of those drawn.

        Raises:
            UsageError: an option is not known, or out of its range.
        """
        super().reset(seed=seed)
        accounts = self._accounts
        accounts.draws[0] = self.np_random
        accounts.begin(_FIRST, {0: options} if options else None)
        self._over = False
        bar = int(accounts.starts[0])
        time, balance = int(self.arena.orders["time"][bar]), int(accounts.account.ledger["initial"][0]) / MICRO
        seen = self._seen(bar, np.array(FRESH, np.float32))
        return seen, _info(bar, time, 0, 0, 0, balance, 0.0)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Act at the close of a bar and go on to the next one's; returns what gymnasium says.

        Raises:
            PluginError: the reward or the sizer broke its contract.
            ResetNeeded: no episode has begun, or the last one is over.
            UsageError: the action is none.
        """
        if self._over:
            raise ResetNeeded("no episode is going on: call reset() first")
        self._action[0] = operator.index(action)
        accounts, position = self._accounts, np.empty((1, FEATURES), np.float32)
        accounts.move(self._action, self._bar, position, self._paid, self._done)
        end, *counts = accounts.counts.tolist()
        self._over = end != GOES_ON
        seen, info = self._seen(counts[0], position[0]), _info(*counts, *accounts.money.tolist())
        return seen, self._paid.item(), end == TERMINATED, end == TRUNCATED, info

    def _seen(self, bar: int, position: NDArray[np.float32]) -> Observation:
        if self._windows is None:
            return {"bar": np.array((bar,), np.int32), "position_info": position}
        return {"market_features": self._windows.one(bar), "position_info": position}


def _info(
    bar: int, time: int, position: int, denied: int, reason: int, equity: float, realised: float
) -> dict[str, Any]:
    return {
        "bar": bar,
        "time": time,
        "equity": equity,
        "position": position,
        "realised": realised,
        "denied": _DENIALS[denied],
        "exit_reason": _REASONS[reason],
    }
