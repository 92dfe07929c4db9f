"""Models as ONNX files: reading one as a module, and writing one that takes pixels in [0, 1]."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from shiftscope import files
from shiftscope.errors import CheckpointError, ShiftscopeError, UsageError
from shiftscope.models.forward import home
from shiftscope.text import valid_unicode

SUFFIX = ".onnx"
INSTALL = "install the extra: pip install 'shiftscope[onnx]'"


class OnnxModel(nn.Module):
    """A classifier in an ONNX file, asked through onnxruntime on the CPU.

    Args:
        path: the file. Its first input takes float pictures (batch, C, H, W), its first output is (batch, classes).

    Attributes:
        picture: (C, H, W) as the file says; not there where it leaves a size open.
        batch: the batch size that the file is fixed to, None where it takes any. A fixed batch is filled up with
            repeats of the last picture, whose answers are dropped.

    Raises:
        UsageError: onnxruntime is not installed.
        CheckpointError: the file is missing, corrupt, or takes something other than one batch of float pictures.
    """

    def __init__(self, path: Path | str):
        super().__init__()
        self.path = Path(path)
        self.session = _session(self.path)
        source = self.session.get_inputs()[0]
        if len(self.session.get_inputs()) != 1 or len(source.shape) != 4 or source.type != "tensor(float)":
            raise CheckpointError(f"{path} takes {[(i.name, i.type, i.shape) for i in self.session.get_inputs()]}, "
                                  "expected one input of float32 pictures (batch, channels, height, width): export "
                                  "the classifier alone")
        self.source = source.name
        batch, *sizes = source.shape
        self.batch = batch if isinstance(batch, int) else None
        if all(isinstance(size, int) for size in sizes):
            self.picture = tuple(sizes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        values = pixels.detach().to(device="cpu", dtype=torch.float32).contiguous()
        if self.batch is None:
            return self._run(values).to(pixels.device)
        parts = [self._run_fixed(part) for part in values.split(self.batch)]
        return torch.cat(parts).to(pixels.device)

    def _run_fixed(self, part: torch.Tensor) -> torch.Tensor:
        missing = (self.batch or 0) - len(part)
        filled = torch.cat((part, part[-1:].expand(missing, -1, -1, -1))) if missing else part
        return self._run(filled)[:len(part)]

    def _run(self, values: torch.Tensor) -> torch.Tensor:
        try:
            return torch.from_numpy(self.session.run(None, {self.source: values.numpy()})[0])
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise UsageError(f"{self.path} cannot take pictures of shape {tuple(values.shape)}: "
                             f"{' '.join(str(error).split())}") from error


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(f"reading {path} needs onnxruntime, which is not installed: {INSTALL}") from error
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; give the path of an ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only: they are raised as well
    readable = valid_unicode(str(path)) == str(path)  # onnxruntime opens files with names in UTF-8 only
    try:
        return onnxruntime.InferenceSession(str(path) if readable else path.read_bytes(), options,
                                            providers=["CPUExecutionProvider"])
    except Exception as error:
        raise CheckpointError(f"{path} is no readable ONNX file ({' '.join(str(error).split())}); export it "
                              "again") from error


def export_onnx(model: nn.Module, path: Path | str, shape: tuple[int, int, int], *, batch: int | None = None) -> Path:
    """Write a model as an ONNX file that takes pixels in [0, 1] and normalises them itself, whole or not at all.

    Args:
        model: any module that takes (batch, C, H, W); exported in eval mode, its modes are restored.
        shape: (C, H, W) of its pictures.
        batch: a fixed batch size; any unless given.

    Returns:
        The path.

    Raises:
        UsageError: the exporter's packages are not installed.
        ShiftscopeError: the model cannot be exported; the exporter's reason is quoted.
        OutputError: the file cannot be written.
    """
    device, dtype = home(model)
    example = torch.zeros(batch or 2, *shape, device=device, dtype=dtype)
    sizes: Any = ({0: torch.export.Dim("batch")},) if batch is None else None
    modes = [(module, module.training) for module in model.modules()]
    with TemporaryDirectory() as folder, _quiet():
        made = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(model.eval(), (example,), made, dynamo=True, input_names=["pixels"],
                              output_names=["outputs"], external_data=False, verbose=False, dynamic_shapes=sizes)
        except ImportError as error:
            raise UsageError(f"writing {path} needs packages that are not installed ({error}): {INSTALL}") from error
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise ShiftscopeError(f"{type(model).__name__} cannot be written as ONNX: {reason}") from error
        finally:
            for module, mode in modes:
                module.training = mode
        files.write_bytes(path, made.read_bytes())
    return Path(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about itself off the screen."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
