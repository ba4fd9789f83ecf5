"""A broker: the smallest that keeps the port. It has an account without money, and refuses every order.

A data source that streams is needed beside it:  data = { use = "..." }, trade.broker.use = "refusal"
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from mnqcore import Register, hookimpl, param, plugin, port, state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@plugin
class Refusal:
    """Refuse every order, and say so: what the strategy would have sent is in the session's journal."""

    why: str = param("this broker takes no orders", help="what it says")

    events_to_come: Any = state(asyncio.Queue)
    login: Any = state()

    async def connect(self, login: port.Login) -> None:
        """Keep who logs in; a real broker raises BrokerError where it cannot."""
        self.login = login

    async def close(self) -> None:
        """Hang up: there is no line."""

    async def account(self) -> port.AccountState:
        """Return the account that was asked for, on paper."""
        currency = self.login.instrument.currency
        return port.AccountState(id=self.login.account or "none", paper=True, currency=currency, time=time.time_ns())

    async def facts(self, contract: str) -> port.ContractFacts:
        """Return what the instrument says; a real broker returns what its exchange does."""
        traded = self.login.instrument
        return port.ContractFacts(
            contract=contract,
            id=contract,
            tick_size=traded.tick_size,
            tick_value=traded.tick_value,
            currency=traded.currency,
        )

    async def positions(self) -> list[port.Position]:
        """Return none: nothing was ever bought."""
        return []

    async def open_orders(self) -> list[port.OrderState]:
        """Return none: no order is at work."""
        return []

    async def completed_orders(self) -> list[port.OrderState]:
        """Return none: it does not remember what it refused."""
        return []

    async def executions(self) -> list[port.Execution]:
        """Return none."""
        return []

    async def submit(self, bracket: port.BracketOrder) -> None:
        """Refuse each order; the answer comes as an event, as all answers do."""
        for order in bracket.orders:
            self.events_to_come.put_nowait(port.Rejected(ref=order.ref, time=time.time_ns(), why=self.why))

    async def cancel(self, ref: str) -> None:
        """Do nothing: no order is at work."""

    async def events(self) -> AsyncIterator[port.Event]:
        """Yield the refusals, in order."""
        while True:
            yield await self.events_to_come.get()


@hookimpl
def register_brokers(register: Register) -> None:
    """Register the broker."""
    register("refusal", Refusal)
