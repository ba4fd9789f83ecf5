"""Alerts reach a file and an address, whole and masked, and nothing that goes wrong there reaches the session."""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mnqcore.errors import UsageError
from mnqcore.plugins import load as load_plugins
from mnqcore.strategy import load
from mnqcore.strategy.trade import Beat, Log, Webhook
from mnqcore.trading import channel, web
from mnqcore.trading.alerts import Alerts, Heartbeat, cleaned, masked

ACCOUNT = "DU1234567"
QUICK = (0.01, 0.01)
RECIPES = dict(
    re.findall(
        r"^```toml (\w+)\.toml\n(.*?)^```$",
        (Path(__file__).parents[1] / "docs" / "alerts.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
)


class Host:
    """A server that notes what it is asked, and answers what it is told: status and headers, once its gate is open."""

    def __init__(self):
        self.asked: list[tuple[str, str, dict[str, str], str]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.gate = threading.Event()
        self.gate.set()
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                host.asked.append((self.command, self.path, dict(self.headers), body))
                host.gate.wait(10)
                status, headers = host.answers.pop(0) if host.answers else (204, {})
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            do_POST = do_GET  # noqa: N815 - the library's name

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def bodies(self):
        return [body for _, _, _, body in self.asked]

    def close(self):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def make_host(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    made = []

    def maker():
        made.append(Host())
        return made[-1]

    yield maker
    for host in made:
        host.close()


@pytest.fixture
def host(make_host):
    return make_host()


@pytest.fixture
def make(tmp_path):
    """Make alerts from name -> settings."""
    made = []

    def maker(settings, **more):
        options = {"strategy": "cross", "account": ACCOUNT, "folder": tmp_path, "pauses": QUICK, "environ": {}}
        made.append(Alerts(settings, **{**options, **more}))
        return made[-1]

    yield maker
    for one in made:
        one.close(1)


def hook(host, **more):
    return Webhook(**{"url": host.url, "content_type": "text/plain", "body": "{level} {message}", **more})


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def eventually(holds, seconds=5.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


# log


def test_the_log_holds_a_line_an_alert(make, tmp_path):
    alerts = make({"file": Log()})

    alerts.send("info", "started")
    alerts.send("error", "halted")
    alerts.close()

    found = lines(tmp_path / "alerts.jsonl")
    assert [(one["level"], one["message"]) for one in found] == [("info", "started"), ("error", "halted")]
    assert {(one["strategy"], one["account"]) for one in found} == {("cross", "DU***67")}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one["time"]) for one in found)


def test_the_log_is_appended_to(make, tmp_path):
    for text in ("one", "two"):
        alerts = make({"file": Log(path="told.jsonl")})
        alerts.send("info", text)
        alerts.close()

    assert [one["message"] for one in lines(tmp_path / "told.jsonl")] == ["one", "two"]


def test_what_is_below_the_level_is_left_out(make, tmp_path):
    alerts = make({"all": Log(path="a"), "grave": Log(path="b", min_level="error")})

    for level in ("info", "warning", "error", "no such level"):
        alerts.send(level, level)
    alerts.close()

    assert [one["level"] for one in lines(tmp_path / "a")] == ["info", "warning", "error", "error"]
    assert [one["message"] for one in lines(tmp_path / "b")] == ["error", "no such level"]


def test_f65_line_breaks_and_escapes_stay_on_their_line(make, tmp_path):
    alerts = make({"file": Log()})

    alerts.send("error", 'a\nb\r\x1b[31mred\x00\u202e{"level": "info"}\u2028 \u20ac')
    alerts.close()

    (line,) = (tmp_path / "alerts.jsonl").read_bytes().splitlines()
    assert line.isascii()
    assert json.loads(line)["message"] == ('a\\nb\\r\\x1b[31mred\\x00\\u202e{"level": "info"}\\u2028 \u20ac')


def test_f65_no_account_is_sent(make, host, tmp_path):
    told = f"{ACCOUNT} is not U7654321, nor is it MNQZ5 20250321 x{ACCOUNT}"
    alerts = make({"file": Log(), "phone": hook(host, headers=("Title: {account_masked}",))})

    alerts.send("error", told)
    alerts.close()

    expected = "DU***67 is not U***21, nor is it MNQZ5 20250321 x"
    assert lines(tmp_path / "alerts.jsonl")[0]["message"].startswith(expected)
    assert host.bodies[0].startswith(f"error {expected}")
    assert host.asked[0][2]["Title"] == "DU***67"


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        (ACCOUNT, "DU***67"),
        ("U1234567", "U***67"),
        ("1234567", "***67"),
        ("simulated", "si***ed"),
        ("replay", "r***"),
        ("ab", "a***"),
        ("", ""),
    ],
)
def test_an_account_shows_its_ends(account, expected):
    assert masked(account) == expected


@example("a" * 5_000)
@example("\x1b" * 5_000)
@example("\ud800")
@given(st.text())
def test_any_message_becomes_one_short_line(text):
    found = cleaned(f"{ACCOUNT} {text} {ACCOUNT}", ACCOUNT)

    assert found.isprintable()
    assert len(found) <= 1_003
    assert found.encode("utf-8", "strict")
    assert re.search(rf"(?<!\w){ACCOUNT}(?!\w)", found) is None


# webhook


def test_a_webhook_posts_json_that_no_message_breaks(make, host):
    alerts = make({"phone": Webhook(url=f"{host.url}/x?y=1")})

    alerts.send("error", 'a "b" \\ {level} ${HOME} \u20ac\n')
    alerts.close()

    ((method, path, headers, body),) = host.asked
    assert (method, path) == ("POST", "/x?y=1")
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["User-Agent"] == "mnq"
    assert json.loads(body) == {"text": 'error: cross (DU***67): a "b" \\ {level} ${HOME} \u20ac\\n'}


def test_a_form_is_quoted(make, host):
    body = "text={message}&who={account_masked}"
    alerts = make({"phone": hook(host, content_type="application/x-www-form-urlencoded", body=body)})

    alerts.send("error", "a&b=c d\u20ac")
    alerts.close()

    assert parse_qs(host.bodies[0]) == {"text": ["a&b=c d\u20ac"], "who": ["DU***67"]}


def test_headers_are_filled_in_and_stay_headers(make, host):
    alerts = make({"phone": hook(host, headers=("Title: {level}: {message}", "Tags: a,b"))})

    alerts.send("warning", "x\r\nX-Evil: 1 \u20ac")
    alerts.close()

    headers = host.asked[0][2]
    assert headers["Title"] == "warning: x\\r\\nX-Evil: 1 \\u20ac"
    assert headers["Tags"] == "a,b"
    assert "X-Evil" not in headers


def test_secrets_come_from_the_environment(make, host):
    settings = hook(host, url="${HOST}/${TOPIC}", body="{message} ${CHAT}", headers=("Authorization: Bearer ${TOKEN}",))
    environ = {"HOST": host.url, "TOPIC": "t", "CHAT": "{level}", "TOKEN": " abc\n"}
    alerts = make({"phone": settings}, environ=environ)

    alerts.send("error", "x")
    alerts.close()

    ((_, path, headers, body),) = host.asked
    assert (path, headers["Authorization"], body) == ("/t", "Bearer abc", "x {level}")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "trade.alerts.phone needs the environment variable TOKEN"),
        ({"TOKEN": " "}, "trade.alerts.phone needs the environment variable TOKEN"),
        ({"TOKEN": "secret\r\nX: 1"}, "TOKEN, of trade.alerts.phone, holds control characters"),
        ({"TOKEN": "ftp://secret"}, "trade.alerts.phone.url is no address once TOKEN is filled in"),
        ({"TOKEN": "https://secret word"}, "is no address"),
        ({"TOKEN": "https://me:secret@host"}, "is no address"),
        ({"TOKEN": "https://secret:99999"}, "is no address"),
    ],
)
def test_a_session_does_not_start_without_its_secrets_and_never_tells_them(make, environ, message):
    with pytest.raises(UsageError, match=message) as caught:
        make({"phone": Webhook(url="${TOKEN}")}, environ=environ)

    assert "secret" not in str(caught.value)


