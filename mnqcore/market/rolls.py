"""Which contract leads when, and how the bars of several contracts become one row a bar.

Raw prices stay as they are: money is only ever made in them. `Stitched.factor` turns them into the view that plugins
see, scaled forwards so that neither a roll nor a later bar changes a past row. It has 24 binary digits: so a view price
is exact where the tick is a binary fraction, as 0.25 is, and prices that were equal, or as far apart, still are.
Formulas that compare them (ADX, MFI) would else depend on how often there was a roll before.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, NamedTuple

import attrs
import numpy as np

from mnqcore.errors import DataError
from mnqcore.market.bars import IMPORT
from mnqcore.market.calendar import Calendar

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.market.instruments import Instrument

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

_DIGITS = 24
_LETTERS = "FGHJKMNQUVXZ"
"""January to December, as exchanges name months."""
_NUMBERED = re.compile(r"(?:.*\D)?(?P<year>(?:19|20)\d\d)-?(?P<month>0[1-9]|1[0-2])(?:-?\d\d)?$")
_LETTERED = re.compile(rf".*(?P<letter>[{_LETTERS}])(?P<year>(?:19|20)\d\d|\d\d?)$", re.IGNORECASE)


class Month(NamedTuple):
    """The month a contract is named after."""

    year: int
    month: int


@attrs.frozen(kw_only=True)
class Roll:
    """A change of contract: at the bar that starts at `time` the series goes from `old` to `new`.

    `ratio` is old / new price, taken at the last bar that both have before `time`; without one (`overlap` is False)
    it is such that the return over the roll is 0.
    """

    time: pd.Timestamp
    old: str
    new: str
    ratio: float
    overlap: bool


@attrs.frozen(kw_only=True, eq=False)
class Stitched:
    """One row a bar: the lead contract's raw bars, and what joins them.

    `factor` is view price / raw price. `carry_open` (n,) is where a position that is held through gets its next price:
    the bar's own open, but on a contract's first bar the old contract's next open at or after it, NaN without one.
    """

    bars: pd.DataFrame
    factor: pd.Series
    carry_open: Floats
    rolls: tuple[Roll, ...]


def stitch(bars: pd.DataFrame, calendar: Calendar) -> Stitched:
    """Join the bars of several contracts by the instrument's roll rule.

    Bars without a `contract` column, or of one contract, come back as they are. Bars with unique times whose contracts
    follow each other are joined already and keep their own roll times. Otherwise the lead is chosen anew for each
    trading day, from what was known when it began: bars that come later change no earlier row.

    Args:
        bars: ordered by time; with `contract` (str) several rows may share a time.
        calendar: of the instrument, whose `expiry`, `roll` and `roll_days` are the rule.

    Raises:
        DataError: a contract twice at one time, a code without a readable month, no rule to choose by.
    """
    import pandas as pd

    if "contract" not in bars and len(bars) and bars.index.is_monotonic_increasing and bars.index.is_unique:
        return _single(bars)
    rows = _Rows.of(bars)
    kept = np.arange(len(bars)) if rows.joined() else np.flatnonzero(_leading(rows, calendar))
    chosen = bars if len(kept) == len(bars) else bars.iloc[kept]
    carry_open = chosen["open"].to_numpy(np.float64, copy=True)
    factors = np.ones(len(chosen))
    rolls = []
    held = rows.contract[kept]
    for at in (np.flatnonzero(held[1:] != held[:-1]) + 1).tolist():
        old, new, row = int(held[at - 1]), int(held[at]), int(kept[at])
        ratio, overlap = rows.ratio(old, new, int(kept[at - 1]), row)
        factors[at:] = short(factors[at - 1] * ratio)
        carry_open[at] = rows.next_open(old, row)
        rolls.append(
            Roll(time=chosen.index[at], old=rows.names[old], new=rows.names[new], ratio=ratio, overlap=overlap)
        )
    factor = pd.Series(factors, index=chosen.index, name="factor")
    return Stitched(bars=chosen, factor=factor, carry_open=carry_open, rolls=tuple(rolls))


def short(factor: float) -> float:
    """Return a factor in 24 binary digits, at most 6e-8 of it away."""
    digits, exponent = np.frexp(factor)
    return float(np.ldexp(np.rint(digits * 2**_DIGITS), exponent - _DIGITS))


def _single(bars: pd.DataFrame) -> Stitched:
    """Return bars in which nothing can roll."""
    import pandas as pd

    factor = pd.Series(np.ones(len(bars)), index=bars.index, name="factor")
    return Stitched(bars=bars, factor=factor, carry_open=bars["open"].to_numpy(np.float64, copy=True), rolls=())


def contract_month(code: str, near: int) -> Month:
    """Read the month of a contract code: ES201312, MNQZ25, MNQZ2025, 6EH4.

    Args:
        code: root and month; the root is not looked at.
        near: a year in which the contract traded: a one-digit year is the first such year from it on.

    Raises:
        DataError: no month can be read.
    """
    if found := _NUMBERED.match(code):
        return Month(int(found["year"]), int(found["month"]))
    if found := _LETTERED.match(code):
        digits = found["year"]
        full = {1: near + (int(digits) - near) % 10, 2: 2000 + int(digits) % 100, 4: int(digits)}[len(digits)]
        return Month(full, _LETTERS.index(found["letter"].upper()) + 1)
    raise DataError(
        f"no month can be read from the contract {code!r}",
        found=code,
        next="name contracts like ES201312, MNQZ25, MNQZ2025 or 6EH4",
    )


def expiry_day(month: Month, calendar: Calendar) -> np.datetime64:
    """Return a contract's last trading day by the instrument's rule.

    "third-friday" (CME equity indices): the third Friday, or the trading day before it if the cash market is closed.
    "third-wednesday" (CME FX): the second trading day before the third Wednesday.
    """
    rule = calendar.instrument.expiry
    if rule == "none":
        raise DataError(
            f"{calendar.instrument.name} has no expiry rule, so contracts cannot be rolled by expiry",
            next='set expiry = "third-friday" or "third-wednesday", or roll = "volume", for the instrument',
        )
    days = _trading_days(month, calendar.instrument)
    if rule == "third-friday":
        last: np.datetime64 = days[np.searchsorted(days, _third(month, 4), side="right") - 1]
    else:
        last = days[np.searchsorted(days, _third(month, 2)) - 2]
    return last


def roll_day(month: Month, calendar: Calendar) -> np.datetime64:
    """Return the trading day at whose start the lead leaves a contract: `roll_days` trading days before its expiry."""
    days = _trading_days(month, calendar.instrument)
    day: np.datetime64 = days[np.searchsorted(days, expiry_day(month, calendar)) - calendar.instrument.roll_days]
    return day


def _third(month: Month, weekday: int) -> np.datetime64:
    """Return the third `weekday` (Monday = 0) of a month."""
    first = np.datetime64(f"{month.year}-{month.month:02d}-01", "D")
    ahead = (weekday - (int(first.astype(int)) + 3) % 7) % 7  # 1970-01-01 was a Thursday
    return first + ahead + 14


@functools.lru_cache(maxsize=256)
def _trading_days(month: Month, instrument: Instrument) -> NDArray[np.datetime64]:
    """Return the days with a cash session, from well before a contract's month to its end."""
    import pandas as pd

    first = pd.Timestamp(year=month.year, month=month.month, day=1)
    reach = pd.Timedelta(days=35 + 2 * instrument.roll_days)
    sessions = Calendar(instrument, rth=True).sessions(first - reach, first + pd.Timedelta(days=31))
    return sessions.index.to_numpy().astype("M8[D]")


