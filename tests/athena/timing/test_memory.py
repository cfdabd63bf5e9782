"""Many cores, contended memory: bounds, ceilings, channels, refresh, L2, multicast, barriers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from athena.chip.load import load_chip
from athena.errors import ChipError, FaultError
from athena.isa.builder import StreamBuilder, Wait, acc, hbm, l1, l2, self_sem
from athena.isa.fields import Dt, Queue, Seg, Sig, signal
from athena.timing import layout as at
from athena.timing import simulate
from athena.timing.chip_arrays import chip_parameters
from tests.athena.timing.programs import program

ATHENA = load_chip("athena")
MIB = 1 << 20


def reader(rows, row_bytes, stride, count, *, split=True, seg=Seg.WEIGHT):
    """Every core loads `count` blocks from its own part of a segment."""
    builder = StreamBuilder()
    step = rows * stride
    builder.seta(1, 0, mult=count * step if split else 0, scalar=14)
    with builder.loop(count, (1, step)):
        builder.load(
            hbm(seg, 0, stride=stride, areg=1),
            l1(0, stride=row_bytes),
            rows=rows,
            row_bytes=row_bytes,
        )
    builder.end()
    return builder


def bandwidth(result):
    """Main-memory bytes a cycle."""
    return (result.counts.hbm_read_bytes + result.counts.hbm_write_bytes) / result.cycles


def big(*sections, **fields):
    return program(*sections, segment_bytes=1 << 36, **fields)


@pytest.mark.parametrize(
    ("rows", "row_bytes", "stride", "count"),
    [(1, MIB, MIB, 16), (1, 65536, 65536, 128), (64, 4096, 8192, 32), (128, 512, 512, 128)],
    ids=["1MiB", "64KiB", "strided-rows", "small-rows"],
)
def test_all_cores_stream_at_88_to_93_percent_of_peak(rows, row_bytes, stride, count):
    result = simulate(big([(Queue.LOAD, reader(rows, row_bytes, stride, count))]), ATHENA)
    share = bandwidth(result) / ATHENA.hbm_bytes_per_cycle
    assert 0.88 <= share <= 0.93
    assert result.hbm_busy_fraction == pytest.approx(share, rel=0.01)


@pytest.mark.parametrize("cores", [1, 4, 64])
def test_refresh_free_memory_without_misses_streams_at_its_bound(cores):
    ideal = load_chip(
        ATHENA, overrides={"hbm.refresh_interval_ns": 0, "hbm.refresh_ns": 0, "hbm.row_miss_ns": 0}
    )
    result = simulate(big([(Queue.LOAD, reader(1, MIB, MIB, 16), range(cores))]), ideal)
    port, shared = ATHENA.core.load_bytes_per_cycle, ATHENA.noc.cluster_port_bytes_per_cycle
    bound = min(cores * port, -(-cores // 4) * shared, ATHENA.hbm_bytes_per_cycle)
    assert 0.97 * bound <= bandwidth(result) <= bound


def test_one_core_is_limited_by_its_port():
    result = simulate(big([(Queue.LOAD, reader(1, MIB, MIB, 16), (5,))]), ATHENA)
    assert 0.95 <= bandwidth(result) / ATHENA.core.load_bytes_per_cycle <= 1


def test_an_unloaded_read_takes_latency_hops_and_its_beats():
    latency = {}
    for core in (0, 9 * 4):  # a corner, and a cluster in the middle of an edge column away
        builder = StreamBuilder()
        builder.load(hbm(Seg.WEIGHT, 4096), l1(0), rows=1, row_bytes=64)
        builder.end()
        chip = load_chip(ATHENA, overrides={"hbm.refresh_interval_ns": 0, "hbm.refresh_ns": 0})
        result = simulate(big([(Queue.LOAD, builder, (core,))]), chip, trace=True)
        latency[core] = int(result.trace[0, 4] - result.trace[0, 3])
        assert result.counts.noc_byte_hops % 64 == 0
        hops = result.counts.noc_byte_hops // 64
        transfer = (
            64 / (chip.hbm_bytes_per_cycle / 64) + chip.hbm.row_miss_ns * chip.clock_hz * 1e-9
        )
        expected = chip.hbm.latency_cycles + hops * chip.noc.hop_cycles + transfer
        assert latency[core] == pytest.approx(expected, abs=2)
    assert latency[0] != latency[36]


@st.composite
def mixed(draw):
    """Some cores that load and store blocks of random shape."""
    entries = []
    for kind in (Queue.LOAD, Queue.STORE):
        rows = draw(st.sampled_from([1, 3, 40]))
        row = draw(st.sampled_from([32, 544, 4096, 30000]))
        stride = -(-row // 32) * 32 + draw(st.sampled_from([0, 32, 4096]))
        count = draw(st.integers(1, 12))
        builder = StreamBuilder()
        builder.seta(1, 0, mult=rows * stride * count, scalar=14)
        with builder.loop(count, (1, rows * stride)):
            far, near = (
                hbm(Seg.ACT, 0, stride=stride, areg=1),
                l1(0 if kind is Queue.LOAD else 2 * MIB, stride=row),
            )
            ends = (far, near) if kind is Queue.LOAD else (near, far)
            builder.copy(*ends, rows=rows, row_bytes=row)
        builder.end()
        cores = draw(st.sampled_from([(0,), (7, 30), tuple(range(16)), tuple(range(64))]))
        entries.append((kind, builder, cores))
        entries[-1] = (*entries[-1][:3],)
    named = [sum(rows_of(builder)) * len(cores) for _, builder, cores in entries]
    return big(entries), named, [len(cores) for *_, cores in entries]


def rows_of(builder):
    """Bytes that each execution of the copies of a stream names."""
    words = builder.stream().words
    loop, copy = words[1], words[2]
    yield int(loop["n"][0]) * int(copy["n"][0]) * int(copy["n"][1]) * int(copy["n"][2])


MEMORY = settings(
    max_examples=15, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
)


@MEMORY
@given(case=mixed())
def test_time_is_above_the_roofline_and_bytes_are_those_that_the_program_names(case):
    prog, (read, written), (readers, writers) = case
    result = simulate(prog, ATHENA)
    assert (result.counts.hbm_read_bytes, result.counts.hbm_write_bytes) == (read, written)
    assert (result.counts.l1_write_bytes, result.counts.l1_read_bytes) == (read, written)
    bounds = (
        (read + written) / ATHENA.hbm_bytes_per_cycle,
        read / readers / ATHENA.core.load_bytes_per_cycle,
        written / writers / ATHENA.core.store_bytes_per_cycle,
    )
    assert result.cycles >= max(bounds) + ATHENA.hbm.latency_cycles


@MEMORY
@given(case=mixed())
def test_twice_the_bandwidth_or_clock_is_never_slower(case):
    prog, *_ = case
    base = simulate(prog, ATHENA)
    wide = load_chip(ATHENA, overrides={"hbm.bandwidth_gbytes_per_s": 3600})
    assert simulate(prog, wide).cycles <= 1.01 * base.cycles
    fast = load_chip(ATHENA, overrides={"clock_hz": 2 * ATHENA.clock_hz})
    assert simulate(prog, fast).seconds <= 1.01 * base.seconds


@MEMORY
@given(case=mixed())
def test_contended_executions_are_deterministic(case):
    first, second = (simulate(case[0], ATHENA, trace=True) for _ in range(2))
    assert np.array_equal(first.trace, second.trace)
    order = [(row[3], row[0]) for row in first.trace.tolist()]
    assert order == sorted(order)


def memory_of(chip):
    """An engine memory with the chip's parameters, for calls of single kernels."""
    m = np.zeros(at.FIXED_END + 4096, np.int64)
    m[: at.C_END] = chip_parameters(chip, trace=False)
    return m


