"""All figures of one equity curve and its trades, as a dict that is valid JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pandas as pd

from mnqcore.api.values import ExitReason
from mnqcore.errors import DataError
from mnqcore.metrics import costs as cost
from mnqcore.metrics import drawdown as fall
from mnqcore.metrics import returns as earned
from mnqcore.metrics import risk
from mnqcore.metrics import trades as trip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnqcore.api.values import Floats, Ints
    from mnqcore.market.instruments import Instrument
    from mnqcore.metrics.returns import Days

    Columns = pd.DataFrame | Mapping[str, Any]

_INTEGERS = ("entry_bar", "exit_bar", "side", "contracts", "ticks", "bars_held")
_AMOUNTS = ("entry_price", "exit_price", "gross", "commission", "slippage", "net", "mae", "mfe", "risk")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday
_SIDES = ("long", "short")
_REASONS = tuple(reason.label for reason in ExitReason)  # by code
_HOURS = tuple(f"{hour:02d}" for hour in range(24))


@attrs.frozen(kw_only=True, eq=False)
class _Trips:
    """The trades' columns as arrays, each taken from the frame once."""

    entry_bar: Ints
    exit_bar: Ints
    side: Ints
    contracts: Ints
    ticks: Ints
    bars_held: Ints
    entry_price: Floats
    exit_price: Floats
    gross: Floats
    commission: Floats
    slippage: Floats
    net: Floats
    mae: Floats
    mfe: Floats
    risk: Floats
    reason: Ints
    """ExitReason of each trade."""

    @classmethod
    def of(cls, trades: Columns) -> _Trips:
        missing = [name for name in (*_INTEGERS, *_AMOUNTS, "reason") if name not in trades]
        if missing:
            raise DataError("columns are missing from the trades", where="summarise", found=", ".join(missing))
        return cls(
            **{name: _array(trades[name], np.int64) for name in _INTEGERS},
            **{name: _array(trades[name], np.float64) for name in _AMOUNTS},
            reason=_codes(trades["reason"]),
        )

    def where(self, reason: ExitReason) -> Any:
        return self.reason == int(reason)


def summarise(
    trades: Columns,
    equity: Floats,
    days: Days,
    *,
    initial_balance: float,
    days_per_year: float,
    instrument: Instrument,
    slippage_ticks: int,
    position: Ints | None = None,
    hours: Ints | None = None,
) -> dict[str, Any]:
    """Return every figure of a backtest, name -> value; money in dollars, shares as fractions, undefined ones None.

    Returns and their ratios are of daily equity and annualised with `days_per_year`; the largest drawdown is of the
    bars' closes, the average one and durations (trading days) of the days' closes. `net_profit` is the change of
    equity, `trades.net` the sum of the trades: they differ by what an open position has earned. Months and weekdays
    are those of the trading day of the exit, hours those of the entry.

    Args:
        trades: one row a round trip, by exit time: a DataFrame whose `reason` holds labels of ExitReason or, where
            speed counts, a mapping of arrays whose `reason` holds its numbers. Columns: entry_bar, exit_bar, side,
            contracts, ticks, bars_held (whole), entry_price, exit_price, gross, commission, slippage, net, mae, mfe,
            risk, reason.
        equity: dollars at each bar's close, (bars,), at least one bar.
        days: datetime64[D], trading day of each bar, (bars,), never decreasing.
        initial_balance: dollars before the first bar.
        days_per_year: trading days in an average year of the calendar.
        instrument: gives tick value and point value.
        slippage_ticks: ticks that each fill slipped in this run.
        position: signed contracts at each bar's close, (bars,), or None: `time_in_market` is then None.
        hours: 0..23, hour of each trade's entry in the instrument's zone, (trades,), or None: `by_hour` is then None.

    Raises:
        DataError: no bars, arrays that do not fit each other, or equity that is not a number.
    """
    trips = _Trips.of(trades)
    days = np.asarray(days, dtype="datetime64[D]")
    _check_curve(equity, days, position, initial_balance, days_per_year)
    _check_trips(trips, len(equity), hours)
    which, daily = earned.daily_equity(equity, days)
    net_profit = round(float(equity[-1]) - initial_balance, 6)
    depths = _drawdowns(equity, days, daily, initial_balance, net_profit)
    figures = _returns(equity, days, which, daily, initial_balance, days_per_year)
    figures["calmar"] = risk.calmar(figures["cagr"], depths["max_drawdown_share"])
    notional = cost.notional(trips.contracts, trips.entry_price, trips.exit_price, instrument.point_value)
    return {
        "bars": len(equity),
        "net_profit": net_profit,
        **figures,
        **depths,
        "time_in_market": None if position is None else cost.time_in_market(position),
        "turnover": cost.turnover(notional, float(daily.mean()), len(daily) / days_per_year),
        "trades": _trades(trips, days, instrument),
        "costs": _costs(trips, instrument, slippage_ticks),
        "excursions": _excursions(trips),
        "stops": _stops(trips, instrument, slippage_ticks),
        **_breakdowns(trips, days, hours),
    }


