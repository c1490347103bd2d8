"""Where calls run: processes of one thread each, clusters, and what cannot be sent there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import cloudpickle
import pytest

from ase_vibent.errors import InvalidInputError
from ase_vibent.runs import workers
from ase_vibent.runs.workers import results_as_completed


@pytest.mark.parametrize("n_jobs", [0, -2])
def test_numbers_of_processes_that_make_no_sense(n_jobs):
    with pytest.raises(InvalidInputError, match="n_jobs"):
        list(results_as_completed(abs, [-1], n_jobs=n_jobs))


def test_function_that_does_not_pickle():
    lock = threading.Lock()
    with pytest.raises(InvalidInputError, match=r"cannot be sent .* one process"):
        list(results_as_completed(lambda x: (lock, x), [1], n_jobs=2))


# Workers cannot import a test module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def n_threads(_) -> list[int]:
    import numba
    import scipy.linalg  # noqa: F401 - with BLAS of its own
    from threadpoolctl import threadpool_info

    return [numba.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]


THREADS_OF_PROCESSES = """
import json
from test_workers import n_threads
from ase_vibent.runs.workers import results_as_completed
print(json.dumps(list(dict(results_as_completed(n_threads, [0, 1], n_jobs=2)).values())))
"""


def test_processes_use_one_thread():
    # In a process of its own: numba rereads the environment, but only before its first thread.
    two = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "2")
    done = subprocess.run(
        [sys.executable, "-c", THREADS_OF_PROCESSES],
        cwd=Path(__file__).parent,
        env={**os.environ, **two},
        capture_output=True,
        text=True,
        check=True,
    )
    _check_threads(json.loads(done.stdout))


def test_workers_of_a_cluster_use_one_thread(cluster):
    scheduler = cluster.scheduler_address
    _check_threads(dict(results_as_completed(n_threads, [0, 1], scheduler=scheduler)).values())


def _check_threads(results) -> None:
    assert len(results) == 2
    for threads in results:
        assert len(threads) > 1
        assert set(threads) == {1}


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "foo://x:1", __file__])
def test_scheduler_that_is_none(address, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "_PATIENCE", 0.2)
    with pytest.raises(InvalidInputError, match="no Dask scheduler answers"):
        list(results_as_completed(abs, [-1], scheduler=address))


def test_cluster_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InvalidInputError, match=r"pip install 'ase-vibent\[cluster\]'"):
        list(results_as_completed(abs, [-1], scheduler="tcp://127.0.0.1:1"))
