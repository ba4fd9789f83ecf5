"""What a stream delivers: only sound, closed, new bars are taken up, each once, whatever else comes."""

import json
import math
import os
import random
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnqcore.api.port import Delivered
from mnqcore.errors import DataError
from mnqcore.market.bars import validate
from mnqcore.market.calendar import Calendar
from mnqcore.market.instruments import catalogue
from mnqcore.strategy.settings import Session
from mnqcore.tape import lay
from mnqcore.trading.feed import Feed, Verdict
from mnqcore.trading.history import History, empty_bars
from mnqcore.trading.oddities import Contracts, Gauge
from tests.tapes import bars

MNQ = catalogue()["MNQ"]
CALENDAR = Calendar(MNQ)
SIZE = pd.Timedelta("5min")
SECOND = 1_000_000_000
STEP = 300 * SECOND
PAST = (("2026-11-23 08:30", "2026-11-23 15:55"), ("2026-11-23 17:00", "2026-11-24 09:55"))
NOW = (("2026-11-24 10:00", "2026-11-24 15:55"), ("2026-11-24 17:00", "2026-11-24 20:55"))


def chicago(text):
    return int(pd.Timestamp(text, tz="America/Chicago").as_unit("ns").value)


def whole(contract="MNQZ6"):
    """History and what is to be delivered, one frame."""
    return bars(*PAST, *NOW, contract=contract)


def parts(frame):
    return frame[frame.index < pd.Timestamp(NOW[0][0], tz="America/Chicago")], frame[
        frame.index >= pd.Timestamp(NOW[0][0], tz="America/Chicago")
    ]


HISTORY, STREAM = parts(whole())


def feed(history=HISTORY, **keys):
    return Feed(MNQ, keys.pop("calendar", CALENDAR), keys.pop("size", SIZE), history=history, **keys)


def start_of(frame):
    return int(frame.index[0].as_unit("ns").value)


def give(target, frame, *, now=None, forming=False):
    """Deliver a frame a second after its last bar has closed; return what it was judged to be."""
    moment = int(frame.index.max().as_unit("ns").value) + STEP + SECOND if now is None else now
    return target.judge(Delivered(bars=frame, time=moment, forming=forming), moment)


def one(target, frame, **keys):
    (judged,) = give(target, frame, **keys)
    return judged


def changed(row, **values):
    return STREAM.iloc[[row]].assign(**values)


def moved(row, time):
    return STREAM.iloc[[row]].set_axis(
        pd.DatetimeIndex([pd.Timestamp(time, tz="America/Chicago")], name="time").tz_convert("UTC")
    )


def test_new_bars_are_taken_up_in_the_shape_of_the_history():
    target = feed()
    for at in range(len(STREAM)):
        judged = one(target, STREAM.iloc[[at]])
        assert (judged.verdict, judged.missing, judged.why) == (Verdict.NEW, 0, "")
        assert judged.contract == "MNQZ6"
        assert judged.ticks == tuple(round(STREAM[name].iloc[at] * 4) for name in ("open", "high", "low", "close"))
        assert target.newest == judged.time == start_of(STREAM.iloc[[at]])

    pd.testing.assert_frame_equal(target.bars(), whole(), check_freq=False)
    pd.testing.assert_frame_equal(target.since(start_of(STREAM)), STREAM, check_freq=False)
    assert validate(target.bars()) is not None
    assert lay(target.bars(), MNQ, Session(), SIZE).outside == 0


def test_f42_a_bar_that_is_not_closed_is_forming_whatever_the_source_says():
    target, close = feed(), start_of(STREAM) + STEP
    early = one(target, STREAM.iloc[[0]], now=close - 3 * SECOND)

    assert early.verdict is one(target, STREAM.iloc[[0]], forming=True).verdict is Verdict.FORMING
    assert early.why == "closes in 3 s"
    assert one(target, STREAM.iloc[[0]], now=close - 2 * SECOND).verdict is Verdict.NEW  # clocks differ
    assert one(feed(tolerance=0), STREAM.iloc[[0]], now=close - 1).verdict is Verdict.FORMING
    assert one(feed(tolerance=0), STREAM.iloc[[0]], now=close).verdict is Verdict.NEW


