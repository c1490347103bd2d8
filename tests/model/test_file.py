"""The coefficient file: round trip, and every way it can be broken."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from ase_vibent import SiteModel
from ase_vibent.errors import ModelFileError


@pytest.fixture
def path(tmp_path, silicon_model):
    file = tmp_path / "si.vibent"
    silicon_model.save(file)
    return file


def test_round_trip(path, silicon_model, silicon, rattle):
    loaded = SiteModel.load(path)
    atoms = rattle(silicon, 0.1, seed=1)
    ours, theirs = silicon_model.evaluate(atoms), loaded.evaluate(atoms)
    np.testing.assert_array_equal(ours.values, theirs.values)
    np.testing.assert_array_equal(ours.gradient, theirs.gradient)
    for name in ("constants", "weights", "shift", "scale"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(silicon_model, name))
    assert loaded.header["errors"] == silicon_model.header["errors"]
    for key in ("format_version", "package_version", "solver", "units", "data_checksum", "created"):
        assert loaded.header[key]
    loaded.save(path)
    again = SiteModel.load(path)
    np.testing.assert_array_equal(again.weights, loaded.weights)


# Files that NumPy opens itself stay open when it cannot read them.
@pytest.mark.filterwarnings(
    "error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning"
)
def test_truncated(path):
    content = path.read_bytes()
    for length in (len(content) - 1, len(content) // 2, 100, 3):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=r"si\.vibent"):
            SiteModel.load(path)
    path.write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"si\.vibent"):
        SiteModel.load(path)


def test_any_altered_byte_is_noticed_or_harmless(path, silicon_model):
    """Flipping bytes all over the file never gives other numbers, or another exception."""
    content = bytearray(path.read_bytes())
    noticed = 0
    for position in range(0, len(content), max(1, len(content) // 150)):
        altered = bytearray(content)
        altered[position] ^= 0x55
        path.write_bytes(altered)
        try:
            loaded = SiteModel.load(path)
        except ModelFileError:
            noticed += 1
        else:  # bytes that the zip format ignores, such as dates
            np.testing.assert_array_equal(loaded.weights, silicon_model.weights)
    assert noticed > 100


def test_altered_numbers_with_a_valid_archive(path):
    arrays = dict(np.load(path))
    arrays["weights"] = arrays["weights"] * 1.0001
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(ModelFileError, match="checksum"):
        SiteModel.load(path)


def rewrite_header(path, **changes):
    """Change header entries without renewing the checksum."""
    arrays = dict(np.load(path))
    header = {**json.loads(arrays["header"].tobytes()), **changes}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def test_newer_format(path):
    rewrite_header(path, format_version=99, package_version="9.0")
    with pytest.raises(ModelFileError, match=r"format 99.*upgrade"):
        SiteModel.load(path)


def test_foreign_files(path, tmp_path):
    rewrite_header(path, format="something else")
    with pytest.raises(ModelFileError, match="not a coefficient file"):
        SiteModel.load(path)
    foreign = tmp_path / "foreign"
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "text").write_text("Si 5.43\n", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
    for name in ("other.npz", "array.npy", "text", "some.zip"):
        foreign = tmp_path / name
        with pytest.raises(ModelFileError, match=name):
            SiteModel.load(foreign)
    with pytest.raises(ModelFileError, match="no such file"):
        SiteModel.load(tmp_path / "missing.vibent")
    with pytest.raises(ModelFileError, match=tmp_path.name):
        SiteModel.load(tmp_path)


class Bomb:
    """Runs code when unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_pickles_are_refused_and_never_run(path, tmp_path):
    marker = str(tmp_path / "executed")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Bomb(marker)))
    np.save(tmp_path / "object.npy", np.array([Bomb(marker)], dtype=object), allow_pickle=True)
    arrays = dict(np.load(path))
    arrays["weights"] = np.array([Bomb(marker)], dtype=object)
    np.savez(tmp_path / "inside.npz", allow_pickle=True, **arrays)
    for name in ("plain.pkl", "object.npy", "inside.npz"):
        with pytest.raises(ModelFileError, match=name):
            SiteModel.load(tmp_path / name)
    assert not os.path.exists(marker)


def test_unwritable_place_leaves_nothing_behind(path, tmp_path, silicon_model):
    before = path.read_bytes()
    with pytest.raises(ModelFileError, match="cannot write"):
        silicon_model.save(tmp_path / "no-such-folder" / "si.vibent")
    with pytest.raises(ModelFileError, match="cannot write"):
        silicon_model.save(path / "under-a-file.vibent")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["si.vibent"]


def test_a_failing_write_keeps_the_old_file(path, tmp_path, silicon_model, monkeypatch):
    before = path.read_bytes()

    def full_disk(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ModelFileError, match="No space left"):
        silicon_model.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["si.vibent"]
