"""Does what a person wants of a running session: halt, resume, flatten, adopt, disown.

Each is written to the journal with its answer. `flatten` blocks, cancels entries, closes what our orders made through
the one path that cannot double, and is done once nothing is held and its stops are gone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.port import Role
from mnqcore.trading.control import Answer, Command, Inbox, clear_halt
from mnqcore.trading.memory import State
from mnqcore.trading.settling import adopt, beyond, close_beyond, compared, disown
from mnqcore.trading.status import protection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from mnqcore.trading.memory import Effect
    from mnqcore.trading.session import Session

_PATIENCE = 20.0
"""Seconds after which a flatten that is not done says so; it goes on all the same."""
_RACE = 2.0
"""Seconds that entries may take to be cancelled before what is held already is closed."""
_GONE = "the broker holds nothing more of it, but the journal does: mnq trade disown"
_EXITS = 3
"""Exits that may be refused before a person is told that this does not work."""


@attrs.define
class _Closing:
    """A flatten that is under way: when it began, exits sent, when the broker was asked, whether it was answered."""

    command: Command
    began: float
    exits: int = 0
    asked: float = 0.0
    told: bool = False


class Operator:
    """Takes commands at each tick; `said` may also be called from a signal handler, by the loop."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._inbox = folder, Inbox(folder)
        self._halts: list[str] = []
        self._closing: _Closing | None = None
        self._do: dict[str, Callable[[Session, Command], Awaitable[Answer | None]]] = {
            "look": self._look,
            "halt": self._halt,
            "resume": self._resume,
            "flatten": self._flatten,
            "adopt": self._adopt,
            "disown": self._disown,
        }

    def halt(self, why: str) -> None:
        """Halt at the next tick."""
        self._halts.append(why)

    async def __call__(self, session: Session) -> None:
        """Do what has been wanted since the last time."""
        halted = session.desk.memory.state is State.HALTED
        if self._inbox.halt and not halted:
            self._halts.append("control/HALT is there")
        while self._halts:
            why = self._halts.pop(0)
            await session.carry_out(session.desk.halt(why, *_clocks(session)))
        for command in self._inbox.take():
            answer = await self._do[command.command](session, command)
            if answer is not None:
                self._inbox.answer(command, answer)
        if self._closing is not None:
            await self._go_on(session, self._closing)

    # Commands.

    async def _look(self, session: Session, command: Command) -> Answer:
        """Ask the broker, and tell how journal and broker compare."""
        return await self._compared(session) or Answer(ok=True, text="", found=compared(session))

    async def _halt(self, session: Session, command: Command) -> Answer:
        if session.desk.memory.state is State.HALTED:
            return Answer(ok=True, text=f"it is halted already: {session.desk.memory.why}")
        self._note(session, command, "halted")
        await session.carry_out(session.desk.halt(_why("halted", command), *_clocks(session)))
        return Answer(ok=True, text=f"HALTED: nothing is opened any more. {protection(session)}")

    async def _resume(self, session: Session, command: Command) -> Answer:
        memory = session.desk.memory
        if memory.state is not State.HALTED and not memory.reducing:
            return Answer(ok=True, text=f"it is not halted: {memory.state.value}")
        if self._closing is not None:
            return Answer(ok=False, text="refused: it is being flattened")
        if why := await self._reluctance(session):
            self._note(session, command, f"refused: {why}")
            return Answer(ok=False, text=f"refused: {why}", found=compared(session))
        self._note(session, command, "resumed")
        await session.carry_out(session.desk.resume(_why("resumed", command), *_clocks(session)))
        return Answer(ok=memory.state is State.ACTIVE, text=f"{memory.state.value}: {memory.why}")

    async def _flatten(self, session: Session, command: Command) -> Answer | None:
        """Begin to close; the answer comes when it is done."""
        if self._closing is not None:
            return Answer(ok=True, text="it is being flattened already")
        everything, failed = bool(command.args.get("all")), await self._compared(session)
        if everything and failed:
            return failed
        self._note(session, command, "everything at the broker" if everything else "what our orders made")
        effects = session.desk.halt(_why("flattened", command), *_clocks(session))
        self._closing = _Closing(command, time.monotonic())
        await session.carry_out(effects)
        if everything:
            await close_beyond(session, command)
        return None

    async def _adopt(self, session: Session, command: Command) -> Answer:
        return await self._settled(session, command, adopt)

    async def _disown(self, session: Session, command: Command) -> Answer:
        return await self._settled(session, command, disown)

    async def _settled(
        self, session: Session, command: Command, settle: Callable[[Session, Command], tuple[Answer, list[Effect]]]
    ) -> Answer:
        """Compare afresh, settle what differs, and compare again."""
        if failed := await self._compared(session):
            return failed
        answer, effects = settle(session, command)
        await session.carry_out(effects)
        if answer.ok:
            await session.ask(command.command)
        return attrs.evolve(answer, found=compared(session))

    # What they need.

    async def _compared(self, session: Session) -> Answer | None:
        """Ask the broker; returns an answer only where it does not answer."""
        before = session.truth
        await session.ask("a person asks")
        if session.truth is before:
            return Answer(ok=False, text=f"the broker does not answer: {session.desk.memory.why}")
        return None

    async def _reluctance(self, session: Session) -> str:
        """Return why a session may not go on, or nothing."""
        memory = session.desk.memory
        if why := clear_halt(self._folder):
            return why
        memory.mend()
        if memory.journal.broken:
            return f"the journal cannot be written: {memory.journal.trouble}"
        if failed := await self._compared(session):
            return failed.text
        if differing := beyond(session):
            pairs = "; ".join(str(one) for one in differing)
            return f"broker and journal differ: {pairs}. mnq trade adopt, disown or flatten settles it"
        return ""

    async def _go_on(self, session: Session, closing: _Closing) -> None:
        """Take the next step out: entries first, then what is held, then its stops."""
        memory, waited = session.desk.memory, time.monotonic() - closing.began
        orders = memory.orders
        entries, exits = any(orders.alive(Role.ENTRY)), any(orders.alive(Role.EXIT))
        held = [contract for contract in orders.position() if memory.closable(contract)]
        if held and not exits and (not entries or waited > _RACE):
            await self._leave(session, closing)
        elif not held and not exits and not entries:
            await self._drop_stops(session)
        done = not held and not entries and not any(orders.alive(Role.STOP, Role.TARGET, Role.EXIT))
        done = done and await self._all_gone(session, closing)
        if done or (waited > _PATIENCE and not closing.told):
            closing.told = True
            text = "NOT FLAT YET: it goes on. mnq trade status shows how"
            if done:
                text = _GONE if orders.position() else "flat; no order of ours is left"
            answer = Answer(ok=done, text=f"{text}. {protection(session)}", found=compared(session))
            self._inbox.answer(closing.command, answer)
        if done:
            self._closing = None

    async def _all_gone(self, session: Session, closing: _Closing) -> bool:
        """Whether the broker holds nothing, where all of it is to be closed; it is asked once a second."""
        if not closing.command.args.get("all"):
            return True
        if time.monotonic() - closing.asked < 1.0:
            return False
        closing.asked = time.monotonic()
        failed = await self._compared(session)
        return failed is None and session.truth is not None and not session.truth.positions

    async def _leave(self, session: Session, closing: _Closing) -> None:
        if closing.exits == _EXITS:
            closing.exits += 1
            session.desk.memory.alert("error", "the broker does not take the orders that close: close it there by hand")
            await session.carry_out(session.desk.memory.commit())
        if closing.exits < _EXITS:
            closing.exits += 1
            await session.carry_out(session.desk.flatten(_why("flattened", closing.command), *_clocks(session)))

    async def _drop_stops(self, session: Session) -> None:
        """Cancel what would open a position, now that nothing is held."""
        memory = session.desk.memory
        memory.now, memory.mono = _clocks(session)
        for one in list(memory.orders.alive(Role.STOP, Role.TARGET)):
            memory.cancel(one, "nothing is held any more")
        await session.carry_out(memory.commit())

    def _note(self, session: Session, command: Command, answer: str) -> None:
        """Have the journal hold what was wanted before anything of it is done."""
        session.desk.memory.note(
            "operator", command=command.command, args={**command.args, "by": command.by}, answer=answer
        )


def _clocks(session: Session) -> tuple[int, float]:
    return session.now(), time.monotonic()


def _why(what: str, command: Command) -> str:
    reason: Any = command.args.get("why")
    return f"{what} by a person" + (f": {reason}" if isinstance(reason, str) and reason else "")
