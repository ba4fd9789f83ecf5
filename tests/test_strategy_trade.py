"""The table `trade`: its broker, limits and alerts, in every layer and back to a file; what arming for money asks."""

import json
import textwrap
from typing import Any

import attrs
import jsonschema
import pytest
import tomli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnqcore.api import parameters
from mnqcore.errors import StrategyError, UsageError
from mnqcore.plugins import load as load_plugins
from mnqcore.strategy import Limits, check, load
from mnqcore.strategy.arming import live_complaints, tightened, unprotected
from mnqcore.strategy.resolved import write as write_resolved
from mnqcore.strategy.schema import document
from mnqcore.strategy.trade import Beat, Log, TradePlain, Webhook

PIECES = """
from mnqcore import hookimpl, param, plugin

@plugin
class Own:
    "A broker."
    speed: float = param(1.0, gt=0, unit="x real time", help="how fast")
    host: str = param("127.0.0.1")

@hookimpl
def register_brokers(register):
    register("own", Own)
"""
HEAD = "[strategy.a]\nagent.use = 'flat'\ntrade.broker.use = 'own'\n"


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugins") / "pieces.py"
    path.write_text(PIECES)
    return load_plugins([str(path)])


@pytest.fixture
def write(tmp_path):
    def writer(text, name="s.toml"):
        path = tmp_path / name
        path.write_text("format = 1\n" + textwrap.dedent(text))
        return path

    return writer


@pytest.fixture
def wrong(write, plugins):
    """What is found in the table `trade` of a strategy: its text."""

    def finder(text):
        with pytest.raises(StrategyError) as caught:
            load(write(HEAD + text), None, plugins)
        return str(caught.value)

    return finder


# Reading


def test_every_setting_of_trade_has_a_safe_default(write, plugins):
    trade = load(write(HEAD), None, plugins).trade

    assert (trade.mode, trade.account, trade.on_exit, trade.alerts) == ("paper", None, "leave", {})
    assert trade.limits == Limits()
    assert (trade.broker.kind, trade.broker.use, trade.broker.params) == (
        "broker",
        "own",
        {"speed": 1.0, "host": "127.0.0.1"},
    )
    assert trade.heartbeat == Beat(url=None, seconds=60.0)


LAYERS = """
    [defaults.trade]
    mode = "replay"
    account = "DU1"
    broker = { use = "own", speed = 4, host = "here" }
    limits = { max_order = 3, emergency_loss = 900 }
    alerts.file = { use = "log", path = "told.jsonl" }
    alerts.phone = { use = "webhook", url = "${PHONE}", headers = ["Title: mnq"] }
    heartbeat = { url = "https://example.org/${PING}", seconds = 30 }
    [strategy.a]
    agent.use = "flat"
    trade.account = "DU2"
    trade.broker.speed = 9
    trade.limits.max_order = 2
    trade.alerts.file = { use = "none" }
    trade.alerts.phone.min_level = "error"
    trade.heartbeat.url = ""
"""


def test_layers_merge_as_in_every_other_table(write, plugins):
    trade = load(write(LAYERS), None, plugins, ["trade.on_exit=flatten", "trade.limits.queries=5"]).trade

    assert (trade.mode, trade.account, trade.on_exit) == ("replay", "DU2", "flatten")
    assert trade.broker.params == {"speed": 9.0, "host": "here"}
    assert (trade.limits.max_order, trade.limits.emergency_loss, trade.limits.queries) == (2, 900.0, 5)
    assert trade.alerts == {"phone": Webhook(url="${PHONE}", headers=("Title: mnq",), min_level="error")}
    assert trade.heartbeat == Beat(url="", seconds=30.0)


def test_origins_name_the_line_of_every_value(write, plugins):
    origins = load(write(LAYERS), None, plugins, ["trade.mode=paper"]).origins

    assert origins["trade.mode"] == "--set trade.mode=paper"
    assert origins["trade.account"] == "s.toml:13"
    assert origins["trade.on_exit"] == "default"
    assert (origins["trade.broker.use"], origins["trade.broker.speed"]) == ("s.toml:6", "s.toml:14")
    assert (origins["trade.limits.max_order"], origins["trade.limits.queries"]) == ("s.toml:15", "default")
    assert (origins["trade.alerts.phone.url"], origins["trade.alerts.phone.body"]) == ("s.toml:9", "default")
    assert (origins["trade.heartbeat.url"], origins["trade.heartbeat.seconds"]) == ("s.toml:18", "s.toml:10")
    assert not any(key.startswith("trade.alerts.file") for key in origins)


