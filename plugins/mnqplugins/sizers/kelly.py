"""Size by the strategy's own record: the Kelly share, shrunk and capped."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mnqcore import Entry, param, plugin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PRIOR_PAYOFF = 1.5
"""What a pseudo-trade wins for each dollar that one loses: an edge, or no trade would be taken that could show one."""
_ROUNDING = 1e-9
"""Contracts: no whole one is lost to a rounding error."""


@plugin
class Kelly:
    """Risk a fraction of the Kelly share of the equity, reckoned from the wins and losses so far.

    With W wins of G dollars together and L losses of D dollars together, the Kelly share p - (1 - p) / b, where
    p = W / (W + L) and b = (G / W) / (D / L), is p (1 - D / G) (Kelly 1956; Thorp 2006, section 2). To W, G, L and D
    are added `prior_trades` pseudo-trades, half of them won, as large as the real trades on average, a win being
    1.5 times a loss: so the share starts at 16.7 % and moves to the record's own as trades come in. The share
    x `fraction`, at least 0 and at most `cap`, is what the entry may lose at its stop.

    A record without edge gives size 0, from which there is no return: that is Kelly's own answer. With the defaults
    it takes ten losses more than the wins pay for.
    """

    fraction: float = param(0.25, gt=0, le=1, help="of the Kelly share; 1 = full Kelly", tune=(0.1, 0.5))
    prior_trades: int = param(40, ge=1, le=100_000, unit="trades", help="pseudo-trades that the record starts with")
    cap: float = param(0.02, gt=0, le=1, unit="of equity", help="most that an entry may lose at its stop")

    needs_stop: ClassVar[bool] = True

    def __call__(self, entry: Entry) -> NDArray[np.int64]:
        """Return shape (m,): whole contracts, 0 where the share is not above 0 or carries less than one contract."""
        import numpy as np

        # Few lanes enter on the same bar, and plain floats beat arrays up to about 15 of them.
        columns = (
            entry.wins,
            entry.losses,
            entry.average_win,
            entry.average_loss,
            entry.equity,
            entry.stop_distance,
            entry.point_value,
        )
        lanes = zip(*(column.tolist() for column in columns), strict=True)
        return np.array([self._contracts(*lane) for lane in lanes], dtype=np.int64)

    def _contracts(
        self, wins: int, losses: int, win: float, loss: float, equity: float, distance: float, point_value: float
    ) -> int:
        gained, lost, trades = wins * win, losses * loss, wins + losses
        usual = (gained + lost) / trades if gained + lost else 1.0
        pseudo = self.prior_trades / 2 * usual
        won = (wins + self.prior_trades / 2) / (trades + self.prior_trades)
        share = won * (1 - (lost + pseudo) / (gained + _PRIOR_PAYOFF * pseudo))
        risked = min(self.fraction * share, self.cap) * equity
        return max(int(risked / (distance * point_value) + _ROUNDING), 0)
