"""Classifiers of any kind as modules: what a wrapper holds, a function as a module, device and dtype, modes, errors."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ParamSpec, TypeVar

import torch
from torch import fx, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import UninitializedTensorMixin  # pyright: ignore[reportAttributeAccessIssue]

from shiftscope.closures import copy_function, modules_of
from shiftscope.errors import ShiftscopeError, UsageError, reason_of, where_raised

P = ParamSpec("P")
R = TypeVar("R")

Classifier = nn.Module | Callable[[torch.Tensor], torch.Tensor]
"""What people bring: a module, or any function of pixels (B, C, H, W) that returns (B, K)."""

CALLS = "torch/nn/modules/module.py"
"""The file of PyTorch through which every call of a module goes."""


class Wrapper(nn.Module):
    """A module around a model of the caller's, which messages and results call by the model's own name.

    Attributes:
        pixel_dtype: what the model wants pixels in, where that is known better than from its weights.
    """

    pixel_dtype: torch.dtype | None = None

    @property
    def title(self) -> str:
        """What messages and results call the model."""
        raise NotImplementedError


class FunctionModel(Wrapper):
    """A function of pixels as a module; the modules that it uses are found, so that they have the right mode.

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
        """The function's name; of a method, with that of its class; of an object, that of its class."""
        function = self.function
        while isinstance(function, functools.partial):
            function = function.func
        if isinstance(function, nn.Module):
            return model_name(function)
        owner, name = getattr(function, "__self__", None), getattr(function, "__name__", type(function).__name__)
        name = name.strip("<>")
        return name if owner is None or inspect.ismodule(owner) else f"{type(owner).__name__}.{name}"


class ExportedModel(Wrapper):
    """A module made by `torch.export`, whose mode is fixed, as is sometimes the size of a batch.

    Args:
        program: what `ExportedProgram.module()` returns; it raises when a mode is set.
    """

    def __init__(self, program: fx.GraphModule):
        super().__init__()
        self.program = program
        first = next(node for node in program.graph.nodes if node.op == "placeholder")
        shape = getattr(first.meta.get("val"), "shape", (None,))
        self.batch = shape[0] if isinstance(shape[0], int) else None
        self.training = False

    def forward(self, pixels: torch.Tensor) -> Any:
        return in_batches(self.program, pixels, self.batch)

    def train(self, mode: bool = True) -> "ExportedModel":
        """Leave the graph alone: it computes what it did when it was exported."""
        return self

    @property
    def title(self) -> str:
        """The class is always the same, and torch keeps no name of what was exported."""
        return "ExportedProgram"


def in_batches(ask: Callable[[torch.Tensor], Any], pixels: torch.Tensor, size: int | None) -> Any:
    """Ask a model that takes batches of one size only about any number of pictures.

    Args:
        ask: (size, C, H, W) -> (size, ...).
        size: None: any.

    Example:
        >>> in_batches(lambda pixels: pixels.flatten(1).sum(1), torch.ones(5, 1, 2, 2), 3)
        tensor([4., 4., 4., 4., 4.])
    """
    if size is None or len(pixels) == size:
        return ask(pixels)
    parts = []
    for part in pixels.split(size):
        missing = size - len(part)
        filled = torch.cat((part, part[-1:].expand(missing, *part.shape[1:]))) if missing else part
        parts.append(ask(filled)[:len(part)])
    return torch.cat(parts)


# ---------------------------------------------------------------------- from what is given to a module

