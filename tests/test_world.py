"""Every control of a session: what trips it, what just does not, and what is written of it."""

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnqcore.api import port
from mnqcore.api.port import Role
from mnqcore.rules import Denial
from mnqcore.strategy.trade import Limits
from mnqcore.trading.controls import LISTED
from mnqcore.trading.desk import Standing
from mnqcore.trading.losses import day_profit
from mnqcore.trading.memory import State
from mnqcore.trading.world import CONTROLS, SECOND, Situation, latches, refused
from tests.desks import Rig

BUY, SELL, CLOSE = 1, 2, 3
P = [f"P{number}" for number in range(1, 18)]
Q = [f"Q{number}" for number in range(1, 9)]
FINE = Situation(
    state="ACTIVE", mode="live", now=1_000 * SECOND, closed=999 * SECOND, in_session=True, side=1, contracts=1,
    close=80_000, stop=79_960, target=80_060, exposed=0, max_position=1, margin=3_400_000_000, available=10**10,
    days_left=20,
)  # fmt: skip


def denied(codes_of=None, limits=None, **changes):
    """Return the codes that refuse a situation."""
    return [one.code for one in refused(attrs.evolve(codes_of or FINE, **changes), limits or Limits())]


def test_nothing_refuses_what_is_fine():
    assert denied() == []


BOUNDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "state": ({"state": "REDUCING"}, {"state": "ACTIVE"}),
    "watch": ({"mode": "watch"}, {"mode": "paper"}),
    "order-size": ({"contracts": 6, "max_position": 9, "available": None}, {"contracts": 5, "max_position": 9,
                                                                            "available": None}),
    "exposure": ({"exposed": 1}, {"exposed": 0}),
    "margin": ({"available": 4_249_999_999}, {"available": 4_250_000_000}),  # 1.25 x 3,400
    "price-collar": ({"target": 84_001}, {"target": 84_000}),  # 5 %
    "order-unsound": ({"target": 80_000}, {"target": 80_001}),
    "duplicate": ({"repeated": True}, {"repeated": False}),
    "rate-minute": ({"sent_minute": 10}, {"sent_minute": 9}),
    "rate-day": ({"sent_day": 200}, {"sent_day": 199}),
    "stale-bar": ({"closed": 970 * SECOND - 1}, {"closed": 970 * SECOND}),
    "clock-skew": ({"skew": -2.001}, {"skew": -2.0}),
    "market-closed": ({"in_session": False}, {"in_session": True}),
    "contract": ({"contract_complaint": "tick"}, {"contract_complaint": ""}),
    "expiry": ({"days_left": 1}, {"days_left": 2}),
    "account": ({"account_complaint": "a paper account"}, {"account_complaint": ""}),
    "no-stop": ({"stop": None}, {"stop": None, "mode": "replay"}),
    "stop-distance": ({"stop": 75_999}, {"stop": 76_000}),  # 4,000 ticks
    "not-reconciled": ({"reconciled": False}, {"reconciled": True}),
    "unsettled": ({"unsettled": 1}, {"unsettled": 0}),
    "journal": ({"journal": False}, {"journal": True}),
}  # fmt: skip
"""Code -> a situation beyond the limit, and one exactly at it."""
WIDE = {"stop-distance": Limits(price_collar=0.2)}


@pytest.mark.parametrize("code", [one.code for one in CONTROLS])
def test_each_world_rule_refuses_beyond_its_limit_and_not_at_it(code):
    beyond, within = BOUNDS[code]

    assert denied(limits=WIDE.get(code), **beyond) == [code]
    assert denied(limits=WIDE.get(code), **within) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"contracts": 0},
        {"side": 0},
        {"stop": 0},
        {"stop": 80_001},
        {"target": 80_000},
        {"target": 79_999},
        {"side": -1},
        {"close": -4, "stop": None, "target": None, "mode": "replay"},
    ],
)
def test_no_unsound_order_is_sent(changes):
    assert "order-unsound" in denied(**changes)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"skew": 2.001}, "clock-skew"),
        ({"now": 996 * SECOND}, "clock-skew"),  # our clock was set back: the bar has yet to end
        ({"stop": 79_999}, "stop-distance"),
        ({"close": 0, "stop": None, "target": None}, "price-collar"),
        ({"exposed": 10}, "exposure"),
    ],
)
def test_the_other_side_of_a_limit_refuses_as_well(changes, code):
    assert code in denied(limits=Limits(min_stop_ticks=2), **changes)


