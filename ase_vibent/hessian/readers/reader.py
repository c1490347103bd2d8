"""One door for Hessians and force constants in files of all kinds."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase import Atoms

from ase_vibent.errors import InvalidInputError, VibentError, reason
from ase_vibent.hessian.readers.arrays import read_array
from ase_vibent.hessian.readers.ase import read_phonons, read_vibrations
from ase_vibent.hessian.readers.castep import read_castep
from ase_vibent.hessian.readers.checks import checked
from ase_vibent.hessian.readers.espresso import read_q2r
from ase_vibent.hessian.readers.lammps import read_dynmat
from ase_vibent.hessian.readers.phonopy import (
    read_born,
    read_force_constants,
    read_force_sets,
    read_yaml,
)
from ase_vibent.hessian.readers.request import Request, as_structure, as_supercell, as_unit
from ase_vibent.hessian.readers.vasp import read_vasprun
from ase_vibent.hessian.stored import Polarity, StoredHessian, StoredHessians

#: Readers by the names of formats.
FORMATS: dict[str, Callable[[Request], StoredHessian]] = {
    "phonopy": read_yaml,
    "force-sets": read_force_sets,
    "force-constants": read_force_constants,
    "vasp": read_vasprun,
    "espresso": read_q2r,
    "ase": read_vibrations,
    "ase-phonons": read_phonons,
    "lammps": read_dynmat,
    "castep": read_castep,
    "array": read_array,
}


def read_hessian(
    path: str | os.PathLike[str],
    structure: Atoms | str | os.PathLike[str] | None = None,
    *,
    supercell: Sequence[int] | Sequence[Sequence[int]] | None = None,
    born: str | os.PathLike[str] | Polarity | None = None,
    format: str | None = None,  # noqa: A002 - as in ase.io.read
    units: str | None = None,
    displacement: float | None = None,
    acoustic_sum_rule: bool = False,
) -> StoredHessian:
    """Hessian, or force constants, of a structure from a file.

    phonopy (yaml with displacements and forces or force constants, FORCE_SETS, FORCE_CONSTANTS and
    force_constants.hdf5, full or compact), VASP (vasprun.xml of perturbation theory), Quantum
    ESPRESSO (q2r.x), ASE (VibrationsData, Phonons), LAMMPS (dynamical_matrix), CASTEP (with the
    extra `castep`), NumPy and SciPy.

    Parameters
    ----------
    path : path
        For `ase.phonons`, the folder.
    structure : Atoms or path, optional
        Where the file holds none: the supercell or, of phonopy's files and `ase.phonons`, the unit
        cell. Of other files it must be the structure in the file, and the Hessian comes in its
        order, with its masses.
    supercell : three int, or 3 × 3 int, optional
        Of the force constants, where the structure is a unit cell; rows of a matrix are its vectors
        in terms of the unit cell's.
    born : path of a file BORN, or Polarity, optional
        Born charges; by default what the file, or a file BORN beside phonopy's, tells.
    format : str, optional
        One of "phonopy", "force-sets", "force-constants", "vasp", "espresso", "ase", "ase-phonons",
        "lammps", "castep", "array"; by default told by content and name.
    units : str, optional
        Of the force constants, if not the format's own: "eV/A^2", "Ry/bohr^2", "Ha/bohr^2", "N/m",
        "kcal/mol/A^2", …
    displacement : float, Å, optional
        Of `ase.phonons`, which does not write it.
    acoustic_sum_rule : bool
        Whether to impose that a translation of all atoms costs no force. How far it is violated,
        says `sum_rule_violation`. Constants from forces are symmetrised as by `phonopy.load`.

    Returns
    -------
    StoredHessian

    Raises
    ------
    InvalidInputError
        If the file is damaged, of no known format, lacks something, or holds no Hessian of the
        structure: of other atoms, another order, or over masses.
    InvalidStructureError
        If the structure is unusable, or is not that of the file.

    Warns
    -----
    UserWarning
        If it looks as if it were in other units.
    """
    path = Path(path)
    unit, given = as_unit(units), as_structure(structure)
    if not path.exists():
        raise InvalidInputError(f"{path}: no such file")
    name = _format_of(path) if format is None else format
    if name not in FORMATS:
        raise InvalidInputError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
    charges = born if born is None or isinstance(born, Polarity) else Path(born)
    if isinstance(charges, Path) and not charges.is_file():
        raise InvalidInputError(f"{charges}: no such file")
    request = Request(path, given, as_supercell(supercell), charges, unit, displacement)
    try:
        found = FORMATS[name](request)
    except VibentError as error:
        if str(path) in str(error):
            raise
        raise InvalidInputError(f"{path}: {error}") from error
    except Exception as error:
        raise InvalidInputError(
            f"{path}: cannot be read as {name} ({reason(error)}); is it whole, and of this format?"
        ) from error
    if isinstance(charges, Polarity):
        found = replace(found, polarity=charges)
    elif charges is not None and FORMATS[name] not in _OF_PHONOPY:
        found = replace(found, polarity=read_born(charges, found.atoms))
    if given is not None and name not in _WITHOUT_STRUCTURE:
        found = found.reordered(given)
    return checked(found, acoustic_sum_rule=acoustic_sum_rule, units_given=units is not None)


def as_stored_hessians(given: object) -> StoredHessians | None:
    """Stored Hessians, read if need be; None of what is something else.

    Parameters
    ----------
    given : StoredHessian, path, a list of these, or anything else

    Returns
    -------
    StoredHessians or None
    """
    if isinstance(given, StoredHessians):
        return given
    items: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    if not items or not all(isinstance(i, StoredHessian | str | os.PathLike) for i in items):
        return None
    return StoredHessians(
        [item if isinstance(item, StoredHessian) else read_hessian(item) for item in items]
    )


#: Formats whose files hold no structure, so that the one given is that of the request.
_WITHOUT_STRUCTURE = ("force-sets", "force-constants", "ase-phonons", "lammps", "array")
#: Readers that look for BORN themselves: it is of the primitive cell that these files choose.
_OF_PHONOPY = (read_yaml, read_force_sets, read_force_constants)
#: How some files begin.
_MAGIC = {
    b"\x93NUMPY": "array",
    b"PK": "array",
    b"\x89HDF": "force-constants",
    b"{": "ase",
}
#: What stands in the first kilobytes of texts.
_WORDS = {
    "<modeling": "vasp",
    "supercell_matrix:": "phonopy",
    "phonopy:": "phonopy",
    "unit_cell:": "phonopy",
}
#: How many numbers stand in the first lines of tables.
_COLUMNS: dict[tuple[int, ...], str] = {
    (1, 1, 1): "force-sets",
    (6, 6, 6): "force-sets",
    (1, 2, 3): "force-constants",
    (2, 2, 3): "force-constants",
    (3, 3, 3): "lammps",
}


def _format_of(path: Path) -> str:
    """Format by content, then by name."""
    from phonopy.file_IO import get_io_module_to_decompress

    if path.is_dir():
        if any(path.glob("cache.*.json")):
            return "ase-phonons"
        raise InvalidInputError(f"{path}: a folder, and none of ase.phonons; name the file in it")
    if path.suffix in (".castep_bin", ".check"):
        return "castep"
    try:
        with get_io_module_to_decompress(path).open(path, "rb") as file:
            start = file.read(20000)
    except (OSError, EOFError, ValueError) as error:  # those of compressed files
        raise InvalidInputError(f"{path}: cannot be read ({error})") from error
    except Exception as error:
        raise InvalidInputError(f"{path}: cannot be unpacked ({error}); is it whole?") from error
    if not start.strip():
        raise InvalidInputError(f"{path}: the file is empty")
    for magic, name in _MAGIC.items():
        if start.startswith(magic):
            return name
    text = start.decode(errors="replace")
    for word, name in _WORDS.items():
        if word in text:
            return name
    lines = [line.split() for line in text.splitlines() if line.strip()]
    found = _COLUMNS.get(tuple(len(words) for words in lines[:3]))
    if found is None and len(lines[0]) == 9 and all(w.isdigit() for w in lines[0][:3]):
        found = "espresso"
    if found is None or not lines[0][0].strip("+-.").replace(".", "")[:1].isdigit():
        raise InvalidInputError(
            f"{path}: its format is not recognised; say it (format=, --format): "
            f"{', '.join(FORMATS)}"
        )
    return found
