"""The policy network: window -> extractor -> latent, joined with the position, -> two small heads.

stable-baselines3 trains it; its encoder takes windows, or gathers them itself when it is shown numbers of bars.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch.nn import functional

from mnqcore.agent.threads import one_thread
from mnqcore.env.spaces import action_space, window_space
from mnqcore.errors import ExtraMissing, PluginError
from mnqcore.simulator.observation import FEATURES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from gymnasium import spaces
    from numpy.typing import NDArray

    from mnqcore.api.values import ModelSpec

one_thread()  # wherever a network is built, trained or asked, this module is loaded first

_OWNERS = ("pi_", "vf_")
_SHARED = tuple(f"{owner}features_extractor." for owner in _OWNERS)
STANDARD = "mnqcore.agent.policy:TradingPolicy"
"""The policy of most learners."""
ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}
"""What a head may have between its layers."""


class Encoder(BaseFeaturesExtractor):
    """Encode windows by the strategy's extractor and append `position_info`.

    Args:
        observation_space: windows, or bar numbers.
        spec: what the extractor is built for.
        features: float32 (bars, n_features), scaled: what windows are gathered from when bars are observed.
    """

    def __init__(
        self, observation_space: spaces.Dict, spec: ModelSpec, features: NDArray[np.float32] | None = None
    ) -> None:
        torch.nn.Module.__init__(self)  # the width is known only once the network is built
        network = spec.extractor.build(spec.observation)
        super().__init__(observation_space, features_dim=_width(network, spec) + FEATURES)
        self.network = network
        self._shape = (spec.observation.lookback, spec.observation.n_features)
        tape = None if features is None else torch.from_numpy(features).contiguous()
        self.register_buffer("_tape", tape, persistent=False)  # market data is no part of a policy

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return (batch, latent + 4)."""
        windows = observations.get("market_features")
        if windows is None:
            windows = self.windows(observations["bar"].long().flatten())
        return torch.cat((self.network(windows), observations["position_info"]), dim=1)

    def windows(self, bars: torch.Tensor) -> torch.Tensor:
        """Return the windows that end with these bars, (batch, lookback, n_features)."""
        tape: Any = self._tape
        lookback, width = self._shape
        # Every window as a row of one overlapping view: embedding copies rows far faster than indexing does.
        rows = tape.as_strided((len(tape) - lookback + 1, lookback * width), (width, 1))
        return functional.embedding(bars - (lookback - 1), rows).view(-1, lookback, width)


class WindowPolicy:
    """What policies of stable-baselines3 on an `Encoder` have in common: what is saved, and how windows are read.

    Mixed in before the library's class, whose actor and critic share the encoder.

    Example:
        class MaskedPolicy(WindowPolicy, MaskableMultiInputActorCriticPolicy): ...
    """

    features_extractor: Any
    device: Any
    state_dict: Any
    load_state_dict: Any

    def encode(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the latents of windows, (batch, latent)."""
        latents: torch.Tensor = self.features_extractor.network(windows)
        return latents

    def joined(self, observation: Mapping[str, NDArray[np.float32]]) -> torch.Tensor:
        """Return latents and positions of windows, (batch, latent + 4): also of a policy that is trained on bars."""
        tensors = {name: torch.as_tensor(rows, device=self.device) for name, rows in observation.items()}
        found: torch.Tensor = self.features_extractor(tensors)
        return found

    def weights(self) -> dict[str, torch.Tensor]:
        """Return name -> weight, each once: actor and critic share one encoder, which torch lists three times."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith(_SHARED)}

    def take(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take what `weights` returned; RuntimeError where names or shapes are not those of this policy."""
        encoder = "features_extractor."
        again = {
            f"{owner}{name}": value for name, value in weights.items() for owner in _OWNERS if name.startswith(encoder)
        }
        self.load_state_dict({**weights, **again}, strict=True)


class TradingPolicy(WindowPolicy, MultiInputActorCriticPolicy):
    """An actor and a critic on an `Encoder`; what it saves does not depend on how it observes."""

    def __init__(
        self, observation_space: spaces.Dict, action_space: spaces.Discrete, lr_schedule: Any, **kwargs: Any
    ) -> None:
        if kwargs.get("optimizer_class", torch.optim.Adam) is torch.optim.Adam and not kwargs.get("optimizer_kwargs"):
            # As stable-baselines3 has it, but in one pass over all weights: the same steps apart from rounding, and a
            # tenth of the time of a small network's training less.
            kwargs["optimizer_kwargs"] = {"eps": 1e-5, "fused": True}
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def logits(self, latents: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return the preference for each action, (batch, 4)."""
        joined = torch.cat((latents, positions), dim=1)
        found: torch.Tensor = self.action_net(self.mlp_extractor.forward_actor(joined))
        return found


def policy_kwargs(
    spec: ModelSpec, hidden: tuple[int, ...], activation: str, features: NDArray[np.float32] | None = None
) -> dict[str, Any]:
    """Return how stable-baselines3 is to build a TradingPolicy; `hidden` are the widths of each head's layers."""
    return {
        "features_extractor_class": Encoder,
        "features_extractor_kwargs": {"spec": spec, "features": features},
        "net_arch": {"pi": list(hidden), "vf": list(hidden)},
        "activation_fn": ACTIVATIONS[activation],
    }


def blank(spec: ModelSpec, hidden: tuple[int, ...], activation: str, network: str = STANDARD, **options: Any) -> Any:
    """Return an untrained policy that takes windows, in evaluation mode: what weights are loaded into.

    `network`: "module:Class" of a WindowPolicy; `options`: what its constructor takes beyond a TradingPolicy's.
    """
    kwargs = policy_kwargs(spec, hidden, activation)
    policy = named_class(network)(window_space(spec.observation), action_space(), lambda _: 0.0, **kwargs, **options)
    policy.set_training_mode(False)
    return policy


def named_class(name: str) -> Any:
    """Return what "module:Class" names; ExtraMissing where it is not installed."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        package = (error.name or module).partition(".")[0]
        raise ExtraMissing(f"{package} is not installed", next=f"pip install {package.replace('_', '-')}") from error


def _width(network: torch.nn.Module, spec: ModelSpec) -> int:
    """Return the width of a network's answer, seen on two windows of zeros to be a row of numbers for each."""
    if not isinstance(network, torch.nn.Module):
        raise _broken(spec, f"build returned {type(network).__name__}", "return a torch.nn.Module")
    training = network.training
    network.eval()
    with torch.no_grad():
        found = network(torch.zeros(2, spec.observation.lookback, spec.observation.n_features))
    network.train(training)
    shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
    wrong = ""
    if len(shape) != 2 or shape[0] != 2:
        wrong = f"{shape} for two windows"
    elif found.dtype != torch.float32:
        wrong = str(found.dtype).removeprefix("torch.")
    elif not torch.isfinite(found).all():
        wrong = "what is no number"
    if wrong:
        raise _broken(spec, f"its network returned {wrong}", "return float32 (batch, width), finite")
    return int(shape[1])


def _broken(spec: ModelSpec, wrong: str, hint: str) -> PluginError:
    owner = type(spec.extractor)
    who = f"{owner.__module__}.{owner.__qualname__}"
    return PluginError(f"an extractor broke its contract: {wrong}", who=who, next=hint)
