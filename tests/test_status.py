"""How a session stands: what protects a position in one line, the screen on 80 columns, reports, where sessions lie."""

import collections
import json
from typing import Any

import attrs
import pandas as pd
import pytest

from mnqcore.api.port import Login
from mnqcore.cli.asking import question_of
from mnqcore.cli.session_screen import alert_line, lines
from mnqcore.cli.trade_text import comparison
from mnqcore.errors import DataError, UsageError
from mnqcore.market.instruments import catalogue
from mnqcore.stages.reports import Tally, whole
from mnqcore.trading import status
from mnqcore.trading.cover import Costs, Stop, average_prices, cover
from mnqcore.trading.journal import FILE, Entry, Event, Header, Journal
from mnqcore.trading.journal_file import Lease
from mnqcore.trading.places import Access, Place, all_places, find
from mnqcore.trading.reconcile import Difference
from mnqcore.trading.settling import adoptable, disownable, others, table

MNQ = catalogue()["MNQ"]
COSTS = Costs(instrument=MNQ, fee=1.24)
NAME = "MNQH24"
ENTRY, AWAY = 99_249, 99_049  # 24,812.25 and a stop 200 ticks below


def stop(**changed):
    return attrs.evolve(
        Stop(contract=NAME, side=-1, contracts=1, price=AWAY, working=True, broker_id="12"), **changed
    )  # fmt: skip


def covered(held, *stops, average=ENTRY, **more):
    return str(cover({NAME: held}, {NAME: average} if average else {}, stops, COSTS, "simulated", **more))


# What protects.


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (covered(0), "FLAT  nothing to protect"),
        (covered(1, stop()), "PROTECTED  stop 24,762.25 working at simulated (id 12), worst about -$101"),
        (
            covered(-1, stop(side=1, price=99_449, broker_id="")),
            "PROTECTED  stop 24,862.25 working at simulated, worst about -$101",
        ),
        (covered(2, stop(contracts=2)), "PROTECTED  stop 24,762.25 working at simulated (id 12), worst about -$202"),
        (covered(1, stop(price=99_349)), "PROTECTED  stop 24,837.25 working at simulated (id 12), worst about +$49"),
        (covered(1, stop(), average=None), "PROTECTED  stop 24,762.25 working at simulated (id 12)"),
        (covered(1), "UNPROTECTED  no stop for 1 MNQH24"),
        (covered(1, stop(side=1)), "UNPROTECTED  no stop for 1 MNQH24"),
        (covered(1, stop(contract="MNQM24")), "UNPROTECTED  no stop for 1 MNQH24"),
        (covered(2, stop()), "UNPROTECTED  stops at work cover 1 of 2 contracts of MNQH24"),
        (covered(1, stop(working=False, why="parked")), "UNPROTECTED  the stop at 24,762.25 is not at work: parked"),
        (
            covered(1, stop(), doubt="broker and journal differ"),
            "PROTECTED  stop 24,762.25 working at simulated (id 12), worst about -$101 (broker and journal differ)",
        ),
        (
            covered(0, stop()),
            "FLAT  nothing to protect, but stop 24,762.25 (id 12) is still at work: filled, it would open a position",
        ),
        (covered(0, stop(working=False)), "FLAT  nothing to protect"),
    ],
)
def test_what_protects_a_position_is_said_in_one_line(found, text):
    assert found == text


def test_two_stops_count_together_and_the_farther_one_is_the_worst():
    found = cover(
        {NAME: 2}, {NAME: ENTRY}, [stop(), stop(price=AWAY - 100, broker_id="13")], COSTS, "simulated"
    )  # fmt: skip

    assert found.level == "PROTECTED"
    assert found.worst == pytest.approx(-(100 + 150 + 2 * 1.24))


def test_one_contract_without_a_stop_leaves_all_unprotected():
    found = cover({NAME: 1, "MNQM24": -1}, {}, [stop()], COSTS, "simulated")

    assert str(found) == "UNPROTECTED  no stop for 1 MNQM24"
    assert found.worst is None


@pytest.mark.parametrize(
    ("fills", "averages"),
    [
        ([], {}),
        ([(1, 100)], {NAME: 100}),
        ([(1, 100), (1, 110)], {NAME: 105}),
        ([(2, 100), (-1, 150)], {NAME: 100}),
        ([(1, 100), (-1, 150)], {}),
        ([(1, 100), (-3, 150)], {NAME: 150}),
        ([(1, 100), (-1, 150), (-1, 160)], {NAME: 160}),
        ([(-2, 100), (-2, 90), (3, 80)], {NAME: 95}),
    ],
)
def test_the_average_price_is_of_what_is_still_held(fills, averages):
    assert average_prices([(NAME, signed, price) for signed, price in fills]) == averages


