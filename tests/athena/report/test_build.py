"""Figures of the summary against arithmetic written out here."""

import dataclasses

import pytest

from athena.energy import Group
from athena.errors import InternalError
from athena.report import Bound, Phase, Workload, summarise

SEQ, HIDDEN = 512, 768


def test_model_flops(summary):
    matmul = 12 * (3 + 1 + 8) * 2 * SEQ * HIDDEN * HIDDEN
    attention = 12 * 2 * SEQ * (SEQ + 1) * HIDDEN
    kinds = summary.work.model_flops
    assert kinds["matmul"] == matmul
    assert kinds["attention"] == attention
    assert kinds["attention_full"] == 2 * attention
    assert summary.work.flops == sum(v for k, v in kinds.items() if k != "attention_full")


def test_mfu_and_hbm(results, summary):
    on_chip = summary.work.flops - 10_000  # one node is on the host
    peak = 2 * 64 * 64 * 64 * 1.526e9
    assert summary.work.mfu == pytest.approx(on_chip / (peak * results.timeline.seconds))
    assert summary.work.flops_on_chip_share == pytest.approx(on_chip / summary.work.flops)
    counts = results.timeline.counts
    moved = counts.hbm_read_bytes + counts.hbm_write_bytes
    assert summary.work.hbm_utilisation == pytest.approx(
        moved / (1.8e12 * results.timeline.seconds)
    )
    assert summary.work.bound_by is Bound.MEMORY
    assert summary.work.bound_s == pytest.approx(moved / 1.8e12)


def test_nodes(results, summary):
    assert (summary.work.nodes_costed, summary.work.nodes_total) == (73, 73)
    assert "shape" not in {row.name for row in summary.nodes}, "folded nodes are not executed"
    for row in summary.nodes:
        if row.place == "host":
            assert row.bound_by is Bound.HOST
            continue
        info = results.program.nodes[row.index]
        matrix = info.flops.get("matmul", 0) + info.flops.get("attention", 0)
        memory_s = min(row.hbm_bytes, info.compulsory_bytes) / 1.8e12
        vector_s = (row.flops - matrix) / (4 * 256 * 64 * 1.526e9)
        matrix_s = matrix / (2 * 64**3 * 1.526e9)
        assert row.bound_s == pytest.approx(max(memory_s, vector_s, matrix_s))
        assert row.achieved == pytest.approx(row.bound_s / row.span_s)
        assert row.traffic == pytest.approx(row.hbm_bytes / info.compulsory_bytes)


@pytest.mark.parametrize(
    ("work", "kind", "tokens"),
    [
        (
            Workload(task="t", phase=Phase.PREFILL, batch=2, input_tokens=64, output_tokens=2),
            "input",
            64,
        ),
        (
            Workload(task="t", phase=Phase.DECODE, batch=8, input_tokens=8, output_tokens=8),
            "output",
            8,
        ),
        (Workload(task="t", phase=Phase.DECODE, batch=8, output_tokens=8, chips=4), "output", 8),
    ],
)
def test_tokens(make, work, kind, tokens):
    results = make(workload=work)
    got = summarise(results).tokens
    seconds = results.timeline.seconds
    assert got.kind == kind
    assert got.per_system_s == pytest.approx(tokens / seconds)
    assert got.per_chip_s == pytest.approx(tokens / seconds / work.chips)
    assert got.per_sequence_s == pytest.approx(tokens / work.batch / seconds)
    for i in range(3):
        chip_j = results.energy.chip_j.as_tuple()[i] * work.chips
        host_j = results.energy.of(Group.HOST).as_tuple()[i]
        assert got.j_per_token.as_tuple()[i] == pytest.approx(chip_j / tokens)
        assert got.j_per_token_with_host.as_tuple()[i] == pytest.approx((chip_j + host_j) / tokens)


def test_no_tokens(make):
    assert summarise(make(workload=Workload(task="classify"))).tokens is None


def test_energy_adds_up(summary):
    energy = summary.energy
    for i in range(3):
        parts = sum(part.energy_j.as_tuple()[i] for part in energy.parts)
        assert energy.total_j.as_tuple()[i] == pytest.approx(parts)
    assert energy.chip_w.central == pytest.approx(energy.chip_j.central / summary.seconds)
    assert {entry.key for entry in energy.delivery} == {
        "delivery.vr_efficiency",
        "delivery.psu_efficiency",
    }


def test_units_sum_to_one(summary):
    for unit in summary.units:
        waits = (unit.wait_semaphore, unit.wait_port, unit.wait_memory, unit.wait_fetch)
        assert sum((unit.busy, *waits, unit.idle)) == pytest.approx(1)


def test_what_is_said(make, summary):
    text = " ".join(summary.notes)
    assert "hypothetical" in text and "host model" in text and "fast-forwarded" in text
    assert "first 'topk'" in text
    unverified = summarise(make(verify=None))
    assert unverified.verify is None
    assert any("not verified" in note for note in unverified.notes)
    results = make()
    weightless = dataclasses.replace(results.program, weightless=True)
    said = summarise(make(program=weightless)).notes
    assert any("no weights" in note for note in said)


def test_node_without_time_is_not_costed(make):
    results = make()
    timeline = dataclasses.replace(results.timeline, nodes=results.timeline.nodes[1:])
    got = summarise(make(timeline=timeline))
    assert (got.work.nodes_costed, got.work.nodes_total) == (72, 73)
    assert any("1 nodes have no time, first 'blk0/norm'" in note for note in got.notes)


def test_provenance(summary):
    hashes = summary.provenance.hashes
    assert set(hashes) == {"chip", "energy_table", "model", "program"}
    assert all(len(digest) == 64 for digest in hashes.values())
    assert {"athena", "python", "numpy", "onnxruntime"} <= set(summary.provenance.versions)
    assert summary.provenance.model == "gpt.onnx"


def test_results_that_do_not_belong_together(make):
    results = make()
    longer = dataclasses.replace(results.timeline, cycles=results.timeline.cycles * 2)
    with pytest.raises(InternalError, match="different executions"):
        summarise(make(timeline=longer))
    row = dataclasses.replace(results.timeline.nodes[0], node=999)
    with pytest.raises(InternalError, match="does not have"):
        summarise(make(timeline=dataclasses.replace(results.timeline, nodes=(row,))))
