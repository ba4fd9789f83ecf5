"""What a session did is what the backtester does; and whatever is not is caught in its row, with its cause."""

import itertools
import json
import subprocess

import pandas as pd
import pytest

from mnqcore import BarRequest
from mnqcore.errors import UsageError
from mnqcore.market.instruments import catalogue
from mnqcore.trading.journal import FILE, Entry, Journal
from mnqplugins.data.synthetic import Synthetic
from tests.sessions import BUSY, command, counts, kill_at, newest_run, proven, rewritten, session, started
from tests.tiny import learn

NONE = {"features": 0, "orders": 0, "fills": 0, "ledger": 0}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("parity")


@pytest.fixture(scope="module")
def done(home):
    """A replay that has ended."""
    return session(home / "done", "cross", "data.days=4").run


def test_a_replay_is_what_the_backtester_does(home):
    found = proven(session(home / "long", "sized", "data.days=15").run)
    assert counts(found) == NONE
    assert found.holds
    assert found.exact
    assert found.features.compared == found.orders.compared > 4_000
    assert found.fills.compared > 20
    assert found.source == "data source 'synthetic'"
    assert (found.slippage.mean, found.slippage.worst, found.slippage.assumed) == (1.0, 1, 1)
    assert not found.given


def test_rows_from_anchors_are_what_the_session_computed(home):
    run = session(home / "paper", "sized", "data.days=8", "trade.broker.start=2024-01-10", mode="paper").run
    with Journal.read(run.path / FILE) as journal:
        assert journal.count("anchor") >= 2
    found = proven(run)
    assert counts(found) == NONE
    assert found.features.compared > 400
    assert found.features.left == 0


# What was tampered with.


def decisions(events):
    return [data for kind, data in events if kind == "decision"]


def shifted(events):
    """Each decision is that of the bar before it."""
    kept = decisions(events)
    own = ("bar", "number")
    moved = iter([kept[0], *({**old, **{name: new[name] for name in own}} for old, new in itertools.pairwise(kept))])
    return [(kind, next(moved) if kind == "decision" else data) for kind, data in events]


def changed(kind, at, **values):
    """Return what changes the `at`-th event of a kind; a value may be a function of the old one."""

    def change(events):
        found = [number for number, event in enumerate(events) if event[0] == kind]
        number = found[at]
        data = dict(events[number][1])
        for name, value in values.items():
            data[name] = value(data[name]) if callable(value) else value
        return [*events[:number], (kind, data), *events[number + 1 :]]

    return change


def test_decisions_shifted_by_one_bar_are_told(done, tmp_path):
    found = proven(rewritten(done, tmp_path, shifted))
    assert counts(found)["features"] > 500
    assert found.features.first.cause == "the decision is that of the bar before: shifted by one bar"
    assert not found.holds


def test_one_bit_of_one_feature_is_told(done, tmp_path):
    def flip(features):
        return [*features[:2], features[2] * (1 + 2**-52), *features[3:]]

    found = proven(rewritten(done, tmp_path, changed("decision", 300, features=flip)))
    assert counts(found) == {**NONE, "features": 1}
    assert found.features.first.bar == 300
    assert found.features.first.what.startswith("moves.")
    assert found.features.first.recorded != found.features.first.computed


def test_a_bar_of_the_journal_that_is_another_than_the_sources_is_told(done, tmp_path):
    found = proven(rewritten(done, tmp_path, changed("bar", 200, close=lambda ticks: ticks + 1)))
    assert counts(found) == {**NONE, "features": 1}
    first = found.features.first
    assert (first.bar, first.what) == (200, "close")
    assert first.cause == f"this bar was revised: close {first.recorded} now {first.computed}"


def test_an_action_that_the_agent_did_not_choose_is_told(done, tmp_path):
    found = proven(rewritten(done, tmp_path, changed("decision", 400, action=lambda action: 3 if action == 0 else 0)))
    assert counts(found)["features"] == 1
    assert found.features.first.bar == 400
    assert found.features.first.what == "action"


