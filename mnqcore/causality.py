"""Proves that what is computed from bars is causal: no look-ahead, an honest warm-up, no hand on the bars themselves.

Works on anything that maps a view to a column or columns: `features.compute`, `bracket.levels`, `agent.signals`,
`sizer.prepare`. Nothing is taken from the source; everything is seen from outside, by changing what comes in.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import attrs

from mnqcore.errors import DataError
from mnqcore.tape.mutation import copied, rewritten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.api.values import MarketView

    Compute = Callable[[MarketView], pd.DataFrame | pd.Series]
    Floats = NDArray[np.float64]

_NOISE = 1e-9
"""Share of a column's standard deviation that a change of the future may move a value by: rounding, not knowledge."""
_WARM = 1e-6
"""Share of a column's standard deviation by which a different start may still be felt after the warm-up."""
_ROUNDING = 1e-10
"""Share of a value itself that is put down to rounding."""
_NORMAL = 1.4826
"""Standard deviation of a normal distribution by its median absolute deviation."""
_FOLLOWED = 200
"""Bars after the warm-up that are compared for each start."""


@attrs.frozen(kw_only=True)
class Finding:
    """One column that is not what it says.

    `check` is "look-ahead", "warm-up", "determinism" or "mutation"; `bar` is the first row at fault and `time` its
    start; `error` is the largest difference in standard deviations of the column, as its median tells them, so that few
    large values hide nothing; inf where a value is there in one and NaN in the other; `text` says it in a sentence,
    with the view's own numbers of bars. `ahead`: how many bars before the first one that was changed it shows, 0 where
    none was.
    """

    check: str
    column: str
    bar: int
    time: pd.Timestamp
    error: float
    text: str
    ahead: int = 0


def check(compute: Compute, view: MarketView, warmup: int, *, seed: int = 0) -> list[Finding]:
    """Return all findings of `mutations`, `look_ahead` and `warm_up` on `view`, at most one a column and check."""
    return [
        *mutations(compute, view),
        *look_ahead(compute, view, seed=seed),
        *warm_up(compute, view, warmup, seed=seed),
    ]


def look_ahead(
    compute: Compute, view: MarketView, *, at: Sequence[int] | None = None, cut: Sequence[int] = (), seed: int = 0
) -> list[Finding]:
    """Return the columns that change at or before a bar when bars after it change, or are not there at all.

    Args:
        compute: what to test; each call gets a copy of the bars.
        view: the bars, at least 20.
        at: the bars t after which everything is redrawn, and then cut off; 12 spread over the history if not given.
        cut: further bars after which everything is only cut off, which costs half; see `telling`.
        seed: of the redrawn bars.
    """
    import numpy as np

    _need(view, 20)
    generator = np.random.default_rng(seed)
    whole = computed(compute, view)
    scale, found = _deviations(whole), dict[str, Finding]()
    redrawn = list(at) if at is not None else _spread(len(view.bars), 12, generator)
    for t in [*redrawn, *cut]:
        others = (
            [_between(view, 0, t + 1)] if t not in redrawn else [_redrawn(view, t, generator), _between(view, 0, t + 1)]
        )
        for other in others:
            changed = computed(compute, other).iloc[: t + 1]
            for column, bar, error in _differences(whole.iloc[: t + 1], changed, scale, _NOISE):
                text = f"{column} changes at bar {bar:,} when bars from {t + 1:,} on change"
                finding = _finding(view, "look-ahead", column, bar, error, text)
                found.setdefault(column, attrs.evolve(finding, ahead=t + 1 - bar))
    return list(found.values())


def warm_up(
    compute: Compute, view: MarketView, warmup: int, *, at: Sequence[int] | None = None, seed: int = 0
) -> list[Finding]:
    """Return the columns that still depend on where the history starts, `warmup` bars after its start.

    The history is cut at many starts; from `warmup` bars after each, the next 200 values are compared with those of
    the whole history. The finding says how many bars would have been enough, where the compared bars show it.

    Args:
        compute: what to test; each call gets a copy of the bars.
        view: the bars, at least `warmup` + 40.
        warmup: the number that is declared.
        at: the starts; 8 spread over the history if not given.
        seed: of the starts.
    """
    import numpy as np

    _need(view, warmup + 40)
    whole = computed(compute, view)
    scale = _deviations(whole.iloc[warmup:])
    room = len(view.bars) - warmup - 20
    worst: dict[str, Finding] = {}
    for start in at if at is not None else _spread(room, 8, np.random.default_rng(seed)):
        end = min(start + warmup + _FOLLOWED, len(view.bars))
        cut = computed(compute, _between(view, start, end))
        first = start + warmup
        for column, bar, error in _differences(whole.iloc[first:end], cut.iloc[warmup:], scale, _WARM):
            if column in worst and worst[column].error >= error:
                continue
            enough = _enough(whole[column].iloc[start:end], cut[column], scale[column])
            text = f"{column} still differs by {error:.2g} standard deviations after {warmup:,} bars{enough}"
            worst[column] = _finding(view, "warm-up", column, first + bar, error, text)
    return list(worst.values())


