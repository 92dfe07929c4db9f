"""Each foreign model in every engine and mode: all predictions must equal those of the independent reference."""

import re
from dataclasses import replace
from functools import cache
from importlib import import_module

import numpy as np
import pytest

import shiftscope
from shiftscope.errors import ShiftscopeError

from . import checks
from .models import REGISTRY

pytestmark = pytest.mark.slow

DOUBTS = re.compile("random numbers|between calls|of a batch|another batch|does not always")
"""Notes only for models whose output is not a function of the image."""

NOT_IN_BATCHES = "its operations do not run in other batch|mixes the images of a batch"
"""Reasons for which the operations after the shared ones cannot run on many placements at a time."""


@pytest.fixture(scope="module", autouse=True)
def kept_exports():
    """Call torch.export once per model, because it takes longer than everything else."""
    module, kept = import_module("shiftscope.graph.trace"), []
    original = module.export

    def export(model, shape, **options):
        key = (id(model), shape, options)
        if key not in [known for known, *_ in kept]:
            try:
                kept[:] = [*kept[-3:], (key, model, original(model, shape, **options))]
            except ShiftscopeError as refusal:
                kept[:] = [*kept[-3:], (key, model, refusal)]
        found = next(found for known, _, found in kept if known == key)
        if isinstance(found, ShiftscopeError):
            raise found
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "export", export)
        yield


@pytest.fixture(scope="module", params=REGISTRY)
def model(request):
    yield REGISTRY[request.param]
    for kept in (checks.subject, checks.placed_images, checks.expected, built):
        kept.cache_clear()


@pytest.fixture(params=checks.MODES)
def mode(request):
    return request.param


@cache
def built(model):
    """Return the model that all engines share."""
    return model.build()


def subject_of(model):
    """Return the model to audit: one that records batches if the output depends on them."""
    return built(model) if model.kind == "plain" else checks.Recorder(built(model))


def by_audit(model, mode, engine):
    """Return an audit after a comparison of its labels and metrics with the reference."""
    subject = subject_of(model) if engine != "dense" else built(model)
    found, labels = checks.audited(model, subject, mode, engine)
    wanted = checks.expected(model, mode)
    if model.kind != "plain":
        every = checks.placed_images(model, mode)
        wanted = checks.on_the_same_batches(model, subject, every.reshape(-1, *every.shape[2:]))
        wanted = checks.Expected(wanted.outputs.reshape(*labels.shape, -1))
    checks.check_figures(found, wanted.labels, checks.compare(model, labels, wanted))
    return found, wanted


def test_brute_force(model, mode):
    found, wanted = by_audit(model, mode, "brute")
    assert found.engine == "brute"
    if model.exact:
        assert found.exact_ties == wanted.exact_ties


def test_dense_engine(model, mode):
    why = model.refusal(mode)
    try:
        found, _ = by_audit(model, mode, "dense")
    except ShiftscopeError as refusal:
        assert why and re.search(f"{why.strip('?')}|{NOT_IN_BATCHES}", str(refusal)), refusal
        assert "engine 'dense' is not possible" in str(refusal)
    else:  # its predictions equal those of the reference
        assert found.engine == "dense" and model.kind == "plain"


def test_automatic_choice(model, mode):
    found, _ = by_audit(model, mode, "auto")
    doubts = [note for note in found.notes if DOUBTS.search(note)]
    assert bool(doubts) == (model.kind != "plain"), found.notes
    why = model.refusal(mode)
    if why and why[0] != "?" and found.engine == "brute":
        assert re.search(f"{why}|{NOT_IN_BATCHES}|is slower for this model", found.reason), found.reason


def test_evaluate(model, mode):
    (data, placement), subject = checks.subject(model, mode), subject_of(model)
    found = shiftscope.evaluate(subject, data, placement=placement)
    offsets, images = list(map(tuple, placement.offsets().tolist())), np.arange(len(data.test))
    for labels, where in ((found.predictions, list(map(tuple, found.offsets.tolist()))),
                          (found.predictions_centered, [placement.middle] * len(images))):
        index = images, [offsets.index(one) for one in where]
        wanted = (checks.expected(model, mode).at(index) if model.kind == "plain" else
                  checks.on_the_same_batches(model, subject, checks.placed_images(model, mode)[index]))
        checks.compare(replace(model, near=1.0), labels, wanted)


def test_the_comparison_is_not_trivial(model):
    """More than one class is predicted, and labels differ between images or placements."""
    labels = np.concatenate([checks.expected(model, mode).labels.ravel() for mode in checks.MODES])
    assert (len(set(labels.tolist()) - {-1}) > 1) == model.varies, np.unique(labels, return_counts=True)
