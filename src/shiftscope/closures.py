"""The modules that a function uses, and copies of functions that use copies of them."""

import copy
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

DEPTH = 3
"""Functions in functions that are looked into."""


def modules_of(function: Any, depth: int = DEPTH) -> list[nn.Module]:
    """Return the modules that a function uses: bound to it, in its closure or defaults, in its attributes, or global.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> modules_of(functools.partial(lambda model, x: model(x), net)) == [net]
        True
    """
    if isinstance(function, nn.Module):
        return [function]
    if depth == 0:
        return []
    found = [module for value in _reached(function) if _may_hold(value) for module in modules_of(value, depth - 1)]
    return list({id(module): module for module in found}.values())


def _may_hold(value: Any) -> bool:
    return isinstance(value, nn.Module) or (callable(value) and not isinstance(value, type))


def _reached(function: Any) -> Iterator[Any]:
    """Yield what a function can call by itself."""
    if isinstance(function, functools.partial):
        yield from (function.func, *function.args, *function.keywords.values())
    elif inspect.ismethod(function):
        yield from (function.__self__, function.__func__)
    elif inspect.isfunction(function):
        yield from (cell.cell_contents for cell in _filled(function))
        yield from (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        yield from _globals(function).values()
    else:
        yield from getattr(function, "__dict__", {}).values()


def _filled(function: types.FunctionType) -> list[types.CellType]:
    """Return the cells of a closure that hold a value by now."""
    filled = []
    for cell in function.__closure__ or ():
        try:
            _ = cell.cell_contents
        except ValueError:
            continue
        filled.append(cell)
    return filled


def _globals(function: types.FunctionType) -> dict[str, Any]:
    known = function.__globals__
    return {name: known[name] for name in function.__code__.co_names if name in known}


def copy_function(function: Any, memo: dict[int, Any]) -> Any:
    """Return a copy of a function that uses copies of the modules and tensors that it uses.

    Args:
        memo: of `copy.deepcopy`: what was copied already.

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
    return _copied_plain(function, memo) if inspect.isfunction(function) else copy.deepcopy(function, memo)


def _copied_plain(function: types.FunctionType, memo: dict[int, Any]) -> Callable[..., Any]:
    cells = {id(cell): types.CellType() for cell in function.__closure__ or ()}
    known = dict(function.__globals__)
    made = types.FunctionType(function.__code__, known, function.__name__, None, tuple(cells.values()) or None)
    memo[id(function)] = made  # before what it uses: that may use the function
    for cell in _filled(function):
        cells[id(cell)].cell_contents = _copied(cell.cell_contents, memo)
    known.update({name: _copied(value, memo) for name, value in _globals(function).items()})
    made.__defaults__ = tuple(_copied(value, memo) for value in function.__defaults__ or ()) or None
    named = function.__kwdefaults__ or {}
    made.__kwdefaults__ = {name: _copied(value, memo) for name, value in named.items()} or None
    made.__dict__.update(function.__dict__)
    return made


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """Return a copy of a value that holds modules or tensors, any other as it is."""
    if isinstance(value, nn.Module | torch.Tensor):
        return copy.deepcopy(value, memo)
    if isinstance(value, dict | list | tuple):
        held = any(isinstance(leaf, nn.Module | torch.Tensor) for leaf in pytree.tree_leaves(value))
        return copy.deepcopy(value, memo) if held else value
    return copy_function(value, memo) if _may_hold(value) and modules_of(value) else value
