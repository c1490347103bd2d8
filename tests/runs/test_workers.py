"""Where calls run: processes of one thread each, clusters, and what cannot be sent there."""

from __future__ import annotations

import sys
import threading

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


@pytest.mark.parametrize("place", ["processes", "cluster"])
def test_workers_use_one_thread(place, request, monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "2")
    scheduler = None
    if place == "cluster":
        scheduler = request.getfixturevalue("cluster").scheduler_address
    results = dict(results_as_completed(n_threads, [0, 1], n_jobs=2, scheduler=scheduler))
    for threads in results.values():
        assert len(threads) > 1
        assert set(threads) == {1}
    assert results.keys() == {0, 1}


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
