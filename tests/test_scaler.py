"""The scaler: fitted on the training bars alone, the same on every bar, refused where it does not fit."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mnqcore.errors import DataError
from mnqcore.simulator.observation import CLIP
from mnqcore.tape.scaler import Scaler, first_complete

ANY = st.floats(allow_nan=True, allow_infinity=True)
TABLES = hnp.arrays(np.float64, st.tuples(st.integers(2, 30), st.integers(1, 4)), elements=ANY | st.just(1.0))


def frame(columns, start="2024-01-02"):
    """Return features on 5-minute bars: a dict of columns, or an array (bars, n)."""
    table = pd.DataFrame(columns)
    table.columns = table.columns.map(lambda name: name if isinstance(name, str) else f"x.{name}")
    return table.set_index(pd.date_range(start, periods=len(table), freq="5min", tz="UTC"))


def slow(values, mean, deviation):
    """Scale one number after the other."""
    return [np.float32(min(max((value - mean) / deviation, -10.0), 10.0)) for value in values]


def test_a_scaler_by_hand():
    features = frame({"a.x": [1.0, 3.0, 5.0, 7.0, 100.0], "a.y": [2.0, 2.0, 2.0, 2.0, 2.5]})

    scaler = Scaler.fit(features, slice(0, 4))
    scaled = scaler(features)

    assert scaler.names == ("a.x", "a.y")
    assert scaler.mean.tolist() == [4.0, 2.0]
    assert scaler.deviation.tolist() == [np.sqrt(5.0), 1.0]  # a constant column is divided by 1
    assert scaled[:, 0].tolist() == slow(features["a.x"], 4.0, np.sqrt(5.0))
    assert scaled[:, 1].tolist() == [0.0, 0.0, 0.0, 0.0, 0.5]
    assert scaled[4, 0] == CLIP
    assert scaled.dtype == np.float32
    assert scaled.flags.c_contiguous
    assert scaled.shape == (5, 2)


@settings(max_examples=200, deadline=None)
@given(values=TABLES, later=st.integers(0, 2**32 - 1), share=st.floats(0.1, 0.9))
def test_no_row_outside_the_training_bars_changes_anything(values, later, share):
    first, last = int(len(values) * share / 2), max(int(len(values) * share), 1)
    values[first, :] = 0.5  # so that every column has a value to fit on
    poisoned = values.copy()
    outside = np.r_[0:first, last : len(values)]
    poisoned[outside] = np.random.default_rng(later).choice([np.nan, np.inf, 1e300, -3.0], (len(outside), 1))

    one, other = (Scaler.fit(frame(table), slice(first, last)) for table in (values, poisoned))

    assert one.mean.tobytes() == other.mean.tobytes()
    assert one.deviation.tobytes() == other.deviation.tobytes()


@settings(max_examples=200, deadline=None)
@given(values=TABLES)
def test_any_column_is_scaled_into_the_clip_or_stays_nan(values):
    values[0, :] = 0.5
    scaler = Scaler.fit(frame(values), slice(None))
    scaled = scaler(frame(values))

    assert np.isfinite(scaler.mean).all()
    assert np.isfinite(scaler.deviation).all()
    assert (scaler.deviation > 0).all()
    assert (np.isnan(scaled) == np.isnan(values)).all()
    assert (np.abs(scaled[~np.isnan(scaled)]) <= CLIP).all()


@pytest.mark.parametrize("seed", range(3))
def test_mean_and_deviation_are_those_of_the_finite_values(seed):
    random = np.random.default_rng(seed)
    values = random.normal(3, 2, (500, 3)) * [1.0, 1e-6, 1e12]
    values[random.random(values.shape) < 0.1] = np.nan
    features = frame(values)

    scaler = Scaler.fit(features, slice(50, 400))
    known = features.iloc[50:400]

    np.testing.assert_allclose(scaler.mean, known.mean(), rtol=1e-12)
    np.testing.assert_allclose(scaler.deviation, known.std(ddof=0), rtol=1e-12)
    scaled = scaler(features)[50:400]
    np.testing.assert_allclose(np.nanmean(scaled, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(scaled, axis=0), 1, atol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e6 / 3, 1e300, 1e-300, 5e-324])
def test_a_constant_column_is_zero_in_training(constant):
    features = frame({"c": np.full(100_001, constant)})
    scaler = Scaler.fit(features, slice(None))

    assert scaler.deviation[0] == 1.0
    assert not scaler(features).any()


def test_a_deviation_that_is_only_rounding_is_none():
    noisy = frame({"c": [0.3, 0.1 + 0.2] * 50})

    assert Scaler.fit(noisy, slice(None)).deviation[0] == 1.0


def test_a_column_without_a_value_to_train_on_is_named():
    features = frame({"a.x": [1.0, 2.0, 3.0], "a.y": [np.nan, np.inf, 1.0]})

    with pytest.raises(DataError, match=r"no value to train on\n.*a\.y"):
        Scaler.fit(features, slice(0, 2))


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["a", "c"], "missing: b; unknown: c"),
        (["a"], "missing: b"),
        (["a", "b", "c"], "unknown: c"),
        (["b", "a"], "another order: b, a"),
        (["a", "b", "b"], "another order: a, b, b"),
    ],
)
def test_other_columns_are_refused_by_name(columns, found):
    scaler = Scaler.fit(frame({"a": [1.0, 2.0], "b": [3.0, 5.0]}), slice(None))
    other = pd.DataFrame(np.ones((2, len(columns))), columns=columns)

    with pytest.raises(DataError) as caught:
        scaler(other)

    assert caught.value.facts["found"] == found
    assert caught.value.facts["next"] == "give these columns in this order: a, b"


@settings(max_examples=100, deadline=None)
@given(values=TABLES)
def test_a_scaler_survives_json_to_the_bit(values):
    values[0, :] = 0.5
    scaler = Scaler.fit(frame(values), slice(None))
    again = Scaler.from_json(json.loads(json.dumps(scaler.to_json(), allow_nan=False)))

    assert again.names == scaler.names
    assert again.mean.tobytes() == scaler.mean.tobytes()
    assert again.deviation.tobytes() == scaler.deviation.tobytes()
    assert again(frame(values)).tobytes() == scaler(frame(values)).tobytes()


GOOD = {"names": ["a", "b"], "mean": [0.0, 1.0], "deviation": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        ([], "keys names, mean, deviation are wanted, was list"),
        ({}, "was none"),
        ({**GOOD, "more": 1}, "was names, mean, deviation, more"),
        ({"names": ["a"], "mean": [0.0]}, "was names, mean"),
        ({**GOOD, "names": "ab"}, "names must be an array of strings"),
        ({**GOOD, "names": ["a", 1]}, "names must be an array of strings"),
        ({**GOOD, "names": ["a", "a"]}, "names must differ"),
        ({**GOOD, "names": ["a"]}, "mean must have 1 numbers, one a name, was 2"),
        ({**GOOD, "mean": [0.0]}, "mean must have 2 numbers"),
        ({**GOOD, "deviation": [1.0, 2.0, 3.0]}, "deviation must have 2 numbers"),
        ({**GOOD, "mean": {"a": 1.0}}, "mean must be an array"),
        ({**GOOD, "mean": [0.0, "1"]}, "mean must be an array of numbers"),
        ({**GOOD, "mean": [0.0, True]}, "mean must be an array of numbers"),
        ({**GOOD, "mean": [0.0, 10**400]}, "mean must be an array of numbers"),
        ({**GOOD, "mean": [0.0, float("nan")]}, "mean must be finite"),
        ({**GOOD, "deviation": [1.0, float("inf")]}, "deviation must be finite"),
        ({**GOOD, "deviation": [1.0, 0.0]}, "a deviation must be above 0"),
        ({**GOOD, "deviation": [1.0, -2.0]}, "a deviation must be above 0"),
    ],
)
def test_an_unsound_document_is_refused(document, wrong):
    assert Scaler.from_json(GOOD).names == ("a", "b")
    with pytest.raises(DataError) as caught:
        Scaler.from_json(document)

    assert wrong in caught.value.facts["found"]


@pytest.mark.parametrize(
    ("columns", "first"),
    [
        ({"a": [1.0, 2.0, 3.0]}, 0),
        ({"a": [np.nan, 2.0, 3.0], "b": [np.nan, np.nan, 1.0]}, 2),
        ({"a": [np.inf, 2.0, 3.0], "b": [1.0, 1.0, 1.0]}, 1),
        ({"a": [1.0, np.nan, 3.0], "b": [np.nan, np.nan, 1.0]}, 2),  # all is there from the third bar on
    ],
)
def test_the_first_bar_with_all_features(columns, first):
    assert first_complete(frame(columns)) == first


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_a_hole_names_its_column_and_the_time_of_its_bar(hole):
    features = frame({"a.x": [np.nan, 1.0, 1.0, 1.0, hole], "a.y": [1.0, 1.0, 1.0, hole, 1.0]})

    with pytest.raises(DataError) as caught:
        first_complete(features)

    assert caught.value.facts["where"] == "a.y of the bar at 2024-01-02 00:15:00+00:00"
    assert caught.value.facts["found"] == str(hole)


@pytest.mark.parametrize("bars", [0, 3])
def test_a_column_that_never_has_a_value_is_named(bars):
    features = frame({"a.x": np.ones(bars), "a.y": np.full(bars, np.nan)})

    with pytest.raises(DataError) as caught:
        first_complete(features)

    assert caught.value.facts["where"] == ("a.y" if bars else "a.x")


@settings(max_examples=200, deadline=None)
@given(values=TABLES)
def test_the_first_complete_bar_is_what_a_slow_search_finds(values):
    finite = np.isfinite(values)
    starts = [[row for row in range(len(values)) if finite[row, at]][:1] for at in range(values.shape[1])]
    first = max((start[0] for start in starts if start), default=0)
    if [] in starts or not finite[first:].all():
        with pytest.raises(DataError):
            first_complete(frame(values))
    else:
        assert first_complete(frame(values)) == first
