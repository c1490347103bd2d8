"""Attacks on files, runs and calculators: none may give a wrong number, or end in a raw error.

    python benchmarks/reliability.py [--quick] [--seed N]

Model files (24,000), label files (2250), runs that are killed (60) and calculators that misbehave.
Prints how many were tried, refused, accepted with the numbers of the original, wrong, and crashed;
ends with status 1 if any is wrong or crashed.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_vibent import ACE, HessianEntropyCalculator, SiteModel, attach_labels, dataset
from ase_vibent.errors import CutRecordWarning, VibentError
from ase_vibent.labelling.run import LabelTask, label_structures
from ase_vibent.model.curvature import Curvature
from ase_vibent.model.domain import TrainingDomain
from ase_vibent.model.finite_size import FiniteSize
from ase_vibent.model.moments import MomentModel
from ase_vibent.model.posterior import Posterior
from ase_vibent.runs.records import Frames, read_finished

REFUSED, EQUAL, WRONG, CRASHED = "refused", "accepted and equal", "wrong", "crashed"
Rng = np.random.Generator


def outcome(attempt: Callable[[], bool]) -> str:
    """What became of an attack; the attempt says whether what it got is that of the original."""
    try:
        return EQUAL if attempt() else WRONG
    except VibentError:
        return REFUSED
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        print(f"  {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
        return CRASHED


def damaged(content: bytes, rng: Rng) -> bytes:
    """A few bytes flipped, lost, doubled, blanked, swapped, or the end cut off."""
    altered = bytearray(content)
    at = int(rng.integers(len(altered)))
    size = int(rng.integers(1, 64))
    match rng.integers(7):
        case 0:
            altered[at] ^= int(rng.integers(1, 256))
        case 1:
            del altered[at : at + size]
        case 2:
            altered[at:at] = altered[at : at + size]
        case 3:
            altered[at : at + size] = bytes(len(altered[at : at + size]))
        case 4:
            altered[at:at] = rng.bytes(size)
        case 5:
            other = int(rng.integers(len(altered)))
            altered[at], altered[other] = altered[other], altered[at]
        case _:
            del altered[at:]
    return bytes(altered)


# --- Model files ------------------------------------------------------------------------------


def small_model(rng: Rng) -> SiteModel:
    """A model with all parts."""
    descriptor = ACE(["Si"], cutoff=4.0, order=2, degree=4)
    n = descriptor.n_features
    row = rng.normal(size=(1, n))
    return SiteModel(
        descriptor,
        *(rng.normal(size=1), row, rng.normal(size=(1, n)), np.ones((1, n))),
        header={"solver": "ridge", "errors": {}, "quantities": ["total"]},
        curvature=Curvature(rng.normal(size=(1, 2, n)), rng.normal(size=(1, 2))),
        posterior=Posterior(
            rng.normal(size=(1, n, 3)).astype(np.float32),
            np.zeros((1, 3), dtype=np.float32),
            *(np.array(x) for x in (0.1, 1.0, 0.0, 1.0)),
        ),
        domain=TrainingDomain.of_environments(
            lambda: [(rng.normal(size=(20, n)), np.zeros(20, dtype=np.int64))], np.zeros((1, n))
        ),
        moments=MomentModel(
            np.array([14]), rng.normal(size=(3, 1, n)), rng.normal(size=(3, 1)), row
        ),
        finite_size=FiniteSize(np.array(0.1), np.array(64.0)),
    )


def numbers_of(model: SiteModel) -> dict[str, Any]:
    """All that a model predicts from."""
    arrays = {name: getattr(model, name) for name in ("constants", "weights", "shift", "scale")}
    for name in ("curvature", "posterior", "domain", "moments", "finite_size"):
        part = getattr(model, name)
        arrays |= {} if part is None else {f"{name}.{k}": v for k, v in part.arrays().items()}
    return arrays | {"descriptor": json.dumps(model.descriptor.to_dict()), "target": model.target}


def same_numbers(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


#: What no entry of a header can be.
ABSURD = ["x", -1, 1e6, 1e300, float("nan"), [], {}, True, "[" * 100_000, [None] * 1000, 10**400]


def npy(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def forged(members: dict[str, bytes], rng: Rng) -> bytes:
    """An archive with a right checksum, of a header or arrays that make no model."""
    members = dict(members)
    names = sorted(members.keys() - {"header", "checksum"})
    name = names[rng.integers(len(names))]
    array = np.load(io.BytesIO(members[name]))
    header = json.loads(np.load(io.BytesIO(members["header"])).tobytes())
    compression, text = zipfile.ZIP_DEFLATED, None
    kind = rng.integers(9)
    if kind == 0:
        where = header if rng.integers(2) else header["descriptor"]
        keys = [k for k in where if k in ("target", "descriptor", "parts", "format") or k in _SIZES]
        where[keys[rng.integers(len(keys))]] = ABSURD[rng.integers(len(ABSURD))]
    elif kind == 1:
        wrong = array.astype(float).ravel()
        if not wrong.size:
            wrong = np.zeros(3)
        wrong[rng.integers(wrong.size)] = rng.choice([np.nan, np.inf, -np.inf])
        members[name] = npy(wrong.reshape(array.shape) if wrong.size == array.size else wrong)
    elif kind == 2:
        members[name] = npy(np.append(array.ravel(), 1.0))
    elif kind == 3:
        members[name] = npy(np.array([{}], dtype=object), allow_pickle=True)
    elif kind == 4:
        del members[name]
    elif kind == 5:
        for divided in ("domain.spread", "domain.deviations", "domain.rest", "domain.limit"):
            members[divided] = npy(0 * np.load(io.BytesIO(members[divided])))
    elif kind == 6:
        compression = int(rng.choice([zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2]))
    elif kind == 7:
        shape = str(tuple(int(s) for s in rng.integers(2**40, size=3))).encode()
        members[name] = re.sub(rb"'shape': \([^)]*\)", b"'shape': " + shape, members[name])
    else:
        text = str(rng.choice(["[" * 100_000, "{}", "null", '{"format": 1}', "\0" * 9]))
    encoded = (json.dumps(header) if text is None else text).encode()
    members["header"] = npy(np.frombuffer(encoded, dtype=np.uint8))
    members["checksum"] = npy(np.frombuffer(checksum(members).encode(), dtype=np.uint8))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for key, content in members.items():
            archive.writestr(f"{key}.npy", content)
    return stream.getvalue()


#: Hyperparameters of which no other value fits the arrays.
_SIZES = ("name", "species", "cutoff", "order", "degree")


def checksum(members: dict[str, bytes]) -> str:
    """As the format has it; of members that are no arrays it does not matter."""
    digest = hashlib.sha256()
    for name in sorted(members.keys() - {"checksum"}):
        try:
            array = np.load(io.BytesIO(members[name]))
        except Exception:
            continue
        digest.update(repr((name, array.shape, array.dtype.str)).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def attack_models(count: int, rng: Rng, folder: Path) -> Counter[str]:
    path = folder / "model.vibent"
    small_model(rng).save(path)
    content, original = path.read_bytes(), numbers_of(SiteModel.load(path))
    with zipfile.ZipFile(path) as archive:
        members = {n.removesuffix(".npy"): archive.read(n) for n in archive.namelist()}
    found: Counter[str] = Counter()
    for number in range(count):
        path.write_bytes(forged(members, rng) if number % 4 == 0 else damaged(content, rng))
        found[outcome(lambda: same_numbers(numbers_of(SiteModel.load(path)), original))] += 1
    return found


# --- Label files ------------------------------------------------------------------------------


def labelled(n_frames: int) -> list[Atoms]:
    exact = HessianEntropyCalculator(EMT(), mesh="gamma")
    frames = []
    for seed in range(n_frames):
        atoms = bulk("Cu", "fcc", a=3.59, cubic=True)
        atoms.rattle(0.02, seed=seed)
        frames.append(attach_labels(atoms, exact, labels=["gradient", "sites"]))
        frames[-1].info |= {dataset.KEY: f"k{seed:016x}", dataset.CALCULATOR: "emt"}
    return frames


def altered_text(text: str, rng: Rng) -> str:
    """A line or a word of a file altered, or some of its bytes."""
    lines = text.split("\n")
    at = int(rng.integers(len(lines) - 1))
    words = lines[at].split(" ")
    word = int(rng.integers(len(words)))
    match rng.integers(8):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[at])
        case 2:
            words[word] = str(rng.choice(["nan", "inf", "1e400", "x", "", "0", "-1", "2", "T"]))
        case 3:
            digits = [k for k, c in enumerate(lines[at]) if c.isdigit()]
            if digits:
                k = digits[rng.integers(len(digits))]
                words = [lines[at][:k] + str(rng.integers(10)) + lines[at][k + 1 :]]
        case 4:  # a count
            at = int(rng.choice([k for k, line in enumerate(lines) if line.isdigit()]))
            words = [str(rng.choice(["", "0", "1", "3", "5", "7", "40", "4444", "9" * 30, "x"]))]
        case 5:
            words = words[:word]
        case 6:
            other = int(rng.integers(len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
            words = lines[at].split(" ")
        case _:
            return damaged(text.encode(), rng).decode("latin-1")
    if at < len(lines):
        lines[at] = " ".join(words) if len(lines) == text.count("\n") + 1 else lines[at]
    return "\n".join(lines)


def same_frame(one: Atoms, other: Atoms) -> bool:
    """Whether two frames are one structure with the same labels."""

    def values(atoms: Atoms) -> dict[str, Any]:
        own = {**atoms.arrays, **atoms.info, "cell": atoms.cell.array, "pbc": atoms.pbc}
        return {k: v for k, v in own.items() if not k.startswith("vibent_check")}

    first, second = values(one), values(other)
    return first.keys() <= second.keys() and all(
        np.array_equal(first[k], second[k], equal_nan=np.asarray(first[k]).dtype.kind == "f")
        for k in first
    )


def attack_labels(count: int, rng: Rng, folder: Path) -> Counter[str]:
    path, cut = folder / "labels.xyz", folder / "labels.xyz.cut"
    dataset.write_labels(path, labelled(30))
    text, original = path.read_text(encoding="utf-8"), dataset.read_labels(path)
    ends = np.cumsum([len(frame) for frame in re.split(r"(?m)^(?=\d+$)", text)[1:]])
    records: Frames[Atoms] = Frames("emt", lambda frames, _: frames)

    def is_right(frames: list[Atoms], altered: str) -> bool:
        """All frames; less the unfinished last one, and those that the attack cut off."""
        whole = len(original) - 1
        if text.startswith(altered):
            whole = int(np.sum(ends <= len(altered)))
        return len(frames) >= whole and all(map(same_frame, original, frames))

    def read(altered: str) -> bool:
        return is_right(dataset.read_labels(path), altered)

    def resume(altered: str) -> bool:
        before = path.read_bytes()
        try:
            frames = read_finished(path, records)
        except VibentError:
            if path.read_bytes() != before:
                return False
            raise
        kept = path.read_bytes() + (cut.read_bytes() if cut.exists() else b"")
        return kept == before and is_right(frames, altered)

    found: Counter[str] = Counter()
    for number in range(count):
        altered = altered_text(text, rng)
        path.write_text(altered, encoding="utf-8", newline="")
        cut.unlink(missing_ok=True)
        found[outcome(partial((read, resume)[number % 2], altered))] += 1
    return found


# --- Killed runs ------------------------------------------------------------------------------

SLOW_CALCULATOR = """
import time
from ase.calculators.emt import EMT

