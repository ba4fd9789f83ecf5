"""Pieces that are wrong in one way each, beside pieces that do the same right: what the conformance kit must tell."""

from __future__ import annotations

import functools
import random
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from mnqcore import DataError, param, plugin, state

# Feature sets


@plugin
class Honest:
    """Three columns that keep every rule."""

    length: int = param(20, ge=2, le=500, unit="bars", help="of the mean")

    @property
    def warmup(self):
        return self.length

    def compute(self, view):
        close = view.bars["close"]
        columns = {"mean": close / close.rolling(self.length).mean() - 1, "change": close.diff(5) / close}
        columns["range"] = (view.bars["high"] - view.bars["low"]) / close
        return pd.DataFrame(columns)


class _Set:
    warmup: ClassVar[int] = 20

    def honest(self, view):
        return Honest().compute(view)


@plugin
class FutureShift(_Set):
    """Reads the next close."""

    def compute(self, view):
        return self.honest(view).assign(cheat=view.bars["close"].shift(-1).ffill())


@plugin
class CentredRolling(_Set):
    """Smooths on both sides."""

    def compute(self, view):
        return self.honest(view).assign(cheat=view.bars["close"].rolling(9, center=True, min_periods=1).mean())


@plugin
class FullSampleScaling(_Set):
    """Scales by figures of the whole history."""

    def compute(self, view):
        close = view.bars["close"]
        return self.honest(view).assign(cheat=(close - close.mean()) / close.std())


@plugin
class LabelledWrongly(_Set):
    """Knows an hour's close from the hour's beginning on."""

    def compute(self, view):
        hourly = view.bars["close"].resample("1h").last()
        return self.honest(view).assign(cheat=hourly.reindex(view.bars.index, method="ffill"))


@plugin
class NaiveJoin(_Set):
    """Joins a feed of longer bars by their start."""

    def compute(self, view):
        return self.honest(view).assign(cheat=view.feeds["hour"]["close"].reindex(view.bars.index, method="ffill"))


@plugin
class JoinedByClose:
    """Joins a feed of hourly bars by their close."""

    warmup: ClassVar[int] = 24

    def compute(self, view):
        hourly = view.feeds["hour"]["close"]
        known = pd.Series(hourly.to_numpy(), index=hourly.index + pd.Timedelta("1h"))
        closes = view.bars.index + view.bar_size
        joined = known.reindex(known.index.union(closes)).ffill().reindex(closes)
        return pd.DataFrame({"hourly": joined.to_numpy()}, index=view.bars.index)


@plugin
class RarePeek(_Set):
    """Knows the future in one hour of the day alone."""

    def compute(self, view):
        close = view.bars["close"]
        at_two = view.bars.index.tz_convert("America/Chicago").hour == 14
        return self.honest(view).assign(cheat=np.where(at_two, np.sign(close.shift(-3) - close).fillna(0), 0.0))


@plugin
class SpikyPeek(_Set):
    """The next move over the body of this bar: a few values so large that all others are nothing beside them."""

    def compute(self, view):
        move = view.bars["close"].shift(-1).ffill() - view.bars["close"]
        return self.honest(view).assign(cheat=move / ((view.bars["close"] - view.bars["open"]).abs() + 1e-12))


@plugin
class SparsePeek(_Set):
    """Knows that the next bar is wide, which few bars are; the columns beside it are new at every bar."""

    def compute(self, view):
        size = (view.bars["high"] - view.bars["low"]) / view.bars["close"]
        wide = (size > 3 * size.rolling(20, min_periods=1).mean()).shift(-1, fill_value=False)
        return self.honest(view).assign(cheat=wide.astype("float64"))


@plugin
class Moody(_Set):
    """Has a column more where nothing was traded at times."""

    def compute(self, view):
        found = self.honest(view)
        return found.assign(quiet=0.0) if (view.bars["volume"] == 0).any() else found


@plugin
class Brittle(_Set):
    """Does not survive a history of 17 bars."""

    def compute(self, view):
        if len(view.bars) == 17:
            raise ValueError("a window of 17")
        return self.honest(view)


@plugin
class FarWarm:
    """Has no value in any history that it can be tried on."""

    warmup: ClassVar[int] = 20_000

    def compute(self, view):
        return pd.DataFrame({"never": np.full(len(view.bars), np.nan)}, index=view.bars.index)


