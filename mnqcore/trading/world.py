"""The world rules: what trading adds to the market rules, and can only deny. One function a control, one table of all.

The numbers are those of the list of controls in docs/controls.md. Market rules stand in `mnqcore.rules`: P9 and P10 are
`cooldown_bars`, `max_trades_per_day` and `max_daily_loss`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnqcore.strategy.trade import Limits

SECOND = 1_000_000_000
"""Nanoseconds."""


@attrs.frozen(kw_only=True)
class Denied:
    """A control that refused an entry. `code`: a word for people and programs; `found` and `limit`: both as text."""

    rule: str
    code: str
    found: str
    limit: str


@attrs.frozen(kw_only=True)
class Situation:
    """All that the world rules look at when an entry is about to be sent. Prices in ticks, money in micro-units.

    `state`, `mode`: of the session. `now`: its clock, UTC ns. `bar`, `closed`: start and end of the bar decided at.
    `exposed`: the largest position that what is held and at work could come to, on this side, after a closing leg.
    `sent_minute`, `sent_day`: orders sent in the last minute, and on this trading day. `repeated`: an entry was sent at
    this bar already. `skew`: seconds between the broker's clock and ours. `days_left`: trading days to the contract's
    last. `unsettled`: orders whose fate is not known. `complaint`: why account or contract are not the agreed ones.
    """

    state: str
    mode: str
    now: int
    closed: int
    in_session: bool
    side: int
    contracts: int
    close: int
    stop: int | None
    target: int | None
    exposed: int
    max_position: int
    margin: int
    available: int | None
    sent_minute: int = 0
    sent_day: int = 0
    repeated: bool = False
    skew: float = 0.0
    days_left: int | None = None
    contract_complaint: str = ""
    account_complaint: str = ""
    reconciled: bool = True
    unsettled: int = 0
    journal: bool = True


def _state(at: Situation, limits: Limits) -> str | None:
    return None if at.state == "ACTIVE" else at.state


def _watch(at: Situation, limits: Limits) -> str | None:
    return "watch" if at.mode == "watch" else None


def _order_size(at: Situation, limits: Limits) -> str | None:
    return f"{at.contracts}" if at.contracts > limits.max_order else None


def _exposure(at: Situation, limits: Limits) -> str | None:
    most = at.exposed + at.contracts
    return f"{most}" if most > at.max_position else None


def _margin(at: Situation, limits: Limits) -> str | None:
    if at.available is None:
        return None
    needed = at.contracts * at.margin * limits.margin_buffer
    return f"{needed / 1e6:,.2f} of {at.available / 1e6:,.2f}" if needed > at.available else None


def _collar(at: Situation, limits: Limits) -> str | None:
    """Return how far a price of the bracket stands from the last close, where that is too far."""
    prices = [price for price in (at.stop, at.target) if price is not None]
    farthest = max((abs(price - at.close) / abs(at.close) for price in prices), default=0.0) if at.close else 1.0
    return f"{farthest:.3f}" if farthest > limits.price_collar else None


def _sound(at: Situation, limits: Limits) -> str | None:
    """Return what of an order no market could take."""
    if at.contracts <= 0 or at.side not in (1, -1):
        return f"{at.side} x {at.contracts}"
    wrong = [price for price in (at.close, at.stop, at.target) if price is not None and price <= 0]
    if wrong:
        return f"price of {wrong[0]} ticks"
    if at.stop is not None and (at.close - at.stop) * at.side <= 0:
        return f"stop {at.stop} is not beyond {at.close}"
    if at.target is not None and (at.target - at.close) * at.side <= 0:
        return f"target {at.target} is not beyond {at.close}"
    return None


def _repeated(at: Situation, limits: Limits) -> str | None:
    return "an entry was sent at this bar" if at.repeated else None


def _per_minute(at: Situation, limits: Limits) -> str | None:
    return f"{at.sent_minute + 1}" if at.sent_minute + 1 > limits.orders_per_minute else None


def _per_day(at: Situation, limits: Limits) -> str | None:
    return f"{at.sent_day + 1}" if at.sent_day + 1 > limits.orders_per_day else None


def _fresh(at: Situation, limits: Limits) -> str | None:
    age = (at.now - at.closed) / SECOND
    return f"{age:.1f} s" if age > limits.max_bar_age else None


def _skew(at: Situation, limits: Limits) -> str | None:
    ahead = (at.closed - at.now) / SECOND  # a bar that has yet to end: our clock was set back
    if ahead > limits.max_clock_skew:
        return f"{ahead:+.1f} s"
    return f"{at.skew:+.1f} s" if abs(at.skew) > limits.max_clock_skew else None


def _open(at: Situation, limits: Limits) -> str | None:
    return None if at.in_session else "closed"


def _contract(at: Situation, limits: Limits) -> str | None:
    return at.contract_complaint or None


def _expiry(at: Situation, limits: Limits) -> str | None:
    near = at.days_left is not None and at.days_left <= limits.expiry_days
    return f"{at.days_left}" if near else None


def _account(at: Situation, limits: Limits) -> str | None:
    return at.account_complaint or None


def _protected(at: Situation, limits: Limits) -> str | None:
    return "no stop" if at.stop is None and at.mode != "replay" else None


def _stop_distance(at: Situation, limits: Limits) -> str | None:
    if at.stop is None:
        return None
    ticks = abs(at.close - at.stop)
    return None if limits.min_stop_ticks <= ticks <= limits.max_stop_ticks else f"{ticks}"


def _reconciled(at: Situation, limits: Limits) -> str | None:
    return None if at.reconciled else "broker and journal differ"


def _unsettled(at: Situation, limits: Limits) -> str | None:
    return f"{at.unsettled}" if at.unsettled else None


def _journal(at: Situation, limits: Limits) -> str | None:
    return None if at.journal else "it cannot be written"


@attrs.frozen(kw_only=True)
class Control:
    """One control. `key`: its limit in `trade.limits` or `risk`, if it has one. `latches`: it halts as well."""

    rule: str
    code: str
    key: str
    look: Callable[[Situation, Limits], str | None]
    latches: bool = False

    def limit(self, at: Situation, limits: Limits) -> str:
        """Return the limit as text."""
        if self.code == "stop-distance":
            return f"{limits.min_stop_ticks} .. {limits.max_stop_ticks}"
        if self.key == "max_position":
            return f"{at.max_position}"
        return f"{getattr(limits, self.key)}" if self.key else ""


CONTROLS = (
    Control(rule="P1", code="state", key="", look=_state),
    Control(rule="P1", code="watch", key="", look=_watch),
    Control(rule="P2", code="order-size", key="max_order", look=_order_size),
    Control(rule="P3", code="exposure", key="max_position", look=_exposure),
    Control(rule="P4", code="margin", key="margin_buffer", look=_margin),
    Control(rule="P5", code="price-collar", key="price_collar", look=_collar),
    Control(rule="P6", code="order-unsound", key="", look=_sound),
    Control(rule="P7", code="duplicate", key="", look=_repeated),
    Control(rule="P8", code="rate-minute", key="orders_per_minute", look=_per_minute, latches=True),
    Control(rule="P8", code="rate-day", key="orders_per_day", look=_per_day, latches=True),
    Control(rule="P11", code="stale-bar", key="max_bar_age", look=_fresh),
    Control(rule="P11", code="clock-skew", key="max_clock_skew", look=_skew),
    Control(rule="P11", code="market-closed", key="", look=_open),
    Control(rule="P12", code="contract", key="", look=_contract),
    Control(rule="P12", code="expiry", key="expiry_days", look=_expiry),
    Control(rule="P13", code="account", key="", look=_account),
    Control(rule="P14", code="no-stop", key="", look=_protected),
    Control(rule="P14", code="stop-distance", key="min_stop_ticks", look=_stop_distance),
    Control(rule="P15", code="not-reconciled", key="", look=_reconciled),
    Control(rule="P15", code="unsettled", key="", look=_unsettled),
    Control(rule="P16", code="journal", key="", look=_journal),
)
"""Every control before an order, in the order in which they are looked at."""


def refused(at: Situation, limits: Limits) -> list[Denied]:
    """Return every control that refuses an entry; none = it may be sent."""
    found = []
    for control in CONTROLS:
        why = control.look(at, limits)
        if why is not None:
            found.append(Denied(rule=control.rule, code=control.code, found=why, limit=control.limit(at, limits)))
    return found


def latches(denied: list[Denied]) -> Denied | None:
    """Return the first refusal that halts the session as well."""
    codes = {control.code for control in CONTROLS if control.latches}
    return next((one for one in denied if one.code in codes), None)
