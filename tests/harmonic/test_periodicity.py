"""Vacuum is no period: what stands in a periodic box has the vibrations that it has alone."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, graphene, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.cell import Cell
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from ase.units import kB
from hypothesis import given, settings
from hypothesis import strategies as st

from ase_vibent import HessianEntropyCalculator, PhonopyEntropyCalculator, attach_labels
from ase_vibent.errors import InvalidStructureError, VacuumWarning
from ase_vibent.harmonic.mesh import choose_mesh
from ase_vibent.harmonic.periodicity import free_standing
from ase_vibent.harmonic.rigid_motions import rotation_axes
from ase_vibent.stationary.checks import require_unstable_modes


def at_rest(atoms, calculator=EMT):
    copy = atoms.copy()
    copy.calc = calculator()
    assert BFGS(copy, logfile=None).run(fmax=1e-4, steps=500)
    copy.calc = None
    return copy


def zigzag(n=1):
    """Wire of two atoms a period, along z."""
    cell = [30, 30, 3.3]
    atoms = Atoms("Cu2", [[1.0, 0, 0], [-0.3, 0.9, 1.65]], cell=cell, pbc=[False, False, True])
    return atoms * (1, 1, n)


def slab():
    return fcc111("Cu", (1, 2, 3), a=3.59, orthogonal=True, vacuum=6.0)


def boxed(atoms, gap=8.0, shift=(0.0, 0.0, 0.0)):
    """The same in a cell that is periodic all round, cut by its borders."""
    box = atoms.copy()
    spans = np.ptp(atoms.positions, axis=0)
    lengths = np.where(atoms.pbc, atoms.cell.lengths(), spans + gap)
    box.cell = np.diag(lengths)
    box.pbc = True
    box.positions += np.array(shift) * lengths
    box.wrap()
    return box


BODIES = {
    "N2": lambda: at_rest(molecule("N2")),
    "CO": lambda: at_rest(molecule("CO")),
    "CH4": lambda: at_rest(molecule("CH4")),
    "C2H6": lambda: at_rest(molecule("C2H6")),
    "wire": lambda: at_rest(zigzag(3)),
    "slab": lambda: at_rest(slab()),
}


def exact(**options):
    # Symmetry is seen in boxes only, and displaces other atoms.
    return HessianEntropyCalculator(EMT(), symmetry=False, **options)


@pytest.mark.filterwarnings("ignore:.*told apart by guess")
@pytest.mark.parametrize("mesh", ["auto", "gamma", (2, 2, 2)])
@pytest.mark.parametrize("body", BODIES)
def test_boxes_give_what_stands_alone_gives(body, mesh):
    alone = BODIES[body]()
    honest = "gamma" if mesh == (2, 2, 2) and not alone.pbc.any() else mesh
    box = boxed(alone, shift=(0.37, 0.93, 0.01))
    own, other = exact(mesh=honest, unstable="any"), exact(mesh=mesh, unstable="any")
    for name in ("entropy", "energy"):
        expected = own.get_property(name, alone)
        assert other.get_property(name, box) == pytest.approx(expected, abs=1e-6 * kB)
    frequencies = own.get_frequencies(alone)
    assert other.get_frequencies(box) == pytest.approx(frequencies, abs=1e-7)


def test_nitrogen_in_a_box_has_one_vibration():
    box = boxed(at_rest(molecule("N2")), gap=11.0)
    calculator = HessianEntropyCalculator(EMT())
    assert calculator.get_property("entropy", box) / kB == pytest.approx(-0.776, abs=5e-4)
    assert len(calculator.get_frequencies(box)) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("stretch", [0.98, 0.999, 1.001, 1.02])
def test_sign_of_a_force_does_not_decide(stretch):
    alone = at_rest(molecule("N2"))
    alone.positions *= stretch
    box = boxed(alone, shift=(0.5, 0.5, 0.98))
    expected = exact().get_property("entropy_gradient", alone)
    assert exact().get_property("entropy_gradient", box) == pytest.approx(expected, abs=1e-9)
    assert exact().get_property("entropy", box) == pytest.approx(
        exact().get_property("entropy", alone), abs=1e-9 * kB
    )


@pytest.mark.filterwarnings("error")
@settings(max_examples=40, deadline=None)
@given(
    shear=st.lists(st.integers(-2, 2), min_size=3, max_size=3),
    shift=st.lists(st.floats(0, 1, exclude_max=True), min_size=3, max_size=3),
    angle=st.floats(0, 180),
    body=st.sampled_from(["N2", "CH4", "wire"]),
)
def test_any_cell_of_the_same_lattice(shear, shift, angle, body):
    """Rigid motions are the same however the cell is chosen, and where its borders cut."""
    alone = zigzag(2) if body == "wire" else molecule(body)
    box = boxed(alone, gap=9.0)
    (x, y, z), cell = shear, box.cell.array
    # Of wires the third vector stays the period.
    bent = np.array([[1, x, y], [0, 1, z], [0, 0, 1]])
    box.set_cell(bent @ cell, scale_atoms=False)
    box.rotate(angle, (1, 2, 3), rotate_cell=True)
    box.set_scaled_positions(box.get_scaled_positions(wrap=False) + shift)
    box.wrap()
    whole = free_standing(box)
    assert whole.pbc.tolist() == alone.pbc.tolist()
    assert len(rotation_axes(box)) == (1 if body == "wire" else 3)
    expected = np.sort(alone.get_all_distances(mic=body == "wire"), axis=None)
    # ASE finds nearest images only where vectors without periodicity are orthogonal to the others.
    whole.set_cell(Cell(np.where(whole.pbc[:, None], whole.cell.array, 0)).complete())
    found = whole.get_all_distances(mic=body == "wire")
    assert np.sort(found, axis=None) == pytest.approx(expected, abs=1e-9)


NITROGEN = Atoms(
    "N8",
    np.repeat([[0, 0, 0], [2.8, 2.8, 0], [2.8, 0, 2.8], [0, 2.8, 2.8]], 2, axis=0)
    + np.tile([[0.3, 0.3, 0.3], [-0.3, -0.3, -0.3]], (4, 1)),
    cell=[5.65] * 3,
    pbc=True,
)
CRYSTALS = {
    "Cu": bulk("Cu"),
    "Cs": bulk("Cs", cubic=True),
    "K with O": bulk("K", cubic=True) * 2 + Atoms("O", [[2.6, 2.6, 0]]),
    "Xe": bulk("Xe", "fcc", a=6.2, cubic=True),
    "far atoms": bulk("Ar", "sc", a=11.0) * 2,
    "one atom": bulk("Ar", "sc", a=40.0),
    "graphite": Atoms(
        "C4",
        scaled_positions=[[0, 0, 0.25], [0, 0, 0.75], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]],
        cell=[2.46, 2.46, 6.7, 90, 90, 120],
        pbc=True,
    ),
    "molecular": NITROGEN,
    "layer, as it says": graphene(vacuum=8.0),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("crystal", CRYSTALS)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_crystals_stay_as_they_are(crystal, noise):
    atoms = CRYSTALS[crystal].copy()
    atoms.rattle(noise, seed=1)
    assert free_standing(atoms) is atoms


def test_vacuum_takes_one_point_of_the_mesh():
    surface = slab()
    box = surface.copy()
    box.pbc = True
    assert choose_mesh(box) == choose_mesh(surface)
    assert choose_mesh(boxed(zigzag(3)))[:2] == (0, 0)
    assert choose_mesh(boxed(molecule("N2"))) is None


@pytest.mark.parametrize("gap", [4.3, 5.0, 5.9])
def test_narrow_gaps_are_named(gap):
    """Along the molecule; its sides are far from each other."""
    atoms = at_rest(molecule("N2"))
    atoms.cell = [6.5, 6.5, np.ptp(atoms.positions[:, 2]) + gap]
    atoms.pbc = True
    with pytest.warns(VacuumWarning, match=rf"along c are {gap:.2f} Å apart.*atoms.pbc"):
        assert free_standing(atoms).pbc.tolist() == [False, False, True]


def test_images_that_feel_each_other_are_named():
    def long_ranged():
        return LennardJones(sigma=3.4, epsilon=0.01, rc=12.0, smooth=True, ro=11.0)

    alone = at_rest(Atoms("Ar3", [[0, 0, 0], [3.8, 0, 0], [1.9, 3.2, 0]]), long_ranged)
    near, far = boxed(alone, gap=6.5), boxed(alone, gap=20.0)
    calculator = HessianEntropyCalculator(long_ranged(), unstable="any")
    with pytest.warns(VacuumWarning, match="feel each other across the vacuum"):
        calculator.get_property("entropy", near)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = calculator.get_property("entropy", far)
    assert value == pytest.approx(calculator.get_property("entropy", alone), abs=1e-4 * kB)


def test_several_bodies_are_named():
    box = boxed(molecule("N2"), gap=9.0) * (1, 1, 2)
    with pytest.warns(VacuumWarning, match="2 separate bodies"):
        free_standing(box)


def test_wires_along_no_cell_vector_are_refused():
    wire = boxed(zigzag(2), gap=9.0)
    cell = wire.cell.array
    wire.set_cell([cell[0], cell[1] + cell[2], cell[1] + 2 * cell[2]])
    with pytest.raises(InvalidStructureError, match="along none of its cell vectors"):
        free_standing(wire)


def test_boxes_have_no_strain_derivative():
    box = boxed(molecule("N2"))
    with pytest.raises(PropertyNotImplementedError, match="no volume"):
        exact(unstable="any").get_property("entropy_strain", box)
    labelled = attach_labels(box, exact(unstable="any"), labels=["gradient", "energies"])
    assert labelled.info["vibent_n_modes"] == 1
    with pytest.raises(PropertyNotImplementedError, match="no volume"):
        attach_labels(box, exact(unstable="any"), labels=["strain"])


@pytest.mark.parametrize("make", [lambda: molecule("CH4"), lambda: zigzag(2)])
def test_what_can_turn_is_no_crystal(make):
    with pytest.raises(InvalidStructureError, match="wires and clusters have no bulk value"):
        PhonopyEntropyCalculator(EMT()).get_property("entropy", boxed(make()))


def test_softest_modes_leave_rotations_out():
    require_unstable_modes(boxed(at_rest(molecule("H2O")), shift=(0.3, 0, 0)), EMT(), 0)


def test_one_fixed_atom_holds_no_molecule():
    box = boxed(molecule("CH4"), shift=(0.2, 0.5, 0.7))
    box.set_constraint(FixAtoms([0]))
    with pytest.raises(InvalidStructureError, match="turn about its fixed atoms"):
        exact(unstable="any").get_property("entropy", box)
