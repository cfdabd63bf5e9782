"""The form's fields and the energy annex: sums, rules, and that the two are kept apart."""

import dataclasses
import re

import pytest

from athena.energy import Range
from athena.errors import UsageError
from athena.report import (
    AnnexPhase,
    AnnexTask,
    PhaseWork,
    energy_annex,
    fill_form,
    phase_of,
    task_of,
)
from athena.report.form import form_data

PREFILL = PhaseWork(
    name="prefill",
    executions=200,
    flops={"matmul": 10**12, "attention": 10**10, "attention_full": 2 * 10**10, "norm": 10**8},
)
DECODE = PhaseWork(name="decode", executions=100_000, flops={"matmul": 2 * 10**9, "softmax": 10**6})


@pytest.fixture
def task(summary):
    return task_of(summary, description="generating 100000 tokens, 200 x 500, greedy")


def value(draft, key):
    return next(v.value for v in draft.values if v.id == key)


def test_total_items_and_figure(task):
    draft = fill_form((PREFILL, DECODE), task)
    prefill = 200 * (10**12 + 10**10 + 10**8)
    decode = 100_000 * (2 * 10**9 + 10**6)
    assert draft.flop == prefill + decode == sum(item.flop for item in draft.items)
    assert draft.flop_full_attention == draft.flop + 200 * 10**10
    assert value(draft, "energy.inference_flop") == "4.02x10^14"
    assert {(i.phase, i.kind) for i in draft.items} == {
        ("prefill", "matrix products"),
        ("prefill", "attention (unmasked part)"),
        ("prefill", "normalisation"),
        ("decode", "matrix products"),
        ("decode", "softmax"),
    }


def test_method_text_says_all_that_is_needed(task):
    text = value(fill_form((PREFILL, DECODE), task), "energy.inference_method")
    for part in (
        "generating 100000 tokens",
        "1 x athena (hypothetical, simulated)",
        "bf16",
        "not measured",
        "prefill 2.02x10^14 in 200 executions",
        "decode 2.00x10^14 in 100000 executions",
        "whole attention matrix: 4.04x10^14",
        "two operations",
        "integer operations",
        "within tolerance of onnxruntime 1.20",
        "ab" * 32,
        "athena 0.",
    ):
        assert part in text
    assert not re.search(r"\b(J|Wh|kWh|joule|watt)\b", text), "energy has no place in the form"


def test_recipients_and_rules():
    data = form_data()
    for field in data.fields:
        assert field.recipients == {
            "ai_office": True,
            "national_authority": True,
            "downstream_provider": False,
        }
        assert field.source
    rule = data.rounding
    assert rule.significant_figures >= rule.minimum_significant_figures >= 2
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", rule.date)


def test_figure_of_a_summary(summary):
    draft = fill_form((phase_of(summary, 3),), task_of(summary, date="2026-11-24"))
    assert draft.flop == 3 * summary.work.flops
    assert "Date: 2026-11-24." in value(draft, "energy.inference_method")


def test_task_without_operations(task):
    with pytest.raises(UsageError, match="no operations"):
        fill_form((PhaseWork(name="x", executions=1, flops={}),), task)


PUE = Range(1.1, 1.2, 1.4)


def annex(summary, executions=200, **task):
    phases = [AnnexPhase(summary=summary, executions=executions)]
    return energy_annex(phases, AnnexTask(description="d", **task))


def test_annex_lines_sum_to_totals(summary):
    got = annex(summary, output_tokens=200, pue=PUE)
    for i in range(3):
        sums = {}
        for line in got.lines:
            sums[line.boundary] = sums.get(line.boundary, 0) + line.energy_j.as_tuple()[i]
        by = {t.boundary: t.energy_j.as_tuple()[i] for t in got.totals}
        assert by["chip"] == pytest.approx(sums["chip"])
        assert by["server"] == pytest.approx(sums["chip"] + sums["server"])
        assert by["facility"] == pytest.approx(sum(sums.values()))
        chip = 200 * summary.energy.chip_j.as_tuple()[i]
        host = 200 * summary.energy.host_j.as_tuple()[i]
        vr, psu = ((0.94, 0.96), (0.9, 0.94), (0.85, 0.92))[i]
        assert by["server"] == pytest.approx((chip / vr + host) / psu)
        assert by["facility"] == pytest.approx(by["server"] * PUE.as_tuple()[i])


def test_annex_per_token(summary):
    got = annex(summary, output_tokens=50, pue=PUE)
    for t in got.totals:
        each = t.energy_j.central / 50
        assert t.j_per_output_token.central == pytest.approx(each)
        assert t.wh_per_1000_tokens.central == pytest.approx(each * 1000 / 3600)
        assert each > 0


def test_annex_without_pue_or_tokens_stays_open(summary):
    got = annex(summary)
    assert got.lines[-1].energy_j is None and "open" in got.lines[-1].what
    assert [t.boundary for t in got.totals] == ["chip", "server"]
    assert all(t.j_per_output_token is None for t in got.totals)
    assert any("simulated, not measured" in note for note in got.notes)
    assert any("no answer to any field" in note for note in got.notes)


def test_annex_refuses(summary):
    with pytest.raises(UsageError, match="PUE of 0.9"):
        annex(summary, pue=Range(0.9, 1, 1.1))
    with pytest.raises(UsageError, match="without phases"):
        energy_annex([], AnnexTask(description=""))
    hashes = {**summary.provenance.hashes, "chip": "0" * 64}
    other = dataclasses.replace(
        summary, provenance=dataclasses.replace(summary.provenance, hashes=hashes)
    )
    with pytest.raises(UsageError, match="different chips"):
        energy_annex(
            [AnnexPhase(summary=summary), AnnexPhase(summary=other)], AnnexTask(description="")
        )