# Limits can only deny.

TIGHTER = {
    "max_order": 1, "price_collar": 0.0004, "margin_buffer": 10.0, "orders_per_minute": 1, "orders_per_day": 1,
    "max_bar_age": 0.5, "max_clock_skew": 0.1, "expiry_days": 30, "max_stop_ticks": 30,
}  # fmt: skip
"""Limit -> a value that lets less through."""
SITUATIONS = st.builds(
    Situation,
    state=st.sampled_from(("ACTIVE", "ACTIVE", "HALTED")),
    mode=st.sampled_from(("live", "replay", "paper")),
    now=st.integers(990, 1_040).map(lambda second: second * SECOND),
    closed=st.just(1_000 * SECOND),
    in_session=st.booleans(),
    side=st.sampled_from((1, -1)),
    contracts=st.integers(0, 9),
    close=st.just(80_000),
    stop=st.one_of(st.none(), st.integers(75_000, 85_000)),
    target=st.one_of(st.none(), st.integers(75_000, 85_000)),
    exposed=st.integers(0, 9),
    max_position=st.integers(1, 9),
    margin=st.just(3_400_000_000),
    available=st.one_of(st.none(), st.integers(0, 10**11)),
    sent_minute=st.integers(0, 12),
    sent_day=st.integers(0, 220),
    skew=st.floats(-4, 4),
    days_left=st.one_of(st.none(), st.integers(0, 40)),
    unsettled=st.integers(0, 1),
)


@settings(max_examples=300, deadline=None)
@given(at=SITUATIONS, key=st.sampled_from(sorted(TIGHTER)))
def test_a_lower_limit_never_lets_more_through(at, key):
    tighter: Any = {key: TIGHTER[key]}
    before = {one.code for one in refused(at, Limits())}
    after = {one.code for one in refused(at, attrs.evolve(Limits(), **tighter))}

    assert before <= after


@settings(max_examples=200, deadline=None)
@given(at=SITUATIONS, nearest=st.integers(1, 200))
def test_a_farther_nearest_stop_never_lets_more_through(at, nearest):
    before = {one.code for one in refused(at, Limits())}
    after = {one.code for one in refused(at, Limits(min_stop_ticks=nearest))}

    assert before <= after


@settings(max_examples=200, deadline=None)
@given(at=SITUATIONS)
def test_a_smaller_position_never_lets_more_through(at):
    before = {one.code for one in refused(at, Limits())}
    after = {one.code for one in refused(attrs.evolve(at, max_position=1), Limits())}

    assert before <= after


def test_only_rates_halt_as_well():
    assert {one.code for one in CONTROLS if one.latches} == {"rate-minute", "rate-day"}
    latch = latches(refused(attrs.evolve(FINE, sent_minute=10), Limits()))
    assert latch is not None
    assert latch.code == "rate-minute"
    assert latches(refused(attrs.evolve(FINE, exposed=1), Limits())) is None


# At a desk: what is refused is written, and not sent.


@pytest.fixture
def make(tmp_path):
    made: list[Any] = []

    def rig(*sets, **more):
        folder = tmp_path / f"{len(made)}"
        folder.mkdir()
        made.append(Rig(folder, *sets, **more))
        return made[-1]

    yield rig
    for one in made:
        one.close()


