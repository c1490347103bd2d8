"""What both benchmarks of [Ortner2022] share: labels, results in files, fits, tables, figures."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from tqdm import tqdm

from ase_vibent import ACE, train
from ase_vibent.analysis import (
    MatchingConditions,
    convergence_rate,
    defect_errors,
    theorem_bounds,
)
from ase_vibent.errors import InvalidInputError, VibentError
from ase_vibent.potentials import with_results

#: Errors whose slopes are printed; static and relaxation add up to the energy's.
PARTS = ("geometry", "energy", "static", "relaxation")
#: Structures between two writes of a file.
BATCH = 10
#: Geometry errors below, Å, are those of the relaxations.
RESOLUTION = 1e-5
#: √W_E and √W_F of [Ortner2022] (4.2): W_E = 100, W_F = 1.
WEIGHTS = {"total": 10.0, "gradient": 1.0}


def labelled(path: Path, structures: Sequence[Atoms], calculator: Any) -> list[Atoms]:
    """Structures with energy and forces from a file, those that it lacks from the calculator."""
    done: list[Atoms] = ase.io.read(path, ":") if path.exists() else []
    rest = tqdm(
        structures[len(done) :], desc=path.stem, initial=len(done), unit="cell", disable=None
    )
    for atoms in rest:
        atoms.calc = calculator
        done.append(with_results(atoms))
        if len(done) % BATCH == 0 or len(done) == len(structures):
            write_whole(path, done)
    return done[: len(structures)]


def kept(path: Path, make: Callable[[], Atoms]) -> Atoms:
    """Structure with energy and forces from a file, or made and written to it."""
    if not path.exists():
        write_whole(path, [make()])
    return ase.io.read(path)


def write_whole(path: Path, frames: Sequence[Atoms]) -> None:
    """A file that is either the old or the new one, also where the process is killed."""
    temporary = path.with_suffix(".part")
    ase.io.write(temporary, frames, format="extxyz")
    os.replace(temporary, path)


def fit(
    frames: Sequence[Atoms],
    species: str,
    cutoff: float,
    degree: int,
    weights: Mapping[str, float] = WEIGHTS,
) -> tuple[Any, float]:
    """Linear ACE by rank-revealing QR at 1e-6, [Ortner2022] 4.1.2, and the seconds that it took."""
    start = time.perf_counter()
    model = train(
        frames,
        ACE(species=[species], cutoff=cutoff, order=3, degree=degree),
        target="energy",
        weights=weights,
        solver="rrqr",
        solver_options={"tolerance": 1e-6},
    )
    return model, time.perf_counter() - start


class Records:
    """Results of fits, one line of JSON each, found again by what they are of."""

    def __init__(self, path: Path):
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("}")]

    def found(self, **key: Any) -> bool:
        """Whether there is a result of this."""
        return any(all(row.get(k) == v for k, v in key.items()) for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a result."""
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


def errors_in(minimum: Atoms, large: Atoms, surrogate: Any, **options: Any) -> dict[str, float]:
    """Errors in a simulation cell; NaN where the surrogate loses the state."""
    try:
        errors = defect_errors(minimum, large, surrogate, steps=1500, **options)
    except VibentError as error:
        print(f"  {error}")
        return dict.fromkeys(("geometry", "energy", "static_energy"), float("nan"))
    return {name: getattr(errors, name) for name in ("geometry", "energy", "static_energy")}


def line(row: dict[str, Any]) -> str:
    """One row of Table 2 with the errors of the first simulation cell."""
    first = next(value for value in row.values() if isinstance(value, dict))
    return (
        f"{row['L']:>3} {row['functions']:>6} {1e3 * row['energy_rmse']:>9.2g} "
        f"{row['forces_rmse']:>9.2g} {row['forces']:>9.2g} "
        f"{100 * row['relative_force_constants']:>8.2g} {100 * row['relative_homogeneous']:>8.2g} "
        f"{row['seconds']:>6.1f} {first['geometry']:>9.2g} {first['energy']:>11.2g}"
    )


