"""Fills orders on recorded bars, by the rules of the simulator, in a venue that outlives the session."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from mnqcore import param, plugin, port, state
from mnqplugins.brokers._client import Client
from mnqplugins.brokers._faults import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pandas as pd

    from mnqcore import BarRequest

_SPEED = re.compile(r"max|([1-9][0-9]{0,5}(?:\.[0-9]{1,3})?)x")


@plugin
class Simulated:
    """Trade on recorded bars: a venue of its own replays the data source, fills orders and keeps the account.

    Its clock is the replay's. With `speed = "max"` it stands between two bars until the next is asked for.
    """

    replays: ClassVar[bool] = True
    """Its bars are those of the strategy's data source, and fills follow the rules of the simulator."""

    speed: str = param("max", help='"max" = a bar whenever the session is ready; "60x" = sixty times real time')
    slippage_ticks: int | None = param(
        None, ge=0, le=10_000, unit="ticks", help="moves every fill but a target's; the strategy's own if not given"
    )
    equity: float | None = param(
        None, gt=0, le=1e9, unit="dollars", help="of the account at the start; initial_balance if not given"
    )
    start: str | None = param(None, help="first bar of the replay, 2025-01-31; bars before it are history")
    end: str | None = param(None, help="end of the replay; that bar is left out")
    faults: tuple[str, ...] = param((), help='what goes wrong, such as "bar 12: drop filled"')
    linger: float = param(600.0, gt=0, le=1e6, unit="seconds", help="how long the venue waits for a client to return")
    _client: Client = state(Client)

    def __attrs_post_init__(self) -> None:
        if not _SPEED.fullmatch(self.speed):
            raise ValueError(f'speed must be "max" or a multiple of real time such as "60x", was {self.speed!r}')
        for name, text in (("start", self.start), ("end", self.end)):
            _moment(name, text)
        for text in self.faults:
            parse(text)

    def exists(self, login: port.Login) -> bool:
        """Whether the venue of `login.folder` is there, and its account with it: `connect` would start a new one."""
        return self._client.exists(login)

    async def connect(self, login: port.Login) -> None:
        """Connect to the venue of `login.folder`, which is started if there is none; BrokerError says why not."""
        await self._client.connect(login, self._settings())

    async def close(self) -> None:
        """Disconnect; the venue goes on, and ends when nobody comes for `linger` seconds."""
        await self._client.close()

    async def finish(self) -> None:
        """Disconnect for good: the venue and its account end."""
        await self._client.finish()

    def now(self) -> int:
        """Return the clock of the replay, UTC ns."""
        return self._client.now()

    async def account(self) -> port.AccountState:
        """Return the account."""
        return await self._client.query("account", port.AccountState)

    async def facts(self, contract: str) -> port.ContractFacts:
        """Return what is known of a contract of the data source; BrokerError where it has none of that name."""
        return await self._client.query("facts", port.ContractFacts, contract=contract)

    async def positions(self) -> list[port.Position]:
        """Return what is held."""
        return await self._client.query("positions", list[port.Position])

    async def open_orders(self) -> list[port.OrderState]:
        """Return the orders that may still fill."""
        return await self._client.query("open_orders", list[port.OrderState])

    async def completed_orders(self) -> list[port.OrderState]:
        """Return the orders that have ended, the last 2,000 at least."""
        return await self._client.query("completed_orders", list[port.OrderState])

    async def executions(self) -> list[port.Execution]:
        """Return the executions, the last 2,000 at least."""
        return await self._client.query("executions", list[port.Execution])

    async def submit(self, bracket: port.BracketOrder) -> None:
        """Send orders; BrokerError, with nothing sent, where the venue is away or a ref was used before."""
        await self._client.submit(bracket)

    async def cancel(self, ref: str) -> None:
        """Ask for an order to be cancelled: Cancelled comes, or Unknown where there is nothing to cancel."""
        await self._client.cancel(ref)

    def events(self) -> AsyncIterator[port.Event]:
        """Yield what happens, from `connect` until `close`."""
        return self._client.events()

    def stream(self, request: BarRequest) -> AsyncIterator[port.Delivered]:
        """Yield the bars after `request.start`, those of the past first; a slot without bars has no rows.

        It goes on where a connection that was lost comes back, and raises BrokerError where the venue is gone.
        """
        return self._client.stream(request)

    async def history(self, request: BarRequest) -> pd.DataFrame:
        """Return the bars up to and including `request.end`, or before the first one that is streamed.

        All contracts side by side, within the session, as the data source returned them; none that has not closed.
        """
        return await self._client.history(request)

    def _settings(self) -> dict[str, Any]:
        return {
            "speed": None if self.speed == "max" else float(self.speed[:-1]),
            "slippage": self.slippage_ticks,
            "equity": self.equity,
            "faults": list(self.faults),
            "start": _moment("start", self.start),
            "end": _moment("end", self.end),
            "linger": self.linger,
        }


def _moment(name: str, text: str | None) -> int | None:
    """Return a moment as UTC ns; without a zone it is UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{name} must be a date or time such as 2025-01-31, was {text!r}") from error
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp()) * 1_000_000_000