def standing(**fields):
    """Let the next decision meet this standing."""

    def prepare(rig):
        rig.desk.standing = Standing(**fields)

    return prepare


def unsettled(rig):
    rig.bar(BUY, hears=False)
    ref = rig.venue.alive(Role.ENTRY)[0].order.ref
    rig.deaf = 99
    rig.hear(port.Unknown(ref=ref, time=rig.now, code="109"))
    rig.venue.told.clear()
    rig.venue.orders.clear()


def unsure(rig):
    rig.memory.unsure = "an order ended unasked"


def halted(rig):
    rig.carry_out(rig.desk.halt("a person", rig.now, rig.mono))


def entered_before(rig):
    rig.memory.orders._entered.add(rig.slot)


AT_A_DESK = {
    "state": ((), {}, halted),
    "watch": ((), {"mode": "watch"}, None),
    "order-size": (("trade.limits.max_order=1",), {}, None),
    "exposure": ((), {}, lambda rig: setattr(rig.memory.orders, "exposed", lambda contract, side: 2)),
    "margin": ((), {}, standing(available=8_499_999_999)),  # 2 x 3,400 x 1.25 = 8,500
    "price-collar": (("trade.limits.price_collar=0.0005",), {}, None),
    "duplicate": ((), {}, entered_before),
    "clock-skew": ((), {}, standing(skew=2.5)),
    "contract": ((), {}, standing(contract_complaint="tick 0.5")),
    "expiry": ((), {}, standing(days_left=1)),
    "account": ((), {}, standing(account_complaint="DU1 is a paper account")),
    "stop-distance": (("trade.limits.min_stop_ticks=41",), {}, None),
    "not-reconciled": ((), {}, unsure),
    "unsettled": ((), {}, unsettled),
}
"""Code -> settings, more of the rig, and what is done before the bar."""


@pytest.mark.parametrize("code", AT_A_DESK)
def test_what_is_refused_is_in_the_journal_and_is_not_sent(make, code):
    sets, more, prepare = AT_A_DESK[code]
    rig = make(*sets, **more)
    rig.bar()
    if prepare:
        prepare(rig)
    before = len(rig.sent)
    rig.bar(SELL)

    found = {event.data["code"]: event.data for event in rig.journaled("denied")}
    (control,) = [one for one in CONTROLS if one.code == code]
    assert found[code]["rule"] == control.rule
    assert found[code]["found"]
    assert bool(found[code]["limit"]) == bool(control.key)
    assert code in rig.journaled("decision")[-1].data["world"]
    assert len(rig.sent) == before


def test_a_bar_that_comes_late_is_not_decided_at(make):
    rig = make()
    rig.bar()
    rig.now = rig.venue.now = rig.clock.slot_end(rig.slot) + 31 * SECOND
    rig.bar(BUY)

    assert not rig.sent
    assert rig.journaled("bar")[-1].data["decides"] is False


def test_too_many_orders_halt(make):
    rig = make("trade.limits.orders_per_day=2", "risk.max_position=2")
    for action in (BUY, CLOSE, BUY, CLOSE):
        rig.bar(action)
        rig.bar()
    assert rig.state is State.ACTIVE
    rig.bar(BUY)

    assert rig.state is State.HALTED  # type: ignore[comparison-overlap]
    assert rig.journaled("denied")[-1].data["code"] == "rate-day"
    assert ("error", "HALTED: rate-day: 3, the limit is 2") in rig.alerts


def test_too_many_orders_in_a_minute_halt(make):
    rig = make("trade.limits.orders_per_minute=1")
    rig.bar(BUY)
    rig.memory.entries_sent.append((rig.clock.slot_end(rig.slot) - SECOND, 0))
    rig.bar(CLOSE)
    rig.memory.entries_sent.append((rig.clock.slot_end(rig.slot) - SECOND, 0))
    rig.bar(SELL)

    assert rig.journaled("denied")[-1].data["code"] == "rate-minute"
    assert rig.state is State.HALTED


