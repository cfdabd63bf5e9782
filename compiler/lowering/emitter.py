"""The streams being made, the semaphore protocol between queues, and the L1 arena of each op.

In:  kernels call `begin`, take addresses from the `Arena`, add words to the four builders, and call
`finish`.
Out: streams of one program; every core runs the same words.
Raises: CapacityError where an op's buffers do not fit L1.

Protocol. Rings between queues have two slots and two counters each: FULL (consumer waits) and FREE
(producer waits, two at the start). Words of one queue complete in order, so only the last LOAD of a
slot signals. At its end every op signals ALL_CORES a barrier (two counters, used in turn); LOAD
waits for the barrier of the op before it reads what ops computed, and runs ahead of it with
weights. Each compute queue signals DONE at its end of an op; LOAD waits for the DONEs of earlier
ops whose L1 it is about to reuse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from athena.chip import Chip
from athena.errors import CapacityError
from athena.isa.builder import Clip, Operand, Vec, Wait, self_sem
from athena.isa.cycles import ceil_div
from athena.isa.fields import LOOP_DEPTH, Dt, Queue, Seg, Sig, signal
from athena.isa.program import QueueRun
from compiler.lowering.wide import WideBuilder

BIG_INDEX = 1 << 30
DONE_LAG = 48
LOOP_STEPS = 4


class Stage(IntEnum):
    """The stream of the cluster DMAs that bring operands to L2, run by the clusters on the mesh's
    diagonal.
    """

    SHARE = 100


Lane = Queue | Stage


class ClusterSem(IntEnum):
    """Semaphores of a cluster's DMA. Each slot has its own: with one for both, the credits of cores
    that are a slot ahead would stand for those of cores that still read.
    """

    A_CREDIT0 = 0
    A_CREDIT1 = 1
    B_CREDIT0 = 2
    B_CREDIT1 = 3
    A_GO = 4


class Sem(IntEnum):
    """Semaphores of a core; each has one consuming queue."""

    # consumed by LOAD
    A_FREE = 0
    B_FREE = 1
    X_FREE = 2
    INDEX_READY = 3
    DONE_MATRIX = 4
    DONE_VECTOR = 5
    DONE_STORE = 6
    BARRIER0 = 7
    BARRIER1 = 8
    STAGE_A_FULL = 9
    STAGE_B_FULL = 10
    Q_FREE = 11
    V_FREE = 12
    # consumed by MATRIX
    A_FULL = 14
    B_FULL = 15
    ACC_FREE = 16
    P_FULL = 17
    V_FULL = 18
    Q_FULL = 19
    O_FREE = 20
    # consumed by VECTOR
    X_FULL = 21
    ACC_FULL = 22
    OUT_FREE = 23
    PV_DONE = 24
    # consumed by STORE
    OUT_FULL = 25
    HOST_DONE = 26


INITIAL_SEMS: dict[int, int] = {
    Sem.A_FREE: 2,
    Sem.B_FREE: 2,
    Sem.X_FREE: 2,
    Sem.Q_FREE: 2,
    Sem.V_FREE: 2,
    Sem.OUT_FREE: 2,
}


@dataclass(frozen=True, slots=True)
class OpMark:
    """Where an op's words begin in each stream, for folding repeats and for tables."""

    node: int
    starts: dict[Lane, int]


@dataclass(slots=True)
class _Past:
    """What LOAD must know of an earlier op before it reuses its L1."""

    index: int
    lo: int
    hi: int


@dataclass(slots=True)
class Arena:
    """L1 of one op: a bump allocator over [base, base + size)."""

    base: int
    size: int
    bank_bytes: int
    used: int = 0

    def take(self, nbytes: int, *, align: int = 64) -> int:
        """`nbytes` at a multiple of `align`; returns the L1 address."""
        at = ceil_div(self.base + self.used, align) * align
        self.used = at + nbytes - self.base
        if self.used > self.size:
            raise CapacityError(
                f"a kernel needs {self.used} bytes of L1, {self.size} were planned",
                where="lowering",
            )
        return at

    def next_bank(self) -> None:
        """What is taken next starts in a bank of its own."""
        self.used = ceil_div(self.used, self.bank_bytes) * self.bank_bytes