@pytest.mark.parametrize("channels", [1, 2, 48, 64, 80])
def test_every_aligned_group_of_chunks_uses_every_channel_once(channels):
    from athena.timing.channel_kernel import channel_of

    m = memory_of(load_chip(ATHENA, overrides={"hbm.channels": channels}))
    for group in (0, 1, 5, 1000, 123_456_789):
        used = [channel_of(m, group * channels + lane) for lane in range(channels)]
        assert sorted(used) == list(range(channels))


@pytest.mark.parametrize("stride", [1 << k for k in range(6, 16)])
def test_rows_at_a_power_of_two_apart_are_spread_over_the_channels(stride):
    from athena.timing.channel_kernel import channel_of

    m = memory_of(ATHENA)
    used = {channel_of(m, k * stride) for k in range(64)}
    assert len(used) >= 16


@given(start=st.integers(0, 10_000), work=st.integers(1, 6000), phase=st.integers(0, 900))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_refresh_takes_its_windows_out_of_the_channels_time(start, work, phase):
    from athena.timing.channel_kernel import after_refresh

    every, blocked, channel = 1000, 130, at.FIXED_END
    m = memory_of(ATHENA)
    m[at.C_REFRESH_EVERY], m[at.C_REFRESH] = every, blocked
    m[channel + at.CH_REFRESH] = phase
    time, left = start, work
    while left:  # tick by tick
        left -= (time - phase) % every >= blocked
        time += 1
    assert after_refresh(m, channel, start, work) == time
    assert after_refresh(m, channel, start, work) == time  # with the interval remembered