def entry(events):
    """Return the number, among the decisions, of the third that enters."""
    entering = [number for number, data in enumerate(decisions(events)) if data["contracts"]]
    return entering[2]


@pytest.mark.parametrize(("name", "by"), [("contracts", 1), ("stop", -1), ("target", 4), ("side", 2)])
def test_another_size_or_price_of_a_decision_is_told(done, tmp_path, name, by):
    def change(events):
        return changed("decision", entry(events), **{name: lambda value: value + by})(events)

    found = proven(rewritten(done, tmp_path, change))
    assert counts(found)["orders"] == 1
    assert found.orders.first.what == f"decision: {name}"
    assert counts(found)["features"] == 0


def intent(events, role, at):
    found = [number for number, (kind, data) in enumerate(events) if kind == "intent" and data["role"] == role]
    return found[at]


@pytest.mark.parametrize(("role", "cause"), [("entry", "lacks"), ("stop", "lacks"), ("exit", "lacks")])
def test_an_order_that_was_never_meant_is_told(done, tmp_path, role, cause):
    def change(events):
        number = intent(events, role, 1)
        return [*events[:number], *events[number + 1 :]]

    found = proven(rewritten(done, tmp_path, change))
    assert counts(found)["orders"] == 1
    assert cause in found.orders.first.cause
    assert found.orders.first.recorded == "none"


def test_another_price_of_a_stop_is_told(done, tmp_path):
    def change(events):
        number = intent(events, "stop", 1)
        data = events[number][1]
        return [*events[:number], ("intent", {**data, "price": data["price"] - 1}), *events[number + 1 :]]

    found = proven(rewritten(done, tmp_path, change))
    assert counts(found)["orders"] == 1
    assert found.orders.first.cause == "the order has another price"


def fill(events, at):
    found = [number for number, (kind, data) in enumerate(events) if kind == "event" and data["type"] == "Filled"]
    return found[at]


def with_execution(events, at, **values):
    number = fill(events, at)
    data = events[number][1]
    execution = dict(data["execution"])
    for name, value in values.items():
        execution[name] = value(execution[name])
    return [*events[:number], ("event", {**data, "execution": execution}), *events[number + 1 :]]


def test_a_fill_a_tick_worse_is_told(done, tmp_path):
    def worse(events):
        side = events[fill(events, 4)][1]["execution"]["side"]
        return with_execution(events, 4, price=lambda price: price + side)

    found = proven(rewritten(done, tmp_path, worse))
    assert counts(found)["fills"] == 1
    assert found.fills.first.cause == "1 tick worse"
    assert counts(found)["ledger"] >= 1  # the ledger that the journal holds was not made of this fill


def test_a_fill_of_another_bar_is_told(done, tmp_path):
    found = proven(
        rewritten(done, tmp_path, lambda events: with_execution(events, 0, time=lambda time: time + 300_000_000_000))
    )
    assert counts(found)["fills"] >= 1
    assert found.fills.first.cause == "filled 1 bar later"


def test_a_fill_that_is_not_known_is_told(done, tmp_path):
    def change(events):
        number = fill(events, 4)
        return [*events[:number], *events[number + 1 :]]

    found = proven(rewritten(done, tmp_path, change))
    assert counts(found)["fills"] >= 1
    assert found.fills.first.recorded == "no fill"


def test_a_ledger_that_no_fill_made_is_told(done, tmp_path):
    def change(events):
        return changed("bar", 250, ledger=lambda ledger: {**ledger, "cash": ledger["cash"] + 1})(events)

    found = proven(rewritten(done, tmp_path, change))
    assert counts(found)["ledger"] == 2  # it came from nowhere, and went nowhere
    assert found.ledger.first.bar == 250
    assert found.ledger.first.what == "cash"


