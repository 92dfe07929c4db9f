"""ONNX files of other tools: axes in another order, labels before scores, other types, a fixed batch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from shiftscope.auditing import audit
from shiftscope.errors import CheckpointError
from shiftscope.models import OnnxModel
from shiftscope.models.repair import repair

from .kinds import CANVAS, CLASSES, SHAPE
from .test_matrix import DATA, PIXELS, PLACE

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

KIND = {np.float32: "FLOAT", np.float64: "DOUBLE", np.float16: "FLOAT16", np.int64: "INT64"}
WEIGHTS = np.random.default_rng(0).normal(size=(CANVAS[0] * CANVAS[1], CLASSES))  # by pixel, row by row


def file_of(path: Path, *, last: bool = False, batch: int | str = "batch", kind: type = np.float32,
            outputs: tuple[str, ...] = ("scores",)) -> Path:
    """Write a linear model; outputs are scores, labels (batch,), column (batch, 1), whole (int64 scores)."""
    helper, types = onnx.helper, onnx.TensorProto
    own = getattr(types, KIND[kind])
    shape = [batch, *CANVAS, 1] if last else [batch, *SHAPE]
    nodes = [helper.make_node("Flatten", ["pixels"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["scores"]),
             helper.make_node("ArgMax", ["scores"], ["labels"], axis=1, keepdims=0),
             helper.make_node("ArgMax", ["scores"], ["column"], axis=1, keepdims=1),
             helper.make_node("Mul", ["scores", "many"], ["large"]),
             helper.make_node("Cast", ["large"], ["whole"], to=types.INT64)]
    infos = {"scores": (own, [batch, CLASSES]), "labels": (types.INT64, [batch]), "column": (types.INT64, [batch, 1]),
             "whole": (types.INT64, [batch, CLASSES])}
    graph = helper.make_graph(
        nodes, "linear", [helper.make_tensor_value_info("pixels", own, shape)],
        [helper.make_tensor_value_info(name, *infos[name]) for name in outputs],
        [onnx.numpy_helper.from_array(WEIGHTS.astype(kind), "w"),
         onnx.numpy_helper.from_array(np.array(1e4, kind), "many")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


def scores() -> np.ndarray:
    return PIXELS.flatten(1).double().numpy() @ WEIGHTS


@pytest.mark.parametrize("options", [
    {}, {"last": True}, {"last": True, "batch": 2}, {"batch": 1}, {"batch": 4}, {"kind": np.float64},
    {"kind": np.float16}, {"outputs": ("labels", "scores")}, {"outputs": ("column", "scores", "whole")}])
def test_scores_are_those_of_the_file(options: dict, tmp_path: Path) -> None:
    model = OnnxModel(file_of(tmp_path / "m.onnx", **options))
    assert model.input_shape == SHAPE and model.channels_last is options.get("last", False)
    near = 2e-2 if options.get("kind") is np.float16 else 1e-5
    for count in (1, 3):
        assert model(PIXELS[:count]).double().numpy() == pytest.approx(scores()[:count], abs=near)


def test_audits_of_both_axis_orders_and_of_integer_outputs(tmp_path: Path) -> None:
    expected = audit(OnnxModel(file_of(tmp_path / "a.onnx")), DATA, placement=PLACE)
    assert expected.unanimity < 1
    for options in ({"last": True}, {"outputs": ("labels", "scores")}, {"outputs": ("whole",)}):
        found = audit(OnnxModel(file_of(tmp_path / "b.onnx", **options)), DATA, placement=PLACE)
        assert (found.predictions == expected.predictions).mean() > 0.99


def test_files_without_scores_are_refused(tmp_path: Path) -> None:
    for outputs in (("labels",), ("labels", "column")):
        with pytest.raises(CheckpointError, match=r"returns labels tensor\(int64\).*expected scores.*zipmap") as it:
            OnnxModel(file_of(tmp_path / "m.onnx", outputs=outputs))
        assert len(str(it.value)) < 400


def test_an_onnx_file_is_repaired_by_averages(tmp_path: Path) -> None:
    repaired = repair(OnnxModel(file_of(tmp_path / "m.onnx")), SHAPE, method="placement-average")
    views = torch.stack([PIXELS.roll((y, x), (2, 3)) for y in range(CANVAS[0]) for x in range(CANVAS[1])])
    every = torch.from_numpy(views.flatten(2).double().numpy() @ WEIGHTS).softmax(-1).mean(0).log()
    assert repaired(PIXELS).numpy() == pytest.approx(every.numpy(), abs=1e-4)
