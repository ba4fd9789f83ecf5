"""Asks plugins for what their contract promises, and names the one that does not keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mnqcore.api.values import Action
from mnqcore.errors import DataError, PluginError
from mnqcore.market.bars import validate
from mnqcore.tape.asking import asked as asked
from mnqcore.tape.asking import asked_of
from mnqcore.tape.naming import at_bar, broken, call_of, raised

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnqcore.api.values import BarRequest, Entry, MarketView, Step
    from mnqcore.strategy.model import Choice

    Ints = NDArray[np.int64]

_TICK_NOISE = 1e-9  # a distance of 200 ticks, reckoned in floats, must not become 201
_FARTHEST = 2**40  # ticks, or contracts: what a price plus a distance can hold in 64 bits by far
_FEW = 32


def bars(choice: Choice, request: BarRequest) -> pd.DataFrame:
    """Return a data source's bars, of the agreed shape."""
    found = asked(choice, "bars", choice.build().bars, request)
    if not isinstance(found, pd.DataFrame):
        raise broken(choice, f"bars returned {type(found).__name__}", "return a DataFrame")
    try:
        return validate(found)
    except DataError as error:
        raise broken(choice, error.facts.get("found", error.what), "return bars as BarRequest says") from error


def features(choice: Choice, name: str, view: MarketView) -> pd.DataFrame:
    """Return a feature set's columns as `name.column`, float64; NaN only where history is short, never infinite."""
    plugin = choice.build()
    found = asked_of(choice, "compute", plugin.compute, view)
    if not isinstance(found, pd.DataFrame) or not found.index.equals(view.bars.index):
        raise broken(choice, "compute did not return a DataFrame on the index of view.bars", "keep every row")
    if not found.columns.is_unique:
        twice = sorted({str(column) for column in found.columns[found.columns.duplicated()]})
        raise broken(choice, f"columns occur twice: {', '.join(twice)}", "give each column a name of its own")
    odd = [str(column) for column in found if not pd.api.types.is_float_dtype(found[column].dtype)]
    if odd:
        raise broken(choice, f"columns are not float: {', '.join(odd)}", "return float columns")
    columns = found.astype(np.float64)
    # What is made of feeds is known from their first close on, whenever that is.
    known_from = len(columns) if view.feeds else asked(choice, "warmup", lambda: int(getattr(plugin, "warmup", 0)))
    _refuse_senseless(choice, columns, known_from)
    return columns.add_prefix(f"{name}.")


def _refuse_senseless(choice: Choice, columns: pd.DataFrame, warmup: int) -> None:
    """Refuse a column with infinite values, or of which no value is ever known."""
    for name in columns:
        values = columns[name].to_numpy()
        if np.isinf(values).any():
            at = int(np.flatnonzero(np.isinf(values))[0])
            error = broken(choice, f"column {name} is {values[at]}", "divide by nothing that is 0")
            raise error.placed(at_bar(at, columns.index[at]))
        if len(values) > warmup and np.isnan(values).all():
            raise broken(choice, f"column {name} is nan in every bar", "return numbers, NaN only at the beginning")


def levels(choice: Choice, view: MarketView) -> tuple[Ints, Ints]:
    """Return stop and target distances in ticks: stop 0 = none, -1 = not yet; target 0 = none."""
    found = distances(choice, view)
    stop = _in_ticks(choice, found["stop"], view)
    if not getattr(choice.cls, "protects", True):
        stop = np.zeros_like(stop)
    target = _in_ticks(choice, found["target"], view) if "target" in found else np.zeros_like(stop)
    return stop, np.maximum(target, 0)


def distances(choice: Choice, view: MarketView) -> pd.DataFrame:
    """Return a bracket's `stop`, and `target` if it sets one, as it gives them, float64."""
    found = asked_of(choice, "levels", choice.build().levels, view)
    if (
        not isinstance(found, pd.DataFrame)
        or not found.index.equals(view.bars.index)
        or (columns := [name for name in ("stop", "target") if name in found])[:1] != ["stop"]
    ):
        raise broken(
            choice, "levels did not return a DataFrame with `stop` on the index of view.bars", "return one row a bar"
        )
    if not found.columns.is_unique:
        raise broken(choice, "columns occur twice", "return one `stop` and at most one `target`")
    odd = [name for name in columns if found.dtypes[name].kind not in "iuf"]
    if odd:
        raise broken(choice, f"columns are not numbers: {', '.join(odd)}", "return distances in price")
    return found[columns].astype(np.float64)


def signals(choice: Choice, view: MarketView) -> NDArray[np.int8]:
    """Return a rule agent's actions."""
    found = _a_bar(choice, "signals", view, asked_of(choice, "signals", choice.build().signals, view))
    if not np.issubdtype(found.dtype, np.integer):
        raise broken(choice, f"signals are {found.dtype}, not whole numbers", "return int8: 0, 1, 2 or 3")
    wrong = (found < 0) | (found > max(Action))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        error = broken(choice, f"signal {found[at]}", "0 HOLD, 1 BUY, 2 SELL or 3 CLOSE")
        raise error.placed(at_bar(at, view.bars.index[at]))
    return found.astype(np.int8)


def prepared(choice: Choice, plugin: Any, view: MarketView) -> NDArray[np.float64]:
    """Return the bar-by-bar signal of a sizer or reward that has `prepare`, else zeros."""
    if not hasattr(plugin, "prepare"):
        return np.zeros(len(view.bars))
    found = _a_bar(choice, "prepare", view, asked_of(choice, "prepare", plugin.prepare, view))
    if not np.issubdtype(found.dtype, np.number) or np.issubdtype(found.dtype, np.complexfloating):
        raise broken(choice, f"prepare returned {found.dtype}, not numbers", "return float64")
    return found.astype(np.float64)