@plugin
class WarmByNumpy:
    """Works its warm-up out with numpy, rightly."""

    @property
    def warmup(self):
        return np.max([5, 20])

    def compute(self, view):
        return Honest().compute(view)


@plugin
class OnTheFeed:
    """What the core's own join says of a feed, NaN where the feed lacks a bar, rightly."""

    warmup: ClassVar[int] = 24

    def compute(self, view):
        return view.join("hour", view.feeds["hour"][["close"]])


@plugin
class ShortWarmUp:
    """Declares less than an exponential average needs."""

    warmup: ClassVar[int] = 20

    def compute(self, view):
        close = view.bars["close"]
        return (close / close.ewm(span=20, adjust=False).mean() - 1).to_frame("ema")


@plugin
class NoWarmUp:
    """Does not say when it is warm."""

    def compute(self, view):
        return Honest().compute(view).fillna(0.0)[["range"]]


@plugin
class Writes(_Set):
    """Writes to the bars it is given."""

    def compute(self, view):
        view.bars["close"] = view.bars["close"].round()
        return self.honest(view)


@plugin
class NanAtRoll(_Set):
    """Begins anew with each contract."""

    def compute(self, view):
        change = view.bars.groupby("contract")["close"].diff()
        return self.honest(view).assign(cheat=change)


@plugin
class NanWithoutVolume(_Set):
    """Divides by a volume that can be 0."""

    def compute(self, view):
        flow = view.bars["volume"].diff().rolling(3).sum() / view.bars["volume"].rolling(3).sum()
        return self.honest(view).assign(cheat=flow)


@plugin
class Infinite(_Set):
    """Divides a change by one that can be 0."""

    def compute(self, view):
        bars = view.bars
        return self.honest(view).assign(cheat=bars["volume"] / bars["close"].diff().fillna(1.0))


@plugin
class WholeNumbers(_Set):
    """Returns a column of whole numbers."""

    def compute(self, view):
        return self.honest(view).assign(cheat=view.bars.index.hour.astype("int64"))


@plugin
class Fickle(_Set):
    """Has a column more where there is much history."""

    def compute(self, view):
        found = self.honest(view)
        return found.assign(more=0.5) if len(view.bars) > 100 else found


@plugin
class NarrowAtTimes(_Set):
    """Returns float32 where there is little history."""

    def compute(self, view):
        return self.honest(view).astype("float64" if len(view.bars) > 100 else "float32")


@plugin
class GlobalRandom(_Set):
    """Draws from the generator that all share."""

    def compute(self, view):
        return self.honest(view).assign(noise=np.random.normal(size=len(view.bars)))


@plugin
class SharedSeed(_Set):
    """Seeds the generator that all share, so that it looks deterministic."""

    def compute(self, view):
        random.seed(7)
        return self.honest(view).assign(noise=[random.random()] * len(view.bars))


@plugin
class Unseeded(_Set):
    """Draws from a generator without a seed."""

    def compute(self, view):
        return self.honest(view).assign(noise=np.random.default_rng().normal(size=len(view.bars)))


@plugin
class Hashed(_Set):
    """Depends on the hash of a text, which is another in every process."""

    def compute(self, view):
        return self.honest(view).assign(salt=float(hash("mnq") % 1000))


# Documentation and parameters


@plugin
class Undocumented(_Set):
    length: int = param(20, ge=2)

    def compute(self, view):
        return self.honest(view)


Undocumented.__doc__ = None


@plugin
class NoMethod:
    """Computes nothing."""

    warmup: ClassVar[int] = 0


@plugin
class DefaultOutOfRange(_Set):
    """Its default is not in its range."""

    length: int = param(0, ge=2, help="of the mean")

    def compute(self, view):
        return self.honest(view)


@plugin
class Rewrites(_Set):
    """Changes a parameter that it was given."""

    length: int = param(20, ge=2, le=100, help="of the mean")

    def __attrs_post_init__(self):
        object.__setattr__(self, "length", self.length + 1)

    def compute(self, view):
        return self.honest(view)


@plugin
class RaisesAtTheEnd(_Set):
    """Cannot be made at the end of its range."""

    length: int = param(20, ge=0, le=100, help="of the mean")

    def __attrs_post_init__(self):
        _ = 1 / self.length

    def compute(self, view):
        return self.honest(view)


@plugin
class OddType(_Set):
    """Has a parameter that no file can hold."""

    lengths: dict[str, int] = param(None, help="of the means")

    def compute(self, view):
        return self.honest(view)


