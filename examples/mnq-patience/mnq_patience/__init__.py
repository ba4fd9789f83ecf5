"""Pieces for patient strategies; each is imported when a strategy names it."""

from mnqcore import Register, hookimpl


@hookimpl
def register_rewards(register: Register) -> None:
    """Register the reward."""
    register("patience", "mnq_patience.pieces:Patience")


@hookimpl
def register_sizers(register: Register) -> None:
    """Register the sizer."""
    register("grow", "mnq_patience.pieces:Grow")


@hookimpl
def register_feature_sets(register: Register) -> None:
    """Register the feature set."""
    register("efficiency", "mnq_patience.pieces:Efficiency")


@hookimpl
def register_brackets(register: Register) -> None:
    """Register the bracket."""
    register("room", "mnq_patience.pieces:Room")


@hookimpl
def register_extractors(register: Register) -> None:
    """Register the extractor."""
    register("fading", "mnq_patience.pieces:Fading")
