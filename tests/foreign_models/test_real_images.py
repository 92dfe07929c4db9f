"""Some of the foreign models on real images, 28 x 28 on 56 x 56, at all 841 placements."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import shiftscope
from shiftscope.placement import Placement

from . import checks, reference
from .models import REGISTRY

IMAGES = 2


@pytest.mark.parametrize("name", ["course_net", "residual_padded", "prior_in_place", "ends_in_relu"])
@pytest.mark.parametrize("engine", ["auto", "brute"])
def test_synthetic_garments(name, engine, fashion_mnist_dir):
    model = replace(REGISTRY[name], canvas=(56, 56), classes=5 if name == "prior_in_place" else 10)
    data = shiftscope.load_dataset("fashion-mnist", data_dir=fashion_mnist_dir)
    if model.classes < 10:
        data = fewer_classes(data, model.classes)
    images = data.test.gather(torch.arange(IMAGES)).numpy()
    every = reference.canvases(images, (56, 56), "canvas")
    wanted = checks.Expected(np.stack([checks.bare(model, one) for one in every]))
    place = Placement(image=(28, 28), canvas=(56, 56))
    found = shiftscope.audit(model.build(), data, placement=place, engine=engine, limit=IMAGES)
    assert found.placements == 841
    labels = found.predictions.astype(np.int64)
    checks.check_figures(found, wanted.labels, checks.compare(model, labels, wanted))


def fewer_classes(data, classes):
    """Return the images of the first classes only."""
    kept = (data.test.labels < classes).nonzero()[:, 0]
    images = shiftscope.data.base.TensorImages(data.test.gather(kept), data.test.labels[kept])
    return replace(data, class_names=data.class_names[:classes], train=images, test=images)
