"""Sessions in a process of their own, as a person starts them, and what tests ask of them."""

import contextlib
import json
import os
import signal
import subprocess
import time
from typing import Any

from tests.tiny import command, hear_ctrl_c
from tests.venues import kill_venue

STRATEGY = """
format = 1
[strategy.quick]
data = { use = "synthetic", market = "no-edge", days = 6, missing = 0.0, holes = 0.0 }
agent = { use = "sma-cross", fast = 3, slow = 6 }
costs = { initial_balance = 25_000.0, commission = 0.62, slippage_ticks = 1 }
risk = { max_position = 1 }
trade.broker = { use = "simulated", speed = "600x", linger = 60.0 }
"""
FOLDER = "runs/quick/.session-replay-SIM"
PATIENCE = 90.0


class Sitting:
    """A session in a process; its venue ends with the test."""

    def __init__(self, place):
        self.place, self.folder = place, place / FOLDER
        self.process: Any = None
        (place / "s.toml").write_text(STRATEGY)

    def start(self, *settings, options=(), **environ):
        """Start it, or start it again."""
        words = ["run", "s.toml", "--stage", "trade", "--mode", "replay", *options]
        for setting in settings:
            words += ["--set", setting]
        self.process = subprocess.Popen(
            command(*words), cwd=self.place, env={**os.environ, **environ}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c,
        )  # fmt: skip
        return self

    def status(self):
        """Return what its status file says, of this process only."""
        try:
            found = json.loads((self.folder / "status.json").read_text())
        except (OSError, ValueError):
            return None
        return found if found["pid"] == self.process.pid else None

    def until(self, wanted, patience=PATIENCE):
        """Wait until the status is as wanted; return it."""
        end, last = time.monotonic() + patience, None
        while time.monotonic() < end:
            last = self.status()
            if last is not None and wanted(last):
                return last
            if self.process.poll() is not None:
                raise AssertionError(f"it ended: {self.process.communicate()}")
            time.sleep(0.05)
        raise AssertionError(f"not within {patience} s: {last}")

    def until_held(self):
        """Wait until something is held and protected."""
        return self.until(lambda status: status["positions"] and status["protection"]["level"] == "PROTECTED")

    def send(self, name):
        """Send a signal."""
        self.process.send_signal(getattr(signal, name))

    def end(self, name=None):
        """Send a signal, if one is named, and return exit code, stdout and stderr."""
        if name:
            self.send(name)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err

    def clear(self):
        """End whatever is left."""
        if self.process is not None:
            with contextlib.suppress(OSError):
                self.process.kill()
            self.process.wait()
            for stream in (self.process.stdout, self.process.stderr):
                stream.close()
        kill_venue(self.folder)
