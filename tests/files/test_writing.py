"""Files: whole or as before, of their own mode, and never somebody else's."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest
from ase.build import bulk

from ase_vibent import write_labels
from ase_vibent.cli.shared.files import require_writable
from ase_vibent.errors import InvalidInputError, LabelError
from ase_vibent.files.archives import MOST_BYTES, Archive, ArchiveError
from ase_vibent.files.writing import append_bytes, whole_file, write_text
from ase_vibent.runs.files import lock


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "results"
    path.write_text("before", encoding="utf-8")
    return path


def mode_of(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written(path):
    write_text(path, "Å")
    assert path.read_bytes() == "Å".encode()
    append_bytes(path, b" and more")
    assert path.read_text(encoding="utf-8") == "Å and more"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o444])
def test_the_mode_is_kept(path, mode):
    path.chmod(mode)
    if not os.access(path, os.W_OK):  # write-protected, for all but the administrator
        with pytest.raises(PermissionError):
            write_text(path, "after")
        return
    write_text(path, "after")
    assert mode_of(path) == mode


def test_a_new_file_has_the_usual_mode(tmp_path):
    (tmp_path / "usual").touch()
    write_text(tmp_path / "new", "")
    assert mode_of(tmp_path / "new") == mode_of(tmp_path / "usual")


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(path, failure):
    def write() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise failure

    with pytest.raises(type(failure)):
        write()
    assert path.read_text(encoding="utf-8") == "before"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_what_was_there(path, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LabelError, match="No space left"):
        write_labels(path, [bulk("Cu")])
    with pytest.raises(OSError, match="No space left"):
        append_bytes(path, b"half")
    assert path.read_text(encoding="utf-8") == "before"
    assert list(path.parent.iterdir()) == [path]


def test_links_are_replaced_and_not_followed(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    write_text(link, "mine")
    assert not link.is_symlink()
    assert path.read_text(encoding="utf-8") == "before"


def test_temporary_files_cannot_be_foreseen(path, tmp_path):
    seen = set()
    for _ in range(3):
        with whole_file(path):
            (own,) = set(tmp_path.iterdir()) - {path}
            seen.add(own.name)
    assert len(seen) == 3


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to a device"])
def test_only_regular_files_are_written(tmp_path, kind):
    target = tmp_path / "target"
    if kind == "pipe":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to("/dev/full")
        if kind == "device":
            target = target.resolve()
    for write in (lambda: write_text(target, "x"), lambda: append_bytes(target, b"x")):
        with pytest.raises(OSError, match=r"regular|directory"):
            write()
    with pytest.raises(InvalidInputError, match="cannot write there"):
        require_writable(str(target))
    with pytest.raises(LabelError, match="cannot write it"), lock(target):
        pass


def test_looking_whether_one_can_write_touches_nothing(path):
    probe = path.with_name(".results.probe")
    probe.write_text("mine", encoding="utf-8")
    require_writable(str(path))
    assert sorted(path.parent.iterdir()) == [probe, path]
    assert (probe.read_text(encoding="utf-8"), path.read_text(encoding="utf-8")) == (
        "mine",
        "before",
    )


# --- Archives ---------------------------------------------------------------------------------


def test_archives_of_absurd_size_are_not_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(MOST_BYTES // 8 + 8))
    with path.open("rb") as file, pytest.raises(ArchiveError, match="would unpack to"):
        Archive(file)
    np.savez(path, a=np.zeros(MOST_BYTES // 8 + 8))  # as large as it looks
    with path.open("rb") as file:
        assert not Archive(file).read("a").any()
    path.unlink()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.array(1.5),
        np.zeros((0, 3)),
        np.array([True, False]),
    ],
)
def test_arrays_come_back(tmp_path, array):
    np.savez(tmp_path / "a.npz", array=array)
    with (tmp_path / "a.npz").open("rb") as file:
        back = Archive(file).read("array")
    np.testing.assert_array_equal(back, array)
    assert (back.dtype, back.flags.writeable) == (array.dtype, True)
