"""Feeds: what is known of further bars at each close, and that nothing else ever is."""

import textwrap
from random import Random

import attrs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mnqcore
from mnqcore import Calendar, FeedSpec, MarketView
from mnqcore.errors import DataError, PluginError, UsageError
from mnqcore.market.bars import bar_size
from mnqcore.market.instruments import catalogue
from mnqcore.plugins import load
from mnqcore.stages.options import Options
from mnqcore.stages.sessions import refuse_impossible
from mnqcore.strategy import load as load_strategy
from mnqcore.strategy.findings import InvalidFile
from mnqcore.strategy.settings import Session
from mnqcore.tape import build, lay
from mnqcore.tape.feeds import lasting, lay_feed, unfed, unseen
from mnqcore.tape.records import NO_FEED
from mnqcore.trading.journal import FILE, Journal
from tests.sessions import counts, proven
from tests.tapes import bars as made_bars

MNQ = catalogue()["MNQ"]
NYSE = attrs.evolve(catalogue()["ES"], name="SPY", calendar="NYSE")
TOKYO = attrs.evolve(catalogue()["ES"], name="TOPIX", calendar="XTKS", timezone="Asia/Tokyo", day_start="00:00")
FIVE, HOUR = bar_size("5 min"), bar_size("1 hour")
PERIODS = [("2024-03-07", "2024-03-13"), ("2024-11-27", "2024-12-03"), ("2024-10-31", "2024-11-05"),
           ("2024-12-23", "2024-12-27"), ("2024-05-01", "2024-05-08")]  # fmt: skip
"""Daylight saving time begins and ends, early closes, holidays of one market or of several."""

HOURS = """
format = 1
[strategy.a]
agent = { use = "flat" }
feeds.hourly = { bar_size = "1 hour" }
features.slow = { use = "returns", on = "hourly", horizons = [1, 3] }
"""
BUYER = """
    import numpy as np
    import pandas as pd
    from mnqcore import hookimpl, plugin

    @plugin
    class Buyer:
        '''Wants to be long at every odd bar, flat at every even one.'''
        warmup = 0

        def signals(self, view):
            return pd.Series(1 + 2 * (view.bars.index.minute // 5 % 2), index=view.bars.index).astype("int8")

    @hookimpl
    def register_agents(register):
        register("buyer", Buyer)
"""
JOINER = """
    import pandas as pd
    from mnqcore import hookimpl, plugin

    @plugin
    class Joiner:
        '''Lays the hourly close beside each bar.'''
        warmup = 0

        def compute(self, view):
            hours = view.feeds["hourly"][["close"]]
            return JOINED

    @hookimpl
    def register_feature_sets(register):
        register("joiner", Joiner)
"""
NAIVE = {
    "by the start of the bar": 'hours.reindex(view.bars.index, method="ffill")',
    "merged as of": "pd.merge_asof(view.bars[[]], hours, left_index=True, right_index=True).set_axis(view.bars.index)",
    "half an hour early": 'hours.shift(freq="30min").reindex(view.bars.index, method="ffill")',
}


def strategy_of(tmp_path, text, plugins=(), name=None):
    (tmp_path / "s.toml").write_text(text)
    return load_strategy(tmp_path / "s.toml", name, load(list(map(str, plugins)), environ={}))


def plugin_file(tmp_path, name, code):
    path = tmp_path / f"{name}.py"
    path.write_text(textwrap.dedent(code))
    return path


def tape_of(strategy, bars, read=()):
    market = lay(bars, strategy.instrument, strategy.session, bar_size(strategy.bar_size))
    return build(strategy, market, dict(read))


def flat_bars(times):
    """Bars that say by their close which one they are."""
    number = 100.0 + np.arange(len(times))
    columns = {"open": number, "high": number + 1, "low": number - 1, "close": number, "volume": 1.0}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(times, name="time"))


def spans(calendar, start, end):
    """Return (open, close) of every unbroken stretch of trading, from the sessions alone."""
    found = []
    for session in calendar.sessions(start, end).itertuples():
        if pd.isna(session.break_start):
            found.append((session.open, session.close))
        else:
            found += [(session.open, session.break_start), (session.break_end, session.close)]
    return found