def accepts_all(cls):
    """Take the validators from a class, as one that overrides them does."""
    original = cls.__init__

    @functools.wraps(original)
    def init(self, **values):
        original(self)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    cls.__init__ = init
    return cls


@accepts_all
@plugin
class TakesAnything(_Set):
    """Checks no value."""

    length: int = param(20, ge=2, le=100, help="of the mean")

    def compute(self, view):
        return self.honest(view)


# Rewards


@plugin
class Average:
    """Change of equity less its running average: a reward that remembers rightly."""

    average: Any = state()

    def reset(self, lanes):
        self.average = np.zeros(len(lanes)) if lanes.all() else np.where(lanes, 0.0, self.average)

    def __call__(self, step):
        self.average = 0.9 * self.average + 0.1 * step.equity_change
        return step.equity_change - 0.1 * self.average


@plugin
class AcrossLanes:
    """Remembers one number for all accounts."""

    average: Any = state()

    def reset(self, lanes):
        self.average = 0.0

    def __call__(self, step):
        self.average = 0.9 * self.average + 0.1 * step.equity_change.mean()
        return step.equity_change - self.average


@plugin
class ComparesLanes:
    """Pays an account by what the others made."""

    def __call__(self, step):
        return step.equity_change - step.equity_change.max()


@plugin
class HalfReset:
    """Forgets one of two things it remembers."""

    average: Any = state()
    deepest: Any = state()

    def reset(self, lanes):
        self.average = np.zeros(len(lanes)) if lanes.all() else np.where(lanes, 0.0, self.average)
        self.deepest = np.zeros(len(lanes)) if self.deepest is None else self.deepest

    def __call__(self, step):
        self.average = 0.9 * self.average + 0.1 * step.equity_change
        self.deepest = np.maximum(self.deepest, step.peak_equity - step.equity)
        return step.equity_change - self.average - 0.01 * self.deepest


@plugin
class ForgetsAll:
    """Forgets every account when one begins anew."""

    average: Any = state()

    def reset(self, lanes):
        self.average = np.zeros(len(lanes))

    def __call__(self, step):
        self.average = 0.9 * self.average + 0.1 * step.equity_change
        return step.equity_change - self.average


@plugin
class NoReset:
    """Has state and cannot forget it."""

    total: Any = state(lambda: 0.0)

    def __call__(self, step):
        self.total = self.total + step.equity_change
        return step.equity_change + 0.01 * self.total


@plugin
class KeepsArrays:
    """Keeps an array of the step before, which is written over."""

    before: Any = state()

    def reset(self, lanes):
        self.before = np.zeros(len(lanes)) if lanes.all() else np.where(lanes, 0.0, self.before)

    def __call__(self, step):
        paid = step.equity_change - 0.5 * self.before
        self.before = step.equity_change
        return paid


@plugin
class GivesBack:
    """Divides by contracts, of which there may be none."""

    def __call__(self, step):
        with np.errstate(invalid="ignore", divide="ignore"):
            return step.realised / step.contracts


@plugin
class WrongShape:
    """Pays one number for all."""

    def __call__(self, step):
        return step.equity_change.sum()


@plugin
class WritesSteps:
    """Writes to a step."""

    def __call__(self, step):
        step.equity_change[step.denied] = 0.0
        return step.equity_change


@plugin
class LovesLosses:
    """Pays for losing."""

    def __call__(self, step):
        return -step.equity_change


_SEEN: list[float] = []


@plugin
class ModuleState:
    """Remembers outside of itself."""

    def __call__(self, step):
        _SEEN.append(1.0)
        return step.equity_change + len(_SEEN)


@plugin
class PreparesAhead:
    """Is paid by where the price will be."""

    def prepare(self, view):
        close = view.bars["close"]
        return (close.shift(-5) - close).fillna(0.0)

    def __call__(self, step):
        return step.equity_change + step.signal


@plugin
class SpikesAndPeeks:
    """Is paid by where the price will be, beside one value that hides it."""

    def prepare(self, view):
        ahead = (view.bars["close"].shift(-5) - view.bars["close"]).fillna(0.0)
        ahead.iloc[0] = 1e15
        return ahead

    def __call__(self, step):
        return step.equity_change + np.where(step.signal < 1e6, step.signal, 0.0)


_KNOWN: dict[str, Any] = {}


