"""The broker port: what mnq asks of whatever executes orders, in its own types.

Prices are whole ticks of the instrument, sizes whole contracts, money whole micro-units (1e-6 of the currency), times
UTC nanoseconds. A broker translates; nothing of a broker's own library goes beyond it. `mnqcore.testing` holds the
numbered cases that every broker must pass.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pandas as pd

    from mnqcore.api.values import BarRequest
    from mnqcore.market.instruments import Instrument


class Role(Enum):
    """What an order is for."""

    ENTRY = "entry"
    """Opens a position; a market order that is good for its session."""
    STOP = "stop"
    """Protects a position; good until it is cancelled, outside the cash session too."""
    TARGET = "target"
    """Takes a profit; a limit order, good until it is cancelled."""
    EXIT = "exit"
    """Closes a position; a market order of the group of the stop that it replaces."""


class Status(Enum):
    """How an order stands at the broker."""

    PENDING = "pending"
    """Received, but not at work yet: it waits for its parent, or for the market to open."""
    WORKING = "working"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    """The broker's word does not settle it: it may be alive."""

    @property
    def ended(self) -> bool:
        """Whether nothing more can come of it."""
        return self in (Status.FILLED, Status.CANCELLED, Status.REJECTED)


@attrs.frozen(kw_only=True)
class Order:
    """One order. `ref` is ours, unique for ever, and comes back with everything that the broker says of it.

    `side`: +1 buys, -1 sells. `price`: of a stop or a target, ticks; None is a market order. `parent`: the ref of the
    entry that it waits for. `group`: orders of one group cancel each other: once one fills, the others are gone.
    """

    ref: str
    role: Role
    contract: str
    side: int
    contracts: int
    price: int | None = None
    parent: str | None = None
    group: str | None = None


@attrs.frozen(kw_only=True)
class BracketOrder:
    """Orders that are sent as one: an entry with its stop and target, or a single order.

    None of them may work before the broker has all of them.
    """

    orders: tuple[Order, ...]


@attrs.frozen(kw_only=True)
class OrderState:
    """An order as the broker knows it; `ref` is empty where it is none of ours. `filled`: contracts."""

    ref: str
    broker_id: str
    role: Role | None
    contract: str
    side: int
    contracts: int
    filled: int
    price: int | None
    status: Status
    why: str = ""


@attrs.frozen(kw_only=True)
class Execution:
    """A fill, or part of one. The same `id` with a higher `revision` corrects it; 0 contracts is a bust.

    `ref` is empty where the order is none of ours. `price`: ticks; a broker that fills between them rounds against us.
    `forced`: the broker liquidated. `commission`: micro-units, None until the broker tells it.
    """

    id: str
    revision: int = 0
    ref: str
    broker_id: str
    contract: str
    side: int
    contracts: int
    price: int
    time: int
    forced: bool = False
    commission: int | None = None


@attrs.frozen(kw_only=True)
class Position:
    """Signed contracts held at the broker, whoever bought them."""

    contract: str
    contracts: int


@attrs.frozen(kw_only=True)
class AccountState:
    """The account. `paper`: no money is at stake. `time`: the broker's clock. Money in micro-units, None if unknown."""

    id: str
    paper: bool
    currency: str
    time: int
    equity: int | None = None
    available: int | None = None
    profit: int | None = None
    """Made or lost since the trading day began, as the broker reckons it."""


@attrs.frozen(kw_only=True)
class ContractFacts:
    """What the broker knows of a contract; `last_day`: its last trading day, ISO 8601, empty if it has none."""

    contract: str
    id: str
    tick_size: float
    tick_value: float
    currency: str
    last_day: str = ""


@attrs.frozen(kw_only=True)
class Accepted:
    """The broker has the order."""

    ref: str
    broker_id: str
    time: int


@attrs.frozen(kw_only=True)
class Working:
    """The order is at work."""

    ref: str
    broker_id: str
    time: int


@attrs.frozen(kw_only=True)
class Parked:
    """The broker has the order, but it is not at work, or no longer: a stop so parked protects nothing."""

    ref: str
    broker_id: str
    time: int
    why: str = ""


@attrs.frozen(kw_only=True)
class Filled:
    """An execution, or the correction of one."""

    execution: Execution
    time: int


@attrs.frozen(kw_only=True)
class Charged:
    """What an execution cost, micro-units: it may come long after it."""

    execution: str
    commission: int
    time: int


@attrs.frozen(kw_only=True)
class Resized:
    """The broker changed how many contracts an order is for."""

    ref: str
    contracts: int
    time: int


