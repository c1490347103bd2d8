"""The user's calculator: by name or from a factory, its folder, its results, and its failures."""

from ase_vibent.potentials.calculator import (
    BUILT_IN,
    CalculatorSpec,
    calculator_failures,
    effective_medium,
    energy_and_forces,
    require_numbers,
    resolve_calculator,
    set_directory,
    stillinger_weber_silicon,
    tersoff_silicon_carbide,
    with_results,
)
from ase_vibent.potentials.devices import accelerator
from ase_vibent.potentials.pace import Pace, pace_of
from ase_vibent.potentials.torch_sim import TorchSimCalculator

__all__ = [
    "BUILT_IN",
    "CalculatorSpec",
    "Pace",
    "TorchSimCalculator",
    "accelerator",
    "calculator_failures",
    "effective_medium",
    "energy_and_forces",
    "pace_of",
    "require_numbers",
    "resolve_calculator",
    "set_directory",
    "stillinger_weber_silicon",
    "tersoff_silicon_carbide",
    "with_results",
]
