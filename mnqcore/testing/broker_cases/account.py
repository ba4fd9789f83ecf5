"""The account, and who else trades on it."""

from __future__ import annotations

from mnqcore.api import port
from mnqcore.testing.bench import Scene, expect, one
from mnqcore.testing.broker_cases._case import BARS, case, raises


@case()
async def b01_connect(scene: Scene) -> None:
    """Once connected, the account is the one asked for; nothing is held and no order is open."""
    account = await scene.broker.account()
    expect(account.id == scene.bench.login.account, "the account's id is the one of the login", account.id)
    expect(account.time > 0, "the account tells the broker's clock", account.time)
    expect(account.paper == (scene.bench.login.mode != "live"), "paper unless the mode is live", account.paper)
    expect(await scene.broker.positions() == [], "no position is an empty list")
    expect(await scene.broker.open_orders() == [], "no order is an empty list")
    expect(await scene.broker.executions() == [], "no execution is an empty list")


@case()
async def b02_facts(scene: Scene) -> None:
    """The facts of a contract are those of the instrument; of no contract, they are a BrokerError."""
    facts, traded = await scene.broker.facts(scene.bench.contract), scene.bench.login.instrument
    expect(facts.contract == scene.bench.contract, "the contract asked for", facts.contract)
    expect(facts.tick_size == traded.tick_size, "tick size", facts.tick_size)
    expect(facts.tick_value == traded.tick_value, "tick value", facts.tick_value)
    expect(facts.currency == traded.currency, "currency", facts.currency)
    await raises(scene.broker.facts("no such contract"), "facts of no contract")


@case("foreign trade")
async def b21_trades_of_others(scene: Scene) -> None:
    """What somebody else trades is in positions and executions, with an empty ref."""
    await scene.bench.bar()
    await scene.bench.bar()
    execution = one(await scene.broker.executions(), "executions")
    expect((execution.ref, execution.side, execution.contracts) == ("", 1, 1), "none of ours", execution)
    expect(await scene.held() == 1, "it is held", await scene.held())


@case("foreign order")
async def b22_orders_of_others(scene: Scene) -> None:
    """An order that somebody else sent is listed, with an empty ref and no role."""
    await scene.bench.bar()
    await scene.bench.bar()
    state = one(await scene.broker.open_orders(), "open orders")
    expect((state.ref, state.role) == ("", None), "none of ours", state)
    expect(state.broker_id != "", "with the broker's id", state)


@case("liquidated")
async def b23_liquidation(scene: Scene) -> None:
    """A liquidation is an execution that is forced and none of ours; nothing is held then."""
    await scene.opened()
    event = await scene.hears(port.Filled, lambda event: event.execution.forced, bars=BARS)
    expect(event.execution.ref == "", "none of ours", event.execution)
    expect(await scene.held() == 0, "nothing is held", await scene.held())
