"""Runs on disk: kept whole or not at all, found again, listed, compared, verified and removed; the Python face."""

import csv
import io
import json
import os
import shutil
import sys
import threading
import time
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

import mnqcore
from mnqcore.cli import main
from mnqcore.errors import DataError, MnqError, PluginError, StrategyError, UsageError
from mnqcore.plugins import load as load_plugins
from mnqcore.runs import Draft, list_runs
from mnqcore.stages.verify import verify

STRATEGY = """
format = 1
[defaults]
instrument = "MNQ"
data = { use = "synthetic", days = 12 }
features.moves = { use = "returns", horizons = [1, 3] }

[strategy.cross]
agent = { use = "sma-cross", fast = 5, slow = 20 }

[strategy.twice]
extends = "cross"
agent = { slow = 40 }
risk = { max_position = 2 }
sizer = { contracts = 2 }

[strategy.real]
extends = "cross"
data = { use = "file", path = "bars.csv" }

[strategy.own]
extends = "cross"
agent = { use = "patient", bars = 7 }
"""
PLUGIN = """
from mnqcore import Action, hookimpl, param, plugin

@plugin
class Patient:
    '''Buy after so many bars without a new low.'''
    bars: int = param(5, ge=2)
    warmup = 50
    def signals(self, view):
        low = view.bars["low"]
        calm = low > low.shift(1).rolling(self.bars).min()
        return calm.astype("int8") * Action.BUY + (~calm).astype("int8") * Action.CLOSE

@hookimpl
def register_agents(register):
    register("patient", Patient)
"""
WATCHER = """
from mnqcore import hookimpl
SEEN = []

@hookimpl
def run_started(run):
    SEEN.append(("started", run.strategy))

@hookimpl
def trade_closed(run, trade):
    SEEN.append(("trade", trade["reason"], trade["net"]))

@hookimpl
def run_finished(run, result):
    SEEN.append(("finished", run.name, result.metrics["net_profit"]))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory, make_view):
    folder = tmp_path_factory.mktemp("home")
    (folder / "s.toml").write_text(STRATEGY)
    (folder / "patient.py").write_text(PLUGIN)
    make_view(12).bars.drop(columns="contract").to_csv(folder / "bars.csv")
    return folder


@pytest.fixture(scope="module")
def kept(home):
    """Runs by strategy: `cross` was run twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        plugins = load_plugins(["patient.py"])
        names = ("cross", "twice", "real", "own")
        made = {name: mnqcore.run("s.toml", name, plugins=plugins).run for name in names}
        made["cross again"] = mnqcore.run("s.toml", "cross", plugins=load_plugins()).run
    return made


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.chdir(home)


@pytest.fixture
def copied(kept, tmp_path):
    """Copies a run, to be tampered with."""

    def copy(name):
        place = tmp_path / "runs" / name / kept[name].path.name
        shutil.copytree(kept[name].path, place)
        return mnqcore.open_run(place)

    return copy


def said(capsys, *arguments, code=0):
    found = main([*map(str, arguments)])
    out, err = capsys.readouterr()
    assert found == code, err
    return out


def differing(run):
    return {level.name: level.differs for level in verify(run) if level.differs}


