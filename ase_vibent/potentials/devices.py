"""Where a calculator's arithmetic is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

#: Kinds of devices that the processes of a machine share, as PyTorch calls them.
SHARED = frozenset({"cuda", "hip", "mps", "xpu"})


def accelerator(calculator: object) -> str | None:
    """Device beside the processor that a calculator works on.

    It is told by the attributes of the calculator, and of what these hold, such as its model.

    Parameters
    ----------
    calculator : ASE calculator

    Returns
    -------
    str or None
        As "cuda:0"; None where there is no sign of one.
    """
    for part in _parts(calculator):
        for device in _devices(part):
            if device.partition(":")[0] in SHARED:
                return device
    return None


def _parts(calculator: Any) -> Iterator[Any]:
    """A calculator, what its attributes hold, and those that it mixes."""
    yield calculator
    for value in list(getattr(calculator, "__dict__", {}).values()):
        yield from value if isinstance(value, list | tuple) else [value]
    for part in getattr(getattr(calculator, "mixer", None), "calcs", ()):
        yield from _parts(part)


def _devices(part: Any) -> Iterator[str]:
    """Of an object, of the first parameter of a network, or what is a device itself."""
    if type(part).__name__ == "device":
        yield str(part)
    with suppress(Exception):  # whatever a foreign attribute does
        yield str(part.device)
    with suppress(Exception):
        yield str(next(part.parameters()).device)
