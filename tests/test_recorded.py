"""What a venue replays is what the simulator's tape holds: bars, sessions, rolls; and every slot of the calendar."""

import numpy as np
import pandas as pd
import pytest

from mnqcore.api import BarRequest
from mnqcore.errors import MnqError
from mnqcore.market.calendar import Calendar
from mnqcore.tape import calls, lay
from mnqcore.tape.records import NO_PRICE
from mnqcore.trading.recorded import laid_out, recorded
from mnqplugins.brokers._replay import Tape

STRATEGY = """
format = 1
[strategy.cross]
data = {{ use = "synthetic", market = "trend", days = 140, missing = {missing}, holes = 60.0, seed = {seed} }}
bar_size = "{size}"
agent = {{ use = "sma-cross", fast = 5, slow = 20 }}
session = {{ rth = {rth}, flat_by_close = {flat} }}
"""


def case(folder, *, missing=0.05, seed=0, size="15 min", rth=False, flat=True):
    file = folder / "strategy.toml"
    file.write_text(
        STRATEGY.format(missing=missing, seed=seed, size=size, rth=str(rth).lower(), flat=str(flat).lower())
    )
    found = recorded(file)
    strategy = found.strategy
    length = pd.Timedelta(size)
    request = BarRequest(instrument=strategy.instrument, bar_size=length, session="rth" if rth else "full")
    market = lay(calls.bars(strategy.data, request), strategy.instrument, strategy.session, length)
    return found, market


@pytest.mark.parametrize(
    "changes",
    [{}, {"rth": True}, {"flat": False}, {"size": "1 hour", "missing": 0.3}, {"seed": 1}, {"seed": 2, "missing": 0.4}],
    ids=str,
)
def test_slots_hold_what_the_tape_holds(tmp_path, changes):
    found, market = case(tmp_path, **changes)
    tape = Tape(found, None, None)
    at = np.searchsorted(found.start, market.orders["time"])
    assert found.start[at].tolist() == market.orders["time"].tolist()

    slots = [tape.slot(int(number)) for number in at]

    leads = [slot.quotes[contract] for slot, contract in zip(slots, market.contracts, strict=True)]
    assert leads == [tuple(bar) for bar in market.tape[["open", "high", "low", "close"]].tolist()]
    sessions = np.array([slot.session for slot in slots])
    missed = market.tape["missed"].astype(bool) & ~market.tape["rolled"].astype(bool)
    changed = np.append(False, sessions[1:] != sessions[:-1])
    assert (changed | market.tape["rolled"].astype(bool)).tolist() == market.tape["missed"].astype(bool).tolist()
    assert (changed[missed]).all()


@pytest.mark.parametrize("seed", range(3))
def test_rolls_carry_orders_as_the_tape_says(tmp_path, seed):
    found, market = case(tmp_path, seed=seed, missing=0.3)
    tape = Tape(found, None, None)
    rolled = np.flatnonzero(market.tape["rolled"])
    assert len(rolled) > 0
    assert len(found.carried) == len(rolled)

    for roll, bar in zip(found.carried, rolled.tolist(), strict=True):
        price = market.orders["carry_open"][bar]
        assert roll.contract == market.contracts[bar - 1]
        assert tape.slot(roll.at).carried == {roll.contract: None if price == NO_PRICE else price}
        assert found.start[roll.after] == market.orders["time"][bar - 1]
        assert all(roll.contract in tape.slot(number).waits for number in range(roll.after + 1, roll.at))


def test_every_slot_of_the_calendar_is_there_with_or_without_a_bar(tmp_path):
    found, _ = case(tmp_path, missing=0.4)
    calendar = Calendar(found.strategy.instrument)
    times = found.bars.index

    expected = calendar.bar_starts(times[0], times[-1], pd.Timedelta("15min"))

    assert found.start.tolist() == expected.as_unit("ns").asi8.tolist()
    assert (np.diff(found.first) == 0).sum() > 1_000
    assert found.first[-1] == len(found.bars)
    assert (found.close[:-1] <= found.start[1:]).all()


def test_contracts_have_their_last_days(tmp_path):
    found, _ = case(tmp_path)

    assert found.last_days == {"MNQH24": "2024-03-15", "MNQM24": "2024-06-21", "MNQU24": "2024-09-20"}


def test_bars_of_the_strategy_alone_are_asked_for(tmp_path):
    found, _ = case(tmp_path)

    assert laid_out(found.strategy).start.tolist() == found.start.tolist()
    with pytest.raises(MnqError):
        recorded(tmp_path / "none.toml")
