"""Extractors: shapes, the same answer alone and in a batch, and the quick attention against the plain one."""

import subprocess
import sys
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from benchmarks.full_attention import FullAttention
from benchmarks.plain_gru import PlainGru
from mnqcore import ObservationSpec
from mnqcore.plugins import load
from mnqplugins.extractors._gru import LeanGru
from mnqplugins.extractors.attention import Attention
from mnqplugins.extractors.gru import Gru
from mnqplugins.extractors.lstm import Lstm

KINDS = [Lstm, Gru, Attention]
SIZES: list[dict[str, Any]] = [
    {"hidden": 8},
    {"hidden": 8, "layers": 2},
    {"hidden": 8, "layers": 1, "dropout": 0.5},
    {"hidden": 8, "layers": 3, "dropout": 0.2},
]
EVERY = [kind(**sizes) for kind in KINDS for sizes in SIZES] + [
    Attention(hidden=6, heads=3),
    Lstm(hidden=1),
    Gru(hidden=7),
]


def spec_of(lookback=12, n_features=5):
    return ObservationSpec(lookback=lookback, n_features=n_features, names=tuple(f"c{at}" for at in range(n_features)))


def built(extractor, spec=None, seed=0):
    torch.manual_seed(seed)
    return extractor.build(spec or spec_of())


def windows(batch, spec=None, seed=1):
    spec = spec or spec_of()
    return torch.randn(batch, spec.lookback, spec.n_features, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("extractor", EVERY, ids=repr)
@pytest.mark.parametrize("spec", [spec_of(), spec_of(1, 1), spec_of(7, 13)], ids=str)
def test_a_window_becomes_a_row_of_the_width_asked_for(extractor, spec):
    network = built(extractor, spec)

    latent = network(windows(3, spec))

    assert latent.shape == (3, extractor.hidden)
    assert latent.dtype == torch.float32
    assert torch.isfinite(latent).all()
    assert network(windows(3, spec)[:0]).shape == (0, extractor.hidden)


@pytest.mark.parametrize("extractor", EVERY, ids=repr)
def test_a_row_is_the_same_alone_and_in_any_batch(extractor):
    network, rows = built(extractor).eval(), windows(9)

    with torch.no_grad():
        together = network(rows)
        alone = torch.cat([network(rows[at : at + 1]) for at in range(9)])
        turned = network(rows.flip(0)).flip(0)

    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)
    torch.testing.assert_close(turned, together, rtol=0, atol=1e-5)


@pytest.mark.parametrize("extractor", EVERY, ids=repr)
def test_it_keeps_nothing_from_one_call_to_the_next(extractor):
    network, rows = built(extractor).eval(), windows(4)
    before, shown = {name: value.clone() for name, value in network.state_dict().items()}, rows.clone()

    with torch.no_grad():
        first = network(rows)
        network(windows(5, seed=9))
        again = network(rows)

    assert torch.equal(first, again)
    assert torch.equal(rows, shown)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("extractor", EVERY, ids=repr)
def test_every_parameter_learns_and_every_bar_and_column_counts(extractor):
    network, rows = built(extractor).eval(), windows(16).requires_grad_()

    (network(rows) * torch.randn(16, extractor.hidden)).sum().backward()

    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
    assert (rows.grad.abs().sum(dim=0) > 0).all()


@pytest.mark.parametrize("extractor", EVERY, ids=repr)
def test_dropout_acts_in_training_only(extractor):
    network, rows = built(extractor), windows(8)
    calm = network.eval()(rows)

    torch.manual_seed(5)
    first, second = network.train()(rows), network(rows)

    assert torch.equal(network.eval()(rows), calm)
    assert torch.equal(first, second) == (extractor.dropout == 0)
    assert torch.allclose(first, calm, rtol=0, atol=1e-6) == (extractor.dropout == 0)


@pytest.mark.parametrize("extractor", EVERY, ids=repr)
def test_weights_follow_from_the_seed_and_can_be_carried_over(extractor):
    one, same, other = built(extractor), built(extractor), built(extractor, seed=1)
    rows = windows(4)

    assert all(torch.equal(mine, yours) for mine, yours in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.eval()(rows), other.eval()(rows))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.eval()(rows), other.eval()(rows))


def test_recurrent_networks_are_those_of_torch():
    rows = windows(6)
    for extractor, reference in ((Lstm(hidden=8, layers=2), torch.nn.LSTM), (Gru(hidden=8, layers=2), torch.nn.GRU)):
        torch.manual_seed(0)
        plain = reference(5, 8, 2, batch_first=True)

        assert torch.equal(built(extractor).eval()(rows), plain(rows)[0][:, -1])
        torch.testing.assert_close(built(extractor)(rows), plain(rows)[0][:, -1], rtol=0, atol=1e-6)


# The gru that learns faster, and torch's


@hypothesis.given(
    seed=st.integers(0, 2**31),
    hidden=st.integers(1, 9),
    layers=st.integers(1, 3),
    dropout=st.sampled_from([0.0, 0.4]),
    lookback=st.integers(1, 30),
    n_features=st.integers(1, 9),
)
@hypothesis.settings(max_examples=40, deadline=None)
def test_a_gru_learns_as_that_of_torch(seed, hidden, layers, dropout, lookback, n_features):
    """Equal answers and slopes, of what goes in too; and equal draws of what is hidden."""
    spec = spec_of(lookback, n_features)
    rows, direction = windows(5, spec, seed).double(), torch.randn(5, hidden, dtype=torch.float64)
    found = []
    for kind in (Gru, PlainGru):
        network, given = built(kind(hidden=hidden, layers=layers, dropout=dropout), spec, seed).double(), rows.clone()
        torch.manual_seed(seed)
        answer = network(given.requires_grad_())
        (answer * direction).sum().backward()
        slopes = {name: weight.grad for name, weight in network.named_parameters()}
        found.append({"answer": answer, "rows": given.grad, **slopes})

    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


