"""Whatever is wrong with a strategy file is found in one pass, each thing with its place and what to do."""

import os
import re
import textwrap
from importlib.metadata import version

import pytest

from mnqcore.errors import StrategyError
from mnqcore.plugins import load as load_plugins
from mnqcore.strategy import InvalidFile, check, load

VERSION = version("mnq")
ODD = """
from mnqcore import hookimpl, param, plugin

@plugin
class Every:
    flag: bool = param(False)
    whole: int = param(3)
    real: float = param(1.0, lt=10)
    word: str = param("a")
    mode: str = param("fast", choices=("fast", "slow"), help="how it goes")
    maybe: int | None = param(None)
    several: tuple[int, ...] = param((), ge=0)
    pair: tuple[int, float] = param((1, 2.0))
    needed: int = param(help="what it cannot do without", unit="bars")

    def __attrs_post_init__(self):
        if self.whole == 13:
            raise ValueError("whole must not be 13 when real is 1")
        if self.whole == 14:
            raise KeyError("oops")

@plugin
class Untellable:
    table: dict[str, int] = param({})

@plugin
class WrongDefault:
    whole: int = param(1.5)

@plugin
class NoSuchType:
    whole: "Missing" = param(1)

@hookimpl
def register_agents(register):
    register("every", Every)
    register("untellable", Untellable)
    register("wrong-default", WrongDefault)
    register("no-such-type", NoSuchType)
    register("not-there", "no_such_module_of_mnq:Thing")

@hookimpl
def register_sizers(register):
    register("kelly", Every)
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugins") / "odd.py"
    path.write_text(ODD)
    return load_plugins([str(path)])


@pytest.fixture
def report(tmp_path, monkeypatch, plugins):
    """Return the text about a file's content, with `format = 1` as its first line."""
    monkeypatch.chdir(tmp_path)

    def make(text, name="a", overrides=(), *, whole=False):
        content = text if isinstance(text, bytes) else ("format = 1\n" + textwrap.dedent(text)).encode()
        (tmp_path / "s.toml").write_bytes(content)
        with pytest.raises(StrategyError) as caught:
            check("s.toml", plugins) if whole else load("s.toml", name, plugins, overrides)
        assert caught.value.exit_code == 3
        return str(caught.value)

    return make


def heads(text):
    """The lines that say what is wrong, without their place's file."""
    return [line.removeprefix("s.toml:") for line in text.splitlines() if ": error: " in line]


def test_a_finding_shows_place_line_caret_path_and_suggestion(report):
    text = report(
        """
        [strategy.a]
        agent = { use = "flat" }
        sizer = { use = "volatilty", target = 0.01 }
        """
    )

    assert text == textwrap.dedent(
        """\
        s.toml:5:17: error: no sizer named 'volatilty' is installed
           5 | sizer = { use = "volatilty", target = 0.01 }
             |                 ^^^^^^^^^^^ strategy.a.sizer.use
             = did you mean 'volatility'? (mnq list sizer)
        1 error; nothing was run."""
    )


