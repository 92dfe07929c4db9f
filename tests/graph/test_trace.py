import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.graph import Graph, TraceError, shared_traces, trace

from ..helpers import Lambda


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes[1:]]


def computed(graph: Graph, pixels: torch.Tensor) -> torch.Tensor:
    """The result of calling the nodes in order."""
    values = {graph.input: pixels}

    def value(argument):
        if isinstance(argument, list):
            return [value(item) for item in argument]
        return values[argument] if argument in graph.nodes else argument

    for node in graph.nodes[1:]:
        result = node.target(**{name: argument if isinstance(argument, torch.Tensor) else value(argument)
                                for name, argument in node.args.items()})
        values[node] = result[0] if isinstance(result, tuple) else result
    return values[graph.output]


def test_modules_and_functions_give_the_same_nodes():
    torch.manual_seed(0)
    modules = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout2d(), nn.Flatten(),
                            nn.Linear(4 * 20, 5), nn.LogSoftmax(1))

    def function(self, x):
        x = F.dropout2d(F.max_pool2d(F.conv2d(x, self.c.weight, self.c.bias).relu_(), kernel_size=2), training=False)
        return F.log_softmax(x.view(x.size(0), -1) @ self.l.weight.t() + self.l.bias)

    functions = Lambda(function, c=modules[0], l=modules[5])
    a, b = trace(modules, (3, 10, 12)), trace(functions, (3, 10, 12))
    assert ops(a) == ["conv2d", "relu", "max_pool2d", "reshape", "linear", "log_softmax"]
    assert ops(b) == ["conv2d", "relu", "max_pool2d", "reshape", "linear", "add", "log_softmax"]
    assert [node.layer for node in a.nodes[1:]] == ["0", "1", "2", "4", "5", "6"]
    assert {node.layer for node in b.nodes[1:]} == {""}
    for one, other in zip(a.nodes[:4], b.nodes[:4], strict=True):
        assert one.shape == other.shape and one.args.keys() == other.args.keys()


@pytest.mark.parametrize("spell, op", [
    (lambda x: x.view(len(x), -1), "reshape"), (lambda x: x.flatten(1), "reshape"),
    (lambda x: x.unsqueeze(1).squeeze(1), "reshape"), (lambda x: x.transpose(1, 2), "permute"),
    (lambda x: x.movedim(1, -1), "permute"), (lambda x: x.mT, "permute"),
    (lambda x: torch.cat(x.chunk(3, 1), 1), "slice"), (lambda x: torch.cat(x.split([1, 2], 1), 1), "slice"),
    (lambda x: x.unbind(1)[1], "select"), (lambda x: x.narrow(2, 1, 2), "slice"), (lambda x: x[..., 1:], "slice"),
    (lambda x: x.permute(0, 2, 3, 1) @ torch.ones(3, 2), "linear"), (lambda x: F.max_pool2d(x, 2), "max_pool2d"),
    (lambda x: F.max_pool2d(x, 2, return_indices=True)[0], "max_pool2d"), (lambda x: x.max(dim=1).values, "max"),
])
def test_each_operation_has_one_canonical_form(spell, op):
    graph = trace(Lambda(lambda self, x: spell(x)), (3, 4, 6))
    assert op in ops(graph)
    others = {"view", "transpose", "split", "unbind", "getitem", "matmul", "max_pool2d_with_indices"}
    assert not others & set(ops(graph))
    pixels = torch.rand(2, 3, 4, 6)
    torch.testing.assert_close(computed(graph, pixels), spell(pixels))


def test_padding_of_convolutions_is_per_side():
    def padding(**kwargs):
        return trace(nn.Conv2d(1, 1, (2, 3), **kwargs), (1, 6, 6)).output.args["padding"]

    assert padding() == padding(padding="valid") == [[0, 0], [0, 0]]
    assert padding(padding=(1, 2)) == [[1, 1], [2, 2]]
    assert padding(padding="same", dilation=(3, 1)) == [[1, 2], [1, 1]]


def test_all_arguments_are_named_and_parameters_are_the_models_own():
    conv = nn.Conv2d(1, 2, 3, stride=2, groups=1)
    node = trace(conv, (1, 7, 9)).output
    assert node.args["stride"] == [2, 2] and node.args["dilation"] == [1, 1] and node.args["groups"] == 1
    assert node.args["weight"].data_ptr() == conv.weight.data_ptr() and node.shape == (2, 2, 3, 4)
    assert [source.op for source in node.inputs] == ["input"]


