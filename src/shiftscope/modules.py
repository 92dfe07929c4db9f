"""Any classifier as a module: wrappers and functions, device and dtype, train and eval mode, errors of the model."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ParamSpec, TypeVar

import torch
from torch import fx, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import UninitializedTensorMixin  # pyright: ignore[reportAttributeAccessIssue]

from shiftscope.closures import copy_function, modules_of
from shiftscope.errors import ShiftscopeError, UsageError, is_lost_process, reason_of, where_raised

P = ParamSpec("P")
R = TypeVar("R")

Classifier = nn.Module | Callable[[torch.Tensor], torch.Tensor]
"""A module, or any function of pixels (B, C, H, W) that returns (B, K)."""

CALLS = "torch/nn/modules/module.py"
"""The file of PyTorch through which every call of a module goes."""


class Wrapper(nn.Module):
    """A module around a model of the caller. Messages and results use the name of that model.

    Attributes:
        pixel_dtype: dtype of the pixels, if it is known not to be the dtype of the weights.
    """

    pixel_dtype: torch.dtype | None = None

    @property
    def title(self) -> str:
        """Name of the model in messages and results."""
        raise NotImplementedError


class FunctionModel(Wrapper):
    """A function of pixels as a module. Modules that the function uses become submodules.

    Args:
        function: pixels (B, C, H, W) -> (B, K).

    Example:
        >>> net = nn.Linear(6, 2)
        >>> model = FunctionModel(lambda pixels: net(pixels.flatten(1)))
        >>> model(torch.zeros(3, 1, 2, 3)).shape, model.title, len(list(model.parameters()))
        (torch.Size([3, 2]), 'lambda', 2)
    """

    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self.function = function
        self.uses = nn.ModuleList(modules_of(function))
        self.training = self.uses.training = any(map(in_train_mode, self.uses))

    def forward(self, pixels: torch.Tensor) -> Any:
        return self.function(pixels)

    def __deepcopy__(self, memo: dict[int, Any]) -> "FunctionModel":
        """Copy the function with the modules that it uses."""
        return FunctionModel(copy_function(self.function, memo))

    @property
    def title(self) -> str:
        """The function's name; a method's name with its class; the class name of other callables."""
        function = self.function
        while isinstance(function, functools.partial):
            function = function.func
        if isinstance(function, nn.Module):
            return model_name(function)
        owner, name = getattr(function, "__self__", None), getattr(function, "__name__", type(function).__name__)
        name = name.strip("<>")
        return name if owner is None or inspect.ismodule(owner) else f"{type(owner).__name__}.{name}"


class ExportedModel(Wrapper):
    """A module made by `torch.export`: its mode is fixed, and often its batch size.

    Args:
        program: result of `ExportedProgram.module()`, which raises if its mode is set.
    """

    def __init__(self, program: fx.GraphModule):
        super().__init__()
        self.program = program
        pixels = next(node for node in program.graph.nodes if node.op == "placeholder")
        shape = getattr(pixels.meta.get("val"), "shape", (None,))
        self.batch = shape[0] if isinstance(shape[0], int) else None
        self.training = False

    def forward(self, pixels: torch.Tensor) -> Any:
        return in_fixed_batches(self.program, pixels, self.batch)

    def train(self, mode: bool = True) -> "ExportedModel":
        """Do nothing: the mode was fixed at export."""
        return self

    @property
    def title(self) -> str:
        """PyTorch does not store the name of the exported model."""
        return "ExportedProgram"


def in_fixed_batches(function: Callable[[torch.Tensor], Any], pixels: torch.Tensor, size: int | None) -> Any:
    """Apply a function that takes one batch size only to any number of images; the last batch is padded.

    Args:
        function: (size, C, H, W) -> (size, ...).
        size: None: any.

    Example:
        >>> in_fixed_batches(lambda pixels: pixels.flatten(1).sum(1), torch.ones(5, 1, 2, 2), 3)
        tensor([4., 4., 4., 4., 4.])
    """
    if size is None or len(pixels) == size:
        return function(pixels)
    parts = []
    for part in pixels.split(size):
        missing = size - len(part)
        padded = torch.cat((part, part[-1:].expand(missing, *part.shape[1:]))) if missing else part
        parts.append(function(padded)[:len(part)])
    return torch.cat(parts)


# ---------------------------------------------------------------------- classifiers as modules

def as_module(model: Any) -> nn.Module:
    """Return a classifier as a module: the content of wrappers such as `torch.compile`, functions as `FunctionModel`.

    Raises:
        UsageError: if the model is a class, a name, or anything else that is not callable.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> as_module(nn.DataParallel(net)) is net, type(as_module(torch.relu)).__name__
        (True, 'FunctionModel')
    """
    if isinstance(model, type):
        raise UsageError(f"model must be a model, got the class {model.__name__}: give an instance of it, "
                         f"{model.__name__}(...)")
    if isinstance(model, torch.export.ExportedProgram):
        model = model.module()
    inner = unwrap(model)
    if _is_exported(inner):
        return ExportedModel(inner)
    if isinstance(inner, nn.Module):
        return inner
    if not callable(inner):
        raise UsageError(f"model must be an nn.Module or a function of pixels (batch, channels, height, width), got "
                         f"{str(model)[:60]!r} ({type(model).__name__}): build or load the model first")
    return FunctionModel(inner)


def _is_exported(model: Any) -> bool:
    return isinstance(model, fx.GraphModule) and "range_constraints" in vars(model)


def unwrap(model: Any) -> Any:
    """Return the model inside `torch.compile`, `DataParallel` and `DistributedDataParallel`, also nested ones.

    Subclasses, and wrappers with hooks, which may change the output, are kept.
    """
    while True:
        inner = _wrapped(model)
        if inner is None or (isinstance(model, nn.Module) and (model._forward_hooks or model._forward_pre_hooks)):
            return model
        model = inner


def _wrapped(model: Any) -> Any:
    if type(model) in (DataParallel, DistributedDataParallel):
        return model.module
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is not None and type(model) is dynamo.OptimizedModule:
        return model._orig_mod
    return None if isinstance(model, nn.Module) else getattr(model, "_torchdynamo_orig_callable", None)


def model_name(model: Any) -> str:
    """Return the name of a model in results and messages: that of its class or function, without wrappers.

    Example:
        >>> model_name(nn.DataParallel(nn.Linear(2, 2))), model_name(torch.relu)
        ('Linear', 'relu')
    """
    model = unwrap(model)
    if isinstance(model, Wrapper):
        return model.title
    if isinstance(model, torch.jit.ScriptModule):
        return str(getattr(model, "original_name", type(model).__name__))
    if _is_exported(model):
        return "ExportedProgram"
    if isinstance(model, nn.Module) or not callable(model) or isinstance(model, type):
        return type(model).__name__
    return FunctionModel(model).title


# ---------------------------------------------------------------------- device, dtype, modes

def tensors_of(model: nn.Module) -> Iterator[torch.Tensor]:
    """Yield parameters, then buffers."""
    yield from model.parameters()
    yield from model.buffers()


def is_on_meta(model: nn.Module) -> bool:
    """Return True if a model has tensors on the meta device, which hold no numbers."""
    return any(tensor.is_meta for tensor in tensors_of(model))


def has_inference_tensors(model: nn.Module) -> bool:
    """Return True if a tensor of a model was made in `torch.inference_mode`, so that it has no gradients."""
    return any(not isinstance(tensor, UninitializedTensorMixin) and tensor.is_inference()
               for tensor in tensors_of(model))


def device_and_dtype(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Return device and dtype for a model's pixels: those of its first floating-point tensor, or its `pixel_dtype`."""
    known = model.pixel_dtype if isinstance(model, Wrapper) else None
    device = None
    for tensor in tensors_of(model):
        device = device or tensor.device
        if tensor.is_floating_point() or tensor.is_complex():
            return tensor.device, known or tensor.dtype.to_real()
    return device or torch.device("cpu"), known or torch.float32


