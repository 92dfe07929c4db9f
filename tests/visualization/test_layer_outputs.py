import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.visualization.layer_outputs import activations, after_relu, as_pixels, capture


def test_activations_match_the_layers_outputs(convnet):
    convnet.train()
    images = torch.randint(0, 256, (7, 3, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    result = activations(convnet, images, ["conv1", "fc2", "class"], batch_size=3)
    assert convnet.training
    with torch.no_grad():
        x = convnet.eval().normalize(images / 255)
        torch.testing.assert_close(result["conv1"], convnet.conv1(x))
        torch.testing.assert_close(result["class"].log_softmax(1), convnet(images / 255))
    torch.testing.assert_close(result["class"], result["fc2"])


def test_batches_have_the_given_size_and_order(perceptron):
    images = np.random.default_rng(0).random((5, 1, 11, 14), dtype=np.float32)
    with capture(perceptron, images, ["fc1"], batch_size=2) as batches:
        parts = [batch["fc1"] for batch in batches]
    assert [len(part) for part in parts] == [2, 2, 1] and not any(part.requires_grad for part in parts)
    torch.testing.assert_close(torch.cat(parts), activations(perceptron, images, ["fc1"])["fc1"])


def test_pixels_are_normalized():
    result = activations(nn.Sequential(nn.Flatten()), torch.ones(1, 1, 1, 2), ["class"], normalize=(0.5, 0.25))
    assert result["class"].tolist() == [[2.0, 2.0]]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_model_state_is_restored_after_errors(error, convnet):
    convnet.train()
    with pytest.raises(error), capture(convnet, torch.zeros(3, 3, 20, 24), ["conv1"]) as batches:
        next(batches)
        raise error
    assert convnet.training and convnet.conv1.training
    assert all(parameter.requires_grad for parameter in convnet.parameters())
    assert not any(module._forward_hooks for module in convnet.modules())


@pytest.mark.parametrize(("layers", "message"), [
    (["fc3"], "unknown layer of Foreign 'fc3'"),
    (["rnn"], "the layer 'rnn' of Foreign returns a tuple, expected a tensor: choose a layer inside or after it"),
    (["unused"], "the layer 'unused' of Foreign was not called"),
])
def test_invalid_layers_are_rejected(layers, message, foreign):
    with pytest.raises(UsageError, match=message):
        activations(foreign, torch.zeros(1, 1, 4, 6), layers)


def test_invalid_images_are_rejected(foreign):
    with pytest.raises(UsageError, match="images must be at least one image"):
        activations(foreign, torch.zeros(1, 4, 6), ["conv"])
    with pytest.raises(UsageError, match="batch_size must be at least 1, got 0"):
        activations(foreign, torch.zeros(1, 1, 4, 6), ["conv"], batch_size=0)
    assert as_pixels(np.full((1, 1, 1, 1), 51, np.uint8)).item() == pytest.approx(0.2)


class Ways(nn.Module):
    """Layers with a ReLU in several forms, and one whose output is first added to another one."""

    def __init__(self):
        super().__init__()
        self.pooled, self.normed, self.added = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 1), nn.Conv2d(3, 3, 1)
        self.norm, self.relu = nn.BatchNorm2d(3), nn.ReLU(inplace=True)
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        self.first = F.relu(F.dropout2d(F.max_pool2d(self.pooled(x), 2), training=self.training))
        self.second = self.relu(self.norm(self.normed(self.first)))
        x = F.relu(self.second + self.added(self.second))
        return self.out(x.mean((2, 3)))


def test_layers_are_followed_to_their_relu():
    torch_state = torch.random.get_rng_state()
    model, seen = Ways().eval(), {}

    def double(name, values):
        seen[name] = values.clone()
        return 2 * values

    with torch.no_grad(), after_relu(model, ["pooled", "normed", "added", "out"], double):
        model(torch.rand(2, 1, 8, 10))
    assert list(seen) == ["pooled", "normed"]
    torch.testing.assert_close(model.first, 2 * seen["pooled"])  # the tap's result replaces the output
    torch.testing.assert_close(model.second, 2 * seen["normed"])
    assert not any(module._forward_hooks for module in model.modules())
    torch.random.set_rng_state(torch_state)
