"""The conformance kit tells each wrong piece from a right one, says what is wrong, and accuses nobody else."""

import pytest

from mnqcore.testing.subject import of_class
from mnqcore.testing.verdict import report
from tests import bad_pieces as bad

SLOW = {"import time", "light import", "no network on import", "worker process", "speed"}
"""Checks that start a process or measure: not made for each of the pieces here."""
GOOD = [
    ("features", bad.Honest),
    ("features", bad.JoinedByClose),
    ("features", bad.OnTheFeed),
    ("features", bad.WarmByNumpy),
    ("reward", bad.Average),
    ("sizer", bad.Risky),
    ("bracket", bad.Share),
    ("agent", bad.Follow),
    ("data", bad.Walk),
]
BAD = [
    ("features", bad.FutureShift, {"look-ahead"}, "shift(-n) brings later bars back"),
    ("features", bad.CentredRolling, {"look-ahead"}, "rolling(center=True) reads half of its window ahead"),
    ("features", bad.FullSampleScaling, {"look-ahead"}, "a figure of the whole history"),
    ("features", bad.LabelledWrongly, {"look-ahead"}, "a join by start times takes a long bar"),
    ("features", bad.NaiveJoin, {"look-ahead"}, "a feed's bar is known once it has closed"),
    ("features", bad.RarePeek, {"look-ahead"}, "shift(-n)"),
    ("features", bad.SpikyPeek, {"look-ahead"}, "shift(-n)"),
    ("features", bad.SparsePeek, {"look-ahead"}, "shift(-n)"),
    ("features", bad.Moody, {"same columns"}, "quiet float64 on shape no volume"),
    ("features", bad.Brittle, {"same columns"}, "a window of 17"),
    ("features", bad.ShortWarmUp, {"warm-up"}, "set warmup = 1"),
    ("features", bad.NoWarmUp, {"warm-up declared"}, "warmup is None"),
    ("features", bad.Writes, {"contract"}, "view.bars.copy()"),
    ("features", bad.NanAtRoll, {"survives usual"}, "groupby() begins anew with each group"),
    ("features", bad.NanWithoutVolume, {"survives no volume"}, "a division by 0"),
    ("features", bad.Infinite, {"contract"}, "column cheat is inf"),
    ("features", bad.WholeNumbers, {"contract"}, "columns are not float: cheat"),
    ("features", bad.Fickle, {"same columns"}, "more float64"),
    ("features", bad.NarrowAtTimes, {"same columns"}, "range float32"),
    ("features", bad.GlobalRandom, {"global random state", "deterministic"}, "numpy.random.default_rng(self.seed)"),
    ("features", bad.SharedSeed, {"global random state"}, "the generator that all share: random"),
    ("features", bad.Unseeded, {"deterministic"}, "a generator without a seed"),
    ("features", bad.Undocumented, {"docstring", "help"}, "parameter length has no help"),
    ("features", bad.NoMethod, {"methods", "contract"}, "the class has no method compute"),
    ("features", bad.DefaultOutOfRange, {"default construction"}, "length must be at least 2, was 0"),
    ("features", bad.Rewrites, {"TOML round trip"}, "parameter length was 21, and is 22"),
    ("features", bad.RaisesAtTheEnd, {"ends of ranges"}, "length = 0 raises ZeroDivisionError"),
    ("features", bad.OddType, {"parameter types"}, "which no file can hold"),
    ("features", bad.TakesAnything, {"bad values"}, "length = 200 is taken"),
    ("reward", bad.AcrossLanes, {"accounts apart", "reset forgets", "sign"}, "one number remembered for all"),
    ("reward", bad.ComparesLanes, {"accounts apart", "sign"}, "a sum over accounts"),
    ("reward", bad.HalfReset, {"reset forgets"}, "of an account that begins anew it remembers the past"),
    ("reward", bad.ForgetsAll, {"reset forgets"}, "it forgets the past"),
    ("reward", bad.NoReset, {"keeps its state apart", "reset forgets"}, "state() and no reset(lanes)"),
    ("reward", bad.KeepsArrays, {"keeps no arrays"}, "copy what is kept"),
    ("reward", bad.GivesBack, {"contract"}, "a division by 0"),
    ("reward", bad.WrongShape, {"contract"}, "returned shape ()"),
    ("reward", bad.WritesSteps, {"contract"}, "read-only"),
    ("reward", bad.LovesLosses, {"sign"}, "a trade that clearly wins is paid -"),
    ("reward", bad.ModuleState, {"deterministic"}, "asked twice, it answers differently"),
    ("reward", bad.PreparesAhead, {"look-ahead", "sign"}, "shift(-n)"),
    ("reward", bad.SpikesAndPeeks, {"look-ahead", "sign"}, "shift(-n)"),
    ("reward", bad.KeepsTheHistory, {"pays by the step"}, "paid otherwise after it has prepared other bars"),
    ("reward", bad.LateReward, {"pays on a beginning"}, "from the first bar of all on"),
    ("reward", bad.Huge, {"contract"}, "a learner takes float32"),
    ("sizer", bad.Counts, {"state", "entries apart", "remembers nothing"}, "a sizer is stateless"),
    ("sizer", bad.Fractional, {"contract"}, "return whole contracts, 0 or more"),
    ("sizer", bad.Negative, {"contract"}, "whole contracts, 0 or more"),
    ("sizer", bad.DividesByStop, {"contract"}, "a division by 0"),
    ("sizer", bad.SharesOut, {"entries apart"}, "each is of another account"),
    ("sizer", bad.PoorerIsBigger, {"grows with equity"}, "a richer account gets fewer contracts"),
    ("sizer", bad.PeekingSizer, {"look-ahead"}, "rolling(center=True)"),
    ("bracket", bad.NegativeDistance, {"contract"}, "a distance is above 0, or NaN"),
    ("bracket", bad.LateStop, {"warm-up", "survives usual"}, "stop is NaN at bar 5"),
    ("bracket", bad.NeverThere, {"survives usual"}, "stop is NaN at bar 0"),
    ("bracket", bad.PeekingStop, {"look-ahead"}, "column stop changes at bar"),
    ("agent", bad.Foresight, {"look-ahead"}, "diff(-n) reads later bars"),
    ("agent", bad.OutOfRange, {"contract"}, "0 HOLD, 1 BUY, 2 SELL or 3 CLOSE"),
    ("agent", bad.Hasty, {"short histories"}, "within its warm-up"),
    ("agent", bad.WarmTooEarly, {"short histories"}, "within its warm-up"),
    ("data", bad.Unsorted, {"contract"}, "order"),
    ("data", bad.IgnoresBounds, {"bounds", "nothing there"}, "keep bars from start on"),
    ("data", bad.InclusiveEnd, {"bounds"}, "were there"),
    ("data", bad.EmptyAnswer, {"nothing there"}, "it returns no bars, and does not say why"),
    ("data", bad.HandsOutItsOwn, {"state", "the same each time"}, "hand out a copy"),
    ("data", bad.OffTheGrid, {"tick grid"}, "no whole ticks of 0.25"),
    ("executor", bad.Loses, {"answers"}, "14 answers were wanted, and 13 came"),
    ("executor", bad.Shuffles, {"answers"}, "in the order of `items`"),
    ("executor", bad.Deduplicates, {"answers"}, "14 answers were wanted, and 13 came"),
    ("executor", bad.Generates, {"answers", "used again", "failures"}, "it returned generator, not a list"),
    ("executor", bad.Swallows, {"failures"}, "an item failed, and it returned"),
    ("executor", bad.Rewraps, {"failures"}, "a DataError came back as RuntimeError"),
]