# The screen.


def document(**changed):
    """A status of a position that is protected."""
    found = {
        "schema": status.SCHEMA, "time": "2026-03-10T14:40:03.000Z", "written": "2026-03-10T14:40:03.000Z", "pid": 1,
        "mode": "paper", "account": "DU1234567", "strategy": "with-es", "session": "0123abcd", "broker": "ib",
        "synthetic": False, "instrument": attrs.asdict(MNQ), "bar_size": "5 min", "state": "ACTIVE", "why": "",
        "since": "2026-03-10T13:31:04.000Z",
        "bar": {
            "start": "2026-03-10T14:35:00.000Z", "end": "2026-03-10T14:40:00.000Z", "number": 5, "contract": NAME,
            "close": 24801.0,
        },
        "positions": [{"contract": NAME, "contracts": 1, "average": 24812.25, "now": 24801.0, "unrealised": -22.5}],
        "protection": attrs.asdict(cover({NAME: 1}, {NAME: ENTRY}, [stop()], COSTS, "ib")),
        "orders": [], "difference": [], "foreign": {},
        "day": {
            "profit": -146.2, "limit": 500.0, "latched": False, "trades": 3, "equity": 24853.8, "drawdown": -512.0,
            "max_loss": 1500.0, "all_trades": 12, "net": -87.25,
        },
        "next": {
            "decide": "2026-03-10T14:45:00.000Z", "no_entry_after": "15:30", "flat": "2026-03-10T20:50:00.000Z",
            "close": "2026-03-10T21:00:00.000Z", "roll": "2026-03-16T22:00:00.000Z",
        },
        "journal": "sound", "alerts": {"count": 0, "newest": ""}, "stopping": "", "ended": "",
    }  # fmt: skip
    return found | changed


SCREEN = """\
PAPER DU1234567   with-es   ACTIVE since 08:31:04
           bar 03-10 09:40 closed 3 s ago
position   LONG 1 MNQH24 @ 24,812.25   now 24,801.00   -$22.50
PROTECTED  stop 24,762.25 working at ib (id 12), worst about -$101
day        -$146.20 of -$500.00 (to 03-10 16:00 CT)   trades 3
           from peak -$512.00 of -$1,500.00   in all -$87.25, 12 trades
next       decide 09:45:00   no entry after 15:30   flat 03-10 15:50 CT
           roll 03-16
stop it:   mnq trade halt (keeps the stop)   mnq trade flatten (closes 1)"""


def test_the_screen_fits_80_columns_in_the_time_of_the_exchange():
    found = lines(document())

    assert "\n".join(found) == SCREEN
    assert max(map(len, found)) <= 80


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"bar": None}, "no bar yet"),
        ({"synthetic": True}, "SYNTHETIC bars"),
        ({"state": "HALTED", "why": "coffee"}, "mnq trade resume"),
        ({"state": "HALTED", "why": "coffee"}, "why        coffee"),
        ({"state": "DEGRADED", "why": "no bar has come"}, "why        no bar has come"),
        ({"difference": [{"contract": NAME, "journal": 1, "broker": 0}]}, "DIFFERS    MNQH24: journal +1, broker +0"),
        ({"foreign": {NAME: 2}}, "left alone +2 MNQH24"),
        ({"journal": "broken"}, "journal    cannot be written: nothing new is risked"),
        ({"alerts": {"count": 2, "newest": "error: x\x1b[2J"}}, r"alerts     2, the latest: error: x\x1b[2J"),
        ({"positions": []}, "position   FLAT"),
        ({"positions": []}, "(nothing is held)"),
    ],
)
def test_the_screen_says_what_a_person_must_know(changed, shown):
    found = lines(document(**changed))

    assert any(shown in line for line in found), found
    assert max(map(len, found)) <= 80


def test_the_screen_holds_whatever_a_broker_calls_things():
    odd = "x" * 200
    found = lines(document(why=odd, state="HALTED", account=odd[:60], alerts={"count": 1, "newest": odd}))

    assert all(len(line) <= 80 for line in found[1:])


def test_an_alert_is_one_line():
    assert alert_line("error", "a\nb") == r"ERROR a\nb"
    assert alert_line("info", "a") == "a"


# The file.