@attrs.frozen(eq=False)
class _Rows:
    """Bars as arrays; `contract` counts contracts in the order in which they first appear."""

    time: Ints
    contract: Ints
    open: Floats
    close: Floats
    volume: Floats
    names: list[str]
    index: pd.DatetimeIndex

    @classmethod
    def of(cls, bars: pd.DataFrame) -> _Rows:
        import pandas as pd

        index = pd.DatetimeIndex(bars.index).as_unit("ns")
        if "contract" in bars:
            contract, names = pd.factorize(bars["contract"])
        else:
            contract, names = np.zeros(len(bars), np.int64), pd.Index([""])
        rows = cls(
            time=index.asi8,
            contract=contract,
            open=bars["open"].to_numpy(np.float64),
            close=bars["close"].to_numpy(np.float64),
            volume=bars["volume"].to_numpy(np.float64),
            names=[str(name) for name in names],
            index=index,
        )
        rows._refuse_gaps()
        rows._refuse_doubles()
        return rows

    def _refuse_gaps(self) -> None:
        if not len(self.time):
            raise DataError("there are no bars")
        if (self.contract < 0).any():
            raise DataError("bars lack a contract", found=f"{int((self.contract < 0).sum())} of {len(self.contract)}")

    def _refuse_doubles(self) -> None:
        if (np.diff(self.time) > 0).all():
            return
        order = np.lexsort((self.contract, self.time))
        same = (np.diff(self.time[order]) == 0) & (np.diff(self.contract[order]) == 0)
        if same.any():
            row = order[1:][same][0]
            raise DataError(
                "a contract has two bars at one time",
                where=str(self.index[row]),
                found=f"{int(same.sum())} such, the first of {self.names[self.contract[row]] or 'the series'}",
                next=f"{IMPORT} --drop-bad keeps the first of each",
            )

    def firsts(self) -> Ints:
        """Return the first row of each contract."""
        return np.unique(self.contract, return_index=True)[1]

    def joined(self) -> bool:
        """Whether there is one row a time and each contract's rows follow each other."""
        changes = int(np.count_nonzero(np.diff(self.contract)))
        return bool((np.diff(self.time) > 0).all()) and changes < len(self.names)

    def ratio(self, old: int, new: int, last: int, row: int) -> tuple[float, bool]:
        """Return old / new price over a roll at `row`, and whether both contracts have a bar before it."""
        before = slice(0, int(np.searchsorted(self.time, self.time[row])))
        # Only bars before the roll: at the roll's own bar the new contract's close would not be known yet.
        olds, news = (np.flatnonzero(self.contract[before] == contract) for contract in (old, new))
        _, at_old, at_new = np.intersect1d(self.time[olds], self.time[news], return_indices=True)
        pair = (olds[at_old[-1]], news[at_new[-1]]) if len(at_old) else (last, row)
        price, into = self.close[pair[0]], self.close[pair[1]]
        if not (price > 0 and into > 0):
            raise DataError(
                "contracts can only be joined by ratio at positive prices",
                where=str(self.index[pair[0]]),
                found=f"{self.names[old]} at {price}, {self.names[new]} at {into}",
            )
        return float(price / into), bool(len(at_old))

    def next_open(self, contract: int, row: int) -> float:
        """Return a contract's first open at or after the time of `row`, NaN without one."""
        first = int(np.searchsorted(self.time, self.time[row]))
        later = np.flatnonzero(self.contract[first:] == contract)
        return float(self.open[first + later[0]]) if len(later) else float("nan")


