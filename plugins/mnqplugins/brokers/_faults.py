"""The fault script of the simulated broker: what goes wrong, and from which bar on.

A line is "bar N: FAULT"; bars are counted from 1, the first that is streamed, slots without a bar too. A fault waits
from its bar on for the first occasion and strikes once. `GRAMMAR` lists them.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

import attrs

from mnqcore import port
from mnqplugins.brokers import _wire

if TYPE_CHECKING:
    from collections.abc import Callable

GRAMMAR = {
    "drop KIND": "the next event of a kind is never told",
    "delay KIND BARS": "it is told so many bars later",
    "duplicate KIND": "it is told twice",
    "reorder": "the next events that come together come in reverse",
    "reject ROLE": "the next order of a role is rejected, code 201, when it would get to work",
    "reject ROLE CODE": "the same with another code",
    "swallow ROLE": "the next order of a role, and what was sent with it, is lost without a word",
    "partial CONTRACTS": "the next entry fills so many contracts now and the rest with the next bar",
    "partial CONTRACTS cancel": "the rest is cancelled",
    "cancel ROLE": "an order at work is cancelled, and nobody of ours asked for it",
    "park ROLE": "an order at work is no longer, but lives",
    "trade SIGNED": "a person trades by hand: +1 buys a contract, -1 sells one",
    "order SIGNED TICKS": "a person sends a limit order, so many ticks from the last close",
    "liquidate": "the broker closes the position and cancels the orders in it",
    "correct TICKS": "the price of the last execution is corrected",
    "bust": "the last execution is taken back",
    "disconnect BARS": "the connection is cut before this bar is told; so many bars pass, then it can be had again",
    "silent BARS": "so many bars are not delivered, though the market trades",
    "late BARS": "this bar is delivered so many bars late",
    "revise PRICE TICKS": "this bar is delivered again with another open, high, low or close",
    "duplicate bar": "this bar is delivered twice",
    "forming": "this bar is delivered before it has closed, and then as it closes",
    "skew SECONDS": "the broker's clock is wrong by so much from now on",
}
"""How a fault is written -> what it does."""

_LINE = re.compile(r"bar ([1-9][0-9]{0,8}): (\S.*)")
_COUNT, _SIGNED = re.compile(r"[1-9][0-9]{0,5}"), re.compile(r"[+-][1-9][0-9]{0,5}")
_KINDS = tuple(name.lower() for name in _wire.EVENTS)
_ROLES = tuple(role.value for role in port.Role)
_WORDS: dict[str, tuple[str, Callable[[str], object]]] = {
    "KIND": (f"one of {', '.join(_KINDS)}", lambda word: word if word in _KINDS else None),
    "ROLE": (f"one of {', '.join(_ROLES)}", lambda word: port.Role(word) if word in _ROLES else None),
    "PRICE": ("open, high, low or close", lambda word: word if word in ("open", "high", "low", "close") else None),
    "CODE": ("a code", lambda word: word),
    "BARS": ("a number of bars", lambda word: int(word) if _COUNT.fullmatch(word) else None),
    "CONTRACTS": ("a number of contracts", lambda word: int(word) if _COUNT.fullmatch(word) else None),
    "SIGNED": ("contracts with their sign, such as -1", lambda word: int(word) if _SIGNED.fullmatch(word) else None),
    "TICKS": ("ticks with their sign, such as +1", lambda word: int(word) if _SIGNED.fullmatch(word) else None),
    "SECONDS": ("a number of seconds", lambda word: int(word) if re.fullmatch(r"[+-]?\d{1,6}", word) else None),
}
"""placeholder -> what it stands for, and how it is read: None where it is not."""


@attrs.frozen
class Fault:
    """A line of the script: from which bar, how it is written in GRAMMAR, and its words, read."""

    bar: int
    form: str
    words: tuple[object, ...]

    @property
    def number(self) -> int:
        """The last of its words, where that is a number."""
        last = self.words[-1]
        return last if isinstance(last, int) else 0


def parse(text: str) -> Fault:
    """Read a line; ValueError names what is wrong and what is known."""
    found = _LINE.fullmatch(text)
    if found is None:
        raise ValueError(f'faults: {text!r} is not of the form "bar N: FAULT", such as "bar 12: drop filled"')
    bar, words = int(found[1]), found[2].split()
    forms = [form for form in GRAMMAR if form.split()[0] == words[0]]
    if not forms:
        raise ValueError(f"faults: {text!r}: {_unknown(words[0])}")
    complaints = []
    for form in sorted(forms, key=lambda each: len(each.split()) != len(words)):
        read = _read(form.split()[1:], words[1:])
        if isinstance(read, tuple):
            return Fault(bar, form, read)
        complaints.append(read)
    raise ValueError(f"faults: {text!r}: {complaints[0]}; known: {', '.join(map(repr, forms))}")


def _unknown(word: str) -> str:
    verbs = sorted({form.split()[0] for form in GRAMMAR})
    near = difflib.get_close_matches(word, verbs, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"no fault {word!r}; {hint}known: {', '.join(verbs)}"


def _read(places: list[str], words: list[str]) -> tuple[object, ...] | str:
    """Return what the words of a fault mean, or the complaint."""
    if len(places) != len(words):
        return f"{len(words) or 'no'} words follow, not {len(places)}"
    meant: list[object] = []
    for place, word in zip(places, words, strict=True):
        if place not in _WORDS:
            if place != word:
                return f"{word!r} is not {place!r}"
            continue
        what, read = _WORDS[place]
        value = read(word)
        if value is None:
            return f"{word!r} is not {what}"
        meant.append(value)
    return tuple(meant)
