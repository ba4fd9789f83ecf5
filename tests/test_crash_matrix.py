"""A session killed at every point of its way, and its venue: broker and journal come to agree, and nothing doubles.

What is sent once is sent; what was meant and not sent is named as such and never sent later. The oracle of that is a
session in which just those submissions failed.
"""

import shutil
import sys
from pathlib import Path

import pytest

from mnqcore.trading.journal import FILE, Journal
from mnqcore.trading.journal_audit import audit
from tests.mortal import STRATEGY, Maker, ask_venue, naked, room, session_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked and killed")

POINTS = (
    "before-commit", "within-commit", "bar-heard", "bar-booked", "bar-committed", "committed", "sent", "sent-answered",
    "sent-noted", "accepted-heard", "accepted-committed", "filled-heard", "filled-committed", "filled-taken",
    "cancel-committed", "cancel-sent", "cancel-sent-answered", "cancelled-committed",
)  # fmt: skip
"""Where a session can be killed."""
ONCE = ("start-noted", "reconcile-begun", "reconcile-done", "end-noted", "leave-begun", "leave-done", "keep-begun",
        "run-begun", "run-made")  # fmt: skip
"""Where it comes by once."""
MORE = ("accepted-taken", "working-heard", "working-committed", "working-taken", "resized-heard", "resized-committed",
        "resized-taken", "cancelled-heard", "cancelled-taken", "charged-heard", "charged-committed",
        "charged-taken")  # fmt: skip
AFTER = "keep-done"
"""The session is over and its folder gone: another start begins a new one."""
WHICH = {"first": lambda count: 1, "third": lambda count: min(3, count), "last": lambda count: count}


@pytest.fixture(scope="module")
def maker():
    made = Maker()
    yield made
    made.close()


@pytest.fixture(scope="module")
def calm(maker, tmp_path_factory):
    """The session that nobody disturbs."""
    folder = tmp_path_factory.mktemp("calm")
    outcome = maker.run(folder, STRATEGY)
    assert (outcome.code, outcome.why, outcome.alerts, naked(folder)) == (0, "the bars ended", [], [])
    assert {trade["reason"] for trade in outcome.trades} == {"target", "stop", "signal", "end-of-data"}
    return outcome


@pytest.fixture(scope="module")
def without(maker, calm, tmp_path_factory):
    """The trades of a session in which submissions failed with nothing sent, by their numbers."""
    known = {(): calm.trades}

    def trades(refused):
        if refused not in known:
            outcome = maker.run(tmp_path_factory.mktemp("without"), STRATEGY, refuse=list(refused))
            assert outcome.code == 0
            known[refused] = outcome.trades
        return known[refused]

    return trades


@pytest.fixture
def place():
    with room() as folder:
        yield folder


def events_of(path, *kinds):
    with Journal.read(path) as journal:
        return [event.data for event in journal.events(kinds)]


def seen_while_dead(place):
    """Look at venue and journal while nobody is there: what is held is covered, and what is there was meant."""
    journal = session_of(place) / FILE
    if not journal.exists() or not (session_of(place) / "venue" / "port.json").exists():
        return
    positions, orders, ended, executions = ask_venue(
        session_of(place), "positions", "open_orders", "completed_orders", "executions"
    )
    for held in positions:
        side = -1 if held["contracts"] > 0 else 1
        stops = [one for one in orders if (one["role"], one["status"], one["side"]) == ("stop", "working", side)]
        assert sum(one["contracts"] - one["filled"] for one in stops) >= abs(held["contracts"])
    meant = {data["ref"] for data in events_of(journal, "intent")}
    assert {one["ref"] for one in (*orders, *ended, *executions)} <= meant


def sound(outcome, without):
    """See that a session that went on came to what it should, and that its journal tells it."""
    assert (outcome.code, outcome.error, outcome.why) == (0, "", "the bars ended")
    journal = Path(outcome.run) / FILE
    assert [check for check in audit(journal) if check.passed is False] == []
    assert [data["difference"] for data in events_of(journal, "reconciled") if data["difference"]] == []
    lost = [data["ref"] for data in events_of(journal, "event") if data["type"] == "NeverSent"]
    numbers = {int(ref.partition("-")[2]) for ref in lost if "." not in ref}
    assert outcome.trades == without(tuple(sorted(numbers)))
    assert {data["state"] for data in events_of(journal, "state")} <= {"RECONCILING", "ACTIVE"}
    return lost


def killed(maker, place, *deaths, **job):
    """Kill a session at these points, one after the other, and let it go on; returns what became of it."""
    for death in deaths:
        outcome = maker.run(place, STRATEGY, die=death, **job)
        assert outcome.died, f"{death}: it ended with {outcome.code} {outcome.error}"
        seen_while_dead(place)
    outcome = maker.run(place, STRATEGY, **job)
    assert naked(place) == []
    assert not session_of(place).exists()
    assert len(list((place / "runs" / "mortal").glob("2*"))) == 1
    return outcome


def one_death(maker, calm, without, place, point, which):
    number = WHICH[which](calm.seen[point])
    lost = sound(killed(maker, place, [point, number]), without)
    assert bool(lost) == (point == "committed")


def test_a_session_of_a_rule_is_light(calm):
    assert calm.loaded == []


