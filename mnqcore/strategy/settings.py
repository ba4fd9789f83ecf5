"""The parts of a strategy that are the core's own: money, limits, sessions, what learning needs, plain settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from mnqcore.api.parameters import param
from mnqcore.market.instruments import MICRO, Instrument
from mnqcore.strategy import trade

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 1e9
"""Dollars: far below what 64-bit micro-units hold, far above any account."""
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_BAR_SIZE = re.compile(r"([1-9][0-9]{0,3}) (sec|min|hour|day)s?")
_SECONDS = {"sec": 1, "min": 60, "hour": 3600, "day": 86_400}
_LONGEST = 23 * 3600
"""Seconds of a whole session: the day less the daily halt."""
_MONEY_HINT = "a limit is written as a positive amount in dollars"


@attrs.frozen(kw_only=True)
class Commission:
    """What a broker takes on each side: dollars a contract, or a percentage of the notional with a floor a fill."""

    per_contract: float = param(0.0, ge=0, le=_MOST, help="commission on each side", unit="dollars a contract")
    percent: float = param(0.0, ge=0, le=100, help="commission on each side", unit="% of the notional")
    minimum: float = param(0.0, ge=0, le=_MOST, help="floor under `percent`", unit="dollars a fill")

    def __attrs_post_init__(self) -> None:
        if self.per_contract and (self.percent or self.minimum):
            raise ValueError("commission is either per_contract, or percent with minimum")
        if self.minimum and not self.percent:
            raise ValueError("commission has a minimum but no percent")


_COMMISSION = Commission(per_contract=0.62)
"""All-in at Interactive Brokers for a micro future: free trading must be asked for."""


@attrs.frozen(kw_only=True)
class Costs:
    """The account at the start, and what trading costs."""

    initial_balance: float = param(10_000.0, gt=0, le=_MOST, help="equity at the start", unit="dollars")
    commission: Commission = param(  # noqa: RUF009 - frozen
        _COMMISSION, help="dollars a contract on each side, or a table: per_contract, or percent with minimum"
    )
    slippage_ticks: int = param(1, ge=0, le=10_000, help="moves every fill but a target's against us", unit="ticks")


@attrs.frozen(kw_only=True)
class Risk:
    """The market rules that cap risk; a limit that is None is off."""

    max_position: int = param(1, ge=1, le=1_000_000, help="largest position", unit="contracts")
    margin_share: float = param(1.0, gt=0, le=1, help="share of equity that may be bound as margin")
    max_daily_loss: float | None = param(
        None, gt=0, le=_MOST, help="loss on one trading day that stops it until the next", unit="dollars"
    )
    max_loss: float | None = param(None, gt=0, le=_MOST, help="loss from peak equity that ends the run", unit="dollars")
    max_trades_per_day: int | None = param(None, ge=1, le=1_000_000, help="entries on one trading day")
    cooldown_bars: int = param(0, ge=0, le=1_000_000, help="no entry for so long after a stop", unit="bars")


@attrs.frozen(kw_only=True)
class Session:
    """When it may trade."""

    rth: bool = param(False, help="only the cash session")
    flat_by_close: bool = param(True, help="be flat before the session closes")
    flat_lead: int = param(2, ge=1, le=10_000, help="how long before the close, or a roll, to be flat", unit="bars")
    no_entry_after: str | None = param(
        None, help='last time at which an entry is decided, "HH:MM" in the instrument\'s zone'
    )

    def __attrs_post_init__(self) -> None:
        if self.no_entry_after is not None and (complaint := clock(self.no_entry_after)):
            raise ValueError(f"no_entry_after {complaint}")


@attrs.frozen(kw_only=True)
class Holdout:
    """One stretch to train on, one to choose the best checkpoint by, and the rest to test on, in order of time."""

    use: ClassVar[str] = "holdout"
    train: float = param(0.7, gt=0, lt=1, help="share of the bars to train on")
    validate: float = param(0.15, gt=0, lt=1, help="share of the bars to validate on; the rest is the test")
    embargo_bars: int = param(64, ge=0, le=1_000_000, help="left out at the end of train and of validate", unit="bars")

    def __attrs_post_init__(self) -> None:
        if self.train + self.validate >= 1:
            raise ValueError(
                f"train and validate leave nothing to test on: {self.train} + {self.validate} is not below 1"
            )


@attrs.frozen(kw_only=True)
class WalkForward:
    """Windows of training that move on through time, each tested on the bars that follow it."""

    use: ClassVar[str] = "walk-forward"
    folds: int = param(4, ge=1, le=1_000, help="how many windows are trained and tested")
    train: float = param(0.5, gt=0, lt=1, help="share of the bars in the first training window, its validation too")
    validate: float = param(0.15, gt=0, lt=1, help="share of each training window that validates, at its end")
    embargo_bars: int = param(64, ge=0, le=1_000_000, help="left out at the end of train and of validate", unit="bars")
    anchored: bool = param(False, help="training windows begin with the first bar and grow, instead of moving on")


Split = Holdout | WalkForward
"""How the bars are parted."""


@attrs.frozen(kw_only=True)
class Env:
    """The episodes that a learner is trained in."""

    episode_bars: int | None = param(
        None, ge=2, le=1_000_000_000, help="longest episode; without it, to the end of train", unit="bars"
    )
    start_balance_range: tuple[float, float] = param(
        (1.0, 1.0), ge=0.01, le=100, help="an episode's first balance lies between these", unit="x initial_balance"
    )
    reward_scale: float | Literal["auto"] = param(
        "auto",
        gt=0,
        le=_MOST,
        help='rewards are divided by it; "auto" measures how far they spread under random actions',
    )

    def __attrs_post_init__(self) -> None:
        low, high = self.start_balance_range
        if low > high:
            raise ValueError(f"start_balance_range must not fall, was [{low}, {high}]")


@attrs.frozen(kw_only=True)
class Plain:
    """The settings of a strategy that are not tables."""

    summary: str = param("", help="one line for people")
    instrument: str = param("MNQ", help="name in the catalogue, or of an [instrument.NAME] table")
    bar_size: str = param("5 min", help='length of a bar: "30 sec", "5 min", "1 hour", "1 day"')
    lookback: int = param(50, ge=1, le=10_000, help="length of the window of features that a learner sees", unit="bars")
    seed: int = param(0, ge=0, le=2**32 - 1, help="of training, bootstrap and random baseline; plugins have their own")


@attrs.frozen(kw_only=True)
class FeedPlain:
    """Bars beside the strategy's own; without `data` they are made of those."""

    instrument: str | None = param(None, help="whose bars, with data of their own; the strategy's where none is named")
    bar_size: str | None = param(None, help="length of a bar; without data a multiple of the strategy's")


