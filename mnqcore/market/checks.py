"""What is wrong with bars, counted: each kind of fault with its first examples, fatal ones apart from warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.market.calendar import Calendar
    from mnqcore.market.instruments import Instrument

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_EXAMPLES = 3
_SPIKE_SIGMAS = 10.0
_SPIKE_BARS = 30
_GRID = 1e-3  # of a tick: what writing a price in decimals may move it

KINDS = {
    "disorder": (True, "bars before an earlier one"),
    "duplicates": (True, "bars whose time (and contract) came before"),
    "nan": (True, "bars with a value that is missing or not finite"),
    "range": (True, "bars with high < low, or open or close beyond them"),
    "negative": (True, "bars with a price <= 0 or a volume < 0"),
    "off-tick": (False, "bars with a price off the tick grid"),
    "outside": (False, "bars outside trading hours"),
    "holes": (False, "bars missing in trading hours"),
    "spikes": (False, f"closes over {_SPIKE_SIGMAS:g} robust sigmas away that come back"),
    "zero-volume": (False, "bars without volume"),
}
"""kind of fault -> (whether it is fatal: such bars cannot be used, what is counted)."""


@attrs.frozen(kw_only=True)
class Finding:
    """One kind of fault: how many bars have it, the first of them, and the longest run where runs matter."""

    kind: str
    count: int
    examples: tuple[str, ...] = ()
    longest: str = ""

    @property
    def fatal(self) -> bool:
        """Whether bars with this fault cannot be used."""
        return KINDS[self.kind][0]

    @property
    def text(self) -> str:
        """What is counted, in words."""
        return KINDS[self.kind][1]


@attrs.frozen(kw_only=True)
class Findings:
    """All that was looked at, kinds without a fault too; and how much there is of what should be there."""

    bars: int
    expected: int
    bar_size: str
    start: str
    end: str
    contracts: tuple[str, ...]
    all: tuple[Finding, ...]

    def __getitem__(self, kind: str) -> Finding:
        return next(finding for finding in self.all if finding.kind == kind)

    @property
    def fatal(self) -> tuple[Finding, ...]:
        """The faults with which the bars cannot be used."""
        return tuple(finding for finding in self.all if finding.fatal and finding.count)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The faults that are to be known of, but stop nothing."""
        return tuple(finding for finding in self.all if not finding.fatal and finding.count)

    def lines(self) -> list[str]:
        """Return a few lines of ASCII, at most 80 columns."""
        head = [
            f"{self.bars:,} bars of {self.bar_size}, {self.start} .. {self.end} UTC",
            f"{self.expected:,} expected by the calendar",
        ]
        if self.contracts:
            head.append(_shortened(f"{len(self.contracts)} contracts: {', '.join(self.contracts)}", 78))
        faults = [*self.fatal, *self.warnings]
        body = [line for finding in faults for line in _finding_lines(finding)]
        return [*head, *(body or ["no faults found"])]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        kinds = {
            finding.kind: {
                "count": finding.count,
                "fatal": finding.fatal,
                "examples": list(finding.examples),
                "longest": finding.longest,
            }
            for finding in self.all
        }
        known = attrs.asdict(self, filter=lambda field, _: field.name != "all")
        return {**known, "contracts": list(self.contracts), "fatal": bool(self.fatal), "findings": kinds}


def check(bars: pd.DataFrame, instrument: Instrument, calendar: Calendar, bar_size: pd.Timedelta) -> Findings:
    """Count what is wrong with bars, however wrong; only the index (UTC times) and the columns must be there.

    With a `contract` column duplicates and spikes are sought in each contract, holes in all of them together.
    """
    import pandas as pd

    index = pd.DatetimeIndex(bars.index).as_unit("ns")
    time = index.asi8
    contract, names = _contracts(bars)
    values = {name: bars[name].to_numpy(np.float64) for name in ("open", "high", "low", "close", "volume")}
    prices = np.column_stack([values[name] for name in ("open", "high", "low", "close")])
    masks = {
        "disorder": np.concatenate([[False], time[1:] < time[:-1]]) if len(time) else np.zeros(0, bool),
        "duplicates": _doubles(time, contract),
        "nan": ~np.isfinite(prices).all(axis=1) | ~np.isfinite(values["volume"]),
        "range": _out_of_range(prices),
        "negative": (prices <= 0).any(axis=1) | (values["volume"] < 0),
        "off-tick": _off_grid(prices, instrument.tick_size),
        "outside": calendar.locate(index).session < 0,
        "spikes": _spikes(time, contract, values["close"], instrument.tick_size),
    }
    found = {kind: _finding(kind, mask, index) for kind, mask in masks.items()}
    # Of these it matters how long they last: an hour without a bar is another thing than twelve lone ones.
    found["zero-volume"] = _runs("zero-volume", values["volume"] == 0, index)
    expected = _expected(index, calendar, bar_size)
    found["holes"] = _runs("holes", ~np.isin(expected.asi8, time), expected)
    return Findings(
        bars=len(bars),
        expected=len(expected),
        bar_size=size_text(bar_size),
        start=_text(index.min()) if len(index) else "-",
        end=_text(index.max()) if len(index) else "-",
        contracts=tuple(names),
        all=tuple(found[kind] for kind in KINDS),
    )