def test_a_journal_that_breaks_as_an_entry_goes_out_keeps_it_in(make):
    rig = make()
    rig.journal.full = True
    rig.bar(BUY)

    assert not rig.sent
    assert rig.state is State.HALTED
    rig.bar(BUY)
    assert not rig.sent


# Market rules, through the books.


def test_a_stop_is_followed_by_a_pause(make):
    rig = make("risk.cooldown_bars=3")
    rig.bar(BUY)
    rig.bar(low=50)
    for _ in range(2):
        rig.bar(BUY)
        assert rig.journaled("decision")[-1].data["denied"] == Denial.COOLDOWN
    rig.bar(BUY)
    assert rig.journaled("decision")[-1].data["denied"] == Denial.NONE


def test_trades_of_a_day_are_counted(make):
    rig = make("risk.max_trades_per_day=1")
    rig.bar(BUY)
    rig.bar(CLOSE)
    rig.bar(BUY)

    assert rig.journaled("decision")[-1].data["denied"] == Denial.MAX_TRADES


@pytest.mark.parametrize(("limit", "denial"), [(43.48, Denial.DAILY_LOSS), (43.49, Denial.NONE)])
def test_the_loss_limit_of_a_day_refuses_at_the_limit(make, limit, denial):
    rig = make(f"risk.max_daily_loss={limit}")
    rig.bar(BUY)
    rig.bar(low=50)
    rig.bar(BUY)

    assert rig.journaled("decision")[-1].data["denied"] == denial
    assert any("day's loss limit" in text for _, text in rig.alerts) is (denial is Denial.DAILY_LOSS)


def test_in_live_the_loss_limit_of_a_day_waits_for_a_person(make):
    rig = make("risk.max_daily_loss=10", mode="live")
    rig.bar(BUY)
    rig.bar(low=50)
    rig.bar()

    assert rig.state is State.HALTED


def test_the_loss_limit_of_the_run_reduces(make):
    rig = make("risk.max_loss=10")
    rig.bar(BUY)
    rig.bar(closed=-30)

    assert rig.state is State.REDUCING
    assert [one.order.role for one in rig.venue.alive(Role.EXIT)] == [Role.EXIT]


@pytest.mark.parametrize(("limit", "contracts"), [(1, 1), (2, 2), (3, 2)])
def test_a_size_is_cut_to_the_largest_position(make, limit, contracts):
    rig = make(f"risk.max_position={limit}")
    rig.bar(BUY)

    assert rig.sent[0][2].orders[0].contracts == contracts


@pytest.mark.parametrize(("balance", "contracts"), [(6_800.0, 2), (6_799.0, 1), (3_399.0, 0)])
def test_a_size_is_cut_to_what_margin_carries(make, balance, contracts):
    rig = make(f"costs.initial_balance={balance}")
    rig.bar(BUY)

    assert sum(one[2].orders[0].contracts for one in rig.sent) == contracts
    assert (rig.journaled("decision")[-1].data["denied"] == Denial.MARGIN) is (contracts == 0)


# What is watched.


@pytest.fixture
def long(make):
    rig = make()
    rig.bar(BUY)
    rig.bar()
    return rig


def messages(rig):
    return " | ".join(text for _, text in rig.alerts)


def test_a_difference_that_stays_halts(long):
    del long.venue.executions["x1"]  # it is no execution any more, and the position is gone
    long.ask("now")

    assert long.state is State.HALTED
    assert long.journaled("reconciled")[-1].data["difference"] == "MNQH25: journal +2, broker +0"


def test_a_difference_that_passes_does_not_halt(long):
    truth = long.venue.truth
    answers = [attrs.evolve(truth(), positions=[]), truth()]
    long.venue.truth = lambda: answers.pop(0) if answers else truth()
    long.ask("now")

    assert long.state is State.ACTIVE