def in_train_mode(model: nn.Module) -> bool:
    """Return True if any submodule is in train mode; frozen TorchScript has no mode."""
    return any(getattr(module, "training", False) for module in model.modules())


@contextmanager
def preserve_modes(model: nn.Module) -> Iterator[None]:
    """Restore the mode of every submodule at exit, also after an error."""
    modes = [(module, module.training) for module in model.modules() if hasattr(module, "training")]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode inside the `with` block."""
    with preserve_modes(model):
        set_mode(model, train=False)
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode without gradients inside the `with` block."""
    with eval_mode(model), torch.no_grad():
        yield


def set_mode(model: nn.Module, *, train: bool) -> None:
    """Put a model into train or eval mode; frozen TorchScript and exported models keep their fixed mode."""
    if not hasattr(model, "training"):
        return
    try:
        _ = model.train() if train else model.eval()
    except NotImplementedError:
        for module in model.modules():
            module.training = train


# ---------------------------------------------------------------------- errors of the model

def reports_model_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public function, whose first argument is a model, to raise a `UsageError` if the model raises.

    The message names file and line of the model's own code. Compiled models run uncompiled inside the function.
    """

    @functools.wraps(function)
    def reporting(*args: P.args, **kwargs: P.kwargs) -> R:
        with model_errors(args[0] if args else kwargs.get("model")):
            return function(*args, **kwargs)

    del reporting.__wrapped__  # pyright: ignore[reportAttributeAccessIssue]  # `@together` unwraps functions
    reporting.__signature__ = inspect.signature(function)  # pyright: ignore[reportAttributeAccessIssue]
    return reporting


@contextmanager
def model_errors(model: Any) -> Iterator[None]:
    """Raise a `UsageError` for errors of a model inside the `with` block, see `reports_model_errors`."""
    with uncompiled():
        try:
            yield
        except ShiftscopeError:
            raise
        except Exception as error:
            if not _raised_in_module(error) or is_lost_process(error):  # of DistributedDataParallel
                raise
            raise (memory_error(model) if out_of_memory(error) else UsageError(
                f"{model_name(model)} raised {describe_error(error)}: correct the model there, or give images that it "
                "takes")) from error


def _raised_in_module(error: Exception) -> bool:
    """Return True if an error was raised inside the call of a module."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.replace("\\", "/").endswith(CALLS):
            return True
        trace = trace.tb_next
    return False


