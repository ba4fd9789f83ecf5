"""What executors keep to: an answer to each item, in their order, and the first failure heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore.errors import DataError
from mnqcore.testing.verdict import Fault, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.testing.subject import Subject

ITEMS = ["first", "second", "", "second", "line\nbreak", "\u00e9\u4e2d", *(f"item {at}" for at in range(8))]
_FAILING = ["good", "bad 1", "bad 2"]


def shout(text: str) -> str:
    """Answer in capitals: a unit of work."""
    return text.upper()


def slow_first(text: str) -> str:
    """Take longest over the first item, so that others end before it."""
    import time

    time.sleep(0.3 if text == "first" else 0.0)
    return text.upper()


def fail(text: str) -> str:
    """Fail on all that is not good."""
    if text != "good":
        raise DataError(f"no bars for {text}")
    return text


@check("answers", "executor")
def answers(subject: Subject) -> Iterator[Fault]:
    """`map` returns the answer to each item, a text, in the order of the items, equal ones too; none of none."""
    for items in (ITEMS, [], ["alone"]):
        found, wanted = subject.build().map(slow_first, list(items)), [item.upper() for item in items]
        if not isinstance(found, list) or found != wanted:
            yield Fault(
                _unlike(found, wanted), subject.place(), "return [answer of each item], in the order of `items`"
            )
            return


def _unlike(found: object, wanted: list[str]) -> str:
    if not isinstance(found, list):
        return f"it returned {type(found).__name__}, not a list"
    if len(found) != len(wanted):
        return f"{len(wanted)} answers were wanted, and {len(found)} came"
    return "the answers are not those to the items in their order"


@check("used again", "executor")
def used_again(subject: Subject) -> Iterator[Fault]:
    """One executor may be asked more than once."""
    executor = subject.build()
    if executor.map(shout, ["a", "b"]) != executor.map(shout, ["a", "b"]):
        yield Fault("asked again, it answers otherwise", subject.place())


@check("failures", "executor")
def failures(subject: Subject) -> Iterator[Fault]:
    """The failure of the first item that fails is raised as it is, with its text."""
    try:
        found = subject.build().map(fail, list(_FAILING))
    except DataError as error:
        if "bad 1" not in str(error):
            yield Fault(f"the failure heard of is that of a later item: {error}", subject.place())
        return
    except Exception as error:
        text = f"a DataError came back as {type(error).__name__}: {error}"
        yield Fault(text, subject.place(), "let the exception of the item through")
        return
    yield Fault(f"an item failed, and it returned {found}", subject.place(), "let the exception of the item through")