def test_a_resolved_file_gives_the_same_table_back(write, plugins):
    alerts = """
    [strategy.b]
    extends = "a"
    trade.alerts.file = { use = "log" }
    trade.alerts.plain = { use = "webhook", url = "http://h/", body = "a\\n\\"{level}\\"", content_type = "text/plain" }
    """
    for name in ("a", "b"):
        found = load(write(LAYERS + alerts), name, plugins)

        path = write("", "resolved.toml")
        path.write_text(found.to_toml())
        again = load(path, None, plugins)

        assert again.trade == found.trade
        assert write_resolved(again, origins=False) == write_resolved(found, origins=False)
        assert [one.name for one in check(path, plugins)] == [name]


def test_the_digest_and_the_choices_of_a_result_know_nothing_of_trade(write, plugins):
    one = load(write(HEAD, "one.toml"), None, plugins)
    other = load(write(HEAD + "trade.mode = 'live'\ntrade.limits.max_order = 1\n", "other.toml"), None, plugins)

    assert one.digest() == other.digest()
    assert "broker" not in one.choices
    assert one.trade != other.trade


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_limits_survive_the_file(data, tmp_path, plugins):
    values: dict[str, Any] = {}
    for name, one in parameters(Limits).items():
        low, high = one.ge if one.ge is not None else (one.gt or 0) + 1e-6, one.le or 0
        whole = st.integers(int(low), int(high))
        values[name] = data.draw(whole if one.type is int else st.floats(low, high, allow_nan=False))
    values["min_stop_ticks"], values["max_stop_ticks"] = sorted((values["min_stop_ticks"], values["max_stop_ticks"]))
    path = tmp_path / "s.toml"
    path.write_text(f"format = 1\n{HEAD}" + "".join(f"trade.limits.{name} = {values[name]!r}\n" for name in values))

    found = load(path, None, plugins)
    path.write_text(found.to_toml())

    assert found.trade.limits == Limits(**values) == load(path, None, plugins).trade.limits


# What is wrong


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("trade.moed = 'paper'", "unknown key 'moed' for trade", "did you mean 'mode'?"),
        ("trade.limits.max_oder = 1", "unknown key 'max_oder' for trade.limits", "did you mean 'max_order'?"),
        ("trade.broker.sped = 1", "unknown parameter 'sped' for broker 'own'", "did you mean 'speed'?"),
        ("trade.heartbeat.uri = 'x'", "unknown key 'uri' for trade.heartbeat", "did you mean 'url'?"),
        ("trade.alerts.x.use = 'logg'", "no alert named 'logg'", "did you mean 'log'?"),
        ("trade.alerts.x.path = 'a'", "trade.alerts.x does not say which: it needs use", "known: log, webhook"),
        ("trade.alerts.x = { use = 'log', url = 'a' }", "unknown parameter 'url' for alert 'log'", "known: path"),
        ("trade.alerts.x = { use = 'webhook' }", "alert 'webhook' needs 'url'", "http or https"),
        ("trade.alerts.'a b'.use = 'log'", "alerts cannot be called 'a b'", "letters, digits"),
        ("trade.alerts.x = { use = 'none', path = 'a' }", "trade.alerts.x is dropped", "remove it"),
        ("trade.alerts = 'log'", "trade.alerts must be tables", "trade.alerts.NAME"),
        ("trade.mode = 'papr'", "mode must be one of 'replay', 'watch', 'paper', 'live'", "did you mean 'paper'?"),
        ("trade.mode = true", "mode must be a string", ""),
        ("trade.account = 'DU 1'", "account must be letters, digits, - and _", ""),
        ("trade.account = '../x'", "account must be letters, digits, - and _", ""),
        ("trade.limits = 3", "trade.limits must be a table, was 3", ""),
        ("trade.limits.max_order = true", "max_order must be a whole number, was true", ""),
        ("trade.limits = { min_stop_ticks = 9, max_stop_ticks = 8 }", "min_stop_ticks must not be above", ""),
        ("trade.alerts.x = { use = 'log', path = '../a' }", "path must be the name of a file", ""),
        ("trade.alerts.x = { use = 'log', path = '/a' }", "path must be the name of a file", ""),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(wrong, text, message, hint):
    found = wrong(text)

    assert f"error: {message}" in found
    assert hint in found
    assert "1 error; nothing was run." in found