@dataclass(slots=True)
class Emitter:
    """Builders of the four core queues and the two cluster queues."""

    chip: Chip
    streams: dict[Lane, WideBuilder] = field(
        default_factory=lambda: {lane: WideBuilder() for lane in (*Queue, *Stage)}
    )
    staged: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})  # L2 slots used so far
    marks: list[OpMark] = field(default_factory=list)
    cuts: list[dict[Lane, int]] = field(default_factory=list)
    _cursor: int = 0
    _past: list[_Past] = field(default_factory=list)
    _done: list[dict[Queue, int]] = field(default_factory=list)
    _waited: int = -1
    _parity: int = 0  # of the next op's barrier
    _pending: list[int] = field(default_factory=list)  # barriers that LOAD has not waited for

    @property
    def load(self) -> WideBuilder:
        """The LOAD stream."""
        return self.streams[Queue.LOAD]

    @property
    def store(self) -> WideBuilder:
        """The STORE stream."""
        return self.streams[Queue.STORE]

    @property
    def matrix(self) -> WideBuilder:
        """The MATRIX stream."""
        return self.streams[Queue.MATRIX]

    @property
    def vector(self) -> WideBuilder:
        """The VECTOR stream."""
        return self.streams[Queue.VECTOR]

    def begin(self, node: int, l1_bytes: int) -> Arena:
        """Start an op that uses `l1_bytes` of L1; LOAD waits for the earlier ops that used the same
        bytes.

        Raises: CapacityError if L1 is smaller.
        """
        core, bank = self.chip.core, self.chip.l1_bank_bytes
        size = ceil_div(l1_bytes, bank) * bank
        if size > core.l1_bytes:
            raise CapacityError(
                f"a kernel needs {l1_bytes} bytes of L1, the core has {core.l1_bytes}",
                where="lowering",
            )
        for builder in self.streams.values():
            builder.node = node
        self.marks.append(OpMark(node, {q: len(b) for q, b in self.streams.items()}))
        if self._cursor + size > core.l1_bytes:
            self._cursor = 0
        lo, hi = self._cursor, self._cursor + size
        self._cursor = hi
        index = len(self._done)
        overlap = [p.index for p in self._past if p.lo < hi and lo < p.hi]
        self._wait_done(max([*overlap, index - DONE_LAG]))
        self._past = [p for p in self._past if p.index > self._waited]
        self._past.append(_Past(index, lo, hi))
        self._done.append({})
        return Arena(lo, size, bank)

    def align(self) -> None:
        """A repeat of a block of ops begins here (or the last one ended): bring what carries over
        into the same state each time.

        An odd number of ops leaves the barrier's parity turned; an empty barrier, waited for
        together with the last op's, turns it back.
        """
        self._cursor = 0
        if self._parity:
            self._close_op([])
        self.cuts.append({q: len(b) for q, b in self.streams.items()})

    def loop(
        self, queue: Lane, count: int, steps: tuple[tuple[int, int], ...], body: Callable[[], None],
        clip: Clip | None = None,
    ) -> None:  # fmt: skip
        """`body` `count` times with aregs stepping: a LOOP if it fits the FIFO, else unrolled with
        SETA between.

        `clip` bounds the count at run time (then the body must fit).
        """
        builder = self.streams[queue]
        if count == 1 and clip is None:
            body()
            return
        mark = builder.mark()
        with builder.loop(count, *steps[:LOOP_STEPS], clip=clip):
            body()
        if len(builder) == mark + 1:  # nothing to do on this lane
            builder.rewind(mark)
            return
        fits = len(steps) <= LOOP_STEPS
        if (
            fits
            and len(builder) - mark - 1 <= self.chip.core.fifo_words
            and builder.depth(mark) <= LOOP_DEPTH
        ):
            return
        if clip is not None:  # the count is not known here
            raise CapacityError(
                f"a loop of {len(builder) - mark - 1} words does not fit the FIFO "
                f"of {self.chip.core.fifo_words}",
                where="lowering",
            )
        builder.rewind(mark)
        for i in range(count):
            body()
            last = i == count - 1
            for areg, delta in steps:
                builder.seta(areg, -delta * (count - 1) if last else delta, add=areg)

    def barrier(self) -> None:
        """LOAD waits until every core has finished the op before (nothing before the first)."""
        if self._pending:
            self.load.sync(waits=[Wait(sem, self.chip.cores) for sem in self._pending])
            self._pending = []

    def finish(self, *, matrix: bool, vector: bool = True) -> None:
        """End the op: DONE of the queues it used, then the barrier's signal from STORE."""
        self.barrier()
        done = self._done[-1]
        if matrix:
            self.matrix_signal(Sem.DONE_MATRIX)
            done[Queue.MATRIX] = 1
        if vector:
            self.vector_signal(Sem.DONE_VECTOR)
            done[Queue.VECTOR] = 1
        self._close_op([self_sem(Sem.DONE_STORE)])
        done[Queue.STORE] = 1

    def _close_op(self, signals: list[int]) -> None:
        """An empty copy completes after the stores before it: its signals close the op."""
        sem = Sem.BARRIER0 + self._parity
        self.store.store(
            Operand(Seg.L1),
            Operand(Seg.ACT),
            rows=0,
            row_bytes=0,
            signals=[*signals, signal(Sig.ALL_CORES, sem)],
        )
        self._pending.append(sem)
        self._parity ^= 1

    def matrix_signal(self, *sems: int) -> None:
        """Signal when the words before on MATRIX are complete: an empty word takes its turn behind
        them.
        """
        nothing, accumulator = Operand(Seg.L1, 0, 0, Dt.I8), Operand(Seg.ACC, 0, 0, Dt.I32)
        other = Operand(Seg.L1, self.chip.l1_bank_bytes, 0, Dt.I8)
        self.matrix.matmul(
            nothing, other, accumulator, m=0, n=0, k=0, signals=[self_sem(s) for s in sems]
        )

    def vector_signal(self, *sems: int) -> None:
        """The same on VECTOR."""
        nothing = Operand(Seg.L1, 0, 0, Dt.F32)
        self.vector.vec(
            nothing, nothing, Vec(), rows=0, cols=0, signals=[self_sem(s) for s in sems]
        )

    def run_of(self, lane: Lane, stream: int) -> QueueRun:
        """Which units run a lane's stream."""
        if isinstance(lane, Queue):
            return QueueRun(kind=lane, stream=stream)
        side = self.chip.mesh.cols
        return QueueRun(
            kind=Queue.CDMA_IN, stream=stream, units=tuple(i * (side + 1) for i in range(side))
        )

    def cluster_sems(self) -> dict[int, int]:
        """Initial credits of the staging rings: two slots, one credit a receiving core."""
        if not len(self.streams[Stage.SHARE]):
            return {}
        receivers = self.chip.mesh.cols * self.chip.cluster.cores
        credits = (
            ClusterSem.A_CREDIT0,
            ClusterSem.A_CREDIT1,
            ClusterSem.B_CREDIT0,
            ClusterSem.B_CREDIT1,
        )
        return dict.fromkeys(credits, receivers)

    def close(self) -> None:
        """END of every stream, after taking what is left in the counters of LOAD."""
        if self._done:
            self.barrier_final()
        for queue, builder in self.streams.items():
            if len(builder) or queue in (Queue.LOAD, Queue.STORE, Queue.MATRIX, Queue.VECTOR):
                builder.end()

    def barrier_final(self) -> None:
        """LOAD takes the last barrier and the outstanding DONEs, so that every counter ends as it
        began.
        """
        self.barrier()
        self._wait_done(len(self._done) - 1)

    def _wait_done(self, target: int) -> None:
        if target <= self._waited:
            return
        counts = {Queue.MATRIX: 0, Queue.VECTOR: 0, Queue.STORE: 0}
        for index in range(self._waited + 1, target + 1):
            for queue, n in self._done[index].items():
                counts[queue] += n
        sems = {
            Queue.MATRIX: Sem.DONE_MATRIX,
            Queue.VECTOR: Sem.DONE_VECTOR,
            Queue.STORE: Sem.DONE_STORE,
        }
        waits = [Wait(sems[q], n) for q, n in counts.items() if n]
        if waits:
            self.load.sync(waits=waits)
        self._waited = target
