import pytest
import torch
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.visualization import direction, diversity, match, objective
from shiftscope.visualization.feature_extractor import FeatureExtractor
from shiftscope.visualization.model_info import input_shape, inspect_model
from shiftscope.visualization.objective_terms import class_score, gram_diversity, unit_activation
from shiftscope.visualization.targets import resolve_objective

NAMES = ("T-shirt/top", "Bag", "Ankle boot", "Shirt")


def names(text_or_goal, model, shape, class_names=()):
    goal = objective(text_or_goal, class_names) if isinstance(text_or_goal, str) else text_or_goal
    return resolve_objective(goal, inspect_model(model, shape, class_names)).names


@pytest.mark.parametrize("text, expected", [
    ("class:2", ["class:Ankle boot"]), ("class:Bag", ["class:Bag"]), ("class:T-shirt/top", ["class:T-shirt/top"]),
    ("class:all", [f"class:{name}" for name in NAMES]), ("fc1:0-2", ["fc1:0", "fc1:1", "fc1:2"]),
    ("conv2:7", ["conv2:7"]), (" fc1 : 3 ", ["fc1:3"]), ("fc1:3,7,9-10", ["fc1:3", "fc1:7", "fc1:9", "fc1:10"]),
    ("conv2:7@1,2", ["conv2:7@1,2"]), ("conv2:6-7 @ 0,1", ["conv2:6@0,1", "conv2:7@0,1"]), ("conv2:*", ["conv2:*"]),
    ("fc1+relu:0-1", ["fc1+relu:0", "fc1+relu:1"]), ("class:Bag-class:Shirt", ["class:Bag - class:Shirt"]),
    ("class:T-shirt/top-0.5 class:Ankle boot", ["class:T-shirt/top - 0.5 class:Ankle boot"]),
    ("-2*fc1:1 + .5*conv2:7@0,1", ["-2 fc1:1 + 0.5 conv2:7@0,1"])])
def test_objective_strings(convnet, text, expected):
    assert names(text, convnet, convnet.input_shape, NAMES) == expected


def test_all_selects_every_unit(convnet):
    assert len(names("conv1:all", convnet, convnet.input_shape)) == 30
    assert len(names("fc1:all", convnet, convnet.input_shape)) == 100
    assert names("class:all", convnet, convnet.input_shape) == ["class:0", "class:1", "class:2", "class:3"]


@pytest.mark.parametrize("text, message", [
    ("fc1", r"'fc1' must have the form layer:units, as in class:2"),
    ("fc1:", "must have the form"),
    ("fc3:1", r"unknown layer of TwoConvTwoFullNet 'fc3': did you mean 'fc2'\?"),
    ("class:Bog", r"unknown class 'Bog': did you mean 'Bag'\?"),
    ("class:4", "class:4: the units of 'class' range from 0 to 3"),
    ("fc1:100", "fc1:100: the units of 'fc1' range from 0 to 99"),
    ("fc1:5-3", "fc1:5-3: the units of 'fc1' range from 0 to 99"),
    ("conv1:some", r"conv1:some: units must be all, \*, an index, a range as in 0-29, or a list of them as in 0,2"),
    ("conv2:7@4,3", r"conv2:7@4,3: positions of 'conv2' range from 0,0 to 3,5 \(row, column\)"),
    ("fc1:3@0,0", r"fc1:3@0,0: the output of layer 'fc1' has shape \(100,\), without rows and columns: leave out"),
    ("fc1:3,200", "fc1:3,200: the units of 'fc1' range from 0 to 99"),
    ("class:Bag - class:Shrt", "unknown class 'Shrt': did you mean 'Shirt'?"),
])
def test_invalid_objectives_are_rejected(convnet, text, message):
    with pytest.raises(UsageError, match=message):
        names(text, convnet, convnet.input_shape, NAMES)


def test_class_by_name_needs_class_names(convnet):
    with pytest.raises(UsageError, match="the class names are unknown: use an index, or pass class_names="):
        names("class:Bag", convnet, convnet.input_shape)
    with pytest.raises(UsageError, match="has 4 outputs, got 2 class names"):
        names("class:0", convnet, convnet.input_shape, ("a", "b"))


@pytest.mark.parametrize("text, gave", [("rnn:0", "a tuple"), ("unused:0", "nothing .it was not called.")])
def test_layers_without_tensor_output_are_rejected(foreign, text, gave):
    with pytest.raises(UsageError, match=f"returned {gave}, expected a tensor .batch, units, ...."):
        names(text, foreign, (1, 6, 7))


