"""What extractors keep to: a window becomes a row, whatever stands beside it, and the weights are all there is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnqcore.testing.networks import built, differ, encoded, series, spec, windows
from mnqcore.testing.verdict import Fault, Inapplicable, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from mnqcore.testing.subject import Subject

_SERIES = 40


@check("batch apart", "extractor")
def batch_apart(subject: Subject) -> Iterator[Fault]:
    """A window gives the same latent alone and in any batch."""
    import torch

    network, rows = built(subject).eval(), windows(9)
    together = encoded(network, rows)
    by_itself = torch.cat([encoded(network, rows[at : at + 1]) for at in range(len(rows))])
    turned = encoded(network, rows.flip(0)).flip(0)
    if off := max(differ(together, by_itself), differ(together, turned)):
        yield Fault(
            f"a window's latent depends on what stands beside it in the batch, by {off:.3g}",
            subject.place(),
            "a norm, a mean or a softmax over the batch (dim 0)",
        )


@check("pure in evaluation", "extractor")
def pure(subject: Subject) -> Iterator[Fault]:
    """In evaluation mode the same window gives the same latent each time, and nothing is remembered or written to."""
    import torch

    network, rows = built(subject).eval(), windows(4)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    before, shown = rows.clone(), encoded(network, rows)
    encoded(network, windows(5, seed=9))
    if off := differ(shown, encoded(network, rows), 0.0):
        yield Fault(
            f"asked again in evaluation mode, it answers otherwise, by {off:.3g}",
            subject.place(),
            "dropout by function without training=self.training, noise, or a memory kept from call to call",
        )
    if not torch.equal(before, rows):
        yield Fault("it writes to the windows it is given", subject.place(), "an operation that ends in _: x.add_()")
    for name, value in network.state_dict().items():
        if not torch.equal(weights[name], value):
            yield Fault(f"{name} changes while it only encodes", subject.place(), "a running figure, kept in a buffer")


@check("one network in both modes", "extractor")
def modes(subject: Subject) -> Iterator[Fault]:
    """In training mode it is the same network, but for dropout: what was learnt is what trades."""
    import torch

    network, rows = _without_dropout(built(subject)), windows(8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        trained = encoded(network.train(), rows)
    if off := differ(encoded(network.eval(), rows), trained, 1e-3):
        yield Fault(
            f"it is another network in training mode, by {off:.3g}",
            subject.place(),
            "BatchNorm, or a branch on self.training: LayerNorm is the same in both modes",
        )


@check("every parameter learns", "extractor")
def learns(subject: Subject) -> Iterator[Fault]:
    """A gradient reaches every parameter, and the answer depends on the window."""
    import torch

    network, rows = built(subject).eval(), windows(16).requires_grad_()
    found = network(rows)
    (found * torch.randn(found.shape, generator=torch.Generator().manual_seed(4))).sum().backward()
    for name, weight in network.named_parameters():
        if weight.requires_grad and (weight.grad is None or not bool(weight.grad.abs().sum() > 0)):
            yield Fault(
                f"no gradient reaches {name}", subject.place(), "a layer that is made and not used, or a detach()"
            )
    if rows.grad is None or not bool((rows.grad.abs().sum(0) > 0).any()):
        yield Fault("the answer does not depend on the window", subject.place())


@check("saved and loaded", "extractor")
def saved_and_loaded(subject: Subject) -> Iterator[Fault]:
    """Its weights, written and read into a fresh network, give the same latents."""
    from mnqcore.agent.weights import read_weights, write_weights

    network, other, rows = built(subject).eval(), built(subject, seed=7).eval(), windows(6)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "weights.safetensors")
        write_weights(path, _own(network))
        other.load_state_dict(read_weights(path, _own(other)), strict=False)
    if off := differ(encoded(network, rows), encoded(other, rows), 1e-6):
        yield Fault(
            f"read back from a file it answers otherwise, by {off:.3g}",
            subject.place(),
            "a tensor that is neither Parameter nor buffer: register_buffer(...)",
        )


@check("series equals windows", "extractor")
def series_equals_windows(subject: Subject) -> Iterator[Fault]:
    """`encode_series`, where there is one, says of each bar what the window that ends with it says."""
    network = _with_series(subject)
    rows = series(_SERIES)
    found = _at_once(network, rows)
    each = rows.unfold(0, spec().lookback, 1).transpose(1, 2).contiguous()
    if off := differ(found, encoded(network, each)):
        yield Fault(f"encode_series differs from the windows one by one, by {off:.3g}", subject.place())


@check("series knows no future", "extractor")
def series_is_causal(subject: Subject) -> Iterator[Fault]:
    """What `encode_series` says of a bar does not change when later bars change."""
    network = _with_series(subject)
    rows, at = series(_SERIES), _SERIES // 2
    other = rows.clone()
    other[at:] = 3 * other[at:] + 1
    kept = at - spec().lookback + 1
    if off := differ(_at_once(network, rows)[:kept], _at_once(network, other)[:kept]):
        yield Fault(
            f"what encode_series says of a bar changes with later bars, by {off:.3g}",
            subject.place(),
            "a network that reads both ways, or a figure over the whole series",
        )


def _with_series(subject: Subject) -> Any:
    network = built(subject).eval()
    if not callable(getattr(network, "encode_series", None)):
        raise Inapplicable("it has no encode_series")
    return network


def _at_once(network: Any, rows: torch.Tensor) -> torch.Tensor:
    import torch

    with torch.no_grad():
        found: torch.Tensor = network.encode_series(rows)
    return found


def _without_dropout(network: Any) -> Any:
    """Return the network with the share that its dropout hides set to 0."""
    for module in network.modules():
        for name in ("p", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return network


def _own(network: Any) -> dict[str, Any]:
    return dict(network.state_dict())
