"""Connections and bars."""

from __future__ import annotations

import itertools
from typing import Any

from mnqcore.api import port
from mnqcore.api.values import BarRequest
from mnqcore.market.calendar import Calendar
from mnqcore.testing.bench import Scene, expect, one
from mnqcore.testing.broker_cases._case import BARS, case, offers, raises


@case("cut off")
async def b24_cut_off(scene: Scene) -> None:
    """After a lost connection, Restored says when it can be asked again: what happened meanwhile is in the queries."""
    await scene.bench.bar()
    entry, stop, target = await scene.bracket()
    await scene.send(entry, stop, target)
    await scene.bench.bar()
    await scene.hears(port.Disconnected, bars=BARS)
    await scene.hears(port.Restored, bars=BARS)
    expect(await scene.held() == 1, "the entry has filled meanwhile", await scene.held())
    one([each for each in await scene.broker.executions() if each.ref == entry.ref], "executions of the entry")
    expect((await scene.open_refs())[stop.ref].status is port.Status.WORKING, "the stop is at work")
    expect((await scene.completed(entry.ref)).status is port.Status.FILLED, "the entry has ended")


@case()
async def b25_silence_is_an_error(scene: Scene) -> None:
    """Where the broker is gone, every query and every order raises BrokerError: silence is never "none"."""
    await scene.opened()
    await scene.bench.lose()
    await scene.hears(port.Disconnected)
    broker = scene.broker
    for name in ("account", "positions", "open_orders", "completed_orders", "executions"):
        await raises(getattr(broker, name)(), name)
    await raises(broker.facts(scene.bench.contract), "facts")
    await raises(broker.cancel("case-1"), "cancel")
    await raises(scene.send(scene.order(port.Role.EXIT, -1)), "submit")


@case()
async def b26_restart(scene: Scene) -> None:
    """A client that comes back after it was killed finds its orders, executions and positions by their refs."""
    entry, stop, target = await scene.opened()
    waiting = await scene.bracket()
    await scene.send(*waiting)
    await scene.restart()
    states = await scene.open_refs()
    expected = {stop.ref, target.ref, *(order.ref for order in waiting)}
    found = [each for each in await scene.broker.executions() if each.ref == entry.ref]
    expect(expected <= set(states) | {state.ref for state in await scene.broker.completed_orders()}, "orders", states)
    expect(states[stop.ref].status is port.Status.WORKING, "the stop is at work", states[stop.ref])
    expect(len(found) == 1, "the execution is there", found)
    expect(await scene.held() >= 1, "the position is there", await scene.held())


@case()
async def b27_close(scene: Scene) -> None:
    """`close` ends the events; orders at work stay at work."""
    _entry, stop, _target = await scene.opened()
    await scene.broker.close()
    await scene.quiet()
    expect(scene.ended, "events have ended")
    await raises(scene.broker.positions(), "positions after close")
    await scene.restart()
    expect((await scene.open_refs())[stop.ref].status is port.Status.WORKING, "the stop is at work")


@case()
async def b28_closed_bars(scene: Scene) -> None:
    """A stream delivers closed bars, in order, each once, and the clock is not before their close."""
    offers(scene, "stream")
    starts: list[Any] = []
    for delivered in await scene.bars(10):
        expect(not delivered.forming, "it has closed")
        expect(delivered.bars.index.nunique() == 1, "one bar start", delivered.bars.index)
        starts.append(delivered.bars.index[0])
        _closed(scene, delivered)
    expect(len(starts) > 5, "bars come", starts)
    expect(all(a < b for a, b in itertools.pairwise(starts)), "in order, each once", starts)


@case()
async def b29_missed_bars(scene: Scene) -> None:
    """A stream that begins after a bar delivers first what was missed since then, and goes on from there."""
    offers(scene, "stream")
    starts = list(dict.fromkeys(delivered.bars.index[0] for delivered in await scene.bars(6)))[:4]
    expect(len(starts) == 4, "bars come", starts)
    await scene.restart()
    login = scene.bench.login
    request = BarRequest(instrument=login.instrument, bar_size=login.bar_size, start=starts[0])
    again: list[Any] = []
    broker: Any = scene.broker
    async for delivered in broker.stream(request):
        if len(delivered.bars) and not delivered.forming:
            again.append(delivered.bars.index[0])
            _closed(scene, delivered)
        if len(again) == 5:
            break
    expect(again[:3] == starts[1:], "the missed ones come first", (starts, again))
    expect(again[3] < again[4] and again[3] > starts[-1], "and then the next", again)


@case("forming")
async def b30_forming_bars(scene: Scene) -> None:
    """A bar that has not closed is marked as forming, and comes again when it has."""
    offers(scene, "stream")
    seen: dict[Any, list[bool]] = {}
    for delivered in await scene.bars(10):
        seen.setdefault(delivered.bars.index[0], []).append(delivered.forming)
    forming = [marks for marks in seen.values() if True in marks]
    expect(len(forming) >= 1, "a bar forms", seen)
    expect(all(marks[-1] is False for marks in forming), "and closes", forming)


@case()
async def b31_finish(scene: Scene) -> None:
    """Where a broker has `finish`, it disconnects for good, and a new client finds an empty account."""
    offers(scene, "finish")
    await scene.opened()
    broker: Any = scene.broker
    await broker.finish()
    await scene.quiet()
    expect(scene.ended, "events have ended")
    await raises(scene.broker.positions(), "positions after finish")
    await scene.restart()
    expect(await scene.broker.positions() == [], "nothing is held")
    expect(await scene.open_refs() == {}, "no order is open")


def _closed(scene: Scene, delivered: port.Delivered) -> None:
    """Expect that the clock was not before the close of what was delivered."""
    import pandas as pd

    login, start = scene.bench.login, delivered.bars.index[:1]
    close = Calendar(login.instrument).bar_ends(pd.DatetimeIndex(start), login.bar_size)[0]
    expect(delivered.time >= close.value, f"the clock is not before {close}", pd.Timestamp(delivered.time, tz="UTC"))
