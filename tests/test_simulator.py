"""The kernel against a slow, obvious simulator, and against itself: step by step, many lanes at once."""

import numpy as np
import pytest

from mnqcore.api.values import ExitReason
from mnqcore.rules import OFF, Denial
from mnqcore.simulator.account import Account
from mnqcore.simulator.records import STEP, TRADE
from mnqcore.strategy.settings import Session
from mnqcore.tape import lay
from tests.reference import Reference
from tests.tapes import Case, random_case, records, rulebook

TRADE_FIELDS = [name for name in TRADE.names or () if name != "lane"]
STEP_FIELDS = list(STEP.names or ())
COUNTS = ("cut", "idle", "latched_days", "gap_stops", "worst_gap", "margin_peak")
ASKED = ("side", "price", "stop_distance", "stop_ticks", "tick_value", "point_value", "equity", "wins", "losses",
         "average_win", "average_loss", "signal", "max_contracts")  # fmt: skip


Heard = dict[int, list[dict[str, float]]]


def wanted(entry):
    """Return contracts, 0 among them, that follow from much of what a sizer is told."""
    return int(abs(entry["price"]) * 1000 + 3 * entry["wins"] + entry["losses"] + entry["side"]) % 5


def sizer(heard: Heard | None = None):
    """Return `wanted` as a sizer of many entries at once; what each lane was told goes to heard[lane]."""

    def size_of(entry):
        told = [{name: getattr(entry, name)[at].item() for name in ASKED} for at in range(len(entry.side))]
        if heard is not None:
            for lane, row in zip(entry.lanes.tolist(), told, strict=True):
                heard.setdefault(lane, []).append(row)
        return np.array([wanted(row) for row in told], np.int64)

    return size_of


def reference(case, sizes, first=0, last=None):
    """Return the reference after its run."""
    found = Reference(case.bars, case.rules, case.initial, first, last)
    found.run(case.actions.tolist(), sizes)
    return found


def account(case, first=0, last=None, lanes=1):
    """Return an account on a case's tape."""
    made = Account(case.tape, case.orders, case.law, initial_balance=case.dollars, lanes=lanes, first=first)
    made.ledger["last"] = len(case.tape) - 1 if last is None else last
    return made


def trades(rows):
    """Return TRADE records as dictionaries without `lane`."""
    return [{name: int(row[name]) for name in TRADE_FIELDS} for row in rows]


def ends(seed, case):
    """Return (first, last) bar of a lane: mostly the whole tape, sometimes a part of it."""
    bars = len(case.tape)
    if seed % 4 or bars < 6:
        return 0, bars - 1
    return seed % 3, bars - 1 - seed % 2


def agrees(case, seed, sizes_of_kernel, sizes_of_reference):
    """Run both, compare all that the ledger keeps, and return the reference."""
    first, last = ends(seed, case)
    slow, fast = reference(case, sizes_of_reference, first, last), account(case, first, last)
    equity = fast.run(case.actions, **sizes_of_kernel)[0].tolist()
    led = fast.ledger[0]

    assert trades(fast.trades[0]) == slow.trades, seed
    assert equity[first : slow.bar + 1] == list(slow.equity.values()), seed
    assert set(equity[slow.bar :]) == {slow.equity[slow.bar]}, seed
    assert fast.denied[0][1:].tolist() == list(slow.denied.values())[1:], seed
    assert {name: int(led[name]) for name in COUNTS} == slow.counts, seed
    assert (int(led["peak"]), bool(led["ended"])) == (slow.peak, slow.max_loss_breached), seed
    assert (int(led["bar"]), int(led["done"])) == (slow.bar, 1), seed
    return slow


def agree_on(seeds):
    """Compare kernel and reference with sizes in an array; the tapes must meet every rule there is."""
    reasons, denied = set(), set()
    for seed in seeds:
        case = random_case(seed)
        slow = agrees(case, seed, {"sizes": case.sizes}, case.sizes.tolist())
        reasons |= {trade["reason"] for trade in slow.trades}
        denied |= {reason for reason, count in slow.denied.items() if count}

    assert reasons == set(ExitReason) - {ExitReason.NONE}
    assert denied == set(Denial) - {Denial.NONE}