def test_values_independent_of_the_pixels_are_computed():
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 2, 3))
    graph = trace(conv, (1, 7, 9))
    assert ops(graph) == ["conv2d"]
    torch.testing.assert_close(graph.output.args["weight"], conv.weight)


def test_random_numbers_are_not_fixed():
    graph = trace(Lambda(lambda self, x: x + torch.rand(4, 6)), (1, 4, 6))
    assert ops(graph) == ["rand", "add"]


def test_users_layers_and_dead_ends():
    class Inner(nn.Module):
        def forward(self, x):
            x.sum()  # no node reads it
            return F.relu(x) + x

    graph = trace(nn.Sequential(nn.Sequential(nn.Identity(), Inner())), (1, 4, 6))
    relu, add = graph.nodes[1:]
    assert (relu.op, relu.layer, relu.title) == ("relu", "0.1", "0.1 (relu)")
    assert graph.users() == {graph.input: [relu, add], relu: [add], add: []}
    assert graph.output is add


def test_in_place_changes_of_a_part_become_new_values():
    def change(self, x):
        y = x * 1
        y[:, 0] += 1
        return y.clamp_(max=1.5)

    graph = trace(Lambda(change), (2, 4, 6))
    pixels = torch.rand(2, 2, 4, 6)
    torch.testing.assert_close(computed(graph, pixels), change(None, pixels))
    assert not any(op.endswith("_") for op in ops(graph))


def test_a_changing_buffer_is_named():
    model = nn.BatchNorm2d(1)
    assert trace(model, (1, 4, 6)).changes == ()

    def count(self, x):
        self.calls.add_(1)
        return x * self.calls

    counting = Lambda(count)
    counting.register_buffer("calls", torch.zeros(()))
    assert trace(counting, (1, 4, 6)).changes == ("calls",)
    assert counting.calls == 0


@pytest.mark.parametrize("function, reason", [
    (lambda self, x: x if x.sum() > 0 else -x, "GuardOnDataDependentSymNode.*: Could not guard on data-dependent"),
    (lambda self, x: x.flatten(1) @ torch.ones(3, 3), "cannot be read for an input of .1, 4, 6.: RuntimeError"),
    (lambda self, x: (x, x + 1), "Lambda must return one tensor, it returns 2 in a collection"),
    (lambda self, x: {"logits": x + 1}, "Lambda must return one tensor, it returns 1 in a collection"),
    (lambda self, x: torch.ones(2), "Lambda must return a tensor that depends on its input"),
    (lambda self, x: torch.zeros_like(x).masked_scatter(x > 0, x[x > 0]),
     "the sizes of its tensors depend on the pixels"),
    (lambda self, x: 1 / 0, "ZeroDivisionError.*: division by zero"),
])
def test_a_model_that_cannot_be_read_raises_the_reason_and_does_not_change(function, reason, capfd):
    model = Lambda(function, drop=nn.Dropout(), norm=nn.BatchNorm2d(1).eval())
    stderr, random = sys.stderr, torch.random.get_rng_state()
    with pytest.raises(TraceError, match=reason):
        trace(model, (1, 4, 6))
    assert (model.training, model.drop.training, model.norm.training) == (True, True, False)
    assert sys.stderr is stderr and torch.equal(torch.random.get_rng_state(), random)
    assert capfd.readouterr() == ("", "")


def test_dtype_and_hooks_of_the_model_are_kept():
    model = nn.Conv2d(1, 2, 3).double()
    seen = []
    handle = model.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    trace(model, (1, 4, 6))
    assert seen == [torch.float64] and list(model._forward_hooks) == [handle.id]


def test_a_block_of_shared_traces_exports_each_model_once_per_shape(monkeypatch):
    exported = []
    module = sys.modules[Graph.__module__]
    export = module.export
    monkeypatch.setattr(module, "export", lambda *args: exported.append(args) or export(*args))
    models = [nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())]
    with shared_traces():
        graphs = [trace(model, (1, 3, 4)) for model in (*models, *models)]
        assert graphs[:2] == graphs[2:] and graphs[0] is not graphs[1] and len(exported) == 2
        trace(models[1], (1, 5, 4))
        with pytest.raises(TraceError):
            trace(models[0], (1, 5, 4))
    assert [model for model, _ in exported] == [*models, *models[::-1]]
    models[0][1] = nn.Linear(12, 3)
    assert trace(models[0], (1, 3, 4)).output.shape == (2, 3)  # nothing is kept after the block
