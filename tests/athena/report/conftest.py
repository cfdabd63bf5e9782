"""A synthetic execution with plausible figures: 12 blocks of a small decoder on the athena chip."""

import dataclasses

import numpy as np
import pytest

from athena.chip import load_chip
from athena.energy import energy, load_table
from athena.isa.builder import StreamBuilder
from athena.isa.fields import Queue
from athena.isa.program import NodeInfo, Program, QueueRun, Section
from athena.report import Phase, Results, Workload, summarise
from athena.timing.result import ActionCounts, NodeTime, Timeline, UnitUse
from athena.verify import Comparison, verify

CHIP = load_chip("athena")
TABLE = load_table()
SEQ, HIDDEN, BLOCKS = 512, 768, 12
MATMUL = 2 * SEQ * HIDDEN * HIDDEN


def node(name, op, flops, nbytes, place="chip", dtype="bf16") -> NodeInfo:
    return NodeInfo(
        name=name,
        op=op,
        sources=(f"/{name}/src",),
        place=place,
        flops=flops,
        compulsory_bytes=nbytes,
        dtype=dtype,
        mapping="m-stationary",
    )


def block(i: int) -> list[NodeInfo]:
    weights, act = 2 * HIDDEN * HIDDEN, 2 * SEQ * HIDDEN
    attention = 2 * SEQ * (SEQ + 1) * HIDDEN
    return [
        node(f"blk{i}/norm", "Norm", {"norm": 5 * SEQ * HIDDEN}, 2 * act),
        node(f"blk{i}/qkv", "Gemm", {"matmul": 3 * MATMUL}, 3 * weights + 4 * act),
        node(
            f"blk{i}/attention",
            "Attention",
            {
                "attention": attention,
                "attention_full": 2 * attention,
                "softmax": 5 * SEQ * SEQ * 12,
            },
            4 * act,
        ),
        node(f"blk{i}/proj", "Gemm", {"matmul": MATMUL, "elementwise": SEQ * HIDDEN}, weights),
        node(f"blk{i}/gelu", "Elementwise", {"elementwise": 8 * SEQ * 4 * HIDDEN}, 8 * act),
        node(f"blk{i}/mlp", "Gemm", {"matmul": 8 * MATMUL}, 8 * weights + 5 * act),
    ]


def make_program(extra=()) -> Program:
    b = StreamBuilder()
    b.end()
    nodes = [n for i in range(BLOCKS) for n in block(i)]
    nodes += [
        node("shape", "Shape", {}, 0, place="folded"),
        node("topk", "TopK", {"elementwise": 10_000}, 4096, place="host"),
        *extra,
    ]
    return Program(
        name="gpt",
        chip="athena",
        chip_hash="0" * 64,
        precision="bf16",
        streams=(b.stream(),),
        sections=(Section(name="main", runs=(QueueRun(kind=Queue.LOAD, stream=0),)),),
        segment_bytes=(4096,) * 8,
        nodes=tuple(nodes),
        notes={"model": "gpt.onnx", "dims": "batch=1, seq=512"},
    )


def make_timeline(program: Program) -> Timeline:
    rng = np.random.default_rng(5)
    rows, at = [], 0
    for index, info in enumerate(program.nodes):
        if info.place != "chip":
            continue
        work = sum(v for k, v in info.flops.items() if k != "attention_full")
        least = max(
            work / CHIP.peak_flops("bf16"),
            info.compulsory_bytes / CHIP.hbm.bandwidth_gbytes_per_s / 1e9,
        )
        span = int(least * CHIP.clock_hz * rng.uniform(1.2, 3)) + 800
        rows.append(
            NodeTime(
                node=index,
                first_cycle=at,
                last_cycle=at + span,
                span_cycles=span,
                matrix_busy_cycles=span // 2,
                vector_busy_cycles=span // 4,
                dma_busy_cycles=span // 3,
                hbm_bytes=int(info.compulsory_bytes * rng.uniform(0.8, 1.4)),
                l2_bytes=info.compulsory_bytes,
            )
        )
        at += int(span * 0.9)
    cycles = max(row.last_cycle for row in rows) + 30_000
    macs = sum(v for n in program.nodes for k, v in n.flops.items() if k in ("matmul", "attention"))
    moved = sum(row.hbm_bytes for row in rows)
    counts = ActionCounts(
        macs={"bf16": macs // 2},
        padded_macs={"bf16": macs // 20},
        vector_ops=400_000_000,
        lut_ops=60_000_000,
        cast_ops=90_000_000,
        l1_read_bytes=6 * moved,
        l1_write_bytes=3 * moved,
        acc_read_bytes=4 * moved,
        acc_write_bytes=4 * moved,
        l2_read_bytes=2 * moved,
        l2_write_bytes=moved,
        hbm_read_bytes=int(0.8 * moved),
        hbm_write_bytes=int(0.2 * moved),
        noc_byte_hops=3 * moved,
        host_link_bytes=50_000,
        words_executed=120_000,
        fetch_bytes=120_000 * 128,
    )
    units = []
    for queue, busy in zip(list(Queue)[:4], (0.18, 0.44, 0.37, 0.29), strict=True):
        wait = (1 - busy) * np.array([0.4, 0.1, 0.2, 0.05, 0.25])
        units.append(
            UnitUse(
                queue=queue,
                units=64,
                words=30_000,
                busy_cycles=busy * cycles,
                wait_semaphore_cycles=wait[0] * cycles,
                wait_port_cycles=wait[1] * cycles,
                wait_memory_cycles=wait[2] * cycles,
                wait_fetch_cycles=wait[3] * cycles,
                idle_cycles=wait[4] * cycles,
            )
        )
    return Timeline(
        cycles=cycles,
        clock_hz=CHIP.clock_hz,
        counts=counts,
        units=tuple(units),
        nodes=tuple(rows),
        events=1_000_000,
        exact=False,
        hbm_busy_fraction=0.47,
        host_s=(5e-6, 15e-6, 50e-6),
    )


def make_verify():
    rng = np.random.default_rng(0)
    ref = rng.normal(size=(4, 100))
    outputs = {"logits": ref, "present.0.key": ref[:2]}
    actual = {"logits": ref + 0.004 * rng.normal(size=ref.shape), "present.0.key": ref[:2]}
    how = Comparison(precision="bf16", layers=12, reference="onnxruntime 1.20", inputs="seed 0")
    return verify(outputs, actual, how)


def make_results(extra=(), **changes) -> Results:
    program = make_program(extra)
    timeline = make_timeline(program)
    spent = energy(timeline.counts, timeline.seconds, CHIP, TABLE, host_s=timeline.host_s)
    results = Results(
        program=program,
        timeline=timeline,
        energy=spent,
        chip=CHIP,
        table=TABLE,
        workload=Workload(
            task="prefill of 512 tokens, batch 1", phase=Phase.PREFILL, input_tokens=SEQ
        ),
        verify=make_verify(),
        hashes={"model": "ab" * 32},
    )
    return dataclasses.replace(results, **changes)


@pytest.fixture(scope="session")
def results() -> Results:
    return make_results()


@pytest.fixture(scope="session")
def summary(results):
    return summarise(results)


@pytest.fixture(scope="session")
def make():
    """The builder itself, for tests that change something."""
    return make_results