class Slow(EMT):
    def calculate(self, *arguments, **keywords):
        time.sleep(0.005)
        super().calculate(*arguments, **keywords)
"""


def attack_runs(count: int, rng: Rng, folder: Path) -> Counter[str]:
    (folder / "slow.py").write_text(SLOW_CALCULATOR, encoding="utf-8")
    cells = [atoms[[0, 1, 2, 3]] for atoms in labelled(6)]
    ase.io.write(folder / "in.traj", cells)
    command = [sys.executable, "-m", "ase_vibent.cli", "label", "in.traj", "--mesh", "gamma"]
    command += ["--calculator", "slow:Slow"]
    keywords: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL}
    keywords["env"] = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(folder)])}

    def run(output: str, n_jobs: int, seconds: float | None) -> float:
        began = time.monotonic()
        words = [*command, "-o", output, "-j", str(n_jobs)]
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL, **keywords)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        return time.monotonic() - began

    def frames_of(path: Path) -> dict[str, str]:
        frames = dataset.read_labels(path)
        return {atoms.info[dataset.KEY]: dataset.format_frame(atoms) for atoms in frames}

    needed = run("whole.xyz", 1, None)
    expected = frames_of(folder / "whole.xyz")

    def attempt(name: str, n_jobs: int) -> bool:
        run(name, n_jobs, float(rng.uniform(0.3, 1.0)) * needed)
        run(name, n_jobs, None)
        return frames_of(folder / name) == expected

    return Counter(outcome(lambda k=k: attempt(f"{k}.xyz", 1 + k % 2)) for k in range(count))


# --- Calculators that misbehave ---------------------------------------------------------------


def odd_calculators() -> Iterator[type[EMT]]:
    """EMT that gives something else for energy or forces, or does what it should not."""

    def giving(name: str, value: Callable[[Any], Any]) -> Callable[[EMT, Atoms], None]:
        def misbehave(calculator: EMT, atoms: Atoms) -> None:
            calculator.results[name] = value(calculator.results[name])

        return misbehave

    def raising(error: BaseException) -> Callable[[EMT, Atoms], None]:
        def misbehave(calculator: EMT, atoms: Atoms) -> None:
            raise error

        return misbehave

    def change(setter: Callable[[Atoms], None]) -> Callable[[EMT, Atoms], None]:
        return lambda calculator, atoms: setter(atoms)

    acts = [
        giving(name, value)
        for name in ("forces", "energy")
        for value in (
            lambda v: v * np.nan,
            lambda v: v * np.inf,
            lambda v: None,
            lambda v: "text",
            lambda v: np.zeros((2, 2)),
            lambda v: np.asarray(v)[None],
            lambda v: v * (1 + 1e-3j),
        )
    ]
    acts.append(giving("forces", lambda v: v.tolist()))
    acts.append(giving("forces", lambda v: np.roll(v, 1, axis=0)))
    acts += map(
        raising,
        (
            *(RuntimeError("no\nconvergence"), NotImplementedError("no EMT for this")),
            *(SystemExit(3), MemoryError(), RecursionError(), OSError(5, "lost"), StopIteration()),
        ),
    )
    acts.append(change(lambda atoms: atoms.set_cell(1.01 * atoms.cell, scale_atoms=True)))
    acts.append(change(lambda atoms: atoms.set_pbc(False)))
    acts.append(change(lambda atoms: atoms.set_atomic_numbers([47] * len(atoms))))
    acts.append(change(lambda atoms: atoms.positions.__iadd__(1e-3 * np.eye(len(atoms), 3))))
    acts.append(change(lambda atoms: os.chdir("/")))
    for number, act in enumerate(acts):

        class Odd(EMT):
            misbehave = staticmethod(act)

            def calculate(self, atoms: Any = None, *arguments: Any, **keywords: Any) -> None:
                super().calculate(atoms, *arguments, **keywords)
                self.misbehave(self, atoms)

        Odd.__name__ = f"Odd{number}"
        yield Odd


def attack_calculators(count: int, rng: Rng, folder: Path) -> Counter[str]:
    atoms = labelled(1)[0]
    expected = LabelTask(atoms, labels=["total", "energies"], mesh="gamma").run(EMT())
    found: Counter[str] = Counter()
    for number, kind in enumerate(itertools.islice(odd_calculators(), count)):
        path = folder / f"odd{number}.xyz"

        def attempt(kind: type[EMT] = kind, path: Path = path) -> bool:
            task = LabelTask(atoms.copy(), labels=["total", "energies"], mesh="gamma")
            here = Path.cwd()
            try:
                summary = label_structures([task], path, kind, calculator_name="odd")
            finally:
                os.chdir(here)
            if summary.failed:
                raise VibentError(summary.failed[0][1])
            (frame,) = dataset.read_labels(path)
            return all(
                np.allclose(value, frame.info.get(name, np.nan), rtol=1e-6, atol=1e-9)
                for name, value in expected.info.items()
                if name in (dataset.ENTROPY, dataset.ENERGY)
            )

        found[outcome(attempt)] += 1
        if found[WRONG] + found[CRASHED]:
            print(f"  {kind.__name__}: {found}", file=sys.stderr)
    return found


CAMPAIGNS: dict[str, tuple[Callable[[int, Rng, Path], Counter[str]], int, int]] = {
    "model files": (attack_models, 24_000, 800),
    "label files": (attack_labels, 2250, 200),
    "killed runs": (attack_runs, 60, 3),
    "odd calculators": (attack_calculators, 100, 100),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fraction of the attacks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=tuple(CAMPAIGNS), nargs="+", default=tuple(CAMPAIGNS))
    options = parser.parse_args()
    warnings.simplefilter("ignore", CutRecordWarning)
    columns = (REFUSED, EQUAL, WRONG, CRASHED)
    print(f"{'':16}{'tried':>8}" + "".join(f"{column:>20}" for column in columns))
    bad = 0
    for name in options.only:
        attack, count, few = CAMPAIGNS[name]
        with tempfile.TemporaryDirectory() as folder:
            rng = np.random.default_rng(options.seed)
            found = attack(few if options.quick else count, rng, Path(folder))
        cells = "".join(f"{found[column]:>20}" for column in columns)
        print(f"{name:16}{found.total():>8}{cells}", flush=True)
        bad += found[WRONG] + found[CRASHED]
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
