"""Run as a script, on any number of ranks: EntropyFix on cases of a file, results into another."""

from __future__ import annotations

import json
import sys
import warnings
from functools import cache, partial
from typing import Any

import numpy as np
from mpi4py import MPI

from ase_vibent import SiteEntropyCalculator, SiteModel
from ase_vibent.errors import VibentError
from ase_vibent.lammps import EntropyFix, open_lammps

COMM = MPI.COMM_WORLD
load = cache(SiteModel.load)


def fail_on_last_rank(step: int, *, error: type[BaseException]) -> float:
    """A temperature that the last rank does not know."""
    if COMM.rank == COMM.size - 1 and step == 2:
        raise error("the heater broke {down}")
    return 300.0


TEMPERATURES = {
    "rising": lambda step: 300.0 + 10 * step,
    "broken": partial(fail_on_last_rank, error=OSError),
    "killed": partial(fail_on_last_rank, error=SystemExit),
}


def by_id(engine: Any, values: Any) -> np.ndarray:
    """Values of all ranks' own atoms, in the order of their IDs."""
    n_atoms = engine.extract_setting("nlocal")
    tags = engine.numpy.extract_atom("id")[:n_atoms].copy()
    parts = COMM.allgather((tags, np.array(values[:n_atoms])))
    order = np.argsort(np.concatenate([p[0] for p in parts]))
    return np.concatenate([p[1] for p in parts])[order]


def measure(engine: Any, case: dict[str, Any]) -> dict[str, Any]:
    calculator = SiteEntropyCalculator(
        load(case["model"]),
        temperature=600,
        quantum=case.get("quantum", False),
        extrapolation=case.get("extrapolation", "ignore"),
    )
    temperature = case.get("temperature")
    engine.commands_string(case["setup"])
    EntropyFix(
        engine,
        calculator,
        case["elements"],
        temperature=TEMPERATURES.get(temperature, temperature),
    )
    engine.commands_string(
        """compute shares all pe/atom fix
        compute sum all reduce sum c_shares
        thermo_style custom step pe etotal pxx pyy pzz pxy pxz pyz f_vibent f_vibent[1] &
            f_vibent[2] f_vibent[3] c_sum
        thermo 1
        thermo_modify format float %20.15g
        dump shares all custom 1000000 """
        + f"{case['folder']}/dump id c_shares d_vibent_entropy d_vibent_grade"
    )
    series = []
    for command in case["run"]:
        try:
            engine.command(command)
        except VibentError as error:
            if not case.get("again"):
                raise
            series.append({"error": str(error), "step": engine.extract_global("ntimestep")})
        else:
            series.append(engine.last_thermo())
    numpy = engine.numpy
    return {
        "thermo": series,
        "box": engine.extract_box(),
        "positions": by_id(engine, numpy.extract_atom("x")).tolist(),
        "masses": numpy.extract_atom("mass").tolist(),
        "types": by_id(engine, numpy.extract_atom("type")).tolist(),
        "f": by_id(engine, numpy.extract_atom("f")).tolist(),
        "forces": by_id(engine, numpy.fix_external_get_force("vibent")).tolist(),
        "entropies": by_id(engine, numpy.extract_atom("d_vibent_entropy")).tolist(),
        "shares": by_id(engine, numpy.extract_compute("shares", 1, 1)).tolist(),
        "n_atoms": COMM.allgather(engine.extract_setting("nlocal")),
    }


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    results = {}
    for name, case in cases.items():
        engine = open_lammps()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                results[name] = measure(engine, case)
            except Exception as error:
                results[name] = {"error": str(error)}
        results[name]["warnings"] = [str(w.message) for w in caught]
        engine.close()
    told = COMM.allgather([r.get("error") for r in results.values()])
    assert all(errors == told[0] for errors in told), told
    if COMM.rank == 0:
        with open(sys.argv[2], "w", encoding="utf-8") as file:
            json.dump(results, file)


if __name__ == "__main__":
    main()
