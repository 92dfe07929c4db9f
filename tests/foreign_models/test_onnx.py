"""ONNX files written node by node, against onnxruntime itself."""

from functools import partial

import numpy as np
import pytest
import torch

from . import checks
from .registry import CANVAS, CLASSES, Foreign

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

WEIGHTS = np.random.default_rng(3)
CONSTANTS = {
    "filters": WEIGHTS.normal(size=(4, 1, 3, 3)), "matrix": WEIGHTS.normal(size=(4 * 5 * 6, CLASSES)) / 3,
    "bias": np.array([-0.8, 0.1, 0.5, -0.2, 0.4]), "prior": np.array([0.05, 0.3, 0.1, 0.25, 0.3]),
    "low": np.float32(0), "high": np.float32(1)}

NODES = {
    "plain": [],
    "softmax_and_prior": [("Softmax", "scores", "p"), ("Mul", "p prior", "answer")],
    "clipped": [("Clip", "scores low high", "answer")],
    "one_hot": [("ReduceMax", "scores", "largest"), ("Equal", "scores largest", "is"), ("Cast", "is", "answer")],
}
"""Operations after the scores of a small convnet; two of them give exact ties."""


def written(path, name):
    """Write a model: convolution, ReLU, max pooling, matrix product, and the named operation."""
    nodes = [("Conv", "pixels filters", "maps"), ("Relu", "maps", "rectified"), ("MaxPool", "rectified", "pooled"),
             ("Flatten", "pooled", "flat"), ("Gemm", "flat matrix bias", "scores"), *NODES[name]]
    options = {"MaxPool": {"kernel_shape": [2, 2], "strides": [2, 2]}, "Softmax": {"axis": 1}, "Cast": {"to": 1},
               "ReduceMax": {"axes": [1]}}
    values = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, given.split(), [result], **options.get(op, {})) for op, given, result in nodes],
        name, [values("pixels", 1, ["batch", 1, *CANVAS])], [values(nodes[-1][2], 1, ["batch", CLASSES])],
        [onnx.numpy_helper.from_array(np.asarray(CONSTANTS[key], np.float32), key)
         for key in dict.fromkeys(" ".join(given for _, given, _ in nodes).split()) if key in CONSTANTS])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def bare(path, *_):
    """Return a function from pixels to the file's outputs."""
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pixels: torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("mode", checks.MODES)
def test_every_prediction_of_a_file(name, mode, tmp_path):
    from shiftscope.models import OnnxModel

    path = written(tmp_path / "net.onnx", name)
    model = Foreign(name=f"onnx_{name}", make=partial(bare, path), exact=name in ("clipped", "one_hot"), near=1.0)
    wanted = checks.expected(model, mode)
    assert len(set(wanted.labels.ravel().tolist())) > 1
    found, labels = checks.audited(model, OnnxModel(path), mode, "auto")
    checks.check_figures(found, wanted.labels, checks.compare(model, labels, wanted))
    assert found.engine == "brute" and "OnnxModel" in found.reason
