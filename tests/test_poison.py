"""Poisoned bars, strategy files and plugins end in a clear error with the right exit code, and leave nothing behind."""

import gzip
import json
import textwrap

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnqcore.cli import main
from mnqcore.runs import list_runs

STRATEGY = """
format = 1
[strategy.small]
instrument = "MNQ"
bar_size = "5 min"
agent = { use = "sma-cross", fast = 3, slow = 8 }
"""


def small_bars(days=3):
    """Bars of the cash session, on ticks, as a user's CSV holds them."""
    open_ = pd.bdate_range("2024-06-03", periods=days) + pd.Timedelta("13h30min")
    times = [time for start in open_ for time in pd.date_range(start, periods=78, freq="5min", tz="UTC")]
    draw = np.random.default_rng(1)
    close = 18_000 + np.cumsum(draw.integers(-40, 41, len(times))) * 0.25
    begin = np.append(18_000, close[:-1])
    return pd.DataFrame(
        {
            "time": [time.isoformat() for time in times],
            "open": begin,
            "high": np.maximum(begin, close) + draw.integers(0, 20, len(times)) * 0.25,
            "low": np.minimum(begin, close) - draw.integers(0, 20, len(times)) * 0.25,
            "close": close,
            "volume": draw.integers(1, 1000, len(times)).astype(float),
        }
    )


CSV = small_bars().to_csv(index=False).encode()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory with a strategy file and good bars."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(STRATEGY)
    (tmp_path / "ok.csv").write_bytes(CSV)
    return tmp_path


def refused(capsys, *arguments):
    """Exit code and stderr of a run that must fail in words, print no result and leave no run."""
    code = main(["run", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert code != 0, out
    assert out == ""
    assert "Traceback" not in err
    assert "bug in mnq" not in err
    assert err.isascii() or any(not text.isascii() for text in map(str, arguments))
    return code, err


def assert_set_aside(folder, err):
    """What is left of a run that a plugin ended: why, and a strategy file that runs it again; it is no run."""
    (left,) = folder.glob("runs/small/*")
    assert left.name.endswith("-failed")
    assert f"kept    {left}" in err
    found = json.loads((left / "error.json").read_text())
    assert found["schema"] == "mnq.error/1"
    assert found["error"]["exit_code"] == 4
    assert err.startswith(f"error: {found['error']['what']}\n")
    assert found["traceback"][-1] != ""
    assert main(["check", str(left / "resolved.toml"), "-p", str(left / "plugins" / "bad_plugin.py")]) == 0
    assert list_runs(folder / "runs") == []


def value_at(column, value, row=100):
    bars = small_bars()
    bars[column] = bars[column].astype(object)
    bars.loc[row, column] = value
    return bars.to_csv(index=False).encode()


def changed(change):
    return change(small_bars()).to_csv(index=False).encode()


def at_weekend(bars):
    return (
        bars.assign(time=[text.replace("2024-06-0", "2024-06-2") for text in bars["time"]])
        .iloc[-78:]
        .assign(time=lambda some: [text.replace("2024-06-25", "2024-06-22") for text in some["time"]])
    )


POISONED_BARS = {
    "shuffled": lambda: changed(lambda bars: bars.sample(frac=1, random_state=1)),
    "reversed": lambda: changed(lambda bars: bars[::-1]),
    "doubled": lambda: changed(lambda bars: pd.concat([bars, bars])),
    "a row twice": lambda: changed(lambda bars: pd.concat([bars[:50], bars[49:]])),
    "an empty cell": lambda: value_at("close", ""),
    "nan": lambda: value_at("close", "NaN"),
    "inf": lambda: value_at("high", "inf"),
    "negative price": lambda: value_at("low", -5),
    "negative volume": lambda: value_at("volume", -5),
    "high below low": lambda: value_at("high", 100),
    "zero prices": lambda: changed(lambda bars: bars.assign(open=0.0, high=0.0, low=0.0, close=0.0)),
    "one huge price": lambda: value_at("high", 1e18),
    "a price beyond floats": lambda: value_at("high", "1e400"),
    "huge prices": lambda: changed(lambda bars: bars.assign(**bars[["open", "high", "low", "close"]] * 1e15)),
    "text for a price": lambda: value_at("open", "abc"),
    "text for a time": lambda: value_at("time", "yesterday"),
    "no bars": lambda: changed(lambda bars: bars[:0]),
    "one bar": lambda: changed(lambda bars: bars[:1]),
    "all outside trading hours": lambda: changed(at_weekend),
    "no close": lambda: changed(lambda bars: bars.rename(columns={"close": "klose"})),
    "no time": lambda: changed(lambda bars: bars.drop(columns="time")),
    "nothing": lambda: b"",
    "cut in a line": lambda: CSV[: len(CSV) // 2],
    "binary": lambda: np.random.default_rng(0).integers(0, 256, 5_000, dtype=np.uint8).tobytes(),
    "zero bytes": lambda: CSV[:3_000] + b"\0" * 300 + CSV[3_000:],
    "an open quote": lambda: CSV[:3_000] + b'"' + CSV[3_000:],
    "another encoding": lambda: CSV[:3_000] + b"\xff\xfe\xe9" + CSV[3_000:],
}


@pytest.mark.parametrize("poison", POISONED_BARS)
def test_poisoned_bars_are_data_errors(poison, folder, capsys):
    (folder / "bad.csv").write_bytes(POISONED_BARS[poison]())

    code, err = refused(capsys, "s.toml", "--data", "bad.csv")

    assert code == 5, err
    assert err.startswith("error: ")
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("torn.csv.gz", gzip.compress(CSV)[:-200]),
        ("plain.csv.gz", CSV),
        ("text.parquet", CSV),
        ("empty.parquet", b""),
        ("missing.csv", None),
        ("folder.csv", "folder"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_data_error(name, content, folder, capsys):
    if content == "folder":
        (folder / name).mkdir()
    elif content is not None:
        (folder / name).write_bytes(content)

    code, err = refused(capsys, "s.toml", "--data", name)

    assert code == 5, err
    assert name in err
    assert not (folder / "runs").exists()


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 4_000), st.binary(max_size=4), st.integers(0, 40)), min_size=1, max_size=4)
)
def test_no_edit_of_a_file_ends_in_a_traceback(edits, folder, capsys):
    content = small_bars(1).to_csv(index=False).encode()
    for at, inserted, dropped in edits:
        at %= len(content)
        content = content[:at] + inserted + content[at + dropped :]
    (folder / "edited.csv").write_bytes(content)

    code = main(["run", "s.toml", "--data", "edited.csv"])
    out, err = capsys.readouterr()

    assert code in (0, 5), err
    assert "Traceback" not in err
    assert bool(out) == (code == 0)