def size_text(size: pd.Timedelta) -> str:
    """Return a bar size as strategy files write it: "5 min", "1 hour", "30 sec"."""
    seconds = size.total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("min", 60)):
        if seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} sec"


def _contracts(bars: pd.DataFrame) -> tuple[Ints, list[str]]:
    import pandas as pd

    if "contract" not in bars:
        return np.zeros(len(bars), np.int64), []
    codes, names = pd.factorize(bars["contract"])
    return codes, [str(name) for name in names]


def _expected(index: pd.DatetimeIndex, calendar: Calendar, bar_size: pd.Timedelta) -> pd.DatetimeIndex:
    return calendar.bar_starts(index.min(), index.max(), bar_size) if len(index) else index


def _doubles(time: Ints, contract: Ints) -> Bools:
    order = np.lexsort((np.arange(len(time)), contract, time))
    again = (np.diff(time[order]) == 0) & (np.diff(contract[order]) == 0)
    mask = np.zeros(len(time), bool)
    mask[order[1:][again]] = True
    return mask


def _out_of_range(prices: Floats) -> Bools:
    opened, high, low, close = prices.T
    outside: Bools = (high < low) | (np.maximum(opened, close) > high) | (np.minimum(opened, close) < low)
    return outside


def _off_grid(prices: Floats, tick: float) -> Bools:
    # NaN and infinity are counted as such, not as off the grid too.
    ticks = np.where(np.isfinite(prices), prices / tick, 0.0)
    off: Bools = (np.abs(ticks - np.rint(ticks)) > _GRID).any(axis=1)
    return off


def _spikes(time: Ints, contract: Ints, close: Floats, tick: float) -> Bools:
    """Closes far from the one before, most of which a later one takes back; sigma is 1.4826 x the median deviation.

    One bar out of line is a spike from `_SPIKE_SIGMAS` on; up to `_SPIKE_BARS` bars are from three times as many, since
    markets do move far and back within an hour.
    """
    mask = np.zeros(len(time), bool)
    sound = np.flatnonzero(np.isfinite(close) & (close > 0))
    order = sound[np.lexsort((time[sound], contract[sound]))]
    if len(order) < 3:
        return mask
    same = np.diff(contract[order]) == 0
    change = np.where(same, np.diff(np.log(close[order])), 0.0)
    # Quiet markets have a median change of 0: a tick is the least that a sigma can be.
    sigma = max(
        1.4826 * float(np.median(np.abs(change[same]))) if same.any() else 0.0, tick / float(close[order].max())
    )
    far = np.flatnonzero(np.abs(change) > _SPIKE_SIGMAS * sigma)
    for first, last in zip(far[:-1].tolist(), far[1:].tolist(), strict=True):
        away, back = float(change[first]), float(change[last])
        lone = last == first + 1
        wild = lone or (last - first <= _SPIKE_BARS and min(abs(away), abs(back)) > 3 * _SPIKE_SIGMAS * sigma)
        if wild and same[first:last].all() and away * back < 0 and abs(away + back) < 0.5 * abs(away):
            mask[order[first + 1 : last + 1]] = True
    return mask


def _finding(kind: str, mask: Bools, index: pd.DatetimeIndex) -> Finding:
    rows = np.flatnonzero(mask)
    return Finding(kind=kind, count=len(rows), examples=tuple(_text(index[row]) for row in rows[:_EXAMPLES].tolist()))


def _runs(kind: str, mask: Bools, index: pd.DatetimeIndex) -> Finding:
    """Count the marked rows and find their longest run."""
    found = _finding(kind, mask, index)
    if not found.count:
        return found
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    at = int(np.argmax(lengths))
    text = f"{len(starts):,} runs, the longest of {lengths[at]:,} from {_text(index[int(starts[at])])}"
    return attrs.evolve(found, longest=text, examples=tuple(_text(index[row]) for row in starts[:_EXAMPLES].tolist()))


def _finding_lines(finding: Finding) -> list[str]:
    weight = "FATAL" if finding.fatal else "warn"
    first = f"{weight:<5} {finding.count:>9,}  {finding.kind:<12} {finding.text}"
    return [first, *(f"{'':>18}{line}" for line in (finding.longest, f"first: {', '.join(finding.examples)}") if line)]


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 4]} ..."


def _text(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%d %H:%M}" if time.second == 0 else f"{time:%Y-%m-%d %H:%M:%S}"
