"""How orders come and end."""

from __future__ import annotations

import attrs

from mnqcore.api import port
from mnqcore.testing.bench import Scene, expect
from mnqcore.testing.broker_cases._case import BARS, case, ends, raises, ref_of


@case()
async def b03_known_by_ref(scene: Scene) -> None:
    """An order that was sent is known by its ref, in events and in queries, with the broker's own id."""
    entry, stop, target = await scene.bracket()
    await scene.send(entry, stop, target)
    for order in (entry, stop, target):
        accepted = await scene.hears_of(port.Accepted, order.ref)
        state = (await scene.open_refs())[order.ref]
        expect(state.broker_id == accepted.broker_id != "", "one broker's id", (state.broker_id, accepted.broker_id))
        expect(
            (state.role, state.side, state.contracts, state.price, state.contract, state.filled)
            == (order.role, order.side, order.contracts, order.price, order.contract, 0),
            "as it was sent",
            state,
        )


@case()
async def b04_refs_are_used_once(scene: Scene) -> None:
    """A ref is used once: an order with one that was used before raises BrokerError, and nothing changes."""
    orders = await scene.bracket()
    await scene.send(*orders)
    await raises(scene.send(*orders), "the same bracket again")
    fresh = scene.order(port.Role.ENTRY, 1)
    again = scene.order(port.Role.STOP, -1, ref=orders[1].ref, price=orders[1].price)
    await raises(scene.send(fresh, again), "a bracket with one used ref")
    await scene.quiet()
    expect(set(await scene.open_refs()) == {order.ref for order in orders}, "only the first bracket is open")
    expect(not scene.heard(port.Rejected), "nothing is said of the first order", scene.told)
    await scene.hears(port.Filled, bars=BARS)
    expect(await scene.held() == 1, "one contract is held", await scene.held())


@case()
async def b05_one_unit(scene: Scene) -> None:
    """A bracket is one unit: before its entry fills, stop and target are known and not at work."""
    entry, stop, target = await scene.bracket()
    await scene.send(entry, stop, target)
    await scene.quiet()
    states = await scene.open_refs()
    expect(set(states) == {entry.ref, stop.ref, target.ref}, "all orders are known at once", list(states))
    for child in (stop, target):
        expect(states[child.ref].status is port.Status.PENDING, "a child waits", states[child.ref].status)
    expect(await scene.held() == 0, "nothing has filled", await scene.held())


@case()
async def b06_children_work(scene: Scene) -> None:
    """Once the entry has filled, stop and target are at work, for as many contracts."""
    _entry, stop, target = await scene.opened(contracts=2)
    for child in (stop, target):
        await scene.hears_of(port.Working, child.ref)
        state = (await scene.open_refs())[child.ref]
        expect((state.status, state.contracts) == (port.Status.WORKING, 2), "a child is at work", state)


@case()
async def b07_refused_whole(scene: Scene) -> None:
    """A bracket with an order that cannot be is refused whole: nothing of it is alive, or ever fills."""
    entry, stop, target = await scene.bracket()
    await scene.send(entry, stop, attrs.evolve(target, contracts=0))
    await scene.hears_of(port.Rejected, target.ref)
    for order in (entry, stop):
        await ends(scene, order.ref)
    expect(await scene.open_refs() == {}, "no order is open", await scene.open_refs())
    await scene.bench.bar()
    await scene.quiet()
    expect(not scene.heard(port.Filled), "nothing fills", scene.told)


@case()
async def b08_off_the_market(scene: Scene) -> None:
    """A stop without a price, an entry with one, and a contract that nobody knows are rejected."""
    price = await scene.price()
    odd = [
        scene.order(port.Role.STOP, -1),
        scene.order(port.Role.ENTRY, 1, price=price),
        scene.order(port.Role.ENTRY, 1, contract="no such contract"),
    ]
    for order in odd:
        await scene.send(order)
        await scene.hears_of(port.Rejected, order.ref)
    expect(await scene.open_refs() == {}, "no order is open")


@case("stop refused")
async def b09_stop_refused(scene: Scene) -> None:
    """A stop that is rejected after the entry has filled is told so, and the position is still there."""
    _entry, stop, _target = await scene.opened()
    rejected = await scene.hears_of(port.Rejected, stop.ref)
    expect(rejected.code != "", "with a code")
    expect(stop.ref not in await scene.open_refs(), "the stop is not open")
    expect(await scene.held() == 1, "the position is held", await scene.held())


@case()
async def b17_cancel(scene: Scene) -> None:
    """An order that is cancelled is told so, has ended, and what waited for it is gone with it."""
    entry, stop, target = await scene.bracket()
    await scene.send(entry, stop, target)
    await scene.broker.cancel(entry.ref)
    for order in (entry, stop, target):
        await scene.hears_of(port.Cancelled, order.ref)
        state = await scene.completed(order.ref)
        expect((state.status, state.filled) == (port.Status.CANCELLED, 0), "it is cancelled", state)
    await scene.bench.bar()
    await scene.quiet()
    expect(not scene.heard(port.Filled), "nothing fills", scene.told)


@case()
async def b18_cancel_too_late(scene: Scene) -> None:
    """A cancel that comes when the order has filled is answered, by an event of that ref, and changes nothing."""
    entry, *_ = await scene.opened()
    before = len(scene.told)
    await scene.broker.cancel(entry.ref)
    await scene.hears(object, lambda event: event in scene.told[before:] and ref_of(event) == entry.ref)
    state = await scene.completed(entry.ref)
    expect((state.status, state.filled) == (port.Status.FILLED, 1), "it has filled", state)
    expect(await scene.held() == 1, "one is held", await scene.held())


@case()
async def b19_cancel_of_nothing(scene: Scene) -> None:
    """A cancel of a ref that the broker does not know is answered by Unknown or Rejected, and raises nothing."""
    await scene.broker.cancel("case-never-sent")
    answers = port.Unknown | port.Rejected
    await scene.hears(object, lambda event: isinstance(event, answers) and event.ref == "case-never-sent")
    expect(await scene.open_refs() == {}, "no order is open")


@case("stop cancelled")
async def b20_cancelled_by_others(scene: Scene) -> None:
    """A stop that somebody else cancels is told as Cancelled; the position is still there."""
    _entry, stop, _target = await scene.opened()
    await scene.hears_of(port.Cancelled, stop.ref, bars=BARS)
    expect((await scene.completed(stop.ref)).status is port.Status.CANCELLED, "the stop has ended")
    expect(await scene.held() == 1, "the position is held", await scene.held())
