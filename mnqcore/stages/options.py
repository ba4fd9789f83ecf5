"""How stages are run, beside what the strategy says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore.errors import UsageError, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STAGES = ("train", "backtest", "trade")
"""In the order in which they can follow each other."""


@attrs.frozen(kw_only=True)
class Options:
    """What a command asks for.

    `seeds`: trainings a fold. `model`: a run whose models are backtested. `in_sample`: also on the bars that they were
    trained on. `resume`: an interrupted training to go on with. `tensorboard`: log for it as well. `show`: how a
    training shows its progress on stderr: "bar", "lines" or "" for nothing. `mode`, `max_position` (contracts) and
    `max_daily_loss` (dollars): of a session; the limits can only be tightened. `use_stop_loss`: insist on a stop.
    """

    seeds: int = 1
    model: str | Path | None = None
    in_sample: bool = False
    resume: str | Path | None = None
    tensorboard: bool = False
    show: str = ""
    mode: str | None = None
    max_position: int | None = None
    max_daily_loss: float | None = None
    use_stop_loss: bool = False


def stages_of(asked: str | Sequence[str]) -> tuple[str, ...]:
    """Return the stages in "train,backtest" or a sequence of them.

    Raises:
        UsageError: there is no such stage, or they are not in order.
    """
    given = [asked] if isinstance(asked, str) else list(asked)
    names = tuple(name.strip() for text in given for name in text.split(","))
    for name in names:
        if name not in STAGES:
            close = suggest(name, STAGES)
            known = "this version of mnq has: " + ", ".join(STAGES)
            raise UsageError(f"no stage named {name!r}", next=f"did you mean {close}?" if close else known)
    if list(names) != [name for name in STAGES if name in names]:
        raise UsageError("stages follow each other once each, in order", found=",".join(names), next=",".join(STAGES))
    if "trade" in names and len(names) > 1:
        raise UsageError(
            "trade runs alone", found=",".join(names), next="train first; --stage trade --model RUN names the model"
        )
    return names
