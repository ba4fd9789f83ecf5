"""`mnq journal`: what it shows, what it finds wrong, and what it writes for other programs."""

import csv
import json
import sqlite3
import subprocess
import sys
from typing import Any

import attrs
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnqcore.cli import main
from mnqcore.cli.journal_text import Wording, visible
from mnqcore.trading.journal import FILE, KINDS, Entry, Event, Header, Journal
from mnqcore.trading.journal_audit import audit
from mnqcore.trading.journal_export import COLUMNS, iso

HEADER = Header(
    account="DU123",
    mode="paper",
    strategy="cross",
    digest="ab" * 32,
    session="0123abcd",
    instrument={"name": "MNQ", "tick_size": 0.25},
    versions={"mnq": "0.1.0"},
    created=1_767_600_000_000_000_000,
)
MINUTE = 60 * 1_000_000_000
NOW = 1_767_623_400_000_000_000  # 2026-01-05 14:30 UTC
REF = "0123abcd-1"
EXECUTION = {
    "id": "e1", "revision": 0, "ref": REF, "broker_id": "7", "contract": "MNQZ26", "side": 1, "contracts": 1,
    "price": 99049, "time": NOW, "forced": False, "commission": None,
}  # fmt: skip
LEG = {
    "ref": REF, "role": "entry", "contract": "MNQZ26", "side": 1, "contracts": 1, "price": None, "parent": None,
    "group": None, "bar": NOW, "reason": 0,
}  # fmt: skip
STOP = {**LEG, "ref": f"{REF}.s", "role": "stop", "side": -1, "price": 99000, "parent": REF, "group": REF}
BAR = {
    "time": NOW, "contract": "MNQZ26", "open": 99040, "high": 99060, "low": 99031, "close": 99049, "volume": 812,
    "number": 5, "verdict": "new", "ledger": {"position": -2}, "booked": [],
}  # fmt: skip
DECISION = {
    "bar": NOW, "number": 5, "features": [0.5, None], "position": [0.0] * 4, "action": 1, "exit": 0, "side": 1,
    "contracts": 1, "stop": 99000, "target": 99100, "denied": 0, "world": [], "took": 0.001,
}  # fmt: skip
FLAT: dict[str, Any] = {"positions": [], "orders": [], "difference": None}
LONG: dict[str, Any] = {
    "positions": [{"contract": "MNQZ26", "contracts": 1}], "orders": [f"{REF}.s"], "difference": None
}  # fmt: skip
STORY = (
    ("start", {"versions": {"mnq": "0.1.0"}, "digest": "ab" * 32, "model": None, "settings": {}, "restart": 0}),
    ("state", {"state": "RECONCILING", "why": ""}),
    ("reconciled", FLAT),
    ("anchor", {"bar": NOW - 600 * MINUTE, "first": NOW}),
    ("bar", BAR),
    ("decision", DECISION),
    ("intent", LEG),
    ("intent", STOP),
    ("sent", {"refs": [REF, f"{REF}.s"]}),
    ("event", {"type": "Filled", "execution": EXECUTION, "time": NOW}),
    ("event", {"type": "Charged", "execution": "e1", "commission": 620000, "time": NOW}),
    ("reconciled", LONG),
    ("end", {"why": "Ctrl-C"}),
)


