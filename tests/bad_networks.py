"""Extractors and learners that are wrong in one way each, beside right ones."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import torch

from mnqcore import plugin, state


class _Network(torch.nn.Module):
    """Reads the last two bars."""

    def __init__(self, spec, width=6):
        super().__init__()
        self.lookback = spec.lookback
        self.mix = torch.nn.Linear(2 * spec.n_features, width)

    def forward(self, windows):
        last, before = windows[:, -1], windows[:, max(self.lookback - 2, 0)]
        return torch.tanh(self.mix(torch.cat((last, before), dim=1)))


class _Series(_Network):
    def encode_series(self, rows):
        windows = rows.unfold(0, self.lookback, 1).transpose(1, 2)
        return self.forward(windows)


@plugin
class LastTwo:
    """Reads the last two bars, rightly."""

    def build(self, spec):
        return _Series(spec)


@plugin
class MixesTheBatch:
    """Takes the mean of the batch away."""

    def build(self, spec):
        class Network(_Network):
            def forward(self, windows):
                found = super().forward(windows)
                return found - found.mean(0, keepdim=True) if len(found) else found

        return Network(spec)


@plugin
class BatchNorm:
    """Is scaled by its batch, in training only."""

    def build(self, spec):
        class Network(_Network):
            def __init__(self, spec):
                super().__init__(spec)
                self.norm = torch.nn.BatchNorm1d(6)

            def forward(self, windows):
                return self.norm(super().forward(windows))

        return Network(spec)


@plugin
class Noisy:
    """Draws in evaluation mode too."""

    def build(self, spec):
        class Network(_Network):
            def __init__(self, spec):
                super().__init__(spec)
                self.draw = torch.Generator().manual_seed(1)
                self.calls = 0

            def forward(self, windows):
                found = super().forward(windows)
                self.calls += 1
                return found + (1e-2 if self.calls % 3 == 0 and len(found) == 4 else 0.0)

        return Network(spec)


@plugin
class Remembers:
    """Adds a bit of what it saw before."""

    def build(self, spec):
        class Network(_Network):
            seen: torch.Tensor

            def __init__(self, spec):
                super().__init__(spec)
                self.register_buffer("seen", torch.zeros(1), persistent=True)

            def forward(self, windows):
                if len(windows) == 5:
                    self.seen += 1
                return super().forward(windows) + 0.01 * self.seen

        return Network(spec)


@plugin
class DeadLayer:
    """Has a layer that it does not use."""

    def build(self, spec):
        network = _Network(spec)
        network.unused = torch.nn.Linear(3, 3)
        return network


@plugin
class Detached:
    """Cuts the gradient off."""

    def build(self, spec):
        class Network(_Network):
            def forward(self, windows):
                return super().forward(windows).detach().requires_grad_()

        return Network(spec)


@plugin
class Unsaved:
    """Draws a tensor that is not saved with it."""

    def build(self, spec):
        network: Any = _Network(spec)
        network.offset = torch.randn(6)

        def forward(windows):
            return _Network.forward(network, windows) + network.offset

        network.forward = forward
        return network


@plugin
class KeepsTheWindow:
    """Returns a row a bar."""

    def build(self, spec):
        return torch.nn.Linear(spec.n_features, 6)


@plugin
class FixedBatch:
    """Knows one batch only."""

    def build(self, spec):
        class Network(_Network):
            def forward(self, windows):
                return super().forward(windows.reshape(3, spec.lookback, spec.n_features))

        return Network(spec)


@plugin
class OtherSeries:
    """Encodes a series otherwise than windows."""

    def build(self, spec):
        class Network(_Series):
            def encode_series(self, rows):
                return super().encode_series(rows) * 1.01

        return Network(spec)


@plugin
class LooksBeyond:
    """Scales a series by all of it."""

    def build(self, spec):
        class Network(_Series):
            def encode_series(self, rows):
                return super().encode_series(rows / rows.std())

        return Network(spec)


@plugin
class WritesWindows:
    """Changes the window it is given."""

    def build(self, spec):
        class Network(_Network):
            def forward(self, windows):
                if not windows.requires_grad:
                    windows[:, 0].clamp_(-0.5, 0.5)
                return super().forward(windows)

        return Network(spec)


# Learners


@plugin
class Idle:
    """Acts by a drawn sum of the newest features, rightly."""

    weights: Any = state()

    def reset(self, lanes):
        """Forget nothing."""

    def train(self, training):
        draw = np.random.default_rng(training.seed)
        self.weights = draw.normal(size=(training.spec.observation.n_features, 4))

    def act(self, observation):
        return (observation["market_features"][:, -1] @ self.weights).argmax(axis=1)

    def save(self, folder):
        (folder / "weights.json").write_text(json.dumps(self.weights.tolist()))

    def load(self, folder, spec):
        self.weights = np.array(json.loads((folder / "weights.json").read_text()))


@plugin
class OutOfRange(Idle):
    """Knows an action that there is not."""

    def act(self, observation):
        return Idle.act(self, observation) + 4


@plugin
class Column(Idle):
    """Returns a column."""

    def act(self, observation):
        return Idle.act(self, observation)[:, None]


@plugin
class Draws(Idle):
    """Tosses a coin at each bar."""

    draw: Any = state(lambda: np.random.default_rng(1))

    def act(self, observation):
        return self.draw.integers(0, 4, len(observation["position_info"]))


@plugin
class MixesRows(Idle):
    """Acts by the mean of the rows."""

    def act(self, observation):
        newest = observation["market_features"][:, -1]
        return ((newest - newest.mean(axis=0)) @ self.weights).argmax(axis=1)


@plugin
class Pickles(Idle):
    """Saves a pickle."""

    def save(self, folder):
        (folder / "weights.pkl").write_bytes(pickle.dumps(self.weights))

    def load(self, folder, spec):
        self.weights = pickle.loads((folder / "weights.pkl").read_bytes())


@plugin
class SavesNothing(Idle):
    """Begins anew when it is loaded."""

    def load(self, folder, spec):
        self.weights = np.random.default_rng(99).normal(size=(spec.observation.n_features, 4))


@plugin
class Unseeded(Idle):
    """Draws without the seed."""

    def train(self, training):
        self.weights = np.random.default_rng().normal(size=(training.spec.observation.n_features, 4))