def agree_with_sizer_on(seeds):
    """Compare kernel and reference with a sizer in Python, and all that the sizer was told."""
    for seed in seeds:
        heard: Heard = {}
        case = random_case(seed)
        slow = agrees(case, seed, {"size_of": sizer(heard)}, wanted)
        assert heard.get(0, []) == slow.asked, seed


def steps_agree_on(seeds):
    """Compare every field of every step with the reference."""
    for seed in seeds:
        case = random_case(seed)
        first, last = ends(seed, case)
        slow, fast, size_of = reference(case, wanted, first, last), account(case, first, last), sizer()
        for want in slow.steps:
            step = fast.step(case.actions[want["bar"] - 1 : want["bar"]], size_of)
            got = {name: getattr(step, name)[0].item() for name in STEP_FIELDS}
            assert got == want, (seed, {name: (got[name], want[name]) for name in want if got[name] != want[name]})
        assert fast.ledger["done"][0] == 1, seed


def test_the_reference_agrees_on_random_tapes():
    agree_on(range(4_000))


def test_the_reference_agrees_with_a_sizer_that_is_asked():
    agree_with_sizer_on(range(100_000, 101_500))


def test_every_field_of_step_agrees_with_the_reference():
    steps_agree_on(range(200_000, 201_000))


@pytest.mark.parametrize("flat_by_close", [True, False])
def test_the_reference_agrees_on_the_real_calendar(make_view, flat_by_close):
    view = make_view(days=130, holes=40.0)
    session = Session(flat_by_close=flat_by_close, no_entry_after="14:00")
    frame = view.bars.copy()
    frame[["open", "high", "low", "close"]] = frame[["open", "high", "low", "close"]].div(view.factor, axis=0)
    market = lay(frame, view.instrument, session, view.bar_size)
    rng = np.random.default_rng(int(flat_by_close))
    bars = len(market.tape)
    market.orders["stop"], market.orders["target"] = rng.integers(0, 2_000, (2, bars))
    law = rulebook(slippage=1, per_contract=620_000, max_daily_loss=3_000_000_000, max_position=3, cooldown_bars=3)
    actions = rng.choice(4, bars, p=(0.96, 0.02, 0.02, 0)).astype(np.int8)
    sizes = rng.integers(0, 5, bars)
    case = Case(market.tape, market.orders, law, 50_000_000_000, actions, sizes)

    slow = agrees(case, 1, {"sizes": sizes}, sizes.tolist())

    assert len(market.rolls) > 0
    forced = {ExitReason.SESSION, ExitReason.SESSION_MISSED} if flat_by_close else {ExitReason.ROLL}
    assert {trade["reason"] for trade in slow.trades} >= forced | {ExitReason.STOP, ExitReason.TARGET}


@pytest.mark.proof
def test_the_reference_agrees_on_many_more_random_tapes():
    agree_on(range(1_000_000, 1_040_000))


@pytest.mark.proof
def test_the_reference_agrees_with_a_sizer_on_many_more_tapes():
    agree_with_sizer_on(range(2_000_000, 2_015_000))


@pytest.mark.proof
def test_every_field_of_step_agrees_on_many_more_tapes():
    steps_agree_on(range(3_000_000, 3_010_000))


@pytest.mark.parametrize("seed", range(3))
def test_more_trades_than_the_buffer_first_holds(seed):
    case = random_case(400_000 + seed, bars=3_000)._replace(initial=10**14)
    case.actions[:] = np.random.default_rng(seed).integers(1, 3, 3_000)
    case.sizes[:] = 1
    for column in ("late", "flat", "rolled", "missed"):
        case.tape[column] = 0
    case.orders["sizer_signal"], case.orders["stop"], case.orders["target"] = 0.0, seed, seed
    case.orders["carry_open"] = case.tape["open"]
    case.law["max_daily_loss"] = case.law["max_loss"] = case.law["max_trades_per_day"] = OFF
    case.law["cooldown_bars"] = 0

    slow = agrees(case, 0, {"sizes": case.sizes}, case.sizes.tolist())

    assert len(slow.trades) > 1_024


