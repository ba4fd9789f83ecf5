"""The table `trade`: with which broker, on which account and how a strategy trades, and the limits of the world rules.

Nothing here can change a decision or a fill, so it is no part of a strategy's digest. `Limits` can only deny.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

import attrs

from mnqcore.api.parameters import param
from mnqcore.strategy import template

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mnqcore.strategy.model import Choice

MODES = ("replay", "watch", "paper", "live")
"""What may be at stake: bars of the past; nothing; a paper account; money."""
LEVELS = ("info", "warning", "error")
"""How grave an alert is."""
_MOST = 1e9
"""Dollars: as the limits of `risk`."""
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@attrs.frozen(kw_only=True)
class Limits:
    """The limits of the world rules; ranges are caps that no file can lift."""

    max_order: int = param(5, ge=1, le=50, help="largest single order", unit="contracts")
    price_collar: float = param(
        0.05, gt=0, le=0.2, help="how far a stop or a target may stand away", unit="share of the last close"
    )
    margin_buffer: float = param(1.25, ge=1, le=10, help="margin counts so many times", unit="x margin")
    orders_per_minute: int = param(10, ge=1, le=120, help="orders sent in any minute; one more halts", unit="orders")
    orders_per_day: int = param(200, ge=1, le=5_000, help="orders sent on a trading day; one more halts", unit="orders")
    max_bar_age: float = param(
        30.0, gt=0, le=600, help="no decision on a bar that arrives so long after its close", unit="seconds"
    )
    max_clock_skew: float = param(
        2.0, gt=0, le=60, help="difference to the broker's clock beyond which nothing is opened", unit="seconds"
    )
    expiry_days: int = param(
        1, ge=0, le=30, help="no entry so near to the contract's last trading day", unit="trading days"
    )
    min_stop_ticks: int = param(1, ge=1, le=40_000, help="no entry with a nearer stop", unit="ticks")
    max_stop_ticks: int = param(4_000, ge=1, le=40_000, help="no entry with a farther stop", unit="ticks")
    decision_seconds: float = param(
        10.0, gt=0, le=300, help="a decision that takes longer is not acted on", unit="seconds"
    )
    bad_decisions: int = param(3, ge=1, le=100, help="decisions in a row that fail or are late, then halt", unit="bars")
    bad_bars: int = param(3, ge=1, le=100, help="bars in a row that cannot be true, then halt", unit="bars")
    max_rejections: int = param(3, ge=1, le=20, help="rejected orders in a row, then halt", unit="orders")
    reconcile_seconds: float = param(
        60.0, ge=1, le=600, help="how often positions and orders are compared with the broker's", unit="seconds"
    )
    uncovered_seconds: float = param(
        2.0, gt=0, le=30, help="longest time without a stop that covers the position, then flatten", unit="seconds"
    )
    fill_collar: float = param(
        0.02, gt=0, le=0.2, help="how far a fill may lie outside of its bar; farther halts", unit="share of the price"
    )
    pnl_drift: float = param(
        50.0, gt=0, le=1_000_000, help="difference to the broker's profit that is alerted", unit="dollars"
    )
    max_slippage_ticks: int = param(8, ge=0, le=10_000, help="slippage of a fill that is alerted", unit="ticks")
    ack_seconds: float = param(
        10.0, gt=0, le=120, help="how long the broker may leave an order unanswered", unit="seconds"
    )
    queries: int = param(3, ge=1, le=20, help="how often it is then asked, before the order counts as unknown")
    stop_seconds: float = param(
        20.0, gt=0, le=300, help="longest time for a triggered stop, or an exit, to fill", unit="seconds"
    )
    quiet_seconds: float = param(
        5.0,
        gt=0,
        le=120,
        help="how long an order must stay unknown to the broker to count as never sent",
        unit="seconds",
    )
    emergency_loss: float | None = param(
        None, gt=0, le=_MOST, help="loss on one trading day that flattens and halts within the bar", unit="dollars"
    )

    def __attrs_post_init__(self) -> None:
        if self.min_stop_ticks > self.max_stop_ticks:
            raise ValueError(
                f"min_stop_ticks must not be above max_stop_ticks: {self.min_stop_ticks} > {self.max_stop_ticks}"
            )


@attrs.frozen(kw_only=True)
class Log:
    """Alerts as lines of JSON in a file of the session's folder."""

    use: ClassVar[str] = "log"
    path: str = param("alerts.jsonl", help="name of the file")
    min_level: str = param("info", choices=LEVELS, help="what is less grave is left out")


