"""Classic indicators for mnq, computed by TA-Lib."""

from mnqcore import hookimpl


@hookimpl
def register_feature_sets(register):
    """Register the feature set `talib`."""
    register("talib", "mnq_talib.features:TaLib")