def input_error(model: Any, shape: Sequence[int], error: Exception) -> ShiftscopeError:
    """Return the error for a model that raises on images (C, H, W)."""
    if out_of_memory(error):
        return memory_error(model)
    about_shapes = ("shape", "size", "channel", "dimension", "mat1", "elements")
    known = any(word in str(error).lower() for word in about_shapes)
    remedy = "choose the canvas and the channels that it was built for" if known else "correct the model there"
    return UsageError(f"{model_name(model)} cannot take images of {' x '.join(map(str, shape))} (channels, height, "
                      f"width): {describe_error(error)}; {remedy}")


def out_of_memory(error: BaseException) -> bool:
    """Return True if an error means that memory is exhausted, on any device.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("shape mismatch"))
    (True, False)
    """
    messages = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in messages)


def memory_error(model: Any) -> ShiftscopeError:
    """Return the error for a model that ran out of memory."""
    return ShiftscopeError(f"out of memory while {model_name(model)} computed: free memory, choose smaller batches or "
                           "another device")


def describe_error(error: Exception) -> str:
    """Return type, location and message of an error raised in a model."""
    location = where_raised(error, after=CALLS)
    return f"{type(error).__name__}{' ' + location if location else ''}: {reason_of(error)}"


def uncompiled() -> AbstractContextManager[Any]:
    """Return a context in which compiled models run eagerly, so that hooks see all operations."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and the import takes seconds
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
