"""How a session stands, on 80 columns of plain ASCII: what a trader looks at on the worst day."""

from __future__ import annotations

import textwrap
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from mnqcore.cli.journal_text import visible
from mnqcore.cli.table import WIDTH, dollars

if TYPE_CHECKING:
    from collections.abc import Sequence

    Document = dict[str, Any]

_LABEL = 11
_GAP = "   "
_ZONES = {"America/Chicago": "CT", "America/New_York": "ET"}
_LETTERS = {"info": "", "warning": "warning ", "error": "ERROR "}


def lines(status: Document) -> list[str]:
    """Return the screen of a status document."""
    shown = [
        *_cells(" ".join((status["mode"].upper(), status["account"])), _head(status), gap=True),
        *(["SYNTHETIC bars: what follows says nothing about a real market"] if status["synthetic"] else []),
        *_cells("position", _position(status)),
        *_cells(status["protection"]["level"], [status["protection"]["text"]]),
        *_cells("day", _day(status)),
        *_cells("next", _next(status)),
        *_trouble(status),
        *_cells("stop it:", _stop_it(status)),
    ]
    return [visible(line) for line in shown]


def clock(status: Document, text: str, form: str = "%H:%M:%S") -> str:
    """Return a time of a status document in the instrument's zone."""
    return moment(text, status["instrument"]["timezone"]).strftime(form)


def moment(text: str, zone: str) -> datetime:
    """Return a time in a zone."""
    return datetime.fromisoformat(text).astimezone(ZoneInfo(zone))


def zone_name(zone: str) -> str:
    """Return how a zone is called behind a time."""
    return _ZONES.get(zone, zone.rpartition("/")[2])


def alert_line(level: str, message: str) -> str:
    """Return an alert as one line."""
    return visible(f"{_LETTERS.get(level, '')}{message}")


def _head(status: Document) -> list[str]:
    bar = status["bar"]
    found = [status["strategy"], f"{status['state']} since {clock(status, status['since'])}"]
    if bar is None:
        return [*found, "no bar yet"]
    age = (_utc(status["time"]) - _utc(bar["end"])).total_seconds()
    return [*found, f"bar {clock(status, bar['end'], '%m-%d %H:%M')} closed {_span(age)} ago"]


def _position(status: Document) -> list[str]:
    if not status["positions"]:
        return ["FLAT"]
    found = []
    for one in status["positions"]:
        found += [_held(one, status)]
        found += [] if one["now"] is None else [f"now {_price(one['now'], status)}"]
        found += [] if one["unrealised"] is None else [dollars(one["unrealised"])]
    return found


def _held(one: Document, status: Document) -> str:
    side = "LONG" if one["contracts"] > 0 else "SHORT"
    name = f" {one['contract']}" if one["contract"] else ""
    at = "" if one["average"] is None else f" @ {_price(one['average'], status)}"
    return f"{side} {abs(one['contracts'])}{name}{at}"


def _day(status: Document) -> list[str]:
    day, following = status["day"], status["next"]
    until = f"{clock(status, following['close'], '%m-%d %H:%M')} {zone_name(status['instrument']['timezone'])}"
    limit = "" if day["limit"] is None else f" of {dollars(-day['limit'])}"
    latched = "  LATCHED" if day["latched"] else ""
    most = "" if day["max_loss"] is None else f" of {dollars(-day['max_loss'])}"
    return [
        f"{dollars(day['profit'])}{limit}{latched} (to {until})",
        f"trades {day['trades']}",
        f"from peak {dollars(day['drawdown'])}{most}",
        f"in all {dollars(day['net'])}, {day['all_trades']:,} trades",
    ]


def _next(status: Document) -> list[str]:
    following, zone = status["next"], zone_name(status["instrument"]["timezone"])
    found = [f"decide {clock(status, following['decide'])}"]
    found += [f"no entry after {following['no_entry_after']}"] if following["no_entry_after"] else []
    found += [f"flat {clock(status, following['flat'], '%m-%d %H:%M')} {zone}"] if following["flat"] else []
    found += [f"roll {clock(status, following['roll'], '%m-%d')}"] if following["roll"] else []
    return found


def _trouble(status: Document) -> list[str]:
    """Return what a person must know beyond that: why nothing is opened, differences, the latest alert."""
    found = []
    if status["state"] != "ACTIVE" and status["why"]:
        found += _cells("why", [status["why"]])
    for one in status["difference"]:
        found += _cells("DIFFERS", [f"{one['contract']}: journal {one['journal']:+d}, broker {one['broker']:+d}"])
    if status["foreign"]:
        others = ", ".join(f"{number:+d} {contract}" for contract, number in status["foreign"].items())
        found += _cells("left alone", [others])
    if status["journal"] != "sound":
        found += _cells("journal", ["cannot be written: nothing new is risked"])
    if status["alerts"]["count"]:
        found += _cells("alerts", [f"{status['alerts']['count']}, the latest: {status['alerts']['newest']}"])
    return found


def _stop_it(status: Document) -> list[str]:
    held = sum(abs(one["contracts"]) for one in status["positions"])
    closes = f"closes {held}" if held else "nothing is held"
    if status["state"] == "HALTED":
        return ["it is halted", "mnq trade resume", f"mnq trade flatten ({closes})"]
    return ["mnq trade halt (keeps the stop)", f"mnq trade flatten ({closes})"]


def _cells(label: str, cells: Sequence[str], *, gap: bool = False) -> list[str]:
    """Return cells behind a label, on as many lines as they need."""
    head = f"{label}{_GAP}" if gap else f"{label:<{_LABEL - 1}} "
    found, empty = [head], True
    for cell in cells:
        for number, part in enumerate(textwrap.wrap(cell, WIDTH - _LABEL, break_long_words=True) or [""]):
            if number or (len(found[-1]) + (0 if empty else len(_GAP)) + len(part) > WIDTH and not empty):
                found.append(" " * _LABEL + part)
            else:
                found[-1] += ("" if empty else _GAP) + part
            empty = False
    return [line.rstrip() for line in found]


def _price(price: float, status: Document) -> str:
    decimals = len(f"{status['instrument']['tick_size']:.10f}".rstrip("0").partition(".")[2])
    return f"{price:,.{decimals}f}"


def _span(seconds: float) -> str:
    seconds = max(seconds, 0.0)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text)