@attrs.frozen(kw_only=True)
class Webhook:
    """Alerts sent to an address, for a phone or a chat.

    `${NAME}` in `url`, `headers` and `body` is the environment variable NAME: secrets stay out of the file. Headers and
    body hold `{level} {message} {strategy} {account_masked} {time}`, escaped as the content type wants it.
    """

    use: ClassVar[str] = "webhook"
    url: str = param(help="http or https; secrets as ${NAME}, an environment variable")
    content_type: str = param(
        "application/json",
        choices=("application/json", "application/x-www-form-urlencoded", "text/plain"),
        help="of the body",
    )
    body: str = param(
        '{"text": "{level}: {strategy} ({account_masked}): {message}"}',
        help="what is sent, with {level} {message} {strategy} {account_masked} {time}",
    )
    headers: tuple[str, ...] = param((), help='more headers, each "Name: value"')
    min_level: str = param("warning", choices=LEVELS, help="what is less grave is left out")

    def __attrs_post_init__(self) -> None:
        if self.content_type == "application/json" and not template.is_json(self.body):
            raise ValueError('body is not JSON once it is filled in; a text stands in quotes: {"text": "{message}"}')


Alert = Log | Webhook
"""Where alerts go."""


@attrs.frozen(kw_only=True)
class Beat:
    """A sign of life for a service that alerts when it stays away, since a dead machine cannot."""

    url: str | None = param(None, help='address to call; secrets as ${NAME}, "" for none')
    seconds: float = param(60.0, ge=1, le=3_600, help="how often it is called while all is well", unit="seconds")


@attrs.frozen(kw_only=True)
class TradePlain:
    """The settings of `trade` that are not tables."""

    mode: str = param("paper", choices=MODES, help="what may be at stake")
    account: str | None = param(None, help="the broker's account; live must name it")
    on_exit: str = param(
        "leave",
        choices=("leave", "flatten"),
        help='at Ctrl-C or SIGTERM: "leave" the position with its stop at the broker, or "flatten" it',
    )


@attrs.frozen(kw_only=True)
class Trade(TradePlain):
    """How a strategy trades; `alerts` is name -> where alerts go."""

    broker: Choice
    limits: Limits
    alerts: dict[str, Alert] = attrs.field(hash=False)
    heartbeat: Beat


def account(text: str) -> str | None:
    """Return why a text is no account, or None: it names a folder."""
    return None if _ACCOUNT.fullmatch(text) else "must be letters, digits, - and _, at most 64"


def file_name(text: str) -> str | None:
    """Return why a text is no name of a file in the session's folder, or None."""
    return None if _FILE.fullmatch(text) else f"must be the name of a file without a folder, was {text!r}"


def beat_address(text: str) -> str | None:
    """Return why a text is no address of a heartbeat, or None; "" stands for no heartbeat."""
    return template.address(text) if text else None


ALERTS: dict[str, type[Alert]] = {cls.use: cls for cls in (Log, Webhook)}
"""`use` in a table of `alerts` -> the class that reads it."""

FURTHER: dict[tuple[type, str], Callable[[Any], str | None]] = {
    (Beat, "url"): beat_address,
    (Log, "path"): file_name,
    (TradePlain, "account"): account,
    (Webhook, "body"): template.body,
    (Webhook, "headers"): template.headers,
    (Webhook, "url"): template.address,
}
"""(class, parameter) -> what is asked of it beyond type and range."""