def expected_bars(calendar, start, end, size):
    """Return (start, close) of every bar that should be, counted out one by one."""
    found = []
    for opened, closed in spans(calendar, start, end):
        while opened < closed:
            found.append((opened, min(opened + size, closed)))
            opened += size
    return found


def slow_join(main, main_calendar, main_size, feed, calendar, size, lead="20D"):
    """At each bar look at all bars of the feed that should have closed by its close; take the last, if it is there."""
    start, end = main.index[0] - pd.Timedelta(lead), main.index[-1] + pd.Timedelta("3D")
    closes = dict(expected_bars(main_calendar, start, end, main_size))
    due = expected_bars(calendar, start, end, size)
    found = []
    for time in main.index:
        last = [begun for begun, closed in due if closed <= closes[time]][-1]
        found.append(feed["close"].get(last, np.nan))
    return np.array(found)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(PERIODS),
    st.sampled_from([MNQ, NYSE, TOKYO]),
    st.sampled_from(["1 min", "5 min", "7 min", "15 min", "1 hour", "4 hours", "1 day"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_the_join_is_what_a_slow_look_at_all_closed_bars_finds(period, instrument, size, rth, feed_rth, seed):
    random = Random(seed)
    start, end = (pd.Timestamp(day, tz="UTC") for day in period)
    main_calendar, calendar, length = Calendar(MNQ, rth=rth), Calendar(instrument, rth=feed_rth), bar_size(size)
    every = main_calendar.bar_starts(start, end, FIVE)
    main = flat_bars(every[sorted(random.sample(range(len(every)), 40))])
    due = calendar.bar_starts(start - pd.Timedelta("6D"), end, length)
    share = random.choice([1.0, 0.9, 0.5])
    feed = flat_bars(due[[random.random() < share for _ in due]])
    factor = pd.Series(1.0, index=main.index)
    spec = FeedSpec(instrument=instrument, calendar=calendar, bar_size=length)
    view = MarketView(
        bars=main, factor=factor, instrument=MNQ, calendar=main_calendar, bar_size=FIVE,
        feeds={"other": feed}, feed_specs={"other": spec},
    )  # fmt: skip

    joined = view.join("other")

    assert joined.index.equals(main.index)
    np.testing.assert_array_equal(
        joined["close"].to_numpy(), slow_join(main, main_calendar, FIVE, feed, calendar, length)
    )
    np.testing.assert_array_equal(unfed(view, "other"), joined["close"].isna())


@pytest.mark.parametrize("cut", [30, 331, 700, 1101])
def test_bars_that_come_later_change_no_row(tmp_path, make_view, cut):
    strategy, bars = strategy_of(tmp_path, HOURS), make_view(days=5, missing=0.05).bars

    whole, part = tape_of(strategy, bars), tape_of(strategy, bars.iloc[:cut])

    pd.testing.assert_frame_equal(part.features, whole.features.iloc[: len(part.features)])
    np.testing.assert_array_equal(part.market.orders["stop"], whole.market.orders["stop"][: len(part.features)])
    assert whole.features["slow.ret_1"].notna().any()


def test_an_hour_is_known_from_its_last_bar_on_and_stands_until_the_next(tmp_path):
    bars = made_bars(("2024-06-04 17:00", "2024-06-04 20:55"))  # a session's first four hours
    tape = tape_of(strategy_of(tmp_path, HOURS), bars)

    hours = tape.market.feeds["hourly"].view.bars
    assert list(hours.index.tz_convert("America/Chicago").hour) == [17, 18, 19, 20]
    assert list(hours["close"]) == [bars["close"].iloc[at] for at in (11, 23, 35, 47)]
    assert list(hours["open"]) == [bars["open"].iloc[at] for at in (0, 12, 24, 36)]
    known = tape.market.view.join("hourly")["close"]
    assert known[:11].isna().all()
    assert (known[11:23] == hours["close"].iloc[0]).all()
    assert (known[23:35] == hours["close"].iloc[1]).all()
    change = np.log(hours["close"].iloc[1] / hours["close"].iloc[0])
    first = tape.features["slow.ret_1"].first_valid_index()
    assert first == bars.index[23]  # one hour of warm-up is one bar of the feed: twelve of ours
    assert tape.features["slow.ret_1"].iloc[23] == pytest.approx(change)
    assert tape.features["slow.ret_3"].first_valid_index() == bars.index[47]


def test_a_missing_hour_leaves_nothing_known_and_no_entry_until_the_next_has_closed(tmp_path):
    bars = made_bars(("2024-06-04 17:00", "2024-06-04 22:55"))
    holed = bars.drop(bars.index[24:36])  # all of 19:00
    tape = tape_of(strategy_of(tmp_path, HOURS), holed)

    known = tape.market.view.join("hourly")["close"]
    times = known.index.tz_convert("America/Chicago").strftime("%H:%M")
    assert list(times[known.isna()]) == [f"17:{m:02}" for m in range(0, 55, 5)] + [
        f"20:{m:02}" for m in range(0, 55, 5)
    ]
    assert list(np.flatnonzero(tape.market.orders["stop"] == NO_FEED)) == list(np.flatnonzero(known.isna()))
    assert (tape.market.orders["stop"][known.notna()] == 200).all()


def test_an_hour_of_which_some_bars_are_missing_is_made_of_the_others(tmp_path):
    bars = made_bars(("2024-06-04 17:00", "2024-06-04 19:55"))
    tape = tape_of(strategy_of(tmp_path, HOURS), bars.drop(bars.index[[12, 23]]))

    hour = tape.market.feeds["hourly"].view.bars.iloc[1]
    assert (hour["open"], hour["close"]) == (bars["open"].iloc[13], bars["close"].iloc[22])
    known = tape.market.view.join("hourly")["close"]
    assert known[bars.index[22]] == bars["close"].iloc[11]  # it closes at 18:55, before the hour does
    assert known[bars.index[24]] == hour["close"]


def test_bars_that_begin_within_an_hour_leave_that_one_out(tmp_path):
    bars = made_bars(("2024-06-04 17:20", "2024-06-04 19:55"))

    assert tape_of(strategy_of(tmp_path, HOURS), bars).market.feeds["hourly"].view.bars.index[0] == bars.index[8]


def test_an_early_close_makes_the_last_hour_shorter_and_known_sooner(tmp_path):
    bars = made_bars(("2024-11-29 10:00", "2024-11-29 12:10"), ("2024-12-01 17:00", "2024-12-01 18:55"))
    tape = tape_of(strategy_of(tmp_path, HOURS), bars)

    hours = tape.market.feeds["hourly"].view.bars
    local = hours.index.tz_convert("America/Chicago").strftime("%d %H:%M")
    assert list(local) == ["29 10:00", "29 11:00", "29 12:00", "01 17:00", "01 18:00"]
    known = tape.market.view.join("hourly")["close"]
    assert known.iloc[26] == hours["close"].iloc[2]  # 12:10 to 12:15 is the last of a quarter of an hour
    assert (known.iloc[27:38] == hours["close"].iloc[2]).all()  # the weekend is no hole
    assert not tape.market.unfed[26:].any()


@pytest.mark.parametrize(("first", "hour"), [("2024-03-08 17:00", 23), ("2024-03-11 17:00", 22)])
def test_hours_begin_with_the_session_in_summer_and_in_winter(tmp_path, first, hour):
    if first.startswith("2024-03-08"):
        first = "2024-03-07 17:00"
    bars = made_bars((first, first.replace("17:00", "20:55")))

    hours = tape_of(strategy_of(tmp_path, HOURS), bars).market.feeds["hourly"].view.bars
    assert list(hours.index.hour[:2]) == [hour, (hour + 1) % 24]


def test_another_markets_holiday_leaves_its_last_bar_standing(tmp_path):
    times = Calendar(NYSE).bar_starts(pd.Timestamp("2024-02-16", tz="UTC"), pd.Timestamp("2024-02-21", tz="UTC"), HOUR)
    spy = lay_feed(flat_bars(times), NYSE, HOUR, rth=False)
    main = made_bars(("2024-02-19 08:30", "2024-02-19 11:55"), ("2024-02-20 08:30", "2024-02-20 10:55"))
    view = attrs.evolve(
        lay(main, MNQ, Session(), FIVE).view, feeds={"spy": spy.view.bars}, feed_specs={"spy": spy.spec}
    )

    known = view.join("spy")["close"]
    friday = spy.view.bars["close"][spy.view.bars.index < "2024-02-17"].iloc[-1]
    assert (known[:"2024-02-19 23:00"] == friday).all()  # Presidents' Day: New York rests, Chicago does not
    assert known["2024-02-20 15:25":].iloc[0] == spy.view.bars["close"]["2024-02-20 14:30"]
    assert not unfed(view, "spy").any()


def test_bars_that_no_calendar_expects_are_left_out_and_counted():
    times = pd.date_range("2024-06-04 14:00", periods=6, freq="30min", tz="UTC")
    feed = lay_feed(flat_bars(times), MNQ, HOUR, rth=False)

    assert (len(feed.view.bars), feed.outside) == (3, 3)
    with pytest.raises(DataError, match="no bar of a feed begins where its calendar expects one"):
        lay_feed(flat_bars(times[1::2]), MNQ, HOUR, rth=False)


def test_a_window_is_whole_where_none_of_its_rows_lacks_anything():
    features = np.zeros((8, 2), np.float32)
    features[4, 1] = np.nan

    assert list(unseen(features, 3)) == [True, True, False, False, True, True, True, False]
    assert list(lasting(np.array([False, True, False, False]), 1)) == [False, True, True, False]
    assert list(lasting(np.array([True, False]), 0)) == [True, False]


@pytest.mark.parametrize("how", NAIVE)
def test_a_naive_join_is_caught_by_the_look_ahead_check(tmp_path, how):
    with pytest.raises(PluginError, match="features 'joiner' looks into the future"):
        run_joined(tmp_path, NAIVE[how])


def test_the_join_of_the_core_is_not_accused(tmp_path):
    result = run_joined(tmp_path, 'view.join("hourly", hours)')

    assert result.features["x.close"].notna().mean() > 0.9


def test_a_set_that_looks_ahead_on_a_feed_is_caught_on_the_feeds_own_bars(tmp_path):
    peeking = JOINER.replace("JOINED", 'view.bars[["close"]].shift(-1)').replace('view.feeds["hourly"]', "view.bars")
    with pytest.raises(PluginError, match="features 'joiner' looks into the future"):
        run_joined(tmp_path, "", code=peeking, on='on = "hourly"')


def run_joined(tmp_path, joined, code=JOINER, on=""):
    file = plugin_file(tmp_path, "joiner", code.replace("JOINED", joined))
    key = f", {on}" if on else ""
    text = HOURS.replace('use = "flat"', 'use = "sma-cross"') + f'features.x = {{ use = "joiner"{key} }}\n'
    text += 'data = { use = "synthetic", market = "no-edge", days = 20 }\n'
    (tmp_path / "s.toml").write_text(text)
    plugins = load([str(file)], environ={})
    return mnqcore.run(tmp_path / "s.toml", plugins=plugins, runs_dir=tmp_path / "runs")


FED = """
format = 1
[strategy.a]
agent = { use = "buyer" }
data = { use = "synthetic", market = "no-edge", days = 20 }
risk = { max_position = 1 }
feeds.es = { instrument = "ES", bar_size = "15 min", data = { use = "synthetic", days = 19, seed = 4, holes = 60.0 } }
"""


def test_no_trade_is_entered_where_a_feed_is_missing_and_the_run_says_so(tmp_path):
    from mnqcore.stages.prepare import prepare

    plugins = load([str(plugin_file(tmp_path, "buyer", BUYER))], environ={})
    (tmp_path / "s.toml").write_text(FED)
    result = mnqcore.run(tmp_path / "s.toml", plugins=plugins, runs_dir=tmp_path / "runs")

    prepared = prepare(load_strategy(tmp_path / "s.toml", None, plugins), look=False)
    market, facts = prepared.market, prepared.facts["feeds"]["es"]
    assert market.unfed is not None
    assert facts["missing"] == int(market.unfed.sum()) > 250  # its last day at the least
    assert facts["missing"] > facts["before"] > 0
    assert result.metrics["denied"]["feed"] > 50
    decided = market.times.get_indexer(pd.DatetimeIndex(result.trades["entry_time"])) - 1
    assert len(decided) > 100
    assert not market.unfed[decided].any()
    assert result.run.manifest["data"]["feeds"]["es"]["missing"] == facts["missing"]


def test_the_bars_of_a_feed_are_part_of_what_is_compared(tmp_path):
    from mnqcore.stages.prepare import prepare

    plugins = [plugin_file(tmp_path, "buyer", BUYER)]
    sums = [
        prepare(strategy_of(tmp_path, FED.replace("seed = 4", f"seed = {seed}"), plugins), look=False).facts
        for seed in (4, 5)
    ]
    assert sums[0]["data_sha256"] != sums[1]["data_sha256"]
    alone = prepare(strategy_of(tmp_path, HOURS), look=False).facts
    plain = prepare(strategy_of(tmp_path, HOURS.split("feeds")[0]), look=False).facts
    assert alone["data_sha256"] == plain["data_sha256"]  # what is made of the bars adds nothing to them


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('feeds.hourly = { bar_size = "1 hour" }', None),
        ('feeds.hourly = { bar_size = "7 min" }', "bars of 7 min cannot be made of bars of 5 min"),
        ('feeds.hourly = { bar_size = "5 mins" }', "bars of 5 mins cannot be made of bars of 5 min"),
        ('feeds.hourly = { bar_size = "one" }', "bar_size must be a bar size such as"),
        ('feeds.hourly = { bar_size = "1 hour", instrument = "ES" }', "feeds.hourly is of another instrument"),
        ('feeds.hourly = { instrument = "ESS", data = { use = "synthetic" } }', "no instrument named 'ESS'"),
        ('feeds.hourly = { data = { use = "synthetik" } }', "no data named 'synthetik' is installed"),
        ('feeds.hourly = { data = { use = "synthetic", dais = 3 } }', "unknown parameter 'dais'"),
        ('feeds.hourly = "1 hour"', "feeds.hourly must be a table"),
        ('feeds.hourly = { bar_size = "1 hour", size = 3 }', "unknown key 'size' for feeds.hourly"),
        ("feeds.hourly = {}", "feeds.hourly needs bar_size, or data"),
        ('feeds.hourly = { use = "none" }', "there is no feed named 'hourly'"),
        ('feeds.hourli = { bar_size = "1 hour" }', "there is no feed named 'hourly'"),
    ],
)
def test_what_is_wrong_with_a_feed_is_said_at_its_place(tmp_path, change, message):
    text = HOURS.replace('feeds.hourly = { bar_size = "1 hour" }', change)
    if message is None:
        assert strategy_of(tmp_path, text).features["slow"].on == "hourly"
        return
    with pytest.raises(InvalidFile) as error:
        strategy_of(tmp_path, text)
    assert message in str(error.value)
    assert "s.toml:5:" in str(error.value) or "s.toml:6:" in str(error.value)