def test_f42_the_last_bar_of_a_session_closes_with_it():
    frame = bars(("2026-11-24 13:00", "2026-11-24 13:00"), contract="MNQZ6")
    target = feed(HISTORY.iloc[:100], size=pd.Timedelta("4h"))

    assert one(target, frame, now=chicago("2026-11-24 15:59")).verdict is Verdict.FORMING
    assert one(target, frame, now=chicago("2026-11-24 16:00")).verdict is Verdict.NEW


def test_f42_a_revised_bar_changes_nothing_that_was_accepted():
    target = feed()
    give(target, STREAM.iloc[:3])
    later = one(target, changed(1, close=20_500.25, high=20_501.0))
    old = one(target, HISTORY.iloc[[5]].assign(volume=7.0))

    assert later.verdict is old.verdict is Verdict.REVISED
    assert later.why == "high 20296.5 -> 20501, close 20295.5 -> 20500.25"
    assert old.why == "volume 1 -> 7"
    pd.testing.assert_frame_equal(target.bars(), whole().iloc[: len(HISTORY) + 3], check_freq=False)


def test_f43_duplicates_late_and_missing_bars():
    target = feed()
    assert one(target, STREAM.iloc[[0]]).verdict is Verdict.NEW
    assert one(target, STREAM.iloc[[0]]).verdict is Verdict.DUPLICATE
    assert one(target, HISTORY.iloc[[3]]).verdict is Verdict.DUPLICATE
    skipping = one(target, STREAM.iloc[[4]])
    assert (skipping.verdict, skipping.missing) == (Verdict.NEW, 3)
    late = one(target, STREAM.iloc[[2]])
    assert (late.verdict, late.missing, late.why) == (Verdict.LATE, 0, "600 s older than the newest")
    assert one(target, STREAM.iloc[[72]]).missing == 67  # 17:00: the pause from 16:00 is no slot
    assert target.bars().index.is_unique


def test_f43_bars_that_come_at_once_are_taken_in_order():
    target = feed()
    judged = give(target, STREAM.iloc[[3, 0, 2, 1]])

    assert [one.verdict for one in judged] == [Verdict.NEW] * 4
    assert [one.missing for one in judged] == [0] * 4
    pd.testing.assert_frame_equal(target.since(start_of(STREAM)), STREAM.iloc[:4], check_freq=False)


@pytest.mark.parametrize("name", ["", None, math.nan, 7, "ESZ6", "MNQ", "front", "MNQU6", "MNQZ5", "MESZ6"])
def test_f43_bars_of_a_wrong_contract_are_foreign(name):
    judged = one(feed(), STREAM.iloc[[0]].assign(contract=pd.Series([name], dtype=object, index=STREAM.index[:1])))

    assert judged.verdict is Verdict.FOREIGN
    assert judged.why


def test_f43_the_next_contract_is_not_foreign_and_shares_its_time():
    target = feed()
    both = pd.concat([STREAM.iloc[[0]], STREAM.iloc[[0]].assign(contract="MNQH7")])

    assert [one.verdict for one in give(target, both)] == [Verdict.NEW] * 2
    assert [one.verdict for one in give(target, both)] == [Verdict.DUPLICATE] * 2
    assert one(target, STREAM.iloc[[0]].assign(contract="MNQM7")).verdict is Verdict.NEW
    assert [one.missing for one in give(target, STREAM.iloc[[1]])] == [0]
    assert validate(target.bars())["contract"].tolist()[-4:] == ["MNQZ6", "MNQH7", "MNQM7", "MNQZ6"]


