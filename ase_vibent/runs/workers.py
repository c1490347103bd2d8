"""Where calls run: in this process, in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import json
import logging
import os
import pickle
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ase_vibent.errors import CalculatorError, InvalidInputError, LabelError

#: Limits that BLAS and OpenMP read once they are loaded; programs that a calculator runs, too.
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)

#: Seconds to wait for the answer of a scheduler.
_PATIENCE = 10


def results_as_completed(
    function: Callable[[Any], Any],
    arguments: Sequence[Any],
    *,
    n_jobs: int = 1,
    scheduler: str | None = None,
) -> Generator[tuple[int, Any], None, None]:
    """Results of one function for many arguments, in the order in which they are ready.

    Workers use one thread of BLAS and numba each, run in the working folder of this process
    and import modules from there. A call whose worker dies is made again, and given up only
    if that goes on.

    Parameters
    ----------
    function : callable (argument) -> result
        Must pickle, unless it runs in this process.
    arguments : sequence
    n_jobs : int
        Processes, -1 for all cores; 1 works in this process, with all its threads.
    scheduler : str, optional
        Address (`tcp://host:port`) or scheduler file of a Dask cluster, used instead.

    Yields
    ------
    tuple of (int, object)
        Number of the argument, and the result, or the Exception that there was instead.

    Raises
    ------
    InvalidInputError
        If the function does not pickle, Dask is not installed, or its scheduler is out of reach.
    LabelError
        If the connection to the scheduler is lost on the way.
    """
    import cloudpickle
    from joblib import effective_n_jobs

    if n_jobs != -1 and n_jobs < 1:
        raise InvalidInputError(f"n_jobs: expected 1 or more, or -1 for all cores, got {n_jobs}")
    n_jobs = effective_n_jobs(n_jobs)
    if scheduler is None and n_jobs == 1:
        yield from ((number, _attempt(function, a)) for number, a in enumerate(arguments))
        return
    try:
        cloudpickle.dumps(function)
    except Exception as error:
        raise InvalidInputError(
            f"calculator: the function that makes it cannot be sent to other processes "
            f"({type(error).__name__}: {error}); use one process, or a function of a module"
        ) from error
    with _cluster(scheduler) if scheduler else _processes(n_jobs) as pool:
        yield from _pool_results(pool, function, arguments)


def _attempt(function: Callable[[Any], Any], argument: Any) -> Any:
    try:
        return function(argument)
    except SystemExit as error:
        return CalculatorError(f"calculator: asks to exit, sys.exit({error.code!r})")
    except Exception as error:
        return error


@dataclass(frozen=True)
class _WorkerPool:
    """Workers, and what is done when one of them dies."""

    executor: Executor
    #: Calls that wait or run there at one time.
    slots: float
    #: What a future raises when its worker died, and how often its call is then made again.
    worker_died: type[Exception]
    retries: int


def _pool_results(
    pool: _WorkerPool, function: Callable[[Any], Any], arguments: Sequence[Any]
) -> Iterator[tuple[int, Any]]:
    finished: SimpleQueue[Future[Any]] = SimpleQueue()
    waiting, running = deque(range(len(arguments))), dict[Future[Any], int]()
    workers_died: Counter[int] = Counter()
    while waiting or running:
        # What lost its worker comes last and runs alone: then nothing that ran beside it can
        # have been the reason, nor have taken its memory.
        while waiting and len(running) < pool.slots and not (workers_died[waiting[0]] and running):
            number = waiting.popleft()
            future = _submit(pool.executor, function, arguments[number])
            running[future] = number
            future.add_done_callback(finished.put)
        future = finished.get()
        number = running.pop(future)
        try:
            result = future.result()
        except pool.worker_died as error:
            workers_died[number] += 1
            if workers_died[number] <= pool.retries:
                waiting.append(number)
                continue
            result = CalculatorError(f"every process that worked on it died: {error}")
        except CancelledError as error:
            raise LabelError(
                "scheduler: the connection to the Dask scheduler is lost; finished work is "
                "kept, run again to go on"
            ) from error
        except Exception as error:
            result = error
        yield number, result


def _submit(executor: Executor, function: Callable[[Any], Any], argument: Any) -> Future[Any]:
    import cloudpickle

    try:
        call = cloudpickle.dumps((function, argument))
    except Exception as error:  # one argument of many
        failed: Future[Any] = Future()
        failed.set_exception(error)
        return failed
    return executor.submit(_work, os.getcwd(), call)


def _work(folder: str, call: bytes) -> Any:
    """One call, in a worker, as if it were run in the folder of the process that asked."""
    import numba
    from threadpoolctl import threadpool_limits

    with suppress(OSError):  # a cluster may lack the folder, and its calculators not need it
        os.chdir(folder)
    if folder not in sys.path:
        sys.path.append(folder)
    os.environ.update(_ONE_THREAD)
    function, argument = pickle.loads(call)
    numba.set_num_threads(1)  # and starts its pool, which has a limit of its own
    threadpool_limits(limits=1)  # of what is loaded already
    return function(argument)


# --- Processes of this machine ----------------------------------------------------------------


class _SingleProcesses(Executor):
    """A pool of one process for every slot, so that it is known whose worker died."""

    def __init__(self, n_processes: int):
        self._idle = [self._start() for _ in range(n_processes)]
        self._pools = set(self._idle)

    @staticmethod
    def _start() -> Any:
        from joblib.externals.loky import ProcessPoolExecutor

        return ProcessPoolExecutor(max_workers=1, initializer=_follow, initargs=(os.getpid(),))

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        pool = self._idle.pop()
        try:
            future = pool.submit(function, *args, **kwargs)
        except BrokenExecutor:  # killed while it had nothing to do
            pool = self._replace(pool)
            future = pool.submit(function, *args, **kwargs)
        future.add_done_callback(lambda done: self._take_back(pool, done))
        return future

    def _take_back(self, pool: Any, done: Future[Any]) -> None:
        broken = isinstance(done.exception(), BrokenExecutor)
        self._idle.append(self._replace(pool) if broken else pool)

    def _replace(self, pool: Any) -> Any:
        self._pools.remove(pool)
        fresh = self._start()
        self._pools.add(fresh)
        return fresh

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for pool in list(self._pools):
            pool.shutdown(wait=wait, kill_workers=cancel_futures)


def _follow(parent: int) -> None:
    """End a worker with its parent, which may be killed, and leave Ctrl-C to the parent."""
    import signal

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _processes(n_jobs: int) -> Iterator[_WorkerPool]:
    executor = _SingleProcesses(n_jobs)
    try:
        yield _WorkerPool(executor, n_jobs, BrokenExecutor, retries=2)
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    executor.shutdown(wait=False)  # they have nothing to do, and end by themselves


# --- A cluster --------------------------------------------------------------------------------


@contextmanager
def _cluster(scheduler: str) -> Iterator[_WorkerPool]:
    try:
        from distributed import Client, KilledWorker
        from distributed.comm import get_address_host
    except ImportError as error:
        raise InvalidInputError(
            "scheduler: Dask is not installed; pip install 'ase-vibent[cluster]'"
        ) from error
    # What it would print with tracebacks, a lost connection, is raised below.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        file = Path(scheduler)
        address = json.loads(file.read_text())["address"] if file.is_file() else scheduler
        get_address_host(address)  # a Client would hang for a while on what is no address
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except Exception as error:  # of the network, of the address, of the file
        raise InvalidInputError(
            f"scheduler: no Dask scheduler answers at {scheduler!r} "
            f"({type(error).__name__}: {error}); start one, and give the address that it prints "
            "(tcp://host:port) or its scheduler file"
        ) from error
    with client:
        # Not joblib's own backend for Dask: it waits for ever for a call whose workers died.
        executor = client.get_executor(pure=False)
        try:
            # Dask itself has called again, on other workers, before it raises KilledWorker;
            # the retry is for what only shared the workers of another.
            yield _WorkerPool(executor, float("inf"), KilledWorker, retries=1)
        finally:
            executor.shutdown(wait=False)
