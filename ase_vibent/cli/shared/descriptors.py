"""Descriptors as the command line spells them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from ase_vibent.descriptors import Descriptor, descriptor_from_text
from ase_vibent.training.descriptor_choice import suited_ace
from ase_vibent.training.training_set import TrainingSet


def descriptor_of_options(
    options: argparse.Namespace, training_set: TrainingSet
) -> Descriptor | dict[str, Any]:
    """Descriptor of the options, or those parameters that they do not leave to the data."""
    given = {k: v for k in ("cutoff", "order", "degree") if (v := getattr(options, k)) is not None}
    if options.descriptor is None:
        return given
    return descriptor_of_text(options.descriptor, training_set, given)


def descriptor_of_text(
    text: str, training_set: TrainingSet, given: Mapping[str, Any]
) -> Descriptor:
    """Descriptor of a text; a cutoff that it leaves open suits the data."""
    cutoff = given.get("cutoff") or suited_ace(training_set).cutoff
    return descriptor_from_text(text, species=training_set.kinds, **{"cutoff": cutoff, **given})


def descriptor_text(descriptor: Mapping[str, Any]) -> str:
    """A descriptor as `--descriptor` takes it."""
    if "parts" in descriptor:
        return " + ".join(descriptor_text(part) for part in descriptor["parts"])
    own = {k: v for k, v in descriptor.items() if k not in ("name", "species") and v is not None}
    return f"{descriptor['name']}({', '.join(f'{k}={v!r}' for k, v in own.items())})"