def test_a_series_without_contracts_takes_none():
    history = HISTORY.drop(columns="contract")
    target = feed(history)

    assert one(target, STREAM.iloc[[0]]).verdict is Verdict.FOREIGN
    assert one(target, STREAM.iloc[[0]].drop(columns="contract")).verdict is Verdict.NEW
    assert target.bars().columns.tolist() == history.columns.tolist()


def test_a_source_may_name_its_contracts_as_it_likes_if_the_history_does():
    history, stream = HISTORY.assign(contract="front"), STREAM.iloc[[0]].assign(contract="front")

    assert one(feed(history), stream).verdict is Verdict.NEW
    assert one(feed(history), stream.assign(contract="back")).verdict is Verdict.FOREIGN


@pytest.mark.parametrize(
    "values",
    [
        {"open": math.nan}, {"close": math.inf}, {"low": -math.inf}, {"low": 0.0}, {"low": -5.0}, {"volume": -1.0},
        {"volume": math.nan}, {"high": 100.0}, {"low": 30_000.0}, {"close": 20_000.1}, {"high": 1e300, "close": 1e299},
        {"open": "soon"}, {"close": None}, {"high": 1e15},
    ],
    ids=str,
)  # fmt: skip
def test_f44_bars_that_no_market_makes_are_bad(values):
    target = feed()
    judged = one(target, changed(0, **values))

    assert (judged.verdict, judged.ticks) == (Verdict.BAD, None)
    assert judged.why
    assert one(target, STREAM.iloc[[0]]).verdict is Verdict.NEW  # the source put it right in time


def test_f44_times_and_columns_that_cannot_be_read_are_bad():
    row = STREAM.iloc[[0]]
    odd = [
        row.set_axis(pd.DatetimeIndex([pd.NaT]).tz_localize("UTC")),
        row.set_axis(row.index.tz_localize(None)),
        row.set_axis([5]),
        row.set_axis(pd.DatetimeIndex(["1969-01-01"]).tz_localize("UTC")),
        row.set_axis(pd.DatetimeIndex(["2150-01-01"]).tz_localize("UTC")),
        row.set_axis(pd.DatetimeIndex(np.array(["9000-01-01"], "M8[s]")).tz_localize("UTC")),
    ]
    target = feed()
    for frame in odd:
        assert [one.verdict for one in target.judge(Delivered(bars=frame, time=0), chicago("2030-01-01"))] == [
            Verdict.BAD
        ]
    assert one(target, row.drop(columns="volume")).why == "no volume"
    assert one(target, row.set_axis(row.index.tz_convert("Asia/Tokyo"))).verdict is Verdict.NEW
    assert target.judge(Delivered(bars=STREAM.iloc[:0], time=0), 0) == []
    assert target.judge(Delivered(bars=pd.DataFrame(), time=0), 0) == []


def test_further_columns_belong_to_the_series_once_they_do():
    history = HISTORY.assign(spread=0.25)
    target = feed(history)

    assert one(target, STREAM.iloc[[0]]).why == "no spread"
    assert one(target, STREAM.iloc[[0]].assign(spread=math.nan, other=3.0)).verdict is Verdict.NEW
    assert one(target, STREAM.iloc[[0]].assign(spread=math.nan)).verdict is Verdict.DUPLICATE
    assert one(target, STREAM.iloc[[0]].assign(spread=0.5)).verdict is Verdict.REVISED
    assert target.bars().columns.tolist() == history.columns.tolist()


def test_bars_outside_the_session_and_off_the_grid():
    target = feed()

    assert one(target, moved(0, "2026-11-24 16:30")).verdict is Verdict.OUTSIDE
    assert one(target, moved(0, "2026-11-28 12:00")).verdict is Verdict.OUTSIDE
    assert one(target, moved(0, "2026-11-24 10:01")).verdict is Verdict.OFF_GRID
    assert one(feed(calendar=Calendar(MNQ, rth=True)), moved(0, "2026-11-24 15:00")).verdict is Verdict.OUTSIDE