@attrs.frozen(kw_only=True)
class Cancelled:
    """The order is cancelled, as asked or not; what it filled before stays."""

    ref: str
    time: int
    code: str = ""
    why: str = ""


@attrs.frozen(kw_only=True)
class Rejected:
    """The order was refused, and nothing of it is alive."""

    ref: str
    time: int
    code: str = ""
    why: str = ""


@attrs.frozen(kw_only=True)
class Unknown:
    """Something was said of an order that does not settle how it stands; it may be alive."""

    ref: str
    time: int
    code: str = ""
    why: str = ""


@attrs.frozen(kw_only=True)
class Disconnected:
    """The broker, or its link to the exchange, cannot be reached; orders at work stay there."""

    time: int
    why: str = ""


@attrs.frozen(kw_only=True)
class Restored:
    """It can be reached again. What happened meanwhile must be asked for."""

    time: int


@attrs.frozen(kw_only=True)
class Warned:
    """The broker says what a person should read. `stop`: nothing new may be risked until one has."""

    time: int
    code: str = ""
    why: str = ""
    stop: bool = False


Event = (
    Accepted | Working | Parked | Filled | Charged | Resized | Cancelled | Rejected | Unknown | Disconnected
    | Restored | Warned
)  # fmt: skip
"""What a broker's stream delivers."""


@attrs.frozen(kw_only=True, eq=False)
class Delivered:
    """What a live data source delivers: the closed bars of one bar start, a row a contract; none where it is silent.

    `bars`: as `DataSource.bars` returns them. `time`: the source's clock, UTC nanoseconds. Without rows it only tells
    the time: that a slot has passed without a bar. `forming`: these bars are not closed yet.
    """

    bars: pd.DataFrame
    time: int
    forming: bool = False


@attrs.frozen(kw_only=True)
class Login:
    """Who connects to a broker: what it needs to find its account, and to read the strategy where it is a venue too.

    `file`, `plugins`: a resolved strategy and `-p` values, as text, for a broker that runs in a process of its own.
    `folder`: where a broker may keep what must outlive this process.
    """

    account: str
    mode: str
    instrument: Instrument
    bar_size: pd.Timedelta
    file: str
    plugins: tuple[str, ...]
    folder: str


class Broker(Protocol):
    """Executes orders. Queries raise BrokerError where the broker does not answer: silence is never "none".

    All methods are called from one asyncio loop. A broker that delivers bars as well has `stream`, as a data source
    does, and then its clock is `now`. One that replays the bars of the strategy's data source and fills by the rules of
    the simulator has the class attribute `replays = True`: not one of its fills may differ from a backtest's.
    """

    async def connect(self, login: Login) -> None:
        """Connect and log in; BrokerError says why not.

        What an earlier client of this session has sent has arrived by then, or never will: it is in the queries.
        """
        ...

    async def close(self) -> None:
        """Disconnect; orders at work stay at work."""
        ...

    async def account(self) -> AccountState:
        """Return the account that was logged in to; its `id` is `Login.account`, else nothing is traded."""
        ...

    async def facts(self, contract: str) -> ContractFacts:
        """Return what the broker knows of a contract."""
        ...

    async def positions(self) -> list[Position]:
        """Return all positions of the account that are not 0, whoever made them."""
        ...

    async def open_orders(self) -> list[OrderState]:
        """Return all orders of the account that may still be filled, whoever sent them."""
        ...

    async def completed_orders(self) -> list[OrderState]:
        """Return orders that have ended, for as long as the broker remembers them."""
        ...

    async def executions(self) -> list[Execution]:
        """Return executions, corrected ones in their last revision, for as long as the broker remembers them."""
        ...

    async def submit(self, bracket: BracketOrder) -> None:
        """Send orders as one; returns once they are on their way. BrokerError: surely nothing was sent."""
        ...

    async def cancel(self, ref: str) -> None:
        """Ask for an order of ours to be cancelled; what comes of it is an event."""
        ...

    def events(self) -> AsyncIterator[Event]:
        """Yield what happens, from `connect` on, in the order in which the broker tells it."""
        ...


class LiveSource(Protocol):
    """A data source, or a broker, that delivers bars as they close."""

    def stream(self, request: BarRequest) -> AsyncIterator[Delivered]:
        """Yield closed bars after `request.start`, the missed ones first, and then each as it closes.

        It ends where the source has no more bars. Asking for the next item says that the one before is dealt with.
        """
        ...