class TestWhatIsKept:
    def test_a_run_holds_all_that_is_promised(self, kept):
        files = {path.name for path in kept["cross again"].path.iterdir()}

        assert files == {
            "resolved.toml", "manifest.json", "metrics.json", "trades.parquet", "equity.parquet", "log.jsonl"
        }  # fmt: skip
        assert kept["cross"].path.parent.name == "cross"
        assert kept["cross"].path.name.endswith(f"Z-{kept['cross'].manifest['digest'][:8]}")

    def test_the_same_strategy_twice_gives_the_same_bytes(self, kept):
        one, two = kept["cross"], kept["cross again"]

        assert one.path != two.path
        for name in ("metrics.json", "resolved.toml"):
            assert (one.path / name).read_bytes() == (two.path / name).read_bytes()
        pd.testing.assert_frame_equal(one.trades, two.trades)
        pd.testing.assert_series_equal(one.equity, two.equity)
        assert one.manifest["hashes"] == two.manifest["hashes"]

    def test_the_metrics_hold_no_time_of_the_clock_and_no_nan(self, kept):
        text = (kept["cross"].path / "metrics.json").read_text()

        assert f"{datetime.now(UTC):%Y-%m}" not in text
        assert "NaN" not in text
        assert "Infinity" not in text

    def test_the_log_says_what_happened_when(self, kept):
        lines = [json.loads(line) for line in (kept["cross"].path / "log.jsonl").read_text().splitlines()]

        events = [line["event"] for line in lines]
        assert events == [
            "started", "bars", "plugins", "look-ahead", "simulator", "metrics", "baselines", "finished"
        ]  # fmt: skip
        assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)

    def test_a_plugin_file_is_copied_and_hashed(self, kept):
        run = kept["own"]

        assert [path.read_text() for path in run.plugin_files] == [PLUGIN]
        assert "plugins/patient.py" in run.manifest["files"]

    def test_two_runs_in_one_second_do_not_collide(self, tmp_path):
        moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        draft = {"base": tmp_path, "strategy": "x", "digest": "0123456789ab"}
        drafts = [Draft(**draft, started=moment.replace(microsecond=number)) for number in range(8)]
        made = []

        def keep(one):
            one.begin("")
            made.append(one.keep(metrics={}, tables={}, manifest={}).path.name)

        threads = [threading.Thread(target=keep, args=(one,)) for one in drafts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        wanted = "20260102T030405Z-01234567"
        assert sorted(made) == sorted([wanted, *(f"{wanted}-{number}" for number in range(2, 9))])
        assert {path.name for path in (tmp_path / "x").iterdir()} == set(made)

    def test_what_killed_processes_left_is_removed_after_a_day(self, tmp_path):
        hours = {".partial-1-old": 25, ".partial-2-young": 23, "20200101T000000Z-01234567": 9_999}
        for name, age in hours.items():
            folder = tmp_path / "other" / name
            folder.mkdir(parents=True)
            (folder / "manifest.json").write_text("{}")
            os.utime(folder, (time.time() - age * 3600,) * 2)
        draft = Draft(base=tmp_path, strategy="x", digest="0" * 64)
        draft.begin("")

        run = draft.keep(metrics={}, tables={}, manifest={})

        assert {path.name for path in (tmp_path / "other").iterdir()} == set(hours) - {".partial-1-old"}
        assert list((tmp_path / "x").iterdir()) == [run.path]

    def test_a_run_of_more_than_a_day_is_kept_though_another_swept(self, tmp_path):
        long, short = (Draft(base=tmp_path, strategy="x", digest=digit * 64) for digit in "01")
        long.begin("a")
        short.begin("a")
        for folder in (tmp_path / "x").iterdir():
            os.utime(folder, (time.time() - 90_000,) * 2)

        kept = [draft.keep(metrics={}, tables={}, manifest={}) for draft in (short, long)]

        assert [run.resolved for run in kept] == ["a", "a"]
        assert set((tmp_path / "x").iterdir()) == {run.path for run in kept}

    def test_a_run_that_fails_leaves_nothing_and_no_directory(self, tmp_path):
        with pytest.raises(DataError):
            mnqcore.run("s.toml", "real", set={"data.path": "missing.csv"}, runs_dir=tmp_path / "a" / "b")

        assert list(tmp_path.iterdir()) == [tmp_path / "a"]
        assert list((tmp_path / "a").iterdir()) == []

    def test_a_figure_that_is_not_finite_is_never_written(self, tmp_path):
        draft = Draft(base=tmp_path, strategy="x", digest="0" * 64)
        draft.begin("")
        with pytest.raises(ValueError, match="not JSON compliant"):
            draft.keep(metrics={"sharpe": float("nan")}, tables={}, manifest={})
        draft.discard()

        assert not list(tmp_path.iterdir())


class TestPythonFace:
    def test_run_returns_figures_tables_and_where_they_lie(self, home, tmp_path):
        result = mnqcore.run("s.toml", "cross", set={"agent.fast": 4, "session.rth": True}, runs_dir=tmp_path)

        assert result.metrics["strategy"] == "cross"
        assert len(result.trades) == result.metrics["trades"]["count"] > 0
        assert result.equity.iloc[-1] == pytest.approx(10_000 + result.metrics["net_profit"])
        assert all(name.startswith("moves.") for name in result.features.columns.astype(str))
        assert len(result.features.columns) >= 2
        assert result.run == mnqcore.open_run(result.run.path)
        pd.testing.assert_frame_equal(result.run.trades, result.trades)
        np.testing.assert_array_equal(result.run.equity.to_numpy(), result.equity.to_numpy())
        assert result.run.metrics == json.loads(json.dumps(result.metrics))
        assert "fast = 4  # --set agent.fast=4" in result.run.resolved

    def test_set_as_text_is_the_same(self, home, tmp_path):
        one = mnqcore.run("s.toml", "cross", set={"agent.fast": 4, "summary": 'a "quoted" word'}, runs_dir=tmp_path)
        two = mnqcore.run("s.toml", "cross", set=["agent.fast=4"], runs_dir=tmp_path)

        assert one.metrics == two.metrics

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"strategy": None}, UsageError),
            ({"stages": "train"}, UsageError),
            ({"set": {"agent.fast": None}}, UsageError),
            ({"set": {"agent.fast": object()}}, UsageError),
            ({"set": {"agent.fast": 0}}, StrategyError),
        ],
    )
    def test_errors_are_of_the_tree(self, arguments, error, home, tmp_path):
        with pytest.raises(error):
            mnqcore.run("s.toml", **{"strategy": "cross", **arguments}, runs_dir=tmp_path / "runs")
        assert not (tmp_path / "runs").exists()

    def test_observers_are_told_of_the_beginning_each_trade_and_the_end(self, tmp_path):
        (tmp_path / "watcher.py").write_text(WATCHER)
        plugins = load_plugins([str(tmp_path / "watcher.py")])

        result = mnqcore.run("s.toml", "cross", plugins=plugins, runs_dir=tmp_path / "runs")

        files = {getattr(module, "__file__", None): module for module in sys.modules.values()}
        watcher = files[str(tmp_path / "watcher.py")]
        first, *trades, last = watcher.SEEN
        assert first == ("started", "cross")
        assert trades == [("trade", row.reason, row.net) for row in result.trades.itertuples()]
        assert last == ("finished", result.run.name, result.metrics["net_profit"])


