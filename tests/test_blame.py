"""Whatever a plugin does wrong in a run, the run says whose it is, where in its code and at which bar."""

import json
import re
import textwrap
import threading
import time
from pathlib import Path

import pytest

import mnqcore
from mnqcore.cli import main
from mnqcore.errors import UsageError
from mnqcore.plugins import load
from mnqcore.plugins.watch import Call, watched
from mnqcore.runs import list_runs

RULE = """
format = 1
[strategy.small]
data = { use = "synthetic", days = 4 }
agent = { use = "sma-cross", fast = 3, slow = 8 }
"""
MODEL = """
format = 1
[strategy.small]
lookback = 4
data = { use = "synthetic", days = 12 }
features.returns = { use = "returns", horizons = [1] }
agent = { use = "ppo", timesteps = 64, n_envs = 2, n_steps = 16, batch_size = 16, hidden = [4] }
extractor = { use = "gru", hidden = 4 }
"""
HEAD = """import time
import numpy as np
import pandas as pd
from mnqcore import hookimpl, plugin, state


@plugin
class Bad:
    '''What is tested.'''

    warmup = 0

"""
BAR = r"bar [\d,]+ = 20\d\d-\d\d-\d\d \d\d:\d\d UTC"
OF_MANY = rf"account \d+ of 64, {BAR}"  # those on which the scale of rewards is measured
LEARNER = """
def train(self, training):
    {train}
def act(self, observation):
    {act}
def save(self, folder):
    {save}
def load(self, folder, spec):
    pass
"""
NOTHING = {"train": "pass", "act": "return np.zeros(len(observation['position_info']), np.int64)", "save": "pass"}
TURN = "return np.ones(len(observation['position_info']), int) if observation['position_info'][0, 0] == 0 else {}"
NETWORK = """
def build(self, spec):
    import torch
    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.row = torch.nn.Linear(spec.n_features, 3)
        def forward(self, windows):
            {forward}
    {build}
    return Network()
"""
LAST = "return self.row(windows[:, -1])"
WRITES = {
    "a value": "view.bars.loc[view.bars.index[3]:, 'low'] = 1.0\nreturn view.bars[['close']].copy()",
    "a column": "view.bars['mine'] = 1.0\nreturn view.bars[['close']].copy()",
    "the factor": "view.factor.iloc[0] = 3.0\nreturn view.bars[['close']].rename(columns={'close': 'stop'})",
}
NEGATIVE = "return view.bars[['low']].rename(columns={'low': 'stop'}) - 1e6"
SOMETIMES = "return np.where(step.position != 0, np.nan, 0.0)"
HOLED = "found = view.bars[['close']].pct_change()\nfound[view.bars.index.hour == 15] = np.nan\nreturn found"
LOST = "return self.row(windows[:, -1]) if self.row(windows).sum() > 9 else self.lost"


def method(head, body):
    """A method of a piece."""
    return f"def {head}:\n{textwrap.indent(body, '    ')}"


def learner(**own):
    """A learner that does nothing well, but for what it does wrong."""
    return LEARNER.format(**NOTHING | own)


def extractor(forward=LAST, build="pass"):
    """An extractor with something wrong."""
    return NETWORK.format(forward=forward, build=build)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a strategy of a rule and one of a model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rule.toml").write_text(RULE)
    (tmp_path / "model.toml").write_text(MODEL)
    return tmp_path


def write(hook, body):
    """Write a plugin file whose one piece is called `bad`."""
    code = HEAD + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")
    Path("bad.py").write_text(f"{code}\n\n\n@hookimpl\ndef register_{hook}(register):\n    register('bad', Bad)\n")


def refused(capsys, *arguments):
    """First line and facts of the error that a run ends with, exit code 4, having left its `error.json`."""
    code = main(["run", *arguments, "-p", "bad.py"])
    out, err = capsys.readouterr()
    assert code == 4, err
    assert out == ""
    assert "bug in mnq" not in err
    first, *lines = err[err.index("error: ") :].splitlines()
    facts = {words[0]: " ".join(words[1:]) for words in map(str.split, lines[:-1])}
    assert_usable(Path(facts["kept"]), facts)
    return first, facts