@pytest.mark.parametrize(("seconds", "halts"), [(1.75, False), (2.0, True)])
def test_a_position_without_a_stop_is_closed_after_uncovered_seconds(long, seconds, halts):
    long.venue.park_stop()
    long.deliver()
    long.wait(seconds)

    assert (long.state is State.HALTED) is halts
    assert len(long.venue.alive(Role.EXIT)) == halts


@pytest.mark.parametrize(("waits", "halts"), [(19.75, False), (20.0, True)])
def test_a_stop_that_was_reached_and_does_not_fill_is_left_by_market(long, waits, halts):
    long.venue.sticks = True
    long.bar(low=50)
    long.wait(waits)

    assert (long.state is State.HALTED) is halts
    assert len(long.venue.alive(Role.EXIT)) == halts


@pytest.mark.parametrize(("price", "halts"), [(81_599, False), (81_600, False), (81_602, True)])
def test_a_fill_far_from_the_last_close_halts(make, price, halts):
    rig = make()
    rig.bar(BUY)
    rig.venue.fill_market(price - 1)  # slippage of a tick; 2 % of 80,000 are 1,600
    rig.deliver()

    assert (rig.state is State.HALTED) is halts


def test_more_filled_than_ordered_halts(long):
    ref = long.sent[0][2].orders[0].ref
    long.venue._execute(ref, "1", 1, 1, 80_000)
    long.deliver()

    assert long.state is State.HALTED
    assert "filled 3 of 2" in messages(long)


@pytest.mark.parametrize(("fee", "said"), [(620_000, False), (1_240_000, False), (1_250_000, True), (300_000, True)])
def test_a_commission_far_from_the_reckoned_one_is_alerted(make, fee, said):
    rig = make()
    rig.venue.fee = fee
    rig.bar(BUY)
    rig.bar()

    assert ("costs.commission" in messages(rig)) is said


def profit(rig, dollars):
    """Let the broker tell a profit of the day."""
    truth = rig.venue.truth
    rig.venue.truth = lambda: attrs.evolve(
        truth(), account=attrs.evolve(truth().account, profit=round(dollars * 1_000_000))
    )
    rig.ask("profit")
    rig.venue.truth = truth


@pytest.mark.parametrize(("dollars", "said"), [(150.0, False), (150.01, True), (49.99, True)])
def test_a_profit_that_drifts_from_ours_is_alerted_once_a_day(make, dollars, said):
    rig = make()
    rig.bar()
    profit(rig, 100.0)  # made before we came
    profit(rig, dollars)
    profit(rig, dollars)

    assert [text for _, text in rig.alerts if "drifted" in text] == [
        f"the broker's profit of the day has drifted {dollars - 100:+,.2f} from ours"
    ] * said


def test_a_profit_is_compared_only_while_nothing_is_held(long):
    long.bar()
    profit(long, 0.0)
    profit(long, 900.0)

    assert "drifted" not in messages(long)


@pytest.mark.parametrize(("ticks", "said"), [(8, False), (9, True)])
def test_a_stop_that_slips_is_alerted(long, ticks, said):
    stop = long.venue.alive(Role.STOP)[0]
    long.venue._fill(stop, 2, stop.order.price - ticks)
    long.deliver()

    assert ("slipped" in messages(long)) is said


@pytest.mark.parametrize(("ticks", "said"), [(8, False), (9, True)])
def test_a_market_order_that_slips_from_the_open_is_alerted(make, ticks, said):
    rig = make()
    rig.bar(BUY)
    rig.now = rig.venue.now = max(rig.now, rig.slot)
    rig.venue.fill_market(80_000 + ticks - 1)
    rig.bar()

    assert ("slipped" in messages(rig)) is said