def results(kind, cls):
    """Return check -> result of the checks that are made here."""
    feeds = ("hour",) if cls in (bad.NaiveJoin, bad.JoinedByClose, bad.OnTheFeed) else ()
    return {result.check: result for result in report(of_class(kind, cls, feeds=feeds), leave=SLOW).results}


def accused(found):
    return {name: result for name, result in found.items() if result.verdict in ("FAIL", "note")}


@pytest.mark.parametrize(("kind", "cls"), GOOD, ids=lambda value: getattr(value, "__name__", value))
def test_a_right_piece_is_not_accused(kind, cls):
    found = results(kind, cls)

    assert accused(found) == {}
    assert len(found) > 12


@pytest.mark.parametrize(("kind", "cls", "wanted", "text"), BAD, ids=lambda value: getattr(value, "__name__", ""))
def test_a_wrong_piece_is_caught_by_the_check_that_is_meant_for_it(kind, cls, wanted, text):
    found = accused(results(kind, cls))

    told = "\n".join(str(fault) for result in found.values() for fault in result.faults)
    assert set(found) == wanted, told
    assert text in told


def test_what_is_never_warm_here_is_not_said_to_have_survived():
    found = results("features", bad.FarWarm)

    assert accused(found) == {}
    assert {result.verdict for name, result in found.items() if name.startswith("survives")} == {"skip"}
    assert found["warm-up"].verdict == "skip"
