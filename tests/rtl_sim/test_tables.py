"""The table functions of the vector unit against their definition, to the bit."""

import os
import re
import subprocess

import numpy as np
import pytest

from athena.isa import tables
from athena.isa.fields import Lut
from rtl_sim import build
from rtl_sim.tables import constants, rom_text

FUNCTIONS = tuple(Lut(code) for code in range(Lut.EXP, Lut.COS + 1))
BF16 = np.arange(1 << 16, dtype=np.uint32) << 16
GRIDS = (  # nodes a unit of x, largest x
    (1 / tables.EXP_HI, tables.EXP_HIGH), (256.0 / np.pi, 20.0), (tables.FINE, tables.TANH_LIMIT),
    (tables.COARSE, tables.SIGMOID_LIMIT), (tables.MANTISSA_NODES, 2.0), (tables.ROOT_NODES, 4.0),
)  # fmt: skip
EDGES = (
    tables.EXP_LOW, tables.EXP_HIGH, tables.TANH_LIMIT, tables.ERF_LIMIT, tables.GELU_LIMIT,
    tables.SIGMOID_LIMIT, tables.SIN_LIMIT, tables.LOG_HALVE, 0.5, 1.0, 2.0, 88.72283, -87.33655,
    -103.97208, 2.0**-126, 2.0**126, 2.0**127, 3.4028235e38, np.inf,
)  # fmt: skip
NAN_OR_SMALL = np.array([0, 1, 2, 0x400000, 0x7FFFFE, 0x7FFFFF], np.uint32)
MINUS = np.uint32(1 << 31)


def about(values):
    """The patterns of `values` and of their two neighbours each way, of both signs."""
    bits = np.abs(np.asarray(values, np.float32)).view(np.uint32).astype(np.int64)
    near = np.clip(bits[:, None] + np.arange(-2, 3), 0, 0x7FFFFFFF).ravel().astype(np.uint32)
    return np.concatenate([near, near | MINUS])


def boundaries():
    """Nodes, the middles between them, limits; subnormals, infinities, payloads of NaN."""
    grids = [np.arange(0, 2 * nodes * top + 3) / (2 * nodes) for nodes, top in GRIDS]
    powers = np.uint32(1) << np.arange(23, dtype=np.uint32)
    special = np.concatenate([NAN_OR_SMALL, np.uint32(0x7F800000) + NAN_OR_SMALL, powers])
    return np.concatenate([about(np.concatenate([*grids, EDGES])), special, special | MINUS])


def free(count):
    """Random patterns, and as many values of moderate size, where no function is constant."""
    rng = np.random.default_rng(3)
    wide = rng.integers(0, 1 << 32, count, dtype=np.uint32)
    moderate = (rng.uniform(-1, 1, count) * 2.0 ** rng.integers(-3, 8, count)).astype(np.float32)
    return np.concatenate([wide, moderate.view(np.uint32)])


def differences(bits, results):
    """Values whose result is not the definition's, by function."""
    found = {}
    for lut, got in zip(FUNCTIONS, results.T, strict=True):
        wrong = tables.evaluate(lut, bits.view(np.float32)).view(np.uint32) != got
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            found[lut] = (int(wrong.sum()), hex(bits[at]), hex(got[at]))
    return found


@pytest.fixture(scope="module")
def sweep(rtl_tools, ci_chip):
    """The simulator of `table_sweep`, from the cache of builds."""
    home = build.cache_folder(os.environ) / f"sweep-{build.digest(ci_chip)}"
    program = home / "sweep"
    if not program.exists():
        package = build.write_package(ci_chip, home)
        env = build.environment(os.environ) | {"MAKEFLAGS": f"{build.MAKE_OVERRIDES} OPT_SLOW=-O0"}
        mains = sorted((build.TB / "sweep").iterdir())
        command = [
            "verilator", "--cc", "--exe", "--build", "-j", "2", "-O3", *build.WARNINGS,
            "--top-module", "table_sweep", "--Mdir", str(home), "-o", "sweep",
            *map(str, (package, *build.rtl_sources(), *mains)),
        ]  # fmt: skip
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    return program


@pytest.fixture(scope="module")
def finished(sweep, tmp_path_factory):
    """Patterns, and the RTL's results for them: uint32 [patterns, functions]."""
    folder = tmp_path_factory.mktemp("sweep")
    bits = np.concatenate([BF16, boundaries(), free(100_000)])
    (folder / "x.bin").write_bytes(np.concatenate([[len(bits)], bits]).astype(">u4").tobytes())
    subprocess.run([str(sweep)], cwd=folder, check=True, timeout=120)
    return bits, np.fromfile(folder / "y.bin", "<u4").reshape(len(bits), len(FUNCTIONS))


def test_every_bf16_every_boundary_and_random_patterns(finished):
    assert differences(*finished) == {}


def test_every_entry_of_the_tables_was_read(finished, monkeypatch):
    read = np.zeros(tables.TABLE_SIZE, bool)
    poly = tables._poly

    def watched(index, d):
        read[index] = True
        return poly(index, d)

    monkeypatch.setattr(tables, "_poly", watched)
    assert differences(*finished) == {}
    assert read.all()


@pytest.mark.parametrize(("row", "change"), enumerate((1, 1 << 8, 1 << 17)))
def test_another_coefficient_is_seen(finished, monkeypatch, row, change):
    other = tables.coefficients().copy()
    other.view(np.uint32)[row] += np.uint32(change)
    monkeypatch.setattr(tables, "coefficients", lambda: other)
    assert set(differences(*finished)) == set(FUNCTIONS)


def test_the_rom_holds_the_coefficients():
    entries = re.findall(r"12'd(\d+): .* = 96'h(\w{8})_(\w{8})_(\w{8});", rom_text())
    assert [int(at) for at, *_ in entries] == list(range(tables.TABLE_SIZE))
    held = np.array([[int(c, 16) for c in row] for _, *row in entries], np.uint32)
    assert np.array_equal(held.T, tables.coefficients().view(np.uint32))


def test_constants_are_those_of_the_definition():
    found = dict(re.findall(r"TABLE_(\w+) = 32'h(\w+);", "\n".join(constants())))
    values = np.array([int(x, 16) for x in found.values()], np.uint32).view(np.float32)
    for name, value in zip(found, values, strict=True):
        expected = getattr(tables, name, None)
        assert value == (expected or 1.0 / getattr(tables, name.removesuffix("_STEP"))), name
