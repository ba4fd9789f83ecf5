"""Contract months, expiry and roll days, and the joining of contracts."""

import attrs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnqcore.errors import DataError
from mnqcore.market.calendar import Calendar
from mnqcore.market.instruments import catalogue
from mnqcore.market.rolls import Month, contract_month, expiry_day, roll_day, stitch

MNQ = Calendar(catalogue()["MNQ"])
BY_VOLUME = Calendar(attrs.evolve(catalogue()["MNQ"], roll="volume"))
EURO = Calendar(catalogue()["6E"])


def frame(*rows):
    """Bars from (Chicago time, contract, close[, volume]); open is one below the close."""
    index = pd.DatetimeIndex(
        [pd.Timestamp(row[0], tz="America/Chicago").tz_convert("UTC") for row in rows], name="time"
    )
    close = np.array([row[2] for row in rows], dtype=float)
    columns = {"open": close - 1, "high": close + 1, "low": close - 2, "close": close}
    volume = [float(row[3]) if len(row) > 3 else 1.0 for row in rows]
    contract = pd.array([row[1] for row in rows], dtype="str")
    return pd.DataFrame({**columns, "volume": volume, "contract": contract}, index=index.as_unit("ns"))


@pytest.mark.parametrize(
    ("code", "near", "month"),
    [
        ("ES201312", 2013, (2013, 12)),
        ("MNQZ25", 2025, (2025, 12)),
        ("MNQZ2025", 2025, (2025, 12)),
        ("mnqz25", 2025, (2025, 12)),
        ("6EH4", 2023, (2024, 3)),
        ("6EH4", 2024, (2024, 3)),
        ("ESU0", 2019, (2020, 9)),
        ("M6EM5", 2025, (2025, 6)),
        ("MNQ 20251219", 2025, (2025, 12)),
        ("NQ202603", 2025, (2026, 3)),
    ],
)
def test_the_month_is_read_from_a_code(code, near, month):
    assert contract_month(code, near) == month


@pytest.mark.parametrize("code", ["", "MNQ", "NQ2512", "ES201313", "front", "MNQA25"])
def test_a_code_without_a_month_is_refused(code):
    with pytest.raises(DataError, match="no month can be read"):
        contract_month(code, 2025)


@pytest.mark.parametrize(
    ("month", "expiry", "roll"),
    [
        ((2026, 12), "2026-12-18", "2026-12-14"),
        ((2027, 3), "2027-03-19", "2027-03-15"),
        ((2027, 9), "2027-09-17", "2027-09-13"),
        ((2008, 3), "2008-03-20", "2008-03-14"),  # the third Friday was Good Friday
    ],
)
def test_index_futures_expire_on_the_third_friday(month, expiry, roll):
    assert str(expiry_day(Month(*month), MNQ)) == expiry
    assert str(roll_day(Month(*month), MNQ)) == roll


@pytest.mark.parametrize(("month", "expiry"), [((2024, 3), "2024-03-18"), ((2024, 6), "2024-06-17")])
def test_currency_futures_expire_two_trading_days_before_the_third_wednesday(month, expiry):
    assert str(expiry_day(Month(*month), EURO)) == expiry


def test_without_an_expiry_rule_contracts_do_not_roll_by_expiry():
    calendar = Calendar(attrs.evolve(catalogue()["MNQ"], expiry="none"))

    with pytest.raises(DataError, match="no expiry rule"):
        expiry_day(Month(2025, 12), calendar)


ROLL_WEEK = frame(
    ("2025-12-12 10:00", "MNQZ25", 100.0),
    ("2025-12-12 10:00", "MNQH26", 102.0),
    ("2025-12-12 15:55", "MNQZ25", 104.0),
    ("2025-12-12 15:55", "MNQH26", 130.0),
    ("2025-12-14 17:00", "MNQH26", 132.0),
    ("2025-12-14 17:05", "MNQZ25", 106.0),
    ("2025-12-14 17:05", "MNQH26", 133.0),
)


