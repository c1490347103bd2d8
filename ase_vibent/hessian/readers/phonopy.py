"""Phonopy's files: yaml, FORCE_SETS, FORCE_CONSTANTS, force_constants.hdf5, with BORN.

Its own functions do the reading, one by one: `phonopy.load` would also take whatever lies in the
working folder.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ase_vibent.arrays import Array
from ase_vibent.errors import InvalidInputError
from ase_vibent.hessian.readers.request import Request, as_structure, as_unit, in_blocks
from ase_vibent.hessian.stored import Polarity, StoredHessian

#: Files of displacements, and of structures, that may lie beside forces or force constants.
_YAML = ("phonopy_disp.yaml", "phonopy.yaml", "phonopy_params.yaml")
_CELLS = ("POSCAR-unitcell", "POSCAR", "SPOSCAR")


def read_yaml(request: Request) -> StoredHessian:
    """phonopy.yaml, phonopy_disp.yaml, phonopy_params.yaml, compressed or not.

    Forces or force constants that it has not itself are taken from beside it.
    """
    phonons, found = _of_yaml(request, request.path)
    if found.force_constants is not None:
        phonons.force_constants = found.force_constants
    elif found.dataset is not None and _has_forces(found.dataset):
        phonons.dataset = found.dataset
        _solve(phonons)
    elif (sets := request.beside("FORCE_SETS")) is not None:
        _read_forces(request, phonons, sets)
    elif (constants := request.beside("FORCE_CONSTANTS", "force_constants.hdf5")) is not None:
        phonons.force_constants = _constants(constants)[0]
    else:
        request.refuse(
            "neither forces nor force constants in it, and no FORCE_SETS or FORCE_CONSTANTS beside "
            "it; write FORCE_SETS there (phonopy -f …)"
        )
    return _stored(request, phonons, "phonopy yaml", found.nac_params)


def read_force_sets(request: Request) -> StoredHessian:
    """FORCE_SETS, with the structure given, or in a file of phonopy's beside it."""
    from phonopy.file_IO import parse_FORCE_SETS

    lines = request.path.read_text(encoding="utf-8").splitlines()
    # Of displacements of one atom each it begins with the number of atoms.
    of_one_atom_each = len(next((line.split() for line in lines if line.strip()), ())) == 1
    n_atoms = parse_FORCE_SETS(filename=request.path)["natom"] if of_one_atom_each else None
    phonons, polar = _structure(request, n_atoms)
    _read_forces(request, phonons, request.path)
    return _stored(request, phonons, "FORCE_SETS", polar)


def read_force_constants(request: Request) -> StoredHessian:
    """FORCE_CONSTANTS or force_constants.hdf5, full or compact, with the structure as above."""
    constants, unit = _constants(request.path)
    phonons, polar = _structure(request, constants.shape[1], len(constants))
    if len(constants) not in (len(phonons.primitive), len(phonons.supercell)):
        request.refuse(
            f"compact constants of {len(constants)} atoms, but the primitive cell has "
            f"{len(phonons.primitive)}; write full ones (phonopy --full-fc)"
        )
    phonons.force_constants = constants
    if unit is not None and request.units is None:
        request = Request(**{**vars(request), "units": as_unit(unit)})
    return _stored(request, phonons, request.path.name, polar)


def read_born(path: Path, atoms: Atoms) -> Polarity:
    """Charges of a supercell, of whose primitive cell a file BORN is."""
    phonons = new_phonopy(to_phonopy(atoms), np.eye(3, dtype=int), symmetry=False)
    found = _polarity(phonons, _born(path, phonons))
    assert found is not None
    return found


def _born(path: Path, phonons: Any) -> dict[str, Any]:
    """Charges of phonopy's primitive cell, and the dielectric constant."""
    from phonopy.file_IO import parse_BORN

    try:
        found: dict[str, Any] = parse_BORN(phonons.primitive, filename=path)
    except Exception as error:
        raise InvalidInputError(
            f"{path}: no charges of a primitive cell of {len(phonons.primitive)} atoms in it "
            f"({type(error).__name__}: {error})"
        ) from error
    return found


def new_phonopy(
    cell: Any,
    matrix: Any,
    primitive: Any = "auto",
    *,
    calculator: Any = None,
    symmetry: bool = True,
) -> Any:
    """Phonopy object, its warnings about defaults left unsaid; only forces need symmetry."""
    from phonopy import Phonopy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Phonopy(cell, matrix, primitive, calculator=calculator, is_symmetry=symmetry)


def to_atoms(cell: Any, length: float = 1.0) -> Atoms:
    """Structure from phonopy's form of it, whose lengths are in a unit of so many Å."""
    atoms = Atoms(
        numbers=cell.numbers,
        cell=length * np.asarray(cell.cell),
        scaled_positions=cell.scaled_positions,
        masses=cell.masses,
        pbc=True,
    )
    if cell.magnetic_moments is not None:
        atoms.set_initial_magnetic_moments(cell.magnetic_moments)
    return atoms


def to_phonopy(atoms: Atoms) -> Any:
    """Phonopy's form of a structure; masses are its own, or those of phonopy's table."""
    from phonopy.structure.atoms import PhonopyAtoms

    return PhonopyAtoms(
        numbers=atoms.numbers,
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        masses=atoms.get_masses() if atoms.has("masses") else None,
    )


