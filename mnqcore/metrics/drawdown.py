"""How far equity fell below its peak, for how long, and whether the profit was worth it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    from mnqcore.api.values import Floats, Ints


def running_peak(equity: Floats, initial_balance: float) -> Floats:
    """Return the highest equity so far at each point, the initial balance included; dollars, shape of `equity`."""
    peak: Floats = np.maximum.accumulate(equity)
    return np.maximum(peak, initial_balance, out=peak)


_BLOCK = 64  # bars looked at as one in the search for new peaks


@attrs.frozen(kw_only=True, eq=False)
class Valleys:
    """The stretches of bars between one new peak and the next: one element a stretch, in order of time.

    `start`: bar that set the peak. `peak`: its equity, at first at least the initial balance. `low`: lowest equity of
    the stretch, dollars; equal to `peak` where equity did not fall.
    """

    start: Ints
    peak: Floats
    low: Floats


def valleys(equity: Floats, initial_balance: float) -> Valleys:
    """Return the stretches between new peaks; `equity` in dollars at each bar's close, at least one bar."""
    start = _new_peaks(equity, initial_balance)
    peak = equity[start]
    if not start.size or start[0] > 0:
        start, peak = np.concatenate(([0], start)), np.concatenate(([initial_balance], peak))
    return Valleys(start=start, peak=peak, low=np.minimum.reduceat(equity, start))


def _new_peaks(equity: Floats, initial_balance: float) -> Ints:
    """Return the bars above all bars before them, the initial balance counted as one."""
    # A running maximum over every bar would take longer than all else here: most blocks of bars hold no new peak.
    high = np.maximum.reduceat(equity, np.arange(0, len(equity), _BLOCK))
    rising = np.flatnonzero(high > np.concatenate(([initial_balance], running_peak(high, initial_balance)[:-1])))
    bars = (rising[:, None] * _BLOCK + np.arange(_BLOCK)).ravel()
    bars = bars[: np.searchsorted(bars, len(equity))]
    reached = running_peak(equity[bars], initial_balance)
    return bars[reached > np.concatenate(([initial_balance], reached[:-1]))[: len(bars)]]


def max_drawdown(valleys: Valleys) -> float:
    """Return min(equity - running peak) in dollars, <= 0 and to the micro-unit.

    Source: Magdon-Ismail and Atiya 2004, "Maximum drawdown", Risk Magazine.
    """
    return round(float((valleys.low - valleys.peak).min()), 6)


def max_drawdown_share(valleys: Valleys) -> float:
    """Return min((equity - running peak) / running peak), a fraction in [-1, 0]: -1 is all of the peak, or more.

    It need not fall on the bar of the largest drawdown in dollars.
    """
    return max(float(((valleys.low - valleys.peak) / valleys.peak).min()), -1.0)


@attrs.frozen(kw_only=True)
class Course:
    """The bars of the largest drawdown: its peak, its bottom, and where the peak was reached again (None = not yet)."""

    peak: int
    bottom: int
    recovered: int | None


def course(equity: Floats, valleys: Valleys) -> Course | None:
    """Return where the largest drawdown in dollars began, bottomed and ended; None when equity never fell.

    Of equal drawdowns the first. A peak that is the initial balance itself counts as reached at bar 0.
    """
    worst = int(np.argmin(valleys.low - valleys.peak))
    if valleys.low[worst] >= valleys.peak[worst]:
        return None
    start = int(valleys.start[worst])
    end = int(valleys.start[worst + 1]) if worst + 1 < len(valleys.start) else len(equity)
    bottom = start + int(np.argmin(equity[start:end]))
    again = np.flatnonzero(equity[bottom : end + 1] >= valleys.peak[worst])
    return Course(peak=start, bottom=bottom, recovered=bottom + int(again[0]) if again.size else None)


@attrs.frozen(kw_only=True, eq=False)
class Episodes:
    """Every stretch of consecutive days that end below the peak: one element a stretch, in order of time.

    `depth`: lowest equity - peak, dollars, below 0. `share`: the same over the peak, in [-1, 0). `days`: its length in
    trading days, the recovery day not counted; the last one may still be open.
    """

    depth: Floats
    share: Floats
    days: Ints


def episodes(daily: Floats, initial_balance: float) -> Episodes:
    """Return the drawdowns of the daily closes, `daily` in dollars, (days,)."""
    peak = running_peak(daily, initial_balance)
    under = daily < peak
    starts = np.flatnonzero(np.diff(under, prepend=False) & under)
    if not starts.size:
        return Episodes(depth=np.empty(0), share=np.empty(0), days=np.empty(0, dtype=np.int64))
    # Days at the peak between two stretches are 0: they change neither minimum nor sum.
    return Episodes(
        depth=np.minimum.reduceat(daily - peak, starts),
        share=np.maximum(np.minimum.reduceat(daily / peak - 1.0, starts), -1.0),
        days=np.add.reduceat(under.astype(np.int64), starts),
    )


def recovery_factor(net_profit: float, drawdown: float) -> float | None:
    """Return net profit / |largest drawdown|, both dollars; None without a drawdown.

    Source: Pardo 2008, "The Evaluation and Optimization of Trading Strategies" (as return on maximum drawdown).
    """
    return net_profit / -drawdown if drawdown else None
