"""The kit in two lines of a test file, for pytest and unittest alike."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING, Any

from mnqcore.errors import UsageError
from mnqcore.testing.verdict import checks_of, result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnqcore.testing.subject import Subject
    from mnqcore.testing.verdict import Check


def contract(
    kind: str,
    piece: str | type,
    *,
    columns: Sequence[str] = (),
    feeds: Sequence[str] = (),
    plugins: Sequence[str] = (),
    make: Any = None,
    **params: Any,
) -> type[unittest.TestCase]:
    """Return a class of tests, one a check of the kind; nothing of the piece is imported before they run.

        from mnqcore.testing import contract

        TestPatience = contract("reward", "patience")

    Args:
        kind: data features reward bracket sizer extractor agent broker executor.
        piece: the name that it is registered by ("name" or "distribution:name"), or the class itself.
        columns: further columns of the bars that it reads.
        feeds: feeds that it reads beside them.
        plugins: `-p` values, for a piece in a file.
        make: makes a bench of a broker (see `BrokerContract`): its cases are run as well.
        params: parameters that are not left at their defaults.

    Raises:
        UsageError: there is no such kind.
    """
    found: list[Subject] = []

    def subject() -> Subject:
        if not found:
            found.append(_subject(kind, piece, plugins, _given(columns, feeds, make, params)))
        return found[0]

    every = [one for one in checks_of(kind) if make is None or one.name != "cases of the port"]  # each a test then
    if not every:
        raise UsageError(f"there is no kind '{kind}'")
    name = piece if isinstance(piece, str) else piece.__name__
    tests = {f"test_{number:02d}_{_word(one.name)}": _test(one, subject) for number, one in enumerate(every, 1)}
    bases: tuple[type, ...] = (unittest.TestCase,)
    if kind == "broker" and make is not None:
        from mnqcore.testing.broker import BrokerContract

        bases, tests = (BrokerContract, unittest.TestCase), {**tests, "make": staticmethod(make)}
    members = {"__doc__": f"The contract of {kind} {name}.", **tests}
    return type(f"Test_{kind}_{_word(name)}", bases, members)


def _given(columns: Sequence[str], feeds: Sequence[str], make: Any, params: dict[str, Any]) -> dict[str, Any]:
    return {"columns": tuple(columns), "feeds": tuple(feeds), "make": make, "params": params}


def _subject(kind: str, piece: str | type, plugins: Sequence[str], given: dict[str, Any]) -> Subject:
    from mnqcore.plugins import load
    from mnqcore.testing.subject import of_class, of_piece

    if isinstance(piece, type):
        return of_class(kind, piece, **given)
    found = load(plugins)
    return of_piece(found.find(kind, piece), found, **given)


def _test(one: Check, subject: Callable[[], Subject]) -> Callable[[unittest.TestCase], None]:
    def test(self: unittest.TestCase) -> None:
        result = result_of(one, subject())
        if result is None:
            raise unittest.SkipTest(f"nothing to look at: {one.rule}")
        if result.verdict == "skip":
            raise unittest.SkipTest(result.reason)
        if result.verdict == "FAIL":
            raise self.failureException("\n".join(map(str, result.faults)))
        for fault in result.faults:  # a note: pytest -rP shows it
            print(f"note: {fault}")  # noqa: T201

    test.__doc__ = one.rule
    return test


def _word(text: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in text)
