"""`mnq check --lookahead`: the strategy as it is put together, at many more places than a run looks at."""

import json
import re
import textwrap

import pytest

from mnqcore.cli import main
from mnqcore.stages import closely
from mnqcore.strategy import load as load_strategy

RULE = """
format = 1
[strategy.a]
data = { use = "synthetic", market = "no-edge", days = 30 }
features.moves = { use = "returns" }
agent = { use = "sma-cross" }
bracket = { use = "atr" }
sizer = { use = "volatility" }
"""
LEARNER = """
format = 1
[strategy.a]
data = { use = "synthetic", days = 30 }
features.moves = { use = "returns" }
lookback = 8
agent = { use = "ppo", timesteps = 4096 }
"""
PEEKERS = """
    import numpy as np
    import pandas as pd
    from mnqcore import hookimpl, plugin

    @plugin
    class Set:
        '''Knows the next close, on one day in the midst of the history.'''
        warmup = 3

        def compute(self, view):
            close = view.bars["close"]
            day = view.bars.index.tz_convert("America/Chicago").date
            peek = np.where(day == pd.Timestamp("2024-01-17").date(), close.shift(-2).ffill() / close - 1, 0.0)
            return pd.DataFrame({"calm": close.diff(3), "peek": peek})

    @plugin
    class Short:
        '''Says that it is warm too soon.'''
        warmup = 5

        def compute(self, view):
            return (view.bars["close"].ewm(span=40, adjust=False).mean() / view.bars["close"]).to_frame("ema")

    @plugin
    class Size:
        '''Sizes by the range to come.'''
        warmup = 20

        def prepare(self, view):
            return (view.bars["high"] - view.bars["low"]).rolling(20, center=True).mean()

        def __call__(self, entry):
            return np.ones(len(entry.side), np.int64)

    @hookimpl
    def register_feature_sets(register):
        register("day-peek", Set)
        register("short", Short)

    @hookimpl
    def register_sizers(register):
        register("range-to-come", Size)
"""


@pytest.fixture
def peekers(tmp_path):
    path = tmp_path / "peekers.py"
    path.write_text(textwrap.dedent(PEEKERS))
    return str(path)


def check(tmp_path, text, *options):
    (tmp_path / "s.toml").write_text(text)
    return main([*options, "check", str(tmp_path / "s.toml"), "--lookahead"])


@pytest.mark.parametrize("text", [RULE, LEARNER], ids=["rule", "learner"])
def test_an_honest_strategy_is_seen_to_know_nothing(text, tmp_path, capsys):
    code = check(tmp_path, text, "--format", "json")

    (looked,) = json.loads(capsys.readouterr().out)["lookahead"]
    assert (code, looked["found"]) == (0, [])
    assert looked["places"] == closely.PLACES
    assert {"features.moves", "bracket"} <= set(looked["pieces"])


def test_what_peeks_on_one_day_alone_is_named_with_column_bar_and_time(tmp_path, peekers, capsys):
    text = RULE.replace('use = "returns"', 'use = "day-peek"')

    code = check(tmp_path, text, "-p", peekers)

    shown = capsys.readouterr().out
    assert code == 1
    assert re.search(r"FAIL  look-ahead features.moves: moves.peek changes (1 bar|2 bars) before the first", shown)
    assert "2024-01-17" in shown
    assert "column moves.peek" in shown
    assert "mnq-local-peekers 0" in shown
    assert "calm" not in shown


def test_a_run_looks_at_too_few_places_to_see_it(tmp_path, peekers):
    """Which is why there is a command that looks closely."""
    text = RULE.replace('use = "returns"', 'use = "day-peek"')
    (tmp_path / "s.toml").write_text(text.replace("days = 30", "days = 60"))

    assert main(["-p", peekers, "--runs-dir", str(tmp_path / "runs"), "run", str(tmp_path / "s.toml")]) == 0


def test_a_warm_up_that_is_too_short_is_found_as_it_is_set_in_the_file(tmp_path, peekers, capsys):
    assert check(tmp_path, RULE.replace('use = "returns"', 'use = "short"'), "-p", peekers) == 1

    assert "FAIL  warm-up    features.moves: moves.ema still differs" in capsys.readouterr().out


def test_the_signal_of_a_sizer_is_looked_at(tmp_path, peekers, capsys):
    text = RULE.replace('use = "volatility"', 'use = "range-to-come"')

    assert check(tmp_path, text, "-p", peekers) == 1

    shown = capsys.readouterr().out
    assert re.search(r"FAIL  look-ahead sizer: prepare changes (1 bar|\d+ bars) before the first of the bars", shown)


