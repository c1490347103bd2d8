"""Site models, what they know of their own errors, and their coefficient file."""

from ase_vibent.model.curvature import Curvature
from ase_vibent.model.domain import TrainingDomain
from ase_vibent.model.finite_size import FiniteSize
from ase_vibent.model.moments import MomentModel
from ase_vibent.model.posterior import Posterior
from ase_vibent.model.prediction import Prediction
from ase_vibent.model.site_model import SiteModel

__all__ = [
    "Curvature",
    "FiniteSize",
    "MomentModel",
    "Posterior",
    "Prediction",
    "SiteModel",
    "TrainingDomain",
]
