"""Calls to addresses that a strategy file names: short, to one host, and silent about secrets when they fail."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mnqcore.errors import UsageError
from mnqcore.strategy import template

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT = 5.0
"""Seconds that a host may stay silent."""


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to where the request went anyway: another host would learn what is in it."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            raise urllib.error.HTTPError(req.full_url, code, "a redirect to another host", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SameHost)


def call(url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None) -> None:
    """Call an address, by POST if there is data; what it answers is not read.

    Raises:
        OSError: it was not reached, or its answer was no success.
        http.client.HTTPException: what answered does not speak HTTP.
        ValueError: the address or a header is none.
    """
    request = urllib.request.Request(url, data=data, headers={"User-Agent": "mnq", **(headers or {})})
    try:
        with _OPENER.open(request, timeout=TIMEOUT):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise


def reason(error: Exception) -> str:
    """Return why a call failed, without the address: that may be a secret."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the answer was {error.code}" + (f", {error.msg}" if "redirect" in str(error.msg) else "")
    if isinstance(error, urllib.error.URLError):
        error = error.reason if isinstance(error.reason, Exception) else error
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def passing(error: Exception) -> bool:
    """Return whether the same call may succeed later."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in (408, 429)
    return isinstance(error, (OSError, http.client.HTTPException))


def secrets(table: str, texts: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that texts need; `table` is where they are written.

    Raises:
        UsageError: one is not set, or could not stand in a header.
    """
    names = template.variables(*texts)
    found = {name: environ.get(name, "").strip() for name in names}
    for name, value in found.items():
        if not value:
            raise UsageError(f"{table} needs the environment variable {name}", next=f"export {name}=...")
        if not value.isprintable():
            raise UsageError(f"the environment variable {name}, of {table}, holds control characters")
    return found


def address(table: str, text: str, known: Mapping[str, str]) -> str:
    """Return an address with its variables filled in.

    Raises:
        UsageError: it is no address then; the text of it is not told.
    """
    url = template.filled(text, {}, known, str)
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not url.isascii() or " " in url or "@" in parts.netloc:
        names = ", ".join(template.variables(text))
        raise UsageError(f"{table}.url is no address once {names} is filled in", next="https://... without blanks or @")
    return url
