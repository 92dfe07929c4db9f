"""Audits of models that no placement can change: each image is computed once, and the plain model agrees."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.auditing import audit, engines
from shiftscope.auditing.engines import AuditInputs, InvariantModelEngine
from shiftscope.errors import ShiftscopeError
from shiftscope.layers import PhaseAverage, PlacementAverage, PolyphaseDownsample2d, Recenter
from shiftscope.placement import Placement

pytestmark = pytest.mark.slow

PLACE = Placement(image=(4, 6), canvas=(8, 12))  # 5 x 7 placements


def pictures(made, count=7):
    """Some bright, some dark."""
    noise = made.noise(count=count).test.gather(torch.arange(count))
    images = noise // (torch.arange(count) % 9 + 1).view(-1, 1, 1, 1)
    return made.dataset(images.to(torch.uint8), torch.arange(count) % 3)


def seeded(*layers):
    """A net with weights that give every class its share of pictures."""
    torch.manual_seed(0)
    model = nn.Sequential(*layers).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.8)
    with torch.no_grad():
        outputs = model(F.pad(torch.rand(64, 1, 4, 6) / torch.arange(1, 65).view(-1, 1, 1, 1), (3, 3, 2, 2)))
        model[-1].weight.div_(outputs.std(0)[:, None])
        model[-1].bias.sub_(outputs.mean(0)).div_(outputs.std(0))
    return model


def conv(inside, outside, **options):
    return nn.Conv2d(inside, outside, 3, padding=1, padding_mode="circular", **options)


def polyphase_net():
    return seeded(conv(1, 4), nn.ReLU(), PolyphaseDownsample2d(2), conv(4, 6), nn.ReLU(), nn.AdaptiveMaxPool2d(1),
                  nn.Flatten(), nn.Linear(6, 3))


def recentered_net():
    return seeded(Recenter((4, 6)), nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(24, 3))


def placement_average():
    return PlacementAverage(seeded(nn.Flatten(), nn.Linear(96, 5), nn.ReLU(), nn.Linear(5, 3))).eval()


def phase_average():
    return PhaseAverage(strided_net(), 2)


def strided_net():
    return seeded(conv(1, 4, stride=2), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3))


class Hiding(nn.Module):
    """Shows the proof another model than it is."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, pixels):
        features = torch.stack([pixels.mean((1, 2, 3)), pixels.amax((1, 2, 3)), pixels.square().mean((1, 2, 3))], 1)
        return features if torch.compiler.is_exporting() else features + self.weight * pixels[:, 0, 2, 3:4]


@pytest.mark.parametrize("build", [polyphase_net, recentered_net, placement_average, phase_average])
@pytest.mark.parametrize("mode", ["canvas", "circular"])
@pytest.mark.parametrize("engine", ["auto", "dense"])
def test_each_image_is_computed_once(build, mode, engine, made):
    place = Placement(image=(4, 6), canvas=(8, 12), mode=mode)
    data = pictures(made, 40)
    found = audit(build(), data, placement=place, engine=engine)
    truth = audit(build(), data, placement=place, engine="brute")
    assert found.engine == "dense" and f"none of the {place.count} placements can change" in found.reason
    assert (found.predictions == truth.predictions).all() and truth.engine == "brute"
    assert found.worst_case_accuracy == found.mean_accuracy == found.middle_accuracy
    assert (found.consistency, found.unanimity) == (1, 1)
    assert np.ptp(found.accuracy_map) == 0 and np.allclose(found.margins, truth.margins, atol=1e-5)
    assert np.ptp(found.shown_logits[:, 0].astype(float), axis=0).max() > 1e-2  # logits differ between images
    assert len(np.unique(found.predictions)) > 1 and found.self_check["placements"] == 256
    assert found.self_check["max_abs_logit_difference"] <= found.self_check["tolerance"]


def test_normalized_models_are_computed_once(made):
    found = audit(polyphase_net(), pictures(made), placement=PLACE, normalize=(0.3, 0.5))
    assert "none of the 35 placements" in found.reason and found.consistency == 1
    averaged = audit(placement_average(), pictures(made), placement=PLACE, preprocess=lambda pixels: pixels * 2 - 1)
    assert "PlacementAverage averages over shifts" in averaged.reason and averaged.engine == "dense"


