"""Fills on the real calendar, worked out by hand: closes, early closes, missing bars, rolls, times of day.

MNQ: a tick is 0.25 in price and $0.50. Every market fill is moved one tick against us, each side costs $0.62. Times are
of Chicago, bars of 5 minutes and named by their start, prices in points.
"""

from typing import Any

import attrs
import numpy as np
import pandas as pd

from mnqcore.api.values import Action, ExitReason
from mnqcore.market.instruments import catalogue
from mnqcore.simulator import Account, outcome, rulebook
from mnqcore.strategy.settings import Commission, Costs, Risk, Session
from mnqcore.tape import lay
from tests.tapes import bars, rolling

HOLD, BUY, SELL, CLOSE = Action
MNQ = catalogue()["MNQ"]
SIZE = pd.Timedelta("5min")


def traded(frame, actions, *, session=None):
    """Lay bars, trade MNQ at the given Chicago times (bar start -> action), and return the Outcome."""
    market = lay(frame, MNQ, session or Session(), SIZE)
    signals = np.zeros(len(market.tape), np.int8)
    for when, action in actions.items():
        signals[market.times.get_loc(pd.Timestamp(when, tz="America/Chicago").tz_convert("UTC"))] = action
    law = rulebook(MNQ, Costs(commission=Commission(per_contract=0.62)), Risk())
    account = Account(market.tape, market.orders, law, initial_balance=10_000.0)
    equity = account.run(signals, sizes=np.ones(len(signals), np.int64))
    return outcome(account, equity, market.times, market.contracts, MNQ)


def told(out):
    """Return of each trade its entry and exit as (Chicago time, price), reason and net dollars."""
    table: list[dict[Any, Any]] = out.trades.to_dict("records")
    return [
        (
            f"{row['entry_time'].tz_convert('America/Chicago'):%m-%d %H:%M}",
            row["entry_price"],
            f"{row['exit_time'].tz_convert('America/Chicago'):%m-%d %H:%M}",
            row["exit_price"],
            row["reason"],
            round(row["net"], 2),
        )
        for row in table
    ]


def test_flat_before_the_close_of_a_session():
    # The session ends at 16:00, two bars before which is 15:50: the position leaves at that bar's open.
    frame = bars(("2024-07-01 15:30", "2024-07-01 15:55"))
    out = traded(frame, {"2024-07-01 15:30": BUY, "2024-07-01 15:45": SELL, "2024-07-01 15:50": BUY})

    # in at 15:35: 20,001 + 0.25; out at 15:50: 20,004 - 0.25; 10 ticks = $5 - 1.24; the orders after are refused
    assert told(out) == [("07-01 15:35", 20_001.25, "07-01 15:50", 20_003.75, "session", 3.76)]
    assert out.denied["session"] == 2


def test_flat_before_an_early_close():
    # 2024-07-03 closed at 12:15; the calendar library says 12:00, and the earlier one holds: flat from 11:50 on.
    frame = bars(("2024-07-03 11:30", "2024-07-03 12:10"))
    actions = {"2024-07-03 11:30": SELL, "2024-07-03 11:45": SELL, "2024-07-03 12:05": BUY}
    out = traded(frame, actions)

    # in at 11:35: 20,001 - 0.25; out at 11:50: 20,004 + 0.25; -14 ticks = -$7 - 1.24
    assert told(out) == [("07-03 11:35", 20_000.75, "07-03 11:50", 20_004.25, "session", -8.24)]
    assert out.denied["session"] == 1
    assert out.counts["idle"] == 0  # SELL while short at 11:45 is overridden


def test_no_flat_before_the_close_where_the_session_says_so():
    frame = bars(("2024-07-01 15:50", "2024-07-01 15:55"), ("2024-07-01 17:00", "2024-07-01 17:10"))
    session = Session(flat_by_close=False)
    out = traded(frame, {"2024-07-01 15:50": BUY, "2024-07-01 17:00": CLOSE}, session=session)

    # in at 15:55: 20,001.25; out at 17:05, the fourth bar: 20,003 - 0.25; 6 ticks
    assert told(out) == [("07-01 15:55", 20_001.25, "07-01 17:05", 20_002.75, "signal", 1.76)]