def test_all_errors_come_in_one_pass_sorted_by_place(report):
    text = report(
        """
        colour = "red"
        [strategy.a]
        seed = 1.5
        agent = { use = "sma-cross", fast = "20", slow = 50.0, slwo = 3 }
        risk = { max_position = 0, max_daily_loss = -500.0, max_loss = 1e400 }
        session = { rth = "false", no_entry_after = "25:00" }
        instrument = "MNQQ"
        features.x = { use = "returns", horizons = [1, 2.5, true, 0] }
        feeds.x = { use = "synthetic" }
        [defaults]
        costs = { initial_balance = nan, slippage_ticks = true, commission = -1 }
        extends = "b"
        """
    )

    assert heads(text) == [
        "3:1: error: unknown key 'colour'",
        "5:8: error: seed must be a whole number, was 1.5",
        "6:37: error: fast must be a whole number, was '20' (a string)",
        "6:50: error: slow must be a whole number, was 50.0",
        "6:56: error: unknown parameter 'slwo' for agent 'sma-cross'",
        "7:25: error: max_position must be at least 1, was 0",
        "7:45: error: max_daily_loss must be above 0, was -500.0",
        "7:64: error: max_loss must be finite, was inf",
        "8:19: error: rth must be true or false, was 'false' (a string)",
        "8:45: error: no_entry_after must be a time \"HH:MM\", was '25:00'",
        "9:14: error: no instrument named 'MNQQ'",
        "10:48: error: horizons must be a whole number, was 2.5",
        "10:53: error: horizons must be a whole number, was true",
        "11:13: error: unknown key 'use' for feeds.x",
        "13:29: error: initial_balance must be finite, was nan",
        "13:51: error: slippage_ticks must be a whole number, was true",
        "13:70: error: commission must be at least 0, was -1.0",
        "14:1: error: 'extends' belongs to a strategy, not into [defaults]",
    ]
    assert text.count("= a limit is written as a positive amount in dollars") == 2
    assert "= did you mean 'slow'?" in text
    assert "= did you mean 'MNQ'?" in text
    assert text.endswith("\n18 errors; nothing was run.")


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("flag = 1", "flag must be true or false, was 1"),
        ("flag = 'true'", "flag must be true or false, was 'true' (a string)"),
        ("whole = true", "whole must be a whole number, was true"),
        ("whole = 2.0", "whole must be a whole number, was 2.0"),
        ("whole = 9223372036854775808", "whole must fit 64 bits, was a number beyond 64 bits"),
        ("real = '1'", "real must be a number, was '1' (a string)"),
        ("real = false", "real must be a number, was false"),
        ("real = inf", "real must be finite, was inf"),
        ("real = -1e999", "real must be finite, was -inf"),
        ("real = 10", "real must be below 10, was 10.0"),
        ("word = 3", 'word must be a string "...", was 3'),
        ("word = 2024-01-01", 'word must be a string "...", was 2024-01-01'),
        ("word = ['a']", 'word must be a string "...", was an array'),
        ("maybe = 1.5", "maybe must be a whole number, was 1.5"),
        ("several = 3", "several must be an array [...], was 3"),
        ("several = 'abc'", "several must be an array [...], was 'abc' (a string)"),
        ("several = [1, -1]", "several must be at least 0, was -1"),
        ("pair = [1]", "pair must be an array of 2, was one of 1"),
        ("pair = [1, 'x']", "pair must be a number, was 'x' (a string)"),
        ("mode = 'fats'", "mode must be one of 'fast', 'slow', was 'fats'"),
        ("mode = { a = 1 }", 'mode must be a string "...", was a table'),
        ("whole = 13", "whole must not be 13 when real is 1"),
        ("whole = 14", "KeyError: 'oops'"),
        ("on = 'es'", "unknown parameter 'on' for agent 'every'"),
    ],
)
def test_nothing_is_converted_and_every_text_is_kept(report, parameter, message):
    text = report(f"[strategy.a]\nagent = {{ use = 'every', needed = 1, {parameter} }}")

    assert [head.partition("error: ")[2] for head in heads(text)] == [message]


def test_a_choice_misspelt_suggests_and_others_show_the_help(report):
    text = report("[strategy.a]\nagent = { use = 'every', mode = 'fats', whole = 'x' }")

    assert "= did you mean 'fast'?" in text
    assert "3:1: error: agent 'every' needs 'needed'" in text
    assert "= what it cannot do without" in text


def test_a_rule_across_fields_stands_at_the_header_of_the_table(report):
    text = report("[strategy.a]\n[strategy.a.agent]\nuse = 'sma-cross'\nfast = 50\nslow = 20")

    assert "s.toml:3:2: error: fast must be below slow" in text
    assert "| [strategy.a.agent]\n     |  ^^^^^^^^^^^^^^^^ strategy.a.agent" in text


def test_positions_in_every_way_to_write_a_table(report):
    text = report(
        """
        [strategy]
        a.agent.use = "sma-cross"
        a.agent.fast = "x"
        [strategy.a.bracket]
        "stop_ticks"   =   "x"   # said why
        [strategy.a.features]
        "ta".use = 'returns'
        ta . 'horizons' = [
            1,  # one
            'two',
        ]
        """
    )

    assert [head.partition(" error")[0] for head in heads(text)] == ["5:16:", "7:20:", "12:5:"]
    assert "12 |     'two',\n     |     ^^^^^ strategy.a.features.ta.horizons[1]" in text


