import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.data import Dataset
from shiftscope.data.base import TensorImages
from shiftscope.errors import UsageError
from shiftscope.models import load
from shiftscope.placement import Placement
from shiftscope.results import UnitTable
from shiftscope.visualization.activation_statistics import RunningHistogram, unit_table
from shiftscope.visualization.parameters import weight_images

PLACE = Placement(image=(4, 5), canvas=(9, 11))


def dataset(count=40, channels=1):
    pixels = torch.randint(0, 256, (count, channels, 4, 5), generator=torch.Generator().manual_seed(0))
    part = TensorImages(pixels.to(torch.uint8), torch.arange(count) % 2)
    return Dataset(name="noise", class_names=("a", "b"), train=part, test=part, source="-", license="-")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 5, 3), nn.Linear(5 * 3 * 4, 3)

    def forward(self, x):
        return self.fc(F.relu(F.max_pool2d(self.conv(x), 2)).flatten(1))


@pytest.fixture
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def test_statistics_match_a_naive_loop(net, monkeypatch):
    monkeypatch.setattr("shiftscope.visualization.activation_statistics.BATCH_PIXELS", 7 * 99)  # several batches
    data = dataset()
    table = unit_table(net, data, placement=PLACE, images=30, seed=3)
    rows = torch.arange(30)
    x = PLACE.place(data.test.gather(rows), PLACE.sample(rows, seed=3)) / 255
    with torch.no_grad():
        conv = F.relu(F.max_pool2d(net.conv(x), 2)).movedim(1, 0).flatten(1).double()
        fc = net(x).T.double()
    first, second = table.layers
    assert (first.layer, first.after_relu, first.units) == ("conv", True, 5)
    assert (second.layer, second.after_relu, second.units, second.sparsity) == ("fc", False, 3, None)
    assert first.mean == pytest.approx(conv.mean().item(), rel=1e-5)
    assert first.sparsity == pytest.approx((conv <= 0).double().mean().item(), abs=1e-6)
    wanted = {"maximum": [x.amax(1) for x in (conv, fc)], "means": [x.mean(1) for x in (conv, fc)],
              "active": [(x > 0).double().mean(1) for x in (conv, fc)]}
    for name, parts in wanted.items():
        values = torch.cat(parts)
        np.testing.assert_allclose(getattr(table, name), values, rtol=1e-4, atol=1e-6)
    with np.errstate(invalid="ignore"):  # a unit that is never active has no correlation
        likeness = np.corrcoef(conv.numpy())
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5) if abs(likeness[i, j]) >= 0.99]
    assert list(first.duplicates) == pairs


def test_dead_and_duplicate_units_are_detected(net):
    with torch.no_grad():
        net.conv.bias[1] = -100.0
        net.conv.weight[4] = 2 * net.conv.weight[0]
        net.conv.bias[4] = 2 * net.conv.bias[0]
        net.fc.weight[2] = 0.0
        net.fc.weight[1] = -3 * net.fc.weight[0]
    conv, fc = unit_table(net, dataset(), placement=PLACE).layers
    assert conv.dead == (1,) and conv.duplicates == ((0, 4),) and conv.repeated == 1
    assert fc.dead == (2,) and fc.duplicates == ((0, 1),)  # no ReLU: a dead unit is constant


def test_negative_outputs_without_a_relu_are_not_dead():
    model = nn.Sequential(nn.Flatten(), nn.Linear(99, 4))
    with torch.no_grad():
        model[1].bias.fill_(-1000.0)
    assert unit_table(model, dataset(), placement=PLACE).layers[0].dead == ()


def test_records_can_be_saved_and_loaded(tmp_path, net):
    table = unit_table(net, dataset(), placement=PLACE, layers=["conv"], name="mine")
    table.save(tmp_path)
    again = UnitTable.load(tmp_path)
    assert again.layers == table.layers and again.to_dict() == table.to_dict() and again.model == "mine"
    np.testing.assert_array_equal(again.maximum, table.maximum)


def test_model_state_is_restored(net):
    net.train()
    state = torch.random.get_rng_state()
    unit_table(net, dataset(), placement=PLACE)
    assert net.training and all(parameter.requires_grad for parameter in net.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(module._forward_hooks for module in net.modules())


def test_half_precision_and_color_images():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 9, 2))
    data = dataset(channels=3)
    single, half = (unit_table(net, data, placement=PLACE).maximum for net in (model, model.half()))
    np.testing.assert_allclose(half, single, rtol=0.02, atol=0.01)


