"""Records written by the compiled pass are what the plain definitions say, whatever memory held before."""

import numpy as np
import pytest

from mnqcore.market.instruments import catalogue
from mnqcore.tape.fill import fill
from mnqcore.tape.records import BAR, ORDER

NEVER = 77


def filled(prices, instrument, *, layout=np.ascontiguousarray):
    """Records of bars whose four prices are rows of `prices`, written over memory full of ones."""
    bars = prices.shape[1]
    tape, orders = (np.full(bars * kind.itemsize, 0xFF, np.uint8).view(kind) for kind in (BAR, ORDER))
    columns = [layout(row) for row in prices]
    times, days = np.arange(bars) * 300, np.arange(bars, dtype=np.int32) // 3
    return tape, orders, fill(tape, orders, *columns, times, days, instrument.tick_size, NEVER)


@pytest.mark.parametrize("name", ["MNQ", "6E", "EURUSD"])
def test_prices_become_the_ticks_that_the_instrument_says(name):
    instrument = catalogue()[name]
    prices = np.random.default_rng(3).uniform(-50, 30_000, (4, 500))

    tape, orders, highest = filled(prices, instrument)

    for field, row in zip(("open", "high", "low", "close"), prices, strict=True):
        assert np.array_equal(tape[field], instrument.to_ticks(row))
    assert np.array_equal(orders["carry_open"], tape["open"])
    assert highest == pytest.approx(np.abs(prices).max() / instrument.tick_size)


def test_every_other_field_is_written_too():
    tape, orders, _ = filled(np.full((4, 7), 100.0), catalogue()["MNQ"])

    assert tape["day"].tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert orders["time"].tolist() == [0, 300, 600, 900, 1200, 1500, 1800]
    assert set(orders["bars_to_flat"].tolist()) == {NEVER}
    zeros = [tape[field] for field in ("flat", "missed", "rolled", "late")]
    zeros += [orders[field] for field in ("stop", "target", "sizer_signal", "reward_signal")]
    assert not np.concatenate(zeros).any()


def test_columns_of_any_layout_and_read_only_ones_are_taken():
    instrument = catalogue()["MNQ"]
    prices = np.arange(40.0).reshape(4, 10)

    def sparse(row):
        column = np.repeat(row, 2)[::2]
        column.flags.writeable = False
        return column

    tape, _, _ = filled(prices, instrument, layout=sparse)

    assert np.array_equal(tape["close"], instrument.to_ticks(prices[3]))
