"""Speed of the timing engine and the ceilings of its memory model, as JSON.

In:  program files on the command line (optional). Out: JSON on standard output: events a second of
     CPU time and, for the streaming cases, main-memory bytes a cycle against the peak.

python benchmarks/timing_engine.py [PROGRAM.athena ...]
"""

from __future__ import annotations

import json
import sys
import time

from athena.chip.load import load_chip
from athena.chip.model import Chip
from athena.isa.builder import StreamBuilder, Wait, acc, hbm, l1, self_sem
from athena.isa.container import read_program
from athena.isa.fields import Dt, Queue, Seg
from athena.isa.program import Program, QueueRun, Section
from athena.timing import simulate

MIB = 1 << 20


def program(entries, **fields) -> Program:
    """One section of (queue, builder, units)."""
    streams = tuple(builder.stream() for _, builder, _ in entries)
    runs = tuple(
        QueueRun(kind=kind, stream=i, units=tuple(units))
        for i, (kind, _, units) in enumerate(entries)
    )
    return Program(
        name="benchmark",
        chip="",
        chip_hash="",
        precision="bf16",
        streams=streams,
        sections=(Section(name="all", runs=runs),),
        segment_bytes=(1 << 36,) * 8,
        **fields,
    )


def pipeline(rounds: int) -> Program:
    """LOAD and MATRIX of every core in step by semaphores."""
    load, matrix = StreamBuilder(), StreamBuilder()
    with load.loop(rounds):
        load.load(
            hbm(Seg.WEIGHT, 0),
            l1(0),
            rows=1,
            row_bytes=2048,
            waits=[Wait(1)],
            signals=[self_sem(0)],
        )
    with matrix.loop(rounds):
        matrix.matmul(
            l1(0, stride=64, dt=Dt.BF16),
            l1(32768, stride=128, dt=Dt.BF16),
            acc(0, stride=256),
            m=8,
            n=64,
            k=32,
            waits=[Wait(0)],
            signals=[self_sem(1)],
        )
    load.end()
    matrix.end()
    return program([(Queue.LOAD, load, ()), (Queue.MATRIX, matrix, ())], core_sems={1: 2})


def stream(block_bytes: int, count: int, cores: int) -> Program:
    """Each core reads its own `count` blocks, one after another."""
    builder = StreamBuilder()
    builder.seta(1, 0, mult=count * block_bytes, scalar=14)
    with builder.loop(count, (1, block_bytes)):
        builder.load(hbm(Seg.WEIGHT, 0, areg=1), l1(0), rows=1, row_bytes=block_bytes)
    builder.end()
    return program([(Queue.LOAD, builder, range(cores))])


def measure(case: Program, chip: Chip) -> dict[str, float]:
    """Simulate twice; the second time counts, since the first may compile."""
    simulate(case, chip)
    start = time.process_time()
    result = simulate(case, chip)
    seconds = time.process_time() - start
    moved = result.counts.hbm_read_bytes + result.counts.hbm_write_bytes
    return {
        "cycles": result.cycles,
        "events": result.events,
        "cpu_s": round(seconds, 4),
        "events_per_s": round(result.events / seconds),
        "hbm_bytes_per_cycle": round(moved / result.cycles, 2),
        "hbm_utilisation": round(moved / result.cycles / chip.hbm_bytes_per_cycle, 4),
    }


def main(paths: list[str]) -> None:
    edge, athena = load_chip("athena-edge"), load_chip("athena")
    results = {
        "pipeline, 1 core, fixed memory": measure(pipeline(300_000), edge),
        "pipeline, 64 cores, HBM": measure(pipeline(5_000), athena),
        "stream 1 MiB blocks, 64 cores": measure(stream(MIB, 32, 64), athena),
        "stream 64 KiB blocks, 64 cores": measure(stream(65536, 256, 64), athena),
        "stream 1 MiB blocks, 1 core": measure(stream(MIB, 32, 1), athena),
    }
    for path in paths:
        results[path] = measure(read_program(path, check_constants=False), athena)
    sys.stdout.write(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
