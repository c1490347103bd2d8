"""Elastic bands on the free energy
================================

Elastic bands on E + F_vib(T): barrier and rate of a vacancy jump against temperature.

Images of a band are neither minima nor saddles, and the plain entropy diverges between the two. The
shipped `cu-emt-jump` therefore knows vibrations orthogonal to the path; `cu-emt` adds the minimum.
"""

from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from ase.mep import NEB
from ase.optimize import FIRE
from matplotlib.figure import Figure

from ase_vibent import SiteEntropyCalculator
from ase_vibent.figures import path_plot
from ase_vibent.stationary import relax
from ase_vibent.structures import vacancies
from ase_vibent.thermo import PathProfile, path_profile

crystal = bulk("Cu", "fcc", a=3.5898, cubic=True) * 3
before = vacancies(crystal)[0]  # atom 0 is taken out
distances = crystal.get_distances(0, range(1, len(crystal)), mic=True)
after = before.copy()
after.positions[distances.argmin()] = crystal.positions[0]


def surface(temperature: float) -> object:
    """Energy, and vibrational free energy where the temperature is not 0, as one ASE calculator."""
    if temperature == 0:
        return EMT()
    vibrations = SiteEntropyCalculator.from_pretrained("cu-emt-jump", temperature=temperature)
    return SumCalculator([EMT(), vibrations])


def converged(images: list[Atoms], temperature: float) -> list[Atoms]:
    """Band of lowest free energy, its climbing image at the top."""
    inner = [image.copy() for image in images[1:-1]]
    ends = [
        relax(end, lambda: surface(temperature), fmax=0.02) for end in images[:: len(inner) + 1]
    ]
    for image in inner:
        image.calc = surface(temperature)
    chain = NEB([ends[0], *inner, ends[1]], climb=True, method="improvedtangent")
    FIRE(chain, logfile=None).run(fmax=0.05, steps=60)
    return chain.images


start = [before, *(before.copy() for _ in range(5)), after]
NEB(start, method="improvedtangent").interpolate("idpp", mic=True)
# A model knows the surroundings of the path only: begin with that of lowest energy.
coldest = converged(start, 0.0)


def profile_at(temperature: float) -> PathProfile:
    return path_profile(
        converged(coldest, temperature),
        SiteEntropyCalculator.from_pretrained("cu-emt-jump"),
        temperature,
        potential=EMT,
        minimum_calculator=SiteEntropyCalculator.from_pretrained("cu-emt"),
        fmax=0.5,  # at rest on E + F, not on E
    )


barriers, temperatures = [], (300.0, 700.0, 1100.0)
for temperature in temperatures:
    profile = profile_at(temperature)
    barriers.append(profile.free_energies.max())
    print(
        f"{temperature:6.0f} K: barrier {profile.barrier:.4f} eV, with vibrations "
        f"{barriers[-1]:.4f} eV; {profile.rates[0]:.2e} jumps per second"
    )
path_plot(profile, "free-energy-path.png")
figure = Figure(figsize=(4.6, 3.4), layout="constrained")
panel = figure.subplots()
panel.plot(temperatures, barriers, "o-")
panel.set(xlabel="temperature (K)", ylabel="free-energy barrier (eV)")
figure.savefig("barrier.png", dpi=150)
