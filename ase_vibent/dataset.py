"""Labelled structures: names of the labels, and extended XYZ at full precision.

Labels are classical, at 300 K, under names that ASE's readers leave alone. ASE's own
writer rounds arrays to 8 decimals, which is too coarse for entropies in eV/K: write with
`write_labels`, read with `read_labels` or `ase.io.read`.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_vibent import quantities
from ase_vibent.errors import LabelError

#: What the second line of every frame of ours begins with.
_BEGINNING = "Properties=species:S:1:pos:R:3"

#: How the names of all labels begin.
PREFIX = "vibent_"
#: In `atoms.info`: total entropy, eV/K.
ENTROPY = quantities.ENTROPY["total"].key
#: In `atoms.info`: derivative of the entropy with respect to strain, (3, 3), eV/K.
STRAIN = quantities.ENTROPY["strain"].key
#: In `atoms.info`: number of modes in the sum, and of unstable ones left out.
N_MODES, N_UNSTABLE = "vibent_n_modes", "vibent_n_unstable"
#: In `atoms.info`: estimated errors of the total, with signs, see `EntropyErrors`, (3,), eV/K.
ERRORS = "vibent_entropy_errors"
#: In `atoms.info`: share of the Hessian that the mesh told apart by guess, in narrow cells.
GUESSED = "vibent_guessed_share"
#: In `atoms.info`: mesh of q over the cell's Brillouin zone, three numbers; none is Γ alone.
MESH = "vibent_mesh"
#: In `atoms.info`: name of a perfect crystal, and the name of a frame's perfect crystal.
NAME, REFERENCE = "vibent_name", "vibent_reference"
#: In `atoms.info`: strain derivative of the crystal's converged entropy, (3, 3), eV/K.
BULK_STRAIN = "vibent_bulk_entropy_strain"
#: In `atoms.info`: what makes two labels the same work, and the calculator behind them.
KEY, CALCULATOR = "vibent_key", "vibent_calculator"
#: In `atoms.arrays`: site entropies (mass-free decomposition), eV/K, and gradient, eV/K/Å.
SITES, GRADIENT = (quantities.ENTROPY[name].key for name in ("sites", "gradient"))
#: In `atoms.arrays`: number of modes behind every site entropy, Σ_ν |e_νi|².
SITE_MODES = "vibent_site_modes"
#: In `atoms.arrays`: gradients of every site entropy with respect to all positions, flattened to
#: shape (N, 3N), eV/K/Å.
SITE_GRADIENTS = quantities.ENTROPY["site_gradients"].key
#: In `atoms.arrays`: mass-free moments of local densities of states, shape (N, n_columns),
#: (eV/Å²)^k, see `ase_vibent.harmonic.moments`; (N, 3) for one species. With more of them the paths
#: are told apart by species, in the alphabetical order of the symbols that the frame holds.
MOMENTS = quantities.ENTROPY["quantum"].key
#: In `atoms.arrays`: converged site entropies of a perfect crystal, eV/K.
BULK = "vibent_bulk_entropies"
#: Potential energy in `atoms.info`, eV; forces in `atoms.arrays`, eV/Å; derivative of the
#: energy with respect to strain (volume times stress) in `atoms.info`, (3, 3), eV.
ENERGY, FORCES, ENERGY_STRAIN = (
    quantities.ENERGY[name].key for name in ("total", "gradient", "strain")
)
#: In `atoms.arrays`: rows of the Hessian that belong to some atoms, (N, 9m), eV/Å²; column
#: 9k + 3a + b is for component a of the k-th of them, b of every atom. `atoms.info` lists them.
FORCE_CONSTANTS, DISPLACED = quantities.ENERGY["force_constants"].key, "vibent_displaced"
#: In `atoms.info`: a larger cell than those of the training, with which the error of a model in
#: large cells is measured; it is not fitted.
SIZE_CHECK = "vibent_size_check"
#: In `atoms.info`: factor of all rows of a frame in a fit, 1 where there is none.
WEIGHT = "vibent_weight"


def read_labels(path: str | os.PathLike[str]) -> list[Atoms]:
    """Labelled structures of a file.

    Parameters
    ----------
    path : path
        Extended XYZ, in which a frame cut off at the end, by a run that was killed, is left out;
        or what else ASE reads, by its ending.

    Returns
    -------
    list of Atoms

    Raises
    ------
    LabelError
        If the file is missing, unreadable, or holds no complete frame.
    """
    import ase.io

    try:
        frames: list[Atoms] = []
        if Path(path).suffix not in (".xyz", ".extxyz"):
            frames = ase.io.read(path, index=":")
        elif text := complete_frames(re.sub(r"\n+\Z", "\n", Path(path).read_text()))[0]:
            frames = parse_frames(text)
    except OSError as error:
        raise LabelError(f"{path}: cannot read it ({error.strerror})") from error
    except Exception as error:
        raise LabelError(f"{path}: not a file of labels ({error})") from error
    if not frames:
        raise LabelError(f"{path}: holds no complete frame; label structures into it first")
    return frames


def write_labels(
    path: str | os.PathLike[str], frames: Iterable[Atoms], *, append: bool = False
) -> None:
    """Write labelled structures as extended XYZ, without loss of digits.

    Every frame reaches the disk whole before the next one is begun.

    Parameters
    ----------
    path : path
    frames : iterable of Atoms
    append : bool
        Whether to add to an existing file.

    Raises
    ------
    LabelError
        If the file cannot be written.
    """
    try:
        with open(path, "a" if append else "w") as file:
            for atoms in frames:
                file.write(format_frame(atoms))
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise LabelError(f"{path}: cannot write it ({error.strerror})") from error


def parse_frames(text: str) -> list[Atoms]:
    """Structures of a text.

    Parameters
    ----------
    text : str
        Whole frames of extended XYZ, see `complete_frames`; at least one.

    Returns
    -------
    list of Atoms

    Raises
    ------
    ValueError
        If they cannot be read.
    """
    import ase.io

    try:
        return ase.io.read(io.StringIO(text), index=":", format="extxyz")
    except Exception as error:  # of many kinds
        raise ValueError(f"{type(error).__name__}: {error}") from error


def complete_frames(text: str, group: int = 1) -> tuple[str, int]:
    """The leading complete frames of a text that a run may have left unfinished.

    Parameters
    ----------
    text : str
    group : int
        Frames that belong together, and are complete only if all of them are.

    Returns
    -------
    str
        Text up to and including the last complete frame.
    int
        Number of complete frames.

    Raises
    ------
    ValueError
        If what follows cannot be the beginning of a frame that `format_frame` wrote.
    """
    lines = text.split("\n")  # str.splitlines would also split at form feeds and the like
    starts = [0]
    while starts[-1] < len(lines) - 1 and lines[starts[-1]].strip().isdigit():
        end = starts[-1] + 2 + int(lines[starts[-1]])
        if end > len(lines) - 1:
            break
        starts.append(end)
    tail = "\n".join(lines[starts[-1] :])
    if not _UNFINISHED_FRAME.fullmatch(tail) or tail.count(f"\n{_BEGINNING}") > 1:
        begin = starts[-1]
        raise ValueError(f"line {begin + 1} begins no frame of labels: {lines[begin][:40]!r}")
    count = len(starts) - 1
    count -= count % group
    return text[: len(text) - len("\n".join(lines[starts[count] :]))], count


#: A count, then a header that begins as ours do, either of them possibly cut short.
_UNFINISHED_FRAME = re.compile(
    rf"(\d*|\d+\n({'|'.join(_BEGINNING[:k] for k in range(len(_BEGINNING)))})|"
    rf"\d+\n{_BEGINNING}(.|\n)*)"
)


def format_frame(atoms: Atoms) -> str:
    """One structure as extended XYZ, floating-point numbers with 17 digits.

    Parameters
    ----------
    atoms : Atoms
        Its info and arrays are kept, its calculator is not.

    Returns
    -------
    str
    """
    from ase.constraints import FixAtoms
    from ase.io.extxyz import key_val_dict_to_str

    arrays: dict[str, NDArray[Any]] = {
        "species": np.array(atoms.get_chemical_symbols()),
        "pos": atoms.positions,
    }
    arrays |= {
        k: v
        for k, v in atoms.arrays.items()
        if k not in ("numbers", "positions") and v.dtype.kind in "fiubU"
    }
    fixed = [c.index for c in atoms.constraints if isinstance(c, FixAtoms)]
    if fixed:
        arrays["move_mask"] = ~np.isin(np.arange(len(atoms)), np.concatenate(fixed))
    kinds = {"f": ("R", "{:.17g}"), "i": ("I", "{}"), "u": ("I", "{}"), "U": ("S", "{}")}
    properties, columns = [], []
    for name, array in arrays.items():
        code, style = ("L", "") if array.dtype.kind == "b" else kinds[array.dtype.kind]
        width = array.size // len(atoms)
        properties.append(f"{name}:{code}:{width}")
        if code == "S":
            array = np.array(["_".join(str(v).split()) or "_" for v in array.ravel()])
        columns += [
            ["T" if v else "F" for v in column] if code == "L" else map(style.format, column)
            for column in array.reshape(len(atoms), width).T
        ]
    header: dict[str, Any] = {"Properties": ":".join(properties)}
    if atoms.cell.rank:
        header["Lattice"] = atoms.cell.array.T
    header["pbc"] = atoms.pbc
    # A line break in a text would end the line that it stands in.
    header |= {
        key: " ".join(value.split()) if isinstance(value, str) else value
        for key, value in atoms.info.items()
    }
    rows = "\n".join(" ".join(values) for values in zip(*columns, strict=True))
    return f"{len(atoms)}\n{key_val_dict_to_str(header)}\n{rows}\n"
