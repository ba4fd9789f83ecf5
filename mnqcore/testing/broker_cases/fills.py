"""How orders fill."""

from __future__ import annotations

from mnqcore.api import port
from mnqcore.testing.bench import Scene, expect, one
from mnqcore.testing.broker_cases._case import BARS, case


@case()
async def b10_executions(scene: Scene) -> None:
    """A fill is an execution with an id of its own, the order's ref, and a time; positions are the sum of them."""
    entry, *_ = await scene.opened(contracts=2)
    executions = await scene.broker.executions()
    expect(len({each.id for each in executions}) == len(executions), "ids are unique", executions)
    ours = [each for each in executions if each.ref == entry.ref]
    expect(sum(each.contracts for each in ours) == 2, "two contracts", ours)
    expect(all(each.side == 1 and each.contract == entry.contract and each.time > 0 for each in ours), "as sent", ours)
    told = {event.execution.id for event in scene.heard(port.Filled)}
    expect(told == {each.id for each in executions}, "events and query tell of the same", (told, executions))
    state = await scene.completed(entry.ref)
    expect((state.status, state.filled) == (port.Status.FILLED, 2), "the entry has filled", state)
    expect(await scene.held() == 2, "two are held", await scene.held())


@case()
async def b11_commission_comes_later(scene: Scene) -> None:
    """What an execution cost is told by its id, once it is known; from then on the query tells it, too."""
    await scene.opened()
    charged = await scene.hears(port.Charged, bars=BARS)
    execution = one([each for each in await scene.broker.executions() if each.id == charged.execution], "executions")
    expect(execution.commission == charged.commission >= 0, "the commission", (execution, charged))


@case("partial")
async def b12_partial_fills(scene: Scene) -> None:
    """Where only a part of the entry fills, the stop is for that part and no more."""
    entry, stop, _target = await scene.opened(contracts=3)
    await scene.hears_of(port.Cancelled, entry.ref, bars=BARS)
    state = await scene.completed(entry.ref)
    expect((state.status, state.filled) == (port.Status.CANCELLED, 1), "one has filled", state)
    expect(await scene.held() == 1, "one is held", await scene.held())
    resized = await scene.hears_of(port.Resized, stop.ref)
    state = (await scene.open_refs())[stop.ref]
    expect(state.contracts == resized.contracts == 1, "the stop is for one", state)
    expect(state.status is port.Status.WORKING, "and at work", state)


@case()
async def b13_groups(scene: Scene) -> None:
    """Once an order of a group has filled, the others are cancelled: an exit takes stop and target with it."""
    entry, stop, target = await scene.opened()
    leave = scene.order(port.Role.EXIT, -1, group=entry.ref)
    await scene.send(leave)
    await scene.hears(port.Filled, lambda event: event.execution.ref == leave.ref, bars=BARS)
    for order in (stop, target):
        await scene.hears_of(port.Cancelled, order.ref)
    expect(await scene.open_refs() == {}, "no order is open")
    expect(await scene.held() == 0, "nothing is held", await scene.held())


@case()
async def b14_reversal(scene: Scene) -> None:
    """An exit and an entry of the other side, sent one after the other, turn the position round exactly once."""
    entry, *_ = await scene.opened()
    later = await scene.bracket(side=-1)
    await scene.send(scene.order(port.Role.EXIT, -1, group=entry.ref))
    await scene.send(*later)
    await scene.hears(port.Filled, lambda event: event.execution.ref == later[0].ref, bars=BARS)
    expect(await scene.held() == -1, "one short", await scene.held())
    expect(set(await scene.open_refs()) == {order.ref for order in later[1:]}, "only the new stop and target are open")


@case("corrected")
async def b15_corrections(scene: Scene) -> None:
    """A correction has the execution's id and a higher revision; the query tells the last revision alone."""
    entry, *_ = await scene.opened()
    event = await scene.hears(port.Filled, lambda event: event.execution.revision > 0, bars=BARS)
    first = scene.heard(port.Filled)[0].execution
    expect(event.execution.id == first.id, "the same id", (first, event.execution))
    told = one([each for each in await scene.broker.executions() if each.ref == entry.ref], "executions")
    expect((told.revision, told.price) == (event.execution.revision, event.execution.price), "the last one", told)
    expect(await scene.held() == 1, "one is held as before", await scene.held())


@case("bust")
async def b16_busts(scene: Scene) -> None:
    """An execution that is taken back has 0 contracts in its next revision, and the position is gone."""
    await scene.opened()
    await scene.hears(
        port.Filled, lambda event: event.execution.contracts == 0 and event.execution.revision > 0, bars=BARS
    )
    expect(await scene.held() == 0, "nothing is held", await scene.held())