def test_what_fails_for_a_while_is_tried_again(make, host, caplog):
    host.answers = [(500, {}), (429, {})]
    alerts = make({"phone": hook(host)})

    alerts.send("error", "x")
    alerts.close()

    assert host.bodies == ["error x"] * 3
    assert caplog.messages == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_is_refused_is_not_tried_again(make, host, caplog, status):
    host.answers = [(status, {})]
    alerts = make({"phone": hook(host)})

    alerts.send("error", "x")
    alerts.close()

    assert len(host.asked) == 1
    assert caplog.messages == [f"trade.alerts.phone does not work: the answer was {status}"]


def test_a_failure_is_told_once_until_it_has_worked_and_what_was_lost_is_counted(make, host, caplog):
    alerts = make({"phone": hook(host)})

    host.answers = [(404, {})] * 3
    for number in range(4):
        alerts.send("error", f"{number}")
    eventually(lambda: len(host.asked) == 5)
    host.answers = [(404, {})]
    alerts.send("error", "4")
    alerts.close()

    assert host.bodies[3:5] == ["error 3", "warning 3 alerts were lost before this one"]
    assert caplog.messages == ["trade.alerts.phone does not work: the answer was 404"] * 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(make, make_host, caplog, status):
    host, other = make_host(), make_host()
    host.answers = [(status, {"Location": f"{other.url}/x"})]
    alerts = make({"phone": hook(host)})

    alerts.send("error", "x")
    alerts.close()

    assert other.asked == []
    assert len(host.asked) == 1
    assert "the answer was" in caplog.messages[0]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "https://127.0.0.1/x"])
