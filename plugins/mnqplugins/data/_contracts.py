"""Quotes one path as quarterly contracts that overlap before each expiry, each dearer by the carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore import Instrument
    from mnqplugins.data._path import Path

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Days = NDArray[np.datetime64]

_EARLY_DAYS = 4
"""Trading days before the roll on which the next contract is already quoted."""
_QUARTERS = {3: "H", 6: "M", 9: "U", 12: "Z"}


@attrs.frozen(eq=False)
class Rows:
    """One row a bar and contract, by time: bar number, contract number, log basis, share of volume; all (m,).

    `codes` are the contracts' names, none for what has no contracts.
    """

    bar: Ints
    contract: Ints
    basis: Floats
    share: Floats
    codes: tuple[str, ...]

    def keep(self, mask: NDArray[np.bool_]) -> Rows:
        """Return the rows under `mask`."""
        return attrs.evolve(
            self, bar=self.bar[mask], contract=self.contract[mask], basis=self.basis[mask], share=self.share[mask]
        )


def rows(times: pd.DatetimeIndex, day: Ints, days: Days, instrument: Instrument, carry: float) -> Rows:
    """Say which contracts are quoted at each bar.

    Args:
        times: bar starts.
        day: index into `days` of each bar.
        days: trading days from the first bar's to at least a quarter beyond the last bar's.
        instrument: names the expiry rule and the roll.
        carry: how much dearer a contract is than one that expires a year earlier, as a share.
    """
    if instrument.expiry == "none":
        every, zeros = np.arange(len(day)), np.zeros(len(day))
        return Rows(every, np.zeros(len(day), dtype=np.int64), zeros, zeros + 1, ())
    expiries = _expiries(days[0], days[-1], instrument)
    ends = np.searchsorted(days, expiries)
    hours = _expiry_hours(expiries, instrument)
    starts = np.concatenate([[0], ends[:-1] - instrument.roll_days - _EARLY_DAYS])
    listed = [np.flatnonzero((day >= start) & (times.asi8 < hour)) for start, hour in zip(starts, hours, strict=True)]
    bar = np.concatenate(listed)
    contract = np.repeat(np.arange(len(listed)), [len(bars) for bars in listed])
    order = np.argsort(bar, kind="stable")
    bar, contract = bar[order], contract[order]
    basis = contract * carry / len(_QUARTERS)
    return Rows(
        bar, contract, basis, _shares(day[bar], contract, ends, instrument.roll_days), _codes(expiries, instrument)
    )


def prices(rows: Rows, path: Path, start: float, instrument: Instrument) -> dict[str, Floats]:
    """Return the columns of `rows`: the path at `start`, with the basis, on the tick grid."""
    opened, high, low, close = (
        _ticks(start * np.exp(column[rows.bar] + rows.basis), instrument)
        for column in (path.open, path.high, path.low, path.close)
    )
    columns = {
        "open": opened,
        "high": np.maximum(high, np.maximum(opened, close)),
        "low": np.minimum(low, np.minimum(opened, close)),
        "close": close,
    }
    volume = path.volume[rows.bar]
    traded = np.where(volume > 0, np.maximum(np.rint(volume * rows.share), 1.0), 0.0)
    return {name: _money(ticks, instrument.tick_size) for name, ticks in columns.items()} | {"volume": traded}


def _ticks(price: Floats, instrument: Instrument) -> Ints:
    return np.maximum(instrument.to_ticks(price), 1)


def _money(ticks: Ints, tick_size: float) -> Floats:
    """Return prices; by division where a tick is one over a whole number, which gives the nearest decimal."""
    per_point = round(1 / tick_size)
    exact = per_point > 0 and abs(per_point * tick_size - 1) < 1e-9
    whole = ticks.astype(np.float64)
    return whole / per_point if exact else whole * tick_size


def _expiries(first: np.datetime64, last: np.datetime64, instrument: Instrument) -> Days:
    """Return the quarterly expiry days from `first` on, up to the first one that no roll can reach from `last`."""
    months = np.arange(first.astype("M8[M]"), last.astype("M8[M]") + 1)
    quarterly = months[np.isin(months.astype(np.int64) % 12 + 1, list(_QUARTERS))]
    weekday, before = {"third-friday": ("Fri", 0), "third-wednesday": ("Wed", 2)}[instrument.expiry]
    third = np.busday_offset(quarterly.astype("M8[D]"), 2, roll="forward", weekmask=weekday)
    days: Days = np.busday_offset(third, -before)  # CME FX stops two days before its Wednesday
    current: Days = days[days >= first.astype("M8[D]")]
    return current


def _expiry_hours(expiries: Days, instrument: Instrument) -> Ints:
    """Return the UTC nanosecond at which each contract stops: the cash open of its expiry day."""
    import pandas as pd

    naive = pd.DatetimeIndex(expiries.astype("M8[ns]")) + pd.Timedelta(f"{instrument.cash_open}:00")
    hours: Ints = naive.tz_localize(instrument.timezone).as_unit("ns").asi8
    return hours


def _shares(day: Ints, contract: Ints, ends: Ints, roll_days: int) -> Floats:
    """Return each row's share of the volume: it moves to the next contract about the day of the roll."""
    rolls = ends - roll_days - 0.5
    leaving = 1 / (1 + np.exp(-1.5 * (day - rolls[contract])))
    arriving = 1 / (1 + np.exp(-1.5 * (day - rolls[contract - 1])))
    shares: Floats = np.where(contract > 0, arriving, 1.0) * (1 - leaving)
    return shares


def _codes(expiries: Days, instrument: Instrument) -> tuple[str, ...]:
    months = expiries.astype("M8[M]").astype(np.int64)
    return tuple(f"{instrument.name}{_QUARTERS[month % 12 + 1]}{(1970 + month // 12) % 100:02d}" for month in months)
