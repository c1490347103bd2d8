"""Figures, by matplotlib. They only draw; numbers come from the rooms below."""

from ase_vibent.figures.defects import compensation_plot, formation_plot, path_plot, rate_plot
from ase_vibent.figures.locality import locality_plot
from ase_vibent.figures.models import calibration_plot, curve_plot, parity_plot
from ase_vibent.figures.sites import sites_plot
from ase_vibent.figures.vibrations import states_plot

__all__ = [
    "calibration_plot",
    "compensation_plot",
    "curve_plot",
    "formation_plot",
    "locality_plot",
    "parity_plot",
    "path_plot",
    "rate_plot",
    "sites_plot",
    "states_plot",
]
