"""How a session stands, as a document: for the screen, for other programs, and for `mnq trade status`.

It is kept in the session's folder as `status.json`, replaced in one stroke, once a second and at every change of state
or position. Times are ISO 8601 in UTC, prices and money as people write them.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.port import Role
from mnqcore.trading.cover import Costs, Cover, Stop, average_prices, cover
from mnqcore.trading.memory import State
from mnqcore.trading.reconcile import compare
from mnqcore.trading.session import Watcher

if TYPE_CHECKING:
    from pathlib import Path

    from mnqcore.trading.orders import Tracked
    from mnqcore.trading.session import Session

SCHEMA = "mnq.status/1"
FILE = "status.json"
_EVERY = 1.0
"""Seconds between two files."""
_MICRO = 1_000_000


@attrs.define(kw_only=True)
class Board(Watcher):
    """Knows how a session stands, and keeps it in a folder, if it is given one.

    `since`: when the state began, by the session's clock, UTC ns. `newest`: the latest alert.
    """

    folder: Path | None = None
    alerts: int = 0
    since: int = 0
    newest: str = ""
    _state: State | None = attrs.field(default=None, init=False)
    _held: dict[str, int] = attrs.field(factory=dict, init=False)
    _written: float = attrs.field(default=0.0, init=False)

    def alert(self, level: str, message: str) -> None:
        """Count an alert."""
        self.alerts += 1
        self.newest = f"{level}: {message}"

    def looked(self, session: Session) -> None:
        """Write the file, if it is time."""
        if not self.changed(session) and time.monotonic() - self._written < _EVERY:
            return
        self.write(session)

    def changed(self, session: Session) -> bool:
        """Whether state or position is another one than before."""
        memory = session.desk.memory
        held = memory.orders.position()
        if memory.state is self._state and held == self._held:
            return False
        if memory.state is not self._state:
            self._state, self.since = memory.state, session.now()
        self._held = held
        return True

    def write(self, session: Session) -> None:
        """Write the file now; that it cannot be written ends no session."""
        self._written = time.monotonic()
        if self.folder is not None:
            put(self.folder / FILE, self.document(session))

    def document(self, session: Session) -> dict[str, Any]:
        """Return how the session stands."""
        desk, now = session.desk, session.now()
        header = desk.memory.journal.header
        return {
            "schema": SCHEMA,
            "time": iso(now),
            "written": iso(time.time_ns()),
            "pid": os.getpid(),
            "mode": desk.mode,
            "account": header.account,
            "strategy": header.strategy,
            "session": header.session,
            "broker": desk.strategy.trade.broker.use,
            "synthetic": bool(getattr(desk.strategy.data.cls, "synthetic", False)),
            "instrument": attrs.asdict(desk.strategy.instrument),
            "bar_size": desk.strategy.bar_size,
            "state": desk.memory.state.value,
            "why": desk.memory.why,
            "since": iso(self.since or now),
            "bar": _bar(session),
            "positions": _positions(session),
            "protection": attrs.asdict(protection(session)),
            "orders": [_order(session, one) for one in desk.memory.orders.alive()],
            "difference": differences(session),
            "foreign": dict(session.foreign),
            "day": _day(session),
            "next": _next(session, now),
            "journal": "broken" if desk.memory.journal.broken else "sound",
            "alerts": {"count": self.alerts, "newest": self.newest},
            "stopping": session.stopping,
            "ended": session.ended,
        }


def iso(nanoseconds: int) -> str:
    """Return a time in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(nanoseconds // 1_000_000 / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def put(path: Path, document: dict[str, Any]) -> bool:
    """Write a document in one stroke; returns whether it could be."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
        fresh.replace(path)
    except OSError:
        return False
    return True


def read(folder: Path) -> dict[str, Any] | None:
    """Return what the status file of a folder says, None where there is none that can be read."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("schema") == SCHEMA else None


def protection(session: Session) -> Cover:
    """Return the Cover of what our own orders hold."""
    desk, orders = session.desk, session.desk.memory.orders
    costs = Costs(instrument=desk.strategy.instrument, fee=2 * desk.memory.books.fee(1, _price_now(session)) / _MICRO)
    stops = [_stop(session, one) for one in orders.alive(Role.STOP)]
    broker = desk.strategy.trade.broker.use
    held = {contract: desk.memory.closable(contract) for contract in orders.position()}
    return cover(held, averages(session), stops, costs, broker, doubt=_doubt(session))


def averages(session: Session) -> dict[str, float]:
    """Return contract -> average price in ticks of what our own orders hold."""
    orders = session.desk.memory.orders
    if not orders.position():
        return {}
    fills = [one for tracked in orders.by_ref.values() for one in tracked.executions.values()]
    fills.sort(key=lambda one: one.time)
    return average_prices([(one.contract, one.side * one.contracts, one.price) for one in fills])


def differences(session: Session) -> list[dict[str, Any]]:
    """Return where the broker's last answers differ from the journal, if they did when they were compared last."""
    if session.truth is None or not session.desk.doubted:
        return []
    return [attrs.asdict(one) for one in compare(session.desk, session.truth.positions, session.foreign)]


def _doubt(session: Session) -> str:
    """Return why what we remember may not be so."""
    state = session.desk.memory.state
    if session.desk.doubted:
        return "broker and journal differ"
    if state in (State.DISCONNECTED, State.CONNECTING):
        return "as last known: the broker cannot be reached"
    return ""


def _stop(session: Session, tracked: Tracked) -> Stop:
    return Stop(
        contract=tracked.order.contract,
        side=tracked.order.side,
        contracts=tracked.remaining,
        price=tracked.order.price,
        working=tracked.at_work,
        broker_id=tracked.broker_id,
        why="parked" if tracked.parked else tracked.status.value,
    )


def _bar(session: Session) -> dict[str, Any] | None:
    last = session.desk.last
    if last is None:
        return None
    tick = session.desk.strategy.instrument.tick_size
    return {
        "start": iso(last.start),
        "end": iso(last.end),
        "number": last.number,
        "contract": last.contract,
        "close": last.close * tick,
    }


def _positions(session: Session) -> list[dict[str, Any]]:
    instrument, known = session.desk.strategy.instrument, averages(session)
    last = session.desk.last
    found = []
    for contract, contracts in session.desk.memory.orders.position().items():
        average = known.get(contract)
        close = last.close if last is not None and last.contract == contract else None
        gain = None if close is None or average is None else contracts * (close - average) * instrument.tick_value
        found.append(
            {
                "contract": contract,
                "contracts": contracts,
                "average": None if average is None else average * instrument.tick_size,
                "now": None if close is None else close * instrument.tick_size,
                "unrealised": None if gain is None else round(gain, 2),
            }
        )
    return found


def _order(session: Session, tracked: Tracked) -> dict[str, Any]:
    order, tick = tracked.order, session.desk.strategy.instrument.tick_size
    return {
        "ref": order.ref,
        "broker_id": tracked.broker_id,
        "role": order.role.value,
        "contract": order.contract,
        "side": order.side,
        "contracts": tracked.contracts,
        "filled": tracked.filled,
        "price": None if order.price is None else order.price * tick,
        "status": "parked" if tracked.parked else tracked.status.value,
    }


def _day(session: Session) -> dict[str, Any]:
    """Return the trading day's account, as booked at the last close."""
    books, risk = session.desk.memory.books, session.desk.strategy.risk
    led = books.ledger[0]
    return {
        "profit": int(led["equity"] - led["day_equity"]) / _MICRO,
        "limit": risk.max_daily_loss,
        "latched": bool(led["latched_day"] == led["day"]),
        "trades": int(led["day_trades"]),
        "equity": int(led["equity"]) / _MICRO,
        "drawdown": int(led["equity"] - led["peak"]) / _MICRO,
        "max_loss": risk.max_loss,
        "all_trades": len(books.rows),
        "net": sum(row["gross"] - row["commission"] for row in books.rows) / _MICRO,
    }


def _next(session: Session, now: int) -> dict[str, Any]:
    """Return what the clock will ask for."""
    clock, last = session.desk.clock, session.desk.last
    after = now if last is None else last.start
    flat = clock.flat_from(now)
    roll = next((roll for roll in clock.rolls if roll > now), None)
    return {
        "decide": iso(clock.slot_end(clock.next_slot(after))),
        "no_entry_after": session.desk.strategy.session.no_entry_after,
        "flat": None if flat is None else iso(flat),
        "close": iso(clock.session_close(now)),
        "roll": None if roll is None else iso(roll),
    }


def _price_now(session: Session) -> int:
    last = session.desk.last
    return 0 if last is None else last.close