POISONED_FILES = {
    "not TOML": "format = ",
    "binary": "\x00\xff\xfe\x01" * 50,
    "no format": STRATEGY.replace("format = 1", ""),
    "a later format": STRATEGY.replace("format = 1", "format = 99"),
    "no strategy": "format = 1\n",
    "a key of no strategy": STRATEGY + "stop = 3\n",
    "no such agent": STRATEGY.replace("sma-cross", "sma-kross"),
    "no such instrument": STRATEGY.replace('"MNQ"', '"MNK"'),
    "no bar size": STRATEGY.replace("5 min", "5 parsecs"),
    "nan": STRATEGY + "costs = { initial_balance = nan }\n",
    "infinite": STRATEGY + "costs = { initial_balance = 1e400 }\n",
    "a negative limit": STRATEGY + "risk = { max_daily_loss = -5.0 }\n",
    "true for a number": STRATEGY + "seed = true\n",
    "text for a number": STRATEGY + 'seed = "1"\n',
    "a table for a number": STRATEGY + "seed = {}\n",
    "no agent": "format = 1\n[strategy.small]\n",
    "deep": "format = 1\nx = " + "[" * 5_000 + "]" * 5_000,
    "in a circle": STRATEGY + 'extends = "small"\n',
}


@pytest.mark.parametrize("poison", POISONED_FILES)
def test_poisoned_strategy_files_are_strategy_errors(poison, folder, capsys):
    (folder / "s.toml").write_bytes(POISONED_FILES[poison].encode("latin-1"))

    code, err = refused(capsys, "s.toml")

    assert code == 3, err
    assert "s.toml" in err
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    "override",
    ["", "=", "seed", "seed=", "seed=-1", "seed=1.5", "seed=nan", "costs.initial_balance=inf", "nothing.at.all=1",
     "risk.max_position=0", "bracket.stop_ticks=1e3", "a" * 5_000 + "=1", "seed=\0", "data.use=\udcff"],
)  # fmt: skip
def test_poisoned_overrides_are_strategy_errors(override, folder, capsys):
    code, err = refused(capsys, "s.toml", "--set", override)

    assert code == 3, err
    assert not (folder / "runs").exists()