def telling(whole: pd.DataFrame, count: int) -> list[int]:
    """Return for each column at most `count` bars, spread over the history, at which it says something new; in order.

    A value that knows the next few bars shows it only where those are missing: at the bar of an action, say, and not
    among the bars that hold. Columns that are new at every bar share theirs.
    """
    import numpy as np

    found: set[int] = set()
    for name in whole:
        values = whole[name].to_numpy(np.float64)
        new = np.flatnonzero((values[1:] != values[:-1]) & ~(np.isnan(values[1:]) & np.isnan(values[:-1]))) + 1
        new = new[(new >= 5) & (new < len(values) - 1)]
        if len(new):
            found.update(new[np.unique(np.linspace(0, len(new) - 1, count).astype(int))].tolist())
    return sorted(found)


def strays(compute: Compute, view: MarketView) -> list[Finding]:
    """Return the columns that are other values when they are computed a second time from the same bars."""
    first, second = computed(compute, view), computed(compute, view)
    return [
        _finding(view, "determinism", column, bar, error, f"{column} is another value at bar {bar:,} the second time")
        for column, bar, error in _differences(first, second, _deviations(first), 0.0)
    ]


def mutations(compute: Compute, view: MarketView) -> list[Finding]:
    """Return the columns of the view that `compute` wrote to: every later plugin would read what it left."""
    given = copied(view)
    compute(given)
    return [
        Finding(
            check="mutation",
            column=one.column,
            bar=one.bar or 0,
            time=view.bars.index[0] if one.time is None else one.time,
            error=float("inf"),
            text=f"{one.table} {one.column} is rewritten from bar {one.bar or 0:,} on",
        )
        for one in rewritten(view, given)
    ]


def _need(view: MarketView, bars: int) -> None:
    if len(view.bars) < bars:
        raise DataError(
            "too few bars to prove anything", found=f"{len(view.bars):,} bars", next=f"give at least {bars:,}"
        )


def _spread(n: int, count: int, generator: np.random.Generator) -> list[int]:
    """Return `count` bars over the whole of `n`, one drawn in each equal part, the first 5 bars left out."""
    import numpy as np

    edges = np.linspace(min(5, n - 2), n - 2, count + 1).astype(int)
    return sorted({int(generator.integers(low, max(high, low + 1))) for low, high in itertools.pairwise(edges)})


def computed(compute: Compute, view: MarketView) -> pd.DataFrame:
    """Return what `compute` makes of a copy of `view`, as columns of float64."""
    import pandas as pd

    given = copied(view)
    result = compute(given)
    frame = result.to_frame(result.name or "value") if isinstance(result, pd.Series) else result
    if len(frame) != len(view.bars):
        raise DataError("not one row a bar", found=f"{len(frame):,} rows", where=f"{len(view.bars):,} bars")
    return frame.astype("float64")


def _between(view: MarketView, start: int, end: int) -> MarketView:
    """Return the view as it were with a history from bar `start` up to, without, bar `end`."""
    bars = view.bars.iloc[start:end]
    first, known = bars.index[0], _known(view, end - 1)
    feeds = {name: feed[((feed.index >= first) | (start == 0)) & known[name]] for name, feed in view.feeds.items()}
    return attrs.evolve(view, bars=bars, factor=view.factor.iloc[start:end], feeds=feeds)


def _redrawn(view: MarketView, t: int, generator: np.random.Generator) -> MarketView:
    """Return the view with another future after bar `t`: prices, volumes, further columns, factor and feeds."""
    import numpy as np

    known = _known(view, t)
    after = np.arange(len(view.bars)) > t
    return attrs.evolve(
        view,
        bars=another_future(view.bars, after, generator),
        factor=view.factor.where(~after, view.factor * 1.01),
        feeds={name: another_future(feed, ~known[name], generator) for name, feed in view.feeds.items()},
    )