def assert_usable(folder, facts):
    """What was set aside tells why, and runs again as it stands; no list takes it for a run."""
    assert folder.parent == Path("runs/small").resolve()
    assert folder.name.endswith("-failed")
    left = json.loads((folder / "error.json").read_text())
    assert left["error"]["who"] == facts["who"]
    assert left["error"].get("where") == facts.get("where")
    assert "bad.py" in "".join(left["traceback"]) or "broke its contract" in left["error"]["what"]
    assert left["plugins"]["agent"]["distribution"]
    assert left["versions"]["mnq"]
    events = [json.loads(line)["event"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert events[0] == "started"
    assert "finished" not in events
    assert main(["run", str(folder / "resolved.toml"), "-p", str(folder / "plugins" / "bad.py"), "-q"]) in (2, 4)
    assert list_runs("runs") == []


@pytest.mark.parametrize(
    ("hook", "key", "body", "what", "where"),
    [
        ("sizers", "sizer", method("__call__(self, entry)", "return 1 / 0"), "raised ZeroDivisionError", BAR),
        ("sizers", "sizer", method("__call__(self, entry)", "return entry.equity * np.nan"), "returned [nan]", BAR),
        ("sizers", "sizer", method("__call__(self, entry)", "entry.side[:] = 1"), "read-only", BAR),
        ("rewards", "reward", method("__call__(self, step)", "return [][1]"), "raised IndexError", BAR),
        ("rewards", "reward", method("__call__(self, step)", "return step.equity * np.nan"), "returned nan", BAR),
        ("rewards", "reward", method("__call__(self, step)", "return np.ones(3)"), "shape (3,) for 1 accounts", BAR),
        ("rewards", "reward", method("__call__(self, step)", "step.equity[0] = 0"), "read-only", BAR),
        ("rewards", "reward", method("__call__(self, step)", "return 'much'"), "returned str", BAR),
        ("rewards", "reward", method("__call__(self, step)", "return step.equity * 1e303"), "returned inf", BAR),
        (
            "feature_sets",
            "features.f",
            method("compute(self, view)", "from mnqcore import DataError\nraise DataError('no')"),
            "raised DataError: no",
            None,
        ),
        ("agents", "agent", method("signals(self, view)", "return np.full(len(view.bars), 7)"), "signal 7", BAR),
        ("brackets", "bracket", method("levels(self, view)", NEGATIVE), "stop is -", BAR),
        (
            "brackets",
            "bracket",
            method("levels(self, view)", WRITES["the factor"]),
            "writes to the factor",
            f"factor, {BAR}",
        ),
        (
            "feature_sets",
            "features.f",
            method("compute(self, view)", "return view.bars[['close']] / 0.0"),
            "is inf",
            BAR,
        ),
        (
            "feature_sets",
            "features.f",
            method("compute(self, view)", WRITES["a value"]),
            "writes to the bars",
            f"low, {BAR}",
        ),
        ("feature_sets", "features.f", method("compute(self, view)", WRITES["a column"]), "writes to the bars", None),
    ],
)
def test_a_rules_run_names_the_plugin_and_the_bar(hook, key, body, what, where, here, capsys):
    write(hook, body)

    first, facts = refused(capsys, "rule.toml", "--set", f"{key}.use=bad")

    assert first.startswith(f"error: {key.partition('.')[0]} 'bad' ")
    assert what in first
    assert facts["who"].startswith("mnq-local-bad 0, ")
    assert where is None or re.fullmatch(where, facts["where"])


@pytest.mark.parametrize(
    ("hook", "key", "body", "what", "where"),
    [
        ("rewards", "reward", method("__call__(self, step)", SOMETIMES), "returned nan", OF_MANY),
        (
            "sizers",
            "sizer",
            method("__call__(self, entry)", "return -entry.wins - 1"),
            "returned [-1",
            rf"{OF_MANY}( and \d+ more)?",
        ),
        ("agents", "agent", learner(train="raise OSError('no disk')"), "raised OSError: no disk", None),
        ("agents", "agent", learner(save="raise KeyError('w')"), "raised KeyError", None),
        ("agents", "agent", learner(train="raise SystemExit(0)"), "raised SystemExit", None),
        ("agents", "agent", learner(save="(folder / 'w.pkl').write_bytes(b'')"), "w.pkl of the model is refused", None),
        ("agents", "agent", learner(act="return None"), "act returned shape () for", None),
        ("extractors", "extractor", extractor(build="raise SystemExit(0)"), "raised SystemExit", None),
        ("extractors", "extractor", extractor("raise SystemExit(0)"), "raised SystemExit", None),
        ("extractors", "extractor", extractor(f"{LAST}.double()"), "its network returned float64", None),
        ("extractors", "extractor", method("build(self, spec)", "return 3"), "build returned int", None),
        (
            "feature_sets",
            "features.f",
            method("compute(self, view)", HOLED),
            "it has no value (nan) at a bar after its first ones",
            None,
        ),
        ("agents", "agent", learner(act=TURN.format("1 / 0")), "raised ZeroDivisionError", BAR),
        ("agents", "agent", learner(act=TURN.format("np.zeros(5)")), "broke its contract", BAR),
        ("extractors", "extractor", extractor(build="1 / 0"), "raised ZeroDivisionError", None),
        ("extractors", "extractor", extractor("return self.row(windows)[None]"), "(1, 2, 4, 3) for two windows", None),
        ("extractors", "extractor", extractor(f"{LAST} / 0.0"), "what is no number", None),
        ("extractors", "extractor", extractor(LOST), "AttributeError", None),
        (
            "executors",
            "executor",
            method("map(self, unit_of_work, items)", "raise TimeoutError('no cluster')"),
            "no cluster",
            None,
        ),
    ],
)
def test_a_trainings_run_names_the_plugin(hook, key, body, what, where, here, capsys):
    write(hook, body)
    settings = ["agent.use=bad"] if key == "agent" else [f"{key}.use=bad"]
    model = MODEL if key != "agent" else re.sub(r"agent = .*\n", "agent = { use = 'bad' }\n", MODEL)
    Path("model.toml").write_text(model)

    first, facts = refused(capsys, "model.toml", "--stage", "train,backtest", "--set", settings[0])

    assert what in first
    assert facts["who"].startswith("mnq-local-bad 0, ")
    assert where is None or re.fullmatch(where, facts["where"])


@pytest.mark.parametrize(
    ("hook", "key", "body"),
    [
        ("feature_sets", "features.f", "def compute(self, view):\n    while True:\n        pass"),
        ("agents", "agent", "def signals(self, view):\n    time.sleep(3600)"),
        ("rewards", "reward", "def __call__(self, step):\n    time.sleep(3600)"),
        ("sizers", "sizer", "def __call__(self, entry):\n    while True:\n        pass"),
    ],
)
def test_a_plugin_that_hangs_is_told_of_and_then_ends_the_run(hook, key, body, here, capsys, caplog, monkeypatch):
    monkeypatch.setenv("MNQ_PLUGIN_SECONDS", "0.6")
    write(hook, body)

    first, facts = refused(capsys, "rule.toml", "--set", f"{key}.use=bad")

    assert first == f"error: {key.partition('.')[0]} 'bad' did not come back within 0.6 s"
    assert re.fullmatch(r"mnq-local-bad 0, bad\.py:\d+ in (compute|signals|__call__)", facts["who"])
    assert "MNQ_PLUGIN_SECONDS" in facts["next"]
    assert any("(mnq-local-bad 0) has been in" in text for text in caplog.messages)


def test_a_hang_in_another_process_ends_the_run_as_well(here, capsys, monkeypatch):
    monkeypatch.setenv("MNQ_PLUGIN_SECONDS", "2")
    write("rewards", "def __call__(self, step):\n    time.sleep(3600)")

    first, facts = refused(
        capsys, "model.toml", "--stage", "train", "--seeds", "2", "--jobs", "2", "--set", "reward.use=bad"
    )

    assert first == "error: reward 'bad' did not come back within 2 s"
    assert facts["who"].startswith("mnq-local-bad 0, bad.py:")


def test_no_call_is_too_long_where_there_is_no_limit(caplog):
    call = Call("reward 'slow'", "mnq-slow 1", "slow", "__call__")
    with watched({"MNQ_PLUGIN_SECONDS": "0"}):
        call.begin()
        time.sleep(0.3)
        call.end()
    assert caplog.messages == []


def test_many_short_calls_are_not_one_long_one(caplog):
    call = Call("reward 'quick'", "mnq-quick 1", "quick", "__call__")
    with watched({"MNQ_PLUGIN_SECONDS": "0.4"}):
        for _ in range(30):
            call.begin()
            time.sleep(0.03)
            call.end()
    assert caplog.messages == []


def test_outside_the_main_thread_a_hang_is_only_told_of(caplog):
    call, told = Call("reward 'slow'", "mnq-slow 1", "slow", "__call__"), []

    def work():
        with watched({"MNQ_PLUGIN_SECONDS": "0.2"}):
            call.begin()
            time.sleep(0.6)
            call.end()
            told.append("came back")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert told == ["came back"]
    assert "reward 'slow' (mnq-slow 1) has been in __call__" in caplog.messages[0]


def test_ctrl_c_stays_ctrl_c():
    with pytest.raises(KeyboardInterrupt), watched({"MNQ_PLUGIN_SECONDS": "5"}):
        raise KeyboardInterrupt


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_a_limit_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="MNQ_PLUGIN_SECONDS is no number"), watched({"MNQ_PLUGIN_SECONDS": text}):
        pass


def test_an_error_of_mnq_itself_is_no_plugins(here, monkeypatch):
    def torn(*_arguments):
        raise RuntimeError("a bug")

    monkeypatch.setattr("mnqcore.stages.play._refuse_false_books", torn)

    with pytest.raises(RuntimeError, match="a bug"):
        mnqcore.run("rule.toml", plugins=load())

    (left,) = Path("runs/small").iterdir()
    assert json.loads((left / "error.json").read_text())["error"]["exit_code"] == 1


def test_what_only_its_input_makes_impossible_leaves_nothing(here):
    with pytest.raises(mnqcore.DataError):
        mnqcore.run("rule.toml", set={"data.use": "file", "data.path": "nowhere.csv"})

    assert not Path("runs").exists()


def test_a_run_that_failed_is_known_as_one(here, capsys):
    write("rewards", "def __call__(self, step):\n    return 1 / 0")
    _, facts = refused(capsys, "rule.toml", "--set", "reward.use=bad")
    left = Path(facts["kept"])

    for name in (left, f"{left.parent.name}/{left.name}"):
        assert main(["runs", "show", str(name)]) == 2
        assert "this run has failed" in capsys.readouterr().err
