"""Counting of gates; with Yosys (slow) the MAC cell's."""

import pytest

from athena.errors import InternalError, ToolError
from rtl_sim import area, yosys
from rtl_sim.area import Cell, ModuleArea, base_name, cell_area, mac_cells, weight


@pytest.fixture(scope="module")
def cells(ci_chip, tmp_path_factory):
    if yosys.missing():
        pytest.skip(f"Yosys is missing: {yosys.missing()}")
    return mac_cells(ci_chip, tmp_path_factory.mktemp("cells"))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("$_NAND_", 1.0),
        ("$_MUX_", 2.33),
        ("$_DFF_P_", 5.67),
        ("$_DFFE_PP_", 5.67 + 2.33),
        ("$_SDFF_PP0_", 5.67 + 1.33),
        ("$_SDFFCE_PN1P_", 5.67 + 2.33 + 1.33),
    ],
)
def test_weights(kind, expected):
    assert weight(kind) == pytest.approx(expected)


def test_a_cell_without_a_weight_is_an_error():
    with pytest.raises(InternalError, match="no weight for \\$_DLATCH_P_"):
        weight("$_DLATCH_P_")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("mac_cell", "mac_cell"),
        ("$paramod\\decode\\Queue=s3'001", "decode"),
        ("$paramod$df93166dcc2c\\walker", "walker"),
    ],
)
def test_base_names(module, name):
    assert base_name(module) == name


def test_instances_multiply_and_parameters_merge():
    found = {
        "core": {"$_NOT_": 1, "row": 2, "$paramod$1\\cell": 1, "$paramod$9\\scratchpad": 1},
        "row": {"$paramod$2\\cell": 3, "$_DFF_P_": 1},
        "$paramod$1\\cell": {"$_AND_": 5},
        "$paramod$2\\cell": {"$_AND_": 7},
    }
    areas = {a.name: a for a in area._collect(found, ("core",))}
    assert areas["cell"] == ModuleArea(name="cell", instances=7, cells={"$_AND_": 5 + 6 * 7})
    assert (areas["row"].instances, areas["row"].flops, areas["row"].gates) == (2, 2, 0)
    assert areas["core"].cells == {"$_NOT_": 1}


def test_the_table_goes_between_the_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{area.BEGIN}\nold\n{area.END}\nafter\n")
    area.write_between(page, "new")
    assert page.read_text() == f"before\n{area.BEGIN}\nnew\n{area.END}\nafter\n"


def test_without_yosys_the_install_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(yosys, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"athena-npu\[area\]"):
        yosys.run("", tmp_path)


@pytest.mark.slow
def test_the_mac_cell(cells):
    """Two weights, an operand, a swap flag and a sum; a cell of one type leaves gates away."""
    made = {cell: cell_area(cell, flat) for cell, flat in cells.items()}
    assert made[Cell.BOTH].flops == 3 * 16 + 1 + 32
    assert made[Cell.INT8].flops == 2 * 9 + 16 + 1 + 32
    assert made[Cell.INT8].gates < made[Cell.BF16].gates < made[Cell.BOTH].gates
    parts = made[Cell.INT8].gates + made[Cell.BF16].gates
    assert 0.8 * parts < made[Cell.BOTH].gates < 1.2 * parts
