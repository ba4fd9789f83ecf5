"""The two ways that an alert can go: a line in a file, and a call to an address."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

import attrs

from mnqcore.strategy import template
from mnqcore.trading import web

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mnqcore.strategy.trade import Webhook


@attrs.frozen(kw_only=True)
class Message:
    """An alert, ready to be sent: `text` is one clean line, `account` masked, `count` how many it stands for."""

    time: str
    level: str
    text: str
    strategy: str
    account: str
    count: int = 1


class Sender(Protocol):
    """Sends one alert, or raises."""

    def __call__(self, message: Message) -> None:
        """Send it."""
        ...


class ToFile:
    """Appends a line of JSON to a file. It is opened for each line: the folder may move when the session ends."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, message: Message) -> None:
        """Append a line."""
        line = {"time": message.time, "level": message.level, "message": message.text}
        line |= {"strategy": message.strategy, "account": message.account}
        count = {"count": message.count} if message.count > 1 else {}
        with self._path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps({**line, **count}) + "\n")


class ToWebhook:
    """Posts a filled-in body to an address; UsageError at once where its environment variables are not set."""

    def __init__(self, table: str, settings: Webhook, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._known = web.secrets(table, (settings.url, settings.body, *settings.headers), environ)
        self._url = web.address(table, settings.url, self._known)

    def __call__(self, message: Message) -> None:
        """Send it; errors as `web.call` raises them."""
        values = attrs.asdict(message)
        values |= {"message": message.text, "account_masked": message.account}
        kind = self._settings.content_type
        body = template.filled(self._settings.body, values, self._known, template.ESCAPES[kind])
        headers = {"Content-Type": f"{kind}; charset=utf-8"}
        for text in self._settings.headers:
            name, value = template.header(text)
            headers[name] = template.filled(value, values, self._known, _in_header)
        web.call(self._url, body.encode(), headers)


def _in_header(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii")