def test_f45_a_spike_is_kept_out_and_what_follows_it_counts_from_the_bar_before():
    target, point = feed(), STREAM["close"].iloc[0]
    far = changed(0, high=point + 60.0)
    spiked = one(target, far)

    assert spiked.verdict is Verdict.SPIKE
    assert spiked.why == "a reach of 246 ticks, where 10 are rare"
    assert one(target, far).verdict is Verdict.SPIKE  # told twice it is none the truer
    assert one(feed(spike=30.0), far).verdict is Verdict.NEW
    after = one(target, STREAM.iloc[[1]])
    assert (after.verdict, after.missing) == (Verdict.NEW, 1)


def test_f45_a_move_that_the_next_bar_confirms_was_none():
    target, prices = feed(), ["open", "high", "low", "close"]
    fallen = STREAM.copy()
    fallen[prices] -= 800.0

    assert one(target, fallen.iloc[[0]]).verdict is Verdict.SPIKE
    assert one(target, fallen.iloc[[0]]).verdict is Verdict.SPIKE
    assert [one(target, fallen.iloc[[at]]).verdict for at in (1, 2, 3)] == [Verdict.NEW] * 3
    assert one(target, STREAM.iloc[[4]]).verdict is Verdict.SPIKE


def test_f45_without_a_history_only_what_is_beyond_price_limits_is_a_spike():
    target = feed(None)
    assert one(target, STREAM.iloc[[0]].assign(high=25_000.0)).verdict is Verdict.SPIKE
    assert one(target, STREAM.iloc[[0]].assign(high=21_000.0)).verdict is Verdict.NEW
    assert one(target, STREAM.iloc[[1]]).verdict is Verdict.NEW


def test_f45_bars_that_neither_trade_nor_move_are_counted():
    target, last = feed(), float(HISTORY["close"].iloc[-1])
    frozen = STREAM.assign(**dict.fromkeys(("open", "high", "low", "close"), last), volume=0.0)

    assert [one(target, frozen.iloc[[at]]).still for at in range(4)] == [1, 2, 3, 4]
    assert one(target, frozen.iloc[[4]].assign(volume=1.0)).still == 0
    assert [one(target, frozen.iloc[[at]]).still for at in (5, 6)] == [1, 2]
    assert one(target, frozen.iloc[[7]].assign(high=last + 0.25)).still == 0


def test_f50_what_came_while_the_machine_slept_is_taken_in_order():
    target = feed()
    judged = give(target, STREAM.iloc[:24])

    assert [one.verdict for one in judged] == [Verdict.NEW] * 24
    assert target.newest == judged[-1].time == start_of(STREAM.iloc[[23]])


def test_f41_a_slot_without_a_bar_is_no_bar():
    target = feed()

    assert target.judge(Delivered(bars=STREAM.iloc[:0], time=start_of(STREAM) + STEP), start_of(STREAM) + STEP) == []
    assert target.newest == start_of(HISTORY.iloc[[-1]])
    assert one(target, STREAM.iloc[[1]]).missing == 1


def test_without_a_history_the_first_bar_says_what_columns_there_are():
    target = feed(None)
    assert target.newest is None
    pd.testing.assert_frame_equal(target.bars(), empty_bars())
    pd.testing.assert_frame_equal(target.since(0), empty_bars())

    give(target, STREAM.assign(spread=0.25))

    assert target.bars().columns.tolist() == ["open", "high", "low", "close", "volume", "spread", "contract"]
    assert len(target.bars()) == len(STREAM)
    assert one(feed(HISTORY.iloc[:0]), STREAM.iloc[[0]]).verdict is Verdict.NEW


def test_a_history_that_is_no_bars_is_refused():
    with pytest.raises(DataError, match="no bars"):
        feed(HISTORY.iloc[::-1])


def test_what_is_handed_out_is_a_copy():
    history = HISTORY.copy()
    target = feed(history)
    for frame in (history, target.bars(), target.since(0)):
        frame.iloc[:, :4] = 1.0

    pd.testing.assert_frame_equal(target.bars(), HISTORY, check_freq=False)


