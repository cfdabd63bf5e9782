"""Speed of the functional machine's MATMUL and VEC words, one JSON line a case.

`python benchmarks/functional_speed.py`
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from athena.chip import load_chip  # noqa: E402
from athena.functional import Machine  # noqa: E402
from athena.isa.builder import Mask, Operand, Side, StreamBuilder, Vec, acc, imm, l1  # noqa: E402
from athena.isa.fields import Alu, Dt, Kind, Lut, Queue, Red  # noqa: E402
from athena.isa.program import Program, QueueRun, Section  # noqa: E402

CHIP = load_chip("athena")
HALF = CHIP.core.l1_bytes // 2


def seconds(builder: StreamBuilder, queue: Queue, repeat: int, fill: float) -> float:
    """CPU seconds of one pass of the stream, after one run to compile."""
    builder.end()
    section = Section(name="s", runs=(QueueRun(kind=queue, stream=0, units=(0,)),), repeat=repeat)
    program = Program(
        name="speed",
        chip=CHIP.name,
        chip_hash="",
        precision="bf16",
        streams=(builder.stream(),),
        sections=(section,),
        segment_bytes=(0,) * 8,
    )
    machine = Machine(program, CHIP)
    machine.l1(0).view(np.uint16)[:] = np.float32(fill).view(np.uint32) >> 16
    machine.run({})
    start = time.process_time()
    machine.run({})
    return (time.process_time() - start) / repeat


def gemm(m: int, n: int, k: int, dt: Dt, *, trans: bool = False) -> None:
    """One MATMUL word."""
    size = {Dt.BF16: 2, Dt.I8: 1, Dt.F32: 4}[dt]
    d = acc(0, stride=4 * n, dt=Dt.I32 if dt is Dt.I8 else Dt.F32)
    builder = StreamBuilder()
    stored = k if trans else n
    b = l1(HALF, stride=size * stored, dt=dt)
    builder.matmul(l1(0, stride=size * k, dt=dt), b, d, m=m, n=n, k=k, b_trans=trans)
    repeat = max(1, int(4e8 / (m * n * k)))
    took = seconds(builder, Queue.MATRIX, repeat, 1.25)
    name = f"matmul {dt.name} {m}x{n}x{k}{' b_trans' if trans else ''}"
    print(json.dumps({"case": name, "gflop_per_s": round(2e-9 * m * n * k / took, 1)}))


def vec(name: str, steps: Vec, rows: int, cols: int, dt: Dt = Dt.F32) -> None:
    """One VEC word."""
    size = {Dt.BF16: 2, Dt.F32: 4}[dt]
    builder = StreamBuilder()
    to = l1(HALF, stride=size * cols, dt=dt)
    builder.vec(l1(0, stride=size * cols, dt=dt), to, steps, rows=rows, cols=cols)
    took = seconds(builder, Queue.VECTOR, max(1, int(3e7 / (rows * cols))), 1.25)
    rate = round(1e-6 * rows * cols / took)
    print(json.dumps({"case": f"vec {name} {dt.name} {rows}x{cols}", "melements_per_s": rate}))


def main() -> None:
    """All cases."""
    gemm(128, 512, 512, Dt.BF16)
    gemm(128, 512, 512, Dt.BF16, trans=True)
    gemm(512, 128, 128, Dt.F32)
    gemm(128, 512, 512, Dt.I8)
    gemm(1, 512, 512, Dt.BF16)
    gemm(1, 512, 512, Dt.BF16, trans=True)
    gemm(17, 129, 129, Dt.BF16)
    full = Side(Kind.FULL, Operand(l1(0).seg, 1 << 20, 4 * 512, Dt.F32))
    vec("add", Vec(alu1=Alu.ADD, b=full), 128, 512)
    vec("mul imm", Vec(alu1=Alu.MUL, b=imm(0.5)), 128, 512, Dt.BF16)
    vec("max", Vec(alu1=Alu.MAX, b=full), 128, 512)
    vec("sum", Vec(red=Red.SUM, red_to=l1(HALF + (1 << 20), stride=4)), 128, 512)
    vec(
        "mask max",
        Vec(mask=Mask(hi=1, hi_slope=1), red=Red.MAX, red_to=l1(HALF + (1 << 20), stride=4)),
        128,
        512,
    )
    for lut in tuple(Lut)[1:17]:
        vec(lut.name.lower(), Vec(lut=lut), 128, 512)
    vec("column", Vec(alu1=Alu.MUL, b=imm(0.5)), 128, 1)


if __name__ == "__main__":
    main()
