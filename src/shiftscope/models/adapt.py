"""Models of others that want their input prepared: normalized, changed by a function, of another type, in twos."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedTensorMixin  # pyright: ignore[reportAttributeAccessIssue]

from shiftscope.errors import ShiftscopeError, UsageError, reason_of, require
from shiftscope.generators import seeded
from shiftscope.layers import Normalize
from shiftscope.models.registry import registry_name
from shiftscope.modules import (
    Classifier,
    Wrapper,
    as_module,
    described,
    device_and_dtype,
    evaluating,
    in_train_mode,
    made_in_inference_mode,
    memory_error,
    model_name,
    out_of_memory,
    tensors_of,
    unwrap,
)

Normalization = tuple[float | Sequence[float], float | Sequence[float]]
"""(mean, std) of pixels in [0, 1]: a number each, or one a channel."""

_SHAPES = ("shape", "size", "channel", "dimension", "mat1", "elements")
"""Words of errors that say that a model takes other images."""


@dataclass(frozen=True)
class Quirks:
    """What a model wants, found by trying."""

    dtype: torch.dtype | None = None
    """Of its pixels; None: that of its first floating tensor."""
    alone: bool = False
    """It takes one picture at a time only."""
    in_twos: bool = False
    """It raises on a single picture, which is then shown to it twice."""
    drops_batch: bool = False
    """It returns (K,) for a single picture."""
    whole: bool = False
    """It returns whole numbers."""


class Adapted(Wrapper):
    """A model that takes pixels in [0, 1] and hands them on prepared.

    Args:
        model: what is asked in the end.
        normalize: (mean, std).
        preprocess: pixels (B, C, H, W) -> whatever the model takes, applied instead of `normalize`.
        quirks: what else it wants.

    Example:
        >>> pixels = torch.full((1, 1, 2, 2), 0.75)
        >>> Adapted(nn.Flatten(), normalize=(0.5, 0.25))(pixels)
        tensor([[1., 1., 1., 1.]])
    """

    def __init__(self, model: nn.Module, *, normalize: Normalization | None = None,
                 preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None, quirks: Quirks | None = None):
        super().__init__()
        require(normalize is None or preprocess is None, "normalize and preprocess", "both", "given one at a time")
        self.model, self.normalize, self.preprocess = model, normalize, preprocess
        self.prepare = Normalize(*normalize) if normalize is not None else preprocess or nn.Identity()
        self.quirks = quirks or Quirks()
        self.pixel_dtype, self.twice, self.asked = self.quirks.dtype, False, 0
        self.training = in_train_mode(model)
        if isinstance(self.prepare, nn.Module):
            self.prepare.train(self.training).to(device_and_dtype(model)[0])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.quirks.in_twos and len(pixels) == 1:
            self.twice = True
            try:
                return self._ask(torch.cat((pixels, pixels)))[:1]
            finally:
                self.twice = False
        if self.quirks.drops_batch and len(pixels) == 1:
            return self._ask(pixels)[None]
        return self._one_by_one(pixels) if self.quirks.alone else self._ask(pixels)

    def _one_by_one(self, pixels: torch.Tensor) -> torch.Tensor:
        outputs = []
        try:
            for picture in pixels.split(1):
                outputs.append(self._ask(picture))
                self.asked += 1  # who looks into the model puts together what it gives
        finally:
            self.asked = 0
        return torch.cat(outputs)

    def _ask(self, pixels: torch.Tensor) -> torch.Tensor:
        prepared = self.prepare(pixels)
        if self.normalize is not None:
            prepared = prepared.to(device_and_dtype(self)[1])  # mean and std are float32
        outputs = self.model(prepared)
        return outputs.double() if self.quirks.whole else outputs

    @property
    def title(self) -> str:
        return model_name(self.model)


def title_of(model: Classifier) -> str:
    """Return what tables call a model: its name in the registry, else that of its class or function.

    >>> title_of(nn.Linear(2, 2)), title_of(torch.relu)
    ('Linear', 'relu')
    """
    return registry_name(unwrap(model)) or model_name(model)


def adapt(model: Classifier, *, normalize: Normalization | None = None,
          preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
          shape: Sequence[int] | None = None) -> nn.Module:
    """Return a model as a module that takes pixels in [0, 1] on the same device, itself where that is what it is.

    Args:
        model: a module, a wrapper of one, or a function.
        normalize: (mean, std) that it wants its pixels normalized with.
        preprocess: what else it wants done to them, instead of `normalize`.
        shape: (C, H, W): it is tried on such pictures, so that what it wants besides is found; None: it is not tried.

    Raises:
        UsageError: the model is none, its weights hold no numbers, or it takes no such pictures in any way.
    """
    module = as_module(model)
    if normalize is not None or preprocess is not None:
        module = Adapted(module, normalize=normalize, preprocess=preprocess)
    if shape is None or registry_name(module) is not None:
        return module
    _check_weights(module)
    return fitted(module, shape)


def check_initialized(model: nn.Module) -> None:
    """Raise a `UsageError` where lazy layers have no weights yet."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(tensor, UninitializedTensorMixin):
            raise UsageError(f"{model_name(model)} has lazy layers whose weights do not exist yet ({name}): call it "
                             "once on a batch of images, load its weights, or train it")


def _check_weights(model: nn.Module) -> None:
    """Raise a `UsageError` where weights hold no numbers."""
    check_initialized(model)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            raise UsageError(f"the weights of {model_name(model)} are on the meta device and hold no numbers ({name}): "
                             "load them with load_state_dict(..., assign=True)")


