"""Cocotb bench of the decoder of LOAD: counts after clips, addresses, empty words, bank ports of
random COPY words.
"""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Timer

from athena.isa.builder import Clip, StreamBuilder, Wait, hbm, l1
from athena.isa.fields import AREGS, SCALARS, Seg
from rtl_sim.package import BOUND_BITS, COUNT_BITS
from rtl_sim.tb.pack import pack_lanes, unpack_lanes

WRAP = 1 << 48
MEMORY_BYTES = 1 << 20
L1_BYTES, BANKS = 32768, 16
COUNTS_AT = 5 * 48 + 2 * BOUND_BITS  # above five addresses and VEC's two bounds


@cocotb.test()
async def random_copies(dut: Any) -> None:
    rng = np.random.default_rng(9)
    bases = [int(x) for x in rng.integers(0, MEMORY_BYTES // 2, 8)]
    dut.seg_i.value = pack_lanes(bases, 48)
    dut.memory_bytes_i.value = MEMORY_BYTES
    seen = {"bad": 0, "good": 0, "empty": 0}
    for _ in range(400):
        areg = [0, *(int(x) for x in rng.integers(-2000, 9000, AREGS - 1))]
        scalars = [int(x) for x in rng.integers(-50, 50, SCALARS)]
        n = [int(x) for x in rng.integers(0, 12, 3)]
        clips = [
            Clip(int(rng.integers(-3000, 3000)), int(rng.integers(16)), int(rng.integers(16)))
            if rng.integers(3) == 0
            else None
            for _ in range(3)
        ]
        a, d = int(rng.integers(16)), int(rng.integers(16))
        src = hbm(
            Seg(int(rng.integers(8))),
            int(rng.integers(0, 1 << 19)),
            stride=int(rng.integers(0, 999)),
            areg=a,
        )
        dst = l1(int(rng.integers(0, L1_BYTES)), stride=int(rng.integers(0, 999)), areg=d)
        blocks = (int(rng.integers(-2000, 2000)), int(rng.integers(-2000, 2000)))
        builder = StreamBuilder()
        builder.load(
            src,
            dst,
            rows=n[1],
            row_bytes=n[2],
            blocks=n[0],
            block_strides=blocks,
            clips=(clips[0], clips[1], clips[2]),
            waits=[Wait(3, 4)],
        )
        dut.word_i.value = int.from_bytes(builder.stream().words.tobytes(), "little")
        dut.areg_i.value = pack_lanes(areg, 48)
        dut.scalars_i.value = pack_lanes(scalars, 32)
        await Timer(1, "ns")
        counts = [
            x
            if clip is None
            else min(x, max(0, clip.limit + scalars[clip.scalar] - areg[clip.areg]))
            for x, clip in zip(n, clips, strict=True)
        ]
        first = (bases[src.seg] + areg[a] + src.imm, areg[d] + dst.imm)
        uop = int(dut.uop_o.value)
        assert unpack_lanes(uop >> COUNTS_AT, COUNT_BITS, 3) == counts
        addresses = [x % WRAP for x in unpack_lanes(uop, 48, 5)]
        assert (addresses[0], addresses[3]) == (first[0] % WRAP, first[1] % WRAP)
        assert (dut.empty_o.value == 1) == (0 in counts)
        assert dut.legal_o.value == 1
        assert int(dut.waits_o.value) == 3 | 4 << 8
        if 0 in counts:
            seen["empty"] += 1
            assert int(dut.ports_o.value) == 0
            assert dut.bad_range_o.value == 0
            continue
        spans = [
            (
                at + min(0, (counts[0] - 1) * step),
                at + max(0, (counts[0] - 1) * step) + (counts[1] - 1) * stride + counts[2],
            )
            for at, step, stride in zip(first, blocks, (src.stride, dst.stride), strict=True)
        ]
        limits = (MEMORY_BYTES, L1_BYTES)
        bad = any(low < 0 or high > limit for (low, high), limit in zip(spans, limits, strict=True))
        assert (dut.bad_range_o.value == 1) == bad
        seen["bad" if bad else "good"] += 1
        if not bad:
            bank = L1_BYTES // BANKS
            banks = sum(1 << i for i in range(spans[1][0] // bank, (spans[1][1] - 1) // bank + 1))
            assert int(dut.ports_o.value) == banks << 4  # l1_wr, above two ports of two ACC regions
    assert min(seen.values()) > 20