def test_every_point_is_killed_at(calm):
    assert set(calm.seen) == {*POINTS, *ONCE, *MORE, AFTER}
    often = {point for point, count in calm.seen.items() if count > 1}
    assert often - {"reconcile-begun", "reconcile-done"} == {*POINTS, *MORE}  # asked again where the machine is slow


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("point", POINTS)
def test_a_session_killed_at_a_point_goes_on(maker, calm, without, place, point, which):
    one_death(maker, calm, without, place, point, which)


@pytest.mark.parametrize("point", ONCE)
def test_a_session_killed_where_it_comes_by_once_goes_on(maker, calm, without, place, point):
    one_death(maker, calm, without, place, point, "first")


@pytest.mark.proof
@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("point", MORE)
def test_a_session_killed_at_a_lesser_point_goes_on(maker, calm, without, place, point, which):
    one_death(maker, calm, without, place, point, which)


@pytest.mark.proof
@pytest.mark.parametrize(
    ("point", "step"), [("before-commit", 3), ("within-commit", 5), ("sent", 1), ("bar-booked", 2)]
)
def test_a_session_killed_at_any_pass_of_a_point_goes_on(maker, calm, without, point, step):
    for number in range(1, calm.seen[point] + 1, step):
        with room() as place:
            sound(killed(maker, place, [point, number]), without)


@pytest.mark.parametrize(
    "deaths",
    [
        (["committed", 3], ["start-noted", 1]),
        (["committed", 3], ["neversent-committed", 1]),
        (["committed", 2], ["committed", 1]),
        (["sent", 2], ["reconcile-begun", 1]),
        (["filled-heard", 3], ["before-commit", 2]),
        (["cancel-committed", 1], ["cancel-sent", 1]),
        (["bar-heard", 12], ["bar-heard", 1]),
        (["bar-committed", 20], ["within-commit", 1], ["reconcile-done", 1]),
        (["end-noted", 1], ["keep-begun", 1], ["run-made", 1]),
    ],
    ids=lambda deaths: "+".join(point for point, _ in deaths),
)
def test_a_session_killed_again_and_again_goes_on(maker, calm, without, place, deaths):
    sound(killed(maker, place, *deaths), without)


@pytest.mark.parametrize("death", [["committed", 4], ["sent", 4], ["filled-committed", 5], ["bar-committed", 30],
                                   ["within-commit", 60]], ids=lambda death: death[0])  # fmt: skip
@pytest.mark.parametrize("tail", ["gone", "torn", "zeros"])
def test_a_cut_cable_takes_only_what_was_not_written_for_good(maker, calm, without, place, death, tail):
    """Of the journal's log stays what was synced when a write returned; of what came later nothing, or rubbish."""
    assert maker.run(place, STRATEGY, die=death).died
    log = session_of(place) / f"{FILE}-wal"
    synced, written = int((place / "synced").read_text()), log.read_bytes()
    kept, rest = written[:synced], written[synced:] or b"\1" * 5_000
    log.write_bytes(kept + {"gone": b"", "torn": rest[: len(rest) // 2], "zeros": bytes(len(rest))}[tail])
    (session_of(place) / f"{FILE}-shm").unlink(missing_ok=True)
    seen_while_dead(place)

    outcome = maker.run(place, STRATEGY)

    sound(outcome, without)
    assert naked(place) == []


@pytest.mark.parametrize(
    ("doom", "state", "difference"),
    [
        (["filled-taken", 3], "HALTED", "MNQH24: journal +2, broker +0"),
        (["sent", 2], "HALTED", None),
        (["committed", 2], "HALTED", None),
        (["bar-committed", 30], "ACTIVE", None),
    ],
    ids=["a position", "an order under way", "an order on its way", "nothing"],
)
def test_a_venue_that_is_gone_ends_the_session_and_a_new_one_is_told_from_it(maker, place, doom, state, difference):
    """A new venue knows nothing of a position or an order: no order of ours may open one there."""
    outcome = maker.run(place, STRATEGY, doom=doom)
    assert (outcome.code, outcome.error.splitlines()[0]) == (6, "the simulated broker does not answer")

    again = maker.run(place, STRATEGY, sets=["trade.limits.ack_seconds=1.0", "trade.limits.queries=1"])

    journal = Path(again.run) / FILE
    assert (again.code, again.state, naked(place)) == (0, state, [])
    assert {data["difference"] for data in events_of(journal, "reconciled")} <= {None, difference}
    assert any(alert.startswith("error: HALTED") for alert in again.alerts) == (state == "HALTED")
    if state == "HALTED":
        assert meant_after(journal, "start") == []


def meant_after(path, kind):
    """Return what was meant after the last event of a kind."""
    with Journal.read(path) as journal:
        last = journal.last(kind)
        return [event.data["ref"] for event in journal.events(("intent",), last.seq if last else 0)]


@pytest.mark.proof
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace tells what is synced")
def test_what_was_meant_is_synced_before_it_is_sent(place, tmp_path_factory):
    told = tmp_path_factory.mktemp("calls") / "calls"
    calls = ("-f", "-qq", "-y", "-s", "80", "-e", "trace=fdatasync,fsync,pwrite64,sendto", "-o", str(told))
    maker = Maker("strace", *calls)
    try:
        assert maker.run(place, STRATEGY).code == 0
    finally:
        maker.close()
    sent, unsynced = 0, False
    for line in told.read_text().splitlines():
        if str(place) in line and f"{FILE}-wal" in line:
            unsynced = "pwrite64(" in line
        elif "submit" in line and "sendto(" in line:
            sent += 1
            assert not unsynced
    assert sent >= 9