def without_quirks(model: Classifier) -> nn.Module:
    """Return a model as a module that other models are made of: normalized as it was, but not adapted in other ways.

    A checkpoint does not hold quirks; they are found again.
    """
    module = as_module(model)
    if not isinstance(module, Adapted) or module.quirks == Quirks():
        return module
    if module.normalize is None and module.preprocess is None:
        return module.model
    return Adapted(module.model, normalize=module.normalize, preprocess=module.preprocess)


def copy_of(model: nn.Module, shape: Sequence[int]) -> nn.Module:
    """Return a deep copy of a model that takes pictures (C, H, W).

    Raises:
        UsageError: it cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception:  # pruned weights, for instance, are kept with the graph of their last computation
        _try(model, shape, 2)  # computes them without a graph
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever what it holds raises
        raise UsageError(f"{model_name(model)} cannot be copied ({reason_of(error)}): give a model of plain tensors, "
                         "for instance with weights that were not computed from others (prune.remove, "
                         "remove_weight_norm)") from error


def differentiable(model: nn.Module) -> nn.Module:
    """Return a model through which gradients flow: a copy of one whose weights were made in inference mode."""
    return copy.deepcopy(model) if made_in_inference_mode(model) else model


def initialize(model: nn.Module, shape: Sequence[int], seed: int) -> None:
    """Give lazy layers their weights, as the first call of a model does: a function of `seed`."""
    if not any(isinstance(tensor, UninitializedTensorMixin) for tensor in tensors_of(model)):
        return
    with seeded([device_and_dtype(model)[0]], seed):
        found = _try(model, shape, 2)
    if isinstance(found, Exception):
        raise _refusal(model, shape, found)


def fitted(model: nn.Module, shape: Sequence[int]) -> nn.Module:
    """Return a model such that it takes float pixels of any batch size, in an `Adapted` one where it has quirks.

    Raises:
        UsageError: it raises on such pictures in every way.
    """
    with seeded([device_and_dtype(model)[0]], 0):
        quirks, pair = _first_that_works(model, shape)
        if isinstance(pair, torch.Tensor) and pair.ndim == 2 and len(pair) == 2:
            kind = pair.dtype
            quirks = replace(quirks, whole=not (kind.is_floating_point or kind.is_complex))
            single = pair[:1] if quirks.alone else _try(_with(model, quirks), shape, 1)
            shape_of_one = tuple(single.shape) if isinstance(single, torch.Tensor) else None
            quirks = replace(quirks, drops_batch=shape_of_one == (pair.shape[1],),
                             in_twos=shape_of_one not in ((pair.shape[1],), (1, pair.shape[1])))
        return _with(model, quirks)


def _first_that_works(model: nn.Module, shape: Sequence[int]) -> tuple[Quirks, Any]:
    """Return the first way in which a model takes two pictures, and what it returns for them."""
    errors = []
    for alone in (False, True):
        for dtype in _dtypes(model):
            quirks = Quirks(dtype=None if dtype == device_and_dtype(model)[1] else dtype, alone=alone)
            found = _try(_with(model, quirks), shape, 2)
            if not isinstance(found, Exception):
                return quirks, found
            errors.append(found)
            if not _is_about_types(found):
                break
    raise _refusal(model, shape, errors[0])


def _dtypes(model: nn.Module) -> list[torch.dtype]:
    """Return the dtypes to try: that of the weights where all have one, else float32 first, as most cast from it.

    Others follow, for a model may hold tensors that are neither parameters nor buffers.
    """
    inner = model.model if isinstance(model, Adapted) else model
    own = [tensor.dtype.to_real() for tensor in tensors_of(inner) if tensor.is_floating_point() or tensor.is_complex()]
    own = list(dict.fromkeys(own))
    first = own if len(own) == 1 else [torch.float32, *own]
    return list(dict.fromkeys([*first, torch.float32, torch.float64, torch.float16, torch.bfloat16]))


def _is_about_types(error: Exception) -> bool:
    """Return whether another dtype may help, so that a wrong size is said at once."""
    kinds = (AssertionError, TypeError, NotImplementedError)
    return isinstance(error, kinds) or "type" in str(error).lower() or "not implemented for" in str(error)


def _with(model: nn.Module, quirks: Quirks) -> nn.Module:
    if quirks == Quirks():
        return model
    if isinstance(model, Adapted):
        return Adapted(model.model, normalize=model.normalize, preprocess=model.preprocess, quirks=quirks)
    return Adapted(model, quirks=quirks)


def _try(model: nn.Module, shape: Sequence[int], count: int) -> Any:
    """Return what a model returns for a few pictures of noise, or what it raises."""
    device, dtype = device_and_dtype(model)
    noise = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))
    try:
        with evaluating(model):
            return model(noise.to(device, dtype))
    except UsageError:
        raise
    except Exception as error:  # whatever a model of the caller's raises
        return error


def _refusal(model: nn.Module, shape: Sequence[int], error: Exception) -> ShiftscopeError:
    """Return the error that says on what a model raises, and what may be done about it."""
    if out_of_memory(error):
        refusal = memory_error(model)
        refusal.__cause__ = error
        return refusal
    known = any(word in str(error).lower() for word in _SHAPES)
    remedy = "choose the canvas and the channels that it was built for" if known else "correct the model there"
    refusal = UsageError(f"{model_name(model)} cannot take pictures of {' x '.join(map(str, shape))} (channels, "
                         f"height, width): {described(error)}; {remedy}")
    refusal.__cause__ = error
    return refusal