def test_on_belongs_to_feature_sets_alone(tmp_path):
    with pytest.raises(InvalidFile, match="unknown parameter 'on' for agent 'flat'"):
        strategy_of(tmp_path, HOURS.replace('use = "flat"', 'use = "flat", on = "hourly"'))
    with pytest.raises(InvalidFile, match="on must be a string"):
        strategy_of(tmp_path, HOURS.replace('on = "hourly"', "on = 3"))


def test_feeds_are_inherited_dropped_and_written_out_again(tmp_path):
    text = HOURS + textwrap.dedent("""
        [strategy.b]
        extends = "a"
        feeds.hourly = { bar_size = "30 min" }
        feeds.es = { instrument = "ES", data = { use = "synthetic", days = 20 } }

        [strategy.c]
        extends = "b"
        feeds.es = { use = "none" }

        [strategy.d]
        extends = "c"
        features.slow = { on = "hourly", horizons = [1] }
    """)
    made = {name: strategy_of(tmp_path, text, name=name) for name in "abcd"}

    assert {name: sorted(one.feeds) for name, one in made.items()} == {
        "a": ["hourly"], "b": ["es", "hourly"], "c": ["hourly"], "d": ["hourly"],
    }  # fmt: skip
    assert made["c"].feeds["hourly"].bar_size == "30 min"
    assert made["b"].feeds["es"].instrument.name == "ES"
    assert made["b"].feeds["es"].bar_size == "5 min"
    assert len({one.digest() for one in made.values()}) == 4
    for name, one in made.items():
        again = strategy_of(tmp_path, one.to_toml())
        assert (again.digest(), again.feeds, again.features) == (one.digest(), one.feeds, one.features), name


