"""The modules that a function uses, and copies of functions with copies of these modules."""

import copy
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

MAX_DEPTH = 3
"""Nesting of functions in functions that is searched."""


def modules_of(function: Any, depth: int = MAX_DEPTH) -> list[nn.Module]:
    """Return the modules that a function uses: bound, in its closure, defaults or attributes, or global.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> modules_of(functools.partial(lambda model, x: model(x), net)) == [net]
        True
    """
    if isinstance(function, nn.Module):
        return [function]
    if depth == 0:
        return []
    found = [module for value in _references(function) if _may_hold(value) for module in modules_of(value, depth - 1)]
    return list({id(module): module for module in found}.values())


def _may_hold(value: Any) -> bool:
    return isinstance(value, nn.Module) or (callable(value) and not isinstance(value, type))


def _references(function: Any) -> Iterator[Any]:
    """Yield the objects that a callable refers to directly."""
    if isinstance(function, functools.partial):
        yield from (function.func, *function.args, *function.keywords.values())
    elif inspect.ismethod(function):
        yield from (function.__self__, function.__func__)
    elif inspect.isfunction(function):
        yield from (cell.cell_contents for cell in _filled_cells(function))
        yield from (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        yield from _globals(function).values()
    else:
        yield from getattr(function, "__dict__", {}).values()


def _filled_cells(function: types.FunctionType) -> list[types.CellType]:
    return [cell for cell in function.__closure__ or () if cell != types.CellType()]  # two empty cells are equal


def _globals(function: types.FunctionType) -> dict[str, Any]:
    known = function.__globals__
    return {name: known[name] for name in function.__code__.co_names if name in known}


def copy_function(function: Any, memo: dict[int, Any]) -> Any:
    """Return a copy of a function that uses copies of the modules and tensors that the function uses.

    Args:
        memo: as in `copy.deepcopy`: copies made so far, by id.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> double = lambda x: 2 * net(x)
        >>> (other,) = modules_of(copy_function(double, {}))
        >>> other is net, torch.equal(other.weight, net.weight)
        (False, True)
    """
    if id(function) in memo:
        return memo[id(function)]
    if isinstance(function, functools.partial):
        return functools.partial(_copied(function.func, memo), *(_copied(value, memo) for value in function.args),
                                 **{name: _copied(value, memo) for name, value in function.keywords.items()})
    return _copy_plain(function, memo) if inspect.isfunction(function) else copy.deepcopy(function, memo)


def _copy_plain(function: types.FunctionType, memo: dict[int, Any]) -> Callable[..., Any]:
    cells = {id(cell): types.CellType() for cell in function.__closure__ or ()}
    namespace = dict(function.__globals__)
    copied = types.FunctionType(function.__code__, namespace, function.__name__, None, tuple(cells.values()) or None)
    memo[id(function)] = copied  # before the values, which may refer to the function
    for cell in _filled_cells(function):
        cells[id(cell)].cell_contents = _copied(cell.cell_contents, memo)
    namespace.update({name: _copied(value, memo) for name, value in _globals(function).items()})
    copied.__defaults__ = tuple(_copied(value, memo) for value in function.__defaults__ or ()) or None
    defaults = function.__kwdefaults__ or {}
    copied.__kwdefaults__ = {name: _copied(value, memo) for name, value in defaults.items()} or None
    copied.__dict__.update(function.__dict__)
    return copied


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """Return a copy of a value that holds modules or tensors, any other value unchanged."""
    if isinstance(value, nn.Module | torch.Tensor):
        return copy.deepcopy(value, memo)
    if isinstance(value, dict | list | tuple):
        held = any(isinstance(leaf, nn.Module | torch.Tensor) for leaf in pytree.tree_leaves(value))
        return copy.deepcopy(value, memo) if held else value
    return copy_function(value, memo) if _may_hold(value) and modules_of(value) else value
