"""Ends a session by signals: Ctrl-C, Ctrl-Break, the end of a terminal, SIGTERM; and halts it by SIGUSR1."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.trading.operator import Operator
    from mnqcore.trading.session import Session


@contextlib.contextmanager
def signals(session: Session, operator: Operator) -> Iterator[None]:
    """End the session by Ctrl-C, Ctrl-Break or SIGTERM as `trade.on_exit` says; at once by the second.

    SIGUSR1 halts it.
    """
    if threading.current_thread() is not threading.main_thread():  # only there signals can be heard
        yield
        return
    loop = asyncio.get_running_loop()
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK", "SIGUSR1") if hasattr(signal, name)]
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}

    def heard(number: int, _frame: object) -> None:
        name = signal.Signals(number).name
        call = operator.halt if name == "SIGUSR1" else functools.partial(_stop, session)
        loop.call_soon_threadsafe(call, name)

    for name in names:
        signal.signal(getattr(signal, name), heard)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _stop(session: Session, name: str) -> None:
    """Stop once; what is held is left with its stop, or closed first, as the strategy says."""
    if session.stopping:
        session.leave_now()
        return
    session.desk.memory.note(
        "operator", command="stop", args={"signal": name}, answer=session.desk.strategy.trade.on_exit
    )
    session.stop(name)
    if session.desk.strategy.trade.on_exit == "flatten":
        session.flatten(name)
