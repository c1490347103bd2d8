"""`vibent report`: a structure coloured by what a model says of its atoms, as a page or picture."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.units import kB

from ase_vibent.analysis import density_of_states
from ase_vibent.arrays import Array
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.cli.shared.arguments import MODEL, length, natural_number, positive_number
from ase_vibent.cli.shared.files import (
    add_format,
    is_page,
    read_structures,
    require_page,
    require_plottable,
    show,
)
from ase_vibent.cli.shared.thermodynamics import surrogate_of
from ase_vibent.errors import ExtrapolationWarning, InvalidInputError
from ase_vibent.harmonic.spectrum import check_sites
from ase_vibent.potentials import CalculatorSpec
from ase_vibent.report.picture import picture
from ase_vibent.report.scene import MOST_ATOMS, Scene
from ase_vibent.report.site_values import SiteValues, scene_of, site_values
from ase_vibent.report.structure import structure_page

#: What atoms are coloured by, as the command line calls it, by names of quantities.
COLOURS = {
    "difference": "difference to the crystal",
    "entropy": "site entropy",
    "std": "standard deviation",
    "grade": "extrapolation grade",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("structure", help="file that ASE reads, its last frame")
    add_format(parser)
    parser.add_argument("--model", required=True, help=MODEL)
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="page in one file (.html), or the structure as a picture (.png, .pdf, .svg)",
    )
    parser.add_argument(
        "--reference",
        metavar="CRYSTAL",
        help="perfect crystal that differences are to, a unit cell or a supercell; default: that "
        "of the model",
    )
    parser.add_argument("-T", "--temperature", type=length, default=300.0, help="K; default 300")
    parser.add_argument(
        "--quantum",
        action="store_true",
        help="quantum statistics, zero-point energy included: for models trained on moments",
    )
    parser.add_argument(
        "--colour", choices=COLOURS, help="what a picture is coloured by; pages show all"
    )
    parser.add_argument(
        "--most",
        type=positive_number,
        default=MOST_ATOMS,
        metavar="N",
        help="atoms that are drawn at most: those that stand out, and what is around them; default "
        f"{MOST_ATOMS}",
    )
    parser.add_argument(
        "--calculator",
        metavar="SPEC",
        help="as of 'vibent label': adds exact densities of states to a page, by a Hessian of all "
        "atoms, and finds soft modes where the model leaves them out",
    )
    parser.add_argument(
        "--sites",
        type=natural_number,
        nargs="+",
        default=[],
        metavar="N",
        help="atoms whose densities of states are drawn; default: the one that stands out most",
    )


def run(options: argparse.Namespace) -> int:
    """`vibent report`."""
    as_page = is_page(options.output)
    (require_page if as_page else require_plottable)(options.output)
    if as_page and options.colour:
        raise InvalidInputError("--colour: is for pictures; pages show all, one after the other")
    if options.sites and not options.calculator:
        raise InvalidInputError("--sites: densities of states need the potential, --calculator")
    potential = CalculatorSpec(options.calculator)() if options.calculator else None
    calculator = surrogate_of(
        options.model, potential, temperature=options.temperature, quantum=options.quantum
    )
    if not as_page and (options.sites or (options.calculator and not calculator.soft_parts)):
        raise InvalidInputError("--calculator, --sites: are for pages; name the output .html")
    atoms = read_structures([options.structure], options.format)[1][-1]
    crystal = None
    if options.reference:
        crystal = read_structures([options.reference], options.format)[1][-1]
    check_sites(options.sites, len(atoms), "--sites")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ExtrapolationWarning)
        values = site_values(atoms, calculator, crystal)
    remarks = [str(warning.message) for warning in caught]
    for remark in remarks:
        print(f"vibent report: warning: {remark}", file=sys.stderr)
    name = Path(options.structure).name
    scene = scene_of(name, values, most=options.most)
    if as_page:
        sites = options.sites or scene.order[:1].tolist()
        states = _states(name, atoms, options.calculator, sites) if options.calculator else {}
        page = structure_page(scene, values, calculator, remarks=remarks, states=states)
        page.write(options.output)
    else:
        picture(scene, options.output, _number(scene, options.colour))
    show(options, _data(options, values, scene), _text(options, values, scene))
    return 0


def _states(
    name: str, atoms: Atoms, calculator: str, sites: Sequence[int]
) -> dict[str, tuple[Array, Array]]:
    """Exact densities of states, by label."""
    exact = HessianEntropyCalculator(CalculatorSpec(calculator)())
    return density_of_states(exact.harmonic_system(atoms)).curves(name, atoms, sites)


def _number(scene: Scene, colour: str | None) -> int:
    """Which quantity of a scene is wanted; the first one by default."""
    names = [quantity.name for quantity in scene.quantities]
    if colour is None:
        return 0
    if COLOURS[colour] not in names:
        raise InvalidInputError(
            f"--colour: the model does not know the {COLOURS[colour]}, but {', '.join(names)}; "
            "--reference gives a crystal"
        )
    return names.index(COLOURS[colour])


def _data(options: argparse.Namespace, values: SiteValues, scene: Scene) -> dict[str, Any]:
    return {
        "report": str(options.output),
        "n_atoms": len(values.atoms),
        "n_drawn": len(scene.shown),
        "entropy_eV_per_K": values.entropy,
        "entropy_std_eV_per_K": values.entropy_std,
        "free_energy_eV": values.free_energy,
        "atom_that_stands_out": int(scene.order[0]),
    }


def _text(options: argparse.Namespace, values: SiteValues, scene: Scene) -> str:
    first, atom = scene.quantities[0], scene.order[0]
    unit = f" {first.unit}" if first.unit else ""
    lines = [
        f"{options.structure}: {len(values.atoms)} atoms, S = {values.entropy / kB:.4f} k_B, "
        f"F_vib = {values.free_energy:.6f} eV",
        f"atom {atom} stands out most: {first.name} {first.values[atom]:.4f}{unit}",
        *filter(None, [scene.remark]),
        f"report: {options.output}",
    ]
    return "\n".join(lines)
