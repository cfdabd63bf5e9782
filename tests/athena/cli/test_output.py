"""Progress: silence for short work, two lines on standard error for long work."""

from __future__ import annotations

import time

from athena.cli import output


def test_short_work_says_nothing(capsys):
    with output.step("short"):
        pass
    assert capsys.readouterr().err == ""


def test_long_work_says_what_and_how_long(capsys, monkeypatch):
    monkeypatch.setattr(output, "PATIENCE_S", 0.01)
    with output.step("long"):
        time.sleep(0.1)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("long ...\nlong: 0.") and err.count("\n") == 2


def test_names_cannot_colour_the_terminal(capsys):
    output.table("t\x1b[31m", ("a",), [("[red]x[/red]",), ("\x1b[2J",)])
    text = capsys.readouterr().out
    assert "\x1b" not in text and "[red]x[/red]" in text
