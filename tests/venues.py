"""Benches of the simulated broker: a small market, a venue of its own, and clients that can be lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path

import pandas as pd

from mnqcore.api import BarRequest, port
from mnqcore.market.instruments import catalogue
from mnqplugins.brokers.simulated import Simulated

STRATEGY = """
format = 1
[strategy.cross]
data = { use = "synthetic", market = "no-edge", days = 5, missing = 0.0, holes = 0.0 }
agent = { use = "sma-cross", fast = 5, slow = 20 }
costs = { initial_balance = 25_000.0, commission = 0.62, slippage_ticks = 1 }
"""
FAULTS = {
    "plain": (),
    "partial": ("bar 1: partial 1 cancel",),
    "stop refused": ("bar 1: reject stop 201",),
    "stop cancelled": ("bar 1: cancel stop",),
    "corrected": ("bar 1: correct +1",),
    "bust": ("bar 1: bust",),
    "foreign trade": ("bar 1: trade +1",),
    "foreign order": ("bar 1: order -1 +4000",),
    "liquidated": ("bar 1: liquidate",),
    "cut off": ("bar 3: disconnect 2",),
    "forming": ("bar 4: forming",),
}
"""situation -> fault script."""


def login(folder, account="SIM1"):
    """Return a login with a venue in a folder; its strategy is written there."""
    file = Path(folder) / "strategy.toml"
    if not file.exists():
        file.write_text(STRATEGY)
    return port.Login(
        account=account,
        mode="replay",
        instrument=catalogue()["MNQ"],
        bar_size=pd.Timedelta("5min"),
        file=str(file),
        plugins=(),
        folder=str(folder),
    )


def request(**bounds):
    return BarRequest(instrument=catalogue()["MNQ"], bar_size=pd.Timedelta("5min"), **bounds)


def venue_of(folder):
    """Return what the port file of a folder says."""
    return json.loads((Path(folder) / "venue" / "port.json").read_text())


def kill_venue(folder):
    """Kill the venue of a folder, if it is still there."""
    with contextlib.suppress(OSError, ValueError):
        os.kill(venue_of(folder)["pid"], signal.SIGKILL)


class SimulatedBench:
    """A bench of `mnqcore.testing`."""

    contract = "MNQH24"

    def __init__(self, folder, **parameters):
        self.login, self.parameters = login(folder), {"linger": 20.0, **parameters}
        self.last = None

    async def connect(self):
        self.broker = Simulated(**self.parameters)
        await self.broker.connect(self.login)
        self.stream = self.broker.stream(request(start=self.last))

    async def bar(self):
        delivered = await anext(self.stream)
        if len(delivered.bars) and not delivered.forming:
            self.last = delivered.bars.index[0]
        return delivered

    async def restart(self):
        link = self.broker._client._link
        if link is not None:
            link.client = _Nobody()
            link.writer.transport.abort()
        await self.connect()

    async def lose(self):
        kill_venue(self.login.folder)
        await asyncio.sleep(0.05)


class _Nobody:
    """A client that was killed."""

    def heard(self, event): ...

    def clock_is(self, now): ...

    def lost(self, link): ...


@contextlib.asynccontextmanager
async def bench(folder, **parameters):
    """Make a bench in a folder; its venue ends with it."""
    made = SimulatedBench(folder, **parameters)
    try:
        await made.connect()
        yield made
    finally:
        with contextlib.suppress(Exception):
            await made.broker.finish()
        kill_venue(folder)
