"""What only a learner needs: its window, split, extractor, episodes and executor; a rule may carry them for nothing."""

import textwrap

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnqcore.errors import StrategyError
from mnqcore.plugins import load as load_plugins
from mnqcore.strategy import Env, Holdout, WalkForward, check, load

PIECES = """
from mnqcore import hookimpl, param, plugin

@plugin
class Pupil:
    "Is trained."
    rate: float = param(0.1, gt=0)

    def train(self, training): ...

@plugin
class Ruler:
    "A rule with a parameter that sounds like learning."
    train: float = param(0.5)

@plugin
class Weighted:
    "A reward with a parameter."
    weight: float = param(1.0)

@hookimpl
def register_agents(register):
    register("pupil", Pupil)
    register("ruler", Ruler)

@hookimpl
def register_rewards(register):
    register("weighted", Weighted)
"""
LEARNER = "[strategy.a]\nagent.use = 'pupil'\nfeatures.x.use = 'returns'\n"
RULE = "[strategy.a]\nagent.use = 'flat'\n"
EVERYTHING = """
lookback = 7
split = { use = "walk-forward", folds = 3, anchored = true }
extractor = { use = "gru", hidden = 16 }
env = { episode_bars = 500, start_balance_range = [0.5, 2], reward_scale = 3 }
executor = { use = "joblib", jobs = 2 }
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugins") / "pieces.py"
    path.write_text(PIECES)
    return load_plugins([str(path)])


@pytest.fixture
def read(tmp_path, plugins):
    """Return the strategy of a file's text."""

    def reader(text, name="a", overrides=()):
        (tmp_path / "s.toml").write_text("format = 1\n" + textwrap.dedent(text))
        return load(tmp_path / "s.toml", name, plugins, overrides)

    return reader


@pytest.fixture
def wrong(tmp_path, plugins):
    """Return what is wrong with a whole file: the findings without their file, and all of the text."""

    def reader(text):
        (tmp_path / "s.toml").write_text("format = 1\n" + text)
        with pytest.raises(StrategyError) as caught:
            check(tmp_path / "s.toml", plugins)
        found = str(caught.value)
        return [line.rpartition(": error: ")[2] for line in found.splitlines() if ": error: " in line], found

    return reader


def test_the_smallest_learner_has_every_default(read):
    found = read(LEARNER)

    assert found.learns
    assert found.lookback == 50
    assert found.split == Holdout(train=0.7, validate=0.15, embargo_bars=64)
    assert found.env == Env(episode_bars=None, start_balance_range=(1.0, 1.0), reward_scale="auto")
    assert (found.extractor.use, found.reward.use, found.executor.use) == ("lstm", "trade-pnl", "serial")
    assert list(found.choices) == ["data", "features.x", "agent", "bracket", "sizer", "extractor", "reward"]
    assert {found.origins[key] for key in ("lookback", "split.use", "split.train", "extractor.use")} == {"default"}
    assert {found.origins[key] for key in ("reward.use", "executor.use", "env.reward_scale")} == {"default"}


def test_everything_that_learning_needs_can_be_set(read):
    found = read(LEARNER + EVERYTHING)

    assert found.lookback == 7
    assert found.split == WalkForward(folds=3, anchored=True)
    assert found.env == Env(episode_bars=500, start_balance_range=(0.5, 2.0), reward_scale=3.0)
    assert (found.extractor.use, found.extractor.params["hidden"]) == ("gru", 16)
    assert (found.executor.use, found.executor.params["jobs"]) == ("joblib", 2)
    assert found.origins["split.folds"] == "s.toml:7"
    assert found.origins["split.train"] == "default"


@pytest.mark.parametrize("agent", ["flat", "ruler"])
def test_a_rule_may_carry_what_learning_needs_and_nothing_changes(read, agent):
    rule = RULE.replace("flat", agent)
    plain, laden = read(rule), read(rule + EVERYTHING)

    assert not laden.learns
    assert (laden.extractor, laden.executor, laden.reward) == (None, None, None)
    assert laden.digest() == plain.digest()
    assert laden.origins.keys() == plain.origins.keys()
    assert "split.use" not in plain.origins
    assert list(laden.choices) == ["data", "agent", "bracket", "sizer"]
    assert not {"lookback", "split", "env", "executor", "extractor"} & set(laden.to_toml().replace(".", " ").split())


def test_a_rule_needs_none_of_the_pieces_of_learning(tmp_path, plugins):
    bare = attrs.evolve(
        plugins, registered=[one for one in plugins.registered if one.kind not in ("extractor", "executor", "reward")]
    )
    (tmp_path / "s.toml").write_text("format = 1\n" + RULE)

    assert load(tmp_path / "s.toml", "a", bare).extractor is None


