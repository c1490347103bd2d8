"""One function per command of `vibent`: read, call the library, print."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from ase.units import kB
from tqdm import tqdm

from ase_vibent import dataset
from ase_vibent.calculator import SiteEntropyCalculator
from ase_vibent.cli.demo import demo
from ase_vibent.descriptors import ACE
from ase_vibent.errors import InvalidInputError, InvalidStructureError, VibentError
from ase_vibent.label_run import LabelTask, label_structures
from ase_vibent.labelling import match_references
from ase_vibent.model import SiteModel
from ase_vibent.plots import parity_plot
from ase_vibent.potentials import CalculatorSpec
from ase_vibent.training.report import Report, evaluate_frames, format_metrics
from ase_vibent.training.targets import ReferenceCrystals
from ase_vibent.training.trainer import split_frames
from ase_vibent.training.trainer import train as train_model

__all__ = ["demo", "evaluate", "info", "label", "predict", "train"]


def label(options: argparse.Namespace) -> int:
    """`vibent label`: exact labels into an extended XYZ file."""
    sources, structures = _read_structures(options.structures)
    spec = CalculatorSpec(options.calculator)
    spec()  # a wrong specification fails here, once, and not in every structure
    wanted = {
        "gradient": options.gradient,
        "strain": options.strain,
        "sites": options.sites,
    }
    tasks = []
    names: list[str | None] = [None] * len(structures)
    if options.reference:
        matches = match_references(structures, _read_structures([options.reference])[1])
        crystals = list({id(c): c for c in matches}.values())
        titles = {id(c): _crystal_name(c) for c in crystals}
        tasks = [LabelTask(c, name=titles[id(c)], **wanted) for c in crystals]
        names = [titles[id(c)] for c in matches]
        sources = [f"crystal {titles[id(c)]}" for c in crystals] + sources
    tasks += [
        LabelTask(atoms, reference=name, unstable=options.unstable, **wanted)
        for atoms, name in zip(structures, names, strict=True)
    ]
    summary = label_structures(
        tasks,
        options.output,
        spec,
        calculator_name=spec.text,
        n_jobs=options.j,
        progress=lambda items, total: _bar(items, total, "labelling"),
    )
    for number, reason in summary.failed:
        print(
            f"vibent label: {sources[number]} failed: {' '.join(reason.split())}", file=sys.stderr
        )
    result = {
        "labelled": summary.done,
        "found": summary.skipped,
        "failed": len(summary.failed),
        "output": str(options.output),
    }
    _show(
        options,
        result,
        f"{summary.done} labelled, {summary.skipped} found there already, "
        f"{len(summary.failed)} failed: {options.output}"
        + (
            ""
            if options.reference
            else "\nNo perfect crystal: totals of periodic cells are not "
            "extensive. To train on defects of a crystal, pass --reference."
        ),
    )
    return 1 if summary.failed else 0


def train(options: argparse.Namespace) -> int:
    """`vibent train`: labels to coefficient file."""
    frames = dataset.read_labels(options.labels)
    fitted, held_out = split_frames(frames, options.test_fraction, options.seed)
    species = sorted({symbol for atoms in frames for symbol in atoms.get_chemical_symbols()})
    descriptor = ACE(tuple(species), options.cutoff, options.order, options.degree)
    _require_writable(options.output)
    _require_plottable(options.plot)
    model = train_model(
        fitted,
        descriptor,
        quantities=options.quantities,
        solver=options.solver,
        test=held_out,
        progress=lambda items: _bar(items, None, "features"),
    )
    model.save(options.output)
    if options.plot:
        references = ReferenceCrystals(frames)
        sets = {"train": fitted, "test": held_out}
        parity_plot(
            {k: evaluate_frames(model, v, references) for k, v in sets.items()}, options.plot
        )
    errors = model.header["errors"]
    _show(
        options,
        {"model": str(options.output), "n_features": descriptor.n_features, "errors": errors},
        f"{descriptor.n_features} functions, {model.header['n_rows']} rows, "
        f"{len(fitted)} frames fitted, {len(held_out)} held out\n"
        f"{format_metrics(errors)}\ncoefficient file: {options.output}",
    )
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """`vibent evaluate`: a model against labels."""
    _require_plottable(options.plot)
    model = SiteModel.load(options.model)
    frames = dataset.read_labels(options.labels)
    comparisons = evaluate_frames(model, frames)
    if options.plot:
        parity_plot({"": comparisons}, options.plot)
    errors = Report(train={}, test=comparisons).metrics()
    _show(options, errors["test"], format_metrics({"": errors["test"]}))
    return 0


def predict(options: argparse.Namespace) -> int:
    """`vibent predict`: entropies and free energies of structures."""
    calculator = SiteEntropyCalculator(options.model, temperature=options.temperature)
    sources, structures = _read_structures(options.structures)
    if options.output:
        _require_writable(options.output)
    rows: list[dict[str, Any]] = []
    predicted = []
    pairs = list(zip(sources, structures, strict=True))
    for source, atoms in _bar(pairs, len(pairs), "predicting"):
        try:
            calculator.get_property("entropy_gradient", atoms)
        except VibentError as error:
            rows.append({"structure": source, "error": str(error)})
            print(f"vibent predict: {source}: {error}", file=sys.stderr)
            continue
        values = calculator.results
        rows.append(
            {
                "structure": source,
                "formula": atoms.get_chemical_formula(),
                "n_atoms": len(atoms),
                "entropy_eV_per_K": values["entropy"],
                "entropy_per_atom_kB": values["entropy"] / kB / len(atoms),
                "free_energy_eV": values["free_energy"],
            }
        )
        predicted.append(_with_predictions(atoms, values, options.temperature))
    if options.output:
        dataset.write_labels(options.output, predicted)
    _show(options, rows, _prediction_table(rows, options.temperature))
    return 1 if any("error" in row for row in rows) else 0


def info(options: argparse.Namespace) -> int:
    """`vibent info`: header of a coefficient file."""
    model = SiteModel.load(options.model)
    header = {
        **model.header,
        "target": model.target,
        "descriptor": model.descriptor.to_dict(),
        "n_features": model.descriptor.n_features,
        "constants": dict(zip(model.species, model.constants.tolist(), strict=True)),
    }
    lines = [f"{options.model}: {model.target} of {', '.join(model.species)}, classical"]
    for key, value in header.items():
        if key != "errors":
            lines.append(f"  {key.replace('_', ' '):<20} {_plain(value)}")
    _show(options, header, "\n".join([*lines, format_metrics(header.get("errors", {}))]))
    return 0


def _plain(value: Any) -> str:
    """A header entry for people."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _with_predictions(atoms: Atoms, values: dict[str, Any], temperature: float) -> Atoms:
    """Copy with predictions under names that training never takes for labels."""
    copy: Atoms = atoms.copy()
    copy.info["predicted_temperature"] = temperature
    copy.info["predicted_entropy"] = values["entropy"]
    copy.info["predicted_free_energy"] = values["free_energy"]
    copy.arrays["predicted_entropies"] = values["entropies"]
    copy.arrays["predicted_entropy_gradient"] = values["entropy_gradient"]
    return copy


