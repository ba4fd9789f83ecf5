"""What brokers keep to: the numbered cases of the port, where a bench is given to run them on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore.testing.verdict import Fault, NotAsked, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.testing.subject import Subject


@check("cases of the port", "broker")
def cases(subject: Subject) -> Iterator[Fault]:
    """It keeps every numbered case of the port that it offers."""
    from mnqcore.testing.broker import check_broker

    if subject.make is None:
        raise NotAsked('they need a bench: contract("broker", NAME, make=...) in a test')
    outcomes = check_broker(subject.make)
    if all(outcome.verdict == "not offered" for outcome in outcomes):
        raise NotAsked(f"the bench offers no case: {outcomes[0].why}")
    for outcome in outcomes:
        if outcome.verdict == "failed":
            yield Fault(f"{outcome.number} {outcome.rule} {outcome.why}", subject.place())
