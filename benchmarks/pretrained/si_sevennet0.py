"""Silicon of SevenNet-0, structures and labels by `vibent` alone.

    python benchmarks/pretrained/si_sevennet0.py [--folder pretrained-si-sevennet0] [-o MODEL]

Needs `pip install 'ase-vibent[sevenn]'`, and about an hour of one core: a force call on 64 atoms
takes half a second, a rattled cell with its gradient 760 calls. Smaller cells are cheaper and no
good: with 27 atoms (of aluminium) a tenth of the Hessian is told apart by guess, and labels are off
by 0.1 k_B. A run that was stopped goes on where it was. `--calculator sw-si` tries the script in
two minutes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Numerical libraries read their thread counts when they are loaded.
import argparse
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import ase.io
from ase import Atoms
from ase.build import bulk
from common import Recipe, ship, without_soft_modes
from origins import of_package

from ase_vibent.dataset import NAME, read_labels

SEVENNET = "sevenn.calculator:SevenNetCalculator(model='7net-0', device='cpu')"
STRAINS = (-0.01, 0.01, 0.02)
#: Å, peak to peak.
AMPLITUDE = 0.15
#: Rattled copies of minima and crystal, in files of these names.
COPIES = {"vacancy": 3, "interstitial": 2, "bulk": 1}


@dataclass(frozen=True)
class Commands:
    """`vibent` in a folder, where finished structures are not made again."""

    folder: Path
    calculator: str

    def make(self, output: str, kind: str, *arguments: object, forces: bool = False) -> str:
        """Output of `vibent make KIND`."""
        if not (self.folder / output).exists():
            self.run("make", kind, *arguments, "-o", output, *self._calculator(forces))
        return output

    def run(self, *arguments: object) -> None:
        """Any command, with its time."""
        words = [str(argument) for argument in arguments]
        began = perf_counter()
        subprocess.run(
            [sys.executable, "-m", "ase_vibent.cli", *words], cwd=self.folder, check=True
        )
        print(f"vibent {' '.join(words)[:70]}: {perf_counter() - began:.0f} s", flush=True)

    def label(self, *arguments: object) -> None:
        """`vibent label`; labels that are there are kept."""
        self.run("label", *arguments, *self._calculator(True), "--unstable", "any", "-j", 1)

    def select(self, output: str, source: str, defect: str) -> str:
        """Structures of a file with one defect."""
        frames = ase.io.read(self.folder / source, ":")
        chosen = [atoms for atoms in frames if atoms.info.get("defect", "") == defect]
        ase.io.write(self.folder / output, chosen)
        return output

    def _calculator(self, forces: bool) -> tuple[str, ...]:
        # What tells that a structure is a minimum is not computed again for its label.
        return ("--calculator", self.calculator, "--cache", "cache") if forces else ()


def labels(vibent: Commands) -> tuple[Path, Path]:
    """Files of labels, of cells of 64 atoms and, of totals alone, of 216."""
    ase.io.write(vibent.folder / "silicon.xyz", bulk("Si", a=5.46, cubic=True))
    crystal = vibent.make("crystal.xyz", "relax", "silicon.xyz", "--cell", forces=True)
    strained = vibent.make("strained.xyz", "strain", crystal, "--strains", *STRAINS)
    vacancy = minimum(vibent, "vacancy", crystal, 2)
    compressed = minimum(vibent, "strained-vacancy", strained, 2)
    interstitial = minimum(vibent, "interstitial", crystal, 2)
    ase.io.write(vibent.folder / "bulk.xyz", ase.io.read(vibent.folder / crystal) * (2, 2, 2))
    rattled = [
        vibent.make(
            *(f"rattled-{kind}.xyz", "rattle", f"{kind}.xyz"),
            *("-n", number, "--amplitude", AMPLITUDE),
        )
        for kind, number in COPIES.items()
    ]
    wanted = "--labels", "gradient", "moments"
    cells = [*rattled, vacancy, interstitial]
    vibent.label(*cells, "--reference", crystal, "-o", "labels.xyz", *wanted)
    wanted = "--labels", "moments"
    vibent.label(compressed, "--reference", strained, "-o", "labels.xyz", *wanted)
    # Of a dumbbell, with few symmetries, it would take 1300 calls on 217 atoms.
    larger = minimum(vibent, "larger-vacancy", crystal, 3)
    vibent.label(larger, "--reference", crystal, "-o", "larger.xyz", "--labels", "total")
    return vibent.folder / "labels.xyz", vibent.folder / "larger.xyz"


def minimum(vibent: Commands, name: str, crystal: str, repeats: int) -> str:
    """File of relaxed vacancies or <110> dumbbells of crystals."""
    repeat = "--repeat", repeats, repeats, repeats
    start = f"{name}-start.xyz"
    if "vacancy" in name:
        vibent.make(start, "vacancies", crystal, *repeat)
    else:
        made = vibent.make(f"{name}-all.xyz", "interstitials", crystal, *repeat)
        vibent.select(start, made, "Si-Si dumbbell <110>")
    return vibent.make(f"{name}.xyz", "relax", start, "--follow-unstable", forces=True)


def described(path: Path) -> Iterator[Atoms]:
    """Labelled frames with kind and strain, as the cards need them."""
    for atoms in read_labels(path):
        info = atoms.info
        kind = info.get("defect", "rattled bulk").replace("Si-Si dumbbell <110>", "Si interstitial")
        info["kind"] = "crystal" if NAME in info else kind
        info["strain"] = float(info.get("strain", 0.0))
        info["relaxed"] = info.get("made") == "relax"
        yield atoms


@dataclass(frozen=True)
class Structures:
    """What the card says of them."""

    amplitude: float = AMPLITUDE
    strains: tuple[float, ...] = (0.0, *STRAINS)


RECIPE = Recipe(
    name="si-sevennet0",
    calculator=lambda path: None,
    structures=Structures(),
    descriptor={"degree": 11.5, "l_weight": 0.75},
    card={
        "title": "Silicon, diamond structure, SevenNet-0",
        "species": ["Si"],
        "potential": "SevenNet-0 (11 July 2024), a graph network for 89 elements",
        **of_package("sevenn", "MIT, code and weights", f"--calculator {SEVENNET}"),
        "citation": "Y. Park, J. Kim, S. Hwang, S. Han, J. Chem. Theory Comput. 20, 4857 (2024)",
        "crystal": "diamond, at rest",
        "not_for": "other defects than vacancy and <110> dumbbell; liquid, amorphous or other "
        "phases, surfaces, impurities; real silicon beyond what the potential says of it",
    },
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("pretrained-si-sevennet0"))
    parser.add_argument("--calculator", default=SEVENNET, help="as of 'vibent label'")
    parser.add_argument("-o", "--output", type=Path, default=Path("si-sevennet0.vibent"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    vibent = Commands(options.folder, options.calculator)
    cells, larger = labels(vibent)
    vibent.run("train", cells.name, "-o", "plain.vibent")
    # `vibent verify` measures sites in balls, which a graph network's range makes too wide.
    vibent.run("evaluate", "plain.vibent", larger.name)
    frames = without_soft_modes(RECIPE, list(described(cells)))
    ship(RECIPE, frames, list(described(larger)), options.output, partial(RECIPE.calculator, None))


if __name__ == "__main__":
    main()