def test_input_shape_is_required_if_the_model_has_none(foreign, perceptron):
    with pytest.raises(UsageError, match=r"the input shape of Foreign is unknown: pass shape="):
        input_shape(foreign, None)
    assert input_shape(nn.Sequential(perceptron), None) == (1, 11, 14)
    with pytest.raises(UsageError, match="shape must be"):
        input_shape(foreign, (4, 4))


def test_objectives_support_arithmetic_and_str(perceptron):
    goal = 2 * objective("fc1:0-2") - objective("class:Bag") * 0.5
    assert str(goal) == "2 fc1:0-2 - 0.5 class:Bag" and str(-objective("fc1:1")) == "-fc1:1"
    target = resolve_objective(goal, inspect_model(perceptron, perceptron.input_shape, NAMES))
    assert target.names[1] == "2 fc1:1 - 0.5 class:Bag" and target.layers == ["fc1"]
    outputs = {"fc1": torch.arange(36.0).view(3, 12), "class": torch.arange(12.0).view(3, 4)}
    expected = [2 * outputs["fc1"][row, row] - 0.5 * outputs["class"][row, 1] for row in range(3)]
    assert target.activations(outputs, torch.arange(3)).tolist() == [float(value) for value in expected]
    later = {key: value[1:] for key, value in outputs.items()}
    assert target.activations(later, torch.arange(1, 3)).tolist() == [float(value) for value in expected[1:]]


def test_parts_with_different_unit_counts_are_rejected(perceptron):
    with pytest.raises(UsageError, match="fc1:0-2 has 3 units and another part has 4"):
        names(objective("fc1:0-2") + objective("fc1:0-3"), perceptron, perceptron.input_shape)


def test_unit_activation_averages_positions():
    output = torch.arange(24.0).view(2, 3, 4)
    assert unit_activation(output, torch.tensor([0, 2])).tolist() == [1.5, 21.5]
    assert unit_activation(output, torch.tensor([0, 3]), units_last=True).tolist() == [4.0, 19.0]


def test_class_score_is_invariant_to_log_softmax_and_not_flat():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    units = torch.tensor([0, 1, 2, 3, 0])
    torch.testing.assert_close(class_score(logits, units), class_score(logits.log_softmax(1), units))
    sure = torch.tensor([[40.0, 0.0]], requires_grad=True)  # the log-probability is flat here
    (gradient,) = torch.autograd.grad(class_score(sure, torch.tensor([0])), sure)
    assert gradient.tolist() == [[0.75, -0.75]]


def test_class_score_of_one_output_is_the_output():
    assert class_score(torch.tensor([[3.0]]), torch.tensor([0])).tolist() == [3.0]


def test_class_names_that_look_like_sums_are_parsed():
    known = ("a - class:b", "b", "a")
    assert [str(part) for _, part in objective("class:a - class:b - class:a", known).parts] == [
        "class:a - class:b", "class:a"]
    assert [str(part) for _, part in objective("class:a - class:b").parts] == ["class:a", "class:b"]


def test_str_of_an_objective_can_be_parsed():
    for text in ("class:Bag - 0.5 class:Shirt", "-fc1:1", "2 fc1+relu:0-9 + conv2:*", "conv2:7@3,4"):
        assert str(objective(text)) == text



def test_position_is_row_and_column(convnet):
    target = resolve_objective(objective("conv2:1,2@1,5"), inspect_model(convnet, convnet.input_shape))
    output = torch.randn(2, 30, 4, 6, generator=torch.Generator().manual_seed(0))
    expected = [float(output[0, 1, 1, 5]), float(output[1, 2, 1, 5])]
    assert target.activations({"conv2": output}, torch.arange(2)).tolist() == expected


