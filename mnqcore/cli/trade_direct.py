"""`mnq trade` for a session that no process runs: at the broker itself, with nothing but its plugin."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import click

from mnqcore.cli.session_screen import moment, zone_name
from mnqcore.cli.trade_text import comparison, printed
from mnqcore.errors import BrokerError, MnqError
from mnqcore.trading.control import who

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mnqcore.api.port import Broker
    from mnqcore.cli.context import Context
    from mnqcore.trading.direct import Answers, Direct
    from mnqcore.trading.places import Access, Place

_PATIENCE = 30.0
"""Seconds for a broker to let us in."""


def status(context: Context, place: Place) -> int:
    """Show what the broker says of the position."""

    async def look(direct: Direct) -> int:
        answers = await direct.answers()
        found, guard = direct.compared(answers), direct.protection(answers)
        if context.format == "json":
            import attrs

            more = {"from": "broker", "account": answers.account.id, "protection": attrs.asdict(guard)}
            context.print_json(
                "mnq.trade/1", {"ok": True, "text": str(guard), **more, **found, "trouble": direct.trouble}
            )
            return 0
        click.echo("\n".join(_head(place, direct, answers)))
        click.echo(f"{guard.level:<10} {guard.text}")
        click.echo("\n".join(comparison(found)))
        click.echo("stop it:   mnq trade flatten   go on: the command that started it")
        return 0

    return _with_broker(context, place, look)


def flatten(context: Context, place: Place, everything: bool) -> int:
    """Close at the broker what the journal owns; more with `everything`, or when a person says so."""
    from mnqcore.cli.asking import beyond_too

    async def close(direct: Direct) -> int:
        answers = await direct.answers()
        found = direct.compared(answers)
        click.echo("\n".join([*_head(place, direct, answers), *comparison(found)]), err=context.format == "json")
        wanted, refused = beyond_too(found, everything)
        direct.tell = lambda text: click.echo(text, err=True)
        done = await direct.flatten(wanted, who())
        after = await direct.answers()
        guard = direct.protection(after)
        what = (
            "nothing of it was touched" if refused and direct.known is None else "closed" if done else "NOT CLOSED YET"
        )
        code = printed(context, done, f"{what}. {guard}", direct.compared(after))
        return 2 if refused and code == 0 else code

    return _with_broker(context, place, close)


def settle(context: Context, place: Place, command: str, contract: str | None, yes: bool) -> int:
    """Write a person's word into the journal, for the next start."""
    from mnqcore.cli.asking import asked, question_of
    from mnqcore.trading import amends

    async def amend(direct: Direct) -> int:
        answers = await direct.answers()
        found = direct.compared(answers)
        click.echo("\n".join([*_head(place, direct, answers), *comparison(found)]), err=context.format == "json")
        differs = direct.known is not None and any(row["beyond"] for row in found["positions"])
        if differs and not asked(question_of(command, found), yes):
            return 1
        if command == "adopt":
            text = amends.adopt(direct, answers, contract, who())
        else:
            text, orphans = amends.disown(direct, answers, contract, who())
            await direct.cancel(orphans)
        return printed(context, True, text, direct.compared(await direct.answers()))

    return _with_broker(context, place, amend)


def _with_broker(context: Context, place: Place, do: Callable[[Direct], Awaitable[int]]) -> int:
    """Do something with a session's broker and journal, which no other process has meanwhile."""
    from mnqcore.trading.direct import Direct
    from mnqcore.trading.hindsight import opened
    from mnqcore.trading.journal_file import Lease

    access = place.access()
    broker = _broker(context, access)

    async def run() -> int:
        async with _connected(broker, access):
            with opened(place.journal) as (journal, known, trouble):
                direct = Direct(broker=broker, access=access, known=known, trouble=trouble, journal=journal)
                return await do(direct)

    lease = Lease(place.folder / "direct")  # DataError where another terminal is at it
    try:
        return asyncio.run(run())
    finally:
        lease.release()


def _broker(context: Context, access: Access) -> Any:
    """Make the broker by its name, without any strategy."""
    from mnqcore.plugins import load

    plugins = load((*context.plugins_args, *access.login.plugins))
    cls = plugins.find("broker", access.use).load()
    return cls(**access.params)


@contextlib.asynccontextmanager
async def _connected(broker: Any, access: Access) -> AsyncIterator[Broker]:
    exists = getattr(broker, "exists", None)
    if exists is not None and not exists(access.login):
        raise BrokerError(
            "the broker of this session is gone, and its account with it",
            where=access.login.folder,
            next="nothing is held there any more; remove the folder, or start the session to see",
        )
    try:
        await asyncio.wait_for(broker.connect(access.login), _PATIENCE)
    except TimeoutError as error:
        raise BrokerError("the broker does not let us in", found=f"nothing within {_PATIENCE:.0f} s") from error
    try:
        yield broker
    finally:
        with contextlib.suppress(MnqError, OSError):
            await broker.close()


def _head(place: Place, direct: Direct, answers: Answers) -> list[str]:
    """Say who speaks: nobody but the broker."""
    from mnqcore.trading.status import iso

    zone = direct.access.login.instrument.timezone
    at = moment(iso(answers.account.time), zone)
    found = [
        f"{place.title}   its process has ended; {direct.access.use} says, {at:%Y-%m-%d %H:%M:%S} {zone_name(zone)}"
    ]
    if direct.known is None:
        found += [f"journal    cannot be read: {direct.trouble}"[:200]]
    elif direct.known.state:
        found += [f"journal    its last state was {direct.known.state}"]
    return found