def test_the_lead_changes_at_the_first_bar_of_the_roll_day():
    joined = stitch(ROLL_WEEK, MNQ)

    assert joined.bars["contract"].tolist() == ["MNQZ25", "MNQZ25", "MNQH26", "MNQH26"]
    assert joined.bars["close"].tolist() == [100.0, 104.0, 132.0, 133.0]  # raw
    (roll,) = joined.rolls
    assert (roll.old, roll.new, roll.overlap) == ("MNQZ25", "MNQH26", True)
    assert roll.time == pd.Timestamp("2025-12-14 17:00", tz="America/Chicago")


def test_the_factor_scales_a_new_contract_by_the_last_common_bar_before_its_roll():
    joined = stitch(ROLL_WEEK, MNQ)

    assert joined.factor.tolist() == pytest.approx([1.0, 1.0, 104 / 130, 104 / 130], rel=6e-8)
    assert joined.factor.index.equals(joined.bars.index)


def test_what_is_carried_over_a_roll_is_priced_by_the_old_contracts_next_open():
    joined = stitch(ROLL_WEEK, MNQ)

    assert joined.carry_open.tolist() == [99.0, 103.0, 105.0, 132.0]  # 105 = MNQZ25's open at 17:05


def test_factors_are_cumulated():
    rows = [(f"2025-{day} 10:00", code, price) for day, code, price in (
        ("03-13", "MNQH25", 100.0), ("03-13", "MNQM25", 200.0), ("03-20", "MNQM25", 210.0),
        ("06-12", "MNQM25", 220.0), ("06-12", "MNQU25", 110.0), ("06-23", "MNQU25", 121.0),
    )]  # fmt: skip

    joined = stitch(frame(*rows), MNQ)

    assert joined.factor.tolist() == [1.0, 0.5, 0.5, 1.0]
    assert [roll.ratio for roll in joined.rolls] == [0.5, 2.0]


def test_without_overlap_the_return_over_the_roll_is_0():
    rows = frame(("2025-12-12 10:00", "MNQZ25", 100.0), ("2025-12-15 10:00", "MNQH26", 125.0))

    joined = stitch(rows, MNQ)

    assert (joined.bars["close"] * joined.factor).tolist() == pytest.approx([100.0, 100.0], rel=6e-8)
    assert joined.rolls[0].overlap is False
    assert np.isnan(joined.carry_open[1])


def test_bars_that_are_joined_already_keep_their_roll_times():
    rows = frame(
        ("2025-12-01 10:00", "MNQZ25", 100.0),
        ("2025-12-02 10:00", "MNQH26", 110.0),
        ("2025-12-03 10:00", "MNQH26", 99.0),
    )

    joined = stitch(rows, MNQ)

    assert joined.bars["contract"].tolist() == ["MNQZ25", "MNQH26", "MNQH26"]
    assert [roll.time for roll in joined.rolls] == [rows.index[1]]
    assert joined.factor.tolist() == pytest.approx([1.0, 100 / 110, 100 / 110], rel=6e-8)


@given(
    ratio=st.floats(0.05, 20.0),
    ticks=st.lists(st.integers(1, 200_000), min_size=6, max_size=6),
    tick=st.sampled_from((0.25, 0.5, 1.0, 5.0)),
)
def test_prices_behind_a_roll_are_as_far_apart_as_they_were(ratio, ticks, tick):
    first, *prices = (number * tick for number in ticks)
    rows = frame(("2025-12-12 10:00", "MNQZ25", first * ratio), ("2025-12-15 10:00", "MNQH26", first))
    factor = stitch(rows, MNQ).factor.iloc[1]
    a, b, c, d, e = (price * factor for price in prices)
    raw = prices

    assert a - b == (raw[0] - raw[1]) * factor
    assert (a - b == c - d) == (raw[0] - raw[1] == raw[2] - raw[3])
    assert c + d + e == (raw[2] + raw[3] + raw[4]) * factor


def test_bars_without_contracts_come_back_as_they_are():
    rows = ROLL_WEEK[ROLL_WEEK["contract"] == "MNQZ25"].drop(columns="contract")

    joined = stitch(rows, MNQ)

    assert joined.bars is rows
    assert joined.factor.tolist() == [1.0] * 3
    assert joined.carry_open.tolist() == rows["open"].tolist()
    assert joined.rolls == ()


