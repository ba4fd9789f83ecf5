"""The money side of the simulated broker: executions, positions, cash, all in whole numbers. No clock, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore import port, rules

if TYPE_CHECKING:
    from collections.abc import Mapping

REMEMBERED = 2_000
"""Executions, and orders that have ended, that queries tell of: the last so many."""


@attrs.frozen(kw_only=True)
class Terms:
    """What trading costs on an account; money in micro-units, `slippage` in ticks, `percent` of the notional."""

    account: str
    equity: int
    tick_micros: int
    margin: int = 0
    slippage: int = 0
    per_contract: int = 0
    percent: float = 0.0
    minimum: int = 0
    currency: str = "USD"

    def commission(self, contracts: int, price: int) -> int:
        """Return what a fill costs."""
        if not contracts:  # a fill that was taken back
            return 0
        return rules.commission(
            contracts, price, self.tick_micros, self.per_contract, self.percent, self.minimum
        )  # fmt: skip


class Account:
    """What was bought and sold, and what it came to.

    `paid` is what fills have cost or brought but for commission: with what is held worth its last price, it makes the
    equity.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._executions: dict[str, port.Execution] = {}
        """execution's id -> its last revision."""
        self._count = 0
        self._uncharged: list[str] = []
        self._held: dict[str, int] = {}
        """contract -> signed contracts."""
        self._prices: dict[str, int] = {}
        """contract -> last price."""
        self._paid = self._charged = 0
        self._day, self._day_equity = -1, terms.equity

    def book(
        self, *, ref: str, broker_id: str, contract: str, side: int, contracts: int, price: int, time: int,
        forced: bool = False,
    ) -> port.Execution:  # fmt: skip
        """Book a fill and return it; its commission comes with the next `charge`."""
        self._count += 1
        execution = port.Execution(
            id=f"{self.terms.account}-{self._count:06d}",
            ref=ref,
            broker_id=broker_id,
            contract=contract,
            side=side,
            contracts=contracts,
            price=price,
            time=time,
            forced=forced,
        )
        self._move(execution, 1)
        self._keep(execution)
        return execution

    def correct(self, *, ticks: int = 0, bust: bool = False) -> port.Execution | None:
        """Change the price of the last execution that stands, or take it back; None where there is none."""
        standing = [each for each in self._executions.values() if each.contracts]
        if not standing:
            return None
        last = standing[-1]
        self._move(last, -1)
        changed = attrs.evolve(
            last,
            revision=last.revision + 1,
            price=last.price + ticks,
            contracts=0 if bust else last.contracts,
            commission=None,
        )
        self._charged -= last.commission or 0
        self._move(changed, 1)
        self._keep(changed)
        return changed

    def charge(self, time: int) -> list[port.Charged]:
        """Charge the commission of every execution that has none yet."""
        told = []
        for key in self._uncharged:
            execution = self._executions[key]
            fee = self.terms.commission(execution.contracts, execution.price)
            self._executions[key] = attrs.evolve(execution, commission=fee)
            self._charged += fee
            told.append(port.Charged(execution=key, commission=fee, time=time))
        self._uncharged.clear()
        self._forget()
        return told

    def mark(self, prices: Mapping[str, int], day: int) -> None:
        """Mark positions at the closes of a bar; profit counts from the equity before its trading day began."""
        if day != self._day:
            self._day, self._day_equity = day, self.equity
        self._prices.update(prices)

    @property
    def equity(self) -> int:
        """Micro-units: with positions at their last prices."""
        worth = sum(held * self._prices.get(contract, 0) for contract, held in self._held.items())
        return self.terms.equity + self._paid + worth * self.terms.tick_micros - self._charged

    def held(self, contract: str) -> int:
        """Return the signed contracts held."""
        return self._held.get(contract, 0)

    def positions(self) -> list[port.Position]:
        """Return what is held."""
        return [port.Position(contract=name, contracts=held) for name, held in sorted(self._held.items()) if held]

    def executions(self) -> list[port.Execution]:
        """Return the last revisions of the executions that are remembered."""
        return list(self._executions.values())

    def state(self, time: int) -> port.AccountState:
        """Return the account as the broker's clock stands at `time`."""
        bound = self.terms.margin * sum(map(abs, self._held.values()))
        return port.AccountState(
            id=self.terms.account,
            paper=True,
            currency=self.terms.currency,
            time=time,
            equity=self.equity,
            available=self.equity - bound,
            profit=self.equity - self._day_equity,
        )

    def _move(self, execution: port.Execution, sign: int) -> None:
        signed = sign * execution.side * execution.contracts
        self._held[execution.contract] = self.held(execution.contract) + signed
        self._paid -= signed * execution.price * self.terms.tick_micros
        self._prices.setdefault(execution.contract, execution.price)

    def _keep(self, execution: port.Execution) -> None:
        self._executions[execution.id] = execution
        if execution.id not in self._uncharged:
            self._uncharged.append(execution.id)

    def _forget(self) -> None:
        for key in list(self._executions)[: max(len(self._executions) - 2 * REMEMBERED, 0)]:
            del self._executions[key]