HEADER = (
    f"{'L':>3} {'#B':>6} {'E (meV)':>9} {'F (eV/Å)':>9} {'ε^F':>9} {'ε^FC (%)':>8} {'hom (%)':>8} "
    f"{'T (s)':>6} {'geom. (Å)':>9} {'energy (eV)':>11}"
)


def report(
    rows: list[dict[str, Any]],
    names: list[str],
    theory: str,
    degree: int,
    plot: Path | None,
    guides: tuple[Sequence[float], Sequence[float]],
    *,
    dimension: int,
    n_defects: int,
) -> None:
    """Table 2, errors of the first simulation cell beside bounds, slopes, and the figure.

    Parameters
    ----------
    rows : list of dict
        Of `Records`.
    names : list of str
        Simulation cells.
    theory : str
        What [Ortner2022] says of slopes in L.
    degree : int
        Of the fits over L in the figure.
    plot : Path, optional
    guides : two sequences of float
        Exponents in L to draw.
    dimension, n_defects : int
        Of (3.7), (3.8).
    """
    rows = sorted(rows, key=lambda row: (row["L"], row["functions"]))
    print(HEADER)
    for row in rows:
        print(line(row))
    print(f"{names[0]}: errors beside right-hand sides of (3.7), (3.8), constants left out")
    print(f"{'L':>3} {'#B':>6} {'geometry':>9} {'(3.7)':>9} {'energy':>9} {'(3.8)':>9} ", end="")
    print(f"{'static':>9} {'relaxation':>10}")
    for row in rows:
        print(beside_bounds(row, names[0], dimension, n_defects))
    print(f"slopes in the RMSE of forces, {names[0]} ([Ortner2022]: 1 and 2)")
    for width in sorted({row["L"] for row in rows}):
        own = [row for row in rows if row["L"] == width]
        print(f"  L = {width}: {slopes(own, names[0], 'forces_rmse')}")
    print(f"slopes in L with one basis ([Ortner2022]: {theory})")
    for functions in sorted({row["functions"] for row in rows}):
        own = [row for row in rows if row["functions"] == functions]
        rmse = [row["forces_rmse"] for row in own]
        print(f"  {functions} functions, RMSE {min(rmse):.2g} to {max(rmse):.2g} eV/Å")
        for name in names:
            print(f"    {name}: {slopes(own, name, 'L')}")
    for name in names:
        print(f"slopes in L at one RMSE, {name}: {at_one_rmse(rows, name)}")
    if plot:
        flat = [
            {"L": r["L"], "degree": r["degree"], "simulation": name, **r[name]}
            | {"forces_rmse": r["forces_rmse"]}
            for r in rows
            for name in names
        ]
        level = [row for row in flat if row["degree"] == degree]
        figure([f for f in flat if f["simulation"] == names[0]], level, plot, guides)


def slopes(rows: list[dict[str, Any]], name: str, axis: str) -> str:
    """Exponents of both errors where the surrogate kept the state and relaxations resolve them."""
    known = [row for row in rows if row[name]["geometry"] > RESOLUTION]
    x = [row[axis] for row in known]
    found = (slope(x, [error(row[name], part) for row in known]) for part in PARTS)
    return ", ".join(map("{} {}".format, PARTS, found)) + f" ({len(known)} fits)"


def at_one_rmse(rows: list[dict[str, Any]], name: str) -> str:
    """Exponents in L at an RMSE that every L has fits around, errors interpolated between them.

    That is the middle of the range that all share, in logarithms: no choice is made by errors.
    """
    by_size: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        if row[name]["geometry"] > RESOLUTION:
            by_size.setdefault(row["L"], []).append(row)
    ranges = [[row["forces_rmse"] for row in own] for own in by_size.values()] or [[0.0]]
    lowest, highest = max(map(min, ranges)), min(map(max, ranges))
    if lowest >= highest:
        return "no RMSE is within the range of fits at every L"
    level = np.log(lowest * highest) / 2
    found = []
    for part in PARTS:
        values = []
        for own in by_size.values():
            points = sorted((row["forces_rmse"], abs(error(row[name], part))) for row in own)
            values.append(float(np.exp(np.interp(level, *np.log(np.transpose(points))))))
        found.append(f"{part} {slope(list(by_size), values)}")
    return f"{np.exp(level):.2g} eV/Å, " + ", ".join(found)


