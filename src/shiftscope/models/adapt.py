"""Models that need prepared input: normalized, transformed by a function, of another dtype, or one image at a time."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedTensorMixin  # pyright: ignore[reportAttributeAccessIssue]

from shiftscope.errors import UsageError, reason_of, require
from shiftscope.generators import seeded
from shiftscope.layers import Normalize
from shiftscope.models.registry import registry_name
from shiftscope.models.select_output import OutputKey, default_key, is_binary, select, two_columns
from shiftscope.modules import (
    Classifier,
    Wrapper,
    as_module,
    device_and_dtype,
    evaluating,
    has_inference_tensors,
    in_train_mode,
    input_error,
    model_name,
    tensors_of,
    unwrap,
)
from shiftscope.outputs import OutputType, check_output_type

Normalization = tuple[float | Sequence[float], float | Sequence[float]]
"""(mean, std) of pixels in [0, 1]: one number each, or one per channel."""

Preprocess = Callable[[torch.Tensor], torch.Tensor]
"""Pixels (B, C, H, W) in [0, 1] -> input of a model."""


@dataclass(frozen=True)
class CallConvention:
    """How a model must be called, determined by trial."""

    dtype: torch.dtype | None = None
    """Of the pixels; None: that of the model's first floating-point tensor."""
    one_by_one: bool = False
    """The model takes only one image at a time."""
    repeat_single: bool = False
    """The model fails for a batch of one, which is then duplicated."""
    drops_batch: bool = False
    """The model returns (K,) for a batch of one."""
    integer_output: bool = False
    """The model returns integers, which are converted to float64."""
    binary: OutputType | None = None
    """The model returns one number per image, which becomes the outputs of two classes; its type."""


class Adapted(Wrapper):
    """A model with preparation of its input: takes pixels in [0, 1].

    Args:
        model: the model that gets the prepared input.
        normalize: (mean, std).
        preprocess: pixels (B, C, H, W) -> input of the model, instead of `normalize`.
        select_output: which output holds the scores, see `select`; None: determined at each call.
        convention: how the model must be called.

    Attributes:
        images_done: number of images of the batch that were passed so far, if they are passed one by one.
        repeating: True while an image is duplicated.

    Raises:
        UsageError: if both normalize and preprocess are given.

    Example:
        >>> pixels = torch.full((1, 1, 2, 2), 0.75)
        >>> Adapted(nn.Flatten(), normalize=(0.5, 0.25))(pixels)
        tensor([[1., 1., 1., 1.]])
    """

    def __init__(self, model: nn.Module, *, normalize: Normalization | None = None,
                 preprocess: Preprocess | None = None, select_output: OutputKey | None = None,
                 convention: CallConvention | None = None):
        super().__init__()
        require(normalize is None or preprocess is None, "normalize and preprocess", "both", "given one at a time")
        self.model, self.normalize, self.preprocess = model, normalize, preprocess
        self.select_output = select_output
        self.prepare = Normalize(*normalize) if normalize is not None else preprocess or nn.Identity()
        self.convention = convention or CallConvention()
        self.pixel_dtype, self.repeating, self.images_done = self.convention.dtype, False, 0
        self.training = in_train_mode(model)
        if isinstance(self.prepare, nn.Module):
            self.prepare.train(self.training).to(device_and_dtype(model)[0])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.convention.repeat_single and len(pixels) == 1:
            self.repeating = True
            try:
                return self._call(torch.cat((pixels, pixels)))[:1]
            finally:
                self.repeating = False
        if self.convention.drops_batch and len(pixels) == 1:
            return self._call(pixels)[None]
        return self._one_by_one(pixels) if self.convention.one_by_one else self._call(pixels)

    def _one_by_one(self, pixels: torch.Tensor) -> torch.Tensor:
        outputs = []
        try:
            for image in pixels.split(1):
                outputs.append(torch.atleast_1d(self._call(image)))
                self.images_done += 1
        finally:
            self.images_done = 0
        return torch.cat(outputs)

    def _call(self, pixels: torch.Tensor) -> torch.Tensor:
        prepared = self.prepare(pixels)
        if self.normalize is not None:
            prepared = prepared.to(device_and_dtype(self)[1])  # mean and std are float32
        outputs = self._selected(self.model(prepared), pixels.shape[0])  # `len` fixes the batch of a graph
        outputs = outputs.double() if self.convention.integer_output else outputs
        return outputs if self.convention.binary is None else two_columns(outputs, self.convention.binary)

    def _selected(self, outputs: Any, batch: int) -> torch.Tensor:
        if self.select_output is None and isinstance(outputs, torch.Tensor):
            return outputs
        name = model_name(self.model)
        key = default_key(outputs, batch, name) if self.select_output is None else self.select_output
        return select(outputs, key, name)

    @property
    def title(self) -> str:
        return model_name(self.model)