def test_a_history_grows_as_far_as_it_must():
    history = History(HISTORY)
    for at in range(5_000):
        history.add(start_of(STREAM) + at * STEP, "MNQZ6", {name: float(at) for name in history.columns})

    assert len(history) == len(history.frame()) == len(HISTORY) + 5_000
    found = history.find(start_of(STREAM) + 4_321 * STEP, "MNQZ6")
    assert found
    assert found["close"] == 4_321.0
    assert history.find(start_of(STREAM) + 4_321 * STEP, "MNQH7") is None
    assert history.find(start_of(STREAM) + 1, "MNQZ6") is None
    assert history.contracts == ["MNQZ6"]


def test_categories_take_a_contract_that_comes_later():
    target = feed(HISTORY.assign(contract=HISTORY["contract"].astype("category")))
    give(target, STREAM.iloc[[0]].assign(contract="MNQH7"))

    assert target.bars()["contract"].tolist()[-2:] == ["MNQZ6", "MNQH7"]


@pytest.mark.parametrize(
    ("known", "name", "fits"),
    [
        (["ES201312"], "ES201403", True),
        (["6EZ6"], "6EH7", True),
        (["6EZ6"], "M6EH7", False),
        (["MNQZ2026"], "MNQH27", True),
        (["MNQ 2026-12"], "MNQ 2027-03", True),
        ([], "ANYZ6", True),
        ([], "any", False),
        (["MNQZ6"], "MNQZ7", True),
    ],
)
def test_contracts_of_one_root_belong_together(known, name, fits):
    assert (Contracts(known).foreign(name, 2014 if "13" in str(known) else 2026, 1) == "") == fits


def test_a_gauge_forgets():
    gauge = Gauge.of(np.arange(3_000), np.full(3_000, 1_008), np.full(3_000, 1_000), np.full(3_000, 1_004))
    wide = (1_004, 1_008, 980, 1_004)
    assert gauge.leap(3_000, wide, 2.0) == "a reach of 28 ticks, where 8 are rare"
    assert gauge.leap(3_000, wide, 2.0, slots=4) == ""
    for at in range(3_000, 5_000):
        gauge.add(at, (1_004, 1_044, 1_004, 1_004))
    assert gauge.leap(5_000, wide, 2.0) == ""
    assert gauge.newest == 4_999


def corrupted(rng, frame, at):
    """Return a delivery in place of, or beside, the bar at a row: something that must not count."""
    row = frame.iloc[[at]]
    how = rng.randrange(9)
    if how == 0:
        return row, True, None
    if how == 1:
        return row.assign(close=math.nan), False, None
    if how == 2:
        return row.assign(low=row["high"] + 1.0), False, None
    if how == 3:
        return row.assign(contract=rng.choice(["ESZ6", "", "MNQU6"])), False, None
    if how == 4:
        return row.set_axis(row.index + pd.Timedelta(seconds=rng.randrange(1, 299))), False, None
    if how == 5:
        return row.assign(high=row["high"] + 3_000.0), False, None
    if how == 6:
        return frame.iloc[[rng.randrange(0, at + 1)]].assign(volume=-3.0), False, None
    if how == 7:
        return row, False, start_of(row) + STEP - rng.randrange(3, 299) * SECOND
    return row.assign(open=row["open"] + 0.1), False, None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_f43_f44_no_stream_however_broken_makes_a_bar_count_twice_or_out_of_turn(seed):
    rng = random.Random(seed)
    frame, target = STREAM.iloc[:60], feed()
    deliveries = [at for at in range(len(frame)) for _ in range(rng.choice((0, 1, 1, 1, 2)))]
    for _ in range(rng.randrange(8)):  # out of order here and there
        at = rng.randrange(len(deliveries))
        deliveries.insert(rng.randrange(len(deliveries)), deliveries.pop(at))
    decided, odd = [], 0
    for at in deliveries:
        if rng.random() < 0.4:
            bad, forming, now = corrupted(rng, frame, at)
            judged = one(target, bad, forming=forming, now=now)
            assert judged.verdict is not Verdict.NEW
            odd += 1
        if rng.random() < 0.2:
            give(target, frame.iloc[[at]].assign(volume=float(rng.randrange(9))), forming=True)
        judged = one(target, frame.iloc[[at]])
        if judged.verdict is Verdict.NEW:
            decided.append((judged.time, judged.missing))
        else:
            assert judged.verdict in (Verdict.DUPLICATE, Verdict.LATE)
    times = [time for time, _ in decided]
    assert times == sorted(set(times))
    accepted = target.since(start_of(frame))
    assert accepted.index.asi8.tolist() == times
    pd.testing.assert_frame_equal(accepted, frame.loc[accepted.index], check_freq=False)
    # What was skipped and what was taken are together all the slots up to the newest.
    slots = (times[-1] - start_of(frame)) // STEP + 1
    assert sum(missing for _, missing in decided) + len(times) == slots
    pd.testing.assert_frame_equal(target.bars().iloc[: len(HISTORY)], HISTORY, check_freq=False)


