"""The simulated broker as it is: a process of its own behind a socket, which outlives clients and takes no nonsense."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time

import pandas as pd
import pytest

from mnqcore.api import port
from mnqcore.api.port import BracketOrder, Order, Role, Status
from mnqcore.errors import BrokerError
from mnqcore.trading.recorded import recorded
from mnqplugins.brokers.simulated import Simulated
from tests.venues import bench, kill_venue, login, request, venue_of

CLIENT = """
import asyncio, sys
from mnqcore.api.port import BracketOrder, Order, Role
from mnqplugins.brokers.simulated import Simulated
from tests.venues import login, request

async def main():
    broker = Simulated(linger=30.0)
    await broker.connect(login(sys.argv[1]))
    stream = broker.stream(request())
    await anext(stream)
    entry = Order(ref="e", role=Role.ENTRY, contract="MNQH24", side=1, contracts=2)
    stop = Order(ref="s", role=Role.STOP, contract="MNQH24", side=-1, contracts=2, price=1000, parent="e", group="e")
    await broker.submit(BracketOrder(orders=(entry, stop)))
    await anext(stream)
    await anext(stream)
    print("ready", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def bracket(ref="e", price=1000, contract="MNQH24"):
    given = {"contract": contract, "contracts": 1}
    entry = Order(ref=ref, role=Role.ENTRY, side=1, **given)
    stop = Order(ref=f"{ref}.s", role=Role.STOP, side=-1, price=price, parent=ref, group=ref, **given)
    return BracketOrder(orders=(entry, stop))


def is_alive(pid):
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
        return True
    return False


async def until(holds, seconds=10.0):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.02)


def raw(folder):
    """A socket to the venue of a folder."""
    return socket.create_connection(("127.0.0.1", venue_of(folder)["port"]), timeout=10)


# The client is lost, the account is not.


def test_a_killed_client_leaves_orders_and_position_at_the_venue(tmp_path):
    login(tmp_path)
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
    )
    assert client.stdout is not None
    assert client.stdout.readline() == "ready\n"
    pid = venue_of(tmp_path)["pid"]
    client.send_signal(signal.SIGKILL)
    client.wait()
    client.stdout.close()

    async def look():
        async with bench(tmp_path, linger=30.0) as made:
            assert venue_of(tmp_path)["pid"] == pid
            assert await made.broker.positions() == [port.Position(contract="MNQH24", contracts=2)]
            (stop,) = await made.broker.open_orders()
            assert (stop.ref, stop.status, stop.contracts) == ("s", Status.WORKING, 2)
            assert [each.ref for each in await made.broker.executions()] == ["e"]
            assert len([await made.bar() for _ in range(3)]) == 3
            assert made.last == recorded_bars(tmp_path).index.unique()[2]  # the three of before: nothing has passed

    asyncio.run(look())
    asyncio.run(until(lambda: not is_alive(pid)))


def recorded_bars(folder):
    return recorded(login(folder).file).bars


def test_a_venue_ends_when_nobody_comes(tmp_path):
    async def play():
        async with bench(tmp_path, linger=0.3) as made:
            pid = venue_of(tmp_path)["pid"]
            await asyncio.sleep(0.6)
            assert is_alive(pid)  # while a client is there it stays
            await made.broker.close()
            await until(lambda: not is_alive(pid))
            assert not (tmp_path / "venue" / "port.json").exists()

    asyncio.run(play())


def test_a_venue_that_nobody_can_find_ends(tmp_path):
    async def play():
        async with bench(tmp_path, linger=600.0) as made:
            pid = venue_of(tmp_path)["pid"]
            (tmp_path / "venue" / "port.json").unlink()
            await asyncio.sleep(1.2)
            assert is_alive(pid)  # its client is there
            await made.broker.close()
            await until(lambda: not is_alive(pid))

    asyncio.run(play())


def test_finish_ends_the_venue_at_once(tmp_path):
    async def play():
        async with bench(tmp_path) as made:
            pid = venue_of(tmp_path)["pid"]
            await made.broker.finish()
            await until(lambda: not is_alive(pid), 2.0)
            with pytest.raises(BrokerError):
                await made.broker.positions()

    asyncio.run(play())


def test_a_new_venue_goes_on_behind_the_bars_that_were_dealt_with(tmp_path):
    bars = recorded_bars(tmp_path)

    async def play():
        async with bench(tmp_path) as made:
            made.stream = made.broker.stream(request(start=bars.index[99]))
            history = await made.broker.history(request(end=bars.index[99]))
            pd.testing.assert_frame_equal(history, bars.iloc[:100], check_freq=False)
            await made.bar()
            assert made.last == bars.index[100]

    asyncio.run(play())


# Who is let in.


def test_what_the_venue_keeps_is_for_its_owner_alone(tmp_path):
    async def play():
        async with bench(tmp_path):
            folder = tmp_path / "venue"
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            for name in ("port.json", "setup.json", "log.txt"):
                assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600

    asyncio.run(play())