def title_of(model: Classifier) -> str:
    """Return a model's name for tables: its registry name, else the name of its class or function.

    >>> title_of(nn.Linear(2, 2)), title_of(torch.relu)
    ('Linear', 'relu')
    """
    return registry_name(unwrap(model)) or model_name(model)


def adapt(model: Classifier, *, normalize: Normalization | None = None, preprocess: Preprocess | None = None,
          shape: Sequence[int] | None = None, select_output: OutputKey | None = None,
          output_type: OutputType | None = None) -> nn.Module:
    """Return a model as a module that takes pixels in [0, 1] on the same device; unchanged if it is one.

    Args:
        model: a module, a wrapper of one, or a function.
        normalize: (mean, std) for the normalization of its input.
        preprocess: another preparation of its input, instead of `normalize`.
        shape: (C, H, W) of images on which the model is tried, to determine its `CallConvention`; None: no trial.
        select_output: position, key or attribute of the scores among the outputs of the model (default: the only tensor
            (B, K), else "logits").
        output_type: if a model returns one number per image, (B, 1) or (B,): its type. It then returns (B, 2).

    Raises:
        UsageError: if the model is not a model, its weights hold no numbers, it raises on such images in every way, or
            which of its outputs holds the scores is ambiguous.
    """
    module = as_module(model)
    if normalize is not None or preprocess is not None or select_output is not None:
        module = Adapted(module, normalize=normalize, preprocess=preprocess, select_output=select_output)
    if shape is None or registry_name(module) is not None:
        return module
    check_initialized(module)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_meta:
            raise UsageError(f"the weights of {model_name(module)} are on the meta device and hold no numbers ({name})"
                             ": load them with load_state_dict(..., assign=True)")
    return _fitted(module, shape, None if output_type is None else check_output_type(output_type))


def check_initialized(model: nn.Module) -> None:
    """Raise a `UsageError` if lazy layers have no weights yet."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(tensor, UninitializedTensorMixin):
            raise UsageError(f"{model_name(model)} has lazy layers whose weights do not exist yet ({name}): call it "
                             "once on a batch of images, load its weights, or train it")


def initialize(model: nn.Module, shape: Sequence[int], seed: int) -> None:
    """Initialize lazy layers by a first call on images (C, H, W); the weights are a function of `seed`."""
    if any(isinstance(tensor, UninitializedTensorMixin) for tensor in tensors_of(model)):
        with seeded([device_and_dtype(model)[0]], seed):
            result = _try(model, shape, 2)
        if isinstance(result, Exception):
            raise input_error(model, shape, result) from result


def without_convention(model: Classifier) -> nn.Module:
    """Return a model as a module with its normalization or preprocessing, but without its `CallConvention`.

    Checkpoints and rewritten models do not hold the convention; it is determined again.
    """
    module = as_module(model)
    if not isinstance(module, Adapted) or module.convention == CallConvention():
        return module
    if module.normalize is None and module.preprocess is None and module.select_output is None:
        return module.model
    return _with(module, CallConvention(), always=True)


def copy_model(model: nn.Module, shape: Sequence[int]) -> nn.Module:
    """Return a deep copy of a model that takes images (C, H, W).

    Raises:
        UsageError: if the model cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception:  # for instance pruned weights, which keep the graph of their last computation
        _try(model, shape, 2)  # computes them without a graph
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise UsageError(f"{model_name(model)} cannot be copied ({reason_of(error)}): give a model of plain tensors, "
                         "without weights computed from others (prune.remove, remove_weight_norm)") from error