def test_what_a_rule_carries_must_be_right_all_the_same(wrong):
    heads, _ = wrong(
        RULE + "lookback = 0\nsplit.use = 'hold-out'\nextractor = { use = 'lstm', hiden = 3 }\n"
        "env.episode_bars = 1\nexecutor.use = 'treads'"
    )

    assert heads == [
        "lookback must be at least 1, was 0",
        "no split named 'hold-out'",
        "unknown parameter 'hiden' for extractor 'lstm'",
        "episode_bars must be at least 2, was 1",
        "no executor named 'treads' is installed",
    ]


def test_defaults_by_themselves_are_checked_without_an_agent(wrong, read):
    heads, _ = wrong("[defaults]\nextractor.use = 'lsmt'\nsplit = { train = 2 }\n[strategy.a]\nagent.use = 'flat'\n")

    assert heads == ["no extractor named 'lsmt' is installed", "train must be below 1, was 2.0"]
    assert read("[defaults]\nagent.use = 'pupil'\n[strategy.a]\nfeatures.x.use = 'returns'").learns


def test_another_split_empties_the_table(read):
    text = """
        [defaults]
        split = { train = 0.6, embargo_bars = 3 }
        [strategy.parent]
        agent.use = "pupil"
        features.x.use = "returns"
        [strategy.a]
        extends = "parent"
        split = { use = "walk-forward", folds = 2 }
        [strategy.b]
        extends = "a"
        split = { folds = 5 }
        [strategy.c]
        extends = "b"
        split = { use = "holdout" }
    """

    assert read(text, "parent").split == Holdout(train=0.6, embargo_bars=3)
    assert read(text, "a").split == WalkForward(folds=2)
    assert read(text, "b").split == WalkForward(folds=5)
    assert read(text, "c").split == Holdout()


def test_a_reward_without_a_use_is_the_usual_one(wrong):
    heads, text = wrong(LEARNER + "reward.weight = 2\n[strategy.b]\nagent.use = 'flat'\nreward.weight = 3")

    assert heads == ["unknown parameter 'weight' for reward 'trade-pnl'"] * 2
    assert "s.toml:5:1: " in text
    assert "s.toml:8:1: " in text


def test_overrides_reach_all_of_it(read):
    found = read(
        LEARNER + "split.train = 0.6",
        overrides=[
            "split.use=walk-forward",
            "split.folds=2",
            "extractor.hidden=32",
            "env.reward_scale=auto",
            "env.start_balance_range=[0.9, 1.1]",
            "executor.use=joblib",
            "reward.use=weighted",
            "reward.weight=2",
            "lookback=9",
        ],
    )

    assert found.split == WalkForward(folds=2)
    assert found.extractor.params["hidden"] == 32
    assert found.env == Env(start_balance_range=(0.9, 1.1))
    assert (found.executor.use, found.reward.params, found.lookback) == ("joblib", {"weight": 2.0}, 9)
    assert found.origins["extractor.hidden"] == "--set extractor.hidden=32"
    assert found.origins["split.use"] == "--set split.use=walk-forward"
    for typed, scale in (("2", 2.0), ('"auto"', "auto"), ("0.5", 0.5)):
        assert read(LEARNER, overrides=[f"env.reward_scale={typed}"]).env.reward_scale == scale


@pytest.mark.parametrize(
    "setting",
    [
        "lookback=49",
        "split.train=0.6",
        "split.use=walk-forward",
        "extractor.use=gru",
        "extractor.hidden=32",
        "env.episode_bars=500",
        "env.reward_scale=1",
        "reward.use=weighted",
        "agent.rate=0.2",
    ],
)
def test_what_can_change_a_result_changes_the_digest(read, setting):
    assert read(LEARNER, overrides=[setting]).digest() != read(LEARNER).digest()


def test_an_executor_changes_no_result_and_no_digest(read):
    plain, other = read(LEARNER), read(LEARNER, overrides=["executor.use=joblib", "executor.jobs=2"])

    assert plain.digest() == other.digest()
    assert '[strategy.a.executor]\nuse = "joblib"' in other.to_toml().replace("  # --set executor.use=joblib", "")


def test_the_resolved_file_reads_back_the_same(read, tmp_path, plugins):
    for text in (LEARNER, LEARNER + EVERYTHING, RULE + EVERYTHING):
        found = read(text)
        (tmp_path / "resolved.toml").write_text(found.to_toml())
        again = load(tmp_path / "resolved.toml", None, plugins)

        assert again == found
        assert again.to_toml().count("\n") == found.to_toml().count("\n")
        if found.learns:
            assert (again.split, again.env, again.lookback) == (found.split, found.env, found.lookback)
            assert (again.extractor, again.reward, again.executor) == (found.extractor, found.reward, found.executor)