def _a_bar(choice: Choice, method: str, view: MarketView, found: Any) -> NDArray[Any]:
    """Return one value a bar as an array, from a Series on the bars' index or an array of their number."""
    if isinstance(found, pd.Series) and not found.index.equals(view.bars.index):
        raise broken(choice, f"{method} returned a Series on another index", "return it on view.bars.index")
    try:
        values = np.asarray(found)
    except (TypeError, ValueError) as error:
        raise broken(choice, f"{method} returned {type(found).__name__}", "return a Series") from error
    if values.shape != (len(view.bars),):
        what = f"shape {values.shape} for {len(view.bars)} bars" if values.shape else type(found).__name__
        raise broken(choice, f"{method} returned {what}", "return a Series on view.bars.index")
    return values


def size_of(choice: Choice, sizer: Any) -> Callable[[Entry], Ints]:
    """Return the sizer as a function that only ever gives whole contracts, at least 0."""
    call = call_of(choice, "__call__")

    def sized(entry: Entry) -> Ints:
        call.begin()
        try:
            sizes = sizer(entry)
        except (Exception, SystemExit) as error:
            raise raised(choice, "__call__", error) from error
        finally:
            call.end()
        return sizes if _are_whole(sizes, entry.side.shape) else _whole(choice, sizes, entry)

    return sized


def _are_whole(sizes: Any, shape: tuple[int, ...]) -> bool:
    """Whether sizes are already what the contract says; few are looked at without a reduction, which costs 2 us."""
    if type(sizes) is not np.ndarray or sizes.dtype != np.int64 or sizes.shape != shape:
        return False
    return bool((min(sizes.tolist()) if len(sizes) < _FEW else sizes.min()) >= 0)


class Judge:
    """A fresh reward that answers for itself: what it raises, or returns wrongly, is named after its plugin.

    Whether its numbers are finite is left to whom it is handed to, who says so by `refuse`.
    """

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self._reward = choice.build()
        self._reset = getattr(self._reward, "reset", None)
        self._call = call_of(choice, "__call__")

    def reset(self, lanes: NDArray[np.bool_]) -> None:
        """Let the reward forget what it knows of these accounts, bool (n,)."""
        if self._reset is not None:
            asked(self.choice, "reset", self._reset, lanes)

    def __call__(self, step: Step) -> NDArray[np.float64]:
        """Return a reward an account, float64 (n,)."""
        self._call.begin()
        try:
            given = self._reward(step)
        except (Exception, SystemExit) as error:
            raise raised(self.choice, "__call__", error).placed(_at(step)) from error
        finally:
            self._call.end()
        return given if type(given) is np.ndarray and given.dtype == np.float64 else self._numbers(given, step)

    def refuse(self, rewards: Any, step: Step) -> PluginError:
        """Return the error that these rewards are not one finite number an account; it names the first that is none."""
        found = np.asarray(rewards)
        if found.shape != step.equity.shape:
            wrong = f"returned shape {found.shape} for {len(step.equity)} accounts"
            return broken(self.choice, wrong, "one each").placed(_at(step))
        lane = int(np.flatnonzero(~np.isfinite(found))[0])
        return broken(self.choice, f"returned {found[lane]}", "return finite numbers").placed(_at(step, lane))

    def _numbers(self, given: Any, step: Step) -> NDArray[np.float64]:
        try:
            return np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            found = broken(self.choice, f"returned {type(given).__name__}", "return one float64 an account")
            raise found.placed(_at(step)) from error


def rewards(judge: Judge, step: Step) -> NDArray[np.float64]:
    """Return the rewards of one step, float64 (n,), seen to be finite."""
    found = judge(step)
    if found.shape != step.equity.shape or not np.isfinite(found).all():
        raise judge.refuse(found, step)
    return found


def _at(step: Step, lane: int = 0) -> str:
    """Return the bar at which a step ends for an account, in words."""
    return at_bar(step.bar[lane], step.time[lane], lane, len(step.bar))


def _in_ticks(choice: Choice, column: pd.Series, view: MarketView) -> Ints:
    """Return distances as whole ticks rounded up, -1 for NaN."""
    distance = column.to_numpy(np.float64)
    given = ~np.isnan(distance)
    exact = distance[given] / view.instrument.tick_size
    if (bad := ~((exact > _TICK_NOISE) & (exact < _FARTHEST))).any():
        at = int(np.flatnonzero(given)[np.flatnonzero(bad)[0]])
        error = broken(choice, f"{column.name} is {distance[at]}", "a distance is above 0, or NaN")
        raise error.placed(at_bar(at, view.bars.index[at]))
    ticks = np.full(len(distance), -1, np.int64)
    ticks[given] = np.ceil(exact - _TICK_NOISE).astype(np.int64)
    return ticks


def _whole(choice: Choice, sizes: Any, entry: Entry) -> Ints:
    """Return sizes as int64, or name the sizer that gave anything but whole contracts."""
    try:
        found = np.asarray(sizes)
    except (TypeError, ValueError) as error:
        raise broken(choice, f"returned {type(sizes).__name__}", "return one size an entry") from error
    if found.shape != entry.side.shape:
        what = f"shape {found.shape}" if found.shape else type(sizes).__name__
        raise broken(choice, f"returned {what} for {len(entry.side)} entries", "return one size an entry")
    if found.dtype.kind not in "iuf" or not ((found >= 0) & (found < _FARTHEST) & (found == np.rint(found))).all():
        raise broken(choice, f"returned {found.tolist()}", "return whole contracts, 0 or more")
    return found.astype(np.int64)