def told(folder, *entries, header=HEADER):
    """Write a journal of (kind, data), a minute apart; return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    with Journal.create(folder / FILE, header) as journal:
        for number, (kind, data) in enumerate(entries):
            journal.write(Entry(kind, data), now=NOW + number * MINUTE)
    return folder / FILE


@pytest.fixture
def path(tmp_path):
    """The journal of a short session."""
    return told(tmp_path / "s", *STORY)


@pytest.fixture
def mnq(capsys):
    """Run a command in this process; return its exit code and what it printed."""

    def run(*arguments):
        code = main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


# show


def test_show_tells_a_session_in_80_columns(path, mnq):
    code, out, _ = mnq("journal", "show", path)

    assert code == 0
    assert out == SHOWN
    assert max(map(len, out.splitlines())) <= 80
    assert out.isascii()


SHOWN = """\
cross, paper, account DU123, session 0123abcd
SEQ  TIME (UTC)    KIND        WHAT
     2026-01-05
  1  14:30:00.000  start       mnq 0.1.0, restart 0
  2  14:31:00.000  state       RECONCILING
  3  14:32:00.000  reconciled  flat, 0 orders
  4  14:33:00.000  anchor      history from 2026-01-05 04:30, decides from
                               2026-01-05 14:30
  5  14:34:00.000  bar         2026-01-05 14:30 MNQZ26 24,760.00 24,765.00
                               24,757.75 24,762.25, position -2
  6  14:35:00.000  decision    14:30 buy 1 stop 24,750.00 target 24,775.00
  7  14:36:00.000  intent      buy 1 MNQZ26 at market [0123abcd-1]
  8  14:37:00.000  intent      sell 1 MNQZ26 stop 24,750.00 [0123abcd-1.s]
  9  14:38:00.000  sent        [0123abcd-1] [0123abcd-1.s]
 10  14:39:00.000  event       Filled buy 1 MNQZ26 at 24,762.25 [0123abcd-1]
 11  14:40:00.000  event       Charged execution e1 commission 620000
 12  14:41:00.000  reconciled  +1 MNQZ26, 1 order
 13  14:42:00.000  end         Ctrl-C
