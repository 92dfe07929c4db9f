import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.models import (
    TwoConvTwoFullNet,
    TwoFullNet,
    build_model,
    count_parameters,
    load,
    load_config,
    registry_name,
    save,
)
from shiftscope.models.registry import check_model_name
from shiftscope.placement import Placement
from shiftscope.settings import RunSettings, TrainSettings, recipe_of


@pytest.mark.parametrize("model, parameters", [
    (TwoFullNet(), 314_710), (TwoFullNet(N=10), 31_480), (TwoConvTwoFullNet(), 368_670),
])
def test_parameter_counts_of_the_course_models(model, parameters):
    assert count_parameters(model) == parameters


@pytest.mark.parametrize("cls", [TwoFullNet, TwoConvTwoFullNet])
@pytest.mark.parametrize("canvas, channels, classes", [((56, 56), 1, 10), ((64, 64), 3, 9), ((40, 57), 2, 4)])
def test_other_canvases_channels_and_classes(cls, canvas, channels, classes):
    outputs = cls(canvas=canvas, channels=channels, classes=classes)(torch.rand(3, channels, *canvas))
    assert outputs.shape == (3, classes)
    torch.testing.assert_close(outputs.exp().sum(1), torch.ones(3))  # log-probabilities


def test_the_convnet_equals_that_of_the_course():
    model = TwoConvTwoFullNet(dropout=0.5).double().train()
    pixels = torch.rand(4, 1, 56, 56, dtype=torch.float64)

    def as_written(x):
        x = F.max_pool2d(F.relu(model.conv1((x - 0.1307) / 0.3081)), 2)
        x = F.max_pool2d(F.relu(model.conv2_drop(model.conv2(x))), 2).flatten(1)
        return F.log_softmax(model.fc2(F.dropout(F.relu(model.fc1(x)))), dim=1)

    torch.manual_seed(1)
    expected = as_written(pixels)
    torch.manual_seed(1)
    torch.testing.assert_close(model(pixels), expected, rtol=0, atol=1e-6)  # 0.1307 is kept in float32


@pytest.mark.parametrize("mode", ["canvas", "circular"])
def test_placed_short_cut_equals_the_canvas(mode):
    place = Placement(image=(28, 28), canvas=(56, 56), mode=mode, step=4)
    model = TwoConvTwoFullNet().double().eval()
    images = torch.randint(0, 256, (place.count, 1, 28, 28), dtype=torch.uint8)
    short = model.forward_placed(images, place.offsets(), place)
    if mode == "circular":
        assert short is None
        return
    whole = model(place.place(images, place.offsets()).double() / 255)
    torch.testing.assert_close(short, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cls", [TwoFullNet, TwoConvTwoFullNet])
def test_wrong_image_sizes_name_both_sizes_and_the_fix(cls):
    with pytest.raises(UsageError, match=r"built for images of 1 x 56 x 56 .* got \(2, 1, 28, 28\).*canvas="):
        cls()(torch.zeros(2, 1, 28, 28))


def test_a_canvas_too_small_for_the_convolutions_is_refused():
    with pytest.raises(UsageError, match=r"canvas must be at least 16 x 16"):
        TwoConvTwoFullNet(canvas=(15, 56))
    assert TwoConvTwoFullNet(canvas=(16, 16))(torch.zeros(1, 1, 16, 16)).shape == (1, 10)


def test_build_depends_on_the_seed_and_keeps_the_random_state():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    same = [build_model("two-conv", seed=3).state_dict()["conv1.weight"] for _ in range(2)]
    assert same[0].equal(same[1])
    assert not build_model("two-conv", seed=4).state_dict()["conv1.weight"].equal(same[0])
    assert torch.random.get_rng_state().equal(before)


def test_unknown_names_are_reported_with_the_nearest_one():
    with pytest.raises(UsageError, match="unknown model 'two-ful': did you mean 'two-full'"):
        build_model("two-ful")


def test_the_former_name_of_the_recentered_net_is_accepted(tmp_path):
    check_model_name("recentred")
    model = build_model("recentred", widths=(2, 3))
    assert registry_name(model) == "recentered" and RunSettings(models=("recentred",)).models == ("recentered",)
    assert recipe_of("recentred", "best") == recipe_of("recentered", "best")
    assert TrainSettings().resolve("recentred") == TrainSettings().resolve("recentered")
    path = save(model, tmp_path) / "config.json"
    path.write_text(path.read_text().replace('"recentered"', '"recentred"'))
    assert load_config(tmp_path).model == "recentered" and registry_name(load(tmp_path)) == "recentered"


def test_own_models_by_name(tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text(
        "from torch import nn\n"
        "def net(canvas, classes): return nn.Sequential(nn.Flatten(), nn.Linear(canvas[0] * canvas[1], classes))\n"
        "number = 3\n"
        "def wrong(): return 'text'\n")
    monkeypatch.chdir(tmp_path)
    model = build_model("own_nets:net", canvas=(8, 9), classes=4)
    assert isinstance(model, nn.Sequential) and model(torch.zeros(1, 1, 8, 9)).shape == (1, 4)
    for name, message in (("own_nets:number", "must be an nn.Module"), ("own_nets:wrong", "must return an nn.Module"),
                          ("own_nets:absent", "does not exist"), ("no_such_nets:net", "cannot import 'no_such_nets'")):
        with pytest.raises(UsageError, match=message):
            build_model(name)
