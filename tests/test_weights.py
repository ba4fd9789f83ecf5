"""Weights on disk: they come back to the bit, and nothing else is read as such."""

import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnqcore.agent.weights import read_weights, write_weights
from mnqcore.errors import DataError


def table(**weights):
    return {name: torch.as_tensor(value) for name, value in weights.items()}


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=12),
        st.tuples(
            st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]),
            st.lists(st.integers(0, 4), max_size=3),
        ),
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_weights_come_back(tmp_path_factory, shapes):
    path = tmp_path_factory.mktemp("w") / "policy.safetensors"
    weights = {name: (torch.rand(shape) * 9).to(dtype) for name, (dtype, shape) in shapes.items()}

    write_weights(path, weights)
    first = path.read_bytes()
    again = read_weights(path, weights)
    write_weights(path, dict(reversed(again.items())))

    assert again.keys() == weights.keys()
    for name, weight in weights.items():
        assert again[name].dtype == weight.dtype
        assert torch.equal(again[name], weight)
    assert path.read_bytes() == first


def test_weights_that_share_memory(tmp_path):
    one = torch.arange(6.0).reshape(2, 3)
    write_weights(tmp_path / "w", {"a": one, "b": one.T, "c": one[1]})

    again = read_weights(tmp_path / "w", {"a": one, "b": one.T, "c": one[1]})

    assert torch.equal(again["b"], one.T)


@pytest.mark.parametrize(
    ("written", "named"),
    [
        (table(a=[1.0, 2.0]), "it lacks b"),
        (table(a=[1.0, 2.0], b=[[1]], c=[1.0]), "nothing takes its c"),
        (table(a=[1.0], b=[[1]]), r"a is F32 [1], not F32 [2]"),
        (table(a=[[1.0, 2.0]], b=[[1]]), r"a is F32 [1, 2], not F32 [2]"),
        (table(a=[1, 2], b=[[1]]), r"a is I64 [2], not F32 [2]"),
        (table(a=[1.0, 2.0], b=[[1.0]]), r"b is F32 [1, 1], not I64 [1, 1]"),
        (table(x=[1.0], y=[1.0], z=[1.0]), "and 2 more"),
    ],
)
def test_other_weights_are_named(written, named, tmp_path):
    write_weights(tmp_path / "w.safetensors", written)

    with pytest.raises(DataError, match="holds no weights for this model") as caught:
        read_weights(tmp_path / "w.safetensors", table(a=[0.0, 0.0], b=[[0]]))
    assert named in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_neither_written_nor_read(value, tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(DataError, match="NaN or infinite"):
        write_weights(path, table(a=[1.0, value]))
    assert not path.exists()
    write_weights(path, table(a=[1.0, 2.0]))
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + struct.pack("<f", value))

    with pytest.raises(DataError, match="NaN or infinite"):
        read_weights(path, table(a=[0.0, 0.0]))


def test_a_file_too_large_is_not_read(tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, table(a=[1.0, 2.0]))
    with path.open("r+b") as file:
        file.truncate(2**40)  # sparse

    with pytest.raises(DataError, match=f"{2**40} bytes, where the network at hand needs"):
        read_weights(path, table(a=[0.0, 0.0]))


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**62, 2**64 - 1])
def test_a_header_that_claims_any_length(length, tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, table(a=[1.0, 2.0]))
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])

    with pytest.raises(DataError, match="no weights for this model"):
        read_weights(path, table(a=[0.0, 0.0]))


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_garbage_is_refused_as_such(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "garbage.safetensors"
    for header in (b"", struct.pack("<Q", max(len(content) - 8, 0)), struct.pack("<Q", 2)):
        path.write_bytes(header + content)
        with pytest.raises(DataError):
            read_weights(path, table(a=[0.0, 0.0]))


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_a_damaged_file_is_read_or_refused_but_never_crashes(tmp_path_factory, damage):
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    write_weights(path, table(a=[1.0, 2.0], b=[[1]]))
    content = bytearray(path.read_bytes())
    for place, change in damage:
        content[place % len(content)] ^= change
    path.write_bytes(content)

    try:
        weights = read_weights(path, table(a=[0.0, 0.0], b=[[0]]))
    except DataError:
        return
    assert {name: weight.shape for name, weight in weights.items()} == {"a": (2,), "b": (1, 1)}


@pytest.mark.parametrize(
    "header",
    ['{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": {"dtype": "F32"}}',
     '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
     '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}',
     '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}',
     '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 99999999999]}}',
     '{"a": {"dtype": "F32", "shape": [2]}}',
     '{"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}',
     '{"a": [1]}', '[]', '{"__metadata__": {}, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'],
)  # fmt: skip
def test_a_header_that_lies(header, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(8))

    with pytest.raises(DataError):
        read_weights(path, table(a=[0.0, 0.0]))
