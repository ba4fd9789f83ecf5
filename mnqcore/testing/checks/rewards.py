"""What rewards keep to: one finite number an account, whoever else is there, and nothing left of an account's past."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from mnqcore.api.parameters import states
from mnqcore.testing.checks.contracts import faults_of
from mnqcore.testing.paths import LANES, PATHS, alone, paid, recording
from mnqcore.testing.verdict import Fault, Inapplicable, NotAsked, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnqcore.testing.subject import Subject

    Floats = NDArray[np.float64]

_SAME = 1e-9
"""Share of the largest reward by which sums of other lengths may round differently."""


@check("keeps its state apart", "reward")
def has_a_reset(subject: Subject) -> Iterator[Fault]:
    """What it remembers is declared by state(), and it has `reset(lanes)` to forget it."""
    if states(subject.cls) and not callable(getattr(subject.cls, "reset", None)):
        yield Fault(
            "it has state() and no reset(lanes)", subject.place(), "def reset(self, lanes): forget those accounts"
        )


def pays(path: str) -> None:
    """Write down that a reward pays finite numbers on a path."""

    @check(f"pays on {path}", "reward", rule=f"It pays one finite number an account: {PATHS[path][1]}.")
    def paid_on_path(subject: Subject) -> Iterator[Fault]:
        usual = list(faults_of(subject, lambda: paid(subject, recording(subject, "usual"))))
        if usual:
            raise NotAsked("it does not pay on the usual market either")
        for fault in faults_of(subject, lambda: paid(subject, recording(subject, path))):
            yield attrs.evolve(fault, text=f"{fault.text}: {PATHS[path][1]}")


for _path in PATHS:
    if _path != "usual":
        pays(_path)


@check("accounts apart", "reward")
def one_by_one(subject: Subject) -> Iterator[Fault]:
    """Many accounts at once are paid what each is paid alone."""
    steps = recording(subject, "usual")
    together = paid(subject, steps)
    for lane in range(LANES):
        by_itself = paid(subject, alone(steps, lane))[:, 0]
        if step := _first(together[:, lane], by_itself):
            text = f"account {lane + 1} of {LANES} gets {together[step - 1, lane]:.6g} at step {step}, alone"
            yield Fault(
                f"{text} {by_itself[step - 1]:.6g}",
                subject.place(),
                "a sum over accounts, or one number remembered for all: state is an array of shape (n,)",
            )
            return


@check("pays by the step", "reward")
def pays_by_the_step(subject: Subject) -> Iterator[Fault]:
    """The same steps are paid the same, whichever bars `prepare` was shown last: a step has all that it may know."""
    from mnqcore.tape import calls

    if not callable(getattr(subject.cls, "prepare", None)):
        raise Inapplicable("it prepares nothing")
    steps, found = recording(subject, "usual"), []
    for shape in ("usual", "crash"):
        calls.prepared(subject.choice, subject.build(), subject.view(shape))
        found.append(paid(subject, steps))
    if step := _first(*found):
        yield Fault(
            f"the same steps are paid otherwise after it has prepared other bars (seen at step {step})",
            subject.place(),
            "what prepare keeps beside its column knows the whole history: step.signal is what is known at the bar",
        )


@check("reset forgets", "reward")
def reset_is_complete(subject: Subject) -> Iterator[Fault]:
    """`reset(lanes)` forgets all of the accounts that begin anew, and nothing of the others."""
    from mnqcore.tape import calls

    before, after = (recording(subject, "usual", seed=seed) for seed in (1, 2))
    again = np.arange(LANES) % 2 == 0
    judges = [calls.Judge(subject.choice) for _ in range(2)]
    for judge in judges:
        judge.reset(np.ones(LANES, np.bool_))
        paid(subject, before, reward=judge)
    judges[0].reset(again.copy())
    found, going_on = (paid(subject, after, reward=judge) for judge in judges)
    new = paid(subject, after)
    for wanted, lanes, text, advice in (
        (new, again, "remembers", "reset every state() of the lanes that are true"),
        (going_on, ~again, "forgets", "np.where(lanes, fresh, self.state): the others go on"),
    ):
        for lane in np.flatnonzero(lanes):
            if step := _first(found[:, lane], wanted[:, lane]):
                who = "that begins anew" if text == "remembers" else "that goes on, when others begin anew,"
                yield Fault(f"of an account {who} it {text} the past, {step} steps on", subject.place(), advice)
                return


@check("keeps no arrays", "reward")
def keeps_no_arrays(subject: Subject) -> Iterator[Fault]:
    """It keeps no array of a step: the next step is written over it."""
    steps = recording(subject, "usual")
    if step := _first(paid(subject, steps, spoil=True), paid(subject, steps)):
        yield Fault(
            f"it keeps an array of a step, which the next one is written over (seen at step {step})",
            subject.place(),
            "copy what is kept: step.equity.copy()",
        )


@check("sign", "reward", advisory=True)
def sign(subject: Subject) -> Iterator[Fault]:
    """A clear win pays more than nothing, and a clear loss less."""
    for path, sense, word in (("win", 1, "wins"), ("loss", -1, "loses")):
        total = float(paid(subject, recording(subject, path))[:, 0].sum())
        if sense * total <= 0:
            yield Fault(f"a trade that clearly {word} is paid {total:.4g} in all", subject.place())


def _first(found: Floats, wanted: Floats) -> int:
    """Return the number of the first step, from 1, at which they differ by more than rounding; 0 without one."""
    size = max(float(np.abs(wanted).max(initial=0.0)), 1e-300)
    wrong = np.flatnonzero((np.abs(found - wanted) > _SAME * size).reshape(len(found), -1).any(axis=1))
    return int(wrong[0]) + 1 if len(wrong) else 0