SHARES = st.tuples(st.integers(1, 98), st.integers(1, 98)).filter(lambda pair: sum(pair) < 100)
SPLITS = st.one_of(
    st.builds(
        lambda shares, embargo: Holdout(train=shares[0] / 100, validate=shares[1] / 100, embargo_bars=embargo),
        SHARES,
        st.integers(0, 1_000_000),
    ),
    st.builds(
        lambda folds, train, anchored: WalkForward(folds=folds, train=train, anchored=anchored),
        st.integers(1, 1000),
        st.floats(0, 1, exclude_min=True, exclude_max=True),
        st.booleans(),
    ),
)
ENVS = st.builds(
    lambda bars, pair, scale: Env(episode_bars=bars, start_balance_range=tuple(sorted(pair)), reward_scale=scale),
    st.none() | st.integers(2, 1_000_000_000),
    st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)),
    st.just("auto") | st.floats(1e-300, 1e9),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(split=SPLITS, env=ENVS, lookback=st.integers(1, 10_000))
def test_any_settings_survive_the_way_to_a_resolved_file_and_back(read, tmp_path, plugins, split, env, lookback):
    found = attrs.evolve(read(LEARNER), split=split, env=env, lookback=lookback)
    (tmp_path / "resolved.toml").write_text(found.to_toml())
    again = load(tmp_path / "resolved.toml", None, plugins)

    assert (again.split, again.env, again.lookback) == (split, env, lookback)
    assert again.digest() == found.digest()


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("lookback = 10_001", "lookback must be at most 10000, was 10001", "lookback: length of the window"),
        ("lookback = 5.0", "lookback must be a whole number, was 5.0", "lookback: length"),
        ("split = 'holdout'", "split must be a table, was 'holdout' (a string)", 'split = { use = "holdout" }'),
        ("split = 3", "split must be a table, was 3", None),
        ("split.use = 3", "use must be a string, was 3", "known: holdout, walk-forward"),
        ("split.use = 'walk'", "no split named 'walk'", "known: holdout, walk-forward"),
        ("split.use = 'walkforward'", "no split named 'walkforward'", "did you mean 'walk-forward'?"),
        ("split.folds = 3", "unknown parameter 'folds' for split 'holdout'", "known: train, validate, embargo_bars"),
        ("split = { use = 'walk-forward', fold = 3 }", "unknown parameter 'fold' for split 'walk-forward'", "'folds'"),
        ("split = { use = 'walk-forward', folds = 0 }", "folds must be at least 1, was 0", "how many windows"),
        ("split.train = 1", "train must be below 1, was 1.0", "share of the bars to train on"),
        ("split.embargo_bars = -1", "embargo_bars must be at least 0, was -1", "left out"),
        (
            "split = { train = 0.9, validate = 0.2 }",
            "train and validate leave nothing to test on: 0.9 + 0.2 is not below 1",
            None,
        ),
        ("env = 3", "env must be a table, was 3", None),
        ("env.steps = 3", "unknown key 'steps' for env", "known: episode_bars"),
        ("env.episode_bars = 1", "episode_bars must be at least 2, was 1", "longest episode"),
        ("env.start_balance_range = 1.0", "start_balance_range must be an array [...], was 1.0", None),
        ("env.start_balance_range = [1.0]", "start_balance_range must be an array of 2, was one of 1", None),
        ("env.start_balance_range = [0, 1]", "start_balance_range must be at least 0.01, was 0.0", None),
        ("env.start_balance_range = [2, 1]", "start_balance_range must not fall, was [2.0, 1.0]", None),
        ("env.reward_scale = 0", "reward_scale must be above 0, was 0.0", "rewards are divided by it"),
        ("env.reward_scale = nan", "reward_scale must be finite, was nan", None),
        ("env.reward_scale = 'aut'", "reward_scale must be a number or \"auto\", was 'aut' (a string)", None),
        ("env.reward_scale = true", 'reward_scale must be a number or "auto", was true', None),
        ("extractor.use = 'lsmt'", "no extractor named 'lsmt' is installed", "did you mean 'lstm'?"),
        ("extractor = 'gru'", "extractor must be a table, was 'gru' (a string)", 'extractor = { use = "gru" }'),
        ("executor.jobs = 2", "unknown parameter 'jobs' for executor 'serial'", None),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(wrong, line, message, hint):
    heads, text = wrong(LEARNER + line + "\n")

    assert heads == [message]
    assert "s.toml:5:" in text
    assert hint is None or hint in text.partition("\n")[2]


@pytest.mark.parametrize("features", ["", "features.x.use = 'none'\n"])
def test_a_learner_needs_something_to_look_at(wrong, features):
    heads, text = wrong("[strategy.a]\nagent.use = 'pupil'\n" + features)

    assert heads == ["agent 'pupil' needs features to look at"]
    assert "s.toml:3:13: error" in text
    assert '= features.NAME = { use = "returns" }' in text


def test_a_broken_feature_set_is_not_told_twice(wrong):
    heads, _ = wrong("[strategy.a]\nagent.use = 'pupil'\nfeatures.x.use = 'retruns'\n")

    assert heads == ["no features named 'retruns' is installed"]


def test_a_bracket_without_a_stop_serves_for_training(read):
    assert read(LEARNER + "bracket.use = 'none'").bracket.use == "none"