class TestOpenRun:
    def test_by_path_name_and_parts(self, kept):
        run = kept["twice"]
        digest = run.path.name.partition("-")[2]

        for given in (run.path, run.name, run.path.name, digest, digest[:4], run.name[:12], str(run.path)):
            assert mnqcore.open_run(given) == run

    def test_a_part_that_fits_several_is_refused_with_their_names(self, kept):
        with pytest.raises(UsageError, match="2 runs fit") as error:
            mnqcore.open_run(kept["cross"].path.name.partition("-")[2].partition("-")[0])
        assert kept["cross"].name in str(error.value)

    @pytest.mark.parametrize("given", ["", ".", "/", "x", "nothing/here", "cro", "..", "20", "*"])
    def test_what_is_no_run_is_refused(self, given):
        with pytest.raises(UsageError, match="no run"):
            mnqcore.open_run(given)

    def test_a_near_miss_is_suggested(self, kept):
        with pytest.raises(UsageError, match=f"did you mean {kept['twice'].name}"):
            mnqcore.open_run(kept["twice"].name.replace("twice", "twise"))

    def test_a_run_of_another_format_is_refused(self, copied):
        run = copied("cross")
        (run.path / "manifest.json").write_text('{"schema": "mnq.run/99"}')

        with pytest.raises(DataError, match="of a format"):
            _ = run.manifest

    @pytest.mark.parametrize("name", ["manifest.json", "metrics.json", "trades.parquet", "resolved.toml"])
    @pytest.mark.parametrize("content", [None, b"", b"\xff\x00{"])
    def test_a_file_that_cannot_be_read_is_named(self, name, content, copied):
        run = copied("cross")
        (run.path / name).unlink()
        if content is not None:
            (run.path / name).write_bytes(content)
        read = {"manifest.json": "manifest", "metrics.json": "metrics", "trades.parquet": "trades"}

        if name == "resolved.toml" and content == b"":
            assert run.resolved == ""
            return
        with pytest.raises(DataError, match=f"cannot read {name}"):
            getattr(run, read.get(name, "resolved"))


