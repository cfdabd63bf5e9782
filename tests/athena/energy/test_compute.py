"""Energy against sums written out by hand, cross-checks with published power, and laws."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.chip import load_chip
from athena.energy import Group, energy, load_table
from athena.errors import ChipError
from athena.timing.result import ActionCounts

CHIP = load_chip("athena")
TABLE = load_table()
SCALARS = [
    f.name for f in dataclasses.fields(ActionCounts) if f.name not in ("macs", "padded_macs")
]
ALL = ActionCounts(
    macs={"bf16": 10**12, "int8": 10**12, "fp32": 10**10},
    padded_macs={"bf16": 10**11},
    **dict.fromkeys(SCALARS, 10**10),
)
KEYS = {
    *("mac.bf16", "mac.int8", "mac.fp32", "mac.padded_fraction", "vector.op", "vector.lut"),
    *("vector.cast", "instruction.word", "sram.8KiB", "sram.32KiB", "sram.256KiB", "sram.1MiB"),
    *("sram.4MiB", "sram.16MiB", "sram.write_factor", "noc.router", "noc.wire", "dram.hbm2e"),
    *("dram.phy", "dram.gpu_all_in", "link.pcie5"),
}


def part(breakdown, name):
    return next(p for p in breakdown.parts if p.name == name)


def only(**counts):
    return energy(ActionCounts(**counts), 1.0, CHIP, TABLE)


@pytest.mark.parametrize(
    ("counts", "name", "joules"),
    [
        ({"macs": {"bf16": 10**12}}, "matrix bf16", (0.2, 0.41, 0.66)),
        ({"padded_macs": {"int8": 10**12}}, "matrix int8 padding", (0.00255, 0.0075, 0.042)),
        ({"vector_ops": 10**12}, "vector", (0.8, 1.2, 2.5)),
        ({"lut_ops": 10**12}, "look-up tables", (2.5, 4.8, 9)),
        ({"cast_ops": 10**12}, "conversions", (0.2, 0.3, 0.6)),
        ({"l1_read_bytes": 10**12}, "L1 read", (1.1, 1.7, 3.5)),
        ({"l1_write_bytes": 10**12}, "L1 write", (1.21, 1.87, 3.85)),
        ({"hbm_read_bytes": 10**12}, "main memory read", (8 * 3.8, 8 * 4.9, 8 * 13.1)),
        ({"host_link_bytes": 10**12}, "host link", (40, 52, 64)),
        (
            {"noc_byte_hops": 10**12},
            "mesh",
            tuple(r + w * math.sqrt(820 / 16) for r, w in [(0.3, 0.3), (0.6, 0.4), (1.2, 0.8)]),
        ),
    ],
)
def test_one_component(counts, name, joules):
    result = only(**counts)
    assert part(result, name).energy_j.as_tuple() == pytest.approx(joules, rel=1e-9)
    others = [p for p in result.parts if p.name not in (name, "idle power")]
    assert all(p.energy_j.high == 0 for p in others)
    assert part(result, "idle power").energy_j.as_tuple() == CHIP.power.idle_w


def test_words_are_fetched_from_memory_and_pass_the_fifo():
    assert CHIP.core.fifo_words * 128 == 16384  # half way, in the logarithm, from 8 to 32 KiB
    fifo = tuple(math.sqrt(a * b) for a, b in ((0.2, 0.3), (0.45, 0.6), (0.66, 0.75)))
    fetch = part(only(fetch_bytes=10**12), "instruction fetch").energy_j.as_tuple()
    memory = (8 * 3.8, 8 * 4.9, 8 * 13.1)
    assert fetch == pytest.approx([m + 1.1 * f for m, f in zip(memory, fifo, strict=True)])
    decode = part(only(words_executed=10**12), "instruction decode").energy_j.as_tuple()
    assert decode == pytest.approx([w + 128 * f for w, f in zip((5, 15, 30), fifo, strict=True)])


def test_power_at_full_speed_agrees_with_published_figures():
    """HBM at 1.8 TB/s: 71 W by device figures, 189 W as GPUs show; 0.8 PFLOPS bf16: 164 W."""
    hbm = part(only(hbm_read_bytes=1_800_000_000_000), "main memory read").energy_j
    assert hbm.central == pytest.approx(71, abs=1)
    assert hbm.high == pytest.approx(189, abs=1)
    bf16 = part(only(macs={"bf16": int(0.4e15)}), "matrix bf16").energy_j
    assert bf16.central == pytest.approx(164)


def test_sum_of_parts_and_boundaries():
    result = energy(ALL, 2.0, CHIP, TABLE, host_s=(0.1, 0.2, 0.5))
    for i in range(3):
        parts = math.fsum(p.energy_j.as_tuple()[i] for p in result.parts)
        assert result.total_j.as_tuple()[i] == pytest.approx(parts, rel=1e-12)
        groups = math.fsum(result.of(g).as_tuple()[i] for g in Group)
        assert groups == pytest.approx(parts, rel=1e-12)
        host = result.of(Group.HOST).as_tuple()[i]
        assert result.chip_j.as_tuple()[i] == pytest.approx(parts - host, rel=1e-9)
    assert result.chip_w.central == pytest.approx(result.chip_j.central / 2)
    names = [p.name for p in result.parts]
    assert len(names) == len(set(names))


@given(
    st.fixed_dictionaries({name: st.integers(0, 10**15) for name in SCALARS}),
    st.integers(0, 10**16),
    st.floats(0, 1e4),
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_laws(scalars, macs, seconds):
    counts = ActionCounts(macs={"bf16": macs}, padded_macs={"int8": macs}, **scalars)
    double = ActionCounts(
        macs={"bf16": 2 * macs},
        padded_macs={"int8": 2 * macs},
        **{k: 2 * v for k, v in scalars.items()},
    )
    one, two = energy(counts, seconds, CHIP, TABLE), energy(double, seconds, CHIP, TABLE)
    for p in (*one.parts, *two.parts):
        assert 0 <= p.energy_j.low <= p.energy_j.central <= p.energy_j.high
    dynamic = one.of(Group.CHIP_DYNAMIC, Group.HOST)
    assert two.of(Group.CHIP_DYNAMIC, Group.HOST).central == pytest.approx(2 * dynamic.central)
    assert two.of(Group.CHIP_STATIC) == one.of(Group.CHIP_STATIC)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_missing_entry_is_an_error(key):
    """Whatever is counted has its entry; sizes of SRAM may be left out, others take their place."""
    entries = {k: v for k, v in TABLE.entries.items() if k != key}
    table = dataclasses.replace(TABLE, entries=entries)
    if key.startswith("sram.") and key != "sram.write_factor":
        no_sram = dataclasses.replace(
            TABLE, entries={k: v for k, v in entries.items() if not k.endswith("iB")}
        )
        with pytest.raises(ChipError, match="sram"):
            energy(ALL, 1.0, CHIP, no_sram)
    else:
        with pytest.raises(ChipError, match=key):
            energy(ALL, 1.0, CHIP, table)


def test_entries_used_are_listed_with_sources():
    result = energy(ALL, 1.0, CHIP, TABLE)
    used = {entry.key for entry in result.entries}
    assert used == KEYS
    assert all(entry.source for entry in result.entries)
    assert set(result.assumed) == {e.key for e in result.entries if e.kind == "assumed"}
    assert any("assumed" in note and "vector.lut" in note for note in result.notes)
    assert any("leakage" in note and "inside" in note for note in result.notes)


def test_every_count_costs_something():
    """A count that no component uses would be energy lost: each alone raises the total."""
    base = energy(ActionCounts(), 1.0, CHIP, TABLE).total_j.central
    for name in SCALARS:
        counts = ActionCounts(**{name: 10**9})
        assert energy(counts, 1.0, CHIP, TABLE).total_j.central > base, name


@pytest.mark.parametrize("nm", [3, 4, 7, 16])
def test_other_processes(nm):
    chip = load_chip("athena", overrides={"process_nm": nm})
    here = part(energy(ALL, 1.0, chip, TABLE), "matrix bf16").energy_j
    base = part(energy(ALL, 1.0, CHIP, TABLE), "matrix bf16").energy_j
    assert here.central == pytest.approx(base.central * TABLE.process_factor(nm).central)
    assert here.high / here.low > base.high / base.low, "the range is wider"
    notes = energy(ALL, 1.0, chip, TABLE).notes
    assert any(f"scaled to {nm} nm" in note for note in notes)
    with pytest.raises(ChipError, match="28 nm"):
        energy(ALL, 1.0, load_chip("athena", overrides={"process_nm": 28}), TABLE)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"die_area_mm2": None}, "die_area_mm2"),
        ({"hbm.standard": ""}, "hbm.standard"),
        ({"hbm.standard": "hbm9"}, "dram.hbm9"),
        ({"cluster.l2_bytes": 0}, "L2 was accessed"),
    ],
)
def test_what_the_chip_must_say(overrides, message):
    with pytest.raises(ChipError, match=message):
        energy(ALL, 1.0, load_chip("athena", overrides=overrides), TABLE)


def test_host_time_range_reaches_static_energy():
    result = energy(ActionCounts(), 2.0, CHIP, TABLE, host_s=(0.5, 1.0, 3.0))
    idle = part(result, "idle power").energy_j
    assert idle.as_tuple() == pytest.approx((90 * 1.5, 140 * 2.0, 200 * 4.0))
    assert part(result, "host calls").energy_j.as_tuple() == pytest.approx((25, 150, 900))


def test_above_design_power_is_said():
    hot = energy(ActionCounts(macs={"bf16": 2 * 10**15}), 1.0, CHIP, TABLE)
    assert any("design power" in note for note in hot.notes)
    assert not any("design power" in note for note in only().notes)


@pytest.mark.parametrize("name", ["athena", "athena-edge", "athena-edge-ci"])
def test_presets(name):
    chip = load_chip(name)
    counts = (
        ALL
        if chip.cluster.l2_bytes
        else dataclasses.replace(ALL, l2_read_bytes=0, l2_write_bytes=0)
    )
    assert energy(counts, 1.0, chip, TABLE).total_j.low > 0
