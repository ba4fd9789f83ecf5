"""A table of fills worked out by hand, to the tick and to the cent.

MNQ: a tick is 0.25 in price and $0.50. Every market fill is moved one tick against us, each side costs $0.62 a
contract. Prices are in ticks, bars are (open, high, low, close); the decision of bar t fills in bar t + 1.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from mnqcore.api.values import Action, ExitReason
from mnqcore.market.instruments import catalogue
from mnqcore.simulator import Account, outcome
from mnqcore.tape.records import NO_PRICE
from tests import tapes

HOLD, BUY, SELL, CLOSE = Action
QUIET = (1000, 1000, 1000, 1000)


class Trade(NamedTuple):
    """What is worked out of a round trip; prices in ticks, money in dollars."""

    side: int
    contracts: int
    entry_bar: int
    entry_price: int
    exit_bar: int
    exit_price: int
    reason: str
    net: float
    mae: float
    mfe: float


class Case(NamedTuple):
    """A row of the table: bars, one action a bar, what differs from the usual rules, and what must come out."""

    name: str
    bars: list[tuple[int, int, int, int]]
    actions: list[Action]
    trades: list[Trade]
    rules: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    denied: dict[str, int] = {}
    balance: float = 10_000.0
    sizes: int | list[int] = 1
    counts: dict[str, int] = {}


def rows(out):
    return out.trades.to_dict("records")


def long(*rest):
    return Trade(1, 1, *rest)


def short(*rest):
    return Trade(-1, 1, *rest)


UP = [QUIET, (1002, 1010, 990, 1005), (1006, 1012, 1001, 1008), (1009, 1009, 1009, 1009)]
FIRST = (1000, 1003, 997, 1000)  # an entry into this bar: a long at 1001, a short at 999

TABLE = [
    Case(
        "long, closed by signal",
        UP,
        [BUY, HOLD, CLOSE, HOLD],
        # in at 1002 + 1, out at 1009 - 1: 5 ticks = $2.50, less 2 x $0.62
        # MAE 1003 - 990 = 13 ticks, MFE 1012 - 1003 = 9 ticks
        [long(1, 1003, 3, 1008, "signal", 1.26, 6.50, 4.50)],
    ),
    Case(
        "short, closed by signal",
        UP,
        [SELL, HOLD, CLOSE, HOLD],
        # in at 1002 - 1, out at 1009 + 1: -9 ticks = -$4.50, less $1.24; MAE 1012 - 1001 = 11, MFE 1001 - 990 = 11
        [short(1, 1001, 3, 1010, "signal", -5.74, 5.50, 5.50)],
    ),
    Case(
        "BUY while long, CLOSE while flat do nothing",
        [QUIET, *UP],
        [CLOSE, BUY, BUY, CLOSE, HOLD],
        [long(2, 1003, 4, 1008, "signal", 1.26, 6.50, 4.50)],
        counts={"idle": 2},
    ),
    Case(
        "stop: 1000 - 20 = 980, and a tick",
        [QUIET, FIRST, (995, 1020, 978, 990), QUIET],
        [BUY, HOLD, HOLD, HOLD],
        # 979 - 1001 = -22 ticks = -$11; MAE is the fill's, not the low's; MFE 1003 - 1001, not the stopped bar's 1020
        [long(1, 1001, 2, 979, "stop", -12.24, 11.00, 1.00)],
        columns={"stop": 20},
    ),
    Case(
        "stop of a short: 1000 + 20 = 1020, and a tick",
        [QUIET, FIRST, (1005, 1022, 980, 1010), QUIET],
        [SELL, HOLD, HOLD, HOLD],
        # 999 - 1021 = -22 ticks; MFE 999 - 997
        [short(1, 999, 2, 1021, "stop", -12.24, 11.00, 1.00)],
        columns={"stop": 20},
    ),
    Case(
        "the stop's own price reaches it",
        [QUIET, FIRST, (990, 990, 980, 985), QUIET],
        [BUY, HOLD, HOLD, HOLD],
        [long(1, 1001, 2, 979, "stop", -12.24, 11.00, 1.00)],
        columns={"stop": 20},
    ),
    Case(
        "a tick above the stop does not; the data ends",
        [QUIET, FIRST, (990, 990, 981, 985)],
        [BUY, HOLD, HOLD],
        # booked at the close 985 - 1: -17 ticks = -$8.50; MAE 1001 - 981 = 20
        [long(1, 1001, 2, 984, "end-of-data", -9.74, 10.00, 1.00)],
        columns={"stop": 20},
    ),
    Case(
        "gap through the stop: at the open 970, and a tick",
        [QUIET, FIRST, (970, 975, 960, 965), QUIET],
        [BUY, HOLD, HOLD, HOLD],
        # 969 - 1001 = -32 ticks = -$16
        [long(1, 1001, 2, 969, "stop", -17.24, 16.00, 1.00)],
        columns={"stop": 20},
        counts={"gap_stops": 1, "worst_gap": 10},
    ),
    Case(
        "gap through the stop of a short",
        [QUIET, FIRST, (1030, 1040, 1025, 1030), QUIET],
        [SELL, HOLD, HOLD, HOLD],
        # 999 - 1031 = -32 ticks
        [short(1, 999, 2, 1031, "stop", -17.24, 16.00, 1.00)],
        columns={"stop": 20},
        counts={"gap_stops": 1, "worst_gap": 10},
    ),
    Case(
        "stop on the entry bar",
        [QUIET, (1000, 1030, 975, 1010), QUIET],
        [BUY, HOLD, HOLD],
        # in at 1001, out at 980 - 1: -22 ticks; the high of 1030 does not count
        [long(1, 1001, 1, 979, "stop", -12.24, 11.00, 0.00)],
        columns={"stop": 20},
    ),
    Case(
        "entry beyond the stop: in at 975 + 1, out at the same open less a tick",
        [QUIET, (975, 990, 970, 985), QUIET],
        [BUY, HOLD, HOLD],
        # 974 - 976 = -2 ticks = -$1
        [long(1, 976, 1, 974, "stop", -2.24, 1.00, 0.00)],
        columns={"stop": 20},
        counts={"gap_stops": 1, "worst_gap": 5},
    ),
    Case(
        "stop and target in one bar: the stop",
        [QUIET, FIRST, (1000, 1020, 975, 1010), QUIET],
        [BUY, HOLD, HOLD, HOLD],
        [long(1, 1001, 2, 979, "stop", -12.24, 11.00, 1.00)],
        columns={"stop": 20, "target": 15},
    ),
    Case(
        "target: 1000 + 15, no slippage on a limit order",
        [QUIET, FIRST, (1000, 1020, 985, 1010), QUIET],
        [BUY, HOLD, HOLD, HOLD],
        # 1015 - 1001 = 14 ticks = $7; MAE 1001 - 985 = 16; MFE is the fill's, not the high's
        [long(1, 1001, 2, 1015, "target", 5.76, 8.00, 7.00)],
        columns={"stop": 20, "target": 15},
    ),
    Case(
        "target of a short on its entry bar: 1000 - 15",
        [QUIET, (1000, 1004, 985, 990), QUIET],
        [SELL, HOLD, HOLD],
        # 999 - 985 = 14 ticks; MAE 1004 - 999 = 5
        [short(1, 999, 1, 985, "target", 5.76, 2.50, 7.00)],
        columns={"stop": 20, "target": 15},
    ),
    Case(
        "gap through the target: at the better open",
        [QUIET, FIRST, (1025, 1030, 1020, 1022), QUIET],
        [BUY, HOLD, HOLD, HOLD],
        # 1025 - 1001 = 24 ticks = $12; MAE 1001 - 997 from the entry bar
        [long(1, 1001, 2, 1025, "target", 10.76, 2.00, 12.00)],
        columns={"stop": 20, "target": 15},
    ),
    Case(
        "gap through the target of a short",
        [QUIET, FIRST, (975, 980, 970, 975), QUIET],
        [SELL, HOLD, HOLD, HOLD],
        # 999 - 975 = 24 ticks; MAE 1003 - 999
        [short(1, 999, 2, 975, "target", 10.76, 2.00, 12.00)],
        columns={"stop": 20, "target": 15},
    ),
    Case(
        "reversal: two legs, booked apart",
        [QUIET, FIRST, (1010, 1012, 1006, 1008), (1004, 1004, 1004, 1004)],
        [BUY, SELL, CLOSE, HOLD],
        # long 1001 -> 1010 - 1: 8 ticks; short 1009 -> 1004 + 1: 4 ticks
        # long: MAE 1001 - 997, MFE the fill; short: MAE 1012 - 1009, MFE the fill (low 1006 is 3)
        [long(1, 1001, 2, 1009, "signal", 2.76, 2.00, 4.00), short(2, 1009, 3, 1005, "signal", 0.76, 1.50, 2.00)],
    ),
    Case(
        "reversal with size 0: the closing leg happens",
        [QUIET, FIRST, (1010, 1012, 1006, 1008), QUIET],
        [BUY, SELL, HOLD, HOLD],
        [long(1, 1001, 2, 1009, "signal", 2.76, 2.00, 4.00)],
        sizes=[1, 0, 1, 1],
        denied={"sized-to-0": 1},
    ),
    Case(
        "reversal, then a stop on the entry bar: stop 1000 + 12",
        [QUIET, FIRST, (1010, 1013, 1006, 1008), QUIET],
        [BUY, SELL, HOLD, HOLD],
        # short 1009 -> 1012 + 1: -4 ticks = -$2
        [long(1, 1001, 2, 1009, "signal", 2.76, 2.00, 4.00), short(2, 1009, 2, 1013, "stop", -3.24, 2.00, 0.00)],
        columns={"stop": [0, 12, 0, 0]},
    ),
    Case(
        "roll missed: out at the old contract's next open 1003, not at the new one's 1500",
        [QUIET, FIRST, (1500, 1510, 1490, 1505), (1506, 1506, 1506, 1506)],
        [BUY, HOLD, HOLD, HOLD],
        # 1003 - 1 - 1001 = 1 tick = $0.50
        [long(1, 1001, 2, 1002, "session-missed", -0.74, 2.00, 1.00)],
        columns={"missed": [0, 0, 1, 0], "rolled": [0, 0, 1, 0], "carry_open": [1000, 1000, 1003, 1506]},
    ),
    Case(
        "roll missed and no more bars of the old contract: at its last close",
        [QUIET, (1000, 1003, 997, 1002), (1500, 1510, 1490, 1505), (1506, 1506, 1506, 1506)],
        [BUY, SELL, HOLD, HOLD],
        # 1002 - 1 - 1001 = 0 ticks; the reversal's entry is refused
        [long(1, 1001, 1, 1001, "end-of-data", -1.24, 2.00, 1.00)],
        columns={"missed": [0, 0, 1, 0], "rolled": [0, 0, 1, 0], "carry_open": [1000, 1000, NO_PRICE, 1506]},
        denied={"roll": 1},
    ),
    Case(
        "daily loss: out at the next open, refused for the day, free on the next",
        # -$10.00: the close 982 makes (982 - 1001) x $0.50 - $0.62 = -$10.12
        [QUIET, FIRST, (990, 990, 982, 982), (985, 986, 984, 985), QUIET, FIRST, (1005, 1005, 1005, 1005)],
        [BUY, HOLD, BUY, BUY, BUY, CLOSE, HOLD],
        # 985 - 1 - 1001 = -17 ticks = -$8.50; BUY at the close of bars 2 (while long) and 3 (refused); bar 4 is a new
        # day: in at 1001, out at 1005 - 1
        [long(1, 1001, 3, 984, "daily-loss", -9.74, 9.50, 1.00), long(5, 1001, 6, 1004, "signal", 0.26, 2.00, 1.50)],
        rules={"max_daily_loss": 10_000_000},
        columns={"day": [0, 0, 0, 0, 1, 1, 1]},
        denied={"daily-loss": 1},
        counts={"latched_days": 1},
    ),
    Case(
        "daily loss counts from the last close before the day, and its limit is a breach",
        # day 0 ends with the close 993; then 984 has lost 9 ticks = $4.50, and 983 has lost $5.00
        [QUIET, (1000, 1003, 990, 993), (993, 993, 984, 984), (984, 984, 983, 983), (983, 983, 983, 983)],
        [BUY, HOLD, HOLD, HOLD, HOLD],
        # 983 - 1 - 1001 = -19 ticks = -$9.50
        [long(1, 1001, 4, 982, "daily-loss", -10.74, 9.50, 1.00)],
        rules={"max_daily_loss": 5_000_000},
        columns={"day": [0, 0, 1, 1, 1]},
        counts={"latched_days": 1},
    ),
    Case(
        "margin: 5 wanted, $10,000 / $3,400 carry 2",
        UP,
        [BUY, HOLD, CLOSE, HOLD],
        # 2 x (5 ticks x $0.50 - $1.24)
        [Trade(1, 2, 1, 1003, 3, 1008, "signal", 2.52, 13.00, 9.00)],
        rules={"max_position": 10},
        sizes=5,
        counts={"cut": 1, "margin_peak": 6_800},
    ),
    Case(
        "margin: the closing leg's commission comes off before a reversal is sized",
        # equity at the close 1000 of bar 1: 3401.42 - 1 x 0.50 - 0.62 = 3400.30, enough for one contract; less 0.62
        # for the closing leg it is 3399.68, which carries none
        [QUIET, FIRST, QUIET, QUIET],
        [BUY, SELL, HOLD, HOLD],
        # long 1001 -> 999
        [long(1, 1001, 2, 999, "signal", -2.24, 2.00, 1.00)],
        balance=3_401.42,
        denied={"margin": 1},
    ),
    Case(
        "max loss: out at the next open, and the run ends there",
        # peak $10,000.88 at the close 1004 of bar 1 (3 ticks less $0.62); 984 makes 9,990.88 = $10 below it
        [QUIET, (1000, 1005, 997, 1004), (1000, 1000, 984, 984), (990, 999, 985, 999), (999, 1050, 999, 1050), QUIET],
        [BUY, HOLD, SELL, BUY, BUY, BUY],
        # 990 - 1 - 1001 = -12 ticks = -$6; the SELL at the close of bar 2 is refused; later actions are never asked
        [long(1, 1001, 3, 989, "max-loss", -7.24, 8.50, 2.00)],
        rules={"max_loss": 10_000_000},
        denied={"max-loss": 1},
    ),
    Case(
        "max loss counts from a peak that was reached while the position was held",
        # peak at the close 1030 of bar 2; 1010 is 20 ticks = $10 below it, though still above the entry
        [QUIET, FIRST, (1005, 1030, 1005, 1030), (1020, 1020, 1010, 1010), (1012, 1060, 1012, 1060), QUIET],
        [BUY, HOLD, HOLD, HOLD, HOLD, HOLD],
        # 1012 - 1 - 1001 = 10 ticks = $5
        [long(1, 1001, 4, 1011, "max-loss", 3.76, 2.00, 14.50)],
        rules={"max_loss": 10_000_000},
    ),
    Case(
        "a loss of all there is ends the run without a limit too",
        [QUIET, (1000, 1000, 990, 990), (980, 980, 970, 970), (975, 975, 975, 975), QUIET, QUIET],
        [BUY, HOLD, HOLD, HOLD, BUY, HOLD],
        # $15.00 - $0.62 - 31 ticks x 0.50 = -$1.12 at the close 970; out at 974: -27 ticks = -$13.50
        [long(1, 1001, 3, 974, "max-loss", -14.74, 15.50, 0.00)],
        rules={"margin": 1},
        balance=15.00,
    ),
    Case(
        "cooldown of 2 after the stop in bar 1: closes 1 and 2 refuse, 3 does not",
        [QUIET, (1000, 1000, 975, 1000), QUIET, QUIET, FIRST, QUIET],
        [BUY, BUY, BUY, BUY, HOLD, HOLD],
        # the second trade ends at the last close: 1000 - 1 - 1001 = -2 ticks
        [long(1, 1001, 1, 979, "stop", -12.24, 11.00, 0.00), long(4, 1001, 5, 999, "end-of-data", -2.24, 2.00, 1.00)],
        rules={"cooldown_bars": 2},
        columns={"stop": 20},
        denied={"cooldown": 2},
    ),
    Case(
        "one trade a day, by the day of the decision",
        # bar 2 is of day 1, but the entry that fills in it was decided on day 0
        [QUIET, FIRST, FIRST, FIRST, FIRST, QUIET],
        [HOLD, BUY, CLOSE, BUY, SELL, HOLD],
        # 1001 -> 999, twice; the SELL at the close of bar 4 closes, but its entry is the day's second
        [long(2, 1001, 3, 999, "signal", -2.24, 2.00, 1.00), long(4, 1001, 5, 999, "signal", -2.24, 2.00, 1.00)],
        rules={"max_trades_per_day": 1},
        columns={"day": [0, 0, 1, 1, 1, 1]},
        denied={"max-trades": 1},
    ),
    Case(
        "no entry without the history a stop needs",
        UP,
        [BUY, BUY, HOLD, HOLD],
        # in at 1006 + 1, out at the last close 1009 - 1: 1 tick
        [long(2, 1007, 3, 1008, "end-of-data", -0.74, 3.00, 2.50)],
        columns={"stop": [-1, 50, 50, 50]},
        denied={"warmup": 1},
    ),
    Case(
        "commission in percent with a minimum a fill",
        UP,
        [BUY, HOLD, CLOSE, HOLD],
        # 0.1 % of 1003 x $0.50 = $0.5015, and of 1008 x $0.50 = $0.504, the minimum being $0.5020: 2.50 - 1.006
        [long(1, 1003, 3, 1008, "signal", 1.494, 6.50, 4.50)],
        rules={"per_contract": 0, "percent": 0.1, "minimum": 502_000},
    ),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_fills_are_those_worked_out_by_hand(case):
    tape, orders = tapes.records(case.bars, **case.columns)
    law = tapes.rulebook(**{"slippage": 1, "per_contract": 620_000} | case.rules)
    account = Account(tape, orders, law, initial_balance=case.balance)
    sizes = np.broadcast_to(np.array(case.sizes, np.int64), len(tape)).copy()
    equity = account.run(np.array(case.actions, np.int8), sizes=sizes)
    times = pd.DatetimeIndex(orders["time"], tz="UTC")
    out = outcome(account, equity, times, np.full(len(tape), "", object), catalogue()["MNQ"])

    found = [
        Trade(**{name: round(row[name] / 0.25) if name.endswith("price") else row[name] for name in Trade._fields})
        for row in rows(out)
    ]
    assert found == case.trades
    assert {reason: count for reason, count in out.denied.items() if count} == case.denied
    assert {name: out.counts[name] for name in case.counts} == case.counts
    assert out.equity[-1] == pytest.approx(case.balance + sum(trade.net for trade in case.trades), abs=1e-9)


def test_a_run_that_ends_by_max_loss_says_where():
    case = next(case for case in TABLE if case.name.startswith("max loss"))
    tape, orders = tapes.records(case.bars)
    law = tapes.rulebook(slippage=1, per_contract=620_000, **case.rules)
    account = Account(tape, orders, law, initial_balance=10_000.0)
    equity = account.run(np.array(case.actions, np.int8), sizes=np.ones(6, np.int64))
    times = pd.DatetimeIndex(orders["time"], tz="UTC")
    out = outcome(account, equity, times, np.full(6, "", object), catalogue()["MNQ"])

    assert out.ended_at == 3
    # bar 1: +3 ticks - 0.62; bar 2: -17 ticks - 0.62; from bar 3 on: -12 ticks - 1.24
    assert out.equity.tolist() == [10_000.0, 10_000.88, 9_990.88, 9_992.76, 9_992.76, 9_992.76]


def test_reasons_are_named_as_the_documents_do():
    assert [reason.label for reason in ExitReason][1:] == [
        "signal", "stop", "target", "session", "session-missed", "roll", "daily-loss", "max-loss", "end-of-data",
    ]  # fmt: skip
