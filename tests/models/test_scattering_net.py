import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.dense import NotInvariant, prove_invariance
from shiftscope.errors import UsageError
from shiftscope.layers import Scattering2d
from shiftscope.models import ScatteringFull, ScatteringLinear, build_model, count_parameters, load, save
from shiftscope.models.scattering_net import ScatteringFeatures
from shiftscope.placement import Placement, texture

MODELS = [ScatteringLinear, ScatteringFull]
PLACE = Placement(image=(28, 28), canvas=(56, 56))


def images(count, seed=0, size=(28, 28), channels=1):
    """Noise of several scales and brightnesses, so that the images differ in more than position."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 4, generator=generator)
    noise = torch.rand(count, channels, *size, generator=generator)
    share = torch.linspace(0, 1, count).view(-1, 1, 1, 1)
    mixed = share * F.interpolate(coarse, size, mode="bilinear") + (1 - share) * noise
    return (mixed * 255).to(torch.uint8)


def after_one_batch(model, place=PLACE):
    """The model after one training batch, in float64 and eval mode."""
    model.double().train()
    model.forward_placed(images(20, size=place.image, channels=model.input_shape[0]), place.centered(20), place)
    return model.eval()


@pytest.mark.parametrize("model, parameters", [
    (ScatteringLinear(), 391 * 10 + 10), (ScatteringFull(), 391 * 100 + 100 + 1010),
    (ScatteringFull(N=7), 391 * 7 + 87), (ScatteringLinear(scales=2, angles=3, channels=3), 3 * 16 * 10 + 10),
])
def test_parameter_counts(model, parameters):
    assert count_parameters(model) == parameters


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("canvas, channels, classes", [((64, 64), 3, 9), ((40, 57), 2, 4), ((9, 12), 1, 3)])
def test_other_canvases_channels_and_classes(cls, canvas, channels, classes):
    outputs = cls(canvas=canvas, channels=channels, classes=classes)(torch.rand(3, channels, *canvas))
    assert outputs.shape == (3, classes)
    torch.testing.assert_close(outputs.exp().sum(1), torch.ones(3))  # log-probabilities


@pytest.mark.parametrize("cls, mode", [(ScatteringLinear, "canvas"), (ScatteringFull, "canvas"),
                                       (ScatteringFull, "circular")])
def test_outputs_before_training_are_equal_at_all_placements(cls, mode):
    place = Placement(image=(28, 28), canvas=(56, 56), mode=mode, background=30, step=1 if mode == "canvas" else 3)
    torch.manual_seed(0)
    model = after_one_batch(cls(scales=3, angles=2), place)
    pictures = images(3)
    with torch.no_grad():
        first = model(place.place(pictures, place.centered(3)).double() / 255)
        assert (first[0] - first[1]).abs().max() > 1e-2 and (first[0] - first[2]).abs().max() > 1e-2
        for picture, expected in zip(pictures, first, strict=True):
            for offsets in place.offsets().split(290):
                laid = place.place(picture[None].expand(len(offsets), -1, -1, -1), offsets)
                assert (model(laid.double() / 255) - expected).abs().max() < 1e-9


@pytest.mark.parametrize("cls", MODELS)
def test_proved_invariant_but_not_in_mode_crop_or_on_a_texture(cls):
    assert prove_invariance(cls(), PLACE, (1, 28, 28)).moving == 2  # normalized pixels, and the pixels
    crop = Placement(image=(60, 60), canvas=(56, 56), mode="crop")
    model = cls(scales=2, angles=2).eval()
    picture = images(1, size=(60, 60))
    with torch.no_grad():
        corners = model(crop.place(picture.expand(2, 1, 60, 60), torch.tensor([[0, 0], [4, 4]])) / 255)
    assert (corners[0] - corners[1]).abs().max() > 1e-5  # not invariant in mode crop


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("mode", ["canvas", "circular"])
def test_training_places_images_in_the_middle_with_equal_results(cls, mode):
    place = Placement(image=(28, 28), canvas=(56, 56), mode=mode, background=12)
    torch.manual_seed(0)
    model = cls(scales=3, angles=2).double().train()
    pictures, offsets = images(12), place.sample(torch.arange(12), seed=0)
    short = model.forward_placed(pictures, offsets, place)
    kept = model.features.standardize.mean.clone()
    torch.manual_seed(0)
    other = cls(scales=3, angles=2).double().train()
    whole = other(place.place(pictures, offsets).double() / 255)
    torch.testing.assert_close(short, whole, rtol=0, atol=1e-9)
    torch.testing.assert_close(kept, other.features.standardize.mean, rtol=0, atol=1e-12)
    assert (short[0] - short[1]).abs().max() > 1e-2
    assert model.eval().forward_placed(pictures, offsets, place) is None  # evaluated at its own offset


def test_local_and_partial_means_are_not_proved_invariant():
    whole = nn.Sequential(Scattering2d((56, 56), 3, 2), nn.Flatten(), nn.Linear(19 * 49, 3))
    with pytest.raises(NotInvariant, match="its averages are taken at a distance"):
        prove_invariance(whole, PLACE, (1, 28, 28))
    part = nn.Sequential(nn.ZeroPad2d(1), Scattering2d((58, 58), 3, 2, pool="mean"), nn.Flatten(), nn.Linear(19, 3))
    with pytest.raises(NotInvariant):
        prove_invariance(part, PLACE, (1, 28, 28))


def test_no_shortcut_if_the_output_depends_on_position():
    model = ScatteringLinear(scales=2, angles=2).train()
    crop = Placement(image=(60, 60), canvas=(56, 56), mode="crop")
    textured = Placement(image=(28, 28), canvas=(56, 56), background=texture((56, 56), seed=0))
    small = Placement(image=(28, 28), canvas=(40, 56))
    filled = Placement(image=(56, 56), canvas=(56, 56), mode="fill")
    for place in (crop, textured, small, filled):
        pictures = torch.zeros(2, 1, *place.image, dtype=torch.uint8)
        assert model.forward_placed(pictures, place.centered(2), place) is None
    assert model.forward_placed(images(2, channels=3), PLACE.centered(2), PLACE) is None
    assert int(model.features.standardize.seen) == 0


def test_features_of_the_first_batch_are_standardized():
    features = ScatteringFeatures(scales=3, angles=2).double()
    found = features.of_placed(images(40), PLACE)
    torch.testing.assert_close(found.mean(0), torch.zeros_like(found[0]), rtol=0, atol=1e-8)
    assert (found.std(0, correction=0) - 1).abs().max() < 0.05


def test_gradients_reach_the_pixels_and_an_empty_canvas_gives_finite_ones():
    model = after_one_batch(ScatteringFull(scales=3, angles=2))
    for pixels in (torch.zeros(1, 1, 56, 56).double(), torch.rand(1, 1, 56, 56).double()):
        pixels.requires_grad_()
        model(pixels)[0, 3].backward()
        assert pixels.grad.isfinite().all()
    assert pixels.grad.abs().max() > 0


@pytest.mark.parametrize("cls", MODELS)
def test_checkpoints_give_the_same_outputs(cls, tmp_path):
    name = {ScatteringLinear: "scattering-linear", ScatteringFull: "scattering-full"}[cls]
    model = build_model(name, seed=3, scales=3, angles=2)
    assert type(model) is cls
    model.train().forward_placed(images(20), PLACE.centered(20), PLACE)
    save(model.eval(), tmp_path / "model")
    again = load(tmp_path / "model")
    pixels = torch.rand(2, 1, 56, 56)
    assert again(pixels).equal(model(pixels)) and again.arguments == model.arguments


def test_bad_input_is_named():
    with pytest.raises(UsageError, match=r"built for images of 1 x 56 x 56 .* got \(2, 1, 28, 28\).*canvas="):
        ScatteringLinear()(torch.zeros(2, 1, 28, 28))
    with pytest.raises(UsageError, match=r"canvas must be at least 2 x 2, got \(1, 56\)"):
        ScatteringFull(canvas=(1, 56))
    with pytest.raises(UsageError, match=r"shape must be at least 64 x 64 for 6 scales, got \(56, 56\)"):
        ScatteringFull(scales=6)
    with pytest.raises(UsageError, match="N must be a positive integer, got 0"):
        ScatteringFull(N=0)