def test_a_status_comes_to_its_place_whole_and_is_read_only_if_it_is_one(tmp_path):
    assert status.read(tmp_path) is None
    assert status.put(tmp_path / status.FILE, document())
    assert status.read(tmp_path) == document()
    assert [path.name for path in tmp_path.iterdir()] == [status.FILE]

    for text in ("", "[]", "{", '{"schema": "mnq.status/99"}'):
        (tmp_path / status.FILE).write_text(text)
        assert status.read(tmp_path) is None


def test_a_status_that_cannot_be_written_is_no_error(tmp_path):
    assert not status.put(tmp_path / "missing" / status.FILE, document())


def test_times_are_utc_to_the_millisecond():
    assert status.iso(1_767_623_400_123_456_789) == "2026-01-05T14:30:00.123Z"


# What differs.


@pytest.mark.parametrize(
    ("journal", "broker", "adopts", "disowns"),
    [
        (0, 1, 1, 0), (0, -2, -2, 0), (1, 2, 1, 0), (-1, -3, -2, 0), (1, 0, 0, 1), (2, 1, 0, 1), (-2, -1, 0, -1),
        (1, -1, 0, 1), (-1, 2, 0, -1),
    ],
)  # fmt: skip
def test_what_can_be_adopted_and_what_disowned(journal, broker, adopts, disowns):
    one = Difference(contract=NAME, journal=journal, broker=broker)

    assert (adoptable(one), disownable(one)) == (adopts, disowns)
    assert (adopts == 0) or (disowns == 0)


@pytest.mark.parametrize(
    ("journal", "broker", "foreign", "rest"),
    [
        ({NAME: 1}, {NAME: 1}, {}, 0), ({NAME: 1}, {NAME: 3}, {}, 2), ({NAME: 1}, {NAME: 3}, {NAME: 2}, 0),
        ({NAME: 1}, {}, {}, 0), ({NAME: 1}, {NAME: -1}, {}, -1), ({NAME: -1}, {}, {NAME: 1}, 0), ({}, {NAME: 2}, {}, 2),
        (None, {NAME: 2}, {}, 2),
    ],
)  # fmt: skip
def test_what_is_not_the_sessions_is_what_is_left_of_the_brokers(journal, broker, foreign, rest):
    (row,) = table(journal, broker, foreign, [])["positions"]

    assert others(row) == rest


def test_journal_and_broker_are_shown_side_by_side():
    found = table({NAME: 1}, {NAME: 3, "MNQM24": -1}, {NAME: 1}, ["x working"])

    assert "\n".join(comparison(found)) == (
        "CONTRACT  JOURNAL  BROKER  LEFT ALONE  BEYOND\n"
        "MNQH24         +1      +3          +1      +1\n"
        "MNQM24          0      -1           0      -1"
    )
    assert question_of("adopt", found) == "leave +1 MNQH24, -1 MNQM24 alone from now on, neither closed nor protected?"
    assert comparison(table({}, {}, {}, [])) == ["nothing is held, by journal and broker"]
    assert comparison(table(None, {}, {}, ["a"])) == ["nothing is held, by the broker; orders at the broker: 1"]
    assert comparison(table(None, {NAME: 1}, {}, []))[1].split() == [NAME, "?", "+1", "0", "?"]


# Reports.

NOW = 1_767_623_400_000_000_000


def event(kind, **data):
    return Event(seq=1, time=NOW, mono=0, kind=kind, data=data)


def test_a_report_counts_what_the_journal_holds():
    trade = {"gross": 5_000_000, "commission": 1_240_000, "slippage": 500_000}
    tally = Tally()
    for one in (
        event("start", restart=0),
        event("start", restart=1),
        event("bar", time=1, ledger={"equity": -3_000_000, "day_equity": 1_000_000}, booked=[trade, trade]),
        event("bar", time=1, final=True, ledger={"equity": 0, "day_equity": 0}, booked=[]),
        event("decision", denied=3),
        event("decision", denied=0),
        event("denied", code="price-collar"),
        event("intent"),
        event("event", type="Rejected", code="201"),
        event("event", type="Rejected", code=""),
        event("event", type="NeverSent"),
        event("event", type="Unknown"),
        event("event", type="Warned", code="2104"),
        event("event", type="Disconnected"),
        event("odd-bar", verdict="late"),
        event("alert", level="error"),
        event("operator"),
    ):
        tally.take(one)

    found = tally.document()

    assert found["net"] == pytest.approx(10 - 2.48)
    assert (found["bars"], found["trades"], found["fees"], found["slippage"]) == (1, 2, 2.48, 1.0)
    assert (found["largest_loss"], found["restarts"], found["unknowns"], found["orders"]) == (-4.0, 1, 1, 1)
    assert found["rejections"] == {"201": 1, "no code": 1, "NeverSent": 1}
    assert found["errors"] == {"2104": 1, "Disconnected": 1}
    assert sum(found["denied"].values()) == 1
    assert found["refused"] == {"price-collar": 1}
    assert (found["odd_bars"], found["alerts"], found["commands"]) == ({"late": 1}, {"error": 1}, 1)


