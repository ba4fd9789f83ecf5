"""All controls of a session in one table: before an order by market or world rules, after it by what is watched.

The world rules themselves stand in `world`; here is what each control is called, which key sets its limit, and where it
acts. The page docs/controls.md is made of it.
"""

from __future__ import annotations

from typing import Any

import attrs

from mnqcore.api.parameters import parameters
from mnqcore.rules import Denial
from mnqcore.strategy.settings import Risk
from mnqcore.strategy.trade import Limits
from mnqcore.trading.world import CONTROLS


@attrs.frozen(kw_only=True)
class Listed:
    """A control. `key`: the setting of its limit, empty if it has none. `code`: what a journal calls its refusal.

    `acts`: what it does. `kind`: "world" and "market" rules refuse an entry, "watch" looks at what has happened.
    """

    rule: str
    what: str
    key: str
    code: str
    acts: str
    kind: str

    @property
    def default(self) -> str:
        """The default of its key as text."""
        table, _, name = self.key.rpartition(".")
        if not name:
            return "-"
        one = _SETTINGS[table][name]
        return "off" if one.default is None else f"{one.default:,}"


_SETTINGS: dict[str, Any] = {"trade.limits": parameters(Limits), "risk": parameters(Risk)}
_WHAT = {
    "state": "only an ACTIVE session opens",
    "watch": "a session that watches sends nothing",
    "order-size": "contracts of one order; 50 at most, whatever a file says",
    "exposure": "position, orders at work and this one, at their worst, on its side",
    "margin": "margin of the order, times the buffer, against what the broker has available",
    "price-collar": "how far a stop or a target stands from the last close",
    "order-unsound": "a size or a price that no market takes, a stop or a target on the wrong side",
    "duplicate": "one entry for each bar",
    "rate-minute": "entries in any minute",
    "rate-day": "entries on a trading day",
    "stale-bar": "age of the bar that is decided at",
    "clock-skew": "our clock against the broker's, and a bar that has not ended by ours",
    "market-closed": "the bar belongs to no session",
    "contract": "tick, its value or the currency are not the agreed ones",
    "expiry": "trading days to the contract's last",
    "account": "not the kind of account of the mode; another account ends the session",
    "no-stop": "no stop goes with the entry (replays excepted)",
    "stop-distance": "nearest and farthest stop",
    "not-reconciled": "broker and journal differ, or have yet to be compared since an order ended unasked",
    "unsettled": "an order of which it is not known how it stands",
    "journal": "the journal cannot be written",
}
"""Code of a world rule -> what it looks at."""


def _world() -> list[Listed]:
    risk = set(_SETTINGS["risk"])
    return [
        Listed(
            rule=one.rule,
            what=_WHAT[one.code],
            key=f"{'risk' if one.key in risk else 'trade.limits'}.{one.key}" if one.key else "",
            code=one.code,
            acts="refuses the entry and halts" if one.latches else "refuses the entry",
            kind="world",
        )
        for one in CONTROLS
    ]


def _market(rule: str, denial: Denial, key: str, what: str, acts: str = "refuses the entry") -> Listed:
    return Listed(rule=rule, what=what, key=f"risk.{key}", code=denial.label, acts=acts, kind="market")


def _watch(rule: str, code: str, key: str, what: str, acts: str) -> Listed:
    return Listed(rule=rule, what=what, key=f"trade.limits.{key}" if key else "", code=code, acts=acts, kind="watch")


_MARKET = (
    _market("P3", Denial.SIZED_TO_0, "max_position", "the sizer's size is cut to it", "cuts the size"),
    _market("P4", Denial.MARGIN, "margin_share", "share of equity that margin may bind", "cuts the size, or refuses"),
    _market("P9", Denial.COOLDOWN, "cooldown_bars", "bars without an entry after a stop"),
    _market("P9", Denial.MAX_TRADES, "max_trades_per_day", "entries on a trading day, as in a backtest"),
    _market(
        "P10", Denial.DAILY_LOSS, "max_daily_loss", "loss of the trading day, marked at closes",
        "leaves, and refuses until the next day; in live a person acknowledges",
    ),
    _market(
        "P10", Denial.MAX_LOSS, "max_loss", "loss from the highest equity, marked at closes",
        "leaves, and reduces for good",
    ),
)  # fmt: skip
_WATCHED = (
    _watch("P10", "emergency-loss", "emergency_loss", "loss of the trading day at closes, at fills and by the broker's "
           "own profit", "flattens and halts"),
    _watch("P17", "model", "", "the model's files, hash and probe, and that it is the session's", "refuses to start"),
    _watch("P17", "decision", "decision_seconds", "how long a decision takes", "holds"),
    _watch("P17", "decisions", "bad_decisions", "decisions in a row that fail, are late or are none", "halts"),
    _watch("Q1", "difference", "reconcile_seconds", "positions and orders against the broker's: at each fill, and so "
           "often", "halts when it is there twice in a row"),
    _watch("Q2", "uncovered", "uncovered_seconds", "stops at work for less than is held", "flattens and halts"),
    _watch("Q2", "stuck", "stop_seconds", "a stop that was reached, or an exit, and does not fill",
           "leaves by market and halts; alerts"),
    _watch("Q3", "far-fill", "fill_collar", "a fill far from the last close, or of more than was ordered", "halts"),
    _watch("Q3", "commission", "", "a commission more than twice, or less than half, of what was reckoned", "alerts"),
    _watch("Q4", "drift", "pnl_drift", "the broker's profit of the day against ours", "alerts once a day"),
    _watch("Q5", "slippage", "max_slippage_ticks", "a fill against its stop, its target or its bar's open", "alerts"),
    _watch("Q5", "silence", "ack_seconds", "orders that the broker leaves unanswered", "asks, then halts"),
    _watch("Q6", "parity", "", "`mnq parity`: the session against the backtest", "names the first difference"),
    _watch("Q7", "report", "", "the report of a day", "is written and alerted"),
    _watch("Q8", "kill", "", "`mnq trade halt` and `flatten`, the file `control/HALT`, SIGUSR1",
           "halts; cancels entries, leaves, then cancels stops"),
)  # fmt: skip

LISTED = tuple(
    sorted((*_world(), *_MARKET, *_WATCHED), key=lambda one: (one.rule[0], int(one.rule[1:]), one.kind != "market"))
)
"""Every control."""
