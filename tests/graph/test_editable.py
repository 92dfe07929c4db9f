import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.graph import TraceError
from shiftscope.graph.editable import arguments, editable, op_of, sizes
from shiftscope.graph.sampling import Sampling
from shiftscope.graph.strided import dominators, spine, stride_of, strided_nodes

SHAPE = (2, 12, 18)


class Net(nn.Module):
    """A residual block, batch norm with its own statistics, tied weights, a constant, dropout."""

    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv2d(2, 4, 3, 2, 1), nn.BatchNorm2d(4)
        self.b = nn.Conv2d(4, 4, 3, 1, 1)
        self.c = nn.Conv2d(4, 4, 3, 1, 1)
        self.c.weight = self.b.weight
        self.register_buffer("scale", torch.full((4, 1, 1), 2.0), persistent=False)
        nn.init.uniform_(self.norm.running_mean)

    def forward(self, x):
        x = F.relu_(self.norm(self.a(x)))
        x = x + self.c(F.dropout(self.b(x), training=self.training)) * self.scale
        return F.max_pool2d(x, (3, 1)).view(x.size(0), 4 * 2 * 9) + torch.tensor([0.5])


def test_the_module_computes_the_same_for_any_batch_and_layout():
    net = Net().eval()
    module = editable(net, SHAPE).module()
    for count in (0, 1, 3):
        x = torch.rand(count, *SHAPE)
        torch.testing.assert_close(module(x), net(x))
        torch.testing.assert_close(module(x.to(memory_format=torch.channels_last)), net(x))


def test_weights_are_copies_under_their_names_and_stay_shared():
    net = Net().eval()
    module = editable(net, SHAPE).module()
    names = {name for name, _ in net.named_parameters(remove_duplicate=False)}
    assert {name for name, _ in module.named_parameters()} == names - {"b.weight"}  # torch names shared parameters once
    assert module.c.weight is not net.c.weight and module.c.weight.equal(net.c.weight)
    assert "scale" in module.state_dict()
    module(torch.rand(2, *SHAPE)).sum().backward()
    assert module.norm.weight.grad is not None and net.norm.weight.grad is None
    again = copy.deepcopy(module)
    again.load_state_dict(module.state_dict())


def test_the_model_does_not_change():
    net = Net().train()
    before = copy.deepcopy(net.state_dict())
    editable(net, SHAPE).module()(torch.rand(2, *SHAPE))
    assert net.training and all(value.equal(before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("function, reason", [
    (lambda x: x.reshape(2, -1), "cannot be read for an input of"),
    (lambda x: (x, x), "must return one tensor, it returns 2"),
    (lambda x: torch.ones(2), "must return a tensor that depends on its input"),
])
def test_models_that_cannot_be_read(function, reason):
    class Wrong(nn.Module):
        def forward(self, x):
            return function(x)

    with pytest.raises(TraceError, match=reason):
        editable(Wrong(), SHAPE)


def test_a_changing_buffer_is_named():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls.add_(1)
            return x + self.calls

    with pytest.raises(TraceError, match="Counts cannot be rewritten because it changes its calls in each call"):
        editable(Counts(), SHAPE)


def test_strides_and_the_nodes_on_all_paths():
    net = editable(Net(), SHAPE)
    found = [(op_of(node), stride_of(node)) for node in strided_nodes(net)]
    assert found == [("conv2d", (2, 2)), ("max_pool2d", (3, 1))]
    assert Sampling(net).strides == (6, 2)
    nodes = list(net.pixel_nodes())
    chain = [op_of(node) for node in spine(net.output, dominators(nodes))]
    assert chain == ["", "conv2d", "batch_norm", "relu", "add", "max_pool2d", "reshape", "add"]


def test_dominators_match_the_definition():
    """Node d dominates n if n cannot be reached from the input without d."""
    nodes = list(editable(Net(), SHAPE).pixel_nodes())

    def reached(without):
        found = set()
        for node in nodes:
            first = node is nodes[0]
            if node is not without and (first or any(source in found for source in node.all_input_nodes)):
                found.add(node)
        return found

    above = dominators(nodes)
    for node in nodes[1:]:
        by_hand = [other for other in nodes if other is not node and node not in reached(other)]
        chain = spine(node, above)[:-1]
        assert chain == by_hand


def test_arguments_and_sizes_have_names():
    net = editable(Net(), SHAPE)
    conv = strided_nodes(net)[0]
    given = arguments(conv)
    assert (given["stride"], given["padding"], given["groups"]) == ([2, 2], [1, 1], 1)
    assert sizes(conv)[1:] == (4, 6, 9)