def _leading(rows: _Rows, calendar: Calendar) -> NDArray[np.bool_]:
    """Return which rows belong to their trading day's lead contract."""
    if not (np.diff(rows.time) >= 0).all():
        raise DataError("bars are not in order of time", next="mnq data check FILE shows where")
    months = _months(rows)
    day_of_row, day = np.unique(calendar.locate(rows.index).day, return_inverse=True)
    begins = rows.time[np.searchsorted(day, np.arange(len(day_of_row)))]
    seen = rows.time[rows.firsts()]
    # A contract can lead from the first day at whose beginning it had traded: had it to be seen sooner, a bar that
    # arrives later in the day would change the lead of that day's earlier bars.
    known = [np.flatnonzero(seen <= begin) for begin in begins]
    if calendar.instrument.roll == "volume":
        leads = _leads_by_volume(rows, day, known, months)
    else:
        leads = _leads_by_expiry(day_of_row, known, months, calendar)
    led: NDArray[np.bool_] = rows.contract == leads[day]
    return led


def _months(rows: _Rows) -> list[Month]:
    years = rows.index[rows.firsts()].year
    return [contract_month(name, int(year)) for name, year in zip(rows.names, years, strict=True)]


def _leads_by_expiry(days: NDArray[np.datetime64], known: list[Ints], months: list[Month], calendar: Calendar) -> Ints:
    """The nearest contract whose roll day has not come, of those already seen; else the last one seen."""
    ends = np.array([roll_day(month, calendar) for month in months])
    order = np.argsort(ends, kind="stable")
    leads = np.empty(len(days), np.int64)
    for at, (day, contracts) in enumerate(zip(days, known, strict=True)):
        seen = order[np.isin(order, contracts)]
        open_ones = seen[ends[seen] > day]
        leads[at] = open_ones[0] if len(open_ones) else seen[-1]
    return leads


def _leads_by_volume(rows: _Rows, day: Ints, known: list[Ints], months: list[Month]) -> Ints:
    """The contract with the most volume on the day before, never one that expires before the current lead."""
    volumes = np.zeros((len(known), len(months)))
    np.add.at(volumes, (day, rows.contract), rows.volume)
    order = sorted(range(len(months)), key=lambda contract: months[contract])
    leads = np.empty(len(known), np.int64)
    leads[0] = next(contract for contract in order if contract in known[0])
    for at in range(1, len(known)):
        # The first day's lead is a guess, as no day before it is known: the second may go back on it.
        ahead = order if at == 1 else order[order.index(int(leads[at - 1])) :]
        traded = volumes[at - 1, ahead]
        leads[at] = ahead[int(np.argmax(traded))] if traded.max() > 0 else leads[at - 1]
    return leads
