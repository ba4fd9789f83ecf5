"""The compiled simulator: one kernel and one integer ledger for backtest, environments and replay.

`records` says what a ledger and a trade hold. `kernel` moves a lane along the tape: quiet bars by `passing`, the others
by `decision`, both on the `ledger`. `compiled` keeps the machine code on disk. `account` is the Python side of it,
`outcome` turns what came out into trades and equity.
"""

from mnqcore.simulator.account import Account, rulebook
from mnqcore.simulator.outcome import Outcome, outcome

__all__ = ["Account", "Outcome", "outcome", "rulebook"]
