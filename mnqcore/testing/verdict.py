"""What a check is, what it finds, and the report that is made of it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Literal

import attrs

from mnqcore.errors import MnqError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from mnqcore.testing.subject import Subject

    Run = Callable[[Subject], Iterable["Fault"]]

Verdict = Literal["pass", "FAIL", "note", "skip"]


class NotAsked(Exception):
    """A check cannot be made; the text says why."""


class Inapplicable(NotAsked):
    """A check has nothing to look at in a piece: reports leave it out."""


@attrs.frozen
class Fault:
    """What a check found: what is wrong, where in the code or on the bars, and what the mistake most likely is."""

    text: str
    where: str = ""
    likely: str = ""

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.text, self.where, self.likely)))


@attrs.frozen(kw_only=True)
class Check:
    """A check: `name` as reports show it, the `rule` it sees to, the kinds it is for, and what it does.

    What an `advisory` one finds is a note and no failure.
    """

    name: str
    rule: str
    kinds: tuple[str, ...]
    advisory: bool
    run: Run


@attrs.frozen(kw_only=True)
class Result:
    """What came of a check: "pass", "FAIL", "note" (a fault that fails nothing) or "skip", with its reason."""

    check: str
    rule: str
    verdict: Verdict
    faults: tuple[Fault, ...] = ()
    reason: str = ""


@attrs.frozen(kw_only=True)
class Report:
    """What came of all checks of a piece."""

    subject: Subject
    results: tuple[Result, ...]

    @property
    def failed(self) -> int:
        """How many checks failed."""
        return sum(result.verdict == "FAIL" for result in self.results)

    @property
    def made(self) -> int:
        """How many checks were made."""
        return sum(result.verdict != "skip" for result in self.results)


_GATES = {
    "default construction": "it cannot be made",
    "contract": "its answers are not what the contract says",
    "deterministic": "its answers differ from time to time",
    "acts the same": "its actions differ from time to time",
}
"""check that others stand on -> why they are not made where it fails."""
_ALWAYS = ("import time", "light import", "no network on import")

CHECKS: list[Check] = []
"""All checks, in the order in which they are made."""


def check(name: str, *kinds: str, advisory: bool = False, rule: str = "") -> Callable[[Run], Run]:
    """Write a function down as a check of these kinds; without `rule` the first paragraph of its docstring is it."""

    def add(run: Run) -> Run:
        text = rule or " ".join((inspect.getdoc(run) or "").partition("\n\n")[0].split())
        CHECKS.append(Check(name=name, rule=text, kinds=kinds, advisory=advisory, run=run))
        return run

    return add


def checks_of(kind: str) -> list[Check]:
    """Return the checks of a kind, in order."""
    from mnqcore.testing import checks  # each of its modules writes its checks down

    return [one for one in checks.CHECKS if kind in one.kinds]


def report(subject: Subject, leave: Container[str] = ()) -> Report:
    """Return what came of every check of a piece, but for those called as in `leave`.

    Where one fails that the others stand on, they are not made: they would only repeat it.
    """
    return Report(subject=subject, results=tuple(_results(subject, leave)))


def result_of(one: Check, subject: Subject) -> Result | None:
    """Make one check; None where it has nothing to look at."""
    try:
        faults = tuple(one.run(subject))
    except Inapplicable:
        return None
    except NotAsked as reason:
        return Result(check=one.name, rule=one.rule, verdict="skip", reason=str(reason))
    except (Exception, SystemExit) as error:  # whatever a plugin raises is what the check finds
        faults = (raised(error, subject),)
    verdict: Verdict = "pass" if not faults else "note" if one.advisory else "FAIL"
    return Result(check=one.name, rule=one.rule, verdict=verdict, faults=faults)


def raised(error: BaseException, subject: Subject) -> Fault:
    """Return an error as what it says of the piece: a contract that was broken, or that the piece raised."""
    from mnqcore.plugins.blame import place, reason

    module = subject.cls.__module__
    told = isinstance(error, MnqError) and (error.__cause__ is None or isinstance(error.__cause__, MnqError))
    cause = error if told or not isinstance(error, MnqError) or error.__cause__ is None else error.__cause__
    where = place(cause, module) or subject.place()
    if isinstance(cause, KeyError) and cause.args and str(cause.args[0]).isidentifier():
        advice = f"do the bars have no column '{cause.args[0]}'? --column {cause.args[0]} adds it"
        return Fault(f"raised {reason(cause)}", where, advice)
    if isinstance(error, MnqError) and told:
        text = error.what.partition("' ")[2] or error.what
        facts = [error.facts[label] for label in ("found", "where") if label in error.facts]
        return Fault("; ".join([text, *facts]), where, error.facts.get("next", ""))
    return Fault(f"raised {reason(cause)}", where)


def _results(subject: Subject, leave: Container[str]) -> Iterator[Result]:
    """Yield the results; a fault that stops several checks is told once."""
    known: set[str] = set()
    closed = ""
    for one in checks_of(subject.kind):
        if one.name in leave:
            continue
        if closed and one.name not in _ALWAYS:
            yield Result(check=one.name, rule=one.rule, verdict="skip", reason=closed)
            continue
        result = result_of(one, subject)
        if result is None:
            continue
        texts = {fault.text for fault in result.faults}
        if result.verdict == "FAIL" and texts <= known:
            result = attrs.evolve(result, verdict="skip", faults=(), reason="it fails for a reason told above")
        if result.verdict == "FAIL":
            closed = closed or _GATES.get(one.name, "")
        known |= texts
        yield result
