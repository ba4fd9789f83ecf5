"""The causality checks must catch every kind of cheat, name the column and the bar, and let honest code pass."""

import attrs
import numpy as np
import pandas as pd
import pytest

from mnqcore import DataError
from mnqcore.causality import check, look_ahead, mutations, warm_up
from mnqcore.tape.mutation import Rewritten, copied, rewritten


@pytest.fixture(scope="module")
def view(make_view):
    return make_view(days=4)  # about 1,100 bars


def honest(view):
    close = view.bars["close"]
    return pd.DataFrame({"mean": close.rolling(20).mean(), "change": close.diff(5)})


def future_shift(view):
    return honest(view).assign(cheat=view.bars["close"].shift(-1))


def centred_rolling(view):
    return honest(view).assign(cheat=view.bars["close"].rolling(9, center=True).mean())


def full_sample_scaling(view):
    close = view.bars["close"]
    return honest(view).assign(cheat=(close - close.mean()) / close.std())


def filled_backwards(view):
    return honest(view).assign(cheat=view.bars["close"].where(np.arange(len(view.bars)) % 7 == 0).bfill())


def length_of_history(view):
    return honest(view).assign(cheat=np.linspace(0, 1, len(view.bars)))


def future_volume(view):
    return honest(view).assign(cheat=view.bars["volume"][::-1].cummax()[::-1])


def future_roll(view):
    return honest(view).assign(cheat=view.bars["close"] / view.factor.iloc[-1])


@pytest.mark.parametrize(
    "cheat",
    [
        future_shift,
        centred_rolling,
        full_sample_scaling,
        filled_backwards,
        length_of_history,
        future_volume,
        future_roll,
    ],
)
def test_look_ahead_is_caught_in_the_column_that_looks(view, cheat):
    found = look_ahead(cheat, view)

    assert [finding.column for finding in found] == ["cheat"]
    assert found[0].check == "look-ahead"
    assert found[0].error > 1e-9
    assert found[0].time == view.bars.index[found[0].bar]


def test_the_first_bar_that_saw_the_future_is_named(view):
    found = look_ahead(centred_rolling, view, at=[500])

    assert found[0].bar == 497  # its window ends at 501
    assert found[0].text == "cheat changes at bar 497 when bars from 501 on change"


def test_a_shift_by_one_bar_is_seen_at_the_very_bar(view):
    assert look_ahead(future_shift, view, at=[811])[0].bar == 811


def test_honest_columns_pass(view):
    assert check(honest, view, warmup=19) == []


def test_a_feed_read_ahead_is_caught(view):
    feed = view.bars[["close"]].rename(columns={"close": "other"})
    fed = attrs.evolve(view, feeds={"es": feed})

    found = look_ahead(lambda view: view.feeds["es"]["other"].shift(-3).rename("es.other"), fed)

    assert [finding.column for finding in found] == ["es.other"]
    assert look_ahead(lambda view: view.feeds["es"]["other"].shift(3), fed) == []


def test_a_series_of_actions_is_checked_too(view):
    def peeks(view):
        return (view.bars["close"].shift(-1) > view.bars["close"]).astype("int8").rename("action")

    assert [finding.column for finding in look_ahead(peeks, view)] == ["action"]


def test_a_warm_up_declared_too_short_is_caught_with_the_number_that_would_do(view):
    def slow(view):
        return (view.bars["close"].ewm(span=20, adjust=False).mean() / view.bars["close"] - 1).rename("ema")

    found = warm_up(slow, view, 20)

    assert [(finding.check, finding.column) for finding in found] == [("warm-up", "ema")]
    assert 1e-6 < found[0].error < np.inf
    enough = int(found[0].text.rsplit(" ", 1)[1])
    assert 80 < enough < 220
    assert warm_up(slow, view, 2 * enough) == []


def test_a_window_longer_than_the_warm_up_is_infinitely_wrong(view):
    found = warm_up(honest, view, 10)

    assert [finding.column for finding in found] == ["mean"]
    assert found[0].error == np.inf
    assert found[0].text == "mean still differs by inf standard deviations after 10 bars, agrees after 19"
    assert warm_up(honest, view, 19) == []


def test_a_sum_without_end_never_warms_up(view):
    found = warm_up(lambda view: view.bars["volume"].cumsum().to_frame("total"), view, 300)

    assert [finding.column for finding in found] == ["total"]
    assert "agrees" not in found[0].text


def test_hidden_in_place_mutation_is_caught(view):
    def mutates(view):
        view.bars["close"] = view.bars["close"].shift(1).bfill()
        view.bars["extra"] = 1.0
        return honest(view)

    before = view.bars.copy(deep=True)
    found = mutations(mutates, view)

    assert [(finding.check, finding.column) for finding in found] == [("mutation", "close"), ("mutation", "extra")]
    assert found[0].bar == 1
    pd.testing.assert_frame_equal(view.bars, before)  # the caller's own bars stay as they were


def test_a_mutated_factor_or_feed_is_caught(view):
    fed = attrs.evolve(view, feeds={"es": view.bars[["close"]].copy()})

    def mutates(view):
        view.factor.iloc[7] = 2.0
        view.feeds["es"].iloc[9, 0] = 1.0
        return honest(view)

    assert [(finding.column, finding.bar) for finding in mutations(mutates, fed)] == [("factor", 7), ("close", 9)]


def test_the_bar_that_is_named_is_the_one_written_to_where_values_are_missing(view):
    holes = attrs.evolve(view, bars=view.bars.assign(funding=np.nan))
    given = copied(holes)
    given.bars.loc[view.bars.index[11], "funding"] = 0.5

    (found,) = rewritten(holes, given)

    assert found == Rewritten("bars", "funding", 11, view.bars.index[11])


def test_one_call_runs_all_checks(view):
    def worst(view):
        view.bars["volume"] = 0.0
        return future_shift(view)

    assert {finding.check for finding in check(worst, view, warmup=3)} == {"look-ahead", "warm-up", "mutation"}


def test_too_few_bars_prove_nothing(view):
    short = attrs.evolve(view, bars=view.bars.iloc[:100], factor=view.factor.iloc[:100])

    with pytest.raises(DataError, match="too few bars"):
        warm_up(honest, short, 90)


def test_columns_that_come_and_go_are_an_error(view):
    def fickle(view):
        return pd.DataFrame({"a" if len(view.bars) > 800 else "b": view.bars["close"]})

    with pytest.raises(DataError, match="columns depend on the bars"):
        look_ahead(fickle, view)


def test_rows_that_do_not_match_the_bars_are_an_error(view):
    with pytest.raises(DataError, match="not one row a bar"):
        look_ahead(lambda view: honest(view).dropna(), view)


def test_the_same_seed_finds_the_same(view):
    assert look_ahead(centred_rolling, view, seed=4) == look_ahead(centred_rolling, view, seed=4)
