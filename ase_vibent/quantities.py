"""What can be labelled and learned, and how it is named: labels, and the quantities of targets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

from ase.units import kB

from ase_vibent.errors import InvalidInputError

#: What a site model predicts.
TargetName = Literal["entropy", "energy"]
#: How coefficients are fitted, see `ase_vibent.regression.solvers`.
SolverName = Literal["ridge", "bayesian-ridge", "ard", "rrqr"]
#: Kinds of row that a site model can be fitted to.
QuantityName = Literal["total", "gradient", "strain", "sites", "site_gradients", "force_constants"]
QUANTITIES: tuple[QuantityName, ...] = get_args(QuantityName)
#: Of these: values, not derivatives; those of single sites; those that one evaluation of a site
#: model gives.
VALUES: tuple[QuantityName, ...] = ("total", "sites")
OF_SITES: tuple[QuantityName, ...] = ("sites", "site_gradients")
EVALUATED: tuple[QuantityName, ...] = ("total", "gradient", "strain", "sites")

#: What structures are labelled with, beside totals.
LabelName = Literal[
    "total",
    "gradient",
    "strain",
    "sites",
    "site_gradients",
    "moments",
    "energies",
    "force_constants",
    "soft_modes",
]
LABELS: dict[LabelName, str] = {
    "total": "nothing else",
    "gradient": "entropy gradients, 3N numbers a cell: wanted for training",
    "strain": "strain derivatives (needs stresses)",
    "sites": "site entropies",
    "site_gradients": "gradients of every site entropy, N × 3N numbers a cell: for small cells",
    "moments": "moments of local densities of states: wanted for quantum statistics",
    "energies": "energy, forces and virial of the calculator, to train a potential",
    "force_constants": "rows of the Hessian, to train a potential",
    "soft_modes": "the lowest eigenvalues of the Hessian, for surrogates beside exact soft modes",
}
DEFAULT_LABELS: tuple[LabelName, ...] = ("gradient", "sites")

#: Weights of rows of values beside derivatives, [Torabi2024] 4.2.1, but for sites: with its 600,
#: values are fitted at the expense of gradients, and both are predicted worse
#: (benchmarks/papers/torabi2024_silicon.py).
VALUE_WEIGHT, HESSIAN_WEIGHT = 60.0, 0.1


@dataclass(frozen=True)
class Quantity:
    """Numbers that structures are labelled with, and that a site model is compared with.

    Attributes
    ----------
    name : str
        Kind of row: one of `QUANTITIES`; or "quantum", what moments add to site free
        energies at T0 = 300 K.
    unit, title : str
        In tables and figures.
    key : str
        Label in a frame's `info` or `arrays`, see `ase_vibent.dataset`.
    label : str
        One of `LABELS`: what `attach_labels` is asked for.
    weight : float
        Of its rows in a fit, by default; zero of what is compared only.
    """

    name: QuantityName | Literal["quantum"]
    unit: str
    title: str
    key: str
    label: LabelName
    weight: float = 1.0


@dataclass(frozen=True)
class Target:
    """What a site model predicts.

    Attributes
    ----------
    name : str
    site_values : str
        What the model's values are, and their unit.
    scale : float
        That unit in ASE's.
    quantities : tuple of Quantity
    deviations : (str, str)
        Results of a calculator: standard deviations of the total and of the sites.
    of_structure, of_atoms : tuple of str
        Results that `vibent predict` keeps.
    """

    name: TargetName
    site_values: str
    scale: float
    quantities: tuple[Quantity, ...]
    deviations: tuple[str, str]
    of_structure: tuple[str, ...]
    of_atoms: tuple[str, ...]

    def __getitem__(self, name: str) -> Quantity:
        """Quantity of a name."""
        by_name: dict[str, Quantity] = {quantity.name: quantity for quantity in self.quantities}
        return by_name[name]

    @property
    def fitted(self) -> dict[str, Quantity]:
        """Quantities that a model can be fitted to, by name."""
        return {q.name: q for q in self.quantities if q.weight > 0}


ENTROPY = Target(
    "entropy",
    site_values="k_B per site, mass-free (masses of 1 amu, T0 = 300 K)",
    scale=kB,
    quantities=(
        Quantity(
            "total",
            "k_B",
            "total entropy (all masses 1 amu)",
            key="vibent_entropy",
            label="total",
            weight=VALUE_WEIGHT,
        ),
        Quantity(
            "gradient", "k_B/Å", "entropy gradient", key="vibent_entropy_gradient", label="gradient"
        ),
        Quantity(
            "strain",
            "k_B",
            "strain derivative of the entropy",
            key="vibent_entropy_strain",
            label="strain",
        ),
        Quantity(
            "sites",
            "k_B",
            "site entropies",
            key="vibent_entropies",
            label="sites",
            weight=VALUE_WEIGHT,
        ),
        Quantity(
            "site_gradients",
            "k_B/Å",
            "gradients of site entropies",
            key="vibent_site_gradients",
            label="site_gradients",
        ),
        Quantity(
            "quantum",
            "k_B T0",
            "share of moments in site free energies",
            key="vibent_moments",
            label="moments",
            weight=0.0,
        ),
    ),
    deviations=("entropy_std", "entropies_std"),
    of_structure=("entropy", "entropy_std", "free_energy"),
    of_atoms=("entropies", "entropies_std", "entropy_gradient", "extrapolation_grades"),
)
#: Forces stand for gradients, virials for strain derivatives.
ENERGY = Target(
    "energy",
    site_values="eV per site",
    scale=1.0,
    quantities=(
        Quantity(
            "total", "eV", "energy", key="vibent_energy", label="energies", weight=VALUE_WEIGHT
        ),
        Quantity("gradient", "eV/Å", "energy gradient", key="vibent_forces", label="energies"),
        Quantity("strain", "eV", "virial", key="vibent_energy_strain", label="energies"),
        Quantity(
            "force_constants",
            "eV/Å²",
            "force constants",
            key="vibent_force_constants",
            label="force_constants",
            weight=HESSIAN_WEIGHT,
        ),
    ),
    deviations=("energy_std", "energies_std"),
    of_structure=("energy", "energy_std"),
    of_atoms=("energies", "energies_std", "forces", "extrapolation_grades"),
)
TARGETS: dict[TargetName, Target] = {target.name: target for target in (ENTROPY, ENERGY)}

#: By kind of row, of whatever is learned.
DEFAULT_WEIGHTS: dict[str, float] = {
    name: quantity.weight for target in TARGETS.values() for name, quantity in target.fitted.items()
}


#: Where a frame keeps every label, or the first of its parts.
LABEL_KEYS: dict[str, str] = {
    "soft_modes": "vibent_soft_eigenvalues",
    **{
        quantity.label: quantity.key
        for target in reversed(TARGETS.values())
        for quantity in reversed(target.quantities)
    },
}


def check_labels(labels: Collection[LabelName]) -> None:
    """Raise InvalidInputError unless all labels have known names."""
    unknown = [labels] if isinstance(labels, str) else [k for k in labels if k not in LABELS]
    if unknown:
        raise InvalidInputError(
            f"labels: expected a list of names among {', '.join(LABELS)}, got {unknown[0]!r}"
        )


def how_to_label(label: LabelName) -> str:
    """Advice for messages: the call and the command that make a label."""
    return f"attach_labels(..., labels=[{label!r}, …]) or 'vibent label --labels {label} …'"
