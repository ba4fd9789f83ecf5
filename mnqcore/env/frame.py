"""An arena made of a user's own frame of bars and features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mnqcore.api.values import Window
from mnqcore.env.arena import Arena
from mnqcore.errors import DataError, UsageError
from mnqcore.plugins import load
from mnqcore.simulator import rulebook
from mnqcore.strategy.model import Choice
from mnqcore.strategy.settings import Risk
from mnqcore.tape.calls import Judge
from mnqcore.tape.frame import columns_of, costs_of, instrument_called, lay_frame, one_contract
from mnqcore.tape.scaler import Scaler, first_complete

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from mnqcore.env.arena import Reward
    from mnqcore.market.instruments import Instrument
    from mnqcore.strategy.settings import Session


class Framed(NamedTuple):
    """An arena, its instrument, the scaler of its features, and how many rows at the frame's start were left out."""

    arena: Arena
    instrument: Instrument
    scaler: Scaler
    dropped: int


def arena_of(
    df: pd.DataFrame, feature_columns: Sequence[str], *, initial_balance: float = 10_000.0, lookback_window: int = 50,
    stop_loss_ticks: int | None = 200, commission: float = 0.62, slippage_ticks: int = 1,
    instrument: str | Instrument = "MNQ", session: Session | None = None, scaler: Scaler | None = None,
    reward: str | Reward = "trade-pnl", risk: Risk | None = None, **episodes: Any,
) -> Framed:  # fmt: skip
    """Return an arena of all bars of a frame; one contract is traded at a time.

    Args:
        df: bars as `BacktestEngine` takes them, with the features as further columns.
        feature_columns: the columns to be seen, in this order.
        initial_balance: dollars.
        lookback_window: bars of a window.
        stop_loss_ticks: distance of the stop; None trades without one.
        commission: dollars a contract a side.
        slippage_ticks: ticks against us on each fill.
        instrument: a name in the catalogue, or an Instrument.
        session: what must be flat when; None is flat over the close.
        scaler: of the features; None fits one to this frame.
        reward: the name of a reward plugin, or a function of Step that returns float64 (n,).
        risk: limits; None is one contract and no limit but ruin.
        episodes: `episode_bars`, `start_balance_range` and `reward_scale` of `Arena`.

    Raises:
        DataError: the frame is not bars, a feature is missing in its midst, or too few bars are left.
        UsageError: no such column, instrument or reward, or a number that is out of its range.
    """
    if not isinstance(lookback_window, int) or lookback_window < 1:
        raise UsageError("lookback_window must be 1 bar or more", found=str(lookback_window))
    traded = instrument_called(instrument) if isinstance(instrument, str) else instrument
    costs = costs_of(initial_balance, commission, slippage_ticks)
    columns = columns_of(df, feature_columns)
    frame = lay_frame(df, traded, session, stop_loss_ticks)
    features = columns.iloc[frame.rows]
    dropped = first_complete(features)
    last = len(features) - 1
    if last - dropped < lookback_window:
        raise DataError(
            "too few bars have all features", found=f"{last - dropped + 1} bars", next=f"give {lookback_window + 1}"
        )
    market, features = frame.market.between(Window(first=dropped, last=last)), features.iloc[dropped:]
    scaler = scaler or Scaler.fit(features, slice(0, len(features)))
    arena = Arena(
        tape=market.tape,
        orders=market.orders,
        law=rulebook(traded, costs, risk or Risk()),
        features=scaler(features),
        names=tuple(map(str, feature_columns)),
        lookback=lookback_window,
        window=Window(first=lookback_window - 1, last=last - dropped),
        initial_balance=costs.initial_balance,
        size_of=one_contract,
        reward=_judge(reward),
        **episodes,
    )
    return Framed(arena, traded, scaler, dropped)


def _judge(reward: str | Reward) -> Callable[[], Reward]:
    """Return what makes a fresh reward; a function that was handed in is the same each time."""
    if not isinstance(reward, str):
        return lambda: reward
    piece = load().find("reward", reward)
    choice = Choice(
        kind="reward", use=reward, distribution=piece.distribution, version=piece.version, params={}, cls=piece.load()
    )
    return lambda: Judge(choice)