def test_the_bars_before_the_close_are_missing():
    # No bar from 15:40 on: the next is of the session that opens at 17:00, where the position leaves at once.
    frame = bars(("2024-07-01 15:25", "2024-07-01 15:35"), ("2024-07-01 17:00", "2024-07-01 17:10"))
    out = traded(frame, {"2024-07-01 15:25": BUY})

    # in at 15:30: 20,001.25; out at 17:00: 20,003 - 0.25: 6 ticks = $3 - 1.24
    assert told(out) == [("07-01 15:30", 20_001.25, "07-01 17:00", 20_002.75, "session-missed", 1.76)]


def test_an_entry_expires_with_its_session():
    # No bar from 15:30 on: BUY at 15:25 meets no further bar of its session, and the one at 17:05 does.
    frame = bars(("2024-07-01 15:15", "2024-07-01 15:25"), ("2024-07-01 17:00", "2024-07-01 17:20"))
    out = traded(frame, {"2024-07-01 15:25": BUY, "2024-07-01 17:05": BUY, "2024-07-01 17:10": CLOSE})

    # in at 17:10, the sixth bar: 20,005.25; out at 17:15: 20,006 - 0.25; 2 ticks = $1 - 1.24
    assert told(out) == [("07-01 17:10", 20_005.25, "07-01 17:15", 20_005.75, "signal", -0.24)]
    assert out.denied["session"] == 1


EVENING = (("2024-07-01 15:45", "2024-07-01 15:55"), ("2024-07-01 17:00", "2024-07-01 17:10"))


def test_no_order_can_be_sent_when_the_session_closes():
    out = traded(bars(*EVENING), {"2024-07-01 15:55": BUY})

    assert told(out) == []
    assert out.denied["session"] == 1


def test_an_order_waits_for_the_next_session_where_positions_are_held_over_the_close():
    out = traded(bars(*EVENING), {"2024-07-01 15:55": BUY}, session=Session(flat_by_close=False))

    # in at 17:00, the fourth bar: 20,003.25; out at the close of 17:10: 20,005.50 - 0.25: 8 ticks
    assert told(out) == [("07-01 17:00", 20_003.25, "07-01 17:10", 20_005.25, "end-of-data", 2.76)]


def test_no_entry_after_a_time_of_day():
    # The bar 09:55 closes at 10:00, the last moment that an entry may be decided; evenings belong to the next day.
    frame = bars(("2024-07-01 09:45", "2024-07-01 10:10"), ("2024-07-01 17:00", "2024-07-01 17:15"))
    session = Session(no_entry_after="10:00", flat_by_close=False)
    out = traded(
        frame,
        {"2024-07-01 09:55": BUY, "2024-07-01 10:00": SELL, "2024-07-01 10:05": BUY, "2024-07-01 17:00": BUY},
        session=session,
    )

    # in at 10:00: 20,003.25; out at 10:05: 20,004 - 0.25: 2 ticks; refused: the SELL's entry and the BUY at 10:05
    # in at 17:05, the eighth bar: 20,007.25; out at the close of 17:15: 20,009.50 - 0.25: 8 ticks
    assert told(out) == [
        ("07-01 10:00", 20_003.25, "07-01 10:05", 20_003.75, "signal", -0.24),
        ("07-01 17:05", 20_007.25, "07-01 17:15", 20_009.25, "end-of-data", 2.76),
    ]
    assert out.denied["no-entry-after"] == 2


def test_flat_before_a_roll_even_where_sessions_are_held_through():
    old = bars(("2024-06-14 15:30", "2024-06-14 15:55"), ("2024-06-16 17:00", "2024-06-16 17:10"), contract="MNQM4")
    new = bars(
        ("2024-06-14 15:30", "2024-06-14 15:55"), ("2024-06-16 17:00", "2024-06-16 17:10"), contract="MNQU4", base=2e4
    )
    new[["open", "high", "low", "close"]] += 250.0
    out = traded(
        rolling(old, new),
        {"2024-06-14 15:30": BUY, "2024-06-14 15:50": BUY, "2024-06-16 17:00": BUY},
        session=Session(flat_by_close=False),
    )

    # in at 15:35: 20,001.25 of June; out at 15:50, two bars before the last close of June: 20,004 - 0.25: 10 ticks
    # in at 17:05 of September: 20,250 + 7 + 0.25; out at the close of 17:10: 20,250 + 8.5 - 0.25: 4 ticks
    assert told(out) == [
        ("06-14 15:35", 20_001.25, "06-14 15:50", 20_003.75, "roll", 3.76),
        ("06-16 17:05", 20_257.25, "06-16 17:10", 20_258.25, "end-of-data", 0.76),
    ]
    assert out.trades["contract"].tolist() == ["MNQM4", "MNQU4"]
    assert out.denied["roll"] == 1


