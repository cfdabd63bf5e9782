"""Atomic writing and safe reading: whole or absent, one clear error."""

import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.errors import InputError, OutputError
from athena.files import (
    check_output,
    describe_content,
    open_regular,
    read_regular,
    write_file,
    write_folder,
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.binary(max_size=4096))
def test_write_then_read_is_identity(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("w") / "file"
    write_file(path, data)
    assert read_regular(path, limit_bytes=4096, error=InputError) == data
    write_file(path, iter([data, memoryview(data)]))
    assert read_regular(path, limit_bytes=8192, error=InputError) == data + data


def test_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "file"
    write_file(path, b"old")

    def chunks():
        yield b"new"
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        write_file(path, chunks())
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_interrupt_during_write_leaves_nothing(tmp_path):
    def chunks():
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "file", chunks())
    assert os.listdir(tmp_path) == []


def test_written_file_has_ordinary_permissions(tmp_path):
    old = os.umask(0o022)
    try:
        write_file(tmp_path / "file", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["missing/file", "folder", "nul\0byte", "n" * 300])
def test_unwritable_paths_are_output_errors(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError):
        write_file(f"{tmp_path}/{name}", b"x")
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("name", ["missing/file", "folder", "nul\0byte"])
def test_check_output_refuses_before_the_work(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError):
        check_output(f"{tmp_path}/{name}")
    check_output(tmp_path / "fine")


def test_reading_refuses_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "big").write_bytes(b"12345")
    cases = {
        "missing": "No such file",
        "fifo": "a FIFO",
        ".": "a folder",
        "big": "5 bytes; at most 4",
        "nul\0byte": "null",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message):
            read_regular(f"{tmp_path}/{name}", limit_bytes=4, error=InputError)


def test_open_regular_gives_the_size(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    with open_regular(tmp_path / "x", limit_bytes=3, error=InputError) as (file, size):
        assert (file.read(), size) == (b"abc", 3)


def test_folder_appears_whole(tmp_path):
    with write_folder(tmp_path / "run", marker="run.json") as folder:
        (folder / "run.json").write_text("1")
        assert not (tmp_path / "run").exists()
    with write_folder(tmp_path / "run", marker="run.json") as folder:
        (folder / "run.json").write_text("2")
    assert (tmp_path / "run" / "run.json").read_text() == "2"
    assert os.listdir(tmp_path) == ["run"]


def test_failed_folder_leaves_the_old_one(tmp_path):
    with write_folder(tmp_path / "run", marker="m") as folder:
        (folder / "m").write_text("1")
    with (
        pytest.raises(ZeroDivisionError),
        write_folder(tmp_path / "run", marker="m") as folder,
    ):
        (folder / "m").write_text("2")
        raise ZeroDivisionError
    with (
        pytest.raises(OutputError),
        write_folder(tmp_path / "run", marker="m") as folder,
    ):
        raise OSError(28, "No space left on device")
    assert (tmp_path / "run" / "m").read_text() == "1"
    assert os.listdir(tmp_path) == ["run"]


def test_foreign_folder_and_file_are_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("mine", "file"):
        with pytest.raises(OutputError), write_folder(tmp_path / name, marker="m"):
            raise AssertionError("the body must not run")
    assert (tmp_path / "mine" / "thesis").exists()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"PK\x03\x04....", "zip"),
        (b"\n <!DOCTYPE html>", "HTML"),
        (b"", "empty"),
        (b"\x08\x07\x12", ""),
    ],
)
def test_content_is_named(head, kind):
    text = describe_content(head)
    assert kind in text
    assert bool(text) == bool(kind)


def test_a_special_file_is_never_replaced(tmp_path):
    """A rename onto /dev/null or a pipe would turn it into a regular file."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/dev/null")
    for target in (pipe, link):
        with pytest.raises(OutputError, match="has this name"):
            check_output(target)
        with pytest.raises(OutputError, match="has this name"):
            write_file(target, b"x")
    assert stat.S_ISFIFO(pipe.lstat().st_mode) and link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_an_output_never_replaces_an_input(tmp_path):
    """Under its own name, a link's or a longer way round."""
    model, link = tmp_path / "m.onnx", tmp_path / "link"
    model.write_bytes(b"model")
    link.symlink_to(model)
    for target in (model, link, tmp_path / "." / "m.onnx"):
        with pytest.raises(OutputError, match="would replace an input"):
            check_output(target, None, tmp_path / "absent", model)
    check_output(tmp_path / "new", model)
