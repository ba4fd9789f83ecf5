"""Shuffled, truncated and poisoned strategy files: a strategy or its findings, never another exception."""

import random
from typing import Any

import pytest
import tomli
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnqcore.errors import StrategyError
from mnqcore.plugins import load as load_plugins
from mnqcore.strategy import InvalidFile, Strategy, check, load
from mnqcore.strategy.findings import Finding

GOOD = """\
#:schema ./mnq.schema.json
format = 1
requires = ["attrs>=20"]
[defaults]
instrument = "OWN"
data = { use = "synthetic", days = 250 }
costs = { initial_balance = 10_000.0, commission = { percent = 0.1, minimum = 2 }, slippage_ticks = 1 }
features.moves = { use = "returns", horizons = [1, 3, 12] }
[instrument.OWN]
tick_size = 0.25
tick_value = 0.5
margin = 3400
[strategy.base]
summary = "a \\u20ac"
agent = { use = "sma-cross", fast = 20, slow = 50 }
session = { rth = true, no_entry_after = "14:30" }
[strategy.x]
extends = "base"
bracket = { use = "atr", period = 14, stop = 2.5 }
sizer = { use = "fixed-fractional", risk = 0.01 }
risk = { max_position = 3, max_loss = 1e3 }
features.moves = { use = "none" }
[strategy.pupil]
lookback = 20
agent = { use = "pupil" }
features.moves = { use = "returns" }
split = { use = "walk-forward", folds = 3, anchored = true }
extractor = { use = "gru", hidden = 8 }
env = { episode_bars = 500, start_balance_range = [0.5, 2], reward_scale = 3 }
executor = { use = "serial" }
"""
PUPIL = """
from mnqcore import hookimpl, plugin

@plugin
class Pupil:
    def train(self, training): ...

@hookimpl
def register_agents(register):
    register("pupil", Pupil)
"""
EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugins") / "pupil.py"
    path.write_text(PUPIL)
    return load_plugins([str(path)], environ={"MNQ_LOAD_PLUGINS": ""})


@pytest.fixture
def survive(tmp_path, plugins):
    """Check and load a file's content; return what came of it."""

    def make(content, overrides=()):
        path = tmp_path / "x.toml"
        path.write_bytes(content)
        outcome: list[StrategyError | list[Strategy]] = []
        for attempt in (lambda: check(path, plugins), lambda: [load(path, "x", plugins, overrides)]):
            try:
                found = attempt()
            except StrategyError as error:
                judge(error)
                outcome.append(error)
            else:
                assert all(isinstance(strategy, Strategy) for strategy in found)
                for strategy in found:
                    reread(strategy, path.with_name("again.toml"), plugins)
                outcome.append(found)
        return outcome

    return make


def judge(error):
    """A report is printable, tells an exit code, and each finding points into its line."""
    assert error.exit_code in (3, 4)
    assert all(char.isprintable() or char == "\n" for char in str(error))
    for finding in error.findings if isinstance(error, InvalidFile) else ():
        assert isinstance(finding, Finding)
        if finding.span:
            assert finding.source is not None
            assert 1 <= finding.span.column <= len(finding.source) + 1
        for line in finding.render().splitlines()[1:3]:
            assert len(line) < 400


def reread(strategy, path, plugins):
    path.write_text(strategy.to_toml(), encoding="utf-8", newline="\n")
    assert load(path, strategy.name, plugins) == strategy


def with_x(content):
    """Make sure that a strategy called x can be named, so that only the file itself is judged."""
    try:
        tree = tomli.loads(content.decode())
    except (ValueError, RecursionError):
        return content
    strategies = tree.get("strategy")
    if isinstance(strategies, dict) and strategies and "x" not in strategies:
        return content + b"\n[strategy.x]\n"
    return content


def test_the_good_file_is_good(survive):
    checked, loaded = survive(GOOD.encode())

    assert [strategy.name for strategy in checked] == ["base", "x", "pupil"]
    assert loaded[0].instrument.name == "OWN"


