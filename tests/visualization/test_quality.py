import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from shiftscope.data import Dataset
from shiftscope.data.base import TensorImages
from shiftscope.errors import UsageError
from shiftscope.models import TwoFullNet
from shiftscope.placement import Placement
from shiftscope.results import Quality, Synthesis
from shiftscope.settings import SynthesisSettings
from shiftscope.visualization import visualize
from shiftscope.visualization.neighbors import find_neighbors
from shiftscope.visualization.quality import mean_correlation, measure_quality, same_settings
from shiftscope.visualization.synthesis import judge_images

FEW = SynthesisSettings(steps=4)
NAMES = ("a", "b", "c")


class Rows(nn.Module):
    """Neuron r is the sum of row r minus 0.5, the last one is dead. Class k is neuron k."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4 * 6, 4)
        self.head = nn.Linear(4, 3, bias=False)
        with torch.no_grad():
            self.fc.weight.zero_()
            for row in range(3):
                self.fc.weight[row, 6 * row:6 * row + 6] = 1.0
            self.fc.bias.fill_(-0.5)
            self.head.weight.copy_(torch.eye(3, 4))

    def forward(self, x):
        return self.head(self.fc(x.flatten(1)).relu()).log_softmax(1)


def synthesis(units: list[str], images: np.ndarray, activations: list[float], objective: str) -> Synthesis:
    count = len(units)
    return Synthesis(model="rows", objective=objective, units=units, class_names=list(NAMES), start="black",
                     settings=FEW.to_dict(), seconds=6.0, device="cpu", notes=[], images=images.astype(np.float32),
                     activations=np.array(activations, np.float32), activations_start=np.zeros(count, np.float32),
                     predictions=np.zeros(count, int), confidence=np.ones(count, np.float32))


def neurons() -> Synthesis:
    """Images of neurons 0 and 1: row 0 at 0.5; row 1 at 1 and row 2 at 0.5."""
    images = np.zeros((2, 1, 4, 6))
    images[0, 0, 0] = 0.5
    images[1, 0, 1], images[1, 0, 2] = 1.0, 0.5
    return synthesis(["fc:0", "fc:1"], images, [2.5, 5.5], "fc:0-1")


def real() -> Dataset:
    """One white image of 2 x 3, which covers at most half a row."""
    part = TensorImages(torch.full((1, 1, 2, 3), 255, dtype=torch.uint8), torch.tensor([0]))
    return Dataset(name="white", class_names=NAMES, train=part, test=part, source="-", license="-")


def test_metrics_match_manual_computation():
    model = Rows()
    near = find_neighbors(model, ["fc:0-1"], real(), placement=Placement(image=(2, 3), canvas=(4, 6)))[0]
    result = measure_quality(model, neurons(), neighbors=near, shift=1)
    np.testing.assert_allclose(result.over_best, [1.0, 2.2])  # the real image gives 3 - 0.5
    assert result.exceeds_real == 0.5 and result.seconds_per_unit == 3.0
    np.testing.assert_allclose(result.selectivity, [1.0, 5.5 / (5.5 + 2.5)])
    # horizontal rolls change nothing, vertical ones leave row 0 dark: 2 of 8 shifts give 2.5, six give -0.5;
    # row 1 gets the row at 0.5 when rolled up, else zeros
    np.testing.assert_allclose(result.placement_stability, [
        (2 * 2.5 - 6 * 0.5) / 8 / 2.5, (2 * 5.5 + 3 * 2.5 - 3 * 0.5) / 8 / 5.5], rtol=1e-5)
    assert result.dead == 0.25 and result.dead_units == [3] and result.pictures == near.words
    assert result.judge is None and result.transfer is None and np.isnan(result.seed_stability).all()


class Always(nn.Module):
    """Always predicts class 1."""

    def __init__(self, classes: int = 3):
        super().__init__()
        self.classes = classes

    def forward(self, x):
        return nn.functional.one_hot(torch.ones(len(x), dtype=torch.int64), self.classes).to(x)


def classes() -> Synthesis:
    images = np.zeros((3, 1, 4, 6))
    for row in range(3):
        images[row, 0, row] = 1.0
    return synthesis(["class:a", "class:b", "class:c"], images, [5.5] * 3, "class:all")


def test_transfer_of_a_constant_judge():
    result = measure_quality(Rows(), classes(), judge=Always(), judge_name="stubborn")
    assert result.transfer == pytest.approx(1 / 3) and result.judged.tolist() == [1, 1, 1]
    assert result.judged_correct.tolist() == [False, True, False] and result.judge == "stubborn"
    itself = measure_quality(Rows(), classes(), judge=Rows())
    assert itself.transfer == 1.0 and itself.judge == "Rows" and itself.dead is None and itself.exceeds_real is None
    np.testing.assert_allclose(itself.selectivity, np.exp(5.5) / (np.exp(5.5) + 2), rtol=1e-5)
    neither = measure_quality(Rows(), neurons(), judge=Always())
    assert neither.transfer is None and neither.judged.tolist() == [-1, -1]


def test_invalid_judges_are_rejected():
    with pytest.raises(UsageError, match=r"the judge Always must have the same 3 classes .* shape \(3, 5\)"):
        measure_quality(Rows(), classes(), judge=Always(5))
    other = TwoFullNet(4, canvas=(9, 9), classes=3)
    with pytest.raises(UsageError, match="the judge TwoFullNet failed for images of 1 x 4 x 6 .*; choose a judge"):
        measure_quality(Rows(), classes(), judge=other)
    assert judge_images(Always(), np.zeros((600, 1, 4, 6), np.float32), 3).shape == (600,)


def test_seed_stability_matches_numpy():
    model = TwoFullNet(5, canvas=(6, 8), classes=3)
    made = visualize(model, "class:all", settings=FEW, class_names=NAMES)
    result = measure_quality(model, made, seeds=3)
    again = [visualize(model, "class:all", start="random", settings=replace(FEW, seed=seed), class_names=NAMES).images
             for seed in range(3)]
    expected = [np.mean([np.corrcoef(again[one][unit].ravel(), again[other][unit].ravel())[0, 1]
                         for one, other in ((0, 1), (0, 2), (1, 2))]) for unit in range(3)]
    np.testing.assert_allclose(result.seed_stability, expected, rtol=1e-4)
    assert result.seeds == 3 and same_settings(made, 7).seed == 7


def test_constant_images_have_no_correlation():
    flat, other = np.ones((1, 4)), np.arange(4.0)[None]
    assert np.isnan(mean_correlation([flat, other], 1)).all() and np.isnan(mean_correlation([], 1)).all()


def test_selectivity_is_nan_for_sums_and_dead_units():
    silent = synthesis(["fc:3"], np.zeros((1, 1, 4, 6)), [-0.5], "fc:3")
    near = find_neighbors(Rows(), ["fc:3"], real(), placement=Placement(image=(2, 3), canvas=(4, 6)))[0]
    result = measure_quality(Rows(), silent, neighbors=near)
    assert np.isnan([result.over_best, result.selectivity, result.placement_stability]).all()
    assert result.means() == dict.fromkeys(result.means()) and result.exceeds_real == 0.0
    both = synthesis(["fc:0 - fc:1"], neurons().images[:1], [3.0], "fc:0 - fc:1")
    assert np.isnan(measure_quality(Rows(), both).selectivity).all()


def test_quality_can_be_saved_and_loaded(tmp_path):
    result = measure_quality(Rows(), classes(), judge=Always())
    result.save(tmp_path)
    again = Quality.load(tmp_path)
    assert again.to_dict() == result.to_dict() and again.judged_correct.tolist() == result.judged_correct.tolist()
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["transfer"] == result.transfer and plain["kind"] == "quality"
    assert result.summary()["means"]["selectivity"] == pytest.approx(float(result.selectivity.mean()))


@pytest.mark.parametrize("given, message", [
    ({"seeds": 1}, "seeds must be 0 or at least 2"),
    ({"shift": 0}, "shift must be an integer of at least 1, got 0")])
def test_invalid_arguments_are_rejected(given, message):
    with pytest.raises(UsageError, match=message):
        measure_quality(Rows(), neurons(), **given)


def test_neighbors_of_other_units_are_rejected():
    near = find_neighbors(Rows(), ["fc:0-2"], real(), placement=Placement(image=(2, 3), canvas=(4, 6)))[0]
    with pytest.raises(UsageError, match="the neighbors belong to fc:0-2, the images to fc:0-1"):
        measure_quality(Rows(), neurons(), neighbors=near)


def test_model_state_is_restored_after_errors():
    model, judge = Rows().train(), TwoFullNet(4, canvas=(9, 9), classes=3).train()
    with pytest.raises(UsageError):
        measure_quality(model, classes(), judge=judge)
    for one in (model, judge):
        assert one.training and all(p.requires_grad for p in one.parameters())
        assert not any(module._forward_hooks for module in one.modules())
