"""Classic indicators for mnq, computed by TA-Lib."""

from mnqcore import Register, hookimpl


@hookimpl
def register_feature_sets(register: Register) -> None:
    """Register the feature set `talib`."""
    register("talib", "mnq_talib.features:TaLib")