def test_columns_count_characters_and_a_tab_is_one(report):
    text = report(
        "[strategy.a]\nsummary = '\u20ac\u00e9\U0001f600'\nagent={use='flat'} # x\n\trisk = {\tmax_loss = 0 }"
    )

    assert "s.toml:5:22: error: max_loss must be above 0, was 0.0" in text
    assert "|  risk = { max_loss = 0 }\n     |                      ^" in text
    wide = report("[strategy.a]\nagent = { use = 'flat' }\ndata = { '\u20ac\u20ac' = 1, seed = 'x' }")
    assert "4:27: error: seed must be" in wide


def test_the_owner_of_a_long_line_is_still_seen(report):
    many = ", ".join(map(str, range(1, 200)))
    text = report(f"[strategy.a]\nagent.use = 'flat'\nfeatures.x = {{ use = 'returns', horizons = [{many}, 'here'] }}")

    line, carets = text.splitlines()[1:3]
    assert len(line) < 120
    assert line[carets.index("^") :].startswith("'here'")


def test_crlf_and_bom_do_not_move_positions(report):
    text = report(b"\xef\xbb\xbfformat = 1\r\n[strategy.a]\r\nagent.use = 'flat'\r\nseed = -1\r\n")

    assert heads(text) == ["4:8: error: seed must be at least 0, was -1"]
    assert "\r" not in text


def test_a_problem_in_the_defaults_is_told_once_for_all_strategies(report):
    defaults = "[defaults]\nseed = 'x'\nagent.use = 'flat'\n[strategy.a]\n[strategy.b]\n"

    assert heads(report(defaults, whole=True)) == [
        "3:8: error: seed must be a whole number, was 'x' (a string)",
    ]


def test_check_also_reads_what_no_strategy_uses(report):
    text = report(
        """
        [defaults]
        bracket = { use = "atr", stop = "far" }
        sizer = { use = "mnq:fixed", contracts = 0 }
        features.moves = { use = "returns", horizons = [0] }
        [instrument.MNQ]
        margin = "much"
        [instrument.OWN]
        tick_size = 0.1
        timezone = "Mars/Base"
        name = "other"
        [instrument."a b"]
        [strategy.a]
        agent.use = "flat"
        bracket.use = "fixed"
        sizer.use = "volatility"
        features.moves.use = "clock"
        instrument = "ES"
        """,
        whole=True,
    )

    assert heads(text) == [
        "4:33: error: stop must be a number, was 'far' (a string)",
        "5:42: error: contracts must be at least 1, was 0",
        "6:49: error: horizons must be at least 1, was 0",
        "8:10: error: margin must be a number, was 'much' (a string)",
        "9:2: error: instrument OWN needs 'margin'",
        "9:2: error: instrument OWN needs 'tick_value'",
        "11:12: error: timezone must be a time zone such as \"America/Chicago\", was 'Mars/Base'",
        "12:1: error: unknown key 'name' for instrument OWN",
        "13:2: error: an instrument cannot be called 'a b'",
    ]