def test_memory_that_always_refreshes_is_refused():
    chip = load_chip(ATHENA, overrides={"hbm.refresh_ns": 3890})
    with pytest.raises(ChipError, match="refresh"):
        simulate(big([(Queue.LOAD, reader(1, 64, 64, 1))]), chip)


def test_loads_from_l2_touch_neither_main_memory_nor_mesh():
    builder = StreamBuilder()
    with builder.loop(16):
        builder.load(l2(0), l1(0), rows=1, row_bytes=MIB)
    builder.end()
    result = simulate(big([(Queue.LOAD, builder, (0, 1, 2, 3))]), ATHENA)
    assert result.counts.l2_read_bytes == result.counts.l1_write_bytes == 64 * MIB
    assert result.counts.hbm_read_bytes == result.counts.noc_byte_hops == 0
    port = ATHENA.core.load_bytes_per_cycle
    assert 64 * MIB / result.cycles == pytest.approx(4 * port, rel=0.02)  # 4 ports = 16 banks


def test_l2_banks_limit_the_loads_of_a_cluster():
    chip = load_chip(ATHENA, overrides={"cluster.l2_banks": 4})
    builder = StreamBuilder()
    with builder.loop(16):
        builder.load(l2(0), l1(0), rows=1, row_bytes=MIB)
    builder.end()
    result = simulate(big([(Queue.LOAD, builder, (0, 1, 2, 3))]), chip)
    assert 64 * MIB / result.cycles == pytest.approx(4 * 64, rel=0.02)


def prefetch_chain(rounds, buffers):
    """CDMA brings blocks to L2, the four cores of every cluster load them, MATRIX eats them;
    credits run back.
    """
    dma, load, matrix = StreamBuilder(), StreamBuilder(), StreamBuilder()
    block = 64 * 1024
    cores = signal(Sig.CORES_OF_CLUSTER, 0, 15)
    with dma.loop(rounds, (1, block)):
        dma.copy(
            hbm(Seg.WEIGHT, 0, areg=1),
            l2(0),
            rows=1,
            row_bytes=block,
            waits=[Wait(0, 4)],
            signals=[cores],
        )
    dma.end()
    done = signal(Sig.CDMA, 0)
    with load.loop(rounds):
        load.load(
            l2(0),
            l1(0),
            rows=1,
            row_bytes=block,
            waits=[Wait(0), Wait(1)],
            signals=[self_sem(2), done],
        )
    load.end()
    with matrix.loop(rounds):
        matrix.matmul(
            l1(0, stride=512, dt=Dt.BF16),
            l1(MIB, stride=128, dt=Dt.BF16),
            acc(0, stride=256),
            m=64,
            n=64,
            k=256,
            waits=[Wait(2)],
            signals=[self_sem(1)],
        )
    matrix.end()
    return big(
        [(Queue.CDMA_IN, dma), (Queue.LOAD, load), (Queue.MATRIX, matrix)],
        sems={1: 2},
        cluster_sems={0: 4 * buffers},
    )


def test_a_chain_through_l2_counts_each_byte_where_it_passes():
    result = simulate(prefetch_chain(20, 2), ATHENA)
    block, clusters = 64 * 1024, ATHENA.clusters
    assert result.counts.hbm_read_bytes == result.counts.l2_write_bytes == 20 * block * clusters
    assert result.counts.l2_read_bytes == result.counts.l1_write_bytes == 20 * block * 64
    assert result.counts.macs["bf16"] == 20 * 64 * 64 * 64 * 256
    assert result.counts.padded_macs["bf16"] == 0


def test_more_credits_hide_more_latency():
    cycles = [simulate(prefetch_chain(40, buffers), ATHENA).cycles for buffers in (1, 2, 4)]
    assert cycles[0] > 1.2 * cycles[1] >= 1.2 * cycles[2]