def test_a_contract_that_leads_but_does_not_trade_leaves_no_bar():
    rows = frame(
        ("2025-12-10 10:00", "MNQZ25", 100.0),
        ("2025-12-10 10:00", "MNQH26", 102.0),
        ("2025-12-10 10:05", "MNQH26", 103.0),
        ("2025-12-10 10:10", "MNQZ25", 101.0),
    )

    assert stitch(rows, MNQ).bars["close"].tolist() == [100.0, 101.0]


def test_by_volume_the_lead_is_yesterdays_most_traded_contract():
    rows = [
        (f"2025-12-{day:02d} 10:00", code, price, volume)
        for day, front, back in ((8, 90, 10), (9, 40, 60), (10, 80, 20), (11, 10, 90))
        for code, price, volume in (("MNQZ25", 100.0 + day, front), ("MNQH26", 200.0 + day, back))
    ]

    joined = stitch(frame(*rows), BY_VOLUME)

    # The 9th goes by the 8th, the 10th by the 9th, and from then on nothing leads back.
    assert joined.bars["contract"].tolist() == ["MNQZ25", "MNQZ25", "MNQH26", "MNQH26"]
    assert joined.rolls[0].ratio == 109 / 209


def test_after_a_day_without_volume_the_lead_stays():
    rows = frame(
        ("2025-12-08 10:00", "MNQZ25", 100.0, 0), ("2025-12-08 10:00", "MNQH26", 110.0, 0),
        ("2025-12-09 10:00", "MNQZ25", 100.0, 0), ("2025-12-09 10:00", "MNQH26", 110.0, 5),
    )  # fmt: skip

    assert stitch(rows, BY_VOLUME).bars["contract"].tolist() == ["MNQZ25", "MNQZ25"]


def test_two_bars_of_a_contract_at_one_time_are_refused():
    with pytest.raises(DataError, match="two bars at one time"):
        stitch(frame(("2025-12-08 10:00", "MNQZ25", 1.0), ("2025-12-08 10:00", "MNQZ25", 2.0)), MNQ)


def test_no_bars_are_refused():
    with pytest.raises(DataError, match="there are no bars"):
        stitch(ROLL_WEEK.iloc[:0], MNQ)


def test_prices_that_have_no_ratio_are_refused():
    rows = frame(("2025-12-12 10:00", "MNQZ25", -5.0), ("2025-12-15 10:00", "MNQH26", 125.0))

    with pytest.raises(DataError, match="positive prices"):
        stitch(rows, MNQ)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.sampled_from([MNQ, BY_VOLUME]))
def test_bars_that_come_later_change_no_earlier_row(seed, cut, calendar):
    rows = _random_months(seed)
    cut = min(cut, len(rows))
    while cut < len(rows) and rows.index[cut] == rows.index[cut - 1]:
        cut += 1  # rows of one time come together

    # Both contracts trade in the first minute, so that even a short file is not taken for one already joined.
    whole, part = stitch(rows, calendar), stitch(rows.iloc[: max(cut, 2)], calendar)

    n = len(part.bars)
    pd.testing.assert_frame_equal(part.bars, whole.bars.iloc[:n])
    pd.testing.assert_series_equal(part.factor, whole.factor.iloc[:n])
    known = ~np.isnan(part.carry_open)
    np.testing.assert_array_equal(part.carry_open[known], whole.carry_open[:n][known])
    assert part.rolls == whole.rolls[: len(part.rolls)]


def _random_months(seed):
    """Bars of three contracts that come and go, with holes; the first two trade in the first minute."""
    generator = np.random.default_rng(seed)
    start, end = pd.Timestamp("2025-05-12 02:00", tz="UTC"), pd.Timestamp("2025-10-01", tz="UTC")
    times = MNQ.bar_starts(start, end, pd.Timedelta("8h"))
    parts = []
    for at, code in enumerate(("MNQM25", "MNQU25", "MNQZ25")):
        present = generator.random(len(times)) < 0.8
        present[: 40 * at - 40 if at > 1 else 0] = False
        present[0] = at < 2
        price = 100 * np.exp(np.cumsum(generator.normal(0, 0.01, len(times)))) + at
        columns = dict.fromkeys(("open", "high", "low", "close"), price[present])
        volume = generator.integers(0, 100, present.sum()).astype(float)
        parts.append(pd.DataFrame({**columns, "volume": volume, "contract": code}, index=times[present]))
    return pd.concat(parts).sort_index(kind="stable")
