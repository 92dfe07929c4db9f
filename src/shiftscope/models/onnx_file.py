"""Models as ONNX files: reading one as a module, and writing one that takes pixels in [0, 1]."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from shiftscope import files
from shiftscope.errors import CheckpointError, ShiftscopeError, UsageError, quoted, reason_of, root_cause, where_raised
from shiftscope.files import open_regular, reason
from shiftscope.geometry import MOST_PIXELS
from shiftscope.graph.export import silenced
from shiftscope.models.adapt import adapt, without_quirks
from shiftscope.models.sizes import LARGEST
from shiftscope.modules import Classifier, device_and_dtype, evaluating, in_batches, model_name, says_model_errors
from shiftscope.text import valid_unicode

SUFFIX = ".onnx"
MOST_BYTES = 2**31
"""Size limit of a file, which is the format's own."""

INSTALL = "install the extra: pip install 'shiftscope[onnx]'"

FLOATS = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16, "tensor(double)": torch.float64}
WHOLE = ("tensor(int64)", "tensor(int32)")


class OnnxModel(nn.Module):
    """A classifier in an ONNX file, asked through onnxruntime on the CPU.

    Args:
        path: the file. Its one input takes float pictures, (batch, C, H, W) or (batch, H, W, C). Of its outputs
            the first that holds numbers (batch, classes) counts: others, such as labels, are left out.

    Attributes:
        picture: (C, H, W) as the file says; not there where it leaves a size open.
        batch: the batch size that the file is fixed to, None where it takes any. A fixed batch is filled up with
            repeats of the last picture, whose answers are dropped.
        channels_last: whether the file takes (batch, H, W, C).

    Raises:
        UsageError: onnxruntime is not installed.
        CheckpointError: the file is missing, corrupt, takes something other than one batch of float pictures, or
            returns no scores.
    """

    def __init__(self, path: Path | str):
        super().__init__()
        self.path = Path(path)
        self.session = _session(self.path)
        source = self.session.get_inputs()[0]
        if len(self.session.get_inputs()) != 1 or len(source.shape) != 4 or source.type not in FLOATS:
            raise CheckpointError(f"{path} takes {_listed(self.session.get_inputs())}, expected one input of pictures, "
                                  "floats (batch, channels, height, width): export the classifier alone")
        _check_sizes(source.shape, self.path)
        self.source, self.dtype = source.name, FLOATS[source.type]
        self.answer = _scores(self.session.get_outputs(), self.path)
        self.channels_last = _is_channels_last(source.shape)
        batch, *sizes = source.shape
        sizes = [sizes[2], *sizes[:2]] if self.channels_last else sizes
        self.batch = batch if isinstance(batch, int) else None
        if all(isinstance(size, int) for size in sizes):
            self.picture = tuple(sizes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        values = pixels.detach().to(device="cpu", dtype=self.dtype)
        values = values.permute(0, 2, 3, 1) if self.channels_last else values
        return in_batches(self._run, values.contiguous(), self.batch).to(pixels.device)

    def _run(self, values: torch.Tensor) -> torch.Tensor:
        try:
            return torch.from_numpy(self.session.run([self.answer], {self.source: values.numpy()})[0])
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise UsageError(f"{self.path} cannot take pictures of shape {tuple(values.shape)}: "
                             f"{reason_of(error)}") from error

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxModel":
        """Return the model itself: it has no weights that could change, and a session cannot be copied."""
        return self


def _listed(values: Any) -> str:
    """Return inputs or outputs of a file in words, the first few."""
    return ", ".join(f"{value.name} {value.type} {value.shape}" for value in values[:3])


def _scores(outputs: Any, path: Path) -> str:
    """Return the name of the output that holds a number for each class."""
    numbers = [value for value in outputs if value.type in (*FLOATS, *WHOLE)]
    rows = [value for value in numbers if len(value.shape) == 2 and value.shape[1] != 1]
    found = [value for value in rows if value.type in FLOATS] or rows or [
        value for value in numbers if value.type in FLOATS]
    if not found:
        raise CheckpointError(f"{path} returns {_listed(outputs)}, expected scores, floats (batch, classes): export "
                              "the scores too, from scikit-learn with the option zipmap=False")
    return found[0].name


def _is_channels_last(shape: Sequence[Any]) -> bool:
    """Return whether an input's axes are (batch, H, W, C).

    >>> _is_channels_last(["batch", 36, 36, 1]), _is_channels_last(["batch", 3, 64, 3])
    (True, False)
    """
    _, first, _, last = shape
    return last in (1, 3, 4) and (not isinstance(first, int) or first > 4)


def _check_sizes(shape: Sequence[Any], path: Path) -> None:
    """Raise a `CheckpointError` where a batch of pictures with the sizes that the file fixes would be empty or huge."""
    fixed = [size for size in shape if isinstance(size, int)]
    if any(size < 1 for size in fixed) or prod(fixed) > LARGEST or prod(fixed[-2:]) > MOST_PIXELS:
        raise CheckpointError(f"{path} takes pictures of {quoted(list(shape))} (batch, channels, height, width), "
                              f"expected 1 to {LARGEST:,} numbers a batch: export the classifier for other sizes")


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(f"reading {path} needs onnxruntime, which is not installed: {INSTALL}") from error
    try:
        open_regular(path, MOST_BYTES).close()
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {path}; give the path of an ONNX file") from error
    except OSError as error:
        raise CheckpointError(f"{path} is no readable ONNX file ({reason(error)}); export it again") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only: they are raised as well
    readable = valid_unicode(str(path)) == str(path)  # onnxruntime opens files with names in UTF-8 only
    try:
        return onnxruntime.InferenceSession(str(path) if readable else path.read_bytes(), options,
                                            providers=["CPUExecutionProvider"], enable_fallback=0)  # it would print
    except Exception as error:
        raise CheckpointError(f"{path} is no readable ONNX file ({reason_of(error)}); export it "
                              "again") from error


@says_model_errors
def export_onnx(model: Classifier, path: Path | str, shape: tuple[int, int, int], *, batch: int | None = None) -> Path:
    """Write a model as an ONNX file that takes pixels in [0, 1] and normalizes them itself, whole or not at all.

    The file takes float32, whatever the model computes in.

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
    adapted = adapt(model, shape=shape)
    device, dtype = device_and_dtype(adapted)
    module = without_quirks(adapted)
    if isinstance(module, torch.jit.ScriptModule):
        raise UsageError(f"{model_name(module)} is TorchScript, which cannot be written as ONNX: export the model that "
                         "it was made from")
    written = module if dtype == torch.float32 else _InFloat32(module, dtype)
    example = torch.zeros(batch or 2, *shape, device=device)
    sizes: Any = ({0: torch.export.Dim("batch")},) if batch is None else None
    with TemporaryDirectory() as folder, silenced(), evaluating(written):
        made = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(written, (example,), made, dynamo=True, input_names=["pixels"],
                              output_names=["outputs"], external_data=False, verbose=False, dynamic_shapes=sizes)
        except ImportError as error:
            raise UsageError(f"writing {path} needs packages that are not installed ({error}): {INSTALL}") from error
        except Exception as error:
            cause = root_cause(error)
            place = where_raised(cause)
            raise ShiftscopeError(f"{model_name(module)} cannot be written as ONNX: {type(cause).__name__}"
                                  f"{' ' + place if place else ''}: {reason_of(cause)}") from error
        if dtype != torch.float32:
            _check_runs(made, model_name(module), dtype)
        files.write_bytes(path, made.read_bytes())
    return Path(path)


def _check_runs(path: Path, name: str, dtype: torch.dtype) -> None:
    """Raise a `UsageError` unless onnxruntime, where it is installed, has all operations for this dtype."""
    try:
        OnnxModel(path)
    except CheckpointError as error:
        kind = str(dtype).removeprefix("torch.")
        raise UsageError(f"{name} computes in {kind}, for which onnxruntime lacks an operation "
                         f"({reason_of(root_cause(error), 100)}): export a copy in float32, model.float()") from error
    except UsageError:  # it is not installed
        return


class _InFloat32(nn.Module):
    """A model of another type that takes pixels in float32, as all ONNX files do that are written here."""

    def __init__(self, model: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        outputs = self.model(pixels.to(self.dtype))
        return outputs.float() if outputs.dtype.itemsize < 4 else outputs
