"""A program and a chip as the int64 arrays that the timing kernels run on.

In:  `Program`, `Chip`. Out: `State`, every array in its first state; time 0 has one try for each queue that runs something.
Raises: ProgramError for sections, streams or semaphores that no machine could run; ChipError for memory that is never ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.errors import ProgramError
from athena.isa.fields import (
    CLUSTER_QUEUES,
    COLUMNS,
    CORE_QUEUES,
    CORE_SEMS,
    HBM_SEGMENTS,
    LOOP_DEPTH,
    OP,
    P0,
    P1,
    SEGMENTS,
    WAIT0,
    WAIT1,
    Op,
    Queue,
    decode,
)
from athena.isa.program import Program, Section
from athena.timing import layout as at
from athena.timing.chip_arrays import chip_parameters, host_calls, memory_arrays

Array = NDArray[np.int64]
PAGE_BYTES = 4096
HEAP_EVENTS = 1 << 14
TRACE_ROWS = 1 << 16


@dataclass(slots=True, kw_only=True)
class State:
    """Arrays of a simulation (columns: `athena.timing.layout`), changed by the kernel; the heap and the trace may be replaced."""

    heap: Array
    g: Array
    q: Array
    f: Array
    d: Array
    w: Array
    node_of_word: Array
    aregs: Array
    bases: Array
    loops: Array
    released: Array
    c: Array
    core_at: Array
    runs: Array
    run_aregs: Array
    sections: Array
    segments: Array
    scalars: Array
    sems: Array
    consumers: Array
    counts: Array
    nodes: Array
    instances: Array
    trace: Array
    calls: Array
    servers: Array
    channels: Array
    banks: Array
    routes: Array
    window: Array
    edges: Array

    def arrays(self) -> tuple[Array, ...]:
        """The arrays in the order of the kernel's parameters."""
        return tuple(getattr(self, name) for name in self.__slots__)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTable:
    """Numbers of the chip's queues: kind by kind in tie order, within a kind by unit."""

    kinds: tuple[Queue, ...]
    units: tuple[int, ...]
    first: Mapping[Queue, int]
    count: Mapping[Queue, int]

    def names(self) -> tuple[str, ...]:
        """`core3.LOAD`, `cluster0.CDMA_IN`, `HOST`."""
        return tuple(_queue_name(kind, unit) for kind, unit in zip(self.kinds, self.units, strict=True))


def _queue_name(kind: Queue, unit: int) -> str:
    if kind is Queue.HOST:
        return kind.name
    return f"{'core' if kind in CORE_QUEUES else 'cluster'}{unit}.{kind.name}"


def queue_table(chip: Chip) -> QueueTable:
    """All queues of a chip, whether a program uses them or not, so that numbers depend on the chip only."""
    kinds: list[Queue] = []
    units: list[int] = []
    first, count = {}, {}
    for kind in Queue:
        n = chip.cores if kind in CORE_QUEUES else (chip.clusters if kind in CLUSTER_QUEUES else 1)
        first[kind], count[kind] = len(kinds), n
        kinds += [kind] * n
        units += range(n)
    return QueueTable(kinds=tuple(kinds), units=tuple(units), first=first, count=count)


def build(program: Program, chip: Chip, *, trace: bool) -> State:
    """Everything the kernel needs, ready to start."""
    table = queue_table(chip)
    c, core_at = chip_parameters(chip, trace=trace)
    servers, channels, banks, routes = memory_arrays(chip, c)
    q = _queues(chip, table)
    words, node_of_word, offsets = _words(program)
    runs, run_aregs, sections, segments = _runs(program, table, q, offsets, chip)
    nodes, instances = _nodes(program, runs, node_of_word)
    n = len(q)
    ring = 1 << (at.GRANULES * chip.core.dma_words_in_flight + at.GRANULES).bit_length()
    state = State(
        heap=np.zeros(HEAP_EVENTS + 16 * n, np.int64),
        g=np.zeros(at.G_SIZE, np.int64),
        q=q,
        f=np.zeros((n, chip.core.dma_words_in_flight, at.F_SIZE), np.int64),
        d=np.zeros(at.D_SIZE, np.int64),
        w=words,
        node_of_word=node_of_word,
        aregs=np.zeros((n, 16), np.int64),
        bases=np.zeros((n, SEGMENTS), np.int64),
        loops=np.zeros((n, LOOP_DEPTH * at.LOOP_FIELDS), np.int64),
        released=np.zeros((n, chip.core.fifo_words), np.int64),
        c=c,
        core_at=core_at,
        runs=runs,
        run_aregs=run_aregs,
        sections=sections,
        segments=segments,
        scalars=_scalars(program),
        sems=_semaphores(program, chip),
        consumers=_consumers(q, runs, words, chip, table),
        counts=np.zeros(at.COUNTS, np.int64),
        nodes=nodes,
        instances=instances,
        trace=np.zeros((TRACE_ROWS if trace else 0, 7), np.int64),
        calls=host_calls(program, chip),
        servers=servers,
        channels=channels,
        banks=banks,
        routes=routes,
        window=np.zeros((n, ring, at.W_SIZE), np.int64),
        edges=np.zeros((max(1, int(c[at.C_EDGES])), at.E_SIZE), np.int64),
    )
    return state