COLUMNS = ["entry_time", "exit_time", "side", "entry_price", "exit_price", "net"]
OTHER = 'feeds.es = { instrument = "ES", data = { use = "synthetic", market = "trend", days = 6, holes = 100.0 } }\n'


@pytest.mark.parametrize(("mode", "days"), [("replay", 6), ("paper", 2)])
@pytest.mark.parametrize("more", ["", pytest.param(OTHER, marks=pytest.mark.proof)], ids=["made", "own"])
def test_a_session_with_feeds_is_its_backtest(tmp_path, mode, days, more):
    text = HOURS.replace('use = "flat"', 'use = "sma-cross", fast = 5, slow = 15')
    text += 'data = { use = "synthetic", market = "no-edge", days = 6, holes = 100.0 }\n' + more
    text += "trade.limits = { orders_per_day = 5000, orders_per_minute = 120 }\n"
    text = text.replace("days = 6", f"days = {days}")
    (tmp_path / "s.toml").write_text(text)

    def run(stages, **options):
        return mnqcore.run(tmp_path / "s.toml", stages=stages, runs_dir=tmp_path / "runs", options=Options(**options))

    tested, traded = run("backtest"), run("trade", mode=mode)

    if mode == "replay":
        assert traded.metrics["denied"]["feed"] == tested.metrics["denied"]["feed"] > 0
        pd.testing.assert_frame_equal(traded.trades[COLUMNS], tested.trades[COLUMNS], check_dtype=False)
    assert set(counts(proven(traded.run)).values()) == {0}
    assert len(traded.trades) > 10
    with Journal.read(traded.run.path / FILE) as journal:
        known = [event.data["features"][-1] for event in journal.events(("decision",))]
    assert sum(value is not None for value in known) > 0.5 * len(known)