def _of_yaml(request: Request, path: Path, *, forces: bool = True) -> tuple[Any, Any]:
    """Phonopy object, perhaps for forces, and what else a yaml file tells."""
    from phonopy.interface.phonopy_yaml import PhonopyYaml

    found = PhonopyYaml()
    found.read(path)
    if found.unitcell is None:
        request.refuse("no unit cell in it; it is no file of phonopy's with a structure")
    matrix = np.eye(3, dtype=int) if found.supercell_matrix is None else found.supercell_matrix
    primitive = "auto" if found.primitive_matrix is None else found.primitive_matrix
    phonons = new_phonopy(
        found.unitcell,
        matrix,
        primitive,
        calculator=found.calculator,
        symmetry=forces and found.force_constants is None,
    )
    return phonons, found


def _structure(
    request: Request, n_atoms: int | None, n_compact: int | None = None
) -> tuple[Any, Any]:
    """Phonopy object, and its charges if known, for a file of forces or constants alone."""
    atoms, path = request.structure, request.beside(*_YAML)
    forces = n_compact is None
    if atoms is None and path is not None:
        phonons, found = _of_yaml(request, path, forces=forces)
        polar = found.nac_params
    else:
        atoms = as_structure(request.beside(*_CELLS)) if atoms is None else atoms
        if atoms is None:
            request.refuse(
                "no structure in it, nor beside it (phonopy_disp.yaml, POSCAR); pass one "
                "(structure=)"
            )
        ratio = (n_atoms or len(atoms)) / len(atoms)
        if request.supercell is None and ratio != 1:
            request.refuse(
                f"it is of {n_atoms} atoms, the structure of {len(atoms)}; say which supercell it "
                "is of (supercell=, --supercell 2x2x2)"
            )
        matrix = np.eye(3, dtype=int) if request.supercell is None else request.supercell.T
        phonons, polar = new_phonopy(to_phonopy(atoms), matrix, symmetry=forces), None
        if n_compact == len(atoms) != len(phonons.primitive):
            phonons = new_phonopy(to_phonopy(atoms), matrix, "P", symmetry=False)
    if n_atoms is not None and n_atoms != len(phonons.supercell):
        request.refuse(
            f"it is of {n_atoms} atoms, the supercell of {len(phonons.supercell)}; they do not "
            "belong together (structure=, supercell=)"
        )
    return phonons, polar


def _read_forces(request: Request, phonons: Any, path: Path) -> None:
    from phonopy.file_IO import parse_FORCE_SETS

    dataset = parse_FORCE_SETS(natom=len(phonons.supercell), filename=path)
    if dataset.get("natom", len(phonons.supercell)) != len(phonons.supercell):
        request.refuse(
            f"forces on {dataset['natom']} atoms in {path.name}, but the supercell has "
            f"{len(phonons.supercell)}"
        )
    phonons.dataset = dataset
    _solve(phonons)


def _has_forces(dataset: dict[str, Any]) -> bool:
    if "first_atoms" in dataset:
        return all("forces" in displaced for displaced in dataset["first_atoms"])
    return "forces" in dataset


def _solve(phonons: Any) -> None:
    """Force constants from forces as `phonopy.load` makes them, symmetrised."""
    of_all_atoms = "displacements" in phonons.dataset
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        phonons.produce_force_constants(fc_calculator="symfc" if of_all_atoms else None)
        if not of_all_atoms:
            phonons.symmetrize_force_constants(show_drift=False)


def _constants(path: Path) -> tuple[Array, str | None]:
    """Force constants of a text or HDF5 file, full or compact, and their unit if it is told."""
    from phonopy.file_IO import parse_FORCE_CONSTANTS, read_force_constants_hdf5

    if path.suffix in (".hdf5", ".h5"):
        constants, unit = read_force_constants_hdf5(path, return_physical_unit=True)
        return constants, unit
    constants = parse_FORCE_CONSTANTS(path)
    return constants, None


def _stored(request: Request, phonons: Any, kind: str, polar: Any) -> StoredHessian:
    """What a Phonopy object knows, in Å and eV, constants of all atoms of its supercell."""
    from phonopy.harmonic.force_constants import compact_fc_to_full_fc
    from phonopy.interface.calculator import get_force_constant_conversion_factor

    constants = phonons.force_constants
    if len(constants) != len(phonons.supercell):
        constants = compact_fc_to_full_fc(phonons.primitive, constants)
    length = _length_unit(phonons.calculator)
    own = 1 / get_force_constant_conversion_factor("eV/angstrom^2", phonons.calculator)
    born = request.beside("BORN") if polar is None else None
    if isinstance(request.born, Path):
        born = request.born
    return StoredHessian(
        to_atoms(phonons.supercell, length),
        request.converted(in_blocks(constants), own),
        f"{kind} {request.path}",
        _polarity(phonons, polar if born is None else _born(born, phonons)),
    )


def _polarity(phonons: Any, found: dict[str, Any] | None) -> Polarity | None:
    if found is None:
        return None
    primitive = phonons.primitive
    sites = [primitive.p2p_map[image] for image in primitive.s2p_map]
    return Polarity(np.asarray(found["born"])[sites], np.asarray(found["dielectric"]))


def _length_unit(calculator: str | None) -> float:
    """Unit of length of phonopy's files for a calculator, Å."""
    from phonopy.interface import calculator as interface

    # Its name changed in phonopy 4.
    units: Any = getattr(interface, "get_calculator_physical_units", None)
    if units is not None:
        return float(units(calculator).distance_to_A)
    return float(interface.get_default_physical_units(calculator)["distance_to_A"])
