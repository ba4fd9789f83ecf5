"""Sends alerts to where a strategy wants them, and a sign of life, without ever holding up the trading loop.

alerts = Alerts(strategy.trade.alerts, strategy=strategy.name, account="DU1234567", folder=folder)
alerts.send("error", "halted: the broker holds 2 contracts more than the journal")
alerts.close()
"""

from __future__ import annotations

import datetime
import logging
import os
import re
import threading
import time
from typing import TYPE_CHECKING

from mnqcore.strategy.trade import LEVELS, Log
from mnqcore.trading import web
from mnqcore.trading.channel import Channel
from mnqcore.trading.senders import Message, ToFile, ToWebhook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mnqcore.strategy.trade import Alert, Beat

_LOG = logging.getLogger(__name__)
_LONGEST = 1_000
"""Characters of a message: what the strictest of chats take, with room for the text around it."""
_ACCOUNTS = re.compile(r"(?<![A-Za-z0-9])(?:D[A-Z]|[UFI])[0-9]{5,9}(?![A-Za-z0-9])")
_PREFIX = re.compile(r"[A-Za-z]{0,2}")


class Alerts:
    """The ways that a session's alerts go; `send` returns at once and never raises."""

    def __init__(
        self,
        settings: Mapping[str, Alert],
        *,
        strategy: str,
        account: str,
        folder: Path,
        environ: Mapping[str, str] = os.environ,
        window: float = 60.0,
        pauses: tuple[float, ...] = (1.0, 4.0),
    ) -> None:
        """Start a thread for each way.

        Args:
            settings: name -> where alerts go.
            strategy: the strategy's name.
            account: the account; only `masked` of it is ever sent.
            folder: the session's folder.
            environ: where secrets are.
            window: seconds within which the same alert is sent once.
            pauses: seconds before each further try.

        Raises:
            UsageError: an environment variable that an alert needs is not set.
        """
        self._strategy, self._account = strategy, account
        self._channels = []
        for name, one in settings.items():
            sender = (
                ToFile(folder / one.path) if isinstance(one, Log) else ToWebhook(f"trade.alerts.{name}", one, environ)
            )
            self._channels.append(Channel(f"trade.alerts.{name}", sender, one.min_level, window, pauses))
        for channel in self._channels:
            channel.start()

    def send(self, level: str, message: str) -> None:
        """Send an alert; `level` is "info", "warning" or "error", and anything else counts as the last."""
        try:
            known = Message(
                time=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                level=level if level in LEVELS else LEVELS[-1],
                text=cleaned(str(message), self._account),
                strategy=self._strategy,
                account=masked(self._account),
            )
            for channel in self._channels:
                channel.offer(known)
        except Exception as error:  # an alert must never end a session
            _LOG.warning("an alert was lost: %s", type(error).__name__)

    def close(self, timeout: float = 5.0) -> None:
        """Send what is queued, for at most so many seconds; nothing is taken after that."""
        for channel in self._channels:
            channel.finish()
        end = time.monotonic() + timeout
        for channel in self._channels:
            channel.join(max(0.0, end - time.monotonic()))


class Heartbeat:
    """Calls an address again and again while all is well, from a thread of its own."""

    def __init__(self, settings: Beat, *, environ: Mapping[str, str] = os.environ) -> None:
        """Read the address; UsageError where an environment variable that it needs is not set."""
        self._seconds = settings.seconds
        self._url = ""
        if settings.url:
            known = web.secrets("trade.heartbeat", (settings.url,), environ)
            self._url = web.address("trade.heartbeat", settings.url, known)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, healthy: Callable[[], bool]) -> None:
        """Begin; `healthy` is asked before each call, from another thread than the caller's."""
        if self._url and self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(healthy,), name="mnq-heartbeat", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End; a call that is under way is not waited for longer than a second."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def _run(self, healthy: Callable[[], bool]) -> None:
        failing = False
        while not self._stopped.is_set():
            try:
                if healthy():
                    web.call(self._url)
                    failing = False
            except Exception as error:  # whatever it is, the next call may succeed
                if not failing:
                    _LOG.warning("trade.heartbeat is not heard: %s", web.reason(error))
                failing = True
            self._stopped.wait(self._seconds)


def masked(account: str) -> str:
    """Return an account so that its owner knows it and nobody else: DU1234567 as DU***67."""
    if len(account) < 7:
        return f"{account[:1]}***" if account else ""
    prefix = _PREFIX.match(account)
    return f"{prefix[0] if prefix else ''}***{account[-2:]}"


def cleaned(message: str, account: str) -> str:
    """Return a message of one line, without control characters, with every account masked, cut to a sane length."""
    if account:
        message = re.sub(rf"(?<!\w){re.escape(account)}(?!\w)", masked(account), message)
    message = _ACCOUNTS.sub(lambda found: masked(found[0]), message)
    text = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in message[: 2 * _LONGEST]
    )
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