PLUGIN = """
import numpy as np
import pandas as pd
from mnqcore import hookimpl, param, plugin

@plugin
class Bad:
    '''Do what a plugin must not do.'''
    warmup = 0
    def {method}:
{body}

@hookimpl
def register_{kind}(register):
    register("bad", Bad)
"""
USES = {
    "data_sources": ("data", "bars(self, request)", ()),
    "feature_sets": ("features.f", "compute(self, view)", ()),
    "brackets": ("bracket", "levels(self, view)", ()),
    "sizers": ("sizer", "__call__(self, entry)", ()),
    "agents": ("agent", "signals(self, view)", ()),
    "rewards": ("reward", "__call__(self, step)", ()),
}
NOTHING = {
    "raises": "raise RuntimeError('over the edge')",
    "raises without a word": "raise KeyError",
    "asserts": "assert False",
    "divides by zero": "return 1 / 0",
    "exits": "raise SystemExit(0)",
    "returns None": "return None",
    "returns text": "return 'seven'",
    "returns a list of things": "return [object()]",
    "returns a ragged list": "return [[1], [2, 3]]",
    "returns itself": "return self",
}
FRAME = "pd.DataFrame({'stop': %s}, index=view.bars.index)"
SERIES = "pd.Series(%s, index=view.bars.index)"
OWN = {
    "data_sources": {
        "an empty frame": "return pd.DataFrame()",
        "no times": "return pd.DataFrame({c: [1.0, 2.0] for c in ('open', 'high', 'low', 'close', 'volume')})",
        "times without a zone": "i = pd.date_range('2024-06-03 14:00', periods=9, freq='5min', name='time')\n"
        "return pd.DataFrame({c: 1.0 for c in ('open', 'high', 'low', 'close', 'volume')}, index=i)",
        "nan": "i = pd.date_range('2024-06-03 14:00', periods=9, freq='5min', name='time', tz='UTC')\n"
        "return pd.DataFrame({c: np.nan for c in ('open', 'high', 'low', 'close', 'volume')}, index=i)",
        "text": "i = pd.date_range('2024-06-03 14:00', periods=9, freq='5min', name='time', tz='UTC')\n"
        "return pd.DataFrame({c: 'x' for c in ('open', 'high', 'low', 'close', 'volume')}, index=i)",
        "disorder": "i = pd.date_range('2024-06-03 14:00', periods=9, freq='5min', name='time', tz='UTC')[::-1]\n"
        "return pd.DataFrame({c: 1.0 for c in ('open', 'high', 'low', 'close', 'volume')}, index=i)",
    },
    "feature_sets": {
        "another index": "return view.bars[['close']].iloc[1:]",
        "a series": "return view.bars['close']",
        "whole numbers": "return view.bars[['close']].astype('int64')",
        "text": "return view.bars[['close']].astype('str')",
        "a column twice": "return pd.concat([view.bars['close'], view.bars['close']], axis=1)",
        "only nan": "return view.bars[['close']] * np.nan",
        "infinite": "return view.bars[['close']].where(view.bars['close'] > view.bars['close'].iloc[:5].min(), np.inf)",
        "the future": "return view.bars[['close']].shift(-1)",
        "the whole history": "return view.bars[['close']] / view.bars['close'].std()",
        "a window in the middle": "return view.bars[['close']].rolling(5, center=True).mean()",
        "the day's high": "return view.bars[['high']].groupby(view.bars.index.date).transform('max')",
        "filled backwards": "return view.bars[['close']].where(view.bars['close'].diff() > 8).bfill()",
        "a hand on the bars": "view.bars['close'] += 1\nreturn view.bars[['close']].copy()",
        "a length of its own": "return pd.DataFrame({str(len(view.bars)): view.bars['close']})",
    },
    "brackets": {
        "no stop": "return pd.DataFrame({'target': 5.0}, index=view.bars.index)",
        "infinite": f"return {FRAME % 'np.inf'}",
        "beyond all prices": f"return {FRAME % '1e300'}",
        "zero": f"return {FRAME % '0.0'}",
        "negative": f"return {FRAME % '-5.0'}",
        "text": f"return {FRAME % repr('5')}",
        "complex": f"return {FRAME % '5j'}",
        "another index": f"return ({FRAME % '5.0'}).reset_index(drop=True)",
        "stop twice": f"return pd.concat([{FRAME % '5.0'}] * 2, axis=1)",
        "the future": f"return {FRAME % 'view.bars.close.diff(-1).abs() + 5.0'}",
    },
    "sizers": {
        "negative": "return np.full(len(entry.side), -1)",
        "half": "return np.full(len(entry.side), 1.5)",
        "nan": "return np.full(len(entry.side), np.nan)",
        "infinite": "return np.full(len(entry.side), np.inf)",
        "beyond all": "return np.full(len(entry.side), 1e300)",
        "wrong shape": "return np.ones(len(entry.side) + 1, np.int64)",
        "a matrix": "return np.ones((len(entry.side), 1), np.int64)",
        "one number": "return 1",
        "true": "return np.full(len(entry.side), True)",
        "text": "return np.full(len(entry.side), '1')",
        "things": "return np.full(len(entry.side), None)",
    },
    "agents": {
        "seven": f"return {SERIES % 'np.int8(7)'}",
        "minus one": f"return {SERIES % 'np.int8(-1)'}",
        "floats": f"return {SERIES % '1.0'}",
        "half": f"return {SERIES % '0.5'}",
        "true": f"return {SERIES % 'True'}",
        "words": f"return {SERIES % repr('BUY')}",
        "too few": "return np.zeros(3, np.int8)",
        "another index": f"return ({SERIES % 'np.int8(0)'})[::-1]",
        "the future": f"return {SERIES % '(view.bars.close.shift(-1) > view.bars.close).to_numpy().astype(np.int8)'}",
    },
    "rewards": {
        "nan": "return step.equity * np.nan",
        "infinite": "return step.equity + np.inf",
        "wrong shape": "return np.zeros(len(step.equity) + 1)",
        "one number": "return 0.0",
        "text": "return np.full(len(step.equity), 'x')",
        "a hand on the step": "step.equity[0] = 1e9\nreturn step.equity",
    },
}  # fmt: skip
CASES = [(kind, name) for kind in USES for name in {**NOTHING, **OWN[kind]}]