def differentiable(model: nn.Module) -> nn.Module:
    """Return a model through which gradients flow: a copy if its weights were made in inference mode.

    Raises:
        UsageError: if it is computed outside of PyTorch.
    """
    if any(getattr(module, "outside_pytorch", False) is True for module in model.modules()):
        raise UsageError(f"{model_name(model)} is computed outside of PyTorch, so it has no gradients and no layers: "
                         "give the model that the ONNX file was made from")
    return without_inference_tensors(model)


def without_inference_tensors(model: nn.Module) -> nn.Module:
    """Return the model; a copy if its weights were made in inference mode."""
    return copy.deepcopy(model) if has_inference_tensors(model) else model


def _fitted(model: nn.Module, shape: Sequence[int], output_type: OutputType | None) -> nn.Module:
    """Return a model that takes float pixels of any batch size, an `Adapted` one if its convention requires it."""
    with seeded([device_and_dtype(model)[0]], 0):
        convention, pair = _first_that_works(model, shape)
        if not isinstance(pair, torch.Tensor):
            name = model_name(model)
            key = default_key(pair, 2, name)
            model, pair = Adapted(model, select_output=key), select(pair, key, name)
        if output_type is not None and is_binary(pair, 2):
            convention, pair = replace(convention, binary=output_type), two_columns(pair, output_type)
        if isinstance(pair, torch.Tensor) and pair.ndim == 2 and len(pair) == 2:
            integer = not (pair.is_floating_point() or pair.is_complex())
            convention = replace(convention, integer_output=integer)
            single = pair[:1] if convention.one_by_one else _try(_with(model, convention), shape, 1)
            single_shape = tuple(single.shape) if isinstance(single, torch.Tensor) else None
            drops_batch = single_shape == (pair.shape[1],)
            convention = replace(convention, drops_batch=drops_batch,
                                 repeat_single=not drops_batch and single_shape != (1, pair.shape[1]))
        return _with(model, convention)


def _first_that_works(model: nn.Module, shape: Sequence[int]) -> tuple[CallConvention, Any]:
    """Return the first convention with which a model takes two images, and its output for them."""
    errors = []
    for one_by_one in (False, True):
        for dtype in _dtypes(model):
            own = dtype == device_and_dtype(model)[1]
            convention = CallConvention(dtype=None if own else dtype, one_by_one=one_by_one)
            result = _try(_with(model, convention), shape, 2)
            if not isinstance(result, Exception):
                return convention, result
            errors.append(result)
            if not _may_be_dtype_error(result):
                break
    raise input_error(model, shape, errors[0]) from errors[0]


def _dtypes(model: nn.Module) -> list[torch.dtype]:
    """Return the dtypes to try: first that of the weights if they have one dtype, else float32, the usual input.

    The others follow because a model may hold tensors that are neither parameters nor buffers.
    """
    inner = model.model if isinstance(model, Adapted) else model
    own = {tensor.dtype.to_real(): None for tensor in tensors_of(inner)
           if tensor.is_floating_point() or tensor.is_complex()}
    first = own if len(own) == 1 else [torch.float32, *own]
    return list(dict.fromkeys([*first, torch.float32, torch.float64, torch.float16, torch.bfloat16]))


def _may_be_dtype_error(error: Exception) -> bool:
    kinds = (AssertionError, TypeError, NotImplementedError)
    return isinstance(error, kinds) or "type" in str(error).lower() or "not implemented for" in str(error)


def _with(model: nn.Module, convention: CallConvention, *, always: bool = False) -> nn.Module:
    if convention == CallConvention() and not always:
        return model
    if isinstance(model, Adapted):
        return Adapted(model.model, normalize=model.normalize, preprocess=model.preprocess,
                       select_output=model.select_output, convention=convention)
    return Adapted(model, convention=convention)


def _try(model: nn.Module, shape: Sequence[int], count: int) -> Any:
    """Return a model's output for a few images of noise, or the error that it raises."""
    device, dtype = device_and_dtype(model)
    noise = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))
    try:
        with evaluating(model):
            return model(noise.to(device, dtype))
    except UsageError:
        raise
    except Exception as error:
        return error