def test_a_decision_that_is_missing_is_told(done, tmp_path):
    def change(events):
        number = [at for at, (kind, _) in enumerate(events) if kind == "decision"][300]
        return [*events[:number], *events[number + 1 :]]

    found = proven(rewritten(done, tmp_path, change))
    assert counts(found)["features"] == 1
    assert found.features.first.cause == "the journal lacks the decision of this bar"


def test_a_bar_that_is_missing_is_told(done, tmp_path):
    def change(events):
        number = [at for at, (kind, _) in enumerate(events) if kind == "bar"][300]
        return [*events[:number], *events[number + 1 :]]

    found = proven(rewritten(done, tmp_path, change))
    assert {one.cause for one in found.features.differences} == {
        "a bar is missing from the journal, or stands in it twice",
        "the journal holds no bar, or another decision already, for it",
    }


def test_another_slippage_than_the_strategys_is_told(tmp_path):
    run = session(tmp_path, "cross", "data.days=4", "trade.broker.slippage_ticks=2").run
    found = proven(run)
    assert counts(found)["fills"] > 5
    assert {**counts(found), "fills": 0} == NONE
    assert found.fills.first.cause == "every fill is 1 tick worse: slippage_ticks 2, the strategy says 1"
    assert (found.slippage.mean, found.slippage.worst, found.slippage.assumed) == (2.0, 2, 1)


# Bars of another source.


@pytest.fixture
def bars():
    """Bars of four days, all contracts."""
    request = BarRequest(instrument=catalogue()["MNQ"], bar_size=pd.Timedelta("5min"))
    return Synthetic(days=4, market="no-edge").bars(request)


def from_file(folder, bars):
    """Write bars; return the settings that read them."""
    folder.mkdir(parents=True, exist_ok=True)
    bars.to_parquet(folder / "bars.parquet")
    return (f"data={{use='file', path='{(folder / 'bars.parquet').as_posix()}'}}",)


def test_a_bar_that_the_source_revised_is_told_with_both_prices(tmp_path, bars):
    run = session(tmp_path, "cross", *from_file(tmp_path, bars)).run
    assert counts(proven(run)) == NONE

    later = bars.copy()
    at = later.index[500]
    low = later.loc[at, "low"]
    later.loc[at, ["low", "close"]] = low - 0.25
    from_file(tmp_path, later)
    found = proven(run)
    assert 1 <= counts(found)["features"] < 40  # this bar, and those whose features reach back to it
    first = found.features.first
    assert first.bar == 500
    assert first.cause.startswith("this bar was revised: low ")
    assert f"now {low - 0.25:,.2f}, close " in first.cause
    assert {one.cause for one in found.features.differences[1:]} <= {"a bar before it was revised"}


def test_a_source_that_has_lost_a_bar_is_told(tmp_path, bars):
    run = session(tmp_path, "cross", *from_file(tmp_path, bars)).run
    from_file(tmp_path, bars.drop(bars.index[500]))
    first = proven(run).features.first
    assert (first.bar, first.computed) == (500, "the data source has none of this start")


LATER = """
import numpy as np
import pandas as pd

from mnqcore import hookimpl, plugin

@plugin
class Peek:
    '''The mean of all bars, later ones too.'''

    def compute(self, view):
        close = view.bars["close"]
        return pd.DataFrame({"mean": np.full(len(close), close.mean())}, index=close.index)

@hookimpl
def register_feature_sets(register):
    register("peek", Peek)
"""


def test_a_feature_that_knows_the_future_is_named(tmp_path):
    file = tmp_path / "peek.py"
    file.write_text(LATER)
    settings = ("data.days=5", "trade.broker.start=2024-01-05", "features.peek={use='peek'}")
    found = proven(session(tmp_path, "cross", *settings, mode="paper", plugins=[str(file)]).run)
    assert counts(found)["features"] > 100
    assert found.features.first.cause == ("a plugin knows the future: peek.mean is another once later bars are known")