def test_trade_must_be_a_table(write, plugins):
    with pytest.raises(StrategyError, match="trade must be a table, was 3"):
        load(write("[strategy.a]\nagent.use = 'flat'\ntrade = 3"), None, plugins)


def test_a_broker_that_is_not_there_is_suggested(write, plugins):
    with pytest.raises(StrategyError, match=r"no broker named 'ow' is installed(.|\n)*did you mean 'own'"):
        load(write("[strategy.a]\nagent.use = 'flat'\ntrade.broker.use = 'ow'"), None, plugins)


NUMBERS: list[tuple[str, Any]] = [(name, one) for name, one in parameters(Limits).items()]


@pytest.mark.parametrize(("name", "one"), NUMBERS, ids=[name for name, _ in NUMBERS])
def test_a_limit_has_a_cap_that_no_file_lifts(wrong, write, plugins, name, one):
    least = one.ge if one.ge is not None else one.gt
    allowed = [one.le] + ([one.ge] if one.ge is not None else [])
    refused = [one.le + 1, least - 1] + ([one.gt] if one.gt is not None else [])

    assert one.help
    assert one.default is None or least <= one.default <= one.le
    for value in allowed:
        stops = {"min_stop_ticks": "trade.limits.max_stop_ticks = 40_000\n", "max_stop_ticks": ""}.get(name, "")
        load(write(f"{HEAD}{stops}trade.limits.{name} = {value}"), None, plugins)
    for value in refused:
        assert f"{name} must be" in wrong(f"trade.limits.{name} = {value}")


@pytest.mark.parametrize("name", [name for name, one in NUMBERS if one.type is not int])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400"])
def test_a_limit_is_finite(wrong, name, value):
    assert f"{name} must be finite" in wrong(f"trade.limits.{name} = {value}")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_no_code_makes_a_limit_that_never_trips(value):
    with pytest.raises(ValueError, match="uncovered_seconds must be"):
        Limits(uncovered_seconds=value)


# Addresses, headers, bodies


@pytest.mark.parametrize(
    "address",
    [
        "https://ntfy.sh/topic",
        "http://127.0.0.1:8080/x?y=1",
        "${PHONE}",
        "${PHONE}/x",
        "https://api.telegram.org/bot${TOKEN}/sendMessage",
        "https://example.org/?token=${TOKEN}",
        "https://hc-ping.com/${PING}",
    ],
)
def test_an_address_is_taken(write, plugins, address):
    text = f"trade.alerts.x = {{ use = 'webhook', url = '{address}' }}\ntrade.heartbeat.url = '{address}'"

    trade = load(write(HEAD + text), None, plugins).trade

    assert trade.alerts == {"x": Webhook(url=address)}
    assert trade.heartbeat == Beat(url=address)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "address"),
        ("ftp://example.org", "must begin with https:// or http://"),
        ("file:///etc/passwd", "must begin with"),
        ("example.org/x", "must begin with"),
        ("https://", "must begin with"),
        ("https://exa mple.org", "without blanks"),
        ("https://example.org/\\u0000", "without blanks"),
        ("https://example.org/{message}", "no other braces"),
        ("https://example.org/$TOKEN", "no other braces"),
        ("https://example.org/${A-B}", "no other braces"),
        ("https://me:word@example.org", "holds a secret"),
        ("https://example.org/?x=1&access_token=abc", "holds a secret"),
        ("https://api.telegram.org/bot123456:AAE/sendMessage", "holds a secret"),
        ("https://discord.com/api/webhooks/123/abc", "holds a secret"),
        ("https://hooks.slack.com/services/T00/B00/XX", "holds a secret"),
        ("https://hc-ping.com/0f4a", "holds a secret"),
    ],
)
def test_an_address_is_refused(wrong, address, message):
    found = wrong(f'trade.alerts.x = {{ use = "webhook", url = "{address}" }}')

    assert "error: url " in found
    assert message in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Title", 'must hold texts such as "Title: mnq"'),
        ("Title: a\\nX: b", "must hold texts such as"),
        ("Content-Type: text/html", "mnq sets it"),
        ("host: x", "mnq sets it"),
        ("Authorization: Bearer abc", "holds a secret"),
        ("X-Api-Key: abc", "holds a secret"),
        ("Title: {mesage}", "did you mean {message}?"),
        ("Title: ${A-B}", "no name of an environment variable"),
    ],
)
def test_a_header_is_refused(wrong, text, message):
    found = wrong(f'trade.alerts.x = {{ use = "webhook", url = "http://h/", headers = ["Tags: a", "{text}"] }}')

    assert "error: headers " in found
    assert message in found


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"text": {message}x}', "body is not JSON once it is filled in"),
        ('{"text": "{mesage}"}', "did you mean {message}?"),
        ('{"text": "{account}"}', "did you mean {account_masked}?"),
        ('{"token": "abc", "text": "{message}"}', "holds a secret"),
        ('{"text": "${a b}"}', "no name of an environment variable"),
    ],
)
def test_a_body_is_refused(wrong, body, message):
    assert message in wrong(f"trade.alerts.x = {{ use = 'webhook', url = 'http://h/', body = '{body}' }}")


