"""`mnq trade`: look after a running session from another terminal, or after its position when it does not run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mnqcore.cli.asking import asked, beyond_too, question_of
from mnqcore.cli.trade_text import comparison, printed, shown
from mnqcore.errors import BrokerError, MnqError, UsageError

if TYPE_CHECKING:
    from mnqcore.cli.context import Context
    from mnqcore.trading.control import Answer
    from mnqcore.trading.places import Place

_TAKEN, _ANSWERED = 5.0, 60.0
"""Seconds within which a session must take a command, and then answer it."""
_NAME = click.argument("name", required=False, metavar="[SESSION]")
_CONTRACT = click.option("--contract", metavar="NAME", help="Only this contract.")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_TAKE_OVER = click.option("--take-over", is_flag=True, help="End the session's process first if it does not answer.")


@click.group()
def trade() -> None:
    """Look after a running session: status, halt, resume, flatten, adopt, disown.

    SESSION is a strategy, a strategy with mode and account, or the folder of a session; with one session under way none
    is needed. A session is started with `mnq run FILE --stage trade`.
    """


@trade.command("status")
@_NAME
@_TAKE_OVER
@click.pass_obj
def status(context: Context, name: str | None, take_over: bool) -> int:
    """Show how a session stands; by the broker's own word where its process has ended."""
    from mnqcore.cli import trade_direct

    place = _place(context, name)
    holder = place.holder()
    if holder is None:
        return trade_direct.status(context, place)
    if take_over and not _alive(place):
        place.take_over(holder)
        return trade_direct.status(context, place)
    return shown(context, place, holder)


@trade.command()
@_NAME
@click.option("--why", metavar="TEXT", help="Kept in the journal.")
@click.pass_obj
def halt(context: Context, name: str | None, why: str | None) -> int:
    """Open nothing more until `resume`; a position keeps its stop."""
    from mnqcore.trading import control

    place = _place(context, name)
    if place.holder() is None:
        control.ask_halt(place.folder)
        return printed(context, True, "its process has ended: when it is started again it opens nothing")
    answer = _said(place, "halt", {"why": why} if why else {})
    if answer is None:
        control.ask_halt(place.folder)
        return printed(context, False, "the session does not answer; control/HALT halts it when it does")
    return printed(context, answer.ok, answer.text)


@trade.command()
@_NAME
@click.option("--why", metavar="TEXT", help="Kept in the journal.")
@click.pass_obj
def resume(context: Context, name: str | None, why: str | None) -> int:
    """Go on after a halt; only where broker and journal agree."""
    place = _place(context, name)
    if place.holder() is None:
        raise UsageError(
            "the process of this session has ended: there is nothing to resume",
            where=str(place.folder),
            next="start it again; if it is halted then, mnq trade resume",
        )
    answer = _said(place, "resume", {"why": why} if why else {})
    if answer is None:
        raise _silent(place)
    return printed(context, answer.ok, answer.text, answer.found)


@trade.command()
@_NAME
@click.option("--all", "everything", is_flag=True, help="Also close what is not the session's, whoever opened it.")
@_TAKE_OVER
@click.pass_obj
def flatten(context: Context, name: str | None, everything: bool, take_over: bool) -> int:
    """Halt, cancel entries, close what the session opened, then cancel its stops.

    Whatever else the account holds is closed as well with --all, or when a person says so.
    """
    from mnqcore.cli import trade_direct

    place = _place(context, name)
    holder = place.holder()
    if holder is None:
        return trade_direct.flatten(context, place, everything)
    found = _said(place, "look", {})
    if found is None:
        if not take_over:
            raise _silent(place)
        place.take_over(holder)
        return trade_direct.flatten(context, place, everything)
    if not found.ok:
        raise BrokerError(found.text, next="close it at the broker itself; docs/trading.md says how")
    click.echo("\n".join(comparison(found.found)), err=context.format == "json")
    everything, refused = beyond_too(found.found, everything)
    answer = _said(place, "flatten", {"all": everything})
    if answer is None:
        raise _silent(place)
    code = printed(context, answer.ok, answer.text, answer.found)
    return 2 if refused and code == 0 else code


@trade.command()
@_NAME
@_CONTRACT
@_YES
@click.pass_obj
def adopt(context: Context, name: str | None, contract: str | None, yes: bool) -> int:
    """Leave alone what the broker holds beyond the session's orders: it is a person's own."""
    return _settle(context, name, "adopt", contract, yes)


@trade.command()
@_NAME
@_CONTRACT
@_YES
@click.pass_obj
def disown(context: Context, name: str | None, contract: str | None, yes: bool) -> int:
    """Give up what the session holds by its journal, but the broker does not."""
    return _settle(context, name, "disown", contract, yes)


def _settle(context: Context, name: str | None, command: str, contract: str | None, yes: bool) -> int:
    from mnqcore.cli import trade_direct

    place = _place(context, name)
    if place.holder() is None:
        return trade_direct.settle(context, place, command, contract, yes)
    found = _said(place, "look", {})
    if found is None:
        raise _silent(place)
    if not found.ok:
        raise BrokerError(found.text)
    click.echo("\n".join(comparison(found.found)), err=context.format == "json")
    if any(row["beyond"] for row in found.found["positions"]) and not asked(question_of(command, found.found), yes):
        return 1
    answer = _said(place, command, {"contract": contract} if contract is not None else {})
    if answer is None:
        raise _silent(place)
    return printed(context, answer.ok, answer.text, answer.found)


def _place(context: Context, name: str | None) -> Place:
    from mnqcore.trading.places import find

    return find(context.runs_dir, name)


def _said(place: Place, command: str, args: dict[str, Any]) -> Answer | None:
    from mnqcore.trading import control

    name = control.send(place.folder, command, args)
    return control.wait(place.folder, name, taken=_TAKEN, answered=_ANSWERED)


def _alive(place: Place) -> bool:
    return _said(place, "look", {}) is not None


def _silent(place: Place) -> MnqError:
    holder = place.holder()
    if holder is None:
        return MnqError("the session ended meanwhile", where=str(place.folder), next="say it again")
    return MnqError(
        "the session does not answer",
        where=str(place.folder),
        found=f"process {holder or '?'} has it, and took nothing within {_TAKEN:.0f} s",
        next="mnq trade flatten --take-over ends that process first, and closes at the broker",
    )