def test_sampled_and_many_placements_are_computed_once(made):
    found = audit(polyphase_net(), pictures(made), placement=PLACE, sample=9)
    assert found.engine == "dense" and found.sampled and found.placements == 9 and found.consistency == 1
    many = Placement(image=(4, 6), canvas=(104, 100), mode="circular")
    all_of_them = audit(recentered_net(), pictures(made), placement=many)
    assert all_of_them.placements == 10_400 and not all_of_them.sampled and all_of_them.unanimity == 1


@pytest.mark.parametrize("place", [Placement(image=(4, 6), canvas=(8, 12)),
                                   Placement(image=(4, 6), canvas=(8, 12), background=90)])
def test_models_without_a_proof_are_audited_at_all_placements(place, made):
    found = audit(strided_net(), pictures(made), placement=place)
    assert "none of the" not in found.reason and np.ptp(found.shown_logits.astype(float), axis=1).max() > 1e-2
    truth = audit(strided_net(), pictures(made), placement=place, engine="brute")
    assert (found.predictions == truth.predictions).all()


def test_the_reason_names_the_layer_at_which_the_proof_fails(made):
    model = seeded(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), PolyphaseDownsample2d(2), nn.AdaptiveMaxPool2d(1),
                   nn.Flatten(), nn.Linear(4, 3))
    for engine in ("auto", "dense"):
        found = audit(model, pictures(made), placement=PLACE, engine=engine)
        assert "0 is not proven to be translation-invariant: its padding depends" in found.reason, found.reason
    nothing_to_share = seeded(PolyphaseDownsample2d(2), *list(model)[:2], *list(model)[3:])
    with pytest.raises(ShiftscopeError, match="engine 'dense' is not possible: .*translation-invariant"):
        audit(nothing_to_share, pictures(made), placement=PLACE, engine="dense")


def test_the_sample_finds_an_incorrect_proof(made):
    """A model that hides an operation from the graph is given to brute force."""
    found = audit(Hiding(0.3), pictures(made), placement=PLACE)
    truth = audit(Hiding(0.3), pictures(made), placement=PLACE, engine="brute")
    assert found.engine == "brute" and "the model is proven to be invariant, but the outputs" in found.reason
    assert (found.predictions == truth.predictions).all() and np.allclose(found.margins, truth.margins)
    assert np.ptp(found.shown_logits.astype(float), axis=1).max() > 1e-2
    assert audit(Hiding(0.0), pictures(made), placement=PLACE).engine == "dense"


def test_nondeterministic_models_are_not_proven(made):
    class Random(nn.Module):
        def forward(self, pixels):
            noise = 0 if torch.compiler.is_exporting() else torch.rand(len(pixels), 3)
            return F.pad(pixels.mean((2, 3)), (0, 2)) + noise

    found = audit(Random(), pictures(made), placement=PLACE)
    assert found.engine == "brute" and "when called twice" in found.reason


def test_an_error_in_the_proof_is_noted(made, monkeypatch):
    def broken(*arguments):
        raise KeyError("stride")

    monkeypatch.setattr("shiftscope.auditing.engines.prove_invariance", broken)
    found = audit(made.SmallNet((8, 12)), pictures(made), placement=PLACE, engine="dense")
    assert found.engine == "dense" and "requested" in found.reason
    monkeypatch.setattr(engines, "build_engine", broken)
    found = audit(polyphase_net(), pictures(made), placement=PLACE)
    assert "the proof of invariance raised KeyError: 'stride'" in found.reason


def test_the_logits_of_a_batch_are_in_memory_once(made):
    data = made.noise(count=5)
    subject = AuditInputs(model=polyphase_net(), images=data.test, placement=PLACE, offsets=PLACE.offsets(),
                      sampled=False, seed=0, memory=2**20)
    engine = InvariantModelEngine(subject)
    found = engine.logits(data.test.gather(torch.arange(5)))
    assert found.shape == (5, 35, 3) and found.stride()[1] == 0 and engine.images_per_call >= 5
    assert (found[0, 0] - found[1, 0]).abs().max() > 1e-2
    hungry = InvariantModelEngine(AuditInputs(**{**vars(subject), "memory": 8 * 35 * 12 * 3}))
    assert hungry.images_per_call <= 3
