"""The compiled kernel against the bare loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.timing import Contestant, Times, alternate
from benchmarks.workload import COMMISSION, INITIAL_BALANCE, SLIPPAGE_TICKS, STOP_TICKS, TICK, Loop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.workload import Workload
    from mnqcore.simulator import Account

    Records = NDArray[np.void]

_REPEAT = 20


class Prepared:
    """Everything the kernel reads, laid out once, as `Account.run` would have it."""

    def __init__(self, work: Workload, *, max_position: int = 1) -> None:
        import pandas as pd

        from mnqcore.market.instruments import catalogue
        from mnqcore.simulator import rulebook
        from mnqcore.strategy.settings import Commission, Costs, Risk, Session
        from mnqcore.tape import lay

        self.actions = work.signals
        instrument = catalogue()["MNQ"]
        self.market = lay(work.frame(), instrument, Session(flat_by_close=False), pd.Timedelta(minutes=5))
        self.market.orders["stop"] = STOP_TICKS
        costs = Costs(
            initial_balance=INITIAL_BALANCE,
            commission=Commission(per_contract=COMMISSION),
            slippage_ticks=SLIPPAGE_TICKS,
        )
        self.law = rulebook(instrument, costs, Risk(max_position=max_position))
        self.sizes = np.full(len(work.close), max_position, np.int64)

    def account(self) -> Account:
        """Return an account that has not traded."""
        from mnqcore.simulator import Account

        return Account(self.market.tape, self.market.orders, self.law, initial_balance=INITIAL_BALANCE)


class Kernel:
    """The kernel over the whole tape in one call, as `Account.run` makes it, its arrays made beforehand."""

    def __init__(self, prepared: Prepared) -> None:
        from mnqcore.simulator.records import TRADE

        self.prepared = prepared
        self.equity = np.zeros(len(prepared.actions), np.int64)
        self.trades = np.zeros(len(prepared.actions), TRADE)

    def account(self) -> Account:
        """Return an account that has not traded, with room for all its trades."""
        account = self.prepared.account()
        account.trades[0] = self.trades
        return account

    def run(self, account: Account) -> Records:
        """Trade, and return the trades."""
        account._asks_for_size(0, self.prepared.actions, self.prepared.sizes, self.equity)
        return self.trades[: account.ledger["trades"][0]]


def measure(work: Workload, rounds: int) -> Times:
    """Time `kernel` and `loop`, once it is certain that they made the same trades; `account` is what is made before.

    Raises:
        RuntimeError: they did not; no ratio would mean anything.
    """
    prepared, loop = Prepared(work), Loop(work)
    kernel = Kernel(prepared)
    _same(kernel.run(kernel.account()), loop.run(), kernel.equity / 1e6, loop.equity)
    contestants = {
        "kernel": Contestant(kernel.run, kernel.account, _REPEAT),
        "loop": Contestant(loop.run, repeat=_REPEAT),
        "account": Contestant(lambda _: prepared.account(), repeat=_REPEAT),
    }
    return alternate(contestants, rounds)


def _same(trades: Records, trips: Records, equity: NDArray[Any], other: NDArray[Any]) -> None:
    """Refuse to compare two sides that did not do the same: bars, sides, prices and reasons exactly, money to 1e-6."""
    alike = len(trades) == len(trips) and np.allclose(equity[1:], other[1:], rtol=0, atol=1e-6)
    for name in ("entry_bar", "exit_bar", "side", "reason", "entry_price", "exit_price") if alike else ():
        size = TICK if name.endswith("price") else 1
        alike = alike and bool((trades[name] * size == trips[name]).all())
    if not alike:
        raise RuntimeError(f"kernel and loop differ: {len(trades)} and {len(trips)} trades")