def test_a_position_that_the_roll_overtakes_leaves_at_its_own_contracts_next_open():
    # The old contract has no bars from 15:40 to the roll, but one at 17:05, after it.
    old = bars(("2024-06-14 15:25", "2024-06-14 15:35"), ("2024-06-16 17:05", "2024-06-16 17:05"), contract="MNQM4")
    new = bars(("2024-06-14 15:25", "2024-06-14 15:35"), ("2024-06-16 17:00", "2024-06-16 17:10"), contract="MNQU4")
    new[["open", "high", "low", "close"]] += 250.0
    out = traded(rolling(old, new), {"2024-06-14 15:25": BUY})

    # in at 15:30: 20,001.25; out at June's 17:05 open 20,003 - 0.25, not at September's 20,253: 6 ticks
    assert told(out) == [("06-14 15:30", 20_001.25, "06-16 17:00", 20_002.75, "session-missed", 1.76)]


def test_a_position_whose_contract_ends_with_the_data_is_booked_at_its_last_close():
    old = bars(("2024-06-14 15:25", "2024-06-14 15:35"), contract="MNQM4")
    new = bars(("2024-06-14 15:25", "2024-06-14 15:35"), ("2024-06-16 17:00", "2024-06-16 17:10"), contract="MNQU4")
    new[["open", "high", "low", "close"]] += 250.0
    out = traded(rolling(old, new), {"2024-06-14 15:25": BUY})

    # in at 15:30: 20,001.25; out at the close of 15:35: 20,002.50 - 0.25: 4 ticks
    assert told(out) == [("06-14 15:30", 20_001.25, "06-14 15:35", 20_002.25, "end-of-data", 0.76)]


def marks(frame, session=None):
    """Return the tape's marks by bar start, Chicago time."""
    market = lay(frame, MNQ, session or Session(), SIZE)
    columns = {name: market.tape[name] for name in ("day", "flat", "missed", "rolled", "late")}
    columns |= {name: market.orders[name] for name in ("carry_open", "bars_to_flat")}
    return pd.DataFrame(columns, index=market.times.tz_convert("America/Chicago").strftime("%m-%d %H:%M"))


def test_what_the_clock_marks_around_a_close():
    frame = bars(("2024-07-01 15:40", "2024-07-01 15:55"), ("2024-07-01 17:00", "2024-07-01 17:05"))
    found = marks(frame)

    assert found["day"].tolist() == [0, 0, 0, 0, 1, 1]
    assert found["flat"].tolist() == [0, 0, 4, 4, 0, 0]
    assert found["missed"].tolist() == [0, 0, 0, 0, 1, 0]
    assert found["late"].tolist() == [0, 0, 0, 2, 0, 0]
    # flat from 15:50 on Tuesday: 22 h 50 min after Monday 17:00
    assert found["bars_to_flat"].tolist() == [2, 1, 0, 0, 274, 273]


def test_flat_lead_counts_bars_from_the_close():
    frame = bars(("2024-07-01 15:30", "2024-07-01 15:55"))
    for lead, flat in ((1, 1), (2, 2), (4, 4), (6, 6), (300, 6)):
        assert (marks(frame, Session(flat_lead=lead))["flat"] == ExitReason.SESSION).sum() == flat


def test_bars_that_do_not_exist_move_no_mark():
    whole = marks(bars(("2024-07-01 15:30", "2024-07-01 15:55"), ("2024-07-01 17:00", "2024-07-01 17:05")))
    fewer = marks(bars(("2024-07-01 15:30", "2024-07-01 15:50"), ("2024-07-01 17:05", "2024-07-01 17:05")))
    columns = ["flat", "late", "bars_to_flat", "day"]

    assert whole.loc[fewer.index, columns].equals(fewer[columns])
    assert fewer["missed"].tolist() == [0, 0, 0, 0, 0, 1]