def test_the_history_of_a_session_warms_up_what_is_on_a_feed(tmp_path):
    text = HOURS.replace('use = "flat"', 'use = "sma-cross", fast = 5, slow = 15')
    text += 'data = { use = "synthetic", market = "no-edge", days = 4, missing = 0.0 }\n'
    text += 'trade.broker = { use = "simulated", start = "2024-01-05T10:00" }\n'
    (tmp_path / "s.toml").write_text(text)

    traded = mnqcore.run(
        tmp_path / "s.toml", stages="trade", runs_dir=tmp_path / "runs", options=Options(mode="paper")
    ).run  # fmt: skip

    with Journal.read(traded.path / FILE) as journal:
        known = [event.data["features"] for event in journal.events(("decision",))]
        (anchor,) = {event.data["bar"] for event in journal.events(("anchor",))}
        first = next(event.data["time"] for event in journal.events(("bar",)))
    assert len(known) > 50
    assert all(value is not None for values in known for value in values)
    assert (first - anchor) / HOUR.value <= 8  # and no more than it takes


def test_a_live_session_does_not_read_feeds_with_data_of_their_own(tmp_path):
    text = HOURS.replace('use = "flat"', 'use = "sma-cross", fast = 5, slow = 15') + OTHER
    strategy = strategy_of(tmp_path, text + 'data = { use = "synthetic" }\n')
    live = type("Live", (), {})
    broker = attrs.evolve(strategy.trade.broker, cls=live)
    strategy = attrs.evolve(strategy, trade=attrs.evolve(strategy.trade, broker=broker))

    with pytest.raises(UsageError, match="does not read feeds with data of their own"):
        refuse_impossible(strategy, Options(mode="paper"))
    refuse_impossible(attrs.evolve(strategy, feeds={}), Options(mode="paper"))