def test_defaults_need_not_be_complete(report, plugins, tmp_path):
    text = "format = 1\n[defaults]\nagent.use = 'every'\n[strategy.a]\nagent.needed = 1\n"
    (tmp_path / "s.toml").write_text(text)

    assert [found.name for found in check(tmp_path / "s.toml", plugins)] == ["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[strategy.a]\nextends = 'b'\n[strategy.b]\nextends = 'a'",
         ["5:11: error: 'extends' goes round in a circle: a -> b -> a"]),
        ("[strategy.a]\nextends = 'a'", ["3:11: error: 'extends' goes round in a circle: a -> a"]),
        ("[strategy.a]\nextends = 'bb'\n[strategy.b]", ["3:11: error: there is no strategy 'bb' to extend"]),
        ("[strategy.a]\nextends = 3", ["3:11: error: there is no strategy 3 to extend"]),
        ("[strategy.a]", ["2:2: error: a strategy must name its agent"]),
        ("[strategy]\na = 3", ["3:5: error: a strategy must be a table"]),
        ("[strategy.a]\nagent = 'flat'", ["3:9: error: agent must be a table, was 'flat' (a string)"]),
        ("[strategy.a]\nagent.fast = 3", ["3:1: error: agent does not say which: it needs use"]),
        ("[strategy.a]\nagent.use = 3", ["3:13: error: use must be a string, was 3"]),
        ("[strategy.a]\nagent.use = 'flat'\nrisk = 3", ["4:8: error: risk must be a table, was 3"]),
        ("[strategy.a]\nagent.use = 'flat'\nfeatures = 3", ["4:12: error: features must be tables, one a set, was 3"]),
        ("[strategy.a]\nagent.use = 'flat'\nfeatures.'a b'.use = 'clock'",
         ["4:1: error: a feature set cannot be called 'a b'"]),
        ("[strategy.a]\nagent.use = 'flat'\nfeatures.c = { use = 'none', x = 1 }",
         ["4:30: error: features.c is dropped by use = \"none\": 'x' means nothing"]),
        ("[strategy.a]\nagent.use = 'flat'\nfeatures.c = { use = 'clock', on = 'es' }",
         ["4:36: error: there is no feed named 'es'"]),
        ("[strategy.a]\nagent.use = 'flat'\nbar_size = '5 minutes'",
         ["4:12: error: bar_size must be a bar size such as \"5 min\" or \"1 hour\", at most a day, was '5 minutes'"]),
        ("[strategy.a]\nagent.use = 'flat'\nbar_size = '25 hours'",
         ["4:12: error: bar_size must be a bar size such as \"5 min\" or \"1 hour\", at most a day, was '25 hours'"]),
        ("[strategy.a]\nagent.use = 'flat'\ncosts.commission = { per_contract = 1, percent = 2 }",
         ["4:1: error: commission is either per_contract, or percent with minimum"]),
        ("[strategy.a]\nagent.use = 'flat'\ncosts.commission = { minimum = 2, fee = 1 }",
         ["4:35: error: unknown key 'fee' for costs"]),
        ("[strategy.a]\nagent.use = 'flat'\ncosts.commission = [1]",
         ["4:20: error: commission must be a number, was an array"]),
        ("[strategy.a]\nagent.use = 'flat'\nsizer.use = 'mnq:kelly'\nbracket.use = 'none'",
         ["4:13: error: sizer 'mnq:kelly' needs the distance to a stop, and bracket 'none' sets none"]),
        ("[strategy.a]\nagent.use = 'flat'\ndata = { use = 'file', path = '' }",
         ["4:1: error: path must name a file, was ''"]),
        ("[[strategy]]\na = 1", ["2:3: error: strategy must be a table, was an array"]),
        ("defaults = 3\n[strategy.a]\nagent.use='flat'", ["2:12: error: defaults must be a table, was 3"]),
        ("requires = 'x'\n[strategy.a]\nagent.use='flat'",
         ["2:12: error: requires must be an array, was 'x' (a string)"]),
        ("requires = ['mnq>=0.1', 'mnq>=99', 'no-such-thing', '%%', 1]\n[strategy.a]\nagent.use='flat'",
         [f"2:25: error: this file requires mnq>=99; installed is {VERSION}",
          "2:36: error: this file requires no-such-thing, which is not installed",
          "2:53: error: not a requirement: '%%'",
          "2:59: error: a requirement must be a string, was 1"]),
    ],
)  # fmt: skip
def test_each_mistake_has_its_own_words(report, text, expected):
    found = [head for head in heads(report(text)) if "no strategy in this file" not in head]

    assert found == expected


LEAVE = "leave no bar to trade in when flat_by_close is on"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("bar_size = '1 day'", [f"4:12: error: bars of 1 day {LEAVE}"]),
        ("bar_size = '12 hours'", [f"4:12: error: bars of 12 hours {LEAVE}"]),
        ("bar_size = '460 min'", [f"4:12: error: bars of 460 min {LEAVE}"]),  # 3 x 460 min = 23 hours
        ("session.flat_lead = 300", [f"4:21: error: bars of 5 min {LEAVE} and flat_lead is 300"]),
        ("bar_size = '130 min'\nsession.rth = true", [f"4:12: error: bars of 130 min {LEAVE}"]),  # of 390
    ],
)
def test_bars_too_long_to_be_flat_after(report, written, expected):
    text = report(f"[strategy.a]\nagent.use = 'flat'\n{written}")

    assert heads(text) == expected
    assert "= set session.flat_by_close = false" in text


@pytest.mark.parametrize(
    "written",
    [
        "bar_size = '1 day'\nsession.flat_by_close = false",
        "bar_size = '11 hours'\nsession.flat_lead = 1",
        "bar_size = '459 min'",
        "bar_size = '129 min'\nsession.rth = true",
        "bar_size = '1 day'\nsession = { rth = true, flat_by_close = false }",
    ],
)
def test_bars_of_which_a_session_has_enough(tmp_path, plugins, written):
    path = tmp_path / "s.toml"
    path.write_text(f"format = 1\n[strategy.a]\nagent.use = 'flat'\n{written}")

    assert [each.name for each in check(path, plugins)] == ["a"]


