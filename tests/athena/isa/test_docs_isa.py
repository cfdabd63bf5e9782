"""The committed page is what the tables say."""

from pathlib import Path

from athena.isa.docs_isa import isa_markdown, main
from athena.isa.fields import Op
from athena.isa.table import BY_OP, ROWS

PAGE = Path(__file__).parents[3] / "docs" / "isa.md"


def test_committed_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == isa_markdown(), "run python -m athena.isa.docs_isa"


def test_page_is_written_where_asked(tmp_path):
    main([str(tmp_path / "isa.md")])
    assert (tmp_path / "isa.md").read_text(encoding="utf-8") == isa_markdown()


def test_every_word_has_a_row_and_a_heading():
    assert set(BY_OP) == set(Op) - {Op.ILLEGAL}
    page = isa_markdown()
    for row in ROWS:
        assert f"### {row.op.name}\n" in page
        assert row.rtl or row.rtl_reason


def test_names_of_fields_hide_no_slot():
    """The assembler takes names and slots; a name may be another slot's only if it is its own."""
    slots = {"a", "b", "c", "d", "e", "g", *(f"{k}{i}" for k in ("n", "p", "f") for i in range(8))}
    for row in ROWS:
        names = [name for name, _ in row.fields.values()]
        assert len(set(names)) == len(names)
        for slot, (name, _) in row.fields.items():
            assert name == slot or name not in slots