def stepped(case, lanes, actions):
    """Step all lanes to their end; return (account, trades by lane, equity by lane and bar)."""
    fast, size_of = account(case, lanes=lanes), sizer()
    rows: list[list[dict[str, int]]] = [[] for _ in range(lanes)]
    equity = [[case.initial] for _ in range(lanes)]
    while not fast.ledger["done"].all():
        moving = fast.ledger["done"] == 0
        fast.step(actions[:, fast.ledger["bar"][moving][0]], size_of)
        for lane in np.flatnonzero(moving):
            rows[lane] += trades(fast.step_trades[lane][: fast.ledger["trades"][lane]])
            equity[lane].append(int(fast.ledger["equity"][lane]))
    return fast, rows, equity


def same_by_step_and_by_lane(seed):
    """Compare lanes at once, one by one, and step by step."""
    case, lanes = random_case(seed), 7
    actions = np.random.default_rng(seed).choice(4, (lanes, len(case.tape)), p=(0.6, 0.15, 0.15, 0.1)).astype(np.int8)
    together = account(case, lanes=lanes)
    curves = together.run(actions, size_of=sizer())
    by_step, rows, equity = stepped(case, lanes, actions)

    for lane in range(lanes):
        alone = account(case)
        curve = alone.run(actions[lane], size_of=sizer())[0]
        assert trades(together.trades[lane]) == trades(alone.trades[0]) == rows[lane]
        assert set(together.trades[lane]["lane"].tolist()) <= {lane}
        assert curves[lane].tolist() == curve.tolist()
        assert equity[lane] == curve[: len(equity[lane])].tolist()
        assert set(curve[len(equity[lane]) :].tolist()) <= {equity[lane][-1]}
        for other, at in ((together, lane), (by_step, lane)):
            assert other.denied[at][1:].tolist() == alone.denied[0][1:].tolist()
            assert [other.ledger[name][at] for name in COUNTS] == [alone.ledger[name][0] for name in COUNTS]


@pytest.mark.parametrize("block", range(500_000, 500_150, 15))
def test_steps_runs_and_single_lanes_come_to_the_same(block):
    for seed in range(block, block + 15):
        same_by_step_and_by_lane(seed)


def test_lanes_that_enter_together_are_asked_together():
    tape, orders = records([(100, 101, 99, 100)] * 6)
    fast = Account(tape, orders, rulebook(max_position=9), initial_balance=1e6, lanes=3)
    actions, batches = np.array([[1, 0, 0, 0, 0, 0], [0, 2, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0]], np.int8), []

    def size_of(entry):
        batches.append((entry.lanes.tolist(), entry.side.tolist()))
        return entry.lanes + 1

    fast.run(actions, size_of=size_of)

    assert batches == [([0, 1, 2], [1, -1, -1])]
    assert [int(rows["contracts"][0]) for rows in fast.trades] == [1, 2, 3]
    assert [int(rows["lane"][0]) for rows in fast.trades] == [0, 1, 2]


SEQUENCES = 10_000
TAPES = 10


def many_actions(seed, bars):
    """Return a thousand action sequences, each with its own taste for orders."""
    rng = np.random.default_rng(seed)
    lanes = SEQUENCES // TAPES
    quiet = rng.uniform(0, 1, (lanes, 1)) > rng.uniform(0, 1, (lanes, bars))
    return np.where(quiet, 0, rng.integers(0, 4, (lanes, bars))).astype(np.int8)


def busy_case(tape):
    """Return a random tape on which nearly every sequence trades, whatever else its limits do."""
    case = random_case(600_000 + tape, bars=90)
    case.law["margin"], case.law["max_trades_per_day"] = case.initial // 20, OFF
    case.orders["stop"] = np.maximum(case.orders["stop"], 0)
    case.orders["sizer_signal"] = 0.0
    return case


def quick_sizer(entry):
    return entry.lanes % 4 + (entry.wins > entry.losses)