def as_module(model: Any) -> nn.Module:
    """Return a classifier as a module: what a wrapper such as `torch.compile` holds, a function as `FunctionModel`.

    Raises:
        UsageError: a class, a name, or anything else that cannot be called.

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
    if isinstance(inner, fx.GraphModule) and "range_constraints" in vars(inner):
        return ExportedModel(inner)
    if isinstance(inner, nn.Module):
        return inner
    if not callable(inner):
        raise UsageError(f"model must be an nn.Module or a function of pixels (batch, channels, height, width), got "
                         f"{str(model)[:60]!r} ({type(model).__name__}): build or load the model first")
    return FunctionModel(inner)


def unwrap(model: Any) -> Any:
    """Return what `torch.compile`, `DataParallel` and `DistributedDataParallel` hold, however deep; all else as it is.

    A wrapper with hooks of its own is kept, for a hook may change the output; so are subclasses.
    """
    while True:
        inner = _held(model)
        if inner is None or (isinstance(model, nn.Module) and _has_hooks(model)):
            return model
        model = inner


def _held(model: Any) -> Any:
    if type(model) in (DataParallel, DistributedDataParallel):
        return model.module
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is not None and type(model) is dynamo.OptimizedModule:
        return model._orig_mod
    return None if isinstance(model, nn.Module) else getattr(model, "_torchdynamo_orig_callable", None)


def _has_hooks(model: nn.Module) -> bool:
    return bool(model._forward_hooks or model._forward_pre_hooks)


def model_name(model: Any) -> str:
    """Return what results and messages call a model: the name of its class or function, whatever wraps it.

    Example:
        >>> model_name(nn.DataParallel(nn.Linear(2, 2))), model_name(torch.relu)
        ('Linear', 'relu')
    """
    model = unwrap(model)
    if isinstance(model, Wrapper):
        return model.title
    if isinstance(model, torch.jit.ScriptModule):
        return str(getattr(model, "original_name", type(model).__name__))
    if isinstance(model, fx.GraphModule) and "range_constraints" in vars(model):
        return "ExportedProgram"
    if isinstance(model, nn.Module) or not callable(model) or isinstance(model, type):
        return type(model).__name__
    return FunctionModel(model).title


# ---------------------------------------------------------------------- device, dtype, modes

def tensors_of(model: nn.Module) -> Iterator[torch.Tensor]:
    """Yield parameters, then buffers."""
    yield from model.parameters()
    yield from model.buffers()


def made_in_inference_mode(model: nn.Module) -> bool:
    """Return whether a tensor of a model was made in `torch.inference_mode`: no gradient flows through such a one."""
    return any(not isinstance(tensor, UninitializedTensorMixin) and tensor.is_inference()
               for tensor in tensors_of(model))


def device_and_dtype(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Return device and floating dtype of a model's pixels: those of its first floating tensor, unless it was tried."""
    tried = model.pixel_dtype if isinstance(model, Wrapper) else None
    device = None
    for tensor in tensors_of(model):
        device = device or tensor.device
        if tensor.is_floating_point():
            return tensor.device, tried or tensor.dtype
        if tensor.is_complex():
            return tensor.device, tried or tensor.dtype.to_real()
    return device or torch.device("cpu"), tried or torch.float32


def in_train_mode(model: nn.Module) -> bool:
    """Return whether any part of a model is in train mode; frozen TorchScript has no mode."""
    return any(getattr(module, "training", False) for module in model.modules())


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Restore the mode of every submodule afterwards, also after an error."""
    modes = [(module, module.training) for module in model.modules() if hasattr(module, "training")]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode; every submodule's own mode is restored, also after an error."""
    with modes_kept(model):
        set_mode(model, train=False)
        yield


def set_mode(model: nn.Module, *, train: bool) -> None:
    """Put a model into train or eval mode; what has a fixed mode, frozen TorchScript and exports, is passed over."""
    if not hasattr(model, "training"):
        return
    try:
        _ = model.train() if train else model.eval()
    except NotImplementedError:
        for module in model.modules():
            module.training = train


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode without gradients; every submodule's own mode is restored, also after an error."""
    with eval_mode(model), torch.no_grad():
        yield


# ---------------------------------------------------------------------- what a model raises

def says_model_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Let a public function, whose first argument is a model, raise a `UsageError` for whatever the model raises.

    The message names file and line of the model's own code. What `torch.compile` made runs as it was written meanwhile.
    """

    @functools.wraps(function)
    def shown(*args: P.args, **kwargs: P.kwargs) -> R:
        with model_errors(args[0] if args else kwargs.get("model")):
            return function(*args, **kwargs)

    del shown.__wrapped__  # pyright: ignore[reportAttributeAccessIssue]  # followers of a group must not see through
    shown.__signature__ = inspect.signature(function)  # pyright: ignore[reportAttributeAccessIssue]
    return shown


@contextmanager
def model_errors(model: Any) -> Iterator[None]:
    """Raise a `UsageError` for whatever a model raises inside the `with` block, see `says_model_errors`."""
    with as_written():
        try:
            yield
        except ShiftscopeError:
            raise
        except Exception as error:
            told = model_error(model, error)
            if told is None:
                raise
            raise told from error


def model_error(model: Any, error: Exception) -> ShiftscopeError | None:
    """Return the error that says what a model raised, None where it arose outside of a call of a module."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_filename.replace("\\", "/"))
        trace = trace.tb_next
    if not any(file.endswith(CALLS) for file in frames):
        return None
    if out_of_memory(error):
        return memory_error(model)
    return UsageError(f"{model_name(model)} raised {described(error)}: correct the model there, or give images that it "
                      "takes")


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on any device.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("shape mismatch"))
    (True, False)
    """
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)


def memory_error(model: Any) -> ShiftscopeError:
    """Return the error that says that a model found no memory to compute in."""
    return ShiftscopeError(f"out of memory while {model_name(model)} computed: free memory, choose smaller batches or "
                           "another device")


def described(error: Exception) -> str:
    """Return the kind of an error in a model, where it was raised and what it says."""
    place = where_raised(error, after=CALLS)
    return f"{type(error).__name__}{' ' + place if place else ''}: {reason_of(error)}"


def as_written() -> AbstractContextManager[Any]:
    """Return a context in which what `torch.compile` made runs as it was written: our hooks see all of it."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and importing it takes seconds
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