def clock(text: str) -> str | None:
    """Return why a text is not a time of day "HH:MM", or None."""
    return None if _CLOCK.fullmatch(text) else f'must be a time "HH:MM", was {text!r}'


def length(text: str) -> str | None:
    """Return why a text is not a bar size, or None. Read without pandas, so that checking a file stays light."""
    if _BAR_SIZE.fullmatch(text) and seconds(text) <= _SECONDS["day"]:
        return None
    return f'must be a bar size such as "5 min" or "1 hour", at most a day, was {text!r}'


def seconds(text: str) -> int:
    """Return how long a sound bar size lasts."""
    number, unit = text.removesuffix("s").split(" ")
    return int(number) * _SECONDS[unit]


def can_trade(bar_size: str, session: Session, instrument: Instrument) -> bool:
    """Return whether bars are short enough that a session has one to trade in.

    An order is decided on in the session's first bar at the earliest and fills in the second, which must begin before
    the last `flat_lead` bars: in those the position is flat.
    """
    if not session.flat_by_close:
        return True
    length = _LONGEST
    if session.rth:
        length = min(length, (_of_day(instrument.cash_close) - _of_day(instrument.cash_open)) % _SECONDS["day"])
    return (1 + session.flat_lead) * seconds(bar_size) < length


def _of_day(clock: str) -> int:
    return int(clock[:2]) * 3600 + int(clock[3:]) * 60


def zone(text: str) -> str | None:
    """Return why a text is not a time zone, or None."""
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(text)
    except (ValueError, KeyError, OSError):
        return f'must be a time zone such as "America/Chicago", was {text!r}'
    return None


def money(amount: float) -> str | None:
    """Return why an amount has no place in the ledger of whole micro-units, or None."""
    return (
        None if MICRO * amount >= 1 and amount <= _MOST else f"must be between 0.000001 and {_MOST:.0f}, was {amount}"
    )


FURTHER: dict[tuple[type, str], Callable[[Any], str | None]] = {
    (Instrument, "cash_close"): clock,
    (Instrument, "cash_open"): clock,
    (Instrument, "day_start"): clock,
    (Instrument, "margin"): money,
    (Instrument, "tick_value"): money,
    (Instrument, "timezone"): zone,
    (Plain, "bar_size"): length,
    (FeedPlain, "bar_size"): length,
    (Session, "no_entry_after"): clock,
    **trade.FURTHER,
}
"""(class, parameter) -> what is asked of it beyond type and range; returns the complaint, or None."""

HINTS: dict[tuple[type, str], str] = {
    (Risk, "max_daily_loss"): _MONEY_HINT,
    (Risk, "max_loss"): _MONEY_HINT,
    (Plain, "bar_size"): "a number and one of: sec, min, hour, day",
    (FeedPlain, "bar_size"): "a number and one of: sec, min, hour, day",
}
"""(class, parameter) -> what to do when it is out of range, where that is not plain from the message."""

TABLES: dict[str, type] = {"costs": Costs, "risk": Risk, "session": Session, "env": Env}
"""Table in a strategy -> the class that reads it."""

SPLITS: dict[str, type[Split]] = {cls.use: cls for cls in (Holdout, WalkForward)}
"""`use` in the table `split` -> the class that reads it."""

CHOICES = ("data", "agent", "extractor", "reward", "bracket", "sizer", "executor")
"""The kinds of which a strategy names one; `features` holds any number."""

USED = {
    "data": "synthetic", "extractor": "lstm", "reward": "trade-pnl", "bracket": "fixed", "sizer": "fixed",
    "executor": "serial", "broker": "simulated",
}  # fmt: skip
"""Kind -> the plugin used where a strategy names none."""

LEARNING = frozenset(("extractor", "reward", "executor"))
"""The kinds that a rule can do without: they are used only where a learner trains, or where one is named."""

IDLE = frozenset(("lookback", "split", "extractor", "env", "executor"))
"""The keys that mean nothing where the agent is a rule."""

LATER = frozenset(("gates", "sweep"))
"""Keys that are planned, so that the message can say so."""