def write_plugin(folder, kind, body, method=None):
    lines = textwrap.indent(body, " " * 8)
    text = PLUGIN.format(method=method or USES[kind][1], body=lines, kind=kind)
    (folder / "bad_plugin.py").write_text(text)


@pytest.mark.parametrize(("kind", "poison"), CASES, ids=[f"{kind}: {name}" for kind, name in CASES])
def test_poisoned_plugins_are_plugin_errors_that_name_them(kind, poison, folder, capsys):
    write_plugin(folder, kind, {**NOTHING, **OWN[kind]}[poison])
    key = USES[kind][0]
    bars = () if key == "data" else ("--data", "ok.csv")

    code, err = refused(capsys, "s.toml", "-p", "bad_plugin.py", "--set", f"{key}.use=bad", *bars)

    assert code == 4, err
    assert f"{key.partition('.')[0]} 'bad'" in err
    assert "mnq-local-bad-plugin 0" in err
    assert_set_aside(folder, err)


@pytest.mark.parametrize("kind", ["sizers", "rewards"])
@pytest.mark.parametrize(
    "body",
    ["raise ValueError('no')", "return None", "return 'x'", "return pd.Series([1.0])", "return view.bars['close'] * 1j",
     "return view.bars['close'].shift(-1)"],
)  # fmt: skip
def test_poisoned_signals_are_plugin_errors_that_name_them(kind, body, folder, capsys):
    call = USES[kind][1] + ": return np.ones(1, np.int64)\n    def prepare(self, view)"
    write_plugin(folder, kind, body, call)

    code, err = refused(
        capsys, "s.toml", "-p", "bad_plugin.py", "--set", f"{USES[kind][0]}.use=bad", "--data", "ok.csv"
    )

    assert code == 4, err
    assert f"{USES[kind][0]} 'bad'" in err
    assert_set_aside(folder, err)


@pytest.mark.parametrize("hook", ["run_started(run)", "trade_closed(run, trade)", "run_finished(run, result)"])
def test_an_observer_that_raises_ends_the_run_with_its_name(hook, folder, capsys):
    (folder / "watcher.py").write_text(
        f"from mnqcore import hookimpl\n@hookimpl\ndef {hook}:\n    raise OSError('no line to the desk')\n"
    )

    code, err = refused(capsys, "s.toml", "-p", "watcher.py", "--data", "ok.csv")

    assert code == 4, err
    assert "watcher.py" in err
    assert hook.partition("(")[0] in err
    assert "no line to the desk" in err
    kept = list(folder.glob("runs/*/*/manifest.json"))
    assert len(kept) == (hook.startswith("run_finished"))  # the run itself was whole by then
    assert not kept or str(kept[0].parent) in err


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("raise RuntimeError('at import')", 3),
        ("import nothing_of_this_name", 3),
        ("this is no Python", 3),
        ("", 3),
        ("import sys; sys.exit(0)", 3),
    ],
)
def test_a_plugin_file_that_does_not_load_is_named(code, exit_code, folder, capsys):
    (folder / "bad_plugin.py").write_text(code)

    found, err = refused(capsys, "s.toml", "-p", "bad_plugin.py", "--set", "agent.use=bad", "--data", "ok.csv")

    assert found == exit_code, err
    assert "bad_plugin.py" in err
    assert not (folder / "runs").exists()
