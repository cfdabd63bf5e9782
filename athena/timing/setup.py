"""A program and a chip as the int64 arrays that the timing kernels run on.

In:  `Program`, `Chip`. Out: `State`, every array in its first state; time 0 has one try for each
     queue that runs something.
Raises: ProgramError for sections, streams or semaphores that no machine could run; ChipError for
     memory that is never ready.
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
    SEGMENTS,
    Queue,
    decode,
)
from athena.isa.program import Program, QueueRun, Section
from athena.timing import layout as at
from athena.timing import semaphores
from athena.timing.chip_arrays import (
    chip_parameters,
    core_slots,
    host_calls,
    memory_arrays,
    window_cycles,
)
from athena.timing.rings import controller

Array = NDArray[np.int64]
PAGE_BYTES = 4096
HEAP_EVENTS = 1 << 14
TRACE_ROWS = 1 << 16


@dataclass(slots=True, kw_only=True)
class State:
    """The engine's memory, words, heap and trace; heap and trace are replaced by longer ones when
    they are full.
    """

    m: Array
    w: Array
    heap: Array
    trace: Array

    def table(self, start: int, end: int, width: int) -> Array:
        """The table between the places m[start] and m[end] as rows of `width` (a view)."""
        return self.m[int(self.m[start]) : int(self.m[end])].reshape(-1, width)

    def queues(self) -> Array:
        """The queues' rows."""
        return self.table(at.QUEUES_AT, at.RELEASED_AT, at.Q_SIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTable:
    """Numbers of the chip's queues: kind by kind in tie order, within a kind by unit."""

    kinds: tuple[Queue, ...]
    units: tuple[int, ...]
    first: Mapping[Queue, int]
    count: Mapping[Queue, int]

    def names(self) -> tuple[str, ...]:
        """`core3.LOAD`, `cluster0.CDMA_IN`, `HOST`."""
        return tuple(
            _queue_name(kind, unit) for kind, unit in zip(self.kinds, self.units, strict=True)
        )


def _queue_name(kind: Queue, unit: int) -> str:
    if kind is Queue.HOST:
        return kind.name
    return f"{'core' if kind in CORE_QUEUES else 'cluster'}{unit}.{kind.name}"


def queue_table(chip: Chip) -> QueueTable:
    """All queues of a chip, whether a program uses them or not, so that numbers depend on the chip
    only.
    """
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
    words, offsets = _words(program)
    q = _queues(chip, table)
    runs, order = _runs(program, table, q, offsets)
    nodes, instances = _nodes(words, runs)
    sems = semaphores.first_values(program, chip)
    sems[:, at.S_CONSUMER] = semaphores.consumers(q, runs, order, words, sems, table.names())
    fixed = chip_parameters(chip, trace=trace)
    fixed[at.C_CALLS] = len(program.host_calls)
    fixed[at.C_SCALARS : at.C_SCALARS + at.SCALARS] = _scalars(program)
    fixed[at.C_LOW : at.C_LOW + SEGMENTS], fixed[at.C_HIGH : at.C_HIGH + SEGMENTS] = segment_bounds(
        program
    )
    servers, channels, banks, edges, routes, links = memory_arrays(chip, fixed)
    n = len(q)
    control, rings = controller(chip, q) if fixed[at.C_CONTROL] else (np.zeros(0, np.int64), 0)
    m = _layout(
        fixed,
        {
            at.CORES_AT: core_slots(chip),
            at.QUEUES_AT: q,
            at.RELEASED_AT: n * chip.core.fifo_words,
            at.WINDOWS_AT: n * int(fixed[at.C_RING]) * at.W_SIZE,
            at.RINGS_AT: rings,
            at.SEMS_AT: sems,
            at.RUNS_AT: runs,
            at.ORDER_AT: order,
            at.NODES_AT: nodes,
            at.INSTANCES_AT: instances,
            at.CALLS_AT: host_calls(program, chip),
            at.SERVERS_AT: servers,
            at.CHANNELS_AT: channels,
            at.BANKS_AT: banks,
            at.EDGES_AT: edges,
            at.ROUTES_AT: routes,
            at.LINKS_USED_AT: links,
            at.CONTROL_AT: control,
        },
    )
    state = State(
        m=m,
        w=words,
        heap=np.zeros(HEAP_EVENTS + 16 * n, np.int64),
        trace=np.zeros((TRACE_ROWS if trace else 0, 7), np.int64),
    )
    _resolve(state, int(fixed[at.C_RING]), chip)
    return state


def _layout(fixed: Array, tables: dict[int, Array | int]) -> Array:
    """One array: the fixed places, then the tables (or that many zeros) in order; their places go
    to m[..._AT].
    """
    sizes = [table if isinstance(table, int) else table.size for table in tables.values()]
    m = np.zeros(at.FIXED_END + sum(sizes), np.int64)
    m[: at.C_END] = fixed
    place = at.FIXED_END
    for (name, table), size in zip(tables.items(), sizes, strict=True):
        m[name] = place
        if not isinstance(table, int):
            m[place : place + size] = table.reshape(-1)
        place += size
    return m


def _resolve(state: State, ring: int, chip: Chip) -> None:
    """Turn the tables' row numbers into places in m."""
    m, q = state.m, state.queues()
    numbers = np.arange(len(q))
    q[:, at.NUMBER] = numbers
    q[:, at.RELEASED] = m[at.RELEASED_AT] + numbers * chip.core.fifo_words
    q[:, at.WINDOW] = m[at.WINDOWS_AT] + numbers * ring * at.W_SIZE
    if m[at.C_CONTROL]:
        q[:, at.RING] += m[at.RINGS_AT]
        m[m[at.CONTROL_AT] + at.K_RING :][:2] += m[at.RINGS_AT]
    q[:, at.SEMS] = m[at.SEMS_AT] + q[:, at.SEMS] * at.S_SIZE
    sems = state.table(at.SEMS_AT, at.RUNS_AT, at.S_SIZE)
    waiting = sems[:, at.S_CONSUMER] >= 0
    sems[waiting, at.S_CONSUMER] = m[at.QUEUES_AT] + sems[waiting, at.S_CONSUMER] * at.Q_SIZE
    nodes = state.table(at.NODES_AT, at.INSTANCES_AT, at.NODE_SIZE)
    nodes[:, at.NODE_BASE] = m[at.INSTANCES_AT] + nodes[:, at.NODE_BASE] * at.I_SIZE


def _queues(chip: Chip, table: QueueTable) -> Array:
    q = np.zeros((len(table.kinds), at.Q_SIZE), np.int64)
    q[:, at.KIND] = table.kinds
    q[:, at.UNIT] = table.units
    q[:, at.TRY_AT] = -1
    physical = np.array(chip.active_cores, np.int64)
    delay = window_cycles(chip)
    for kind in Queue:
        rows = slice(table.first[kind], table.first[kind] + table.count[kind])
        port = chip.cluster.dma_bytes_per_cycle
        if kind in CORE_QUEUES:
            q[rows, at.CLUSTER] = physical // chip.cluster.cores
            q[rows, at.SEMS] = np.arange(chip.cores) * CORE_SEMS
            port = (
                chip.core.load_bytes_per_cycle
                if kind is Queue.LOAD
                else chip.core.store_bytes_per_cycle
            )
        elif kind in CLUSTER_QUEUES:
            q[rows, at.CLUSTER] = np.arange(chip.clusters)
            q[rows, at.SEMS] = (chip.cores + np.arange(chip.clusters)) * CORE_SEMS
        else:
            q[rows, at.SEMS] = (chip.cores + chip.clusters) * CORE_SEMS
        q[rows, at.WIN_LIMIT] = port * delay
    return q


def _words(program: Program) -> tuple[Array, list[int]]:
    """All streams, decoded, with the columns of the nodes; and where each stream begins."""
    offsets = [0]
    for stream in program.streams:
        offsets.append(offsets[-1] + len(stream.words))
    words = np.zeros((max(1, offsets[-1]), at.W_COLUMNS), np.int64)
    words[:, at.W_NODE] = -1
    for i, stream in enumerate(program.streams):
        words[offsets[i] : offsets[i + 1], :COLUMNS] = decode(stream.words)
        words[offsets[i] : offsets[i + 1], at.W_NODE] = np.maximum(stream.nodes, -1)
    count = max(len(program.nodes), int(words[:, at.W_NODE].max()) + 1)
    if count > at.NODES_LIMIT:
        raise ProgramError(
            f"a word names node {count - 1}; at most {at.NODES_LIMIT} nodes are allowed",
            where=f"program '{program.name}'",
        )
    words[:, at.W_NODE_ROW] = np.where(words[:, at.W_NODE] < 0, count, words[:, at.W_NODE])
    return words, offsets


def _runs(program: Program, table: QueueTable, q: Array, offsets: list[int]) -> tuple[Array, Array]:
    """A row for every queue run of every section; the numbers of its rows, queue after queue."""
    rows: list[list[int]] = []
    per_queue: list[list[int]] = [[] for _ in range(len(q))]
    low, _ = segment_bounds(program)
    for number, section in enumerate(program.sections):
        where = f"program '{program.name}': section {number}"
        bases = _section_bases(section, low, where)
        seen: set[int] = set()
        for run in section.runs:
            for x in _queues_of(run, table, where):
                if x in seen:
                    raise ProgramError(f"two runs for queue {table.names()[x]}", where=where)
                seen.add(x)
                per_queue[x].append(len(rows))
            start, size = _stream_of(program, run, offsets, where)
            head = [start, size, section.repeat, run.stream]
            rows.append([*head, *_first_aregs(run, where), *bases])
    order: list[int] = []
    for x, numbers in enumerate(per_queue):
        q[x, at.RUN], q[x, at.RUN_END] = len(order), len(order) + len(numbers)
        order += numbers
    return np.array(rows, np.int64).reshape(-1, at.RUN_SIZE), np.array(order, np.int64)


def _section_bases(section: Section, low: Array, where: str) -> list[int]:
    """Sixteen bases of the first repeat, sixteen strides between repeats; 0 for local memories."""
    values = (*section.seg_base, *section.seg_stride, section.repeat)
    if section.repeat < 1 or any(abs(value) > at.ADDRESS_LIMIT for value in values):
        raise ProgramError(
            f"repeat {section.repeat}, or a base or stride, is out of range", where=where
        )
    bases, strides = [0] * SEGMENTS, [0] * SEGMENTS
    for segment in HBM_SEGMENTS:
        bases[segment] = int(low[segment]) + section.seg_base[segment]
        strides[segment] = section.seg_stride[segment]
    return bases + strides


def _stream_of(program: Program, run: QueueRun, offsets: list[int], where: str) -> tuple[int, int]:
    """First word and number of words of a run's stream."""
    if not 0 <= run.stream < len(program.streams) or not len(program.streams[run.stream].words):
        raise ProgramError(
            f"a run names stream {run.stream}, which is absent or empty", where=where
        )
    return offsets[run.stream], offsets[run.stream + 1] - offsets[run.stream]


def _queues_of(run: QueueRun, table: QueueTable, where: str) -> list[int]:
    """Numbers of the queues that a run names."""
    count = table.count[run.kind]
    for unit in run.units:
        if not 0 <= unit < count:
            raise ProgramError(
                f"a run names {run.kind.name} queue {unit}; the chip has {count}", where=where
            )
    return [table.first[run.kind] + unit for unit in run.units or range(count)]


def _first_aregs(run: QueueRun, where: str) -> list[int]:
    """Initial values of the sixteen aregs; areg 0 stays 0."""
    values = [0] * at.AREGS
    for register, value in run.aregs:
        if not 0 <= register < at.AREGS or not -(1 << 47) <= value < 1 << 47:
            raise ProgramError(f"initial areg {register} = {value} does not fit", where=where)
        if register:
            values[register] = value
    return values


def segment_bounds(program: Program) -> tuple[Array, Array]:
    """First byte and last + 1 of each segment in physical memory: 4 KiB-aligned, in order of
    number.
    """
    low, high = np.zeros(SEGMENTS, np.int64), np.zeros(SEGMENTS, np.int64)
    base = 0
    for segment in HBM_SEGMENTS:
        size = program.segment_bytes[segment] if segment < len(program.segment_bytes) else 0
        low[segment], high[segment] = base, base + size
        base += -(-size // PAGE_BYTES) * PAGE_BYTES
    return low, high


def _scalars(program: Program) -> list[int]:
    """Sixteen launch scalars; those that are missing are 0."""
    values = [int(value) for value in program.scalars]
    if len(values) > at.SCALARS or any(abs(value) > at.ADDRESS_LIMIT for value in values):
        raise ProgramError(
            "a launch scalar is out of range, or there are more than 16",
            where=f"program '{program.name}'",
        )
    return values + [0] * (at.SCALARS - len(values))


def _nodes(words: Array, runs: Array) -> tuple[Array, Array]:
    """The node table, a last row for words of no node, and room for the interval of every repeat of
    every node.
    """
    count = max(int(words[:, at.W_NODE].max()) + 1, int(words[:, at.W_NODE_ROW].max())) + 1
    repeats = np.ones(count, np.int64)
    for start, size, repeat, *_ in {tuple(row) for row in runs[:, :3].tolist()}:
        used = np.unique(words[start : start + size, at.W_NODE_ROW])
        repeats[used] = np.maximum(repeats[used], repeat)
    nodes = np.zeros((count, at.NODE_SIZE), np.int64)
    limit = max(1, min(at.INSTANCES_LIMIT, at.INSTANCES_TOTAL // count))
    nodes[:, at.NODE_GROUP] = -(-repeats // limit)
    places = -(-repeats // nodes[:, at.NODE_GROUP])
    nodes[:, at.NODE_BASE] = np.concatenate([[0], np.cumsum(places)[:-1]])
    instances = np.zeros((int(places.sum()), at.I_SIZE), np.int64)
    instances[:, at.I_FIRST] = np.iinfo(np.int64).max
    return nodes, instances
