"""A request's figures from its phases, by arithmetic written out here."""

import dataclasses
import io

import pytest
from rich.console import Console

from athena.errors import UsageError
from athena.report import (
    DecodeSteps,
    Phase,
    Workload,
    annex_phases,
    form_phases,
    summarise,
    summarise_request,
)
from athena.report.tables import request_table


@pytest.fixture(scope="module")
def phases(make):
    def phase(kind, tokens, **more):
        results = make(
            workload=Workload(
                task="t", phase=kind, batch=4, input_tokens=tokens, output_tokens=4, **more
            )
        )
        return summarise(results)

    prefill = phase(Phase.PREFILL, 4 * 128)
    short = phase(Phase.DECODE, 4, context_tokens=128)
    long = dataclasses.replace(short, seconds=2 * short.seconds)
    return prefill, (DecodeSteps(summary=short, steps=60), DecodeSteps(summary=long, steps=3))


def test_figures(phases):
    prefill, decode = phases
    got = summarise_request(prefill, decode)
    short = decode[0].summary.seconds
    assert (got.batch, got.prompt_tokens, got.new_tokens) == (4, 128, 64)
    assert got.ttft_ms == pytest.approx(prefill.seconds * 1000)
    assert got.tpot_ms == pytest.approx((60 * short + 3 * 2 * short) / 63 * 1000)
    assert got.output_tokens_per_s_per_sequence == pytest.approx(1000 / got.tpot_ms)
    assert got.output_tokens_per_s_per_system == pytest.approx(4000 / got.tpot_ms)
    assert got.output_tokens_per_s_per_chip == got.output_tokens_per_s_per_system
    assert got.request_s == pytest.approx(prefill.seconds + 66 * short)
    assert got.request_tokens_per_s == pytest.approx(256 / got.request_s)
    for i in range(3):
        chip = prefill.energy.chip_j.as_tuple()[i] + sum(
            d.steps * d.summary.energy.chip_j.as_tuple()[i] for d in decode
        )
        assert got.j_per_output_token.as_tuple()[i] == pytest.approx(chip / 256)
    with_host = got.j_per_output_token_with_host
    assert with_host.central > got.j_per_output_token.central


def test_table(phases):
    out = io.StringIO()
    Console(file=out, width=200, color_system=None).print(request_table(summarise_request(*phases)))
    for part in ("128 prompt + 64 new tokens", "TTFT", "TPOT", "prefill included"):
        assert part in out.getvalue()


def test_one_new_token(phases):
    got = summarise_request(phases[0], ())
    assert got.new_tokens == 1
    assert got.tpot_ms is None and got.output_tokens_per_s_per_chip is None
    assert got.j_per_output_token.central == pytest.approx(phases[0].energy.chip_j.central / 4)


def test_phases_for_form_and_annex(phases):
    prefill, decode = phases
    assert [p.executions for p in annex_phases(prefill, decode)] == [1, 60, 3]
    form = form_phases(prefill, decode, requests=50)
    assert [(p.name, p.executions) for p in form] == [
        ("prefill", 50),
        ("decode", 3000),
        ("decode", 150),
    ]


def test_phases_that_do_not_fit(phases, summary):
    prefill, decode = phases
    with pytest.raises(UsageError, match="starts with a prefill"):
        summarise_request(decode[0].summary, ())
    with pytest.raises(UsageError, match="decode steps"):
        summarise_request(prefill, [DecodeSteps(summary=prefill, steps=1)])
    with pytest.raises(UsageError, match="decode steps"):
        summarise_request(prefill, [DecodeSteps(summary=decode[0].summary, steps=0)])
    with pytest.raises(UsageError, match="differ in batch"):
        summarise_request(summary, decode)