def test_a_scaler_that_is_fitted_on_later_bars_is_found(tmp_path, monkeypatch):
    from mnqcore.plugins import load
    from mnqcore.stages.ground import Ground
    from mnqcore.tape.scaler import Scaler

    def of_all(self, _fold):
        return Scaler.fit(self.prepared.tape.features, slice(0, None))

    monkeypatch.setattr(Ground, "scaler", of_all)
    (tmp_path / "s.toml").write_text(LEARNER)

    found = closely.look_closely(load_strategy(tmp_path / "s.toml", None, load(environ={}))).found

    assert {peek.check for peek in found} == {"scaler"}
    assert "moves.ret_1" in {peek.column for peek in found}


def test_an_account_that_is_sized_by_the_future_is_found(tmp_path, monkeypatch):
    """A sizer that reads the bars behind the framework's back: no column shows it, the account does."""
    import numpy as np

    from mnqcore.plugins import load
    from mnqcore.stages import whole as module

    original = module._prepared

    def peeking(strategy, raw, read):
        prepared = original(strategy, raw, read)
        last = int(raw["close"].iloc[-1]) % 7 + 1
        object.__setattr__(prepared.tape, "size_of", lambda entry: np.full(len(entry.side), last, np.int64))
        object.__setattr__(prepared, "law", prepared.law.copy())
        prepared.law["max_position"], prepared.law["margin"] = 10, 1
        return prepared

    monkeypatch.setattr(module, "_prepared", peeking)
    (tmp_path / "s.toml").write_text(RULE)

    found = closely.look_closely(load_strategy(tmp_path / "s.toml", None, load(environ={}))).found

    assert [peek.check for peek in found] == ["account"]


def test_an_environment_that_shows_a_bar_too_early_is_found(tmp_path, monkeypatch):
    from mnqcore.env.windows import Windows
    from mnqcore.plugins import load

    original = Windows.one
    monkeypatch.setattr(Windows, "one", lambda self, bar: original(self, bar + 1))
    (tmp_path / "s.toml").write_text(LEARNER)

    found = closely.look_closely(load_strategy(tmp_path / "s.toml", None, load(environ={}))).found

    assert {peek.check for peek in found} == {"environment"}
    assert "market_features moves.ret_1" in {peek.column for peek in found}
    assert {peek.text.removeprefix(peek.column) for peek in found} == {
        " changes 1 bar before the first of the bars that do"
    }


def test_an_environment_that_is_paid_by_what_comes_is_found(tmp_path, monkeypatch):
    """A reward that reads the tape behind the framework's back: no column shows it, what is paid does."""
    from mnqcore.plugins import load
    from mnqcore.stages.ground import Ground

    original = Ground.arena

    def peeking(self, *given, **more):
        arena = original(self, *given, **more)
        closes = self.prepared.market.tape["close"]

        def reward(step):
            return step.signal + float(closes[-1])

        object.__setattr__(arena, "reward", lambda: reward)
        return arena

    monkeypatch.setattr(Ground, "arena", peeking)
    (tmp_path / "s.toml").write_text(LEARNER)

    found = closely.look_closely(load_strategy(tmp_path / "s.toml", None, load(environ={}))).found

    assert [(peek.check, peek.column) for peek in found] == [("environment", "reward")]


FAR = """
    import numpy as np
    import pandas as pd
    from mnqcore import hookimpl, plugin

    @plugin
    class Far:
        '''Buys what is dearer in a week and a half.'''
        warmup = 0

        def signals(self, view):
            ahead = view.bars["close"].shift(-2500)
            return pd.Series(np.where(ahead.isna(), 0, np.where(ahead > view.bars["close"], 1, 2)), view.bars.index)

    @hookimpl
    def register_agents(register):
        register("far", Far)
"""


def test_what_knows_the_far_future_is_found(tmp_path, capsys):
    (tmp_path / "far.py").write_text(textwrap.dedent(FAR))
    text = RULE.replace('use = "sma-cross"', 'use = "far"')

    assert check(tmp_path, text, "-p", str(tmp_path / "far.py")) == 1

    assert "FAIL  look-ahead agent: signal changes" in capsys.readouterr().out


def test_what_could_not_be_looked_at_is_said(tmp_path, capsys):
    wide = 'split = { use = "holdout", embargo_bars = 1200 }'
    text = LEARNER.replace("days = 30", "days = 90") + wide + "\n"

    assert check(tmp_path, text) == 0

    shown = capsys.readouterr().out
    assert "not looked at: scaler and environment (" in shown
    assert all(len(line) <= 80 for line in shown.splitlines()[1:])