def test_star_is_the_mean_square_and_relu_precedes_the_mean(convnet):
    info = inspect_model(convnet, convnet.input_shape)
    output = torch.randn(1, 30, 4, 6, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(1)
    assert float(resolve_objective(objective("conv2:*"), info).scores({"conv2": output}, rows)) == pytest.approx(
        float(output.square().mean()))
    after = resolve_objective(objective("conv2+relu:3"), info)
    assert float(after.scores({"conv2": output}, rows)) == pytest.approx(float(output[0, 3].clamp_min(0).mean()))
    leaky = torch.where(output > 0, output, 0.1 * output)[0, 3].mean()
    assert float(after.scores({"conv2": output}, rows, 0.1)) == pytest.approx(float(leaky))


def test_direction_projects_means_or_the_whole_output(convnet):
    info, output = inspect_model(convnet, convnet.input_shape), torch.rand(2, 30, 4, 6)
    vector = torch.zeros(30)
    vector[[3, 5]] = torch.tensor([3.0, -4.0])
    result = resolve_objective(direction("conv2", vector), info).activations({"conv2": output}, torch.arange(2))
    torch.testing.assert_close(result, 0.6 * output[:, 3].mean((1, 2)) - 0.8 * output[:, 5].mean((1, 2)))
    whole = torch.rand(30, 4, 6)
    result = resolve_objective(direction("conv2", whole), info).activations({"conv2": output}, torch.arange(2))
    torch.testing.assert_close(result, (output * whole).sum((1, 2, 3)) / whole.norm())


@pytest.mark.parametrize("vector, message", [
    (torch.ones(7), r"direction\(conv2\): the vector has shape \(7,\), expected \(30,\), one value per unit, or \(30,"),
    (torch.zeros(30), "the length of the vector of direction.conv2. must be a number above 0, got 0.0"),
    (torch.full((30,), torch.nan), "must be a number above 0, got nan")])
def test_invalid_directions_are_rejected(convnet, vector, message):
    with pytest.raises(UsageError, match=message):
        resolve_objective(direction("conv2", vector), inspect_model(convnet, convnet.input_shape))


def test_match_is_zero_for_the_image_itself(convnet):
    info, images = inspect_model(convnet, convnet.input_shape), torch.rand(2, 3, 20, 24)

    extractor = FeatureExtractor(convnet.eval(), torch.float32)
    outputs = extractor.layer_output(images, "conv1")
    target = resolve_objective(match("conv1", images), info, extractor=extractor)
    assert target.names == ["match(conv1):0", "match(conv1):1"]
    assert target.activations({"conv1": outputs}, torch.arange(2)).tolist() == [0, 0]
    silent = torch.zeros_like(outputs)
    torch.testing.assert_close(target.activations({"conv1": silent}, torch.arange(2)), torch.full((2,), -1.0))
    with pytest.raises(UsageError, match=r"the image of match\(conv1\) has shape \(3, 24, 20\), the model takes"):
        resolve_objective(match("conv1", torch.rand(3, 24, 20)), info, extractor=extractor)


def test_diversity_compares_gram_matrices_of_one_unit(convnet):
    info = inspect_model(convnet, convnet.input_shape)
    target = resolve_objective(objective("conv2:3,4") + 2 * diversity("conv2"), info, copies=2)
    assert target.names == [f"conv2:{unit} + 2 diversity(conv2) #{copy}" for unit in (3, 4) for copy in (1, 2)]
    output = torch.randn(4, 30, 4, 6, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(4)
    torch.testing.assert_close(target.activations({"conv2": output}, rows),
                               output.mean((2, 3))[rows, torch.tensor([3, 3, 4, 4])])
    gram = [(f @ f.T).flatten() for f in output.flatten(2)]
    first, second = (float(torch.cosine_similarity(gram[a], gram[a + 1], dim=0)) for a in (0, 2))
    assert gram_diversity(output, 2).tolist() == pytest.approx([-first, -first, -second, -second], abs=1e-5)
    turned = output.flatten(2).flip(2).view_as(output)  # other positions, the same co-activations: no diversity
    assert gram_diversity(torch.stack((output[0], turned[0])), 2).tolist() == pytest.approx([-1, -1], abs=1e-5)


def test_diversity_needs_copies(convnet):
    with pytest.raises(UsageError, match=r"copies must be at least 2 for diversity\(conv2\)"):
        resolve_objective(objective("conv2:3") + diversity("conv2"), inspect_model(convnet, convnet.input_shape))


def test_single_classes_use_class_score_and_sums_use_logits(perceptron):
    info, logits = inspect_model(perceptron, perceptron.input_shape), torch.tensor([[1.0, 4.0, 2.0, 0.0]])
    rows = torch.arange(1)
    alone = resolve_objective(objective("class:1"), info).scores({"class": logits}, rows)
    assert torch.equal(alone, class_score(logits, torch.tensor([1])))
    pair = resolve_objective(objective("class:1 - 0.5 class:2"), info).scores({"class": logits}, rows)
    assert pair.tolist() == [3.0]