def test_a_second_client_is_refused_and_harms_nothing(tmp_path):
    async def play():
        async with bench(tmp_path) as made:
            second = Simulated()
            with pytest.raises(BrokerError, match="another session is connected"):
                await second.connect(made.login)
            await made.bar()
            assert await made.broker.positions() == []

    asyncio.run(play())


def test_another_account_is_refused(tmp_path):
    async def play():
        async with bench(tmp_path) as made:
            await made.broker.close()
            with pytest.raises(BrokerError, match="another account"):
                await Simulated().connect(login(tmp_path, account="SIM2"))

    asyncio.run(play())


def test_other_settings_are_told(tmp_path):
    async def play():
        async with bench(tmp_path) as made:
            await made.broker.close()
            made.parameters["slippage_ticks"] = 7
            await made.connect()
            event = await anext(made.broker.events())
            assert isinstance(event, port.Warned)
            assert (event.code, event.stop) == ("settings", False)

    asyncio.run(play())


@pytest.mark.parametrize(
    "said",
    [
        b'{"token": "wrong", "account": "SIM1"}\n',
        b'{"token": 12}\n',
        b"[]\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xfe\x00\n",
        b'{"token": "' + b"x" * 5_000 + b'"}\n',
        b"x" * 2_000_000 + b"\n",
        b"[" * 100_000 + b"\n",
    ],
    ids=["token", "number", "list", "http", "binary", "long", "oversized", "nested"],
)
def test_strangers_are_cut_off_without_an_answer(tmp_path_factory, said, shared):
    with raw(shared) as stranger:
        with contextlib.suppress(OSError):
            stranger.sendall(said)
        assert heard(stranger) == b""


@pytest.mark.parametrize(
    "said",
    [
        b"what?\n",
        b'{"do": "positions"}\n',
        b'{"id": 1}\n',
        b'{"id": 1, "do": "steal"}\n',
        b'{"id": 1, "do": "submit"}\n',
        b'{"id": 1, "do": "submit", "bracket": {"orders": [{"ref": 5}]}}\n',
        b'{"id": 1, "do": "history", "end": "x", "from": -5}\n',
        b'{"id": 1, "do": "posit',
        b"y" * 3_000_000,
    ],
)
def test_garbage_of_a_client_ends_its_connection_and_nothing_else(shared, said):
    with raw(shared) as client:
        client.sendall(b'{"token": "%b", "account": "SIM1"}\n' % venue_of(shared)["token"].encode())
        assert b'"columns"' in client.makefile("rb").readline()
        with contextlib.suppress(OSError):
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
        assert b'"ok"' not in heard(client)

    async def look():
        broker = Simulated()
        await broker.connect(login(shared))
        assert await broker.positions() == []
        await broker.close()

    asyncio.run(look())


def heard(client):
    """All that comes until the other side hangs up."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65_536):
            found += part
    return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder with a venue that several tests use."""
    folder = tmp_path_factory.mktemp("shared")

    async def begin():
        broker = Simulated()
        await broker.connect(login(folder))
        await broker.close()

    asyncio.run(begin())
    yield folder
    kill_venue(folder)


# What it says when something is wrong.


def test_a_strategy_that_cannot_be_read_is_told(tmp_path):
    there = login(tmp_path)
    (tmp_path / "strategy.toml").write_text("format = 1\n[strategy.a]\nagent = { use = 'nobody' }\n")

    with pytest.raises(BrokerError, match=r"did not start[\s\S]*nobody"):
        asyncio.run(Simulated().connect(there))


def test_a_window_without_bars_is_told(tmp_path):
    with pytest.raises(BrokerError, match=r"did not start[\s\S]*between broker.start and broker.end"):
        asyncio.run(Simulated(start="2031-01-01").connect(login(tmp_path)))


def test_a_venue_that_dies_ends_the_stream_with_an_error(tmp_path):
    async def play():
        async with bench(tmp_path) as made:
            await made.bar()
            await made.lose()
            with pytest.raises(BrokerError, match="does not answer"):
                await made.bar()
            await made.connect()  # a new one, which goes on behind the last bar
            last = made.last
            await made.bar()
            assert made.last > last

    asyncio.run(play())


def test_a_frozen_venue_is_not_waited_for_forever(tmp_path, monkeypatch):
    monkeypatch.setattr("mnqplugins.brokers._client._PATIENCE", 0.2)

    async def play():
        async with bench(tmp_path) as made:
            pid = venue_of(tmp_path)["pid"]
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(BrokerError, match="does not answer"):
                    await made.broker.positions()
            finally:
                os.kill(pid, signal.SIGCONT)

    asyncio.run(play())


# Time.


def test_in_lock_step_the_clock_stands_between_two_bars(tmp_path):
    async def play():
        async with bench(tmp_path) as made:
            first = await made.bar()
            now = made.broker.now()
            await asyncio.sleep(0.1)
            assert first.time == now == made.broker.now() == (await made.broker.account()).time
            assert (await made.bar()).time == now + 300 * 10**9

    asyncio.run(play())


