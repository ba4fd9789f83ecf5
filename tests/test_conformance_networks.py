"""The conformance kit on networks and learners that are wrong in one way each, and on right ones."""

import pytest
import torch

from mnqcore.testing.subject import of_class
from mnqcore.testing.verdict import report
from tests import bad_networks as bad
from tests.test_conformance import SLOW, accused

BAD = [
    (bad.MixesTheBatch, {"batch apart"}, "a norm, a mean or a softmax over the batch"),
    (bad.BatchNorm, {"one network in both modes"}, "LayerNorm is the same in both modes"),
    (bad.Noisy, {"pure in evaluation"}, "dropout by function without training=self.training"),
    (bad.Remembers, {"pure in evaluation"}, "a memory kept from call to call"),
    (bad.DeadLayer, {"every parameter learns"}, "no gradient reaches unused"),
    (bad.Detached, {"every parameter learns"}, "a detach()"),
    (bad.Unsaved, {"saved and loaded"}, "register_buffer"),
    (bad.KeepsTheWindow, {"contract"}, "return (batch, latent) in float32"),
    (bad.FixedBatch, {"contract"}, "raised RuntimeError"),
    (bad.OtherSeries, {"series equals windows"}, "encode_series differs from the windows"),
    (bad.LooksBeyond, {"series equals windows", "series knows no future"}, "changes with later bars"),
    (bad.WritesWindows, {"pure in evaluation"}, "it writes to the windows"),
]
LEARNERS = [
    (bad.Idle, set(), ""),
    (bad.OutOfRange, {"learns and acts"}, "0 HOLD, 1 BUY"),
    (bad.Column, {"learns and acts"}, "return int64 of shape (n,)"),
    (bad.Draws, {"acts the same"}, "act on what it prefers"),
    (bad.MixesRows, {"acts the same"}, "depends on the rows beside it"),
    (bad.Pickles, {"saved and loaded"}, "a pickle runs code"),
    (bad.SavesNothing, {"saved and loaded"}, "save all that act() reads"),
    (bad.Unseeded, {"trained twice"}, "seed all that is drawn"),
]


def results(kind, cls):
    return {result.check: result for result in report(of_class(kind, cls), leave=SLOW).results}


def text_of(found):
    return "\n".join(str(fault) for result in found.values() for fault in result.faults)


def test_a_right_network_is_not_accused():
    found = results("extractor", bad.LastTwo)

    assert accused(found) == {}
    assert {"series equals windows", "batch apart", "saved and loaded"} <= found.keys()


@pytest.mark.parametrize(("cls", "wanted", "text"), BAD, ids=lambda value: getattr(value, "__name__", ""))
def test_a_wrong_network_is_caught(cls, wanted, text):
    found = accused(results("extractor", cls))

    assert wanted <= set(found) <= wanted | {"series equals windows"}, text_of(found)
    assert text in text_of(found)


@pytest.mark.parametrize(("cls", "wanted", "text"), LEARNERS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_learner_is_told_what_is_wrong_with_it(cls, wanted, text):
    found = accused(results("agent", cls))

    assert set(found) == wanted, text_of(found)
    assert text in text_of(found)


def test_the_generator_of_torch_is_left_as_it_was():
    before = torch.get_rng_state()

    report(of_class("extractor", bad.LastTwo), leave=SLOW)

    assert torch.equal(before, torch.get_rng_state())
