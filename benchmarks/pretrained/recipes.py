"""All recipes by the name of their model."""

from __future__ import annotations

import cdte_sw
import cu_emt
import cu_emt_jump
import eam_metals
import fe_am04
import si_sevennet0
import si_sw
from common import Recipe

SINGLE = (cdte_sw, cu_emt, cu_emt_jump, fe_am04, si_sevennet0, si_sw)
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (*(module.RECIPE for module in SINGLE), *eam_metals.RECIPES)
}