def _array(column: Any, kind: type) -> Any:
    return column.to_numpy(dtype=kind) if isinstance(column, pd.Series) else np.asarray(column, dtype=kind)


def _codes(reasons: Any) -> Ints:
    """Return each trade's ExitReason as its number, from labels or numbers."""
    if not isinstance(reasons, pd.Series):
        return np.asarray(reasons, dtype=np.int64)
    codes, found = reasons.array.factorize()
    labels = found.tolist()
    unknown = [str(label) for label in labels if label not in _REASONS]
    if unknown or (codes < 0).any():
        raise DataError(
            "a trade has an unknown exit reason", where="summarise", found=", ".join(unknown) or "no reason"
        )
    table = np.array([_REASONS.index(label) for label in labels], dtype=np.int64)
    chosen: Ints = table[codes]
    return chosen


def _check_curve(
    equity: Floats, days: Days, position: Ints | None, initial_balance: float, days_per_year: float
) -> None:
    """Refuse bars that would give figures without meaning."""
    found = ""
    if not len(equity):
        found = "no bars"
    elif len(days) != len(equity) or (position is not None and len(position) != len(equity)):
        held = "no" if position is None else len(position)
        found = f"{len(equity)} bars of equity, {len(days)} days, {held} positions"
    elif not math.isfinite(float(equity.sum())):  # one pass, no array in between
        at = int(np.argmin(np.isfinite(equity)))
        found = f"equity {equity[at]} at bar {at}"
    elif not initial_balance > 0 or not days_per_year > 0:
        found = f"initial balance {initial_balance}, {days_per_year} days a year"
    if found:
        raise DataError("no figures can be made from this equity", where="summarise", found=found)


def _check_trips(trips: _Trips, bars: int, hours: Ints | None) -> None:
    """Refuse trades that do not belong to the bars."""
    count = len(trips.net)
    outside = (trips.entry_bar < 0) | (trips.exit_bar < trips.entry_bar) | (trips.exit_bar >= bars)
    found = ""
    if outside.any():
        at = int(np.argmax(outside))
        found = f"trade {at} in bars {trips.entry_bar[at]} to {trips.exit_bar[at]} of {bars}"
    elif not math.isfinite(sum(float(getattr(trips, name).sum()) for name in _AMOUNTS)):
        found = "an amount that is not a number"
    elif hours is not None and (len(hours) != count or (count and not 0 <= hours.min() <= hours.max() < 24)):
        found = f"{count} trades, {len(hours)} hours of entry"
    if found:
        raise DataError("no figures can be made from these trades", where="summarise", found=found)


def _returns(
    equity: Floats, days: Days, which: Days, daily: Floats, initial_balance: float, days_per_year: float
) -> dict[str, Any]:
    ruin = int(np.argmax(equity <= 0)) if equity.min() <= 0 else None
    # A close at or below zero is ruin even if the same day ends above: returns are those up to that bar.
    lived = daily if ruin is None else earned.daily_equity(equity[: ruin + 1], days[: ruin + 1])[1]
    changes = earned.daily_returns(lived, initial_balance)
    total = earned.total_return(lived, initial_balance)
    tails = {
        f"{name}_{level}": function(changes, level / 100)
        for name, function in (("var", risk.value_at_risk), ("cvar", risk.conditional_value_at_risk))
        for level in (95, 99)
    }
    return {
        "days": len(daily),
        "years": len(daily) / days_per_year,
        "first_day": str(which[0]),
        "last_day": str(which[-1]),
        "ruin_day": None if ruin is None else str(days[ruin]),
        "total_return": total,
        "annualised_return": earned.annualised_return(changes, days_per_year),
        "cagr": earned.cagr(total, len(changes), days_per_year),
        "volatility": earned.volatility(changes, days_per_year),
        "sharpe": risk.sharpe(changes, days_per_year),
        "sortino": risk.sortino(changes, days_per_year),
        **tails,
        "winning_days": int(np.count_nonzero(changes > 0)),
        "losing_days": int(np.count_nonzero(changes < 0)),
        "worst_days": earned.worst_days(which, daily, initial_balance),
    }