SCRIPT = """
import json
import pandas as pd
from mnqcore.api.port import Delivered
from mnqcore.market.calendar import Calendar
from mnqcore.market.instruments import catalogue
from mnqcore.trading.feed import Feed

MNQ, SIZE = catalogue()["MNQ"], pd.Timedelta("5min")
feed, rows = Feed(MNQ, Calendar(MNQ), SIZE, history=None), []
index = pd.date_range("2026-10-31 20:00", "2026-11-02 12:00", freq="5min", tz="UTC", name="time").as_unit("ns")
for at, start in enumerate(index):
    price = 20_000.0 + at % 7 * 0.25
    row = {"open": price, "high": price + 1.0, "low": price - 1.0, "close": price, "volume": 1.0, "contract": "MNQZ6"}
    now = int(start.value) + 300_000_000_000 - at % 3 * 2_000_000_000
    for one in feed.judge(Delivered(bars=pd.DataFrame(row, index=index[[at]]), time=now), now):
        rows.append([one.verdict.value, one.time, one.missing, one.ticks, one.why])
print(json.dumps([rows, len(feed.bars())]))
"""


def test_f48_f66_host_zone_and_locale_change_no_verdict():
    def run(**environ):
        code = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(code, env={**os.environ, **environ}, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    tokyo, chicagos, utcs = (
        run(TZ="Asia/Tokyo", LANG="tr_TR.UTF-8", LC_ALL="tr_TR.UTF-8"),
        run(TZ="America/Chicago", LANG="C"),
        run(TZ="UTC"),
    )
    assert tokyo == chicagos == utcs
    rows, count = utcs
    assert {row[0] for row in rows} == {"new", "forming", "outside"}
    # Sunday 17:00 to Monday 06:00 of Chicago, after the clocks went back: 157 bars, every third of them too early
    assert count == sum(row[0] == "new" for row in rows) == 105


def test_judging_a_bar_costs_little():
    target, took = feed(), []
    for at in range(100):
        delivered = Delivered(bars=STREAM.iloc[[at]], time=0)
        now, began = start_of(STREAM.iloc[[at]]) + STEP, time.perf_counter()
        target.judge(delivered, now)
        took.append(time.perf_counter() - began)

    assert np.median(took) < 2e-3  # 0.2 ms on a machine that does nothing else


def test_a_trusted_feed_takes_what_a_backtest_takes():
    prices = {"open": 40_000.1, "high": 40_001.0, "low": 39_999.0, "close": 40_000.1}  # twice the price, off the grid
    assert one(feed(), changed(0, **prices)).verdict is Verdict.BAD
    taken = one(feed(trusted=True), changed(0, **prices))
    assert taken.verdict is Verdict.NEW
    assert taken.ticks == (160_000, 160_004, 159_996, 160_000)
    assert one(feed(trusted=True), changed(0, high=1.0)).verdict is Verdict.BAD  # no market makes that