def test_an_order_that_is_never_answered_is_asked_for_and_then_halts(make):
    rig = make()
    rig.fate = "lost"
    rig.bar(BUY)
    rig.wait(39.0)
    assert rig.state is not State.HALTED
    rig.wait(2.0)

    assert rig.state is State.HALTED
    assert "never answered" in messages(rig)


def test_a_decision_that_fails_holds_and_halts_after_some(make):
    rig = make("trade.limits.bad_decisions=2")
    rig.bar(ValueError("no"))
    assert rig.journaled("decision")[-1].data["action"] == 0
    assert rig.state is State.ACTIVE
    rig.bar(17)

    assert rig.state is State.HALTED  # type: ignore[comparison-overlap]


# The emergency loss.


@pytest.mark.parametrize(("limit", "halts"), [(32.24, True), (32.25, False)])
def test_the_emergency_loss_flattens_and_halts_at_a_close(make, limit, halts):
    rig = make(f"trade.limits.emergency_loss={limit}")
    rig.bar(BUY)
    rig.bar(closed=-30)  # 2 x 31 ticks of $0.50 and 2 x $0.62

    assert (rig.state is State.HALTED) is halts
    assert len(rig.venue.alive(Role.EXIT)) == halts


def test_the_emergency_loss_acts_on_a_fill_within_the_bar(make):
    rig = make("trade.limits.emergency_loss=40")
    rig.bar(BUY)
    rig.bar()
    rig.venue.move(rig.venue.price - 50)  # stopped: 2 x 41 ticks and 4 x $0.62 = $43.48
    rig.deliver()

    assert rig.state is State.HALTED
    assert day_profit(rig.memory.books) == -43_480_000


@pytest.mark.parametrize(("dollars", "halts"), [(-199.99, False), (-200.0, True)])
def test_the_emergency_loss_acts_on_what_the_broker_tells(make, dollars, halts):
    rig = make("trade.limits.emergency_loss=300")
    rig.bar()
    profit(rig, 100.0)
    profit(rig, dollars)

    assert (rig.state is State.HALTED) is halts


def test_the_emergency_loss_halts_again_on_the_same_day(make):
    rig = make("trade.limits.emergency_loss=20")
    rig.bar(BUY)
    rig.bar(low=50)
    assert rig.state is State.HALTED
    rig.carry_out(rig.desk.resume("a person", rig.now, rig.mono))
    assert rig.state is State.ACTIVE  # type: ignore[comparison-overlap]
    rig.bar(BUY)

    assert rig.state is State.HALTED
    assert len([one for one in rig.sent if one[2].orders[0].role is Role.ENTRY]) == 1


# The list.


def test_every_control_of_the_list_is_there():
    assert sorted({one.rule for one in LISTED}, key=lambda rule: (rule[0], int(rule[1:]))) == P + Q


def test_a_code_belongs_to_one_kind_of_control_only():
    world = {one.code for one in LISTED if one.kind == "world"}
    market = {one.code for one in LISTED if one.kind == "market"} - {"margin"}  # both: of the ledger, and of the broker
    watched = {one.code for one in LISTED if one.kind == "watch"}

    assert world == {one.code for one in CONTROLS} == set(BOUNDS)
    assert market < {one.label for one in Denial}
    assert len(world) + len(market) + len(watched) == len(world | market | watched)


def test_p_controls_look_before_and_q_controls_after():
    assert {one.rule[0] for one in LISTED if one.kind in ("world", "market")} == {"P"}
    assert {one.kind for one in LISTED if one.rule[0] == "Q"} == {"watch"}
    assert {one.rule for one in LISTED if one.kind == "market"} == {"P3", "P4", "P9", "P10"}


def test_every_limit_of_the_world_rules_is_listed():
    listed = {one.key.rpartition(".")[2] for one in LISTED}
    more = {
        "max_stop_ticks",
        "bad_bars",
        "max_rejections",
        "queries",
        "quiet_seconds",
    }  # beside another, or of no control

    assert {field.name for field in attrs.fields(Limits)} - more <= listed