AWAY = """
from typing import ClassVar

from mnqcore import hookimpl, plugin
from mnqplugins.brokers.simulated import Simulated

@plugin
class Away(Simulated):
    '''Fills as it likes, on bars of its own.'''

    replays: ClassVar[bool] = False

@hookimpl
def register_brokers(register):
    register("away", Away)
"""


def test_fills_of_a_real_broker_are_measured_and_its_bars_are_those_of_the_journal(tmp_path):
    file = tmp_path / "away.py"
    file.write_text(AWAY)
    broker = "trade.broker={use='away', start='2024-01-03', slippage_ticks=3}"
    found = proven(session(tmp_path, "cross", "data.days=5", broker, mode="paper", plugins=[str(file)]).run)
    assert counts(found) == NONE
    assert not found.exact
    assert found.source == "the journal's bars"
    assert found.features.compared > 300
    assert 200 < found.features.left < 300  # the first day: what lies before it is not in the journal
    assert (found.slippage.mean, found.slippage.worst, found.slippage.assumed) == (3.0, 3, 1)


# The world.

FAULTS = (
    "bar 40: partial 1", "bar 120: disconnect 5", "bar 200: drop filled", "bar 300: reject entry",
    "bar 500: silent 3", "bar 600: duplicate bar", "bar 700: cancel stop", "bar 800: delay filled 2",
)  # fmt: skip


def test_what_the_world_does_is_given_and_no_difference(tmp_path):
    run = session(tmp_path, "sized", "data.days=6", f"trade.broker.faults={json.dumps(FAULTS)}", *BUSY).run
    found = proven(run)
    assert counts(found) == NONE
    given = found.given
    assert given["times disconnected"] == 1
    assert given["orders rejected"] == 1
    assert given["bars too old to decide at"] >= 4
    assert given["bars never delivered"] >= 2
    assert given["bars told apart: duplicate"] == 1
    assert given["orders filled in parts"] >= 1


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        (["bar 100: trade +1"], "fills of others"),
        (["bar 150: liquidate"], "forced liquidations"),
        (["bar 300: swallow entry"], "orders that the broker never spoke of"),
        (["bar 100: reject exit", "bar 300: cancel exit"], "orders rejected"),
        (["bar 150: bust", "bar 400: correct -2"], "fills corrected"),
        (["bar 100: late 2", "bar 200: revise close +4", "bar 300: forming"], "bars told apart: late"),
    ],
)
def test_no_fault_of_the_broker_is_a_difference(tmp_path, faults, told):
    found = proven(session(tmp_path, "sized", "data.days=3", f"trade.broker.faults={json.dumps(faults)}", *BUSY).run)
    assert counts(found) == NONE
    assert found.given[told] >= 1


def test_what_the_world_rules_refused_is_listed(tmp_path):
    run = session(tmp_path, "cross", "data.days=4", "trade.limits.max_stop_ticks=100").run
    found = proven(run)
    assert counts(found) == NONE
    assert found.given["entries refused by P14 stop-distance"] > 5
    assert found.fills.compared == 0
    assert found.slippage is None


def test_an_entry_sent_although_the_world_refused_it_is_told(done, tmp_path):
    def change(events):
        return changed("decision", entry(events), world=["margin"])(events)

    found = proven(rewritten(done, tmp_path, change))
    assert counts(found) == {**NONE, "orders": 1}
    assert found.orders.first.cause == "nothing decided demands it"


# Killed, going on, by a model.


