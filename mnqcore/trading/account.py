"""Whose account a broker answers for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore.errors import BrokerError

if TYPE_CHECKING:
    from mnqcore.api.port import AccountState


def refuse_other_account(wanted: str, account: AccountState) -> None:
    """Raise where a broker answers for another account than was logged in to.

    What that account holds and traded is none of ours: it may be neither booked nor closed.

    Raises:
        BrokerError: `wanted` is not the account's id.
    """
    if account.id != wanted:
        raise BrokerError(
            "the broker answers for another account",
            found=f"{account.id}, where {wanted} was asked for",
            next="nothing was sent; log the broker in to that account, or set trade.account",
        )