@plugin
class KeepsTheHistory:
    """Is paid by the closes to come, which `prepare` has laid aside."""

    def prepare(self, view):
        _KNOWN["range"] = float(view.bars["close"].max() - view.bars["close"].min())
        return pd.Series(0.0, index=view.bars.index)

    def __call__(self, step):
        return step.equity_change / _KNOWN["range"]


@plugin
class LateReward:
    """Pays NaN until its signal is known."""

    def prepare(self, view):
        return view.bars["close"].diff().rolling(50).std()

    def __call__(self, step):
        return step.equity_change / (step.signal + 1.0)


@plugin
class Huge:
    """Pays more than float32 holds."""

    def __call__(self, step):
        return step.equity_change * 1e60


# Sizers


@plugin
class Risky:
    """Risks a share of the equity, rightly."""

    risk: float = param(0.02, gt=0, le=1, help="lost at the stop")

    needs_stop: ClassVar[bool] = True

    def __call__(self, entry):
        return np.floor(self.risk * entry.equity / (entry.stop_distance * entry.point_value)).astype(np.int64)


@plugin
class Counts:
    """Grows with each call."""

    calls: Any = state(lambda: 0)

    def __call__(self, entry):
        self.calls += 1
        return np.full(entry.side.shape, 1 + self.calls, np.int64)


@plugin
class Fractional:
    """Answers parts of contracts."""

    def __call__(self, entry):
        return entry.equity / 10_000


@plugin
class Negative:
    """Goes below nothing for poor accounts."""

    def __call__(self, entry):
        return np.floor(entry.equity / 1_000 - 2).astype(np.int64)


@plugin
class DividesByStop:
    """Needs a stop, and does not say so."""

    def __call__(self, entry):
        with np.errstate(divide="ignore"):
            return np.floor(entry.equity / entry.stop_distance)


@plugin
class SharesOut:
    """Shares the equity of all out among them."""

    def __call__(self, entry):
        return np.floor(entry.equity / entry.equity.sum() * 10 * len(entry.side)).astype(np.int64)


@plugin
class PoorerIsBigger:
    """Risks more, the poorer it is."""

    needs_stop: ClassVar[bool] = True

    def __call__(self, entry):
        return np.ceil(1e6 / np.maximum(entry.equity, 1.0)).astype(np.int64)


@plugin
class PeekingSizer:
    """Sizes by tomorrow's volatility."""

    warmup: ClassVar[int] = 20

    def prepare(self, view):
        return view.bars["close"].diff().rolling(20, center=True).std()

    def __call__(self, entry):
        return np.ones(entry.side.shape, np.int64)


# Brackets


@plugin
class Share:
    """A stop at a share of the price, rightly."""

    warmup: ClassVar[int] = 0

    def levels(self, view):
        return (0.002 * view.bars["close"] / view.factor).to_frame("stop")


@plugin
class NegativeDistance:
    """A stop on the wrong side after a fall."""

    warmup: ClassVar[int] = 10

    def levels(self, view):
        return view.bars["close"].diff(10).to_frame("stop")


@plugin
class LateStop:
    """Is not there yet when it says so."""

    warmup: ClassVar[int] = 5

    def levels(self, view):
        return (view.bars["high"] - view.bars["low"]).rolling(30).mean().clip(lower=1.0).to_frame("stop")


@plugin
class NeverThere:
    """A stop that never is."""

    warmup: ClassVar[int] = 0

    def levels(self, view):
        return pd.DataFrame({"stop": np.full(len(view.bars), np.nan)}, index=view.bars.index)


@plugin
class PeekingStop:
    """Knows the range of the day at its beginning."""

    warmup: ClassVar[int] = 0

    def levels(self, view):
        high = view.bars["high"].groupby(view.bars.index.date).transform("max")
        return (high - view.bars["low"] + 1.0).to_frame("stop")


# Agents


@plugin
class Follow:
    """Buy after a rising bar, sell after a falling one."""

    warmup: ClassVar[int] = 1

    def signals(self, view):
        change = view.bars["close"].diff()
        return (1 * (change > 0) + 2 * (change < 0)).astype("int8")


@plugin
class Foresight:
    """Buy before a rising bar."""

    warmup: ClassVar[int] = 0

    def signals(self, view):
        change = view.bars["close"].diff(-1)
        return (1 * (change < 0) + 2 * (change > 0)).astype("int8")


