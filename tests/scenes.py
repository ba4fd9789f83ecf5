"""What the scenarios of failures have in common: sessions in a venue of their own, with what goes wrong."""

import contextlib

import pytest

from tests.mortal import STRATEGY, Maker, faults, room


@pytest.fixture(scope="module")
def maker():
    """The program that runs sessions."""
    made = Maker()
    yield made
    made.close()


@pytest.fixture(scope="module")
def play(maker):
    """Run a session in which these faults strike, with some settings; returns what became of it."""

    def played(*lines, folder=None, sets=(), **job):
        with contextlib.nullcontext(folder) if folder else room() as place:
            outcome = maker.run(place, STRATEGY, sets=[faults(*lines), *sets], **job)
            return outcome if folder else kept(outcome)

    return played


@pytest.fixture(scope="module")
def calm(play):
    """The session in which nothing goes wrong."""
    return play()


def kept(outcome):
    """Read what a test asks of the journal, before its folder goes."""
    from mnqcore.trading.journal import FILE, Journal

    if outcome.run:
        from pathlib import Path

        with Journal.read(Path(outcome.run) / FILE) as journal:
            outcome.events.extend(journal.events())
    return outcome


def positions(outcome):
    """Return what each compare with the broker found it to hold, signed contracts."""
    found = [event.data for event in outcome.events if event.kind == "reconciled"]
    return [sum(one["contracts"] for one in data["positions"]) for data in found]


def data_of(outcome, kind):
    """Return the data of a kind of event."""
    return [event.data for event in outcome.events if event.kind == kind]


def shape(outcome):
    """Return bar of entry, bar of exit, reason and contracts of each trade."""
    return [(one["entry_bar"], one["exit_bar"], one["reason"], one["contracts"]) for one in outcome.trades]