def test_a_strategy_may_complete_the_long_bars_of_the_defaults(tmp_path, plugins):
    path = tmp_path / "s.toml"
    path.write_text(
        "format = 1\n[defaults]\nbar_size = '1 day'\n[strategy.a]\nagent.use = 'flat'\nsession.flat_by_close = false\n"
    )

    assert [each.bar_size for each in check(path, plugins)] == ["1 day"]


def test_an_unknown_parent_suggests(report):
    assert "= did you mean 'parent'?" in report("[strategy.a]\nextends = 'perent'\n[strategy.parent]")


def test_the_format_must_be_1(report):
    strategy = "[strategy.a]\nagent.use = 'flat'\n"

    assert heads(report(strategy.encode())) == ["1:1: error: format is missing"]
    assert heads(report(f"format = true\n{strategy}".encode())) == ["1:10: error: format must be 1"]
    assert heads(report(f"format = 2\n{strategy}".encode())) == ["1:10: error: format must be 1"]


def test_names_must_be_fit_for_a_folder(report):
    assert "2:2: error: a strategy cannot be called '../x'" in report("[strategy.'../x']\nagent.use = 'flat'", "../x")


def test_two_owners_of_a_name_are_both_named(report):
    text = report("[strategy.a]\nagent.use = 'flat'\nsizer.use = 'kelly'")

    assert f"4:13: error: sizer 'kelly' is registered by mnq {VERSION} and mnq-local-odd 0" in text
    assert 'use = "mnq:kelly" or use = "mnq-local-odd:kelly"' in text


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("untellable", "which no file can hold"),
        ("wrong-default", "whole must be a whole number, was 1.5"),
        ("no-such-type", "Missing"),
        ("not-there", "No module named 'no_such_module_of_mnq'"),
    ],
)
def test_a_plugin_at_fault_is_told_apart_from_a_wrong_file(tmp_path, plugins, agent, words):
    (tmp_path / "s.toml").write_text(f"format = 1\n[strategy.a]\nagent.use = '{agent}'\n")

    with pytest.raises(StrategyError) as caught:
        load(tmp_path / "s.toml", "a", plugins)

    assert (caught.value.exit_code, words in str(caught.value)) == (4, True)


def test_a_wrong_file_and_a_plugin_at_fault_are_a_wrong_file(report):
    text = report("[strategy.a]\nagent.use = 'not-there'\nseed = -1")

    assert text.endswith("2 errors; nothing was run.")


def test_the_exit_code_of_the_class_is_untouched():
    assert InvalidFile.exit_code == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("bracket.stop=3", "unknown parameter 'stop' for bracket 'fixed'"),
        ("sizer.use=kely", "no sizer named 'kely' is installed"),
        ("risk.max_loss=-5", "max_loss must be above 0, was -5.0"),
        ("agent.whole=x", "whole must be a whole number, was 'x' (a string)"),
        ("agent.several=[a]", "several must be an array [...], was '[a]' (a string)"),
        ("agent.several=[1,-2]", "several must be at least 0, was -2"),
        ("seed", "not of the form key=value"),
        ("=1", "not of the form key=value"),
        ("#=1", "not of the form key=value"),
        ("a b=1", "not of the form key=value"),
        ("colour=1", "unknown key 'colour' for a strategy"),
        ("gates.sharpe=1", "'gates' is not in this version of mnq"),
        ("extends=b", "'extends' is settled in the file"),
        ("agent=flat", "agent must be a table, was 'flat' (a string)"),
        ("agent.word=\udcff", "not a key of a strategy"),
    ],
)
def test_an_override_is_its_own_place(report, override, message):
    base = "[strategy.a]\nagent = { use = 'every', needed = 1 }"

    text = report(base, overrides=["seed=1", override])

    shown = override.replace("\udcff", "?")
    assert text.startswith(f"--set {shown}: error: {message}")


