"""Exact labels for a structure, and the perfect crystal that belongs to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_dict_to_str, key_val_str_to_dict
from ase.units import kB
from numpy.typing import NDArray

from ase_vibent import dataset
from ase_vibent.arrays import coordinates
from ase_vibent.calculators.hessian import HessianEntropyCalculator
from ase_vibent.crystal.bulk import InfiniteCrystal, bulk_strain_derivative
from ase_vibent.errors import InvalidInputError
from ase_vibent.harmonic.accuracy import entropy_errors
from ase_vibent.harmonic.entropy import T0, classical, classical_entropy
from ase_vibent.harmonic.mesh_system import MeshSystem, Vibrating
from ase_vibent.harmonic.modes import lowest_eigenvalues
from ase_vibent.harmonic.moments import path_species
from ase_vibent.harmonic.periodicity import free_standing
from ase_vibent.harmonic.spectrum import as_dense, check_sites
from ase_vibent.quantities import DEFAULT_LABELS, LabelName, check_labels
from ase_vibent.structures.cells import has_volume
from ase_vibent.structures.symmetry import inequivalent_atoms
from ase_vibent.structures.validity import strip_labels

#: Lowest eigenvalues that a label of soft modes has, unstable ones among them.
N_SOFT = 12


def attach_labels(
    atoms: Atoms,
    calculator: HessianEntropyCalculator,
    *,
    name: str | None = None,
    reference: str | None = None,
    labels: Collection[LabelName] = DEFAULT_LABELS,
    force_constant_atoms: Sequence[int] | None = None,
    tangent: NDArray[np.float64] | None = None,
) -> Atoms:
    """Copy of a structure with its exact labels: classical, at 300 K.

    `info` gets `vibent_entropy` (eV/K), its estimated `vibent_entropy_errors` (eV/K, see
    `EntropyErrors`), `vibent_n_modes`, `vibent_n_unstable` and, as asked, `vibent_entropy_strain`
    (eV/K, 3 × 3); `arrays` get `vibent_entropies` (eV/K, mass-free decomposition, or normalised if
    that is the calculator's), `vibent_site_modes`, `vibent_entropy_gradient` (eV/K/Å),
    `vibent_site_gradients` (eV/K/Å, N × 3N) and `vibent_moments` (N × 3 for one species,
    (eV/Å²)^k). For potentials, `info` gets `vibent_energy` (eV) and `vibent_energy_strain` (eV,
    3 × 3), `arrays` get `vibent_forces` (eV/Å) and `vibent_force_constants` (eV/Å²).
    How the Hessian was made, unless it was stored, `info` says in `vibent_displacement` (Å),
    `vibent_method`, `vibent_symmetry` and, where it is set, `vibent_interaction_range` (Å).
    Entropies are averages over a mesh of the cell (`vibent_mesh`), of whose Hessian the share
    `vibent_guessed_share` was told apart by guess, in cells narrower than the interaction; or sums
    at Γ if that is the calculator's wish: there, only differences to the cell's perfect crystal are
    extensive. A calculator with a floor has its labels say so, `vibent_floor` (eV/Å²).

    Parameters
    ----------
    atoms : Atoms
        Keeps its constraints, its `vibent_weight` and `vibent_size_check`; FixAtoms leaves the
        fixed atoms out of the sums.
    calculator : HessianEntropyCalculator
        Its temperature and statistics are not used.
    name : str, optional
        Says that the structure is a perfect crystal, other frames' reference, with
        converged bulk values `vibent_bulk_entropies` (eV/K per atom) of its own and, with moments,
        `vibent_densities`, densities of states (N × 48).
    reference : str, optional
        Name of the perfect crystal of the same cell, at the same strain.
    labels : collection of str
        What is wanted beside the total entropy, names among `LABELS`. "site_gradients" cost some
        tens of force calls per site. "soft_modes" are the twelve lowest eigenvalues of the cell's
        Hessian, `vibent_soft_eigenvalues` (eV/Å²) in `info`. "moments", of local densities of
        states, need nothing but the Hessian, in a cell wide enough that no atom's displacement is
        felt by another from two sides. "energies" are energy and forces of the wrapped calculator,
        and the virial if it gives stresses.
    force_constant_atoms : sequence of int, optional
        Whose rows of the Hessian "force_constants" are; by default those of all atoms that differ
        by symmetry, and of all atoms beside a floor, whose force field is fitted to them.
    tangent : ndarray, shape (N, 3), optional
        Direction of a path through the structure. Motion along it is left out, like an unstable
        mode, and counted as one; there are no gradients then.

    Returns
    -------
    Atoms
        Without a calculator.

    Raises
    ------
    InvalidInputError
        If a label is unknown, or arguments do not go together.
    """
    check_labels(labels)
    if force_constant_atoms is not None and "force_constants" not in labels:
        raise InvalidInputError(
            "force_constant_atoms: they are for 'force_constants'; add that to labels"
        )
    if name is not None and reference is not None:
        raise InvalidInputError(
            "reference: a named perfect crystal is its own reference; pass name or reference"
        )
    for argument, value in (("name", name), ("reference", reference)):
        if value is not None and not _survives_as_text(value):
            raise InvalidInputError(
                f"{argument}: extended XYZ would not keep {value!r} as text; "
                "use letters, as in 'si-2x2x1'"
            )
    floor = calculator.parameters["floor"]
    if floor and "moments" in labels:
        raise InvalidInputError("floor: moments, for quantum statistics, are of whole spectra")
    system = calculator.harmonic_system(
        atoms,
        gradient=not {"gradient", "strain", "site_gradients"}.isdisjoint(labels),
        tangent=tangent,
    )
    labelled = strip_labels(atoms)
    for key in (dataset.WEIGHT, dataset.SIZE_CHECK):  # of the user, and no labels
        if key in atoms.info:
            labelled.info[key] = atoms.info[key]
    labelled.info[dataset.ENTROPY] = float(classical_entropy(system.entropy, system.n_modes, T0))
    labelled.info[dataset.N_MODES] = _plain_number(system.n_modes)
    labelled.info[dataset.N_UNSTABLE] = _plain_number(system.n_unstable + system.on_path)
    labelled.info[dataset.ERRORS] = kB * np.array(entropy_errors(atoms, system))
    made = {} if calculator.brings_hessian(atoms) else calculator.hessian_options.decisive
    for option, value in made.items():
        labelled.info[f"{dataset.PREFIX}{option}"] = value
    if floor:
        labelled.info[dataset.FLOOR] = float(floor)
    if isinstance(system, MeshSystem):
        labelled.info[dataset.MESH] = np.array(system.mesh)
        labelled.info[dataset.GUESSED] = system.share_at_border
    if "soft_modes" in labels:
        lowest = lowest_eigenvalues(atoms, as_dense(system.hessian), system.free, N_SOFT)
        labelled.info[dataset.SOFT_EIGENVALUES] = lowest
    if "sites" in labels:
        reduced, modes = calculator.reduced_site_entropies(system, atoms)
        labelled.arrays[dataset.SITE_MODES] = modes
        labelled.arrays[dataset.SITES] = classical_entropy(reduced, modes, T0)
    if "site_gradients" in labels:
        gradients = calculator.reduced_site_gradients(system, atoms)
        labelled.arrays[dataset.SITE_GRADIENTS] = kB * gradients.reshape(len(atoms), -1)
    if "moments" in labels:
        _, species = path_species(atoms)
        moments = system.moments(species, species.max() + 1)
        labelled.arrays[dataset.MOMENTS] = moments
    if not {"gradient", "strain"}.isdisjoint(labels):
        derivative = system.gradient(
            calculator.displaced_forces(atoms, strain="strain" in labels),
            classical,
            T0,
            displacement=calculator.step(system),
        )
        if "gradient" in labels:
            labelled.arrays[dataset.GRADIENT] = derivative.positions[0]
        if derivative.strain is not None:
            labelled.info[dataset.STRAIN] = derivative.strain[0]
    if "energies" in labels:
        _attach_energies(labelled, calculator, atoms)
    if "force_constants" in labels:
        wanted = force_constant_atoms
        if wanted is None and calculator.hessian_options.symmetry and not floor:
            wanted = inequivalent_atoms(labelled).tolist()
        _attach_force_constants(labelled, system, wanted)
    if reference is not None:
        labelled.info[dataset.REFERENCE] = str(reference)
    if name is not None:
        labelled.info[dataset.NAME] = labelled.info[dataset.REFERENCE] = str(name)
        options, bulk_width = calculator.hessian_options, calculator.parameters["bulk_width"]
        source = calculator.bulk_source(atoms)
        infinite = InfiniteCrystal(atoms, source, width=bulk_width, floor=floor, options=options)
        bulk = infinite.site_entropies
        labelled.arrays[dataset.BULK] = classical_entropy(bulk, np.full(len(bulk), 3.0), T0)
        if "moments" in labels:
            labelled.arrays[dataset.DENSITIES] = infinite.densities.reshape(len(atoms), -1)
        if "strain" in labels:
            slope = bulk_strain_derivative(
                atoms, calculator.wrapped, width=bulk_width, floor=floor, options=options
            )
            labelled.info[dataset.BULK_STRAIN] = kB * slope
    return labelled


def _plain_number(value: float) -> int | float:
    """Averages over a mesh may be no whole numbers, where modes are unstable at some q only."""
    return int(value) if value == int(value) else float(value)


def _attach_energies(labelled: Atoms, calculator: HessianEntropyCalculator, atoms: Atoms) -> None:
    offered = getattr(calculator.wrapped, "implemented_properties", ())
    displaced_forces = calculator.displaced_forces(
        atoms, strain=has_volume(free_standing(atoms)) and "stress" in offered
    )
    # Forces belong to the free energy of smeared electrons, where a calculator has that.
    name = "free_energy" if "free_energy" in offered else "energy"
    labelled.info[dataset.ENERGY] = float(displaced_forces.property(name))
    at_rest = displaced_forces(np.zeros((len(atoms), 3)))
    labelled.arrays[dataset.FORCES] = at_rest.forces
    if at_rest.virial is not None:
        labelled.info[dataset.ENERGY_STRAIN] = at_rest.virial


def _attach_force_constants(
    labelled: Atoms, system: Vibrating, wanted: Sequence[int] | None
) -> None:
    n_atoms = len(labelled)
    if len(system.free) < n_atoms:
        raise InvalidInputError("labels: 'force_constants' need all atoms free; remove FixAtoms")
    chosen = check_sites(
        np.arange(n_atoms) if wanted is None else wanted,
        n_atoms,
        "force_constant_atoms",
    )
    if not len(chosen):
        raise InvalidInputError("force_constant_atoms: expected some atoms, got none")
    rows = system.hessian[coordinates(chosen)]
    by_atom = as_dense(rows).reshape(len(chosen), 3, n_atoms, 3).transpose(2, 0, 1, 3)
    labelled.arrays[dataset.FORCE_CONSTANTS] = by_atom.reshape(n_atoms, -1)
    labelled.info[dataset.DISPLACED] = chosen


def _survives_as_text(value: str) -> bool:
    """Whether extended XYZ reads a text back as it was, and not as a number or an array."""
    if not value or value != " ".join(value.split()):
        return False
    back = key_val_str_to_dict(key_val_dict_to_str({"x": value}))["x"]
    return isinstance(back, str) and back == value