class TestCommands:
    def test_list(self, kept, capsys):
        lines = said(capsys, "runs", "list").splitlines()

        assert lines[0].split() == ["RUN", "NET", "SHARPE", "DRAWDOWN", "TRADES"]
        assert sorted(line.split()[0] for line in lines[1:-1]) == sorted(run.name for run in kept.values())
        assert lines[-1].startswith("* SYNTHETIC")
        marked = {line.split()[0] for line in lines[1:-1] if line.endswith("*")}
        assert kept["real"].name not in marked
        assert kept["cross"].name in marked
        assert max(map(len, lines)) <= 80

    def test_list_as_json_is_oldest_first(self, kept, capsys):
        document = json.loads(said(capsys, "runs", "list", "--format", "json"))

        assert document["schema"] == "mnq.runs/1"
        assert len(document["runs"]) == 5
        seconds = [one["started"][:19] for one in document["runs"]]
        assert seconds == sorted(seconds)
        assert document["runs"][0]["net_profit"] == mnqcore.open_run(document["runs"][0]["run"]).metrics["net_profit"]

    def test_list_leaves_out_and_names_what_it_cannot_read(self, copied, capsys):
        good, torn, poor = copied("cross"), copied("twice"), copied("real")
        (torn.path / "metrics.json").write_text("{")
        (poor.path / "metrics.json").write_text("{}")

        assert main(["runs", "list", "--runs-dir", str(good.path.parents[1])]) == 0
        out, err = capsys.readouterr()

        assert good.name in out
        assert torn.name not in out
        assert f"warning: {torn.name} is left out: cannot read metrics.json" in err
        assert f"warning: {poor.name} is left out: its files lack" in err

    def test_nothing_to_list(self, tmp_path, capsys):
        assert said(capsys, "runs", "list", "--runs-dir", tmp_path).startswith("no runs under ")

    def test_show_prints_the_figures(self, kept, capsys):
        out = said(capsys, "runs", "show", kept["real"].path.name)

        assert "SYNTHETIC" not in out
        assert "data     file bars.csv   sha " in out
        assert f"{kept['real'].metrics['net_profit']:,.2f}" in out

    def test_show_as_json(self, kept, capsys):
        document = json.loads(said(capsys, "runs", "show", kept["cross"].name, "--format", "json"))

        assert document["schema"] == "mnq.backtest/1"
        assert document["metrics"] == kept["cross"].metrics

    def test_trades_as_table_csv_and_json(self, kept, capsys):
        trades = kept["cross"].trades
        show = ("runs", "show", kept["cross"].name, "--trades")

        table = said(capsys, *show).splitlines()
        assert table[0].startswith("SYNTHETIC")
        assert len(table) == len(trades) + 2
        assert max(map(len, table)) <= 80
        rows = list(csv.DictReader(io.StringIO(said(capsys, *show, "--format", "csv"))))
        assert [float(row["net"]) for row in rows] == trades["net"].tolist()
        assert rows[0]["entry_time"] == trades["entry_time"].iloc[0].isoformat()
        document = json.loads(said(capsys, *show, "--format", "json"))
        assert document["schema"] == "mnq.trades/1"
        assert [trade["exit_time"] for trade in document["trades"]] == [
            time.isoformat() for time in trades["exit_time"]
        ]
        assert document["trades"][0].keys() == set(trades.columns)

    @pytest.mark.parametrize("period", ["hour", "weekday", "month"])
    def test_by_adds_up(self, period, kept, capsys):
        show = ("runs", "show", kept["cross"].name, "--by", period)
        document = json.loads(said(capsys, *show, "--format", "json"))

        net = sum(part["net"] for part in document["groups"].values())
        assert net == pytest.approx(kept["cross"].trades["net"].sum())
        table = said(capsys, *show).splitlines()
        assert table[2].split() == [period.upper(), "TRADES", "WIN", "NET", "AVERAGE"]
        assert [line.split()[0] for line in table[3:]] == list(document["groups"])

    @pytest.mark.parametrize("wrong", [["--format", "csv"], ["--by", "year"], ["--by", "hour", "--trades"]])
    def test_questions_that_make_no_sense(self, wrong, kept, capsys):
        said(capsys, "runs", "show", kept["cross"].name, *wrong, code=2)

    def test_compare_says_what_differs(self, kept, capsys):
        names = [kept["cross"].name, kept["twice"].name]
        out = said(capsys, "runs", "compare", *names)

        assert out.startswith("SYNTHETIC bars")
        for line in ("agent.slow: [1] 20   [2] 40", "sizer.contracts: [1] 1   [2] 2"):
            assert line in out.splitlines()
        assert "agent.fast" not in out
        document = json.loads(said(capsys, "runs", "compare", *names, "--format", "json"))
        assert document["settings"]["risk.max_position"] == ["1", "2"]
        assert [side["run"] for side in document["runs"]] == names

    def test_compare_of_equal_runs(self, kept, capsys):
        out = said(capsys, "runs", "compare", kept["cross"].path, kept["cross again"].path)

        assert out.endswith("no setting differs\n")

    def test_compare_warns_of_invented_bars_beside_real_ones(self, kept, capsys):
        out = said(capsys, "runs", "compare", kept["cross"].path, kept["real"].path)

        assert out.startswith("SYNTHETIC bars beside real ones")
        assert "data.use: [1] synthetic   [2] file" in out

    def test_rm_asks_unless_told_not_to(self, copied, capsys, monkeypatch):
        run = copied("cross")
        base = run.path.parents[1]
        monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
        said(capsys, "runs", "rm", run.path.name, "--runs-dir", base, code=1)
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert main(["runs", "rm", run.path.name, "--runs-dir", str(base)]) == 1
        assert "the input ended before the question was answered" in capsys.readouterr().err
        assert list_runs(base) == [run]

        assert said(capsys, "runs", "rm", run.path.name, run.path, "--yes", "--runs-dir", base).count("deleted") == 1
        assert list_runs(base) == []
        assert list(base.iterdir()) == []

    def test_rm_of_one_unknown_run_removes_none(self, copied, capsys):
        run = copied("cross")

        said(capsys, "runs", "rm", run.path, "nothing-like-it", "--yes", code=2)

        assert run.path.exists()