@pytest.mark.parametrize(
    "body", ["{message}", '{"n": ${CHAT}, "t": "{time}"}', '{"token": "${TOKEN}"}', "[]", '{"a":{}}']
)
def test_a_body_is_taken(write, plugins, body):
    text = f"trade.alerts.x = {{ use = 'webhook', url = 'http://h/', body = '{body}' }}"

    assert load(write(HEAD + text), None, plugins).trade.alerts == {"x": Webhook(url="http://h/", body=body)}


# Schema and pages


@pytest.fixture(scope="module")
def errors(plugins):
    schema, _ = document(plugins)
    validator = jsonschema.Draft7Validator(json.loads(json.dumps(schema, allow_nan=False)))
    return lambda text: [f"{one.json_path}: {one.message}" for one in validator.iter_errors(tomli.loads(text))]


def test_the_schema_knows_the_table(errors):
    assert errors("format = 1\n" + textwrap.dedent(LAYERS)) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("trade.moed = 1", "trade"),
        ("trade.mode = 'x'", "trade.mode"),
        ("trade.limits.max_order = 51", "trade.limits.max_order"),
        ("trade.limits.max_oder = 5", "trade.limits"),
        ("trade.broker.sped = 1", "trade.broker"),
        ("trade.alerts.x.use = 'logg'", "trade.alerts.x.use"),
        ("trade.alerts.x = { use = 'log', url = '' }", "trade.alerts.x"),
        ("trade.alerts.x = { use = 'none', path = '' }", "trade.alerts.x"),
        ("trade.heartbeat.seconds = 0", "trade.heartbeat.seconds"),
    ],
)
def test_the_schema_refuses_what_the_check_refuses(errors, text, where):
    (found,) = errors(f"format = 1\n{HEAD}{text}")

    assert found.startswith(f"$.strategy.a.{where}: ")


def test_every_key_of_the_table_is_documented(request):
    pages = [(request.config.rootpath / "docs" / name).read_text() for name in ("strategy-file.md", "alerts.md")]

    for cls in (TradePlain, Limits, Log, Webhook, Beat):
        for key in parameters(cls):
            assert any(f"| `{key}` " in page for page in pages), key


# Arming

LIVE = """
    [strategy.a]
    agent.use = "flat"
    risk = { max_position = 1, max_daily_loss = 500, max_loss = 2000 }
    trade = { mode = "live", account = "U1234567", broker = { use = "own" } }
"""


def test_a_strategy_that_says_everything_may_trade_money(write, plugins):
    assert live_complaints(load(write(LIVE), None, plugins), (), "live") == []


def test_the_simulated_broker_trades_no_money(write, plugins):
    path = write(LIVE.replace(', broker = { use = "own" }', ""))

    assert live_complaints(load(path, None, plugins), (), "live") == [
        "the simulated broker holds no money: trade.broker must name another"
    ]


