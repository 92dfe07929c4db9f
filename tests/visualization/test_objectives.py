import pytest
import torch
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.visualization import objective
from shiftscope.visualization.anatomy import examine, picture_shape
from shiftscope.visualization.objectives import activation, bind, class_score

NAMES = ("T-shirt/top", "Bag", "Ankle boot", "Shirt")


def names(text_or_goal, model, shape, class_names=()):
    goal = objective(text_or_goal) if isinstance(text_or_goal, str) else text_or_goal
    return bind(goal, examine(model, shape, class_names)).names


@pytest.mark.parametrize("text, expected", [
    ("class:2", ["class:Ankle boot"]), ("class:Bag", ["class:Bag"]), ("class:T-shirt/top", ["class:T-shirt/top"]),
    ("class:all", [f"class:{name}" for name in NAMES]), ("fc1:0-2", ["fc1:0", "fc1:1", "fc1:2"]),
    ("conv2:7", ["conv2:7"]), (" fc1 : 3 ", ["fc1:3"])])
def test_strings(convnet, text, expected):
    assert names(text, convnet, convnet.picture, NAMES) == expected


def test_all_means_every_unit(convnet):
    assert len(names("conv1:all", convnet, convnet.picture)) == 30
    assert len(names("fc1:all", convnet, convnet.picture)) == 100
    assert names("class:all", convnet, convnet.picture) == ["class:0", "class:1", "class:2", "class:3"]


@pytest.mark.parametrize("text, message", [
    ("fc1", r"'fc1' must have the form layer:units, as in class:2"),
    ("fc1:", "must have the form"),
    ("fc3:1", r"unknown layer of TwoConvTwoFullNet 'fc3': did you mean 'fc2'\?"),
    ("class:Bog", r"unknown class 'Bog': did you mean 'Bag'\?"),
    ("class:4", "class:4: the units of 'class' are numbered from 0 to 3"),
    ("fc1:100", "fc1:100: the units of 'fc1' are numbered from 0 to 99"),
    ("fc1:5-3", "fc1:5-3: the units of 'fc1' are numbered from 0 to 99"),
    ("conv1:some", "conv1:some: units must be all, a number, or a range as in 0-29"),
])
def test_what_is_not_there_is_named(convnet, text, message):
    with pytest.raises(UsageError, match=message):
        names(text, convnet, convnet.picture, NAMES)


def test_a_class_by_name_needs_names(convnet):
    with pytest.raises(UsageError, match="the names of the classes are not known: give a number, or pass class_names="):
        names("class:Bag", convnet, convnet.picture)
    with pytest.raises(UsageError, match="tells 4 classes apart, and 2 class names were given"):
        names("class:0", convnet, convnet.picture, ("a", "b"))


@pytest.mark.parametrize("text, gave", [("rnn:0", "a tuple"), ("unused:0", "nothing in a forward pass")])
def test_layers_without_a_tensor(foreign, text, gave):
    with pytest.raises(UsageError, match=f"gave {gave}, expected a tensor .batch, units, ...."):
        names(text, foreign, (1, 6, 7))


def test_a_model_that_does_not_say_its_size_wants_it_told(foreign, perceptron):
    with pytest.raises(UsageError, match=r"Foreign does not say which pictures it takes: pass shape="):
        picture_shape(foreign, None)
    assert picture_shape(nn.Sequential(perceptron), None) == (1, 11, 14)
    with pytest.raises(UsageError, match="shape must be"):
        picture_shape(foreign, (4, 4))


def test_objectives_add_subtract_scale_and_describe_themselves(perceptron):
    goal = 2 * objective("fc1:0-2") - objective("class:Bag") * 0.5
    assert str(goal) == "2 fc1:0-2 - 0.5 class:Bag" and str(-objective("fc1:1")) == "-fc1:1"
    target = bind(goal, examine(perceptron, perceptron.picture, NAMES))
    assert target.names[1] == "2 fc1:1 - 0.5 class:Bag" and target.layers == ["fc1"]
    outputs = {"fc1": torch.arange(36.0).view(3, 12), "class": torch.arange(12.0).view(3, 4)}
    expected = [2 * outputs["fc1"][row, row] - 0.5 * outputs["class"][row, 1] for row in range(3)]
    assert target.activations(outputs, slice(0, 3)).tolist() == [float(value) for value in expected]
    later = {key: value[1:] for key, value in outputs.items()}
    assert target.activations(later, slice(1, 3)).tolist() == [float(value) for value in expected[1:]]


def test_parts_of_different_sizes_do_not_go_together(perceptron):
    with pytest.raises(UsageError, match="fc1:0-2 means 3 units, another part 4"):
        names(objective("fc1:0-2") + objective("fc1:0-3"), perceptron, perceptron.picture)


def test_a_channel_is_the_mean_over_its_places_and_tokens_keep_units_last():
    output = torch.arange(24.0).view(2, 3, 4)
    assert activation(output, torch.tensor([0, 2])).tolist() == [1.5, 21.5]
    assert activation(output, torch.tensor([0, 3]), last=True).tolist() == [4.0, 19.0]


def test_class_scores_are_the_same_for_logits_and_log_probabilities_and_never_flat():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    units = torch.tensor([0, 1, 2, 3, 0])
    torch.testing.assert_close(class_score(logits, units), class_score(logits.log_softmax(1), units))
    sure = torch.tensor([[40.0, 0.0]], requires_grad=True)  # the log-probability is flat here
    (gradient,) = torch.autograd.grad(class_score(sure, torch.tensor([0])), sure)
    assert gradient.tolist() == [[0.75, -0.75]]


def test_one_output_is_its_own_score():
    assert class_score(torch.tensor([[3.0]]), torch.tensor([0])).tolist() == [3.0]
