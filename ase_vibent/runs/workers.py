"""Where calls run: in this process, in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ase_vibent.checks import check_positive
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

#: Tells Python to import nothing from the working folder, which `-m` and `-c` put first.
_SAFE_PATH = "PYTHONSAFEPATH"

#: Seconds to wait for the answer of a scheduler.
_PATIENCE = 10


def results_as_completed(
    function: Callable[[Any], Any],
    arguments: Sequence[Any],
    *,
    n_jobs: int = 1,
    scheduler: str | None = None,
    time_limit: float | None = None,
) -> Generator[tuple[int, Any], None, None]:
    """Results of one function for many arguments, in the order in which they are ready.

    Workers use one thread of BLAS and numba each, run in the working folder of this process
    and import modules from there, after all others. A call whose worker dies is made again, and
    given up only if that goes on.

    Parameters
    ----------
    function : callable (argument) -> result
        Must pickle, unless it runs in this process.
    arguments : sequence
    n_jobs : int
        Processes, -1 for all cores; 1 works in this process, with all its threads, unless there
        is a time limit.
    scheduler : str, optional
        Address (`tcp://host:port`) or scheduler file of a Dask cluster, used instead. It trusts
        whoever reaches it, and so does this process: pickles run code.
    time_limit : float, optional
        Seconds after which a call is given up and its process killed, with all that it started.

    Yields
    ------
    tuple of (int, object)
        Number of the argument, and the result, or the Exception that there was instead.

    Raises
    ------
    InvalidInputError
        If the function does not pickle, Dask is not installed, or its scheduler is out of reach
        or is to keep a time limit.
    LabelError
        If the connection to the scheduler is lost on the way.
    """
    import cloudpickle
    from joblib import effective_n_jobs

    if n_jobs != -1 and n_jobs < 1:
        raise InvalidInputError(f"n_jobs: expected 1 or more, or -1 for all cores, got {n_jobs}")
    if time_limit is not None:
        check_positive("time_limit", time_limit)
        if scheduler is not None:
            raise InvalidInputError(
                "time_limit: is kept by processes of this machine; workers of a cluster cannot be "
                "killed for one call, so leave it out, or the scheduler"
            )
    n_jobs = effective_n_jobs(n_jobs)
    if scheduler is None and n_jobs == 1 and time_limit is None:
        yield from ((number, _attempt(function, a)) for number, a in enumerate(arguments))
        return
    try:
        pickled = cloudpickle.dumps(function)
    except Exception as error:
        raise InvalidInputError(
            f"calculator: the function that makes it cannot be sent to other processes "
            f"({type(error).__name__}: {error}); use one process, or a function of a module"
        ) from error
    processes = partial(_processes, min(n_jobs, len(arguments)), pickled, time_limit)
    with _cluster(scheduler) if scheduler else processes() as pool:
        yield from _pool_results(pool, pickled, arguments)


def _attempt(function: Callable[[Any], Any], argument: Any) -> Any:
    try:
        with chdir("."):  # and back, wherever a calculator goes
            return function(argument)
    except KeyboardInterrupt:  # the user's
        raise
    except SystemExit as error:
        return CalculatorError(f"calculator: asks to exit, sys.exit({error.code!r})")
    except BaseException as error:
        return error if isinstance(error, Exception) else _as_failure(error)


def _as_failure(error: BaseException) -> CalculatorError:
    return CalculatorError(f"calculator: raised {type(error).__name__}")


@dataclass(frozen=True)
class _WorkerPool:
    """Workers, and what is done when one of them dies."""

    executor: Executor
    #: Calls that wait or run there at one time.
    slots: float
    #: What a future raises when its worker died, and how often its call is then made again.
    worker_died: type[Exception]
    retries: int
    #: What it raises when it took too long.
    too_late: tuple[type[Exception], ...] = ()
    time_limit: float | None = None


def _pool_results(
    pool: _WorkerPool, function: bytes, arguments: Sequence[Any]
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
        except pool.too_late:
            result = CalculatorError(f"took longer than the time limit, {pool.time_limit:g} s")
        except CancelledError as error:
            raise LabelError(
                "scheduler: the connection to the Dask scheduler is lost; finished work is "
                "kept, run again to go on"
            ) from error
        except Exception as error:
            result = error
        yield number, result


def _submit(executor: Executor, function: bytes, argument: Any) -> Future[Any]:
    import cloudpickle

    try:
        pickled = cloudpickle.dumps(argument)
    except Exception as error:  # one argument of many
        failed: Future[Any] = Future()
        failed.set_exception(error)
        return failed
    return executor.submit(_work, os.getcwd(), function, pickled)


def _work(folder: str, function: bytes, argument: bytes) -> Any:
    """One call, in a worker, as if it were run in the folder of the process that asked."""
    _enter(folder)
    return _attempt(partial(_call, function), argument)


def _prepare(folder: str, function: bytes) -> None:
    """Import what calls need, and have the function ready."""
    _enter(folder)
    _attempt(_ready, function)


def _enter(folder: str) -> None:
    with suppress(OSError):  # a cluster may lack the folder, and its calculators not need it
        os.chdir(folder)
    if folder not in sys.path:
        sys.path.append(folder)
    os.environ.update(_ONE_THREAD)


def _call(function: bytes, argument: bytes) -> Any:
    call = _ready(function)
    try:
        return call(pickle.loads(argument))
    except KeyboardInterrupt as error:  # a calculator's own: the user's goes to the parent
        return _as_failure(error)


def _ready(function: bytes) -> Callable[[Any], Any]:
    import numba
    from threadpoolctl import threadpool_limits

    loaded = _loaded(function)
    numba.set_num_threads(1)  # and starts its pool, which has a limit of its own
    threadpool_limits(limits=1)  # of what is loaded already
    return loaded


#: Function that this thread called last, as pickled and as it is: it may keep what it has loaded.
_LAST = threading.local()


def _loaded(function: bytes) -> Callable[[Any], Any]:
    if getattr(_LAST, "pickled", None) != function:
        _LAST.pickled, _LAST.function = function, pickle.loads(function)
    loaded: Callable[[Any], Any] = _LAST.function
    return loaded


# --- Processes of this machine ----------------------------------------------------------------


class _SingleProcesses(Executor):
    """A pool of one process for every slot, so that it is known whose worker died."""

    def __init__(self, n_processes: int, function: bytes, time_limit: float | None):
        self._idle: list[Any] = [None] * n_processes  # started where it is needed
        #: Every pool's first call, which imports what the others need: no time limit counts that.
        self._prepared: dict[Any, Future[Any]] = {}
        self._killed: set[Any] = set()
        self._function, self._time_limit = function, time_limit

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        pool = self._idle.pop()
        try:
            pool, future = self._submit(pool, function, *args, **kwargs)
        except BrokenExecutor:  # killed while it had nothing to do
            pool, future = self._submit(None, function, *args, **kwargs)
        timer = threading.Timer(self._time_limit or 0, self._kill, [pool])
        timer.daemon = True
        if self._time_limit is not None:
            self._prepared[pool].add_done_callback(lambda _: timer.start())
        future.add_done_callback(lambda done: self._take_back(pool, timer, done))
        return future

    def _submit(self, pool: Any, *call: Any, **keywords: Any) -> tuple[Any, Future[Any]]:
        from joblib.externals.loky import ProcessPoolExecutor

        # Processes begin by importing much, where calculators have nothing to say yet.
        before = os.environ.get(_SAFE_PATH)
        os.environ[_SAFE_PATH] = "1"
        try:
            if pool is None:
                arguments = _life_line()[0], before
                pool = ProcessPoolExecutor(1, initializer=_begin, initargs=arguments)
                self._prepared[pool] = pool.submit(_prepare, os.getcwd(), self._function)
            return pool, pool.submit(*call, **keywords)
        finally:
            if before is None:
                del os.environ[_SAFE_PATH]

    def _kill(self, pool: Any) -> None:
        self._killed.add(pool)
        pool.shutdown(wait=False, kill_workers=True)

    def _take_back(self, pool: Any, timer: threading.Timer, done: Future[Any]) -> None:
        timer.cancel()
        lost = pool in self._killed or done.exception() is not None
        self._idle.append(None if lost else pool)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for pool in list(self._prepared):
            pool.shutdown(wait=wait, kill_workers=cancel_futures)


@cache
def _life_line() -> tuple[Any, Any]:
    """Ends of a pipe: nothing is ever sent, but workers see it close when this process ends.

    Not before: one of a run would close while its workers still put down their locks.
    """
    from joblib.externals.loky.backend import get_context

    reader, writer = get_context("loky").Pipe(duplex=False)
    return reader, writer


def _begin(life_line: Any, safe_path: str | None) -> None:
    """End a worker with its parent, which may be killed, and leave Ctrl-C to the parent."""

    def watch() -> None:
        with suppress(EOFError, OSError):
            life_line.recv_bytes()
        os._exit(1)

    if safe_path is None:  # programs that a calculator runs are its own business
        os.environ.pop(_SAFE_PATH, None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _processes(n_jobs: int, function: bytes, time_limit: float | None) -> Iterator[_WorkerPool]:
    from joblib.externals.loky.process_executor import ShutdownExecutorError

    executor = _SingleProcesses(n_jobs, function, time_limit)
    late = (ShutdownExecutorError,)  # no other call is killed
    try:
        with _orderly_end():
            yield _WorkerPool(executor, n_jobs, BrokenExecutor, 2, late, time_limit)
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    executor.shutdown(wait=False)  # they have nothing to do, and end by themselves


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Let a request to end, as by a batch system, do what Ctrl-C does: no process is left."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


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
        address = (
            json.loads(file.read_text(encoding="utf-8"))["address"] if file.is_file() else scheduler
        )
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