def _known(view: MarketView, t: int) -> dict[str, NDArray[np.bool_]]:
    """Return feed -> which of its bars had closed when bar `t` did."""
    import numpy as np
    import pandas as pd

    if not view.feeds:
        return {}
    close = view.calendar.bar_ends(pd.DatetimeIndex(view.bars.index[t : t + 1]), view.bar_size)[0]
    return {name: np.asarray(view.feed_closes(name) <= close) for name in view.feeds}


def changes(before: pd.DataFrame, after: pd.DataFrame) -> list[tuple[str, int, float]]:
    """Return column, first row and largest error, in standard deviations, of the columns that differ beyond rounding.

    Args:
        before: float columns, a row a bar.
        after: the same columns of the first rows, as many as there are.
    """
    return list(_differences(before.iloc[: len(after)], after, _deviations(before), _NOISE))


def another_future(bars: pd.DataFrame, after: NDArray[np.bool_], generator: np.random.Generator) -> pd.DataFrame:
    """Return `bars` with the rows under `after` redrawn: one factor for a bar's prices, so that they stay a bar."""
    import numpy as np

    from mnqcore.market.bars import PRICES

    changed = bars.copy(deep=True)
    count = int(after.sum())
    move = np.exp(np.cumsum(generator.normal(0, 0.02, count)) + generator.normal(0, 0.02, count))
    for column in bars.columns[[dtype.kind == "f" for dtype in bars.dtypes]]:
        price = column in PRICES
        factor = move if price else np.exp(generator.normal(0, 1, count))
        values = bars[column].to_numpy(dtype=np.float64, copy=True)
        values[after] = values[after] * factor + (0 if price else 1)
        changed[column] = values
    return changed


def _deviations(frame: pd.DataFrame) -> pd.Series:
    """Return each column's standard deviation, from the median of how far its values lie from their own median.

    Values at the median are left out, so that a column which is mostly 0 is measured by the others. Where nothing
    varies it is the median's size, or 1.
    """
    import numpy as np
    import pandas as pd

    return pd.Series([_deviation(frame[name].to_numpy(np.float64)) for name in frame], index=frame.columns)


def _deviation(values: Floats) -> float:
    import numpy as np

    values = values[np.isfinite(values)]
    if not len(values):
        return 1.0
    middle = float(np.median(values))
    away = np.abs(values - middle)
    away = away[away > 1e-12 * np.maximum(np.abs(values), abs(middle))]  # else it is rounding
    return _NORMAL * float(np.median(away)) if len(away) else abs(middle) or 1.0


def _differences(
    expected: pd.DataFrame, actual: pd.DataFrame, scale: pd.Series, tolerance: float
) -> Iterator[tuple[str, int, float]]:
    """Yield column, first row and largest error of the columns that differ, in standard deviations."""
    import numpy as np

    if list(expected.columns) != list(actual.columns):
        raise DataError(
            "the columns depend on the bars",
            found=", ".join(map(str, actual.columns)),
            where=", ".join(map(str, expected.columns)),
        )
    for column in expected.columns:
        error = _error(expected[column], actual[column], scale[column])
        wrong = np.flatnonzero(error > tolerance)
        if len(wrong):
            yield str(column), int(wrong[0]), float(error.max())


def _error(expected: pd.Series, actual: pd.Series, scale: float) -> Floats:
    """Return the difference beyond rounding row by row in `scale`: 0 where both are NaN or equal, inf where one is."""
    import numpy as np

    left, right = expected.to_numpy(dtype=np.float64), actual.to_numpy(dtype=np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf, which `same` decides
        rounding = _ROUNDING * np.maximum(np.abs(left), np.abs(right))
        error = np.maximum(np.abs(left - right) - rounding, 0.0) / scale
    return np.where(same, 0.0, np.where(np.isnan(error), np.inf, error))


def _enough(expected: pd.Series, actual: pd.Series, scale: float) -> str:
    """Return ", agrees after N" where the end of the compared bars agrees."""
    import numpy as np

    wrong = np.flatnonzero(_error(expected, actual, scale) > _WARM)
    enough = int(wrong[-1]) + 1
    return f", agrees after {enough:,}" if enough < len(actual) else ""


def _finding(view: MarketView, check: str, column: str, bar: int, error: float, text: str) -> Finding:
    return Finding(check=check, column=column, bar=bar, time=view.bars.index[bar], error=error, text=text)
