"""Where a plausible wrong number would hide: one image, one placement, many classes, habits of models."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.auditing import audit
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.placement import Placement
from shiftscope.results import Audit

PLACE = Placement(image=(4, 6), canvas=(9, 14), background=90)
ENGINES = pytest.mark.parametrize("engine", ["auto", "brute"])


def by_loop(model, data, place):
    """Labels (N, P), one placement of one image at a time."""
    images = data.test.gather(torch.arange(len(data.test)))
    with torch.no_grad():
        return np.array([[int(model(place.place(image[None], offset[None]).double() / 255).argmax())
                          for offset in place.offsets()] for image in images])


def many(classes, labels):
    images = torch.randint(0, 256, (len(labels), 1, 4, 6), dtype=torch.uint8,
                           generator=torch.Generator().manual_seed(1))
    both = TensorImages(images, torch.tensor(labels))
    return Dataset(name="made", class_names=tuple(map(str, range(classes))), train=both, test=both, source="-",
                   license="-")


def zero_sum(rows, columns, seed):
    """Weights that an even canvas does not excite, so that answers depend on the picture."""
    weights = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return weights - weights.mean(1, keepdim=True)


def last_class_leads(classes):
    """Answers the last class or the first, by the picture; never the same number in eight bits."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(9 * 14, classes)).double().eval()
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].weight[-1] = zero_sum(1, 9 * 14, seed=0)
        model[1].bias[:] = -100
        model[1].bias[[0, -1]] = 0
    return model


@ENGINES
@pytest.mark.parametrize("classes", [255, 256, 257, 300])
def test_more_than_256_classes(classes, engine, tmp_path):
    data, model = many(classes, [classes - 1, 0, classes - 1]), last_class_leads(classes)
    found = audit(model, data, placement=PLACE, engine=engine)
    expected = by_loop(model, data, PLACE)
    assert set(np.unique(expected)) == {0, classes - 1}
    assert (found.predictions == expected).all() and found.nonfinite == 0
    assert found.mean_accuracy == (expected == data.test.labels.numpy()[:, None]).mean()
    assert found.per_class[1] is None and np.isnan(found.class_maps[1]).all()  # a class without images
    found.save(tmp_path)
    assert (Audit.load(tmp_path).predictions == expected).all()


@ENGINES
@pytest.mark.parametrize("mode", ["canvas", "crop", "circular", "fill"])
def test_one_image_at_one_placement(mode, engine, made):
    place = Placement(image=(9, 14), canvas=(9, 14), mode=mode, max_shift=0)
    data = made.noise(count=1, shape=(1, 9, 14))
    found = audit(made.SmallNet(), data, placement=place, engine=engine)
    right = float(by_loop(made.SmallNet(), data, place)[0, 0] == data.test.labels[0])
    assert found.placements == found.images == 1 and found.accuracy_map.shape == (1, 1)
    assert found.mean_accuracy == found.worst_case_accuracy == found.middle_accuracy == right
    assert found.consistency == found.unanimity == 1.0


class Habits(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.fc, self.line = nn.Linear(4 * 4 * 7, 3), nn.Linear(9 * 14, 3)
        self.register_buffer("kept", torch.zeros(2000, 3))
        with torch.no_grad():
            self.conv.weight.copy_(torch.randn(4, 1, 3, 3, generator=generator))
            self.conv.bias.fill_(0.1)
            for head in (self.fc, self.line):
                head.weight.copy_(zero_sum(*head.weight.shape, seed=3))
                head.bias.zero_()
        self.norm.running_mean.fill_(0.3)
        self.double().eval()


class InPlace(Habits):
    def forward(self, pixels):
        return self.line(pixels.sub_(0.5).mul_(3).flatten(1))


class Buffer(Habits):
    def forward(self, pixels):
        return self.kept[:len(pixels)].copy_(self.line(pixels.flatten(1)))


class PoolView(Habits):
    def forward(self, pixels):
        return self.fc(F.max_pool2d(self.conv(pixels), 2).view(-1, 112))


class SoftmaxWithin(Habits):
    def forward(self, pixels):
        return self.fc(F.max_pool2d(self.conv(pixels).softmax(1), 2).flatten(1))


class SoftmaxBeside(Habits):
    def forward(self, pixels):
        answer = F.log_softmax(self.line(pixels.flatten(1)), 1)
        self.unsure = F.softmax(-answer, 1)
        return answer


class TrainedMode(Habits):
    def forward(self, pixels):
        return self.fc(F.max_pool2d(self.norm(self.conv(pixels)), 2).flatten(1))


@ENGINES
@pytest.mark.parametrize("kind", [InPlace, Buffer, PoolView, SoftmaxWithin, SoftmaxBeside, TrainedMode])
def test_unusual_models(kind, engine, made, monkeypatch):
    monkeypatch.setattr("shiftscope.evaluation.brute.CHUNK", {"cpu": (7, 7), "gpu": (7, 7)})
    data, model = made.noise(), kind()
    if kind is TrainedMode:
        model.train()
    state = {name: value.clone() for name, value in model.state_dict().items() if name != "kept"}
    found = audit(model, data, placement=PLACE, engine=engine)
    assert model.training == (kind is TrainedMode)
    assert all(value.equal(state[name]) for name, value in model.state_dict().items() if name != "kept")
    expected = by_loop(kind(), data, PLACE)
    assert (found.predictions == expected).all() and len(np.unique(expected)) > 1
    assert found.self_check["max_abs_logit_difference"] < 1e-9