@pytest.mark.parametrize("tape", range(TAPES))
def test_the_ledger_adds_up_at_every_step(tape):
    case = busy_case(tape)
    actions = many_actions(tape, 90)
    fast, booked = account(case, lanes=len(actions)), np.zeros(len(actions), np.int64)
    tick, traded = int(case.law["tick_micros"][0]), 0
    for bar in range(89):
        step = fast.step(actions[:, bar], quick_sizer)
        led, rows = fast.ledger, fast.step_trades
        fresh = np.arange(rows.shape[1]) < led["trades"][:, None]
        booked += np.where(fresh, rows["gross"] - rows["commission"], 0).sum(axis=1)
        traded += fresh.sum()
        unrealised = led["position"] * (case.tape["close"][led["bar"]] - led["entry_price"]) * tick
        fees = np.where(led["position"] != 0, led["entry_commission"], 0)

        assert (booked + unrealised - fees == led["equity"] - led["initial"]).all(), (tape, bar)
        assert (step.equity == led["equity"] / 1e6).all()
        assert (step.unrealised == unrealised / 1e6).all()
    assert fast.ledger["done"].all()
    assert traded > 2 * len(actions)


@pytest.mark.parametrize("tape", range(TAPES))
def test_the_ledger_adds_up_at_every_bar_of_a_run(tape):
    case = busy_case(tape)
    actions = many_actions(tape + 100, 90)
    fast = account(case, lanes=len(actions))
    curves = fast.run(actions, size_of=quick_sizer)
    fee_of = Reference(case.bars, case.rules, case.initial).commission
    tick = int(case.law["tick_micros"][0])

    for lane, rows in enumerate(fast.trades):
        booked = rows["exit_bar"] + ((rows["reason"] == ExitReason.END_OF_DATA) & (rows["exit_bar"] < 89))
        sized = rows["side"] * rows["contracts"]
        fees = [fee_of(*pair) for pair in zip(rows["contracts"].tolist(), rows["entry_price"].tolist(), strict=True)]
        held, paid, entry_fees, earned = np.zeros((4, 91), np.int64)
        for column, values in ((held, sized), (paid, sized * rows["entry_price"]), (entry_fees, np.array(fees, int))):
            np.add.at(column, rows["entry_bar"], values)
            np.add.at(column, booked, -values)
        np.add.at(earned, booked, rows["gross"] - rows["commission"])
        held, paid, entry_fees, earned = (np.cumsum(column)[:90] for column in (held, paid, entry_fees, earned))
        unrealised = (held * case.tape["close"] - paid) * tick
        assert (curves[lane] - case.initial == earned + unrealised - entry_fees).all(), (tape, lane)


def test_step_is_read_only():
    tape, orders = records([(100, 101, 99, 100)] * 3)
    fast = Account(tape, orders, rulebook(), initial_balance=10_000.0, lanes=2)

    step = fast.step(np.zeros(2, np.int8), sizer())

    for name in STEP_FIELDS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(step, name)[0] = 0


def test_a_step_is_not_changed_by_the_next_one():
    tape, orders = records([(100, 101, 99, 100), (100, 101, 99, 101), (100, 101, 99, 100)])
    fast = Account(tape, orders, rulebook(), initial_balance=10_000.0)

    first = fast.step(np.ones(1, np.int8), sizer())
    kept = first.equity.copy()
    fast.step(np.zeros(1, np.int8), sizer())

    assert first.equity.tolist() == kept.tolist()
    assert first.bar.tolist() == [1]


def test_a_lane_that_is_done_reports_nothing_more():
    tape, orders = records([(100, 101, 99, 100), (100, 101, 60, 60), (60, 61, 59, 60), (60, 90, 60, 90)])
    fast = Account(tape, orders, rulebook(max_loss=10_000_000), initial_balance=10_000.0, lanes=2)
    one = lambda entry: np.ones(len(entry.side), np.int64)  # noqa: E731

    fast.step(np.array([1, 0], np.int8), one)  # lane 0 loses 40 ticks = $20, above its $10
    closed = fast.step(np.array([0, 0], np.int8), one)
    after = fast.step(np.array([1, 0], np.int8), one)

    assert (closed.exit_reason.tolist(), closed.done.tolist()) == ([ExitReason.MAX_LOSS, 0], [True, False])
    assert after.done.tolist() == [True, True]
    assert after.bar.tolist() == [2, 3]
    for name in ("denied", "opened", "closed", "exit_reason", "contracts", "sides", "realised", "commission",
                 "equity_change", "closed_mae", "closed_mfe", "price_change", "stopped", "forced"):  # fmt: skip
        assert getattr(after, name)[0] == 0, name
    assert after.equity[0] == closed.equity[0] == 10_000.0 - 20.0
    assert fast.ledger["trades"][0] == 0