def test_a_whole_session_is_the_sum_of_its_days_and_of_what_came_after(tmp_path):
    header = Header(account="SIM", mode="replay", strategy="a", digest="ab" * 32, session="0123abcd", instrument={},
                    versions={}, created=NOW)  # fmt: skip
    days: list[dict[str, Any]] = [
        {"largest_loss": -5.0, "alerts": {"error": 1}, "net": 2.0},
        {"largest_loss": -1.0, "trades": 3},
    ]
    with Journal.create(tmp_path / FILE, header) as journal:
        for day in days:
            journal.write(Entry("alert", {"level": "error", "message": ""}), now=NOW)
            journal.write(Entry("report", Tally().document() | day | {"through": journal.newest}), now=NOW)
        journal.write(Entry("alert", {"level": "info", "message": ""}), now=NOW)

        found = whole(journal)

    assert (found["largest_loss"], found["trades"], found["net"]) == (-5.0, 3, 2.0)
    assert collections.Counter(found["alerts"]) == {"error": 1, "info": 1}


# Where sessions lie.


def login(folder):
    return Login(
        account="SIM", mode="replay", instrument=MNQ, bar_size=pd.Timedelta("5min"), file="s.toml",
        plugins=("a.py", "no:x"), folder=str(folder),
    )  # fmt: skip


def place(base, strategy="cross", title="replay-SIM"):
    folder = base / strategy / f".session-{title}"
    folder.mkdir(parents=True)
    access = Access(
        use="simulated", params={"speed": "max", "faults": ("a", "b")}, strategy=strategy, session="0123abcd",
        login=login(folder),
    )  # fmt: skip
    (folder / "login.json").write_text(json.dumps(access.document()))
    return Place(folder.resolve())


def test_what_reaches_a_broker_is_read_as_it_was_written(tmp_path):
    found = place(tmp_path).access()

    assert found.login == login(tmp_path / "cross" / ".session-replay-SIM")
    assert found.params == {"speed": "max", "faults": ("a", "b")}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"schema": "mnq.login/1"}', '{"schema": "mnq.login/2"}', "null"]
)
def test_a_broken_login_says_what_is_left_to_do(tmp_path, text):
    one = place(tmp_path)
    (one.folder / "login.json").write_text(text)

    with pytest.raises(DataError, match="how to reach the broker") as caught:
        one.access()
    assert "at the broker itself" in caught.value.facts["next"]


def test_a_session_is_found_by_strategy_title_or_folder(tmp_path):
    one, other = place(tmp_path), place(tmp_path, "breakout")
    paper = place(tmp_path, "breakout", "paper-DU1")

    assert find(tmp_path, "cross") == one
    assert find(tmp_path, "breakout paper-DU1") == paper
    assert find(tmp_path, str(other.folder)) == other
    assert find(tmp_path, "breakout/.session-replay-SIM") == other
    assert len(all_places(tmp_path)) == 3


def test_the_session_that_runs_is_meant_where_several_fit(tmp_path):
    one, _ = place(tmp_path), place(tmp_path, "breakout")
    lease = Lease(one.journal)
    try:
        assert one.holder() is not None
        assert find(tmp_path, None) == one
    finally:
        lease.release()
    assert one.holder() is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "2 sessions are under way"),
        ("breakout", "2 sessions"),
        ("brakout", "no session 'brakout'"),
        ("x", "no se"),
    ],
)
def test_several_or_none_are_an_error_that_lists_them(tmp_path, name, message):
    place(tmp_path, "breakout")
    place(tmp_path, "breakout", "paper-DU1")

    with pytest.raises(UsageError, match=message) as caught:
        find(tmp_path, name)
    assert "breakout paper-DU1 (its process has ended)" in caught.value.facts["found"]


def test_without_any_session_it_says_how_to_start_one(tmp_path):
    with pytest.raises(UsageError, match="no session is under way"):
        find(tmp_path, None)