def test_a_gru_hands_back_slopes_of_every_bar():
    network: Any = LeanGru(3, 4, batch_first=True).double()
    rows = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda given: network(given)[0], (rows,))
    assert torch.autograd.gradcheck(lambda weight: _with(network, weight, rows), (network.weight_hh_l0,))


def _with(network, weight, rows):
    return torch.func.functional_call(network, {"weight_hh_l0": weight}, (rows,))[0]


# The quick attention and the plain one


def pair(seed=0, spec=None, double=False, **settings):
    """Return both forms with the weights of one seed."""
    quick, plain = (built(kind(**settings), spec, seed) for kind in (Attention, FullAttention))
    return (quick.double(), plain.double()) if double else (quick, plain)


def gradients(network, rows, direction):
    network.zero_grad()
    (network(rows) * direction).mean().backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def test_both_forms_have_the_same_weights_under_the_same_names():
    quick, plain = pair(layers=2)

    assert list(quick.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in quick.state_dict().items())


@hypothesis.given(
    seed=st.integers(0, 2**31),
    heads=st.integers(1, 4),
    width=st.integers(1, 9),
    layers=st.integers(1, 3),
    lookback=st.integers(1, 30),
    n_features=st.integers(1, 9),
)
@hypothesis.settings(max_examples=40, deadline=None)
def test_asking_for_the_last_bar_alone_is_exact(seed, heads, width, layers, lookback, n_features):
    spec = spec_of(lookback, n_features)
    quick, plain = pair(seed, spec, double=True, hidden=heads * width, heads=heads, layers=layers)
    rows, direction = windows(5, spec, seed).double(), torch.randn(5, heads * width, dtype=torch.float64)

    torch.testing.assert_close(quick(rows), plain(rows), rtol=1e-9, atol=1e-9)
    slopes = gradients(plain, rows, direction)
    for name, slope in gradients(quick, rows, direction).items():
        torch.testing.assert_close(slope, slopes[name], rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("layers", [1, 2])
def test_in_single_precision_the_forms_agree_within_a_millionth(layers):
    spec = spec_of(50, 20)
    quick, plain = pair(0, spec, layers=layers)
    rows, direction = windows(64, spec), torch.randn(64, 64)

    torch.testing.assert_close(quick(rows), plain(rows), rtol=0, atol=2e-6)
    slopes = gradients(plain, rows, direction)
    for name, slope in gradients(quick, rows, direction).items():
        torch.testing.assert_close(slope, slopes[name], rtol=0, atol=1e-6, msg=name)


def test_both_forms_learn_the_same():
    """A rounding error stays one over many steps: no kink in the network makes more of it."""
    spec = spec_of(20, 6)
    generator = torch.Generator().manual_seed(2)
    rows, wanted = windows(2048, spec), torch.randn(2048, 32, generator=generator)
    batches = torch.randint(2048, (120, 64), generator=generator)
    learnt = []
    for network in pair(3, spec, hidden=32):
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-4, eps=1e-5)
        for batch in batches:
            optimizer.zero_grad()
            (network(rows[batch]) - wanted[batch]).square().mean().backward()
            optimizer.step()
        learnt.append(torch.nn.utils.parameters_to_vector(network.parameters()).detach())

    assert (
        learnt[0] - torch.nn.utils.parameters_to_vector(built(Attention(hidden=32), spec, 3).parameters())
    ).norm() > 0.1
    torch.testing.assert_close(*learnt, rtol=0, atol=1e-6)


def test_a_layer_is_that_of_torch():
    """The plain form is the encoder layer of torch, its norms first and its queries, keys and values without a bias."""
    torch.manual_seed(0)
    layer: Any = Attention(hidden=8, heads=2).build(spec_of()).get_submodule("layers.0")
    reference: Any = torch.nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    inner = reference.self_attn
    with torch.no_grad():
        inner.in_proj_weight.copy_(torch.cat([layer.query.weight, layer.key.weight, layer.value.weight]))
        inner.in_proj_bias.zero_()
        for mine, theirs in (
            (layer.mix, inner.out_proj),
            (layer.before, reference.norm1),
            (layer.between, reference.norm2),
            (layer.wide, reference.linear1),
            (layer.narrow, reference.linear2),
        ):
            theirs.load_state_dict(mine.state_dict())
    bars = torch.randn(4, 12, 8)

    torch.testing.assert_close(layer(bars), reference(bars), rtol=0, atol=1e-6)
    torch.testing.assert_close(layer.last(bars), reference(bars)[:, -1], rtol=0, atol=1e-6)


# Settings, and what listing costs


def test_hidden_must_be_shared_evenly_by_the_heads():
    with pytest.raises(ValueError, match="hidden must be a multiple of heads, was 10 for 4 heads"):
        Attention(hidden=10)
    assert Attention(hidden=10, heads=5).hidden == 10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"layers": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_settings_out_of_range_are_refused(kind, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        kind(**wrong)


def test_the_built_in_extractors_are_those_tested_here_and_importing_them_is_light():
    found = [one for one in load(environ={"MNQ_LOAD_PLUGINS": ""}).registered if one.kind == "extractor"]
    code = "; ".join(f"import {one.load().__module__}" for one in found) + "; import sys; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert [one.load() for one in found] == KINDS
    assert {"torch", "numpy", "pandas"} & set(done.stdout.split()) == set()