def test_all_that_is_missing_for_money_is_told_at_once(write, plugins):
    path = write("[strategy.a]\nagent.use = 'flat'\nbracket.use = 'none'\ntrade.broker.use = 'own'")

    found = live_complaints(load(path, None, plugins), ["a.py"], "paper")

    assert found == [
        'the file does not say trade.mode = "live"',
        "--mode live was not typed",
        "the file does not name the account: trade.account",
        "-p a.py: files of plugins may not trade money, installed ones may",
        "bracket 'none' sets no stop, and live refuses positions without one",
        "the file does not set risk.max_position: live has no default for it",
        "the file does not set risk.max_daily_loss: live has no default for it",
        "the file does not set risk.max_loss: live has no default for it",
    ]


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("trade.mode=live", 'the file does not say trade.mode = "live"'),
        ("trade.account=U7654321", "the file does not name the account: trade.account"),
        ("risk.max_loss=9", "the file does not set risk.max_loss: live has no default for it"),
    ],
)
def test_what_live_requires_stands_in_the_file_not_in_a_set(write, plugins, setting, complaint):
    assert live_complaints(load(write(LIVE), None, plugins, [setting]), (), "live") == [complaint]


def test_what_live_requires_may_stand_in_defaults_and_parents(write, plugins):
    path = write(
        """
        [defaults]
        risk = { max_daily_loss = 500, max_loss = 2000 }
        trade = { account = "U1234567", broker = { use = "own" } }
        [strategy.parent]
        agent.use = "flat"
        risk.max_position = 1
        [strategy.child]
        extends = "parent"
        trade.mode = "live"
        """
    )

    assert live_complaints(load(path, "child", plugins), (), "live") == []


@pytest.mark.parametrize(("account", "paper"), [("DU1234567", True), ("DF12345", True), ("U1234567", False)])
def test_a_paper_account_trades_no_money(write, plugins, account, paper):
    found = live_complaints(load(write(LIVE.replace("U1234567", account)), None, plugins), (), "live")

    assert found == ([f"account {account} is a paper account"] if paper else [])


@pytest.mark.parametrize("mode", ["replay", "watch", "paper", "live"])
def test_only_a_replay_takes_a_bracket_without_a_stop(write, plugins, mode):
    bare = load(write(HEAD + "bracket.use = 'none'"), None, plugins)
    sound = load(write(HEAD), None, plugins)

    assert (unprotected(bare, mode) is None) == (mode == "replay")
    assert unprotected(sound, mode) is None


# Tightening


@pytest.fixture
def limited(write, plugins):
    return load(write(HEAD + "risk = { max_position = 3, max_daily_loss = 500 }"), None, plugins)


def test_the_command_line_tightens(limited):
    found = tightened(limited, max_position=2, max_daily_loss=499.5)

    assert (found.risk.max_position, found.risk.max_daily_loss) == (2, 499.5)
    assert found.risk == attrs.evolve(limited.risk, max_position=2, max_daily_loss=499.5)
    assert found.origins["risk.max_position"] == "--max-position 2"
    assert found.origins["risk.max_daily_loss"] == "--max-daily-loss 499.5"
    assert found.origins["trade.mode"] == limited.origins["trade.mode"]
    assert found.digest() != limited.digest()


def test_the_same_limit_again_is_no_loosening(limited):
    assert tightened(limited, max_position=3, max_daily_loss=500.0).risk == limited.risk
    assert tightened(limited) is limited


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_position": 4}, "--max-position 4 would loosen risk.max_position = 3"),
        ({"max_daily_loss": 500.01}, "--max-daily-loss 500.01 would loosen risk.max_daily_loss = 500.0"),
        ({"max_position": 0}, "--max-position must be at least 1, was 0"),
        ({"max_daily_loss": 0.0}, "--max-daily-loss must be above 0, was 0.0"),
        ({"max_daily_loss": float("nan")}, "--max-daily-loss must be finite, was nan"),
        ({"max_position": 1, "max_daily_loss": float("inf")}, "--max-daily-loss must be finite, was inf"),
    ],
)
def test_the_command_line_never_loosens(limited, given, message):
    with pytest.raises(UsageError) as caught:
        tightened(limited, **given)

    assert caught.value.what == message


def test_a_limit_that_was_off_can_be_set(write, plugins):
    assert tightened(load(write(HEAD), None, plugins), max_daily_loss=10.0).risk.max_daily_loss == 10.0
