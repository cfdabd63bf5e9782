"""Program files: write∘read is the identity; any bytes give a Program or one error."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.errors import AthenaError, OutputError, ProgramError
from athena.isa.builder import StreamBuilder
from athena.isa.container import MAGIC, program_hash, read_program, write_program
from athena.isa.fields import Queue, Seg
from athena.isa.program import HostCall, NodeInfo, Program, QueueRun, Section
from tests.athena.isa.samples import programs, tables


def small_program():
    builder = StreamBuilder()
    builder.node = 0
    builder.seta(3, 64)
    builder.end()
    return Program(
        name="small",
        chip="athena-edge",
        chip_hash="0" * 64,
        precision="bf16",
        streams=(builder.stream(),),
        sections=(Section(name="main", runs=(QueueRun(kind=Queue.LOAD, stream=0),)),),
        segment_bytes=(0, 0, 256, 0, 0, 0, 0, 0),
        nodes=(NodeInfo(name="n", op="MatMul", sources=(), place="chip"),),
        constants={Seg.WEIGHT: np.arange(100, dtype=np.uint8)},
        host_calls=(
            HostCall(name="h", node=0, model=b"onnx", inputs=(), outputs=(), flops=1, bytes=2),
        ),
    )


def write(path, program=None):
    write_program(program or small_program(), path)
    return path.read_bytes()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(program=programs())
def test_write_then_read_is_identity(tmp_path_factory, program):
    path = tmp_path_factory.mktemp("p") / "x.athena"
    write_program(program, path)
    again = read_program(path)
    assert tables(again) == tables(program)
    assert program_hash(again) == program_hash(program)
    first = path.read_bytes()
    write_program(again, path)
    assert path.read_bytes() == first


def test_arrays_are_aligned_and_constants_are_last(tmp_path):
    data = write(tmp_path / "p")
    length = int.from_bytes(data[8:16], "little")
    header = json.loads(data[16 : 16 + length])
    start = -(-(16 + length) // 64) * 64
    (constant,) = header["constants"]
    at = start + constant["offset"]
    assert at % 64 == 0
    assert data[at : at + 100] == bytes(range(100))
    assert len(data) == at + 128
    assert all(entry["offset"] < constant["offset"] for entry in header["arrays"])


def test_constants_are_read_only_views(tmp_path):
    write(tmp_path / "p")
    program = read_program(tmp_path / "p")
    constant = program.constants[Seg.WEIGHT]
    assert not constant.flags.writeable
    assert not constant.flags.owndata
    assert not program.streams[0].words.flags.writeable


def test_hash_covers_words_and_tables_but_not_constants():
    base = small_program()
    other = dataclasses.replace(base, constants={Seg.WEIGHT: np.zeros(7, np.uint8)})
    assert program_hash(base) == program_hash(other)
    words = base.streams[0].words.copy()
    words["p"][0, 0] += 1
    stream = dataclasses.replace(base.streams[0], words=words)
    assert program_hash(base) != program_hash(dataclasses.replace(base, streams=(stream,)))
    assert program_hash(base) != program_hash(dataclasses.replace(base, core_sems={1: 1}))


def test_numpy_integers_in_tables_are_written(tmp_path):
    base = small_program()
    write_program(dataclasses.replace(base, segment_bytes=tuple(np.full(8, 256))), tmp_path / "p")
    assert read_program(tmp_path / "p").segment_bytes == (256,) * 8


def test_every_flipped_byte_is_noticed(tmp_path):
    data = write(tmp_path / "p")
    for at in range(0, len(data), 7):
        broken = bytearray(data)
        broken[at] ^= 0x41
        (tmp_path / "q").write_bytes(broken)
        with pytest.raises(ProgramError):
            read_program(tmp_path / "q")


@pytest.mark.parametrize("keep", [0, 7, 15, 16, 100, -64, -1])
def test_cut_files_are_noticed(tmp_path, keep):
    data = write(tmp_path / "p")
    (tmp_path / "q").write_bytes(data[:keep])
    with pytest.raises(ProgramError):
        read_program(tmp_path / "q")


def canonical(header):
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def edited(data, change):
    """The file with its header changed by `change` and written canonically again."""
    length = int.from_bytes(data[8:16], "little")
    header = json.loads(data[16 : 16 + length])
    change(header)
    header.pop("sha256")
    header["sha256"] = hashlib.sha256(canonical(header)).hexdigest()
    text = canonical(header)
    start = -(-(16 + length) // 64) * 64
    head = MAGIC + len(text).to_bytes(8, "little") + text
    return head + bytes(-len(head) % 64) + data[start:]


def _set(*path_and_value):
    *path, last, value = path_and_value

    def change(header):
        at = header
        for key in path:
            at = at[key]
        at[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("schema", 2), "schema 2"),
        (_set("extra", 1), "an object with the keys"),
        (lambda h: h.pop("name"), "an object with the keys"),
        (_set("sections", 0, "runs", 0, "stream", 1), "stream"),
        (_set("sections", 0, "runs", 0, "kind", "DISK"), "one of STORE"),
        (_set("sections", 0, "runs", 0, "units", [0.5]), "no whole number"),
        (_set("sections", 0, "runs", 0, "aregs", [[1, 2], [1, 3]]), "appears twice"),
        (_set("sections", 0, "repeat", 0), "repeat"),
        (_set("sections", 0, "seg_base", [0]), "16 to 16"),
        (_set("sections", 0, "repeat", True), "whole number"),
        (_set("nodes", []), "node"),
        (_set("nodes", 0, "place", "moon"), "place"),
        (_set("segment_bytes", 2, 50), "longer than their segment"),
        (_set("segment_bytes", 2, -1), "segment_bytes"),
        (_set("core_sems", [[256, 1]]), "core_sems"),
        (_set("core_sems", [[1, 256]]), "core_sems"),
        (_set("arrays", 0, "offset", 64), "offset"),
        (_set("arrays", 0, "bytes", 300), "offset"),
        (_set("arrays", 0, "name", "nodes.7"), "words, nodes and host"),
        (_set("constants", 0, "name", "L1"), "one of WORDS"),
        (_set("constants", 0, "bytes", 1 << 60), "whole number"),
        (_set("host_calls", []), "a list of 1 to 1"),
        (_set("weightless", 0), "true or false"),
        (_set("notes", [1]), "object"),
        (_set("name", "x" * 70000), "at most"),
    ],
)
def test_wrong_header_names_the_key(tmp_path, change, message):
    (tmp_path / "q").write_bytes(edited(write(tmp_path / "p"), change))
    with pytest.raises(ProgramError, match=message):
        read_program(tmp_path / "q")


def test_unchanged_header_passes_the_edit(tmp_path):
    (tmp_path / "q").write_bytes(edited(write(tmp_path / "p"), lambda header: None))
    assert tables(read_program(tmp_path / "q")) == tables(small_program())


@pytest.mark.parametrize(
    "text",
    [b"[" * 100000, b"{}", b"[]", b'{"a":1,"a":2}', b"\xff\xfe", b'{"schema":NaN}', b'"\\ud800"',
     b'{"schema":' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_strange_headers(tmp_path, text):
    (tmp_path / "q").write_bytes(MAGIC + len(text).to_bytes(8, "little") + text)
    with pytest.raises(ProgramError):
        read_program(tmp_path / "q")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_bytes_give_a_program_or_our_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("f") / "x"
    good = bytearray(write(path))
    if data.draw(st.booleans()):
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(good) - 1))
            good[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    else:
        body = data.draw(st.binary(max_size=200))
        good = bytearray(MAGIC + len(body).to_bytes(8, "little") + body)
    path.write_bytes(good)
    try:
        read_program(path)
    except AthenaError:
        return


def test_other_files_are_named(tmp_path):
    (tmp_path / "zip").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ProgramError, match="zip"):
        read_program(tmp_path / "zip")
    with pytest.raises(ProgramError, match="a folder"):
        read_program(tmp_path)
    with pytest.raises(ProgramError, match="No such file"):
        read_program(tmp_path / "missing")
    with pytest.raises(OutputError):
        write_program(small_program(), tmp_path / "missing" / "x")


def test_unchecked_constants_are_not_hashed(tmp_path):
    data = bytearray(write(tmp_path / "p"))
    data[-100] ^= 1
    (tmp_path / "p").write_bytes(data)
    with pytest.raises(ProgramError, match="checksum"):
        read_program(tmp_path / "p")
    read_program(tmp_path / "p", check_constants=False)
