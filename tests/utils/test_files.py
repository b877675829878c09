"""Atomic outputs, expanded inputs."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from helpers import one_line

from dtalk.errors import DtalkError
from dtalk.utils.files import atomic_path, expand_inputs


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestAtomicPath:
    def test_gives_a_hidden_neighbour_with_the_same_suffix(self, tmp_path):
        target = tmp_path / "a" / "b" / "out.npz"
        with atomic_path(target) as temporary:
            assert temporary.parent == target.parent
            assert temporary.name.startswith(".")
            assert temporary.suffix == ".npz"
            assert not temporary.exists()
            temporary.write_text("new")
            assert not target.exists()
        assert target.read_text() == "new"
        assert names(target.parent) == ["out.npz"]

    def test_two_at_once_do_not_meet(self, tmp_path):
        target = tmp_path / "out.txt"
        with atomic_path(target) as first, atomic_path(target) as second:
            assert first != second
            first.write_text("first")
            second.write_text("second")
        assert target.read_text() == "first"  # the outer block ends last
        assert names(tmp_path) == ["out.txt"]

    @pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
    def test_a_failure_leaves_the_old_file_and_nothing_else(self, tmp_path, failure):
        target = tmp_path / "out.txt"
        target.write_text("old")

        def write_and_fail():
            with atomic_path(target) as temporary:
                temporary.write_text("half")
                raise failure

        with pytest.raises(failure):
            write_and_fail()
        assert target.read_text() == "old"
        assert names(tmp_path) == ["out.txt"]

    @pytest.mark.parametrize("umask", [0o022, 0o077])
    def test_permissions_are_those_of_a_new_file(self, tmp_path, umask):
        before = os.umask(umask)
        try:
            with atomic_path(tmp_path / "out.txt") as temporary:
                temporary.write_text("x")
        finally:
            os.umask(before)
        mode = stat.S_IMODE((tmp_path / "out.txt").stat().st_mode)
        assert mode == 0o666 & ~umask

    def test_a_link_stays_a_link(self, tmp_path):
        (tmp_path / "real").mkdir()
        link = tmp_path / "link.txt"
        link.symlink_to(tmp_path / "real" / "file.txt")
        with atomic_path(link) as temporary:
            temporary.write_text("x")
        assert link.is_symlink()
        assert (tmp_path / "real" / "file.txt").read_text() == "x"

    def test_a_block_that_writes_nothing_is_an_error(self, tmp_path):
        with pytest.raises(DtalkError) as error, atomic_path(tmp_path / "out.txt"):
            pass
        assert "out.txt" in one_line(error)

    def test_a_parent_that_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("x")
        for target in (tmp_path / "file" / "out.txt", tmp_path / "file" / "deeper" / "out.txt"):
            with pytest.raises(DtalkError) as error, atomic_path(target) as temporary:
                temporary.write_text("x")
            assert "a folder in its path is a file" in one_line(error)
        assert (tmp_path / "file").read_text() == "x"

    def test_a_folder_in_the_place(self, tmp_path):
        with pytest.raises(DtalkError) as error, atomic_path(tmp_path):
            pass
        assert "it is a folder" in one_line(error)

    def test_a_device_is_not_replaced(self, tmp_path):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        with pytest.raises(DtalkError) as error, atomic_path(pipe) as temporary:
            temporary.write_text("x")
        assert "not a regular file" in one_line(error)
        assert stat.S_ISFIFO(pipe.stat().st_mode)

    def test_too_long_a_name(self, tmp_path):
        with pytest.raises(DtalkError) as error, atomic_path(tmp_path / ("x" * 300)) as temporary:
            temporary.write_text("x")
        assert "too long" in one_line(error)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_without_permission(self, tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(DtalkError) as error, atomic_path(tmp_path / "out.txt") as temporary:
            temporary.write_text("x")
        assert "Permission denied" in one_line(error)

    @pytest.mark.parametrize("code", [errno.EACCES, errno.ENOSPC])
    def test_what_the_system_refuses_at_the_end(self, tmp_path, monkeypatch, code):
        def refuse(source, target):
            raise OSError(code, os.strerror(code), str(source))

        monkeypatch.setattr("os.replace", refuse)
        with pytest.raises(DtalkError) as error, atomic_path(tmp_path / "out.txt") as temporary:
            temporary.write_text("x")
        assert os.strerror(code) in one_line(error)
        assert names(tmp_path) == []

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_disk(self, tmp_path):
        def fill():
            with atomic_path(tmp_path / "out.txt") as temporary:
                temporary.symlink_to("/dev/full")
                temporary.write_text("x")

        with pytest.raises(DtalkError) as error:
            fill()
        assert "No space left" in one_line(error)
        assert names(tmp_path) == []

    def test_errors_about_other_files_pass_unchanged(self, tmp_path):
        with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out.txt"):
            (tmp_path / "input.txt").read_text()
        assert names(tmp_path) == []


class TestExpandInputs:
    def test_a_folder_stands_for_its_tree_in_order(self, tmp_path):
        for name in ("b.wav", "a/z.WAV", "a/y.flac", "a/note.txt", "c/d/x.wav"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        found = expand_inputs([tmp_path], {".wav", ".flac"})
        assert [str(relative) for _, relative in found] == [
            "a/y.flac",
            "a/z.WAV",
            "b.wav",
            "c/d/x.wav",
        ]
        assert all(file == tmp_path / relative for file, relative in found)

    def test_hidden_files_and_folders_are_skipped(self, tmp_path):
        for name in (".hidden.wav", ".folder/a.wav", "seen.wav"):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.touch()
        assert [relative.name for _, relative in expand_inputs([tmp_path], {".wav"})] == [
            "seen.wav"
        ]

    def test_a_named_file_counts_whatever_it_is_called(self, tmp_path):
        file = tmp_path / ".odd.bin"
        file.touch()
        assert expand_inputs([file], {".wav"}) == [(file, Path(".odd.bin"))]

    def test_what_is_named_twice_is_taken_once(self, tmp_path):
        file = tmp_path / "a.wav"
        file.touch()
        assert expand_inputs([file, tmp_path, file], {".wav"}) == [(file, Path("a.wav"))]

    def test_spellings_of_one_file_are_one_file(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("in").mkdir()
        Path("link").symlink_to("in", target_is_directory=True)
        Path("in/a.wav").touch()
        spellings = [
            "in/a.wav",
            "./in/a.wav",
            "in/../in/a.wav",
            tmp_path / "in/a.wav",
            "link/a.wav",
        ]
        found = expand_inputs([Path(spelling) for spelling in spellings], {".wav"})
        assert found == [(Path("in/a.wav"), Path("a.wav"))]

    def test_links_to_one_file_are_files_of_their_own(self, tmp_path):
        (tmp_path / "a.wav").touch()
        (tmp_path / "b.wav").symlink_to("a.wav")
        assert len(expand_inputs([tmp_path / "a.wav", tmp_path / "b.wav"], {".wav"})) == 2

    def test_the_order_of_inputs_is_kept(self, tmp_path):
        first, second = tmp_path / "b.wav", tmp_path / "a.wav"
        first.touch()
        second.touch()
        assert [file for file, _ in expand_inputs([first, second], {".wav"})] == [first, second]

    def test_missing_inputs_are_named(self, tmp_path):
        with pytest.raises(DtalkError) as error:
            expand_inputs([tmp_path / "none.wav"], {".wav"})
        assert "none.wav" in one_line(error)

    def test_in_a_batch_they_stand_for_themselves(self, tmp_path):
        there, gone, empty = tmp_path / "a.wav", tmp_path / "gone.wav", tmp_path / "empty"
        there.touch()
        empty.mkdir()
        found = expand_inputs([gone, there, empty], {".wav"}, batch=True)
        assert [file for file, _ in found] == [gone, there, empty]
        with pytest.raises(DtalkError, match="no such file"):
            expand_inputs([gone], {".wav"}, batch=True)

    def test_a_name_that_no_file_has(self):
        with pytest.raises(DtalkError, match=r"no file can be called|no such file"):
            expand_inputs([Path("a\0b.wav")], {".wav"})

    def test_a_folder_with_nothing_usable_is_named(self, tmp_path):
        (tmp_path / "note.txt").touch()
        with pytest.raises(DtalkError) as error:
            expand_inputs([tmp_path], {".wav", ".flac"})
        assert str(tmp_path) in one_line(error)
        assert ".flac, .wav" in str(error.value)

    def test_an_unreadable_folder_is_named(self, tmp_path, monkeypatch):
        def refuse(folder):
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))

        monkeypatch.setattr("os.scandir", refuse)
        with pytest.raises(DtalkError) as error:
            expand_inputs([tmp_path], {".wav"})
        assert str(tmp_path) in one_line(error)
        assert "Permission denied" in str(error.value)
