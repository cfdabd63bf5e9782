"""The core in an SoC: AXI4 adapter, control registers, the whole of them with memory behind."""

import dataclasses

import pytest

from athena.errors import CapacityError
from rtl_sim import build
from rtl_sim.generate import random_job
from rtl_sim.launch import prepare
from rtl_sim.registers import Reg, register_rows

ROOT = build.HERE.parent


@pytest.fixture
def axi_models():
    pytest.importorskip("cocotbext.axi", reason="pip install 'athena-npu[rtl]'")


def test_adapter(run_bench, axi_models, monkeypatch):
    bursts = 2  # so few that the limit is reached
    monkeypatch.setenv("AXI_BURSTS", str(bursts))
    parameters = {"LoadTag": 16, "StoreTag": 16, "ReadBursts": bursts, "WriteBursts": bursts}
    run_bench("axi_adapter", "bench_axi_adapter", parameters, ports_only=True)


def test_whole(run_bench, axi_models):
    run_bench("athena_axi", "bench_athena_axi", ports_only=True)


def test_the_page_has_the_registers():
    page = (ROOT / "docs" / "rtl.md").read_text()
    table = [line for line in page.splitlines() if line.startswith("| `0x")]
    assert tuple(table) == register_rows()


def test_more_runs_than_the_table_are_refused(ci_chip):
    job = random_job(1, ci_chip)
    section = dataclasses.replace(job.program.sections[0], repeat=5)
    job = dataclasses.replace(job, program=dataclasses.replace(job.program, sections=(section,)))
    assert dict(prepare(job, data_at=0, code_at=0, table_runs=8).writes)[Reg.RUNS] == 5
    with pytest.raises(CapacityError, match="5 runs of a queue; the run table holds 4"):
        prepare(job, data_at=0, code_at=0, table_runs=4)