def _prediction_table(rows: Sequence[dict[str, Any]], temperature: float) -> str:
    lines = [
        f"T = {temperature:g} K",
        f"{'structure':<24} {'formula':<16} {'atoms':>7} {'S (eV/K)':>14} {'S/atom (k_B)':>13} "
        f"{'F_vib (eV)':>14}",
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"{row['structure']:<24} failed")
        else:
            lines.append(
                f"{row['structure']:<24} {row['formula']:<16} {row['n_atoms']:>7} "
                f"{row['entropy_eV_per_K']:>14.8f} {row['entropy_per_atom_kB']:>13.6f} "
                f"{row['free_energy_eV']:>14.6f}"
            )
    return "\n".join(lines)


def _crystal_name(crystal: Atoms) -> str:
    """Name that a rerun with other structures gives to the same crystal again."""
    arrays = (crystal.numbers, crystal.positions, crystal.cell.array, crystal.get_masses())
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays))
    return f"{crystal.get_chemical_formula()}-{digest.hexdigest()[:6]}"


def _read_structures(paths: Sequence[str]) -> tuple[list[str], list[Atoms]]:
    """Names, file and frame, and structures of all frames of all files."""
    sources: list[str] = []
    structures: list[Atoms] = []
    for path in paths:
        if not Path(path).exists():
            raise InvalidStructureError(f"{path}: no such file")
        try:
            frames: list[Atoms] = ase.io.read(path, index=":")
        except Exception as error:
            raise InvalidStructureError(
                f"{path}: ASE cannot read it ({type(error).__name__}: {error})"
            ) from error
        sources += [f"{Path(path).name} frame {k}" for k in range(len(frames))]
        structures += frames
    if not structures:
        raise InvalidStructureError(f"{', '.join(paths)}: no structure in it")
    return sources, structures


def _require_writable(path: str) -> None:
    """Fail before the work, not after it."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise InvalidInputError(f"{path}: its folder does not exist; make it first")
    probe = folder / f".{Path(path).name}.probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot write there ({error.strerror})") from error


def _require_plottable(path: str | None) -> None:
    if path is None:
        return
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix.lstrip(".").lower() not in known:
        raise InvalidInputError(f"{path}: no figure format; use one of {', '.join(sorted(known))}")
    _require_writable(path)


def _bar(items: Iterable[Any], total: int | None, title: str) -> Iterable[Any]:
    return tqdm(items, total=total, desc=title, disable=None, file=sys.stderr)


def _show(options: argparse.Namespace, data: Any, text: str) -> None:
    print(json.dumps(_json_ready(data), indent=2, allow_nan=False) if options.json else text)


def _json_ready(data: Any) -> Any:
    """NaN, which JSON does not know, as null."""
    if isinstance(data, dict):
        return {key: _json_ready(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_json_ready(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