def error(errors: Mapping[str, float], part: str) -> float:
    """Error of geometry or energy, or of one of the two parts of the energy's."""
    if part == "relaxation":
        return errors["energy"] - errors["static_energy"]
    return errors["static_energy" if part == "static" else part]


def beside_bounds(row: Mapping[str, Any], name: str, dimension: int, n_defects: int) -> str:
    """One row of errors, and of what [Ortner2022] Theorem 3.1 bounds them by."""
    conditions = MatchingConditions(**{f.name: row[f.name] for f in fields(MatchingConditions)})
    bounds = theorem_bounds(conditions, row["L"], n_defects=n_defects, dimension=dimension)
    parts = {part: error(row[name], part) for part in PARTS}
    return (
        f"{row['L']:>3} {row['functions']:>6} {parts['geometry']:>9.2g} {bounds.geometry:>9.2g} "
        f"{parts['energy']:>9.2g} {bounds.energy:>9.2g} {parts['static']:>9.2g} "
        f"{parts['relaxation']:>10.2g}"
    )


def slope(x: Sequence[float], y: Sequence[float]) -> str:
    """Exponent of a power law with its standard error, for a table."""
    try:
        law = convergence_rate(x, y)
    except InvalidInputError:
        return "-"
    return f"{-law.exponent:+.2f} ± {law.exponent_std:.2f}"


def figure(
    rows: Sequence[dict[str, Any]],
    level: Sequence[dict[str, Any]],
    path: Path,
    guides: tuple[Sequence[float], Sequence[float]],
) -> None:
    """Errors against RMSE at every L, and against L at one RMSE, with slopes of the theory.

    Parameters
    ----------
    rows, level : sequence of dict
        With L, forces_rmse, simulation, geometry, energy: of the sweep, and of one RMSE.
    path : Path
    guides : two sequences of float
        Exponents in L to draw for geometry and energy.
    """
    from matplotlib.figure import Figure

    rows, level = ([r for r in own if r["geometry"] > RESOLUTION] for own in (rows, level))
    picture = Figure(figsize=(9.0, 7.0), layout="constrained")
    panels = picture.subplots(2, 2)
    for column, (quantity, unit) in enumerate((("geometry", "Å"), ("energy", "eV"))):
        upper, lower = panels[:, column]
        for size in sorted({row["L"] for row in rows}):
            own = sorted((r["forces_rmse"], abs(r[quantity])) for r in rows if r["L"] == size)
            upper.loglog(*zip(*own, strict=True), "o-", ms=4, lw=1, label=f"L = {size}")
        upper.set(
            xlabel="RMSE of forces on test samples (eV/Å)", ylabel=f"{quantity} error ({unit})"
        )
        upper.legend(frameon=False, fontsize="small")
        for name in dict.fromkeys(row["simulation"] for row in level):
            own = sorted((r["L"], abs(r[quantity])) for r in level if r["simulation"] == name)
            lower.loglog(*zip(*own, strict=True), "o-", ms=4, lw=1, label=name)
        sizes = sorted({row["L"] for row in level})
        top = max(abs(row[quantity]) for row in level)
        for exponent, style in zip(guides[column], ("k--", "k:"), strict=False):
            guide = [top * (size / sizes[0]) ** exponent for size in sizes]
            lower.loglog(sizes, guide, style, lw=0.8, label=f"L^{exponent:g}")
        lower.set(xlabel="L (lattice constants)", ylabel=f"{quantity} error ({unit})")
        lower.set_xticks(sizes, [str(size) for size in sizes])
        lower.minorticks_off()
        lower.legend(frameon=False, fontsize="small")
    picture.savefig(path, dpi=150)
