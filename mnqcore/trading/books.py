"""The strategy's own books: the simulator's ledger, decided at a close and booked from the broker's fills.

What was filled is known at once (`orders`), but booked when its bar closes: only then are the bar's extremes known,
and nothing is decided in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.values import ExitReason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from mnqcore.api.port import Role
    from mnqcore.api.values import Entry

    Records = NDArray[np.void]
    SizeOf = Callable[[Entry], NDArray[np.int64]]

_NOT_KEPT = ("answer", "last", "breaks", "trades")
"""Fields of a ledger that mean nothing beside a market."""


@attrs.frozen(kw_only=True)
class Decision:
    """What the market rules and the sizer make of an action at a close.

    `exit`: ExitReason of what is held, 0 = it stays. `side`, `contracts`: of an entry, 0 contracts = none. `denied`:
    Denial of an entry. `stop`, `target`: prices in ticks, None where the bracket sets none; `risk`: ticks to the stop.
    """

    exit: int = 0
    side: int = 0
    contracts: int = 0
    denied: int = 0
    stop: int | None = None
    target: int | None = None
    risk: int = 0


@attrs.frozen(kw_only=True)
class Fill:
    """Contracts that were bought (`side` +1) or sold, at one price in ticks, to be booked at the close of their bar.

    `reason`: why what is held was left, where this leaves it. `stop`, `target`, `risk`: of the entry that it belongs
    to.
    """

    ref: str
    role: Role
    side: int
    contracts: int
    price: int
    time: int
    reason: int = 0
    stop: int | None = None
    target: int | None = None
    risk: int = 0


class Books:
    """One ledger, kept beside a market.

    Args:
        law: the RULES record of `simulator.rulebook`.
        initial_balance: dollars.
        size_of: asks its sizer.
        lookback: bars of a window, which scales what an agent sees of its position.
        day: trading day of the first bar.
    """

    def __init__(self, law: Records, initial_balance: float, *, size_of: SizeOf, lookback: int, day: int) -> None:
        import numpy as np

        from mnqcore.rules import Denial
        from mnqcore.simulator.account import Account
        from mnqcore.simulator.records import ASK, TRADE
        from mnqcore.tape.records import BAR, ORDER

        self.law = law
        blank = np.zeros(1, BAR)
        blank["day"] = day
        account = Account(blank, np.zeros(1, ORDER), self.law, initial_balance=initial_balance)
        self.ledger = account.ledger
        self.lookback = lookback
        self.denied = np.zeros((1, len(Denial)), np.int64)
        self.rows: list[dict[str, int]] = []
        """Round trips: fields of the simulator's TRADE."""
        self.pending: list[Fill] = []
        """Fills that wait for the close of their bar."""
        self._size_of = size_of
        self._trades = np.zeros(64, TRADE)
        self._asks = np.zeros(1, ASK)
        self._found = np.zeros(3, np.int64)

    def state(self) -> dict[str, int]:
        """Return the ledger as plain numbers; `restore` takes them."""
        row = self.ledger[0]
        return {name: int(row[name]) for name in row.dtype.names if name not in _NOT_KEPT}

    def restore(self, state: Mapping[str, int], rows: list[dict[str, int]]) -> None:
        """Go on where `state` was taken; `rows`: the round trips until then."""
        for name, value in state.items():
            self.ledger[name] = value
        self.rows = rows

    @property
    def position(self) -> int:
        """Signed contracts, as booked."""
        return int(self.ledger["position"][0])

    @property
    def over(self) -> bool:
        """Whether the loss limit of the run is breached and nothing is held."""
        return bool(self.ledger["ended"][0]) and self.position == 0

    def seen(self) -> NDArray[np.float32]:
        """Return the position as an agent sees it, float32 (4,)."""
        import numpy as np

        from mnqcore.simulator.booking import see_position

        found = np.zeros(4, np.float32)
        see_position(self.ledger, self.lookback, found)
        return found

    def decide(self, now: Records, order: Records, following: Records, action: int) -> Decision:
        """Take an action through market rules and sizer; nothing but what is counted changes.

        `now`, `order`: BAR and ORDER (1,) of the bar that closed last. `following`: BAR (1,), what the clock says of
        the next. `action`: the agent's.
        """
        from mnqcore.simulator.booking import decide_at_close
        from mnqcore.simulator.decision import ASKS

        arguments = (now, order, following, self.law, self.ledger, int(action))
        if decide_at_close(*arguments, -1, self.denied, self._asks, self._found) == ASKS:
            decide_at_close(*arguments, self._size(), self.denied, self._asks, self._found)
        reason, side, contracts = (int(value) for value in self._found)
        close, stop, target = int(now["close"][0]), int(order["stop"][0]), int(order["target"][0])
        return Decision(
            exit=reason,
            side=side,
            contracts=contracts,
            denied=int(self.ledger["step_denied"][0]),
            stop=close - side * stop if contracts and stop > 0 else None,
            target=close + side * target if contracts and target > 0 else None,
            risk=max(stop, 0) if contracts else 0,
        )

    def _size(self) -> int:
        from mnqcore.simulator.account import entry_of

        size = int(self._size_of(entry_of(self._asks))[0])
        if size < 0:  # it would be asked again, for ever
            raise ValueError(f"a size is below 0: {size}")
        return size

    def close(self, now: Records, until: int) -> list[dict[str, int]]:
        """Let a bar close: book the fills before `until` (UTC ns), mark, and return the round trips that ended."""
        from mnqcore.simulator.booking import book_close

        due = sorted((fill for fill in self.pending if fill.time < until), key=lambda fill: fill.time)
        self.pending = [fill for fill in self.pending if fill.time >= until]
        self.ledger["trades"] = 0
        for fill in _merged(due):
            self._book(fill, now)
        book_close(self.ledger, self.law, now)
        return self._ended()

    def finish(self, now: Records) -> list[dict[str, int]]:
        """Book what filled after the last bar in it, and what is still held at its close, as a backtest does."""
        from mnqcore.simulator.booking import mark_again
        from mnqcore.simulator.ledger import finish

        self.ledger["trades"] = 0
        late, self.pending = sorted(self.pending, key=lambda fill: fill.time), []
        if late:
            self.ledger["bar"] -= 1  # no bar follows to which they could belong
            for fill in _merged(late):
                self._book(fill, now)
            self.ledger["bar"] += 1
            mark_again(self.ledger, self.law, now)
        tape = _on_bar(now, int(self.ledger["bar"][0]))
        finish(self.ledger[0], self.law[0], tape, 0, self._trades)
        return self._ended()

    def correct(self, amount: int, *, opening: bool) -> None:
        """Book that a fill cost `amount` micro-units more than was reckoned; `opening`: of what is still held."""
        from mnqcore.simulator.booking import correct

        correct(self.ledger, self.law, self.ledger, amount, opening)

    def fee(self, contracts: int, price: int) -> int:
        """Return what a fill is reckoned to cost, micro-units."""
        from mnqcore import rules

        law = self.law[0]
        return rules.commission(
            contracts, price, int(law["tick_micros"]), int(law["per_contract"]), float(law["percent"]),
            int(law["minimum"]),
        )  # fmt: skip

    def _book(self, fill: Fill, now: Records) -> None:
        """Book a fill: what is against the position leaves it, and what is beyond that opens another."""
        from mnqcore.simulator.booking import book_exit

        held = self.position
        leaving = min(abs(held), fill.contracts) if held * fill.side < 0 else 0
        if leaving:
            reason = self._reason(fill, now)
            book_exit(self.ledger, self.law, self._trades, now, leaving, fill.price, reason)
        if fill.contracts > leaving:
            self._open(fill, fill.contracts - leaving)

    def _open(self, fill: Fill, contracts: int) -> None:
        from mnqcore.simulator.booking import book_entry
        from mnqcore.tape.records import NO_PRICE

        stop, target = (int(NO_PRICE) if price is None else price for price in (fill.stop, fill.target))
        book_entry(self.ledger, self.law, contracts, fill.price, fill.side, stop, target, fill.risk)

    def _reason(self, fill: Fill, now: Records) -> int:
        """Return why an exit left: what the rules force comes before the reason for which it was sent."""
        from mnqcore import rules

        led, bar = self.ledger[0], now[0]
        if fill.reason in (ExitReason.STOP, ExitReason.TARGET):
            return fill.reason
        latched = led["latched_day"] == led["day"]
        forced = rules.forced_exit(bool(led["ended"]), bool(latched), bool(bar["missed"]), int(bar["flat"]))
        return int(forced) or fill.reason

    def _ended(self) -> list[dict[str, int]]:
        count = int(self.ledger["trades"][0])
        found = [{name: int(row[name]) for name in row.dtype.names} for row in self._trades[:count]]
        self.rows += found
        return found


def _merged(fills: list[Fill]) -> list[Fill]:
    """Return fills of one order at one price, one after the other, as one: a commission is rounded once a fill."""
    found: list[Fill] = []
    for fill in fills:
        last = found[-1] if found else None
        if last and (last.ref, last.price, last.side) == (fill.ref, fill.price, fill.side):
            found[-1] = attrs.evolve(last, contracts=last.contracts + fill.contracts)
        else:
            found.append(fill)
    return found


def _on_bar(now: Records, bar: int) -> Any:
    """Return an array that has a record at index `bar`: what the kernel's own end of a lane reads."""
    import numpy as np

    tape = np.zeros(bar + 1, now.dtype)
    tape[bar] = now[0]
    return tape
