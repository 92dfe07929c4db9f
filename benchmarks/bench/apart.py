"""A contestant in a process of its own.

Training asks the C library to keep freed memory (`training/memory.py`), for the whole process and for good. The
plain ways must not profit from that, so they run where it was never asked for.
"""

import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

import torch

from shiftscope.errors import ShiftscopeError
from shiftscope.resolve import safe_path

_PATIENCE = 5.0  # seconds that a process has to end by itself


class Apart:
    """A function that is prepared once, and then called, in a fresh process; the process ends with the `with` block.

    Args:
        make: a function of a module, which the process imports; called there with `arguments`, it returns the
            function to call, whose result is a number: its seconds.

    Raises:
        ShiftscopeError: what was raised there, in words; or the process died.

    Example:
        >>> import operator
        >>> with Apart(operator.attrgetter, "real") as part:
        ...     part(2.0)
        2.0
    """

    def __init__(self, make: Callable[..., Callable[..., float]], *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far, torch.get_num_threads(), make, arguments), daemon=True)
        with safe_path():
            self.process.start()
        far.close()
        self._receive()

    def __call__(self, *arguments: Any) -> float:
        self._pipe.send(arguments)
        return self._receive()

    def _receive(self) -> float:
        try:
            result, problem = self._pipe.recv()
        except EOFError as error:
            raise ShiftscopeError("a process of the benchmark died, probably out of memory: close other programmes, "
                                  "or ask for fewer images") from error
        if problem is not None:
            raise ShiftscopeError(f"a contestant of the benchmark failed: {problem}")
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()  # the process reads the end of the pipe and leaves
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()


def _serve(pipe: Connection, threads: int, make: Callable[..., Callable[..., float]],
           arguments: tuple[Any, ...]) -> None:
    """Answer calls until the pipe is closed; Ctrl-C is the other side's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    try:
        function = make(*arguments)
        pipe.send((0.0, None))
        while True:
            pipe.send((function(*pipe.recv()), None))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:  # any: it is told on the other side
        pipe.send((0.0, f"{type(error).__name__}: {error}"))


def timed(function: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of a call, to the end of what it started on the device."""
    synchronize(device)
    begun = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - begun


def synchronize(device: torch.device) -> None:
    """Wait for what was started on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
