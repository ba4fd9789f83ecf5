"""A strategy file becomes a strategy: layers, defaults, overrides, digest, and back to a file."""

import textwrap

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnqcore.errors import StrategyError, UsageError
from mnqcore.plugins import load as load_plugins
from mnqcore.strategy import Commission, Costs, Risk, Session, check, load, names

EVERY_TYPE = """
from mnqcore import hookimpl, param, plugin

@plugin
class Every:
    "Takes one of everything."
    flag: bool = param(False)
    whole: int = param(3, ge=-10)
    real: float = param(1, ge=-1e300)
    word: str = param("a")
    maybe: int | None = param(None)
    words: tuple[str, ...] = param(())
    pair: tuple[int, float] = param((1, 2))

@hookimpl
def register_agents(register):
    register("every", Every)
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugins") / "every.py"
    path.write_text(EVERY_TYPE)
    return load_plugins([str(path)])


@pytest.fixture
def write(tmp_path):
    def writer(text, name="s.toml"):
        path = tmp_path / name
        path.write_text("format = 1\n" + textwrap.dedent(text))
        return path

    return writer


def test_the_smallest_strategy_has_every_default(write, plugins):
    found = load(write("[strategy.a]\nagent.use = 'flat'"), None, plugins)

    assert (found.name, found.instrument.name, found.bar_size, found.seed) == ("a", "MNQ", "5 min", 0)
    assert (found.data.use, found.bracket.use, found.sizer.use) == ("synthetic", "fixed", "fixed")
    assert (found.features, found.reward) == ({}, None)
    assert found.bracket.params["stop_ticks"] == 200
    assert found.costs == Costs(initial_balance=10_000.0, commission=Commission(per_contract=0.62), slippage_ticks=1)
    assert found.risk == Risk(max_position=1, max_daily_loss=None, max_loss=None)
    assert found.session == Session(rth=False, flat_by_close=True, flat_lead=2, no_entry_after=None)
    assert type(found.sizer.build()).__name__ == "Fixed"
    assert found.sizer.build() is not found.sizer.build()


LAYERS = """
    [defaults]
    seed = 1
    bar_size = "15 mins"
    bracket = { use = "fixed", stop_ticks = 111 }
    risk = { max_position = 2, max_loss = 1000 }
    features.moves = { use = "returns", horizons = [1, 2] }
    features.clock = { use = "clock" }
    [strategy.parent]
    summary = "the parent"
    agent = { use = "sma-cross", fast = 5, slow = 9 }
    risk = { max_daily_loss = 300 }
    [strategy.child]
    extends = "parent"
    seed = 2
    bracket = { use = "atr", stop = 3 }
    agent = { slow = 30 }
    risk = { max_position = 4 }
    features.moves = { horizons = [7] }
    features.clock = { use = "none" }
    [strategy.grandchild]
    extends = "child"
    bracket = { use = "fixed", target_ticks = 50 }
    agent.use = "breakout"
