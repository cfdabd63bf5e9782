"""The table of energies: every shipped entry is sound; faults of a user's table are named."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.energy import Kind, Range, load_table, table_names, total
from athena.errors import ChipError

TABLE = load_table()
TEXT = Path(__file__).parents[3].joinpath("athena/energy/tables/n5-2026.yaml").read_text()


@pytest.mark.parametrize("name", table_names())
def test_shipped_tables(name):
    table = load_table(name)
    assert table.name == name
    for entry in table.entries.values():
        assert entry.source and entry.unit and entry.kind in Kind
        assert 0 < entry.range.low <= entry.range.central <= entry.range.high
    assert len(table.sha256) == 64
    assert load_table(name).sha256 == table.sha256


@pytest.mark.parametrize(
    ("key", "central"),
    [("mac.bf16", 0.59 * 0.7), ("mac.fp32", 1.69 * 0.7), ("mac.fp16", 0.72 * 0.7)],
)
def test_central_follows_from_the_stated_source(key, central):
    assert TABLE.entry(key).range.central == pytest.approx(central, rel=0.01)


def test_sram_at_and_between_table_points():
    figure, keys = TABLE.sram(1 << 20)
    assert figure.as_tuple() == pytest.approx(TABLE.entry("sram.1MiB").range.as_tuple())
    middle, keys = TABLE.sram(2 << 20)
    assert keys == ("sram.1MiB", "sram.4MiB")
    assert middle.central == pytest.approx(math.sqrt(1.2 * 1.7))
    assert TABLE.sram(1)[0] == TABLE.entry("sram.8KiB").range
    beyond, keys = TABLE.sram(64 << 20)
    assert beyond.central == pytest.approx(2.8 * 2.8 / 1.7)
    with pytest.raises(ChipError, match="more than 4 x the largest"):
        TABLE.sram((64 << 20) + 1)


@given(st.integers(1, 64 << 20), st.integers(1, 64 << 20))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_larger_sram_never_costs_less(a, b):
    small, large = TABLE.sram(min(a, b))[0], TABLE.sram(max(a, b))[0]
    for less, more in zip(small.as_tuple(), large.as_tuple(), strict=True):
        assert less <= more * (1 + 1e-12)


def test_process():
    assert TABLE.process_factor(5).as_tuple() == (1, 1, 1)
    assert TABLE.process_factor(7).central == pytest.approx(1 / 0.7, rel=0.01)
    with pytest.raises(ChipError, match="45 nm"):
        TABLE.process_factor(45)


def test_missing_entry_names_the_nearest():
    with pytest.raises(ChipError, match=r"no energy for 'mac.bf61'[\s\S]*mac\.bf16"):
        TABLE.entry("mac.bf61")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("athena-energy-table/1", "athena-energy-table/9", "schema"),
        ("range: [0.2, 0.41, 0.66]", "range: [0.5, 0.41, 0.66]", "mac.bf16.*order|order"),
        ("range: [0.2, 0.41, 0.66]", "range: [0.2, 0.41]", "mac.bf16"),
        ("range: [0.2, 0.41, 0.66]", "range: [0.2, 0.41, .inf]", "mac.bf16"),
        ("range: [0.2, 0.41, 0.66]", "range: [0.2, 0.41, x]", "mac.bf16"),
        ("range: [0.2, 0.41, 0.66]", "rnage: [0.2, 0.41, 0.66]", "mac.bf16"),
        ("kind: assumed", "kind: guessed", "kind"),
        ("mac.mx9:", "mac.mx6:", "twice"),
        ("mac.mx9:", "? [a, b]\n  :", "plain text|YAML"),
        ("process_nm: 5", "process_nm: &a 5\ndate2: *a", "alias"),
        ("process_nm: 5", "process_nm: !!python/object/apply:os.system [id]", "YAML"),
        ("process_nm: 5", "process_nm: [", "YAML"),
    ],
)
def test_faults_in_a_table_are_named(tmp_path, old, new, message):
    assert old in TEXT
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace(old, new, 1) if old != "kind: assumed" else TEXT.replace(old, new))
    with pytest.raises(ChipError, match=message):
        load_table(path)


def test_missing_and_huge_files(tmp_path):
    with pytest.raises(ChipError):
        load_table(tmp_path / "none.yaml")
    with pytest.raises(ChipError):
        load_table("none")
    (tmp_path / "big").write_bytes(b"#" * (2 << 20))
    with pytest.raises(ChipError, match="at most"):
        load_table(tmp_path / "big")


@given(st.binary(max_size=60))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_any_bytes(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("t") / "t.yaml"
    path.write_bytes(data)
    with pytest.raises(ChipError):
        load_table(path)


numbers = st.floats(0, 1e12)
ranges = st.lists(numbers, min_size=3, max_size=3).map(lambda v: Range(*sorted(v)))


@given(st.lists(ranges, max_size=6), ranges)
@settings(deadline=None, derandomize=True, max_examples=100)
def test_range_arithmetic_keeps_order(items, by):
    whole = total(items)
    assert whole.central == pytest.approx(sum(r.central for r in items))
    for result in (whole + by, whole * by, whole * 3.0):
        assert result.low <= result.central <= result.high
    if by.low > 1e-6:
        assert (whole / by).low <= (whole / by).central <= (whole / by).high


@pytest.mark.parametrize(
    "bad", [(2, 1, 3), (1, 3, 2), (-1, 0, 1), (0, 1, math.inf), (math.nan,) * 3]
)
def test_no_range(bad):
    with pytest.raises(ValueError):
        Range(*bad)
