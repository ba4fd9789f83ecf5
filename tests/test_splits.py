"""Splits: train, validate and test in order of time, apart by the embargo, and every test bar decided on once."""

import itertools

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnqcore.api.values import Window
from mnqcore.errors import DataError
from mnqcore.strategy import Holdout, WalkForward
from mnqcore.tape.splits import Fold, folds

FIRST = st.integers(0, 300)
BARS = st.integers(0, 6000)
SHARE = st.floats(0.02, 0.98)
EMBARGO = st.integers(0, 100)
HOLDOUTS = st.builds(
    lambda train, rest, embargo: Holdout(train=train, validate=(1 - train) * rest, embargo_bars=embargo),
    SHARE,
    SHARE,
    EMBARGO,
)
WALKS = st.builds(
    lambda count, train, validate, embargo, anchored: WalkForward(
        folds=count, train=train, validate=validate, embargo_bars=embargo, anchored=anchored
    ),
    st.integers(1, 12),
    SHARE,
    SHARE,
    EMBARGO,
    st.booleans(),
)


def made(split, first, bars):
    """Return the folds, or None where the bars are too few for them."""
    try:
        return folds(split, first, bars)
    except DataError:
        return None


def test_a_holdout_by_hand():
    split = Holdout(train=0.6, validate=0.2, embargo_bars=5)

    assert folds(split, 50, 1050) == (
        Fold(
            number=1,
            train=Window(first=50, last=644),  # 600 bars, less the embargo
            validate=Window(first=650, last=844),  # 200 bars, less the embargo
            test=Window(first=850, last=1049),
        ),
    )


def test_a_rolling_walk_forward_by_hand():
    split = WalkForward(folds=2, train=0.5, validate=0.2, embargo_bars=10)

    assert folds(split, 100, 1101) == (
        Fold(
            number=1,
            train=Window(first=100, last=489),  # of 500 bars 100 validate; of each part 10 are the embargo
            validate=Window(first=500, last=589),
            test=Window(first=600, last=850),
        ),
        Fold(
            number=2,
            train=Window(first=350, last=739),
            validate=Window(first=750, last=839),
            test=Window(first=850, last=1100),
        ),
    )


def test_an_anchored_walk_forward_by_hand():
    split = WalkForward(folds=2, train=0.5, validate=0.2, embargo_bars=0, anchored=True)

    assert folds(split, 100, 1101) == (
        Fold(
            number=1,
            train=Window(first=100, last=499),
            validate=Window(first=500, last=599),
            test=Window(first=600, last=850),
        ),
        Fold(
            number=2,
            train=Window(first=100, last=699),  # of 750 bars 150 validate
            validate=Window(first=700, last=849),
            test=Window(first=850, last=1100),
        ),
    )


@settings(max_examples=400, deadline=None)
@given(split=HOLDOUTS | WALKS, first=FIRST, bars=BARS)
def test_windows_are_in_order_apart_and_inside(split, first, bars):
    for number, fold in enumerate(made(split, first, bars) or (), 1):
        assert fold.number == number
        assert first <= fold.train.first
        assert fold.validate.first - fold.train.last - 1 == split.embargo_bars
        assert fold.test.first - fold.validate.last - 1 == split.embargo_bars
        assert fold.test.last <= bars - 1
        assert min(window.bars for window in (fold.train, fold.validate, fold.test)) >= 2


@settings(max_examples=400, deadline=None)
@given(split=HOLDOUTS | WALKS, first=FIRST, bars=BARS)
def test_every_bar_of_the_test_windows_is_decided_on_once(split, first, bars):
    found = made(split, first, bars)
    if not found:
        return
    decided = [bar for fold in found for bar in range(fold.test.first, fold.test.last)]

    assert decided == list(range(found[0].test.first, bars - 1))
    assert all(before.test.last == after.test.first for before, after in itertools.pairwise(found))


@settings(max_examples=400, deadline=None)
@given(split=WALKS, first=FIRST, bars=BARS)
def test_folds_are_equal_and_train_windows_roll_or_grow(split, first, bars):
    found = made(split, first, bars)
    if not found:
        return

    assert len(found) == split.folds
    assert found[0].train.first == first
    tests = [fold.test.bars for fold in found]
    assert max(tests) - min(tests) <= 1
    if split.anchored:
        assert {fold.train.first for fold in found} == {first}
        assert [fold.train.last for fold in found] == sorted(fold.train.last for fold in found)
    else:
        assert len({fold.train.bars for fold in found}) == 1
        assert len({fold.validate.bars for fold in found}) == 1


@settings(max_examples=200, deadline=None)
@given(split=HOLDOUTS | WALKS, first=FIRST, bars=BARS)
def test_shares_are_of_the_bars_that_can_be_decided_on(split, first, bars):
    found = made(split, first, bars)
    if not found:
        return
    fold, count = found[0], bars - first
    before_test = split.train + split.validate if isinstance(split, Holdout) else split.train

    assert abs(fold.test.first - first - count * before_test) <= 0.51
    tail = count * split.validate if isinstance(split, Holdout) else (fold.test.first - first) * split.validate
    assert abs(fold.test.first - fold.validate.first - tail) <= 1.01


@settings(max_examples=200, deadline=None)
@given(split=HOLDOUTS | WALKS, first=FIRST, bars=BARS, embargo=EMBARGO)
def test_another_embargo_moves_no_test_window(split, first, bars, embargo):
    one, other = made(split, first, bars), made(attrs.evolve(split, embargo_bars=embargo), first, bars)
    if one and other:
        assert [fold.test for fold in one] == [fold.test for fold in other]
        assert [fold.validate.first for fold in one] == [fold.validate.first for fold in other]


@settings(max_examples=200, deadline=None)
@given(split=HOLDOUTS | WALKS, first=FIRST, bars=BARS)
def test_all_that_follows_is_the_same_wherever_the_first_bar_lies(split, first, bars):
    near, far = made(split, 0, max(bars - first, 0)), made(split, first, max(bars, first))

    assert (near is None) == (far is None)
    for one, other in zip(near or (), far or (), strict=True):
        assert (other.train.first - one.train.first, other.test.last - one.test.last) == (first, first)


@pytest.mark.parametrize(
    ("split", "bars", "where", "advice"),
    [
        (Holdout(), 0, "train would hold 0", "train = 0.7, embargo_bars = 64"),
        (Holdout(), 60, "train would hold 0", "train = 0.7, embargo_bars = 64"),
        (Holdout(), 400, "validate would hold 0", "validate = 0.15, embargo_bars = 64"),
        (Holdout(validate=0.001), 1060, "validate would hold 0", "validate = 0.001, embargo_bars = 64"),
        (Holdout(train=0.9, validate=0.099), 1060, "test would hold 1", "train = 0.9, validate = 0.099"),
        (WalkForward(folds=1000, embargo_bars=0), 1560, "test of fold 1 would hold 1", "folds = 1000, train = 0.5"),
        (WalkForward(), 760, "validate of fold 1 would hold 0", "validate = 0.15, embargo_bars = 64"),
    ],
)
def test_too_few_bars_say_how_many_and_what_to_change(split, bars, where, advice):
    with pytest.raises(DataError) as caught:
        folds(split, 60, bars)

    assert caught.value.what == "the bars are too few for the split"
    assert caught.value.facts["where"] == f"{where} of the 2 bars it needs"
    assert caught.value.facts["found"].startswith(f"{bars} bars, {max(bars - 60, 0)} of them ")
    assert caught.value.facts["next"].startswith(f"take more bars, or change split: {advice}")
    assert max(map(len, str(caught.value).splitlines())) <= 80