"""


def test_layers_merge_key_by_key_and_arrays_replace(write, plugins):
    child = load(write(LAYERS), "child", plugins)

    assert (child.seed, child.bar_size, child.summary) == (2, "15 min", "")
    assert child.agent.params == {"fast": 5, "slow": 30}
    assert (child.risk.max_position, child.risk.max_loss, child.risk.max_daily_loss) == (4, 1000.0, 300.0)
    assert child.features["moves"].params == {"horizons": (7,)}


def test_a_dropped_feature_set_is_gone(write, plugins):
    path = write(LAYERS)

    assert list(load(path, "parent", plugins).features) == ["moves", "clock"]
    assert list(load(path, "child", plugins).features) == ["moves"]


def test_another_use_leaks_no_parameter_of_a_parent(write, plugins):
    path = write(LAYERS)

    assert load(path, "child", plugins).bracket.params["stop"] == 3.0
    grandchild = load(path, "grandchild", plugins)
    assert grandchild.bracket.params == {"stop_ticks": 200, "target_ticks": 50}  # neither 111 nor atr's
    assert "fast" not in grandchild.agent.params


def test_the_same_use_again_keeps_what_was_set(write, plugins):
    text = LAYERS + '    [strategy.same]\n    extends = "parent"\n    bracket = { use = "fixed", target_ticks = 9 }\n'

    assert load(write(text), "same", plugins).bracket.params == {"stop_ticks": 111, "target_ticks": 9}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0.62", Commission(per_contract=0.62)),
        ("1", Commission(per_contract=1.0)),
        ("{ per_contract = 2 }", Commission(per_contract=2.0)),
        ("{ percent = 0.002, minimum = 2.0 }", Commission(percent=0.002, minimum=2.0)),
    ],
)
def test_commission_is_a_number_or_one_of_two_tables(write, plugins, written, expected):
    path = write(f"[strategy.a]\nagent.use = 'flat'\ncosts.commission = {written}")

    assert load(path, "a", plugins).costs.commission == expected


def test_a_commission_of_the_other_form_replaces_the_inherited_one(write, plugins):
    path = write(
        """
        [defaults]
        costs.commission = { percent = 0.1, minimum = 2 }
        [strategy.a]
        agent.use = "flat"
        costs.commission.per_contract = 0.5
        [strategy.b]
        agent.use = "flat"
        costs.commission.minimum = 3
        """
    )

    assert load(path, "a", plugins).costs.commission == Commission(per_contract=0.5)
    assert load(path, "b", plugins).costs.commission == Commission(percent=0.1, minimum=3.0)


def test_overrides_are_the_top_layer(write, plugins):
    overrides = [
        "bracket.stop_ticks=100",
        "agent.use=breakout",
        "agent.bars = 30",
        "features.ta.use=technical",
        "costs.slippage_ticks=2",
        "costs={ commission = 3 }",
        "session.no_entry_after=15:30",
        "instrument=6E",
        "seed=4",
        "seed=5",
        'summary="two words"',
    ]
    found = load(write(LAYERS), "parent", plugins, overrides)

    assert found.bracket.params["stop_ticks"] == 100
    assert (found.agent.use, found.agent.params) == ("breakout", {"bars": 30})
    assert list(found.features) == ["moves", "clock", "ta"]
    assert (found.costs.slippage_ticks, found.costs.commission.per_contract) == (2, 3.0)
    assert (found.session.no_entry_after, found.instrument.name, found.seed) == ("15:30", "6E", 5)
    assert found.summary == "two words"


def test_an_override_with_another_use_empties_the_table_whatever_the_order(write, plugins):
    for overrides in (["bracket.stop=2", "bracket.use=atr"], ["bracket.use=atr", "bracket.stop=2"]):
        found = load(write(LAYERS), "parent", plugins, overrides)

        assert (found.bracket.use, found.bracket.params["stop"]) == ("atr", 2.0)


def test_a_bare_word_serves_a_string_even_where_it_reads_as_another_type(write, plugins):
    path = write("[strategy.a]\nagent.use = 'every'")

    for word in ("5", "true", "1e5", "2024-01-01", "15:30:00", "a b", "x=y", "[", ""):
        assert load(path, "a", plugins, [f"agent.word={word}"]).agent.params["word"] == word
    assert load(path, "a", plugins, ['agent.word="5"']).agent.params["word"] == "5"
    assert load(path, "a", plugins, ['agent.word=""']).agent.params["word"] == ""
    assert load(path, "a", plugins, ["agent.flag=false"]).agent.params["flag"] is False


def test_origins_name_the_line_of_every_value(write, plugins):
    origins = load(write(LAYERS), "child", plugins, ["sizer.contracts=2"]).origins

    assert origins["seed"] == "s.toml:16"
    assert origins["bar_size"] == "s.toml:5"
    assert origins["agent.fast"] == "s.toml:12"
    assert origins["agent.slow"] == "s.toml:18"
    assert origins["risk.max_loss"] == "s.toml:7"
    assert origins["features.moves.horizons"] == "s.toml:20"
    assert origins["features.moves.use"] == "s.toml:8"
    assert origins["bracket.period"] == "default"
    assert origins["sizer.contracts"] == "--set sizer.contracts=2"
    assert origins["instrument.MNQ.tick_size"] == "catalogue"
    assert not any(key.startswith("features.clock") for key in origins)


def test_an_instrument_table_overrides_the_catalogue_or_adds_to_it(write, plugins):
    path = write(
        """
        [instrument.MNQ]
        margin = 5000
        [instrument.OWN]
        tick_size = 0.5
        tick_value = 2.5
        margin = 100
        [strategy.a]
        agent.use = "flat"
        [strategy.b]
        agent.use = "flat"
        instrument = "OWN"
        """
    )

    known, own = load(path, "a", plugins).instrument, load(path, "b", plugins).instrument
    assert (known.margin, known.tick_size, known.expiry) == (5000.0, 0.25, "third-friday")
    assert (own.name, own.tick_value, own.currency) == ("OWN", 2.5, "USD")


def test_a_plugin_may_be_named_with_its_distribution(write, plugins):
    bare = load(write("[strategy.a]\nagent.use = 'flat'"), "a", plugins)
    full = load(write("[strategy.a]\nagent.use = 'mnq:flat'"), "a", plugins)

    assert (full.agent.use, full.agent.name, full.agent.distribution) == ("mnq:flat", "flat", "mnq")
    assert full.digest() == bare.digest()


def test_a_reward_is_there_only_if_named(write, plugins):
    found = load(write("[strategy.a]\nagent.use = 'flat'\nreward.use = 'trade-pnl'"), "a", plugins)

    assert found.reward is not None
    assert found.reward.use == "trade-pnl"
    assert list(found.choices) == ["data", "agent", "bracket", "sizer", "reward"]


def test_which_strategy(write, plugins):
    path = write(LAYERS)

    assert names(path) == ["parent", "child", "grandchild"]
    with pytest.raises(UsageError, match=r"several strategies\n.*parent, child, grandchild\n.*-s"):
        load(path, None, plugins)
    with pytest.raises(UsageError, match=r"no strategy named 'chlid'\n.*did you mean 'child'\?"):
        load(path, "chlid", plugins)
    with pytest.raises(StrategyError, match="there is no strategy in this file"):
        load(write(""), None, plugins)


def test_check_returns_every_strategy(write, plugins):
    path = write(LAYERS)

    assert [found.name for found in check(path, plugins)] == names(path)
    assert [found.name for found in check(path, plugins, "child")] == ["child"]


def test_the_digest_tells_strategies_apart_by_what_they_do(write, plugins):
    plain = load(write("[strategy.a]\nagent.use = 'flat'"), "a", plugins)
    renamed = load(write("[strategy.b]\nsummary = 'x'\nagent = { use = 'flat' } # why"), "b", plugins)
    changed = load(write("[strategy.a]\nagent.use = 'flat'\nrisk.cooldown_bars = 1"), "a", plugins)

    assert len(plain.digest()) == 64
    assert plain.digest() == renamed.digest() != changed.digest()
    assert plain != renamed
    assert plain == load(write("[strategy.a]\nagent.use = 'flat'"), "a", plugins)
    assert len({plain, renamed, changed, attrs.evolve(plain)}) == 3


def test_the_order_of_feature_sets_counts(write, plugins):
    sets = ["features.a.use = 'returns'", "features.b.use = 'clock'"]
    one, other = (
        load(write("[strategy.a]\nagent.use = 'flat'\n" + "\n".join(order)), "a", plugins)
        for order in (sets, sets[::-1])
    )

    assert one.digest() != other.digest()


def test_a_strategy_is_frozen(write, plugins):
    found = load(write("[strategy.a]\nagent.use = 'flat'"), "a", plugins)

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        found.seed = 3  # type: ignore[misc]


def test_a_default_is_kept_as_a_file_would_give_it(write, plugins):
    params = load(write("[strategy.a]\nagent.use = 'every'"), "a", plugins).agent.params

    assert {name: (value, type(value)) for name, value in params.items() if name in ("real", "maybe")} == {
        "real": (1.0, float),
        "maybe": (None, type(None)),
    }
    assert params["pair"] == (1, 2.0)
    assert type(params["pair"][1]) is float


def test_the_resolved_file_holds_every_value_with_its_origin(write, plugins):
    text = load(write(LAYERS), "child", plugins, ["seed=7"]).to_toml()

    assert "seed = 7  # --set seed=7" in text
    assert "stop = 3.0  # s.toml:17" in text
    assert "horizons = [7]  # s.toml:20" in text
    assert "max_position = 4  # s.toml:19" in text
    assert "margin = 3400.0  # catalogue" in text
    assert "commission = { per_contract = 0.62 }  # default" in text
    assert "no_entry_after" not in text  # TOML has no word for nothing


def test_every_strategy_resolved_reads_back_the_same(write, plugins):
    for found in check(write(LAYERS), plugins):
        path = write("", f"{found.name}.toml")
        path.write_text(found.text)

        again = load(path, None, plugins)

        assert again == found
        assert again.digest() == found.digest()


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1b\b\t\n\f\r"), max_size=20)
WHOLE = st.integers(-10, 2**63 - 1)
REAL = st.floats(min_value=-1e300, allow_nan=False, allow_infinity=False)
AGENTS = st.fixed_dictionaries(
    {},
    optional={
        "flag": st.booleans(),
        "whole": WHOLE,
        "real": REAL | st.integers(-(2**63) + 1, 2**63 - 1),
        "word": WORDS,
        "maybe": WHOLE,
        "words": st.lists(WORDS, max_size=3),
        "pair": st.tuples(WHOLE, REAL).map(list),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    agent=AGENTS, summary=WORDS, loss=st.floats(1e-6, 1e9), percent=st.floats(0, 100), seed=st.integers(0, 2**32 - 1)
)
def test_any_values_survive_the_way_to_a_resolved_file_and_back(tmp_path, plugins, agent, summary, loss, percent, seed):
    import tomli_w

    commission = {"percent": percent, "minimum": loss if percent else 0}
    own = {"summary": summary, "seed": seed, "agent": {"use": "every", **agent}, "risk": {"max_loss": loss}}
    tree = {"format": 1, "strategy": {"a": {**own, "costs": {"commission": commission}}}}
    first, second = tmp_path / "first.toml", tmp_path / "resolved.toml"
    first.write_bytes(tomli_w.dumps(tree).encode())

    found = load(first, "a", plugins)
    second.write_bytes(found.to_toml().encode())
    again = load(second, "a", plugins)

    assert again == found
    assert again.agent.params == found.agent.params
    assert (again.summary, again.seed, again.risk.max_loss) == (summary, seed, loss)


@pytest.mark.parametrize("odd", ["a\nb", "\x00", "\x1b[31m", "x # y", '"', "\u2028"])
def test_an_odd_override_cannot_break_the_resolved_file(write, plugins, tmp_path, odd):
    path = write("[strategy.a]\nagent.use = 'every'")
    found = load(path, "a", plugins, [f"agent.word={odd}"])
    resolved = tmp_path / "resolved.toml"
    resolved.write_text(found.to_toml(), encoding="utf-8", newline="\n")

    assert found.agent.params["word"] == odd
    assert load(resolved, "a", plugins) == found
