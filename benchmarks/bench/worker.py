"""Functions that run in a separate process.

Training makes the C library keep freed memory for the rest of the process (`keep_memory`). The baselines must not
benefit from that, so they run in other processes.
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

_PATIENCE = 5.0  # seconds for a process to end


class WorkerProcess:
    """A function that is prepared once and then called in a new process, which ends with the `with` block.

    Args:
        make: a function of a module; called in the process with `arguments`, it returns the function to call, which
            returns seconds.

    Raises:
        ShiftscopeError: if the function raised an error or the process died.

    Example:
        >>> import operator
        >>> with WorkerProcess(operator.attrgetter, "real") as part:
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
            raise ShiftscopeError("a process of the benchmark died, probably out of memory: close other programs, "
                                  "or use fewer images") from error
        if problem is not None:
            raise ShiftscopeError(f"a method of the benchmark failed: {problem}")
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()  # ends the process
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()


def _serve(pipe: Connection, threads: int, make: Callable[..., Callable[..., float]],
           arguments: tuple[Any, ...]) -> None:
    """Serve calls until the pipe is closed; Ctrl-C is handled by the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    try:
        function = make(*arguments)
        pipe.send((0.0, None))
        while True:
            pipe.send((function(*pipe.recv()), None))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:  # reported by the parent process
        pipe.send((0.0, f"{type(error).__name__}: {error}"))


def timed(function: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of a call, device work included."""
    synchronize(device)
    start = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait for the GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
