"""Export to ONNX files and loading."""

import os

import numpy as np
import pytest
import torch
from torch import nn

from shiftscope.errors import CheckpointError, ShiftscopeError, UsageError
from shiftscope.models import OnnxModel, TwoConvTwoFullNet, TwoFullNet, export_onnx, open_source
from shiftscope.models.adapt import adapt

pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

SHAPE = (3, 20, 24)


@pytest.fixture(scope="module")
def convnet():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwoConvTwoFullNet(canvas=SHAPE[1:], channels=3, classes=4).eval()


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("batch", [None, 1, 4])
def test_an_exported_file_equals_the_model_for_any_batch_size(convnet, pixels, tmp_path, batch):
    read = OnnxModel(export_onnx(convnet, tmp_path / "net.onnx", SHAPE, batch=batch))
    assert (read.batch, read.input_shape) == (batch, SHAPE)
    for count in (1, 5):
        torch.testing.assert_close(read(pixels[:count]), convnet(pixels[:count]), atol=1e-5, rtol=1e-5)


def test_the_exported_file_normalizes_and_the_mode_is_restored(tmp_path, pixels):
    foreign = adapt(nn.Sequential(nn.Flatten(), nn.Linear(3 * 20 * 24, 2), nn.Dropout(0.9)),
                    normalize=((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))).train()
    read = OnnxModel(export_onnx(foreign, tmp_path / "net.onnx", SHAPE))
    assert foreign.training and all(module.training for module in foreign.modules())
    torch.testing.assert_close(read(pixels), foreign.eval()(pixels), atol=1e-5, rtol=1e-5)


def test_a_model_that_cannot_be_exported_leaves_no_file(tmp_path):
    class Moody(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) if x.sum().item() > 0.123 else x.amax((2, 3))

    with pytest.raises(ShiftscopeError, match="Moody cannot be written as ONNX: .+"):
        export_onnx(Moody(), tmp_path / "net.onnx", SHAPE)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_onnxruntime_cannot_load_prints_nothing(tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise RuntimeError("no kernel")

    path = export_onnx(TwoFullNet(3, canvas=(6, 5)), tmp_path / "net.onnx", (1, 6, 5))
    monkeypatch.setattr("onnxruntime.InferenceSession._create_inference_session", fail)
    capsys.readouterr()
    with pytest.raises(CheckpointError, match=r"net\.onnx is not a readable ONNX file \(no kernel\)"):
        OnnxModel(path)
    assert capsys.readouterr() == ("", "")


def test_bad_files(tmp_path, pixels):
    with pytest.raises(CheckpointError, match=r"gone\.onnx does not exist"):
        OnnxModel(tmp_path / "gone.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(CheckpointError, match=r"bad\.onnx is not a readable ONNX file"):
        OnnxModel(tmp_path / "bad.onnx")
    whole = export_onnx(TwoFullNet(3, canvas=(6, 5)), tmp_path / "net.onnx", (1, 6, 5)).read_bytes()
    (tmp_path / "torn.onnx").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"torn\.onnx is not a readable ONNX file"):
        OnnxModel(tmp_path / "torn.onnx")
    with pytest.raises(UsageError, match=r"net\.onnx cannot take images of shape \(5, 3, 20, 24\)"):
        OnnxModel(tmp_path / "net.onnx")(pixels)


@pytest.mark.parametrize("shape", [(40_000, 40_000), (0, 5), (6, 2**40)])
def test_sizes_that_a_file_fixes_are_limited(shape, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 1, *shape])
    outputs = helper.make_tensor_value_info("outputs", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Flatten", ["pixels"], ["outputs"])], "net", [pixels], [outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(CheckpointError, match=r"takes images of .* expected 1 to 67,108,864 numbers|not a readable"):
        OnnxModel(tmp_path / "net.onnx")


@pytest.mark.skipif(os.name != "posix", reason="needs named pipes")
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "net.onnx")
    with pytest.raises(CheckpointError, match=r"not a readable ONNX file \(it is a named pipe, expected a regular"):
        OnnxModel(tmp_path / "net.onnx")


def test_without_the_extra_the_message_gives_the_install_command(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"needs onnxruntime, which is not installed: .*shiftscope\[onnx\]"):
        OnnxModel(tmp_path / "net.onnx")


class _Calibration:
    """Batches for the quantization of onnxruntime."""

    def __init__(self, pixels):
        self.batches = iter([{"pixels": batch.numpy()} for batch in pixels.split(1)])

    def get_next(self):
        return next(self.batches, None)


@pytest.mark.parametrize("dynamic", [True, False])
def test_an_int8_file_gives_the_outputs_of_onnxruntime(convnet, pixels, tmp_path, dynamic):
    import onnxruntime
    from onnxruntime import quantization

    whole = str(export_onnx(convnet, tmp_path / "net.onnx", SHAPE))
    if dynamic:
        quantization.quantize_dynamic(whole, str(tmp_path / "int8.onnx"))
    else:
        quantization.quantize_static(whole, str(tmp_path / "int8.onnx"), _Calibration(pixels))
    read = OnnxModel(tmp_path / "int8.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "int8.onnx"), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: pixels.numpy()})
    assert np.array_equal(read(pixels).numpy(), expected) and read.input_shape == SHAPE
    assert 0 < np.abs(expected - convnet(pixels).detach().numpy()).max() < 0.5  # it is quantized, and close


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_file_that_takes_uint8_pixels(convnet, tmp_path, channels_last):
    class Bytes(nn.Module):
        def forward(self, x):
            x = x.permute(0, 3, 1, 2) if channels_last else x
            return convnet(x.float() / 127.5 - 1)

    levels = torch.randint(0, 256, (5, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    example = levels.permute(0, 2, 3, 1).contiguous() if channels_last else levels
    torch.onnx.export(Bytes().eval(), (example,), tmp_path / "net.onnx", dynamo=True, verbose=False,
                      dynamic_shapes=({0: torch.export.Dim("batch")},))
    opened = open_source(tmp_path / "net.onnx")
    assert (opened.info.channels, opened.info.input_size) == (3, SHAPE[1:])
    torch.testing.assert_close(opened.model(levels / 255), convnet(levels / 127.5 - 1), atol=1e-5, rtol=1e-5)
    with pytest.raises(UsageError, match=r"net\.onnx takes uint8 pixels, which it normalizes itself: leave out"):
        open_source(tmp_path / "net.onnx", normalize=(0.5, 0.5))