def test_a_session_that_was_killed_and_started_again(tmp_path):
    settings = ("data.days=6", *BUSY)
    folder = tmp_path / "runs" / "sized" / ".session-replay-SIM"
    for bars in (150, 700):
        kill_at(started(tmp_path, "sized", *settings), folder / FILE, bars)
        going = proven(folder)  # of a session that has not ended
        assert counts(going) == NONE
        assert going.features.compared >= bars
    process = started(tmp_path, "sized", *settings)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told

    found = proven(newest_run(tmp_path, "sized"))
    assert counts(found) == NONE
    assert found.given["restarts"] == 2
    whole = session(tmp_path / "whole", "sized", *settings).run
    run = newest_run(tmp_path, "sized")
    assert pd.read_parquet(run / "trades.parquet").equals(whole.trades)
    assert pd.read_parquet(run / "equity.parquet")["equity"].equals(whole.equity)


@pytest.fixture(scope="module")
def trained(home):
    """A model of a second's training."""
    return learn(home / "model", "agent.timesteps=1024", "agent.checkpoint=512")


def test_a_model_is_found_again_by_its_run_and_its_sha(home, trained, tmp_path):
    from tests.tiny import STRATEGY as TINY

    run = session(home / "model", "tiny", *BUSY, text=TINY, model=trained.run.name).run
    assert run.manifest["model"]["run"] == trained.run.name
    found = proven(run)
    assert counts(found) == NONE
    assert found.features.compared > 500

    other = learn(home / "model", "agent.timesteps=1024", "agent.checkpoint=512", "seed=7").run
    with pytest.raises(UsageError, match="holds no model of sha"):
        proven(run, model=other.name)
    changes = changed("decision", 300, position=lambda seen: [seen[0], seen[1] + 0.5, *seen[2:]])
    tampered = proven(rewritten(run, home / "model" / "runs", changes), model=str(trained.run.path))
    assert counts(tampered) == {**NONE, "features": 1}
    assert tampered.features.first.what == "unrealised profit"


def test_what_cannot_be_proven_says_why(done, tmp_path):
    place = rewritten(done, tmp_path, lambda events: events)
    text = (place / "resolved.toml").read_text()
    (place / "resolved.toml").write_text(text.replace("stop_ticks = 120", "stop_ticks = 121"))
    with pytest.raises(UsageError, match="not the one that the session was begun with"):
        proven(place)

    empty = tmp_path / "empty" / "run"
    empty.mkdir(parents=True)
    (empty / "resolved.toml").write_text(text)
    with Journal.read(place / FILE) as journal:
        header = journal.header
    with Journal.create(empty / FILE, header) as journal:
        journal.write(Entry("state", {"state": "ACTIVE", "why": ""}), now=1)
    with pytest.raises(UsageError, match="no bar has closed"):
        proven(empty)


# The command.


def mnq(*arguments, cwd):
    return subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True, check=False)


def test_the_command_shows_the_rows_and_its_exit_code_says_whether_they_agree(tmp_path):
    ended = started(tmp_path, "cross", "data.days=3")
    _, told = ended.communicate(timeout=300)
    assert ended.returncode == 0, told
    run = newest_run(tmp_path, "cross")

    shown = mnq("parity", run.name, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(tuple(NONE))] == [*NONE]
    assert lines[-1].strip() == "it did what the backtester does"
    assert max(map(len, lines)) <= 80

    document = json.loads(mnq("parity", run.name, "--format", "json", cwd=tmp_path).stdout)
    assert document["schema"] == "mnq.parity/1"
    assert document["holds"] is True
    assert {name: row["differ"] for name, row in document["rows"].items()} == NONE


def test_the_command_shows_the_first_difference_of_each_row(done, tmp_path):
    place = rewritten(done, tmp_path, changed("bar", 200, close=lambda ticks: ticks + 1))
    shown = mnq("parity", place, cwd=tmp_path)
    assert shown.returncode == 1, shown.stderr
    assert "features: the first that differs: bar 200, 2024-01-0" in shown.stdout
    assert "cause     this bar was revised: close " in shown.stdout

    document = json.loads(mnq("parity", place, "--format", "json", cwd=tmp_path).stdout)
    assert document["holds"] is False
    assert document["rows"]["features"]["first"]["bar"] == 200