def _queues(chip: Chip, table: QueueTable) -> Array:
    q = np.zeros((len(table.kinds), at.Q_SIZE), np.int64)
    q[:, at.KIND] = table.kinds
    q[:, at.UNIT] = table.units
    q[:, at.TRY_AT] = -1
    physical = np.array(chip.active_cores, np.int64)
    longest = chip.mesh.rows + chip.mesh.cols
    delay = chip.hbm.latency_cycles + 2 * longest * chip.noc.hop_cycles + 128
    for kind in Queue:
        rows = slice(table.first[kind], table.first[kind] + table.count[kind])
        port = chip.cluster.dma_bytes_per_cycle
        if kind in CORE_QUEUES:
            q[rows, at.CLUSTER] = physical // chip.cluster.cores
            q[rows, at.SLOT] = physical % chip.cluster.cores
            q[rows, at.SEMS] = np.arange(chip.cores) * CORE_SEMS
            port = chip.core.load_bytes_per_cycle if kind is Queue.LOAD else chip.core.store_bytes_per_cycle
        elif kind in CLUSTER_QUEUES:
            q[rows, at.CLUSTER] = np.arange(chip.clusters)
            q[rows, at.SEMS] = (chip.cores + np.arange(chip.clusters)) * CORE_SEMS
        else:
            q[rows, at.SEMS] = (chip.cores + chip.clusters) * CORE_SEMS
        q[rows, at.WIN_LIMIT] = port * delay
    return q


def _words(program: Program) -> tuple[Array, Array, list[int]]:
    offsets = [0]
    for stream in program.streams:
        offsets.append(offsets[-1] + len(stream.words))
    words = np.zeros((max(1, offsets[-1]), COLUMNS), np.int64)
    nodes = np.full(max(1, offsets[-1]), -1, np.int64)
    for i, stream in enumerate(program.streams):
        words[offsets[i] : offsets[i + 1]] = decode(stream.words)
        nodes[offsets[i] : offsets[i + 1]] = stream.nodes
    return words, nodes, offsets


def _runs(
    program: Program, table: QueueTable, q: Array, offsets: list[int], chip: Chip
) -> tuple[Array, Array, Array, Array]:
    per_queue: list[list[tuple[int, ...]]] = [[] for _ in range(len(q))]
    aregs: dict[tuple[tuple[int, int], ...], int] = {}
    for number, section in enumerate(program.sections):
        _section(program, section, number, table, per_queue, aregs, offsets)
    rows: list[tuple[int, ...]] = []
    for x, entries in enumerate(per_queue):
        q[x, at.RUN], q[x, at.RUN_END] = len(rows), len(rows) + len(entries)
        rows += entries
    runs = np.array(rows, np.int64).reshape(-1, at.RUN_SIZE)
    run_aregs = np.zeros((max(1, len(aregs)), 16), np.int64)
    for values, row in aregs.items():
        for register, value in values:
            if register:
                run_aregs[row, register] = value
    return runs, run_aregs, *_segments(program)


def _section(
    program: Program,
    section: Section,
    number: int,
    table: QueueTable,
    per_queue: list[list[tuple[int, ...]]],
    aregs: dict[tuple[tuple[int, int], ...], int],
    offsets: list[int],
) -> None:  # fmt: skip
    where = f"program '{program.name}': section {number}"
    seen: set[int] = set()
    if section.repeat < 1:
        raise ProgramError(f"repeat is {section.repeat}; at least 1 is allowed", where=where)
    for run in section.runs:
        if not 0 <= run.stream < len(program.streams) or len(program.streams[run.stream].words) == 0:
            raise ProgramError(f"a run names stream {run.stream}, which is absent or empty", where=where)
        _check_aregs(run.aregs, where)
        row = aregs.setdefault(run.aregs, len(aregs))
        start, end = offsets[run.stream], offsets[run.stream + 1]
        entry = (start, end - start, number, section.repeat, row, run.stream)
        units = run.units or range(table.count[run.kind])
        for unit in units:
            if not 0 <= unit < table.count[run.kind]:
                raise ProgramError(
                    f"a run names {run.kind.name} queue {unit}; the chip has {table.count[run.kind]}", where=where
                )
            x = table.first[run.kind] + unit
            if x in seen:
                raise ProgramError(f"two runs for queue {_queue_name(run.kind, unit)}", where=where)
            seen.add(x)
            per_queue[x].append(entry)


