"""Memory of one channel: ceilings, order, latencies, cores that share it. The RTL's test bench has
the same controller; `tests/rtl_sim/test_bank_memory.py` compares every cycle.
"""

from __future__ import annotations

import pytest

from athena.chip.load import load_chip
from athena.errors import ChipError
from athena.isa.builder import StreamBuilder, Wait, hbm, l1, l2, self_sem
from athena.isa.fields import Queue, Seg
from athena.timing import simulate
from tests.athena.timing.programs import program

EDGE = load_chip("athena-edge-lpddr5")
MANY = load_chip("athena", overrides={"hbm.channels": 1, "hbm.bandwidth_gbytes_per_s": 25.6})


def big(*sections):
    return program(*sections, segment_bytes=1 << 24)


def stream(count, size, *, write=False, split=0):
    builder = StreamBuilder()
    builder.seta(1, 0, mult=split, scalar=14)
    with builder.loop(count, (1, size)):
        if write:
            builder.store(l1(0), hbm(Seg.ACT, 0, areg=1), rows=1, row_bytes=size)
        else:
            builder.load(hbm(Seg.WEIGHT, 0, areg=1), l1(0), rows=1, row_bytes=size)
    builder.end()
    return builder


def chip_with(**changes):
    return load_chip(EDGE, overrides={f"hbm.{key}": value for key, value in changes.items()})


@pytest.mark.parametrize("write", [False, True])
def test_a_stream_has_the_bus_but_for_refresh(write):
    kind = Queue.STORE if write else Queue.LOAD
    result = simulate(big([(kind, stream(64, 4096, write=write))]), EDGE)
    hbm = EDGE.hbm
    share = 1 - (hbm.refresh_ns + hbm.row_miss_ns) / hbm.refresh_interval_ns
    assert 64 * 4096 / result.cycles == pytest.approx(share * EDGE.hbm_bytes_per_cycle, rel=0.01)
    assert result.hbm_busy_fraction == pytest.approx(share, rel=0.01)


def test_both_ways_take_turns_on_one_bus():
    """A turn each way moves a batch of 2 KiB, 160 cycles of this bus."""
    quiet = chip_with(refresh_ns=0.0, refresh_interval_ns=0.0, row_miss_ns=0.0)
    runs = [(Queue.LOAD, stream(64, 4096)), (Queue.STORE, stream(64, 4096, write=True))]
    result = simulate(big(runs), quiet)
    batch = 2048 / quiet.hbm_bytes_per_cycle
    share = batch / (batch + quiet.hbm.turnaround_ns)
    assert 2 * 64 * 4096 / result.cycles == pytest.approx(
        share * quiet.hbm_bytes_per_cycle, rel=0.01
    )


@pytest.mark.parametrize("latency", [0, 1, 2, 7, 60, 1000, 100_000])
def test_a_chain_of_loads_waits_for_each_answer(latency):
    """Latency and two atoms of 2.5 cycles each time, a row miss halved once: open from then on."""
    builder = StreamBuilder()
    for number in range(10):
        waits = [Wait(0)] if number else []
        builder.load(
            hbm(Seg.WEIGHT, 64 * number), l1(0), rows=1, row_bytes=64, waits=waits,
            signals=[self_sem(0)],
        )  # fmt: skip
    builder.end()
    quiet = chip_with(latency_cycles=latency, refresh_ns=0.0, refresh_interval_ns=0.0)
    trace = simulate(big([(Queue.LOAD, builder)]), quiet, trace=True).trace
    took = (trace[:10, 4] - trace[:10, 3]).tolist()
    # The last of four beats leaves four cycles after issue, and is not back before `latency` more.
    least = max(latency + 4, latency + 6 - 1)
    assert took[1:] == [took[1]] * 9
    assert least <= took[1] <= latency + 7
    assert took[0] == took[1] + quiet.hbm.row_miss_ns // 2


@pytest.mark.parametrize("latency", [10**7, 10**12])
def test_beats_under_way_without_end_are_refused(latency):
    with pytest.raises(ChipError, match="under way"):
        simulate(big([(Queue.LOAD, stream(1, 64))]), chip_with(latency_cycles=latency))


def test_cores_share_one_channel():
    """Together they have the bus, and each gets as much as the others."""
    count, size = 8, 4096
    runs = [(Queue.LOAD, stream(count, size, split=count * size), range(8))]
    result = simulate(big(runs), MANY, trace=True)
    total = 8 * count * size
    assert result.counts.hbm_read_bytes == total
    assert 0.8 <= total / result.cycles / MANY.hbm_bytes_per_cycle <= 1
    ends = [
        result.trace[result.trace[:, 0] == number, 4].max() for number in set(result.trace[:, 0])
    ]
    assert max(ends) < 2.5 * min(end for end in ends if end > 100)


def test_l2_and_main_memory_complete_in_order():
    """A load of L2 behind one of main memory is through before it, and completes with it."""
    builder = StreamBuilder()
    builder.load(hbm(Seg.WEIGHT, 0), l1(0), rows=1, row_bytes=4096)
    builder.load(l2(0), l1(8192), rows=1, row_bytes=64)
    builder.fill(l1(16384), rows=1, row_bytes=64)
    builder.end()
    trace = simulate(big([(Queue.LOAD, builder, (0,))]), MANY, trace=True).trace
    ends = trace[:3, 4].tolist()
    assert ends == sorted(ends)
    assert ends[0] > trace[1, 3] + MANY.cluster.l2_latency_cycles  # L2's would be the first


@pytest.mark.parametrize(
    "changes",
    [
        {"turnaround_ns": 0.0, "row_miss_ns": 1.0, "banks_per_channel": 1},
        {"turnaround_ns": 0.0, "row_miss_ns": 60.0, "banks_per_channel": 5, "latency_cycles": 11},
        {"refresh_interval_ns": 740.0, "refresh_ns": 390.0, "row_miss_ns": 150.0},
    ],
)
def test_memories_that_do_little_else_still_answer(changes):
    """Turns that take nothing, a single bank that both ways want, refreshes that nearly touch."""
    runs = [(Queue.LOAD, stream(8, 1024)), (Queue.STORE, stream(8, 1024, write=True))]
    result = simulate(big(runs), chip_with(**changes), max_events=200_000)
    assert result.counts.hbm_read_bytes == result.counts.hbm_write_bytes == 8 * 1024


def test_refreshes_without_time_between_them_are_refused():
    with pytest.raises(ChipError, match="between refreshes"):
        simulate(
            big([(Queue.LOAD, stream(1, 64))]),
            chip_with(refresh_interval_ns=691.0, refresh_ns=390.0, row_miss_ns=300.0),
        )
