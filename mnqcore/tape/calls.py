"""Asks plugins for what their contract promises, and names the one that does not keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mnqcore.errors import MnqError, PluginError
from mnqcore.plugins.blame import place, reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnqcore.api.values import BarRequest, Entry, MarketView, Step
    from mnqcore.strategy.model import Choice

    Ints = NDArray[np.int64]

_TICK_NOISE = 1e-9  # a distance of 200 ticks, reckoned in floats, must not become 201


def bars(choice: Choice, request: BarRequest) -> pd.DataFrame:
    """Return a data source's bars."""
    found = asked(choice, "bars", choice.build().bars, request)
    if not isinstance(found, pd.DataFrame):
        raise _broken(choice, f"bars returned {type(found).__name__}", "return a DataFrame")
    return found


def features(choice: Choice, name: str, view: MarketView) -> pd.DataFrame:
    """Return a feature set's columns as `name.column`, float64."""
    found = asked(choice, "compute", choice.build().compute, view)
    if not isinstance(found, pd.DataFrame) or not found.index.equals(view.bars.index):
        raise _broken(choice, "compute did not return a DataFrame on the index of view.bars", "keep every row")
    odd = [str(column) for column in found if not pd.api.types.is_float_dtype(found[column].dtype)]
    if odd:
        raise _broken(choice, f"columns are not float: {', '.join(odd)}", "return float columns")
    return found.astype(np.float64).add_prefix(f"{name}.")


def levels(choice: Choice, view: MarketView) -> tuple[Ints, Ints]:
    """Return stop and target distances in ticks: stop 0 = none, -1 = not yet; target 0 = none."""
    found = asked(choice, "levels", choice.build().levels, view)
    if not isinstance(found, pd.DataFrame) or "stop" not in found or len(found) != len(view.bars):
        raise _broken(choice, "levels did not return a DataFrame with `stop` for every bar", "see DESIGN's contract")
    stop = _distances(choice, found["stop"], view)
    if not getattr(choice.cls, "protects", True):
        stop = np.zeros_like(stop)
    target = _distances(choice, found["target"], view) if "target" in found else np.zeros_like(stop)
    return stop, np.maximum(target, 0)


def signals(choice: Choice, view: MarketView) -> NDArray[np.int8]:
    """Return a rule agent's actions."""
    found = np.asarray(asked(choice, "signals", choice.build().signals, view))
    if found.shape != (len(view.bars),) or not np.isin(found, (0, 1, 2, 3)).all():
        raise _broken(choice, "signals are not one action (0, 1, 2 or 3) a bar", "return a Series on view.bars.index")
    return found.astype(np.int8)


def prepared(choice: Choice, plugin: Any, view: MarketView) -> NDArray[np.float64]:
    """Return the bar-by-bar signal of a sizer or reward that has `prepare`, else zeros."""
    if not hasattr(plugin, "prepare"):
        return np.zeros(len(view.bars))
    found = np.asarray(asked(choice, "prepare", plugin.prepare, view), dtype=np.float64)
    if found.shape != (len(view.bars),):
        raise _broken(choice, f"prepare returned shape {found.shape}", "return a Series on view.bars.index")
    return found


def size_of(choice: Choice, sizer: Any) -> Callable[[Entry], Ints]:
    """Return the sizer as a function that only ever gives whole contracts, at least 0."""

    def sized(entry: Entry) -> Ints:
        try:
            sizes = sizer(entry)
        except Exception as error:
            raise _raised(choice, "__call__", error) from error
        if (
            type(sizes) is np.ndarray
            and sizes.dtype == np.int64
            and sizes.shape == entry.side.shape
            and sizes.min() >= 0
        ):
            return sizes
        return _whole(choice, sizes, entry)

    return sized


def rewards(choice: Choice, reward: Any, step: Step) -> NDArray[np.float64]:
    """Return a reward of one step, float64 (n,), finite."""
    found = np.asarray(asked(choice, "__call__", reward, step), dtype=np.float64)
    if found.shape != step.equity.shape or not np.isfinite(found).all():
        wrong = (
            f"returned {found!r}" if found.size < 4 else f"returned shape {found.shape} or a number that is not finite"
        )
        raise _broken(choice, wrong, f"bar {int(step.bar[0])} = {step.time[0]} UTC")
    return found


def asked(choice: Choice, method: str, call: Callable[..., Any], *args: Any) -> Any:
    """Call a plugin; what it raises is named after it, unless it is an error meant for the user already."""
    try:
        return call(*args)
    except MnqError:
        raise
    except Exception as error:
        raise _raised(choice, method, error) from error


def _distances(choice: Choice, column: pd.Series, view: MarketView) -> Ints:
    """Return distances as whole ticks rounded up, -1 for NaN."""
    distance = column.to_numpy(np.float64)
    given = ~np.isnan(distance)
    ticks = np.full(len(distance), -1, np.int64)
    ticks[given] = np.ceil(distance[given] / view.instrument.tick_size - _TICK_NOISE).astype(np.int64)
    if (bad := given & ~((ticks > 0) & np.isfinite(distance))).any():
        at = int(np.flatnonzero(bad)[0])
        raise _broken(
            choice, f"{column.name} is {distance[at]} at {view.bars.index[at]}", "a distance is above 0, or NaN"
        )
    return ticks


def _whole(choice: Choice, sizes: Any, entry: Entry) -> Ints:
    """Return sizes as int64, or name the sizer that gave anything but whole contracts."""
    found = np.asarray(sizes)
    if found.shape != entry.side.shape:
        raise _broken(choice, f"returned shape {found.shape} for {len(entry.side)} entries", "return one size an entry")
    if (
        not np.issubdtype(found.dtype, np.number)
        or not (np.isfinite(found) & (found >= 0) & (found == np.rint(found))).all()
    ):
        raise _broken(choice, f"returned {found.tolist()}", "return whole contracts, 0 or more")
    return found.astype(np.int64)


def _raised(choice: Choice, method: str, error: Exception) -> PluginError:
    where = place(error, choice.cls.__module__)
    return PluginError(
        f"{choice.kind} '{choice.use}' raised {reason(error)}",
        who=f"{choice.distribution} {choice.version}{f', {where}' if where else ''} in {method}",
        next="--traceback shows all",
    )


def _broken(choice: Choice, wrong: str, hint: str) -> PluginError:
    return PluginError(
        f"{choice.kind} '{choice.use}' broke its contract: {wrong}",
        who=f"{choice.distribution} {choice.version}, {choice.cls.__module__}.{choice.cls.__qualname__}",
        next=hint,
    )