def test_a_barrier_holds_the_fastest_core_back_until_the_slowest_arrives():
    """Every core signals cluster 0's DMA, which counts them and releases all by ALL_CORES."""
    arrive = signal(Sig.CDMA_MASK, 3, 1)
    core = StreamBuilder()
    core.seta(1, 1)  # mask: cluster 0
    core.load(hbm(Seg.ACT, 0), l1(0), rows=1, row_bytes=64)
    core.sync(signals=[arrive])
    core.sync(waits=[Wait(4)])
    core.end()
    slow = StreamBuilder()
    slow.seta(1, 1)
    slow.load(hbm(Seg.ACT, 0), l1(0), rows=1, row_bytes=4 * MIB, signals=[self_sem(5)])
    slow.sync(waits=[Wait(5)], signals=[arrive])
    slow.sync(waits=[Wait(4)])
    slow.end()
    gate = StreamBuilder()
    gate.sync(waits=[Wait(3, 64)], signals=[signal(Sig.ALL_CORES, 4)])
    gate.end()
    others = tuple(range(1, 64))
    result = simulate(
        big([(Queue.LOAD, core, others), (Queue.LOAD, slow, (0,)), (Queue.CDMA_IN, gate, (0,))]),
        ATHENA,
        trace=True,
    )
    names = result.queue_names
    trace = result.trace.tolist()
    opened = next(row[3] for row in trace if names[row[0]] == "cluster0.CDMA_IN")
    passed = {
        names[row[0]]: row[3] for row in trace if row[2] == 3 and names[row[0]].endswith("LOAD")
    }
    assert opened > 4 * MIB / ATHENA.core.load_bytes_per_cycle
    noc = ATHENA.noc
    for name, time in passed.items():
        cluster = int(name[4:].partition(".")[0]) // 4
        assert (
            time == opened + 1 + noc.signal_cycles + (cluster // 4 + cluster % 4) * noc.hop_cycles
        )


def test_disabled_cores_are_skipped_and_keep_their_clusters_numbering():
    chip = load_chip(ATHENA, overrides={"disabled_cores": [0, 5, 6, 63]})
    gate, core = StreamBuilder(), StreamBuilder()
    gate.copy(
        hbm(Seg.ACT, 0), l2(0), rows=1, row_bytes=64, signals=[signal(Sig.CORES_OF_CLUSTER, 4, 15)]
    )
    gate.end()
    core.sync(waits=[Wait(4)])
    core.end()
    result = simulate(big([(Queue.CDMA_IN, gate), (Queue.LOAD, core)]), chip)
    assert result.units[Queue.LOAD].units == 60
    assert result.counts.words_executed == 2 * 16 + 2 * 60


@pytest.mark.parametrize("mask", [1, 1 << 15, 0b1010, 0xFFFF])
def test_multicast_reads_once_and_writes_every_slice(mask):
    builder = StreamBuilder()
    builder.seta(2, mask)
    code = signal(Sig.CORES_MASK, 4, 2)
    builder.mcast(hbm(Seg.WEIGHT, 0), l2(0), rows=1, row_bytes=MIB, mask_areg=2, signals=[code])
    builder.end()
    core = StreamBuilder()
    core.sync(waits=[Wait(4)])
    core.end()
    clusters = [k for k in range(16) if mask >> k & 1]
    cores = tuple(4 * k + j for k in clusters for j in range(4))
    result = simulate(big([(Queue.CDMA_IN, builder, (0,)), (Queue.LOAD, core, cores)]), ATHENA)
    assert result.counts.hbm_read_bytes == MIB
    assert result.counts.l2_write_bytes == MIB * len(clusters)
    unicast = 0
    for k in clusters:
        single = StreamBuilder()
        single.copy(hbm(Seg.WEIGHT, 0), l2(0), rows=1, row_bytes=MIB)
        single.end()
        unicast += simulate(big([(Queue.CDMA_IN, single, (k,))]), ATHENA).counts.noc_byte_hops
    if len(clusters) == 1:
        assert result.counts.noc_byte_hops == unicast
    else:
        assert 0 < result.counts.noc_byte_hops < unicast
    if mask == 0xFFFF:  # each of the 8 edges' eighth reaches 15 other routers over one link each
        assert result.counts.noc_byte_hops == MIB * 15


def test_gathered_rows_are_counted_and_spread():
    builder = StreamBuilder()
    builder.seta(1, 0, mult=0, scalar=14)
    with builder.loop(32):
        builder.copyx(
            hbm(Seg.WEIGHT, 0),
            l1(0, stride=512),
            l1(2 * MIB),
            limit=50_000,
            rows=256,
            row_bytes=512,
            pitch=512,
        )
    builder.end()
    result = simulate(big([(Queue.LOAD, builder)]), ATHENA)
    assert result.counts.hbm_read_bytes == 64 * 32 * 256 * 512
    assert result.counts.l1_read_bytes == 64 * 32 * 256 * 4
    assert 0.6 <= bandwidth(result) / ATHENA.hbm_bytes_per_cycle <= 0.93


def test_reads_and_writes_together_lose_time_to_turnarounds():
    load, store = reader(1, 65536, 65536, 64), StreamBuilder()
    store.seta(1, 0, mult=64 * 65536, scalar=14)
    with store.loop(64, (1, 65536)):
        store.store(l1(0), hbm(Seg.ACT, 0, areg=1), rows=1, row_bytes=65536)
    store.end()
    both = simulate(big([(Queue.LOAD, load), (Queue.STORE, store)]), ATHENA)
    alone = simulate(big([(Queue.LOAD, load)]), ATHENA)
    assert 0.75 * bandwidth(alone) < bandwidth(both) < 0.98 * bandwidth(alone)


def test_words_of_a_queue_complete_in_order_whatever_memory_they_read():
    builder = StreamBuilder()
    with builder.loop(6, (1, MIB)):
        builder.load(hbm(Seg.WEIGHT, 0, areg=1), l1(0), rows=1, row_bytes=100_000)
        builder.load(l2(0), l1(MIB), rows=1, row_bytes=64)
        builder.fill(l1(2 * MIB), rows=1, row_bytes=64)
        builder.load(l2(0), l1(3 * MIB), rows=0, row_bytes=64)
    builder.end()
    result = simulate(big([(Queue.LOAD, builder, (3,))]), ATHENA, trace=True)
    words = [row for row in result.trace.tolist() if row[2] in range(1, 5)]
    assert len(words) == 24
    assert [row[4] for row in words] == sorted(row[4] for row in words)
    flying = [sum(other[4] > row[3] for other in words[:i]) for i, row in enumerate(words)]
    assert max(flying) == ATHENA.core.dma_words_in_flight - 1


@pytest.mark.parametrize(("scalar", "kind"), [(14, Queue.LOAD), (15, Queue.CDMA_IN)])
def test_cores_and_clusters_find_their_own_part_by_number(scalar, kind):
    units = 64 if kind is Queue.LOAD else 16
    builder = StreamBuilder()
    builder.seta(1, 0, mult=64, scalar=scalar)
    near = l1(0) if kind is Queue.LOAD else l2(0)
    builder.copy(hbm(Seg.INPUT, 0, areg=1), near, rows=1, row_bytes=64)
    builder.end()
    exact = program([(kind, builder)], segment_bytes=64 * units)
    assert simulate(exact, ATHENA).counts.hbm_read_bytes == 64 * units
    with pytest.raises(FaultError, match=f"{units - 1}.{kind.name}"):
        simulate(program([(kind, builder)], segment_bytes=64 * units - 1), ATHENA)


@pytest.mark.parametrize("key", ["cluster.l2_banks", "noc.cluster_port_bytes_per_cycle"])
def test_a_multicast_is_as_slow_as_its_slowest_receiver(key):
    """Loads from L2 share the banks with what arrives; 64 bytes a cycle are less than HBM gives."""
    chip = load_chip(ATHENA, overrides={key: 1 if key.endswith("banks") else 64})
    builder = StreamBuilder()
    builder.seta(2, 0b110)
    builder.mcast(hbm(Seg.WEIGHT, 0), l2(0), rows=1, row_bytes=MIB, mask_areg=2)
    builder.end()
    alone = simulate(big([(Queue.CDMA_IN, builder, (0,))]), chip)
    assert alone.cycles == pytest.approx(MIB / 64, rel=0.1)
    other = StreamBuilder()
    other.load(hbm(Seg.ACT, 0), l1(0), rows=1, row_bytes=MIB)
    other.load(l2(0), l1(0), rows=1, row_bytes=MIB)
    other.end()
    for core, slows in ((0, False), (4, True)):  # cluster 0 receives nothing, cluster 1 does
        both = simulate(
            big([(Queue.CDMA_IN, builder, (0,)), (Queue.LOAD, other, (core,))]), chip, trace=True
        )
        mcast = next(
            row
            for row in both.trace.tolist()
            if "CDMA_IN" in both.queue_names[row[0]] and row[2] == 1
        )
        assert (mcast[4] > 1.15 * alone.cycles) == slows