"""


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("intent", {**LEG, "role": "target", "side": -1, "price": 99100}, f"sell 1 MNQZ26 target 24,775.00 [{REF}]"),
        ("intent", {**LEG, "role": "exit", "side": -1, "reason": 4}, f"sell 1 MNQZ26 at market (session) [{REF}]"),
        ("decision", {**DECISION, "action": 0, "side": 0, "contracts": 0, "stop": None, "target": None}, "14:30 hold"),
        (
            "decision",
            {**DECISION, "denied": 5, "stop": None, "target": None, "world": ["price-collar"]},
            "14:30 buy 1 denied: no-entry-after price-collar",
        ),
        ("decision", {**DECISION, "action": 3, "exit": 7, "contracts": 0, "stop": None, "target": None},
         "14:30 close exit: daily-loss"),
        ("odd-bar", {"verdict": "late", "time": NOW, "contract": "MNQZ26"}, "late: 2026-01-05 14:30 MNQZ26"),
        ("cancel", {"ref": REF, "why": "expired"}, f"[{REF}] expired"),
        ("event", {"type": "Rejected", "ref": REF, "time": 1, "code": "201", "why": "margin"},
         f"Rejected [{REF}] code 201 why margin"),
        ("event", {"type": "Filled", "execution": {**EXECUTION, "ref": "", "side": -1, "revision": 1, "forced": True}},
         "Filled sell 1 MNQZ26 at 24,762.25, revision 1, forced [not ours]"),
        ("denied", {"rule": "P5", "code": "price-collar", "bar": 1, "found": 3.5, "limit": 2},
         "P5 price-collar: 3.5, limit 2"),
        ("operator", {"command": "flatten", "args": ["--all"], "answer": "flat"}, "flatten --all: flat"),
        ("alert", {"level": "error", "message": "uncovered"}, "error: uncovered"),
        ("bar", {"time": NOW, "final": True, "ledger": {}, "booked": []}, "2026-01-05 14:30 the last one's bookings"),
        ("event", {"type": "NotSent", "refs": [REF], "why": "no"}, f'NotSent refs ["{REF}"] why no'),
        ("reconciled", {"positions": [{"contract": "MNQZ26", "contracts": -2}], "orders": ["a", "b", "c"],
                        "difference": "one fill is missing"},
         "-2 MNQZ26, 3 orders; DIFFERS: one fill is missing"),
        ("report", {"day": "2026-01-05", "net": 12.5}, "day 2026-01-05, net 12.5"),
        ("new-kind", {"a": {"b": [1, None]}}, 'a {"b":[1,null]}'),
        ("intent", {"odd": True}, "odd true"),
        ("intent", {}, "-"),
        ("state", {"state": "", "why": ""}, ""),
    ],
)  # fmt: skip
def test_each_kind_is_said_in_words(kind, data, said):
    assert Wording(HEADER.instrument).line(Event(1, NOW, 1, kind, data)) == said


@pytest.mark.parametrize(
    ("tick", "ticks", "said"),
    [(0.25, 99049, "24,762.25"), (0.00005, 21723, "1.08615"), (0.1, 20001, "2,000.10"), (1, 4000, "4,000.00"),
     (None, 99049, "99,049 ticks"), (0.25, -3, "-0.75")],
)  # fmt: skip
def test_prices_are_those_of_the_instrument(tick, ticks, said):
    assert Wording({"tick_size": tick} if tick else {}).price(ticks) == said


@given(
    kind=st.sampled_from(KINDS), data=st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.floats())
)
def test_whatever_an_event_holds_it_is_one_line(kind, data):
    for base in ({}, LEG, BAR, DECISION, LONG):
        line = Wording(HEADER.instrument).line(Event(1, NOW, 1, kind, {**base, **data}))
        assert line.isprintable()


def test_f65_what_a_broker_writes_cannot_break_out_of_its_line(tmp_path, mnq):
    evil = "no margin\n 99  14:30:00.000  event  Filled\x1b[2J\x1b[31m\r\u202e\x07"
    path = told(
        tmp_path,
        ("event", {"type": "Rejected", "ref": evil, "time": 1, "code": "1", "why": evil}),
        ("bad\nkind\x1b[0m", {evil: evil}),
        header=attrs.evolve(HEADER, account="DU\x1b[2J\n"),
    )

    code, out, _ = mnq("journal", "show", path)

    assert code == 0
    assert all(char == "\n" or char.isprintable() for char in out)
    assert r"\x1b[2J" in out
    assert r"margin\n" in out
    assert r"\u202e" in out
    assert sum(line.lstrip().startswith(("1 ", "2 ", "99 ")) for line in out.splitlines()) == 2
    assert max(map(len, out.splitlines())) <= 80
    assert visible("a\tb\\") == "a\\tb\\"
    assert main(["journal", "show", str(path), "--format", "json"]) == 0


def test_show_takes_kinds_the_last_and_those_behind_a_number(path, mnq):
    def shown(*options):
        return [
            one["seq"] for one in json.loads(mnq("journal", "show", path, *options, "--format", "json")[1])["events"]
        ]

    assert shown() == [*range(1, 14)]
    assert shown("--kind", "intent", "--kind", "sent") == [7, 8, 9]
    assert shown("--last", "2") == [12, 13]
    assert shown("--after", "11") == [12, 13]
    assert shown("--kind", "reconciled", "--after", "3", "--last", "5") == [12]
    assert mnq("journal", "show", path, "--after", "13")[1].endswith("no events\n")


def test_show_in_json_holds_all_of_it(path, mnq):
    document = json.loads(mnq("--format", "json", "journal", "show", path)[1])

    assert document["schema"] == "mnq.journal-events/1"
    assert document["header"]["account"] == "DU123"
    assert document["header"]["instrument"] == {"name": "MNQ", "tick_size": 0.25}
    first = document["events"][0]
    assert first["time"] == "2026-01-05T14:30:00.000000000+00:00"
    assert [(one["kind"], one["data"]) for one in document["events"]] == [*STORY]


def test_show_suggests_a_kind(path, mnq):
    code, _, err = mnq("journal", "show", path, "--kind", "intents")

    assert code == 2
    assert "did you mean intent?" in err
    assert "kinds: start, state" in mnq("journal", "show", path, "--kind", "zzz")[2]


def test_a_day_is_told_where_it_begins(tmp_path, mnq):
    with Journal.create(tmp_path / FILE, HEADER) as journal:
        for days in (0, 0, 1):
            journal.write(Entry("end", {"why": "x"}), now=NOW + days * 1440 * MINUTE)

    lines = mnq("journal", "show", tmp_path / FILE)[1].splitlines()

    assert [line.strip() for line in lines if "2026" in line] == ["2026-01-05", "2026-01-06"]


# What RUN may be


def test_a_run_is_named_as_other_commands_take_it(tmp_path, mnq, monkeypatch):
    run = tmp_path / "runs" / "cross" / "20260105T143000Z-abcdef01"
    path = told(run, *STORY)
    (run / "manifest.json").write_text("{}")
    session = told(tmp_path / "runs" / "cross" / ".session-paper-DU123", *STORY[:3])
    monkeypatch.chdir(tmp_path)

    def events(name):
        code, out, err = mnq("journal", "show", name, "--format", "json")
        return len(json.loads(out)["events"]) if code == 0 else err

    assert events("abcdef01") == events("cross") == events(run) == events(path) == 13
    assert events("cross/20260105T143000Z-abcdef01") == 13
    assert events(session.parent) == events("cross/.session-paper-DU123") == 3
    assert "no run 'other'" in events("other")


def test_a_run_without_a_journal_says_so(tmp_path, mnq):
    run = tmp_path / "runs" / "cross" / "20260105T143000Z-abcdef01"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text("{}")

    code, _, err = mnq("journal", "show", "abcdef01", "--runs-dir", tmp_path / "runs")

    assert code == 2
    assert "has no journal" in err


def test_show_while_a_session_writes_in_another_process(path):
    with Journal.open(path) as journal:
        journal.write(Entry("alert", {"level": "info", "message": "still here"}), now=NOW)
        command = [sys.executable, "-m", "mnqcore", "journal", "show", str(path), "--last", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert journal.write(Entry("end", {"why": "x"}), now=NOW) == [15]

    assert (done.returncode, done.stderr) == (0, "")
    assert "info: still here" in done.stdout


def test_show_of_what_is_no_journal_is_an_error_of_data(tmp_path, mnq):
    (tmp_path / "x.sqlite").write_text("nothing")

    code, _, err = mnq("journal", "show", tmp_path / "x.sqlite")

    assert code == 5
    assert "this is no journal" in err


# verify


def test_a_sound_journal_passes(path, mnq):
    code, out, _ = mnq("journal", "verify", path)

    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["CHECK", "FOUND"],
        *([name, "pass"] for name in ("file", "tables", "events", "clocks", "intents", "answers", "positions")),
    ]


def test_verify_passes_beside_a_session_that_writes(path, mnq):
    with Journal.open(path) as journal:
        journal.write(Entry("state", {"state": "ACTIVE", "why": ""}), now=NOW + 60 * MINUTE)
        assert mnq("journal", "verify", path)[0] == 0


def fill(name, *, side=1, contracts=1, revision=0, ref=REF, forced=False):
    execution = {**EXECUTION, "id": name, "side": side, "contracts": contracts, "revision": revision}
    return ("event", {"type": "Filled", "execution": {**execution, "ref": ref, "forced": forced}, "time": NOW})


def held(contracts, difference=None):
    found = [{"contract": "MNQZ26", "contracts": contracts}] if contracts else []
    return ("reconciled", {"positions": found, "orders": [], "difference": difference})


LEFT = ("operator", {"command": "disown", "args": [], "answer": "", "foreign": {"MNQZ26": 2}})
DONE = ("operator", {"command": "disown", "args": [], "answer": "", "foreign": {}})


def other(kind, **changes):
    """Change an event of the story."""
    return tuple((name, {**data, **changes} if name == kind else data) for name, data in STORY)


@pytest.mark.parametrize(
    ("entries", "check", "found"),
    [
        ([one for one in STORY if one[0] != "intent"], "intents", f"event 7: {REF} was sent without an intent"),
        ([one for one in STORY if one[0] not in ("intent", "sent")], "answers", f"event 7: Filled of {REF}, which"),
        ([*STORY, ("intent", LEG)], "intents", f"event 14: {REF} was meant before"),
        ([("cancel", {"ref": REF, "why": "x"})], "intents", f"event 1: {REF} was cancelled without an intent"),
        ([("event", {"type": "Unknown", "ref": REF, "time": 1})], "answers", "Unknown of"),
        ([("event", {"type": "NotSent", "refs": [REF], "why": "x"})], "answers", "NotSent of"),
        ([fill("x", ref="", forced=True), held(1)], "positions", "event 2: +1 MNQZ26, but fills make +0"),
        ([*STORY[:-2], ("reconciled", FLAT)], "positions", "event 12: +0 MNQZ26, but fills make +1"),
        ([("reconciled", LONG)], "positions", "event 1: +1 MNQZ26, but fills make +0"),
        (other("sent", refs=None), "intents", "its data are not those of 'sent'"),
        (other("reconciled", positions=None), "positions", "its data are not those of 'reconciled'"),
        (other("event", execution={"id": "e1"}), "positions", "its data are not those of 'event'"),
    ],
)
def test_a_story_that_cannot_be_true_is_found(tmp_path, mnq, entries, check, found):
    path = told(tmp_path, *entries)

    code, out, _ = mnq("journal", "verify", path, "--format", "json")

    document = json.loads(out)
    failed = {one["name"]: one["found"] for one in document["checks"] if not one["passed"]}
    assert code == 1
    assert document["schema"] == "mnq.journal-verify/1"
    assert any(found in text for text in failed[check])
    code, out, _ = mnq("journal", "verify", path)
    assert code == 1
    assert "FAIL" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    "entries",
    [
        [fill("a"), fill("a"), fill("b"), held(2)],  # delivered twice
        [fill("a", contracts=2), fill("a", contracts=1, revision=1), fill("a", contracts=2), held(1)],  # corrected
        [fill("a"), fill("a", contracts=0, revision=1), held(0)],  # a bust
        [fill("a"), fill("x", ref="", side=-1), held(1)],  # somebody else's
        [fill("a"), fill("x", ref="", side=-1, forced=True), held(0, "journal +1, broker +0")],  # liquidated
        [fill("a"), held(3, "two more"), LEFT, held(3), fill("b"), held(4), DONE, held(2)],
        [fill("a"), held(1), fill("b", side=-1), held(0)],
    ],
)
def test_positions_that_fills_explain_pass(tmp_path, entries):
    path = told(tmp_path, ("intent", LEG), *entries)

    assert all(check.passed for check in audit(path))


def test_clocks_may_not_run_back_within_a_start(tmp_path):
    def passed(times):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        with Journal.create(folder / FILE, HEADER) as journal:
            for kind, time in times:
                journal.write(Entry(kind, BAR if kind == "bar" else FLAT), now=time)
        return {check.name: check.passed for check in audit(folder / FILE)}["clocks"]

    second = 1_000_000_000
    assert passed([("start", NOW), ("bar", 5 * second), ("bar", 5 * second), ("bar", 6 * second)])  # a replay
    assert passed([("bar", 5 * second), ("state", 5 * second - second // 2)])  # a clock that was set
    assert not passed([("bar", 5 * second), ("state", 3 * second)])
    assert passed([("bar", 5 * second), ("start", second), ("bar", 2 * second)])


def test_a_machines_clock_that_runs_back_is_found(path):
    db = sqlite3.connect(path)
    (trigger,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'events_update'").fetchone()
    row = [1, *db.execute("SELECT time, mono, kind, data FROM events WHERE seq = 1").fetchone()]
    from mnqcore.trading.journal_file import checksum

    row[2] += 10**15
    db.execute("DROP TRIGGER events_update")
    db.execute("UPDATE events SET mono = ?, crc = ? WHERE seq = 1", (row[2], checksum(*row)))
    db.execute(trigger)
    db.commit()
    db.close()

    checks = {check.name: check for check in audit(path)}

    assert [name for name, check in checks.items() if not check.passed] == ["clocks"]
    assert "runs back" in checks["clocks"].found[0]


def test_what_cannot_be_read_is_told_apart_from_what_is_wrong(path, mnq):
    db = sqlite3.connect(path)
    db.execute("DROP TRIGGER events_update")
    db.execute("UPDATE events SET data = '{}' WHERE seq = 5")
    db.commit()
    db.close()

    code, out, _ = mnq("journal", "verify", path)

    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines()[1:]}
    assert code == 1
    assert lines["file"] == "pass"
    assert lines["tables"].split(maxsplit=1) == ["FAIL", "events_update is missing"]
    assert lines["events"].split(maxsplit=1) == ["FAIL", "event 5 is not as it was written"]
    assert lines["clocks"] == lines["positions"] == "not checked"


@pytest.mark.parametrize("size", [0, 4096, 5000, 8192])
def test_verify_of_a_truncated_journal_fails(path, mnq, size):
    with path.open("r+b") as file:
        file.truncate(size)

    code, out, err = mnq("journal", "verify", path)

    assert code == 1
    assert err == ""
    assert "file" in out
    assert "FAIL" in out


def test_many_problems_are_counted(tmp_path):
    path = told(tmp_path, *[("sent", {"refs": [f"{REF}{number}"]}) for number in range(20)])

    found = {check.name: check.found for check in audit(path)}["intents"]

    assert len(found) == 6
    assert found[-1] == "and 15 more"


# export


@pytest.fixture
def expected():
    return [(seq, *one) for seq, one in enumerate(STORY, start=1)]


def test_export_to_json_lines(path, tmp_path, mnq, expected):
    code, out, _ = mnq("journal", "export", path, "--to", tmp_path / "x.jsonl")

    header, *lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert code == 0
    assert out == f"13 events in {tmp_path / 'x.jsonl'}\n"
    assert (header["schema"], header["session"]) == ("mnq.journal/1", "0123abcd")
    assert [(line["seq"], line["kind"], line["data"]) for line in lines] == expected
    assert pd.Timestamp(lines[1]["time"]).value == NOW + MINUTE


def test_export_to_csv(path, tmp_path, mnq, expected):
    assert mnq("journal", "export", path, "--to", tmp_path / "x.csv")[0] == 0

    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["seq"]), row["kind"], json.loads(row["data"])) for row in rows] == expected
    assert tuple(rows[0]) == COLUMNS


def test_export_to_parquet(path, tmp_path, mnq, expected):
    assert mnq("journal", "export", path, "--to", tmp_path / "x.parquet")[0] == 0

    table = pd.read_parquet(tmp_path / "x.parquet")
    assert [*zip(table["seq"], table["kind"], map(json.loads, table["data"]), strict=True)] == expected
    assert table["time"].iloc[1] == pd.Timestamp(NOW + MINUTE, tz="UTC")
    assert str(table["mono"].dtype) == "int64"


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_an_empty_journal_can_be_exported(tmp_path, mnq, ending):
    path = told(tmp_path)

    code, out, _ = mnq("journal", "export", path, "--to", tmp_path / f"x{ending}", "--format", "json")

    assert code == 0
    assert json.loads(out) == {"schema": "mnq.journal-export/1", "file": str(tmp_path / f"x{ending}"), "events": 0}


def test_export_overwrites_nothing_and_leaves_nothing_half_written(path, tmp_path, mnq):
    (tmp_path / "x.csv").write_text("mine")

    assert mnq("journal", "export", path, "--to", tmp_path / "x.csv")[0] == 2
    assert (tmp_path / "x.csv").read_text() == "mine"
    assert mnq("journal", "export", path, "--to", tmp_path / "x.xls")[0] == 2
    assert mnq("journal", "export", path, "--to", tmp_path / "none" / "x.csv")[0] == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s", "x.csv"]


@given(st.integers(-(2**62), 2**63 - 1))
def test_no_nanosecond_is_lost_in_a_time(time):
    assert pd.Timestamp(iso(time)).value == time