class TestVerify:
    def test_an_untouched_run_is_equal_at_every_level(self, kept, capsys):
        out = said(capsys, "runs", "verify", kept["cross"].name)

        assert [line.split() for line in out.splitlines()] == [
            [name, "equal"] for name in ("inputs", "features", "ledger", "figures", "versions")
        ]
        document = json.loads(said(capsys, "runs", "verify", kept["cross"].name, "--format", "json"))
        assert document["schema"] == "mnq.verify/1"
        assert all(level["equal"] for level in document["levels"].values())

    def test_a_run_with_a_plugin_file_uses_its_copy(self, kept, home, capsys, monkeypatch):
        monkeypatch.chdir(home / "runs")  # the file itself is not here

        said(capsys, "runs", "verify", kept["own"].path)

    def test_figures_that_were_changed(self, copied, capsys):
        run = copied("cross")
        path = run.path / "metrics.json"
        path.write_text(path.read_text().replace('"bars": ', '"bars": 1', 1))

        assert differing(run) == {"figures": ("bars", "metrics.json is not as it was written")}
        assert "figures   DIFFERS: bars; metrics.json is not" in said(capsys, "runs", "verify", run.path, code=1)

    def test_trades_that_were_changed(self, copied):
        run = copied("cross")
        run.trades.assign(net=1e6).to_parquet(run.path / "trades.parquet")

        assert differing(run) == {"ledger": ("trades.parquet is not as it was written",)}

    def test_equity_that_is_gone(self, copied):
        run = copied("cross")
        (run.path / "equity.parquet").unlink()

        assert differing(run) == {"ledger": ("equity.parquet is not as it was written",)}

    def test_bars_that_were_changed(self, copied, home):
        run, path = copied("real"), home / "bars.csv"
        before = path.read_bytes()
        bars = pd.read_csv(path)
        bars["close"] = bars["low"]
        try:
            bars.to_csv(path, index=False)
            found = differing(run)
        finally:
            path.write_bytes(before)

        assert found["inputs"][0].startswith("data ")
        assert "features" in found
        assert not differing(run)

    def test_bars_that_lie_elsewhere(self, kept, tmp_path, monkeypatch, home):
        monkeypatch.chdir(tmp_path)

        with pytest.raises(DataError, match="no such file") as error:
            verify(kept["real"])
        assert f"{home}: paths may be relative to it" in str(error.value)

    def test_a_plugin_copy_that_was_changed(self, copied):
        run = copied("own")
        (copy,) = run.plugin_files
        copy.write_text(copy.read_text().replace("rolling(self.bars)", "rolling(self.bars + 3)"))

        found = differing(run)

        assert found["inputs"] == ("plugins/patient.py is not as it was written",)
        assert "ledger" in found
        assert "figures" in found

    def test_a_plugin_copy_that_is_gone(self, copied):
        run = copied("own")
        run.plugin_files[0].unlink()

        with pytest.raises(MnqError, match="patient"):
            verify(run)

    def test_a_plugin_copy_that_is_broken(self, copied):
        run = copied("own")
        run.plugin_files[0].write_text(PLUGIN.replace("low = ", "low = nothing + "))

        with pytest.raises(PluginError, match="patient"):
            verify(run)

    def test_a_strategy_that_was_changed(self, copied):
        run = copied("cross")
        path = run.path / "resolved.toml"
        path.write_text(path.read_text().replace("fast = 5", "fast = 6"))

        found = differing(run)

        assert [text.split()[0] for text in found["inputs"]] == ["strategy", "resolved.toml"]
        assert "ledger" in found
        assert "features" not in found

    def test_another_version_decides_nothing(self, copied, capsys):
        run = copied("cross")
        path = run.path / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["versions"]["numpy"] = "1.0"
        path.write_text(json.dumps(manifest))

        out = said(capsys, "runs", "verify", run.path)

        assert "versions  others (this alone is no failure): numpy 1.0 now " in out
