"""Compilation: announced once, and only where it takes place."""

from __future__ import annotations

import importlib.util

from ase_vibent.compiled import jit

SOURCE = """
from ase_vibent.compiled.jit import compiled

@compiled
def half(x):
    return x / 2
"""


def test_the_first_use_is_announced(tmp_path, caplog):
    file = tmp_path / "kernel.py"
    file.write_text(SOURCE, encoding="utf-8")
    for said in (1, 0):  # the second time it is on the disk
        spec = importlib.util.spec_from_file_location("kernel", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        jit._announce.cache_clear()
        caplog.clear()
        assert (module.half(3.0), module.half(2)) == (1.5, 1.0)
        assert [r.getMessage().startswith("ase_vibent: compiling") for r in caplog.records] == [
            True
        ] * said