def test_nonfinite_outputs_are_noted(net):
    with torch.no_grad():
        net.conv.bias[0] = torch.nan
    table = unit_table(net, dataset(), placement=PLACE)
    assert table.notes[0] == "conv returns NaN or infinity for some images: its statistics are invalid"


@pytest.mark.parametrize(("options", "message"), [
    ({"layers": ["fc1"]}, "unknown layer of Net 'fc1': did you mean 'fc'"),
    ({"images": 0}, "images must be at least 1, got 0"),
    ({"split": "all"}, "split"),
])
def test_invalid_arguments_are_rejected(options, message, net):
    with pytest.raises(UsageError, match=message):
        unit_table(net, dataset(), placement=PLACE, **options)


def test_model_without_weighted_layers_is_rejected():
    with pytest.raises(UsageError, match="Flatten has no convolution and no fully connected layer"):
        unit_table(nn.Flatten(), dataset(), placement=PLACE)


@pytest.mark.parametrize(("layer", "size"), [("conv2", (30, 5, 5, 5)), ("fc1", (100, 30, 2, 3))])
def test_weights_as_images(layer, size, convnet):
    pictures = weight_images(convnet, layer)
    assert tuple(pictures.shape) == size
    weight = getattr(convnet, layer).weight
    assert torch.equal(pictures, weight.view(size))


def test_templates_of_neurons_have_the_shape_of_their_input_map(convnet, perceptron):
    x = torch.rand(2, 1, 11, 14)
    template = weight_images(perceptron, "fc1")
    z = (template[None] * perceptron.normalize(x)[:, None]).sum((2, 3, 4)) + perceptron.fc1.bias
    torch.testing.assert_close(z, perceptron.fc1(perceptron.normalize(x).flatten(1)))
    for layer, message in (("fc2", "the 100 inputs of .* 'fc2' are not a map"), ("conv2_drop", "is a Dropout2d"),
                           ("fc3", "unknown layer")):
        with pytest.raises(UsageError, match=message):
            weight_images(convnet, layer)


def test_real_images_and_a_trained_model(fashion_mnist_dir):
    from pathlib import Path

    from shiftscope.data import load_dataset

    model = load(Path(__file__).parents[2] / "examples" / "checkpoints" / "two-full")
    table = unit_table(model, load_dataset("fashion-mnist", data_dir=fashion_mnist_dir, limit=200), images=200)
    fc1, fc2 = table.layers
    assert (fc1.units, fc2.units, table.images) == (100, 10, 200)
    assert 0.5 < fc1.sparsity < 0.95 and fc2.dead == ()


def test_histogram_matches_numpy_on_the_same_edges():
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=(3000, 3)) * [1.0, 50.0, 1e-3] + [0.0, 7.0, -2.0]
    histogram = RunningHistogram(16)
    for part in np.array_split(np.sort(numbers, axis=0)[np.argsort(draw.random(3000))], 40):
        histogram.add(part)
    for column in range(3):
        expected, _ = np.histogram(numbers[:, column], histogram.edges[column])
        np.testing.assert_array_equal(histogram.counts[column], expected)
    np.testing.assert_allclose(histogram.mean, numbers.mean(0), rtol=1e-12)
    np.testing.assert_array_equal(histogram.maximum, numbers.max(0))


def test_histogram_of_constant_and_growing_columns():
    histogram = RunningHistogram(4)
    histogram.add(np.zeros((5, 2)))
    histogram.add(np.array([[0.0, 1000.0], [0.0, -1000.0]]))
    assert histogram.counts.sum(1).tolist() == [7, 7] and histogram.counts[0].max() == 7
    assert histogram.edges[1, 0] <= -1000 and histogram.edges[1, -1] > 1000
    assert histogram.counts[1].max() == 5


def test_value_on_the_last_edge_extends_the_histogram():
    histogram = RunningHistogram(4)
    histogram.add(np.array([[0.0], [4.0]]))
    top = histogram.edges[0, -1]
    histogram.add(np.array([[top]]))
    assert histogram.counts.tolist() == [[1, 1, 1, 0]] and histogram.edges[0, 2] == top