def test_overrides_come_after_the_file_in_their_order(report):
    text = report("[strategy.a]\nagent.use = 'flat'\nbar_size = 3", overrides=["x=1", "b=1"])

    assert [head.partition(":")[0] for head in heads(text)] == ["4", "--set x=1", "--set b=1"]


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        (r'path = "C:\Users\me\MNQ.csv"', r"""'\U' in a "..." string""",
         r"write 'C:\Users\me\MNQ.csv' (single quotes) or C:/Users/me/MNQ.csv"),
        (r'path = "C:\data\x.csv"', r"""'\d' in a "..." string""",
         r"write 'C:\data\x.csv' (single quotes) or C:/data/x.csv"),
        (r'path = "\\server\x"', r"""'\x' in a "..." string""", r"write '\\server\x' (single quotes) or //server/x"),
        ("path = ", "invalid value", "fix this first, more may follow"),
        ('path = "a', "", "fix this first, more may follow"),
    ],
)  # fmt: skip
def test_a_syntax_error_says_where_and_that_more_may_follow(report, line, message, hint):
    text = report(f"[strategy.a]\nseed = -1\n{line}\n")

    assert re.match(r"s\.toml:4:\d+: error: not TOML: ", text)
    assert f"not TOML: {message}" in text
    assert hint in text
    assert text.endswith("fix this first, more may follow\n1 error; nothing was run.")


def test_a_windows_path_that_happens_to_be_toml_gets_the_hint_too(report):
    text = report("[strategy.a]\nagent = { use = 'every', needed = 1, word = \"C:\\temp\\new.csv\" }")

    assert 'word holds a control character: \\t, \\n, ... in a "..." string' in text
    assert "(single quotes)" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"format = 1\n\0", "s.toml is binary, not TOML"),
        (b"\x89PNG\r\n\x1a\n\0\0", "s.toml is binary, not TOML"),
        (b"format = 1\n# \xff\xfe", "s.toml is not UTF-8\n  found   byte 0xff in line 2"),
        (b"#" * 250_001, "s.toml is larger than 250,000 bytes"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"{a=" * 300 + b"1" + b"}" * 300, "nested too deeply"),
        (b".".join([b"a"] * 900) + b" = 1", "nested too deeply"),
        (b".".join([b"a"] * 90_000) + b" = 1", "nested too deeply"),
        (b"a = " + b"9" * 5000, "not TOML: "),
        (b"", "format is missing"),
        (b"format = 1\rx = 2", "not TOML"),
        (b"\x1b[31mformat = 1", "s.toml:1:1: error: not TOML"),
    ],
)
def test_hostile_files_end_in_a_sentence(report, content, words):
    text = report(content, None)

    assert words in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    "text",
    [
        "requires = [{}]\n[strategy.a]",
        "requires = {}\n[strategy.a]",
        "defaults = {}\n[strategy.a]",
        *[f"[strategy.a]\n{key} = {{}}" for key in ("extends", "agent", "agent.use", "costs", "summary", "seed")],
        *[f"[strategy.a]\n{key} = {{}}" for key in ("features", "risk.max_loss", "session.rth", "bracket.stop_ticks")],
        *[f"[strategy.a]\n{key} = {{}}" for key in ("costs.commission", "instrument")],
    ],
)
def test_a_number_too_long_to_print(report, text):
    assert "beyond 64 bits" in report(text.format("0x" + "f" * 5000))


def test_files_that_cannot_be_read(tmp_path, plugins, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strategies.toml").write_text("")
    for path, words in {
        "missing.toml": "No such file or directory\n  next    in that folder: strategies.toml",
        ".": ". is a directory",
        "a\0b": "null",
        "x" * 5000: "File name too long",
    }.items():
        with pytest.raises(StrategyError, match=re.escape(words)):
            load(path, None, plugins)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is unreadable to root")
def test_no_permission(tmp_path, plugins):
    path = tmp_path / "s.toml"
    path.write_text("format = 1")
    path.chmod(0)

    with pytest.raises(StrategyError, match="Permission denied"):
        load(path, None, plugins)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_pipe_does_not_hang(tmp_path, plugins):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(StrategyError, match="not a regular file"):
        load(tmp_path / "pipe", None, plugins)


def test_very_many_findings_are_cut_but_counted(report):
    keys = "\n".join(f"k{number} = 1" for number in range(500))
    text = report(f"[strategy.a]\nagent.use = 'flat'\n{keys}")

    assert len(heads(text)) == 50
    assert text.endswith("... and 450 more\n500 errors; nothing was run.")
