"""The loader of model files: a damaged or absurd one is refused, or gives the same numbers."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ase_vibent import ACE, SiteModel
from ase_vibent.descriptors import AFS, Bispectrum, CartesianPolynomials
from ase_vibent.errors import InvalidInputError, ModelFileError
from ase_vibent.model.domain import TrainingDomain
from ase_vibent.model.file import read_archive, write_archive
from ase_vibent.model.posterior import Posterior


@pytest.fixture(scope="module")
def model() -> SiteModel:
    rng = np.random.default_rng(3)
    descriptor = ACE(["Si"], cutoff=4.0, order=2, degree=4)
    n = descriptor.n_features
    return SiteModel(
        descriptor,
        *(rng.normal(size=1), *(rng.normal(size=(1, n)) for _ in range(3))),
        posterior=Posterior(
            np.ones((1, n, 2), np.float32), np.zeros((1, 2)), *map(np.array, (0.1, 1.0, -0.1, 1.0))
        ),
        domain=TrainingDomain.of_environments(
            lambda: [(rng.normal(size=(20, n)), np.zeros(20, np.int64))], np.zeros((1, n))
        ),
    )


@pytest.fixture(scope="module")
def path(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "si.vibent"
    model.save(path)
    return path


def numbers_of(path: Path) -> dict[str, np.ndarray]:
    loaded = SiteModel.load(path)
    assert loaded.posterior is not None
    assert loaded.domain is not None
    own = {name: getattr(loaded, name) for name in ("constants", "weights", "shift", "scale")}
    return own | loaded.posterior.arrays() | {f"d{k}": v for k, v in loaded.domain.arrays().items()}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_altered_bytes_are_noticed_or_harmless(path, tmp_path, data):
    content, expected = path.read_bytes(), numbers_of(path)
    start = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, 200))
    altered = tmp_path / "altered.vibent"
    piece = data.draw(st.binary(max_size=20))
    altered.write_bytes(content[:start] + piece + content[start + length :])
    try:
        found = numbers_of(altered)
    except ModelFileError:
        return
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**400, 1e300, -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_absurd_headers_make_no_other_error(path, tmp_path, data):
    """With a right checksum; what loads can be saved again."""
    header, arrays = read_archive(path)
    entries = header if data.draw(st.booleans()) else header["descriptor"]
    entries[data.draw(st.sampled_from(sorted(entries)))] = data.draw(VALUES)
    altered = tmp_path / "altered.vibent"
    write_archive(altered, header, arrays)
    try:
        loaded = SiteModel.load(altered)
    except ModelFileError:
        return
    loaded.save(altered)


def write(path: Path, header: bytes, arrays: dict[str, bytes], compression: int) -> None:
    """An archive of any content with a right checksum."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in arrays.items():
            archive.writestr(name, content)
        for name, text in (("header", header), ("checksum", hashlib.sha256().hexdigest().encode())):
            stream = io.BytesIO()
            np.save(stream, np.frombuffer(text, dtype=np.uint8))
            archive.writestr(f"{name}.npy", stream.getvalue())


GOOD = json.dumps({"format": "ase-vibent site model", "format_version": 1}).encode()


def npy(text: str) -> bytes:
    """Header of an array, with nothing behind it."""
    return b"\x93NUMPY\x01\x00v\x00" + text.encode().ljust(117) + b"\n"


@pytest.mark.parametrize(
    ("header", "arrays", "compression"),
    [
        (b"[" * 100_000, {}, zipfile.ZIP_DEFLATED),
        (b"\xff\xfe", {}, zipfile.ZIP_DEFLATED),
        (b"null", {}, zipfile.ZIP_DEFLATED),
        (b'{"format": [], "format_version": {}}', {}, zipfile.ZIP_DEFLATED),
        (GOOD.replace(b": 1", b": 1e999"), {}, zipfile.ZIP_DEFLATED),
        (b" " * 2**22 + GOOD, {}, zipfile.ZIP_DEFLATED),
        (GOOD, {}, zipfile.ZIP_LZMA),
        (GOOD, {}, zipfile.ZIP_BZIP2),
        (GOOD, {"notes.txt": b"hello"}, zipfile.ZIP_STORED),
        (GOOD, {"weights.npy": b"no array"}, zipfile.ZIP_STORED),
        (GOOD, {"weights.npy": bytes(2**27)}, zipfile.ZIP_DEFLATED),
        (GOOD, {f"{k}.npy": b"" for k in range(100)}, zipfile.ZIP_STORED),
        *(
            (GOOD, {"weights.npy": npy(text)}, zipfile.ZIP_STORED)
            for text in (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1024)}",
                "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}",
                "{'descr': '|O', 'fortran_order': False, 'shape': ()}",
                "{'descr': '<f8'}",
                "((((((((",
                "",
            )
        ),
    ],
)
def test_absurd_archives(tmp_path, header, arrays, compression):
    path = tmp_path / "absurd.vibent"
    write(path, header, arrays, compression)
    with pytest.raises(ModelFileError, match=r"absurd\.vibent"):
        SiteModel.load(path)


@pytest.mark.parametrize("name", ["spread", "deviations", "rest", "limit"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_a_domain_that_never_warns_is_none(path, tmp_path, name, value):
    header, arrays = read_archive(path)
    arrays[f"domain.{name}"] = np.full_like(arrays[f"domain.{name}"], value)
    write_archive(tmp_path / "other.vibent", header, arrays)
    with pytest.raises(ModelFileError, match=name):
        SiteModel.load(tmp_path / "other.vibent")


def test_every_array_belongs_to_a_part(path, tmp_path):
    header, arrays = read_archive(path)
    header["parts"] = ["posterior"]
    write_archive(tmp_path / "other.vibent", header, arrays)
    with pytest.raises(ModelFileError, match="array of no part"):
        SiteModel.load(tmp_path / "other.vibent")


@pytest.mark.parametrize(
    ("descriptor", "options"),
    [
        *((ACE, {name: 1e6}) for name in ("degree", "cutoff")),
        *((ACE, options) for options in ({"order": 10**6, "degree": 60}, {"degree": 100})),
        *((ACE, options) for options in ({"l_weight": 1e-9}, {"degree": 1e300})),
        (CartesianPolynomials, {"degree": 60}),
        *((AFS, options) for options in ({"n_max": 10**6}, {"l_max": 10**6}, {"cutoff": 1e4})),
        *((Bispectrum, options) for options in ({"j_max": 1e5}, {"j_max": 1e300})),
    ],
)
def test_costs_are_known_before_a_basis_is_made(descriptor, options):
    with pytest.raises(InvalidInputError, match=r"expected at most 50 Å|would have more than"):
        descriptor(["Si"], **options)
