"""What a run sees of plugins that know the future, or nothing twice."""

import textwrap

import pytest

import mnqcore
from mnqcore.errors import PluginError
from mnqcore.plugins import load

STRATEGY = """
format = 1
[strategy.a]
data = { use = "synthetic", market = "no-edge", days = 40 }
agent = { use = "seen" }
"""
PEEK_IN_ONE_HOUR = """
    import numpy as np
    import pandas as pd
    from mnqcore import hookimpl, plugin

    @plugin
    class Seen:
        '''Knows, in one hour of the day alone, where the price will be in six bars.'''
        warmup = 0

        def signals(self, view):
            close = view.bars["close"]
            move = np.sign((close.shift(-6) - close).to_numpy())
            at_two = view.bars.index.tz_convert("America/Chicago").hour == 14
            return pd.Series(np.where(at_two & (move > 0), 1, np.where(at_two & (move < 0), 2, 0)), index=close.index)

    @hookimpl
    def register_agents(register):
        register("seen", Seen)
"""
LOTS = """
    import numpy as np
    import pandas as pd
    from mnqcore import hookimpl, plugin

    @plugin
    class Seen:
        '''Draws lots anew each time.'''
        warmup = 0

        def signals(self, view):
            return pd.Series(np.random.default_rng().integers(0, 3, len(view.bars)), index=view.bars.index)

    @hookimpl
    def register_agents(register):
        register("seen", Seen)
"""


def run(tmp_path, code):
    (tmp_path / "seen.py").write_text(textwrap.dedent(code))
    (tmp_path / "s.toml").write_text(STRATEGY)
    plugins = load([str(tmp_path / "seen.py")], environ={})
    assert plugins.broken == []
    return mnqcore.run(tmp_path / "s.toml", plugins=plugins, runs_dir=tmp_path / "runs")


def test_a_rule_that_knows_the_future_in_one_hour_of_the_day_is_refused(tmp_path):
    with pytest.raises(PluginError, match="agent 'seen' looks into the future"):
        run(tmp_path, PEEK_IN_ONE_HOUR)
    assert not list(tmp_path.glob("runs/*/*/manifest.json"))


def test_the_same_rule_that_looks_back_runs(tmp_path):
    result = run(tmp_path, PEEK_IN_ONE_HOUR.replace("close.shift(-6) - close", "close - close.shift(6)"))

    assert result.metrics["trades"]["count"] > 0


def test_a_rule_that_draws_lots_is_told_so_and_not_called_a_peeker(tmp_path):
    with pytest.raises(PluginError, match="agent 'seen' gives other values each time it is asked"):
        run(tmp_path, LOTS)


def test_the_bars_that_tell_are_those_that_say_something_new():
    import pandas as pd

    from mnqcore.causality import telling

    quiet = pd.DataFrame({"signal": [0.0] * 50})
    quiet.loc[[10, 20, 30, 40], "signal"] = 1.0

    assert telling(quiet, 100) == [10, 11, 20, 21, 30, 31, 40, 41]
    assert telling(quiet, 2) == [10, 41]
    assert telling(pd.DataFrame({"signal": [0.0] * 50}), 5) == []