def test_a_window_has_its_history(tmp_path):
    bars = recorded_bars(tmp_path)
    start, end = bars.index[50], bars.index[60]

    async def play():
        async with bench(tmp_path, start=start.isoformat(), end=end.isoformat()) as made:
            history = await made.broker.history(request())
            pd.testing.assert_frame_equal(history, bars.iloc[:50], check_freq=False)
            streamed = [delivered.bars async for delivered in made.broker.stream(request())]
            pd.testing.assert_frame_equal(pd.concat(streamed), bars.iloc[50:60], check_freq=False)

    asyncio.run(play())


def test_history_holds_no_bar_that_has_not_closed(tmp_path):
    bars = recorded_bars(tmp_path)

    async def play():
        async with bench(tmp_path) as made:
            for _ in range(3):
                await made.bar()
            assert len(await made.broker.history(request(end=bars.index[-1]))) == 3

    asyncio.run(play())


def test_a_running_clock_goes_on_without_a_client(tmp_path):
    """At 3,000 x real time a bar takes 0.1 seconds."""

    async def play():
        async with bench(tmp_path, speed="3000x") as made:
            await made.bar()
            await made.broker.submit(bracket())
            await asyncio.sleep(0.05)
            await made.restart()
            await asyncio.sleep(0.45)
            begun = time.monotonic()
            first = await made.bar()
            await made.bar()
            assert time.monotonic() - begun < 0.09  # they had closed already
            assert first.time > first.bars.index[0].value + 2 * 300 * 10**9
            assert await made.broker.positions() == [port.Position(contract="MNQH24", contracts=1)]
            before = made.broker.now()
            await asyncio.sleep(0.1)
            assert 150 < (made.broker.now() - before) / 1e9 < 900

    asyncio.run(play())


def test_on_a_running_clock_a_market_order_fills_at_once_in_the_bar_that_is_open(tmp_path):
    bars = recorded_bars(tmp_path)

    async def play():
        async with bench(tmp_path, speed="600x") as made:  # half a second a bar
            await made.bar()
            begun = time.monotonic()
            await made.broker.submit(bracket())
            events = made.broker.events()
            while not isinstance(event := await anext(events), port.Filled):
                pass
            assert time.monotonic() - begun < 0.2
            assert event.execution.price == round(bars["open"].iloc[1] * 4) + 1
            assert bars.index[1].value <= event.execution.time < bars.index[1].value + 150 * 10**9

    asyncio.run(play())


def test_a_running_clock_takes_a_bar_for_the_hours_in_which_the_market_is_closed(tmp_path):
    found = recorded(login(tmp_path).file)
    break_ = next(at for at in range(1, len(found.start)) if found.start[at] != found.close[at - 1])
    start = found.bars.index.unique()[break_ - 2]

    async def play():
        async with bench(tmp_path, speed="1000x", start=start.isoformat()) as made:  # 0.3 seconds a bar
            await made.bar()
            await made.bar()
            begun = time.monotonic()
            await made.bar()
            assert made.last.value == found.start[break_]
            assert 0.5 < time.monotonic() - begun < 1.2

    asyncio.run(play())


def test_a_client_can_close_and_connect_again(tmp_path):
    async def play():
        async with bench(tmp_path) as made:
            await made.bar()
            await made.broker.close()
            assert [event async for event in made.broker.events()] == []
            await made.broker.connect(made.login)
            await made.broker.submit(bracket())
            assert isinstance(await anext(made.broker.events()), port.Accepted)
            assert len(await made.broker.open_orders()) == 2

    asyncio.run(play())


def test_the_script_can_misset_the_clock(tmp_path):
    async def play():
        async with bench(tmp_path, faults=("bar 2: skew 5",)) as made:
            first, second = await made.bar(), await made.bar()
            assert second.time - first.time == 305 * 10**9
            assert (await made.broker.account()).time == made.broker.now() == second.time

    asyncio.run(play())


# Cut off by the script.


def test_a_cut_connection_comes_back_and_misses_no_bar(tmp_path):
    bars = recorded_bars(tmp_path)

    async def play():
        async with bench(tmp_path, faults=("bar 3: disconnect 4",)) as made:
            await made.bar()
            await made.broker.submit(bracket())
            starts = [made.last]
            for _ in range(9):
                await made.bar()
                starts.append(made.last)
            assert starts == list(bars.index[:10])
            events, kinds = made.broker.events(), []
            while "Restored" not in kinds:
                kinds.append(type(await anext(events)).__name__)
            assert kinds == [
                "Accepted",
                "Accepted",
                "Working",
                "Filled",
                "Working",
                "Charged",
                "Disconnected",
                "Restored",
            ]
            assert await made.broker.positions() == [port.Position(contract="MNQH24", contracts=1)]

    asyncio.run(play())


# Speed.


@pytest.mark.proof
def test_two_thousand_bars_a_second(tmp_path):
    login(tmp_path)
    file = tmp_path / "strategy.toml"
    file.write_text(file.read_text().replace("days = 5", "days = 40"))

    async def play():
        async with bench(tmp_path) as made:
            count, begun = 0, time.perf_counter()
            async for _ in made.broker.stream(request()):
                count += 1
            return count / (time.perf_counter() - begun)

    rates = [asyncio.run(play()) for _ in range(2)]
    assert max(rates) > 1_000  # twice that on an idle machine
