"""Folders that hostile programs leave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reckon.sandbox.inside import scratch


def test_everything_in_a_folder_goes_and_nothing_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    folder = tmp_path / "folder"
    (folder / "a" / "b" / "c").mkdir(parents=True)
    for number in range(3):  # names that folders on their way up might want
        (folder / str(number)).mkdir()
        (folder / "a" / "b" / str(number)).mkdir()
    (folder / "a" / "b" / "file").write_text("x")
    (folder / "link").symlink_to(outside)
    (folder / "a" / "link").symlink_to(outside / "kept")
    (folder / "dangling").symlink_to("nowhere")
    os.link(outside / "kept", folder / "hard")
    os.mkfifo(folder / "a" / "fifo")
    scratch.remove(str(folder))
    assert not folder.exists()
    assert (outside / "kept").read_text() == "kept"
    scratch.remove(str(folder))


def test_folders_may_be_deeper_than_a_path_can_be_long(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    top = fd = os.open(folder, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 200, dir_fd=fd)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        if fd != top:
            os.close(fd)
        fd = inner
    os.close(fd)
    os.close(top)
    scratch.remove(str(folder))
    assert not folder.exists()


def test_modes_protect_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    inner = folder / "a" / "b" / "c"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    for path in (inner, inner.parent, folder / "a"):
        path.chmod(0)
    scratch.remove(str(folder))
    assert not folder.exists()


def test_nor_does_that_of_the_folder_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever this is. (Root needs no mode, so it is another meanwhile.)"""
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "file").write_text("x")
    folder.chmod(0o500)
    tmp_path.chmod(0o777)
    monkeypatch.chdir(tmp_path)
    me = os.geteuid()
    if me == 0:
        for path in (folder, folder / "inner", folder / "file"):
            os.chown(path, 65534, 65534)
        os.seteuid(65534)
    try:
        fd = os.open("folder", os.O_RDONLY)
        scratch.empty(fd)
        assert not os.listdir(fd)
        os.fchmod(fd, 0)
        os.close(fd)
        scratch.remove("folder")
    finally:
        os.seteuid(me)
    assert not folder.exists()


def test_the_size_counts_files_below_and_no_links(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    empty = scratch.size(str(tmp_path))
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 1_000_000)
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 40)
    (tmp_path / "link").symlink_to("/usr")
    assert 1_000_000 <= scratch.size(str(tmp_path)) - empty < 1_200_000
    assert scratch.size(str(tmp_path / "not there")) == 0


def test_too_many_entries_are_too_much(tmp_path: Path) -> None:
    for number in range(scratch.MOST_ENTRIES + 1):
        (tmp_path / str(number)).touch()
    assert scratch.size(str(tmp_path)) > 1 << 50