def _drawdowns(equity: Floats, days: Days, daily: Floats, initial_balance: float, net_profit: float) -> dict[str, Any]:
    valleys = fall.valleys(equity, initial_balance)
    deepest = fall.max_drawdown(valleys)
    course = fall.course(equity, valleys)
    spells = fall.episodes(daily, initial_balance)
    ended = None if course is None else course.recovered
    return {
        "max_drawdown": deepest,
        "max_drawdown_share": fall.max_drawdown_share(valleys),
        "max_drawdown_from": None if course is None else str(days[course.peak]),
        "max_drawdown_bottom": None if course is None else str(days[course.bottom]),
        "max_drawdown_recovered": None if ended is None else str(days[ended]),
        "drawdowns": len(spells.depth),
        "average_drawdown": trip.mean(spells.depth),
        "average_drawdown_share": trip.mean(spells.share),
        "longest_drawdown_days": int(spells.days.max(initial=0)),
        "average_drawdown_days": trip.mean(spells.days),
        "recovery_factor": fall.recovery_factor(net_profit, deepest),
    }


def _trades(trips: _Trips, days: Days, instrument: Instrument) -> dict[str, Any]:
    net = trips.net
    win, loss = trip.average_win(net), trip.average_loss(net)
    some = len(net) > 0
    return {
        "count": len(net),
        "wins": int(np.count_nonzero(net > 0)),
        "losses": int(np.count_nonzero(net < 0)),
        "contracts": int(trips.contracts.sum()),
        "gross": trip.total(trips.gross),
        "net": trip.total(net),
        "win_rate": trip.win_rate(net),
        "profit_factor": trip.profit_factor(net),
        "expectancy": trip.expectancy(net),
        "expectancy_ticks": trip.per_contract(net, trips.contracts, instrument.tick_value),
        "average_win": win,
        "average_loss": loss,
        "payoff": trip.payoff(win, loss),
        "largest_net": float(net.max()) if some else None,
        "smallest_net": float(net.min()) if some else None,
        "longest_winning_run": trip.longest_run(net > 0),
        "longest_losing_run": trip.longest_run(net < 0),
        "average_bars_held": trip.mean(trips.bars_held),
        "first_day": str(days[trips.entry_bar.min()]) if some else None,
        "last_day": str(days[trips.exit_bar.max()]) if some else None,
    }


def _costs(trips: _Trips, instrument: Instrument, slippage_ticks: int) -> dict[str, Any]:
    commission, slippage = trip.total(trips.commission), trip.total(trips.slippage)
    before = round(trip.total(trips.gross) + slippage - commission, 6)
    sides = cost.slipped_sides(trips.contracts, trips.where(ExitReason.TARGET))
    value = instrument.tick_value
    rungs = range(max(3, slippage_ticks + 1) + 1)
    return {
        "commission": commission,
        "slippage": slippage,
        "total": round(commission + slippage, 6),
        "ticks_per_trade": trip.per_contract(trips.commission + trips.slippage, trips.contracts, value),
        "slippage_ticks": slippage_ticks,
        "net_at_slippage": {str(ticks): cost.net_at_slippage(before, sides, value, ticks) for ticks in rungs},
        "break_even_slippage": cost.break_even_slippage(before, sides, value),
    }


def _excursions(trips: _Trips) -> dict[str, Any]:
    mae, mfe, net = trips.mae, trips.mfe, trips.net
    return {
        "average_mae": trip.expectancy(mae),
        "average_mfe": trip.expectancy(mfe),
        "largest_mae": float(mae.max()) if len(mae) else None,
        "largest_mfe": float(mfe.max()) if len(mfe) else None,
        "average_mae_of_wins": trip.expectancy(mae[net > 0]),
        "average_mfe_of_losses": trip.expectancy(mfe[net < 0]),
        "edge_ratio": trip.edge_ratio(mae, mfe),
    }


def _stops(trips: _Trips, instrument: Instrument, slippage_ticks: int) -> dict[str, Any]:
    stopped = trips.where(ExitReason.STOP)
    ticks, planned, contracts = trips.ticks[stopped], trips.risk[stopped], trips.contracts[stopped]
    beyond = trip.beyond_risk(ticks, planned, contracts, instrument.tick_value, slippage_ticks)
    return {
        "count": len(beyond),
        "beyond_risk": int(np.count_nonzero(beyond)),
        "worst_beyond_risk_ticks": -int(beyond.max(initial=0)),
    }


def _breakdowns(trips: _Trips, days: Days, hours: Ints | None) -> dict[str, Any]:
    left, net = days[trips.exit_bar], trips.net
    months = left.astype("datetime64[M]")
    first = months.min() if len(months) else np.datetime64("1970-01")
    span = np.arange(first, months.max() + 1) if len(months) else months
    return {
        "by_side": trip.breakdown(net, (trips.side < 0).astype(np.int64), _SIDES, always=_SIDES),
        "by_reason": trip.breakdown(net, trips.reason, _REASONS),
        "by_hour": None if hours is None else trip.breakdown(net, hours, _HOURS),
        "by_weekday": trip.breakdown(net, (left.view(np.int64) + _EPOCH_WEEKDAY) % 7, _WEEKDAYS),
        "by_month": trip.breakdown(net, (months - first).astype(np.int64), span.astype(str).tolist()),
    }