@plugin
class OutOfRange:
    """Knows an action that there is not."""

    warmup: ClassVar[int] = 0

    def signals(self, view):
        return pd.Series(np.arange(len(view.bars)) % 5, index=view.bars.index)


@plugin
class Hasty:
    """Acts before it is warm."""

    warmup: ClassVar[int] = 5

    def signals(self, view):
        return pd.Series(1, index=view.bars.index, dtype="int8")


@plugin
class WarmTooEarly:
    """Acts from bar 49 on, and says that it holds for 100."""

    warmup: ClassVar[int] = 100

    def signals(self, view):
        close = view.bars["close"]
        above = close.rolling(5).mean() > close.rolling(50).mean()
        known = close.rolling(50).mean().notna()
        return (known * (1 + ~above)).astype("int8")


# Data sources


class _Source:
    price: ClassVar[float] = 20_000.0

    def made(self, request):
        from mnqcore import Calendar

        start, end = pd.Timestamp("2025-01-06", tz="UTC"), pd.Timestamp("2025-01-10", tz="UTC")
        times = Calendar(request.instrument).bar_starts(start, end, request.bar_size)
        walk = 0.25 * np.random.default_rng(3).integers(-8, 9, len(times)).cumsum() + self.price
        columns = {"open": walk, "high": walk + 1, "low": walk - 1, "close": walk, "volume": np.full(len(walk), 5.0)}
        return self.cut(pd.DataFrame(columns, index=times.rename("time")), request)

    def cut(self, bars, request):
        if request.start is not None:
            bars = bars[bars.index >= request.start]
        if request.end is not None:
            bars = bars[bars.index < request.end]
        if bars.empty:
            raise DataError("no bar")
        return bars


@plugin
class Walk(_Source):
    """Four days of a walk, rightly."""

    def bars(self, request):
        return self.made(request)


@plugin
class Unsorted(_Source):
    """Returns the newest bar first."""

    def bars(self, request):
        return self.made(request).iloc[::-1]


@plugin
class IgnoresBounds(_Source):
    """Returns all it has."""

    def cut(self, bars, request):
        return bars

    def bars(self, request):
        return self.made(request)


@plugin
class InclusiveEnd(_Source):
    """Returns a bar too many."""

    def cut(self, bars, request):
        last = None if request.end is None else request.end + request.bar_size
        return _Source.cut(self, bars, type(request)(instrument=request.instrument, bar_size=request.bar_size,
                                                      start=request.start, end=last))  # fmt: skip

    def bars(self, request):
        return self.made(request)


@plugin
class EmptyAnswer(_Source):
    """Returns nothing where it has nothing, without a word."""

    def cut(self, bars, request):
        try:
            return _Source.cut(self, bars, request)
        except DataError:
            return bars.iloc[:0]

    def bars(self, request):
        return self.made(request)


@plugin
class HandsOutItsOwn(_Source):
    """Hands out the bars that it keeps."""

    kept: Any = state(dict)

    def bars(self, request):
        if not self.kept:
            self.kept["all"] = self.made(type(request)(instrument=request.instrument, bar_size=request.bar_size))
        return self.cut(self.kept["all"], request)


@plugin
class OffTheGrid(_Source):
    """Prices between the ticks."""

    price: ClassVar[float] = 20_000.1

    def bars(self, request):
        return self.made(request)


# Executors


@plugin
class Loses:
    """Loses the last answer."""

    def map(self, unit_of_work, items):
        return [unit_of_work(item) for item in items][:-1]


@plugin
class Shuffles:
    """Answers in another order."""

    def map(self, unit_of_work, items):
        return sorted(unit_of_work(item) for item in items)


@plugin
class Deduplicates:
    """Asks equal items once."""

    def map(self, unit_of_work, items):
        return [unit_of_work(item) for item in dict.fromkeys(items)]


@plugin
class Swallows:
    """Does not say that an item failed."""

    def map(self, unit_of_work, items):
        found = []
        for item in items:
            try:
                found.append(unit_of_work(item))
            except DataError:
                found.append("")
        return found


@plugin
class Rewraps:
    """Says that something failed, and not what."""

    def map(self, unit_of_work, items):
        try:
            return [unit_of_work(item) for item in items]
        except DataError as error:
            raise RuntimeError("a worker failed") from error


@plugin
class Generates:
    """Answers when it is asked for."""

    def map(self, work, items):
        return (work(item) for item in items)
