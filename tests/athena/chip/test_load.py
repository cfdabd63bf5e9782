"""Chip files: presets, `extends`, overrides; every fault names file and key."""

import os

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.chip import load_chip, preset_names
from athena.chip.load import FILE_LIMIT_BYTES, chip_hash
from athena.errors import AthenaError, ChipError


@pytest.mark.parametrize("name", preset_names())
def test_presets_load_and_state_their_sources(name):
    chip = load_chip(name)
    assert chip.name == name
    assert chip.sources
    for key in chip.sources:
        at = chip.model_dump()
        for part in key.split("."):
            at = at[part]


def test_reference_chip_has_its_published_figures():
    chip = load_chip("athena")
    assert (chip.clusters, chip.cores) == (16, 64)
    assert chip.peak_flops("bf16") == pytest.approx(0.8e15, rel=1e-3)
    assert chip.peak_flops("int8") == 2 * chip.peak_flops("bf16")
    assert chip.peak_flops("fp8") == 0
    sram = chip.cores * (chip.core.l1_bytes + chip.core.acc_bytes)
    assert sram + chip.clusters * chip.cluster.l2_bytes == pytest.approx(500 * 2**20, rel=0.12)
    assert chip.hbm_bytes_per_cycle == pytest.approx(1.8e12 / 1.526e9)
    assert chip.balance_flop_per_byte("bf16") == pytest.approx(0.8e15 / 1.8e12, rel=1e-3)


def test_chip_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load_chip("athena").name = "x"


def write(folder, text, name="my.yaml"):
    path = folder / name
    path.write_text(text)
    return path


def test_extends_a_preset_and_a_file_beside_it(tmp_path):
    write(tmp_path, "extends: athena-edge\nname: base\ncore: {l1_bytes: 65536}\n", "base.yaml")
    path = write(tmp_path, "extends: base.yaml\nname: mine\ncore: {vector: {lanes: 8}}\n")
    for source in (path, str(path), os.path.relpath(path)):
        chip = load_chip(source)
        assert (chip.name, chip.core.l1_bytes, chip.core.vector.lanes) == ("mine", 65536, 8)
        assert chip.core.vector.startup_cycles == load_chip("athena").core.vector.startup_cycles


def test_overrides_by_dotted_key():
    base = load_chip("athena")
    chip = load_chip(base, overrides={"core.matrix.rows": 32, "disabled_cores": (1, 3)})
    assert (chip.core.matrix.rows, chip.cores, chip.active_cores[:3]) == (32, 62, (0, 2, 4))
    assert base.core.matrix.rows == 64
    assert load_chip("athena", overrides={"clock_hz": "1e9"}).clock_hz == 1e9


def test_hash_is_of_the_content_not_of_its_order():
    first = load_chip("athena", overrides={"core.matrix.rate": {"bf16": 1, "int8": 2}})
    second = load_chip("athena", overrides={"core.matrix.rate": {"int8": 2, "bf16": 1}})
    assert chip_hash(first) == chip_hash(second)
    assert chip_hash(first) != chip_hash(load_chip("athena"))
    assert chip_hash(load_chip(first)) == chip_hash(first)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("core.matrix.rws", 3, "did you mean 'core.matrix.rows'"),
        ("cor.matrix.rows", 3, "did you mean 'core.matrix.rows'"),
        ("core.l1_bytes.x", 3, "unknown key"),
        ("clock", 1e9, "did you mean 'clock_hz'"),
        ("core.matrix.rows", 0, "core.matrix.rows"),
        ("core.matrix.rows", True, "not true or false"),
        ("core.matrix.rows", "many", "core.matrix.rows"),
        ("clock_hz", float("nan"), "clock_hz"),
        ("clock_hz", float("inf"), "clock_hz"),
        ("core.l1_bytes", 1000, "multiple of 32"),
        ("core.acc_bytes", 64, "core.acc_bytes"),
        ("disabled_cores", (64,), "above 63"),
        ("disabled_cores", tuple(range(64)), "leaves no core"),
        ("mesh", {"rows": 64, "cols": 5}, "at most 1024"),
        ("name", "../evil", "name"),
        ("evidence", "rumour", "evidence"),
        ("core.matrix.rate", {"fp8": 1}, "rate"),
        (".".join("a" * 20), 1, "nested too deeply"),
    ],
)
def test_wrong_overrides_name_the_key(key, value, message):
    with pytest.raises(ChipError, match=message):
        load_chip("athena", overrides={key: value})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mapping of keys"),
        ("- 1\n", "mapping of keys"),
        ("a: &x 1\nb: *x\n", "aliases are not allowed"),
        ("name: a\nname: b\n", "'name' appears twice"),
        ("? [a, b]\n: 1\n", "a key is plain text"),
        ("extends: [athena]\n", "preset name or a path"),
        ("extends: my.yaml\n", "longer than 8"),
        ("extends: nowhere.yaml\n", "no such chip"),
        ("name: x\n", "key 'description' is missing"),
        ("extends: athena\nname: [1\n", "not readable as YAML"),
        ("extends: athena\n1: 2\n", "1"),
        ('a: !!int ""\n', "not readable as YAML"),
        ("a: !!timestamp x\n", "not readable as YAML"),
        ("a: !!python/object:os.system x\n", "not readable as YAML"),
        ("extends: athena\nclock_hz: 2020-99-99\n", "not readable as YAML"),
        ("[" * 5000, "not readable as YAML"),
        ("extends: athena\ncore: 5\n", "core"),
        ("extends: athena\nhbm: {bandwidth_gbytes_per_s: .inf}\n", "bandwidth"),
        ("extends: athena\nname: 'a\\e[31m'\n", "name"),
    ],
)
def test_wrong_files_are_refused(tmp_path, text, message):
    with pytest.raises(ChipError, match=message) as error:
        load_chip(write(tmp_path, text))
    assert "\x1b" not in str(error.value)


def test_wrong_paths_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "big").write_bytes(b" " * (FILE_LIMIT_BYTES + 1))
    (tmp_path / "zip").write_bytes(b"PK\x03\x04\xff\xfe")
    for name, message in {
        "fifo": "a FIFO",
        "big": "at most",
        "zip": "a zip archive",
        ".": "a folder",
        "missing": "no such chip preset or file",
        "a\0b": "no such chip preset or file",
    }.items():
        with pytest.raises(ChipError, match=message):
            load_chip(f"{tmp_path}/{name}")
    with pytest.raises(ChipError, match="did you mean 'athena'"):
        load_chip("athenna")


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
_keys = st.sampled_from(["core", "hbm", "mesh", "clock_hz", "disabled_cores", "power", "zzz"])


@settings(max_examples=80, deadline=None, derandomize=True)
@given(data=st.dictionaries(_keys, _values))
def test_any_mapping_gives_a_chip_or_our_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("c") / "c.yaml"
    path.write_text(yaml.safe_dump({"extends": "athena", **data}))
    try:
        load_chip(path)
    except AthenaError:
        return


@settings(max_examples=80, deadline=None, derandomize=True)
@given(data=st.binary(max_size=60))
def test_any_bytes_give_our_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("c") / "c.yaml"
    path.write_bytes(data)
    with pytest.raises(AthenaError):
        load_chip(path)
