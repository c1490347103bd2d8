"""Small structures, potentials and one small trained model that the tests share."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.mep import NEB
from ase.optimize import FIRE

from ase_vibent import ACE, HessianEntropyCalculator, SiteModel, attach_labels, train
from ase_vibent.cli import main
from ase_vibent.potentials import stillinger_weber_silicon
from ase_vibent.stationary import relax

LATTICE_SI = 5.4310


@pytest.fixture(scope="session")
def rattle() -> Callable[..., Atoms]:
    """Function (atoms, amplitude, seed) -> copy, displaced uniformly in ±amplitude/2 (Å)."""

    def rattled(atoms: Atoms, amplitude: float, seed: int) -> Atoms:
        rng = np.random.default_rng(seed)
        copy = atoms.copy()
        copy.positions += rng.uniform(-amplitude / 2, amplitude / 2, atoms.positions.shape)
        return copy

    return rattled


@pytest.fixture(scope="session")
def vibent() -> Callable[..., SimpleNamespace]:
    """Function that runs the command line in this process -> code, out, err."""

    def run(*arguments: object) -> SimpleNamespace:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as leaving:
                code = leaving.code
        return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())

    return run


@pytest.fixture(scope="session")
def strict_json() -> Callable[[str], object]:
    """JSON as the standard has it: Python's own reader lets NaN pass."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return functools.partial(json.loads, parse_constant=refuse)


@pytest.fixture
def silicon() -> Atoms:
    """Perfect silicon, 16 atoms; cubic cells in a row."""
    return bulk("Si", "diamond", a=LATTICE_SI, cubic=True) * (2, 1, 1)


@pytest.fixture
def copper() -> Atoms:
    """Perfect fcc copper at EMT's lattice constant, 32 atoms."""
    return bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 2)


@pytest.fixture
def sw():
    """A fresh Stillinger-Weber calculator, with analytic Hessian."""
    return stillinger_weber_silicon()


@pytest.fixture(scope="session")
def silicon_frames(rattle) -> list[Atoms]:
    """Labelled frames: perfect crystal (named si16), then rattled bulk and vacancy cells."""
    crystal = bulk("Si", "diamond", a=LATTICE_SI, cubic=True) * (2, 1, 1)
    vacancy = crystal.copy()
    del vacancy[5]
    reference = HessianEntropyCalculator(stillinger_weber_silicon(), unstable="any")
    frames = [attach_labels(crystal, reference, name="si16")]
    for seed in range(4):
        for start in (crystal, vacancy):
            atoms = rattle(start, 0.1, seed)
            frames.append(attach_labels(atoms, reference, reference="si16"))
    return frames


@pytest.fixture(scope="session")
def silicon_model(silicon_frames: list[Atoms]) -> SiteModel:
    """A small, quick site model of silicon."""
    return train(silicon_frames, ACE(["Si"], cutoff=4.2, order=3, degree=8))


@pytest.fixture(scope="session")
def quadratic_models(silicon_frames: list[Atoms]) -> tuple[SiteModel, SiteModel]:
    """Site models of silicon, linear and with a quadratic step."""
    descriptor = ACE(["Si"], cutoff=4.2, order=2, degree=5)
    return (
        train(silicon_frames, descriptor),
        train(silicon_frames, descriptor, quadratic={"directions": 6}),
    )


@pytest.fixture(scope="session")
def moment_frames(rattle) -> list[Atoms]:
    """Crystal, rattled bulk and vacancy cells of silicon, with labels of sites and moments."""
    crystal = bulk("Si", "diamond", a=LATTICE_SI, cubic=True) * (2, 2, 1)
    vacancy = crystal.copy()
    del vacancy[5]
    exact = HessianEntropyCalculator(stillinger_weber_silicon(), unstable="any", bulk_width=9.0)
    wanted = ["sites", "moments"]
    cells = [rattle((crystal, vacancy)[seed % 2], 0.1, seed) for seed in range(8)]
    return [
        attach_labels(crystal, exact, labels=wanted, name="si16"),
        *(attach_labels(atoms, exact, labels=wanted, reference="si16") for atoms in cells),
    ]


@pytest.fixture(scope="session")
def moment_model(moment_frames: list[Atoms]) -> SiteModel:
    """A site model of silicon with moments, of all but the last bulk and the last vacancy cell."""
    descriptor = ACE(["Si"], cutoff=4.2, order=3, degree=8)
    return train(moment_frames[:-2], descriptor, quantities=["sites"], test=moment_frames[-2:])


@pytest.fixture(scope="session")
def sw_sum() -> Callable[..., float]:
    """Function (f, atoms) -> Σ f(λ), averaged over the default mesh, by the potential `sw`."""

    def averaged(function: Callable[[np.ndarray], np.ndarray], atoms: Atoms) -> float:
        exact = HessianEntropyCalculator(stillinger_weber_silicon(), unstable="any")
        system = exact.harmonic_system(atoms)
        assert system.n_unstable == 0
        return system.weights @ [function(modes.eigenvalues).sum() for modes in system.modes]

    return averaged


@pytest.fixture(scope="session")
def copper_frames(rattle) -> list[Atoms]:
    """Labelled EMT copper: perfect 16-atom cell (named cu16), rattled bulk and vacancy cells.

    At Γ, as cells narrower than the interaction are labelled; silicon's labels are of meshes.
    """
    crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 1)
    vacancy = crystal.copy()
    del vacancy[0]
    reference = HessianEntropyCalculator(EMT(), unstable="any", mesh="gamma")
    frames = [attach_labels(crystal, reference, name="cu16", labels=["sites"])]
    for seed in range(3):
        for start in (crystal, vacancy):
            atoms = rattle(start, 0.1, seed)
            frames.append(attach_labels(atoms, reference, reference="cu16", labels=["gradient"]))
    return frames


@pytest.fixture(scope="session")
def copper_model(copper_frames: list[Atoms]) -> SiteModel:
    """A small, quick site model of EMT copper."""
    return train(copper_frames, ACE(["Cu"], cutoff=4.5, order=2, degree=8))


@pytest.fixture(scope="session")
def copper_jump() -> list[Atoms]:
    """Seven images of a vacancy's jump among 16 sites of EMT copper; the fourth climbs."""
    crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * (2, 2, 1)
    ends = []
    neighbour = int(np.argsort(crystal.get_distances(0, range(len(crystal)), mic=True))[1])
    for empty, mover in ((0, neighbour), (neighbour, 0)):
        atoms = crystal.copy()
        atoms.positions[[0, neighbour]] = crystal.positions[[empty, mover]]
        del atoms[0]
        ends.append(relax(atoms, EMT(), fmax=1e-3))
    images = [ends[0], *(ends[0].copy() for _ in range(5)), ends[1]]
    for image in images[1:-1]:
        image.calc = EMT()
    band = NEB(images, climb=True, method="improvedtangent")
    band.interpolate(mic=True)
    FIRE(band, logfile=None).run(fmax=0.003, steps=400)
    return images


@pytest.fixture(scope="session")
def cluster():
    """A Dask cluster: two workers in processes that allow two threads."""
    distributed = pytest.importorskip("distributed")
    import dask

    # What must stand before a worker starts, nannies also set here, at every restart:
    # harmless but for numba, which rereads it.
    started_with = {"OMP_NUM_THREADS": 2, "OPENBLAS_NUM_THREADS": 2}
    with dask.config.set({"distributed.nanny.pre-spawn-environ": started_with}):
        started = distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=50,
            env={"NUMBA_NUM_THREADS": "2"},
        )
    with started:
        yield started
