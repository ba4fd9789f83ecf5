"""Addresses, headers and bodies of alerts: texts with `{placeholders}`, and with `${NAME}` for what is secret.

A strategy file is shared and kept in runs, so a secret stands in the environment, and only its name in the file.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urlsplit

from mnqcore.errors import suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PLACEHOLDERS = ("level", "message", "strategy", "account_masked", "time")
"""What a body and a header may hold in braces."""
_HOLES = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\{([a-z_]+)\}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_HEADER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*): *(\S(?:.*\S)?)")
_OURS = frozenset(("connection", "content-length", "content-type", "host", "transfer-encoding"))
_SECRET_NAME = re.compile(r"auth|cookie|key|pass|secret|token", re.IGNORECASE)
_SECRET_ADDRESS = re.compile(
    r"api\.telegram\.org/bot[0-9]|/api/webhooks/[0-9]|hooks\.slack\.com/services/[A-Z0-9]|hc-ping\.com/[0-9a-f]"
    r"|[?&](?:[a-z_]*(?:auth|key|pass|secret|token)[a-z_]*)=(?!\$\{)",
    re.IGNORECASE,
)
_SECRET_BODY = re.compile(
    r"\b[a-z_]*(?:api_?key|passw|secret|token)[a-z_]*\b[\"']?\s*[:=]\s*[\"']?(?!\$\{|\{)[^\s\"'&,{}]", re.IGNORECASE
)
_KEEP_OUT = "holds a secret: put it into an environment variable and write ${NAME} in its place"

ESCAPES: dict[str, Callable[[str], str]] = {
    "application/json": lambda text: json.dumps(text)[1:-1],
    "application/x-www-form-urlencoded": quote_plus,
    "text/plain": str,
}
"""Content type -> how a value is made safe in it."""


def filled(text: str, values: Mapping[str, str], environ: Mapping[str, str], escape: Callable[[str], str]) -> str:
    """Return a text with each `{placeholder}` and each `${NAME}` replaced; nothing in a value is replaced again.

    Raises:
        KeyError: a variable that `environ` does not hold.
    """
    return _HOLES.sub(lambda hole: escape(environ[hole[1]] if hole[1] else values[hole[2]]), text)


def variables(*texts: str) -> list[str]:
    """Return the names of the environment variables that texts need, in order."""
    return list(dict.fromkeys(name for text in texts for name in _VARIABLE.findall(text)))


def address(text: str) -> str | None:
    """Return why a text is no address, or None."""
    if not text.isascii() or not text.isprintable() or " " in text:
        return "must be an address without blanks"
    if "$" in _VARIABLE.sub("", text) or {"{", "}"} & set(_VARIABLE.sub("", text)):
        return "may hold ${NAME}, an environment variable, but no other braces"
    if text.startswith("${"):
        return None
    parts = urlsplit(_VARIABLE.sub("0", text))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "must begin with https:// or http://, or be ${NAME}, an environment variable"
    return _KEEP_OUT if parts.username is not None or _SECRET_ADDRESS.search(text) else None


def headers(texts: tuple[str, ...]) -> str | None:
    """Return why texts are no headers, or None."""
    for text in texts:
        found = _HEADER.fullmatch(text) if text.isascii() and text.isprintable() else None
        if not found:
            return f'must hold texts such as "Title: mnq", was {text!r}'
        if found[1].lower() in _OURS:
            return f"may not hold {found[1]}: mnq sets it"
        if _SECRET_NAME.search(found[1]) and "${" not in found[2]:
            return _KEEP_OUT
        if wrong := _holes(text):
            return wrong
    return None


def header(text: str) -> tuple[str, str]:
    """Return name and value of a sound header."""
    name, _, value = text.partition(":")
    return name, value.strip()


def body(text: str) -> str | None:
    """Return why a text is no body, or None."""
    return _KEEP_OUT if _SECRET_BODY.search(text) else _holes(text)


def is_json(text: str) -> bool:
    """Return whether a body is JSON once it is filled in, be a hole within quotes or not."""
    try:
        json.loads(_HOLES.sub("0", text))
    except (ValueError, RecursionError):
        return False
    return True


def _holes(text: str) -> str | None:
    if "${" in _VARIABLE.sub("", text):
        return "holds ${...} that is no name of an environment variable"
    for _, name in _HOLES.findall(text):
        if name and name not in PLACEHOLDERS:
            meant = suggest(name, PLACEHOLDERS)
            known = f"did you mean {{{meant}}}?" if meant else f"known: {', '.join(PLACEHOLDERS)}"
            return f"holds the placeholder {{{name}}}, which is none ({known})"
    return None
