"""Figures of a backtest: returns, risk, drawdowns, trade statistics, and the bootstrap that says how sure they are.

Conventions, the same everywhere:

- Money is dollars (the instrument's currency). Losses and drawdowns are negative dollars, costs positive dollars.
- Shares are fractions (0.05 is 5 %). A drawdown's share is in [-1, 0]. VaR and CVaR are positive where money is lost.
- Returns are simple returns of the trading days' last equity; the first day counts from the initial balance.
- A figure without a defined value (no trades, one day, no losses to divide by) is None, never NaN or infinite.
- Ruin is equity <= 0 at a bar's close: that day returns -100 %, and returns, their ratios and CAGR end there.
"""

from __future__ import annotations

from mnqcore.metrics.deflated import deflated_sharpe
from mnqcore.metrics.loss_probability import chance_of_loss
from mnqcore.metrics.returns import daily_equity
from mnqcore.metrics.risk import sharpe_interval
from mnqcore.metrics.summary import summarise

__all__ = ["chance_of_loss", "daily_equity", "deflated_sharpe", "sharpe_interval", "summarise"]