def _check_aregs(aregs: tuple[tuple[int, int], ...], where: str) -> None:
    for register, value in aregs:
        if not 0 <= register < 16 or not -(1 << 47) <= value < 1 << 47:
            raise ProgramError(f"initial areg {register} = {value} does not fit", where=where)


def _segments(program: Program) -> tuple[Array, Array]:
    """Section bases and strides [sections, 32]; first and last+1 byte of each segment [2, 16]."""
    segments = np.zeros((2, SEGMENTS), np.int64)
    base = 0
    for segment in HBM_SEGMENTS:
        size = program.segment_bytes[segment] if segment < len(program.segment_bytes) else 0
        segments[0, segment], segments[1, segment] = base, base + size
        base += -(-size // PAGE_BYTES) * PAGE_BYTES
    sections = np.zeros((len(program.sections), 2 * SEGMENTS), np.int64)
    hbm = list(HBM_SEGMENTS)
    for i, section in enumerate(program.sections):
        sections[i, hbm] = segments[0, hbm] + np.array(section.seg_base, np.int64)[hbm]
        sections[i, [SEGMENTS + s for s in hbm]] = np.array(section.seg_stride, np.int64)[hbm]
    return sections, segments


def _nodes(program: Program, runs: Array, node_of_word: Array) -> tuple[Array, Array]:
    """The node table, a last row for words of no node, and room for the interval of every repeat of every node."""
    count = max(len(program.nodes), int(node_of_word.max(initial=-1)) + 1)
    repeats = np.ones(count + 1, np.int64)
    for start, words, _, repeat, *_ in {tuple(row) for row in runs.tolist()}:
        used = np.unique(node_of_word[start : start + words])
        repeats[used] = np.maximum(repeats[used], repeat)
    nodes = np.zeros((count + 1, at.NODE_SIZE), np.int64)
    nodes[:, at.NODE_GROUP] = -(-repeats // at.INSTANCES_LIMIT)
    places = -(-repeats // nodes[:, at.NODE_GROUP])
    nodes[:, at.NODE_BASE] = np.concatenate([[0], np.cumsum(places)[:-1]])
    instances = np.zeros((int(places.sum()), 2), np.int64)
    instances[:, 0] = np.iinfo(np.int64).max
    return nodes, instances


def _scalars(program: Program) -> Array:
    scalars = np.zeros(16, np.int64)
    scalars[: len(program.scalars)] = program.scalars[:16]
    return scalars


def _semaphores(program: Program, chip: Chip) -> Array:
    cores, clusters = chip.cores, chip.clusters
    sems = np.zeros((cores + clusters + 1, CORE_SEMS), np.int64)
    for rows, values in (
        (slice(0, cores), program.core_sems),
        (slice(cores, cores + clusters), program.cluster_sems),
        (slice(cores + clusters, None), program.chip_sems),
    ):
        for sem, value in values.items():
            if not 0 <= sem < CORE_SEMS or not 0 <= value <= 255:
                raise ProgramError(
                    f"initial semaphore {sem} = {value}; 0–31 and 0–255 are allowed", where=f"program '{program.name}'"
                )
            sems[rows, sem] = value
    return sems.reshape(-1)


def _waited(words: Array) -> frozenset[int]:
    """Semaphores that a stream waits for."""
    sems: set[int] = set()
    for column in (WAIT0, WAIT1):
        sems.update((words[words[:, column + 1] > 0, column] & 31).tolist())
    sync = words[words[:, OP] == Op.SYNC]
    for column in (P0, P1):
        sems.update((sync[(sync[:, column] >> 8 & 255) > 0, column] & 31).tolist())
    return frozenset(sems)


def _consumers(q: Array, runs: Array, words: Array, chip: Chip, table: QueueTable) -> Array:
    """The one queue that waits for each semaphore, -1 for none."""
    consumers = np.full((chip.cores + chip.clusters + 1) * CORE_SEMS, -1, np.int64)
    cache: dict[tuple[int, int], frozenset[int]] = {}
    for x in range(len(q)):
        for run in runs[q[x, at.RUN] : q[x, at.RUN_END]]:
            key = (int(run[at.RUN_WORD0]), int(run[at.RUN_WORDS]))
            if key not in cache:
                cache[key] = _waited(words[key[0] : key[0] + key[1]])
            for sem in cache[key]:
                target = int(q[x, at.SEMS]) + sem
                other = int(consumers[target])
                if other >= 0 and other != x:
                    names = table.names()
                    raise ProgramError(
                        f"semaphore {sem} is waited for by {names[other]} and {names[x]}; one consumer is allowed",
                        where=names[x],
                    )
                consumers[target] = x
    return consumers