@EXAMPLES
@given(st.binary(max_size=300))
def test_any_bytes(survive, content):
    survive(content)


@EXAMPLES
@given(st.text(alphabet="[]{}=.\"'\\#\n\r\t ,-+_aeinfstrgyx01\u20ac\u2028\ufeff\x00", max_size=120))
def test_any_text_of_toml_characters(survive, text):
    survive(text.encode())


@EXAMPLES
@given(st.integers(0, len(GOOD)), st.integers(0, 12), st.text(max_size=6), st.booleans())
def test_a_cut_or_a_change_anywhere(survive, at, cut, insert, crlf):
    text = GOOD[:at] + insert + GOOD[at + cut :]
    content = (text.replace("\n", "\r\n") if crlf else text).encode(errors="replace")

    survive(with_x(content))


@EXAMPLES
@given(st.integers(0, 2**32))
def test_lines_shuffled_doubled_and_dropped(survive, seed):
    draw = random.Random(seed)
    lines = GOOD.splitlines()
    for _ in range(draw.randint(1, 4)):
        choice, at, to = draw.randrange(3), draw.randrange(len(lines)), draw.randrange(len(lines))
        if choice == 0:
            lines[at], lines[to] = lines[to], lines[at]
        elif choice == 1:
            lines.insert(to, lines[at])
        elif len(lines) > 2:
            del lines[at]

    survive(with_x("\n".join(lines).encode()))


SCALARS = (
    st.none().map(lambda _: float("nan"))
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["", "none", "flat", "base", "x", "MNQ", "5 min", "25:00", "mnq:fixed", "\x00", "\u20ac"])
    | st.dates()
    | st.times()
    | st.datetimes()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["use", "on", "a", "", "b c"]), inner),
    max_leaves=6,
)
PATHS = [
    *[(key,) for key in ("format", "requires", "defaults", "instrument", "strategy", "other")],
    *[("defaults", key) for key in ("instrument", "seed", "data", "features", "risk", "agent", "costs", "use")],
    ("defaults", "features", "moves"),
    ("defaults", "features", "moves", "horizons"),
    ("defaults", "costs", "commission"),
    ("instrument", "OWN"),
    ("instrument", "OWN", "timezone"),
    ("instrument", "OWN", "tick_value"),
    ("instrument", "MNQ"),
    *[("strategy", "x", key) for key in ("extends", "agent", "bracket", "sizer", "session", "summary", "reward")],
    ("strategy", "x", "bracket", "use"),
    ("strategy", "x", "bracket", "stop"),
    *[("strategy", "pupil", key) for key in ("lookback", "split", "env", "extractor", "executor", "reward")],
    ("strategy", "pupil", "split", "use"),
    ("strategy", "pupil", "split", "train"),
    ("strategy", "pupil", "env", "reward_scale"),
    ("strategy", "pupil", "env", "start_balance_range"),
    ("strategy", "base", "extends"),
    ("strategy", "base"),
    ("strategy", "x"),
]


@EXAMPLES
@given(st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=3))
def test_any_value_anywhere(survive, changes):
    tree = tomli.loads(GOOD)
    for path, value in changes:
        node: Any = tree
        for key in path[:-1]:
            node = node.get(key) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node[path[-1]] = value

    survive(with_x(tomli_w.dumps(tree).encode()))


KEYS = st.sampled_from(
    [
        "seed",
        "agent",
        "agent.use",
        "agent.fast",
        "costs.commission",
        "features",
        "features.moves.horizons",
        "a..b",
        '"',
        "split.use",
        "split",
        "lookback",
        "env.reward_scale",
        "executor.use",
    ]
) | st.text(max_size=8)


@EXAMPLES
@given(st.lists(st.builds("{}={}".format, KEYS, st.text(max_size=12)) | st.text(max_size=12), max_size=4))
def test_any_override(survive, overrides):
    survive(GOOD.encode(), overrides)
