"""ONNX files: reading one as a module, and exporting a model to a file that takes pixels in [0, 1]."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from shiftscope import files
from shiftscope.errors import (
    CheckpointError,
    ShiftscopeError,
    UsageError,
    quoted,
    reason_of,
    root_cause,
    some_of,
    where_raised,
)
from shiftscope.files import open_regular, reason
from shiftscope.graph.export import silenced
from shiftscope.models.adapt import adapt, without_convention
from shiftscope.models.forward import MAX_VALUES, within_limits
from shiftscope.models.select_output import OutputKey
from shiftscope.modules import (
    Classifier,
    device_and_dtype,
    evaluating,
    in_fixed_batches,
    model_name,
    reports_model_errors,
)
from shiftscope.text import valid_unicode

SUFFIX = ".onnx"
MAX_BYTES = 2**31
"""Size limit of a file, which is that of the format."""

INSTALL = "install the extra: pip install 'shiftscope[onnx]'"

IMAGES = "tensor(uint8)"
FLOATS = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16, "tensor(double)": torch.float64}
INTEGERS = ("tensor(int64)", "tensor(int32)")


class OnnxModel(nn.Module):
    """A classifier in an ONNX file, computed by onnxruntime on the CPU.

    Args:
        path: the file. It must have one input, images (batch, C, H, W) or (batch, H, W, C): floats, or uint8 from 0 to
            255, to which pixels in [0, 1] are scaled.
        select_output: name or position of the output with the scores (batch, classes) (default: the only one with
            floats of this shape, else "logits"; others, such as labels, are ignored).

    Attributes:
        input_shape: (C, H, W); missing if a size is dynamic.
        batch: the fixed batch size of the file, None if dynamic. Smaller batches are padded with the last image.
        channels_last: True if the file takes (batch, H, W, C).

    Raises:
        UsageError: if onnxruntime is not installed, there is no output `select_output`, or several could be meant.
        CheckpointError: if the file is missing or corrupt, its input is not one batch of images, or it has no
            output of scores.
    """

    outside_pytorch = True

    def __init__(self, path: Path | str, *, select_output: OutputKey | None = None):
        super().__init__()
        self.path = Path(path)
        self.session = _session(self.path)
        source = self.session.get_inputs()[0]
        if len(self.session.get_inputs()) != 1 or len(source.shape) != 4 or source.type not in (*FLOATS, IMAGES):
            raise CheckpointError(f"{path} takes {_listed(self.session.get_inputs())}, expected one input of images, "
                                  "floats or uint8 (batch, channels, height, width): export the classifier alone")
        _check_sizes(source.shape, self.path)
        self.source, self.dtype = source.name, FLOATS.get(source.type, torch.uint8)
        outputs = self.session.get_outputs()
        self.output = _scores(outputs, path) if select_output is None else _named(outputs, select_output, path)
        self.channels_last = _is_channels_last(source.shape)
        batch, *sizes = source.shape
        sizes = [sizes[2], *sizes[:2]] if self.channels_last else sizes
        self.batch = batch if isinstance(batch, int) else None
        if all(isinstance(size, int) for size in sizes):
            self.input_shape = tuple(sizes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        values = pixels.detach().cpu()
        values = (255 * values).round().clamp(0, 255) if self.dtype == torch.uint8 else values
        values = values.to(self.dtype)
        values = values.permute(0, 2, 3, 1) if self.channels_last else values
        return in_fixed_batches(self._run, values.contiguous(), self.batch).to(pixels.device)

    def _run(self, values: torch.Tensor) -> torch.Tensor:
        try:
            return torch.from_numpy(self.session.run([self.output], {self.source: values.numpy()})[0])
        except Exception as error:  # the errors of onnxruntime have no common base class
            raise UsageError(f"{self.path} cannot take images of shape {tuple(values.shape)}: "
                             f"{reason_of(error)}") from error

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxModel":
        """Return the model itself: it has no parameters, and sessions cannot be copied."""
        return self


def _listed(values: Any) -> str:
    """Return names, types and shapes of the first inputs or outputs of a file."""
    return ", ".join(f"{value.name} {value.type} {value.shape}" for value in values[:3])


def _scores(outputs: Any, path: Path | str) -> str:
    """Return the name of the output (batch, classes)."""
    numbers = [value for value in outputs if value.type in (*FLOATS, *INTEGERS)]
    rows = [value for value in numbers if len(value.shape) == 2 and value.shape[1] != 1]
    floats = [value for value in rows if value.type in FLOATS]
    found = floats or rows or [value for value in numbers if value.type in FLOATS]
    if not found:
        raise CheckpointError(f"{path} returns {_listed(outputs)}, expected scores, floats (batch, classes): export "
                              "the scores too, from scikit-learn with the option zipmap=False")
    if len(floats) > 1:
        found = [value for value in floats if value.name == "logits"]
    if not found:
        raise UsageError(f"{path} returns several outputs (batch, classes), {_listed(floats)}: choose one with "
                         "select_output= (--select-output), its name or position")
    return found[0].name


def _named(outputs: Any, key: OutputKey, path: Path | str) -> str:
    """Return the name of the output with a name or a position."""
    names = [value.name for value in outputs]
    if isinstance(key, int) and -len(names) <= key < len(names):
        return names[key]
    if key not in names:
        raise UsageError(f"select_output is {key!r}, which {path} does not have: choose one of {some_of(names)}, or a "
                         "position")
    return str(key)


def _is_channels_last(shape: Sequence[Any]) -> bool:
    """Return True if the axes of an input are (batch, H, W, C).

    >>> _is_channels_last(["batch", 36, 36, 1]), _is_channels_last(["batch", 3, 64, 3])
    (True, False)
    """
    _, first, _, last = shape
    return last in (1, 3, 4) and (not isinstance(first, int) or first > 4)


def _check_sizes(shape: Sequence[Any], path: Path) -> None:
    """Raise a `CheckpointError` if a batch of the sizes that the file fixes would be empty or exceed the limits."""
    fixed = [size for size in shape if isinstance(size, int)]
    if fixed and not within_limits(fixed):
        raise CheckpointError(f"{path} takes images of {quoted(list(shape))} (batch, channels, height, width), "
                              f"expected 1 to {MAX_VALUES:,} numbers per batch: export the classifier for other sizes")


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(f"reading {path} needs onnxruntime, which is not installed: {INSTALL}") from error
    try:
        open_regular(path, MAX_BYTES).close()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist; give the path of an ONNX file") from error
    except OSError as error:
        raise CheckpointError(f"{path} is not a readable ONNX file ({reason(error)}); export it again") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # only errors, which are raised as well
    readable = valid_unicode(str(path)) == str(path)  # onnxruntime opens only files with UTF-8 names
    try:
        return onnxruntime.InferenceSession(str(path) if readable else path.read_bytes(), options,
                                            providers=["CPUExecutionProvider"], enable_fallback=0)  # else it prints
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable ONNX file ({reason_of(error)}); export it again") from error


@reports_model_errors
def export_onnx(model: Classifier, path: Path | str, shape: tuple[int, int, int], *, batch: int | None = None) -> Path:
    """Export a model to an ONNX file that takes float32 pixels in [0, 1], and includes the normalization.

    The file is written atomically.

    Args:
        model: any module that takes (batch, C, H, W); exported in eval mode, its modes are restored.
        shape: (C, H, W) of its input.
        batch: a fixed batch size; None: dynamic.

    Returns:
        The path.

    Raises:
        UsageError: if the packages for the export are not installed, or the model is TorchScript.
        ShiftscopeError: if the model cannot be exported; the message quotes the exporter.
        OutputError: if the file cannot be written.
    """
    adapted = adapt(model, shape=shape)
    device, dtype = device_and_dtype(adapted)
    module = without_convention(adapted)
    if isinstance(module, torch.jit.ScriptModule):
        raise UsageError(f"{model_name(module)} is TorchScript, which cannot be written as ONNX: export the model that "
                         "it was made from")
    exported = module if dtype == torch.float32 else _InFloat32(module, dtype)
    example = torch.zeros(batch or 2, *shape, device=device)
    sizes: Any = ({0: torch.export.Dim("batch")},) if batch is None else None
    with TemporaryDirectory() as folder, silenced(), evaluating(exported):
        file = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(exported, (example,), file, dynamo=True, input_names=["pixels"],
                              output_names=["outputs"], external_data=False, verbose=False, dynamic_shapes=sizes)
        except ImportError as error:
            raise UsageError(f"writing {path} needs packages that are not installed ({error}): {INSTALL}") from error
        except Exception as error:
            cause = root_cause(error)
            location = where_raised(cause)
            raise ShiftscopeError(f"{model_name(module)} cannot be written as ONNX: {type(cause).__name__}"
                                  f"{' ' + location if location else ''}: {reason_of(cause)}") from error
        if dtype != torch.float32:
            _check_runs(file, model_name(module), dtype)
        files.write_bytes(path, file.read_bytes())
    return Path(path)


def _check_runs(path: Path, name: str, dtype: torch.dtype) -> None:
    """Raise a `UsageError` if onnxruntime is installed and lacks an operation for this dtype."""
    try:
        OnnxModel(path)
    except CheckpointError as error:
        kind = str(dtype).removeprefix("torch.")
        raise UsageError(f"{name} computes in {kind}, for which onnxruntime lacks an operation "
                         f"({reason_of(root_cause(error), 100)}): export a copy in float32, model.float()") from error
    except UsageError:  # it is not installed
        return


class _InFloat32(nn.Module):
    """A model of another dtype that takes float32 pixels."""

    def __init__(self, model: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        outputs = self.model(pixels.to(self.dtype))
        return outputs.float() if outputs.dtype.itemsize < 4 else outputs
