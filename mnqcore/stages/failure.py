"""What is left of a run that failed: enough to see why, and to run it again."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

from mnqcore.errors import DataError, ExtraMissing, MnqError, UsageError

if TYPE_CHECKING:
    from mnqcore.runs import Draft

_RESUME = "the same command with --resume {}"
_FAULTS_OF_INPUT = (UsageError, DataError, ExtraMissing)
"""What is known from the first line of the screen, and mended before the command is typed again."""
_LOG = logging.getLogger(__name__)


def set_aside(draft: Draft, error: BaseException, described: dict[str, Any]) -> None:
    """Keep what is left of a run, and tell where; nothing, where only its input was at fault, or the user stopped it.

    Args:
        draft: the run that was being made.
        error: what ended it.
        described: what a manifest says of its strategy.
    """
    failed = isinstance(error, Exception) and not isinstance(error, _FAULTS_OF_INPUT)
    kept = draft.set_aside({**_told(error), **described} if failed else None)
    if kept is None:
        return
    resumable = kept.name.rpartition("-interrupted")[1] != ""
    if not isinstance(error, MnqError):
        tell = "the training was interrupted, and can go on" if resumable else "the run failed"
        resume = f"\n  resume  {_RESUME.format(kept)}" if resumable else ""
        _LOG.warning("%s\n  kept    %s%s", tell, kept, resume)
        return
    what = error.facts.pop("kept", "")
    error.facts["kept"] = f"{kept}: {what}" if what else f"{kept}"
    if resumable and not what:  # what broke down by itself would break down again
        error.facts["resume"] = _RESUME.format(kept)


def _told(error: BaseException) -> dict[str, Any]:
    """Return an error as plain JSON."""
    facts = error.facts if isinstance(error, MnqError) else {}
    return {
        "error": {
            "type": type(error).__name__,
            "what": error.what if isinstance(error, MnqError) else str(error),
            **facts,
            "exit_code": getattr(error, "exit_code", MnqError.exit_code),
        },
        "traceback": "".join(traceback.format_exception(error)).splitlines(),
    }