def test_no_entry_after_a_time_counts_seconds():
    times = pd.date_range("2024-07-01 09:59", "2024-07-01 10:01", freq="30s", tz="America/Chicago").tz_convert("UTC")
    frame = bars(("2024-07-01 09:00", "2024-07-01 09:20")).set_axis(times.as_unit("ns").rename("time"))
    market = lay(frame, MNQ, Session(no_entry_after="10:00"), pd.Timedelta("30s"))

    # the second bar closes at 10:00:00, the third at 10:00:30
    assert market.tape["late"].tolist() == [0, 0, 1, 1, 1]


def test_no_entry_after_a_time_holds_to_the_last_bar_of_a_day_without_a_close():
    always = attrs.evolve(MNQ, calendar="24/7")
    frame = bars(("2024-07-01 16:45", "2024-07-01 17:05"))
    session = Session(no_entry_after="10:00", flat_by_close=False)
    market = lay(frame, always, session, SIZE)

    # the day begins at 17:00: the bar of 16:55 closes with the day before
    assert market.tape["day"].tolist() == [0, 0, 0, 1, 1]
    assert market.tape["late"].tolist() == [1, 1, 1, 0, 0]


ROLL_WEEK = (("2024-06-14 15:40", "2024-06-14 15:55"), ("2024-06-16 17:00", "2024-06-16 17:05"))


def test_what_the_clock_marks_around_a_roll():
    frame = rolling(bars(*ROLL_WEEK, contract="MNQM4"), bars(*ROLL_WEEK, contract="MNQU4", base=21_000.0))
    found = marks(frame, Session(flat_by_close=False))

    assert found["flat"].tolist() == [0, 0, 6, 6, 0, 0]
    assert found["rolled"].tolist() == found["missed"].tolist() == [0, 0, 0, 0, 1, 0]
    assert found["carry_open"].tolist() == [80_000, 80_004, 80_008, 80_012, 80_016, 84_020]
    # to 15:50; after the last roll there is nothing to be flat for
    assert found["bars_to_flat"].tolist()[:4] == [2, 1, 0, 0]
    assert found["bars_to_flat"].min() == 0
    assert found["bars_to_flat"].tolist()[4:] == [1 << 31, 1 << 31]


def test_before_a_roll_it_is_flat_to_the_last_bar_where_sources_disagree_on_the_close():
    # On 2024-07-03 flat_close is 12:00 and the last bar starts at 12:10; the new contract begins in the evening.
    old = bars(("2024-07-03 11:40", "2024-07-03 12:10"), contract="MNQU4")
    new = bars(("2024-07-03 17:00", "2024-07-03 17:05"), contract="MNQZ4")
    found = marks(rolling(old, new), Session(flat_by_close=False))

    assert found["flat"].tolist() == [0, 0, 6, 6, 6, 6, 6, 0, 0]


def test_a_roll_that_falls_outside_the_cash_session_is_met_in_the_next_one():
    # The roll is on Sunday 17:00; of the cash session the next bar is Monday 08:30.
    times = (("2024-06-14 14:45", "2024-06-14 14:55"), ("2024-06-16 17:00", "2024-06-16 17:05"),
             ("2024-06-17 08:30", "2024-06-17 08:35"))  # fmt: skip
    frame = rolling(bars(*times, contract="MNQM4"), bars(*times, contract="MNQU4", base=21_000.0))
    found = marks(frame, Session(rth=True))

    assert found.index.tolist() == ["06-14 14:45", "06-14 14:50", "06-14 14:55", "06-17 08:30", "06-17 08:35"]
    assert found["rolled"].tolist() == found["missed"].tolist() == [0, 0, 0, 1, 0]
    assert found["flat"].tolist() == [0, 6, 6, 0, 0]
    # June's open at 08:30 is 20,005: 80,020 ticks; September's at 08:35 is 21,006
    assert found["carry_open"].tolist() == [80_000, 80_004, 80_008, 80_020, 84_024]
