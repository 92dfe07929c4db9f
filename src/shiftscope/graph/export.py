"""torch.export without side effects on modes, warnings and logs."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from torch import nn

from shiftscope.errors import ShiftscopeError
from shiftscope.modules import describe_error, device_and_dtype, evaluating, model_name

BATCH = 2
"""Batch size of the traced input; with one image, a reshape could mix images unnoticed."""


class TraceError(ShiftscopeError):
    """A model's operations cannot be read, for example because they depend on the pixels."""


@contextmanager
def silenced() -> Iterator[None]:
    """Suppress warnings, logs and output of torch; relevant problems are raised as errors."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def example(model: nn.Module, shape: tuple[int, int, int]) -> torch.Tensor:
    """Return zeros (2, C, H, W) with the device and dtype of the model's pixels."""
    device, dtype = device_and_dtype(model)
    return torch.zeros(BATCH, *shape, dtype=dtype, device=device)


def export(model: nn.Module, shape: tuple[int, int, int], *, any_batch: bool = False) -> torch.export.ExportedProgram:
    """Return the model's functional graph in eval mode, without decomposing its layers.

    Args:
        model: any module with one argument.
        shape: (C, H, W) of its input.
        any_batch: True: the graph is valid for any batch size; False: for `BATCH`.

    Raises:
        TraceError: if the export failed or the model raised; the message contains the reason.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise TraceError(f"the operations of {model_name(model)} cannot be read because it is TorchScript: pass the "
                         "model that it was made from")
    pixels = example(model, shape)
    sizes = ({0: torch.export.Dim("batch")},) if any_batch else None
    with evaluating(model), silenced():
        try:
            program = torch.export.export(model, (pixels,), strict=False, dynamic_shapes=sizes)
            return program.run_decompositions({})  # removes in-place operations only
        except Exception as error:
            raise TraceError(f"the operations of {model_name(model)} cannot be read for an input of {tuple(shape)}: "
                             f"{describe_error(error)}") from error


def only_output(program: torch.export.ExportedProgram, owner: str) -> str:
    """Return the name of the one node that the model `owner` returns.

    Raises:
        TraceError: if it returns several tensors, or one in a collection.
    """
    names = program.graph_signature.user_outputs
    spec = program.call_spec.out_spec
    if len(names) != 1 or spec is None or not spec.is_leaf():
        raise TraceError(f"{owner} must return one tensor, it returns {len(names)} in a collection: wrap it in a "
                         "module that returns one of them")
    return str(next(iter(names)))