def test_a_redirect_to_another_protocol_is_not_followed(make, host, caplog, location):
    host.answers = [(302, {"Location": location})]
    alerts = make({"phone": hook(host)})

    alerts.send("error", "x")
    alerts.close()

    assert len(host.asked) == 1
    assert len(caplog.messages) == 1


def test_a_redirect_on_the_same_host_is_followed(make, host):
    host.answers = [(302, {"Location": "/elsewhere"})]
    alerts = make({"phone": hook(host)})

    alerts.send("error", "x")
    alerts.close()

    assert [path for _, path, _, _ in host.asked] == ["/", "/elsewhere"]


def test_a_failure_never_tells_the_address(make, caplog):
    alerts = make({"phone": Webhook(url="${TOKEN}")}, environ={"TOKEN": "http://127.0.0.1:1/secret"})

    alerts.send("error", "x")
    alerts.close()

    (text,) = caplog.messages
    assert text.startswith("trade.alerts.phone does not work: ")
    assert "secret" not in text


def test_an_answer_that_is_no_http_is_a_failure_like_others(make, tmp_path, caplog):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            for _ in range(3):
                client, _ = server.accept()
                with client:
                    client.recv(10_000)
                    client.sendall(b"nonsense\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        alerts = make({"phone": Webhook(url=f"http://127.0.0.1:{server.getsockname()[1]}/")})
        alerts.send("error", "x")
        alerts.close()
        thread.join()

    assert caplog.messages == ["trade.alerts.phone does not work: BadStatusLine"]


# Nothing is held up


def test_a_dead_host_holds_nothing_up_and_the_oldest_go(make, host):
    host.gate.clear()
    alerts = make({"phone": hook(host)})
    alerts.send("error", "first")
    eventually(lambda: host.asked)

    start = time.monotonic()
    for number in range(channel.QUEUED + 20):
        alerts.send("error", f"n{number}")
    took = time.monotonic() - start
    host.gate.set()
    alerts.close(10)

    assert took < 1
    assert host.bodies[:3] == ["error first", "warning 20 alerts were lost before this one", "error n20"]
    assert host.bodies[-1] == f"error n{channel.QUEUED + 19}"
    assert len(host.bodies) == channel.QUEUED + 2


def test_a_flood_of_different_alerts_stays_cheap(make, host):
    host.gate.clear()
    alerts = make({"phone": hook(host)})

    start = time.monotonic()
    for number in range(5_000):
        alerts.send("error", f"n{number}")
    took = time.monotonic() - start

    assert took / 5_000 < 0.001
    host.gate.set()


def test_a_dead_host_does_not_hold_up_the_log(make, host, tmp_path):
    host.gate.clear()
    alerts = make({"phone": hook(host), "file": Log()})

    alerts.send("error", "x")

    eventually(lambda: lines(tmp_path / "alerts.jsonl"))


def test_a_silent_host_is_given_up(make, host, monkeypatch, caplog):
    monkeypatch.setattr(web, "TIMEOUT", 0.05)
    host.gate.clear()
    alerts = make({"phone": hook(host)})

    alerts.send("error", "x")
    alerts.close()

    assert len(host.asked) == 3
    assert caplog.messages == ["trade.alerts.phone does not work: TimeoutError"]


def test_closing_takes_no_longer_than_it_may(make, host):
    host.gate.clear()
    alerts = make({"phone": hook(host), "second": hook(host)})
    alerts.send("error", "x")

    start = time.monotonic()
    alerts.close(0.1)

    assert time.monotonic() - start < 1
    alerts.send("error", "too late")


def test_closing_does_not_wait_out_the_pauses(make, host):
    host.answers = [(500, {}), (500, {})]
    alerts = make({"phone": hook(host)}, pauses=(60.0, 60.0))
    alerts.send("error", "x")
    eventually(lambda: host.asked)

    start = time.monotonic()
    alerts.close()

    assert time.monotonic() - start < 3
    assert host.bodies == ["error x"] * 3


def test_a_folder_that_is_gone_ends_nothing(make, tmp_path, caplog):
    alerts = make({"file": Log()}, folder=tmp_path / "gone")

    alerts.send("error", "x")
    alerts.close()

    assert caplog.messages == ["trade.alerts.file does not work: No such file or directory"]


def test_no_alert_raises(make, caplog):
    class Unspeakable:
        def __str__(self):
            raise RuntimeError("boo")

    make({}).send("error", Unspeakable())
    make({}).send("error", 7)

    assert caplog.messages == ["an alert was lost: RuntimeError"]


# Storms


def test_the_same_alert_is_sent_once_with_its_count(make, tmp_path):
    alerts = make({"file": Log()}, window=0.5)

    for _ in range(50):
        alerts.send("warning", "again")
    alerts.send("warning", "another")
    alerts.send("error", "again")  # of another level
    eventually(lambda: len(lines(tmp_path / "alerts.jsonl")) == 4)
    alerts.send("warning", "again")
    eventually(lambda: len(lines(tmp_path / "alerts.jsonl")) == 5)
    time.sleep(0.6)
    alerts.send("warning", "again")
    alerts.close()

    found = [(one["level"], one["message"], one.get("count")) for one in lines(tmp_path / "alerts.jsonl")]
    assert found == [
        ("warning", "again", None),
        ("warning", "another", None),
        ("error", "again", None),
        ("warning", "again (49 more times within 0.5 s)", 49),
        ("warning", "again (once more within 0.5 s)", None),
        ("warning", "again", None),
    ]


def test_what_was_only_counted_is_told_at_the_end(make, tmp_path):
    alerts = make({"file": Log()})

    alerts.send("warning", "again")
    alerts.send("warning", "again")
    alerts.close()

    assert [one["message"] for one in lines(tmp_path / "alerts.jsonl")] == ["again", "again (once more within 60 s)"]


# Heartbeat


def test_a_heartbeat_goes_on_while_all_is_well(host):
    well = threading.Event()
    beat = Heartbeat(Beat(url="${PING}"), environ={"PING": f"{host.url}/ping"})
    beat._seconds = 0.01

    beat.start(well.is_set)
    time.sleep(0.1)
    assert host.asked == []
    well.set()
    eventually(lambda: len(host.asked) >= 3)
    well.clear()
    time.sleep(0.1)
    so_far = len(host.asked)
    time.sleep(0.1)
    beat.stop()

    assert len(host.asked) == so_far
    assert {(method, path) for method, path, _, _ in host.asked} == {("GET", "/ping")}
    assert beat._thread is not None
    assert not beat._thread.is_alive()


def test_a_heartbeat_that_is_not_heard_is_told_once(host, caplog):
    host.answers = [(500, {})] * 3
    beat = Heartbeat(Beat(url=host.url))
    beat._seconds = 0.01

    beat.start(lambda: True)
    eventually(lambda: len(host.asked) >= 5)
    beat.stop()

    assert caplog.messages == ["trade.heartbeat is not heard: the answer was 500"]


def test_a_health_that_cannot_be_told_is_none(host, caplog):
    beat = Heartbeat(Beat(url=host.url))
    beat._seconds = 0.01

    beat.start(lambda: 1 / 0 > 0)
    eventually(lambda: caplog.messages)
    time.sleep(0.05)
    beat.stop()

    assert host.asked == []
    assert caplog.messages == ["trade.heartbeat is not heard: ZeroDivisionError"]


@pytest.mark.parametrize("url", [None, ""])
def test_without_an_address_there_is_no_heartbeat(url):
    beat = Heartbeat(Beat(url=url))

    beat.start(lambda: True)
    beat.stop()

    assert beat._thread is None


def test_a_heartbeat_needs_its_variable():
    with pytest.raises(UsageError, match=r"trade\.heartbeat needs the environment variable PING"):
        Heartbeat(Beat(url="https://hc-ping.com/${PING}"), environ={})


# Recipes

SECRETS = {"NTFY_TOPIC": "topic", "TELEGRAM_TOKEN": "1:A", "TELEGRAM_CHAT": "-42", "DISCORD_WEBHOOK": "https://d/x"}
MESSAGE = 'halted: "2" contracts'
EXPECTED = {
    "ntfy": ("/topic", 'halted: "2" contracts (DU***67, TIME)', {"Title": "mnq a error"}),
    "telegram": ("/bot1:A/sendMessage", {"chat_id": "-42", "text": f"error: a (DU***67): {MESSAGE}"}, {}),
    "discord": (
        "/x",
        {"content": f"**error** a (DU***67): {MESSAGE}", "allowed_mentions": {"parse": []}},
        {"Content-Type": "application/json; charset=utf-8"},
    ),
}


def test_each_recipe_is_tried():
    assert set(RECIPES) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recipe_of_the_page_sends_what_the_service_wants(name, make, host, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(f"format = 1\n{RECIPES[name]}\n[strategy.a]\nagent.use = 'flat'\n")
    ((_, settings),) = load(path, "a", load_plugins(environ={"MNQ_LOAD_PLUGINS": ""})).trade.alerts.items()
    assert isinstance(settings, Webhook)
    local = re.sub(r"^https://[^/]+", host.url, settings.url)
    environ = {**SECRETS, "DISCORD_WEBHOOK": f"{host.url}/x"}
    alerts = make({name: attrs.evolve(settings, url=local)}, strategy="a", environ=environ)

    alerts.send("error", MESSAGE)
    alerts.close()

    ((method, asked, headers, body),) = host.asked
    expected_path, expected, expected_headers = EXPECTED[name]
    found = json.loads(body) if isinstance(expected, dict) else re.sub(r"\d{4}-[\dT:-]+Z", "TIME", body)
    assert (method, asked, found) == ("POST", expected_path, expected)
    assert expected_headers.items() <= headers.items()
