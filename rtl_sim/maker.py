"""What random programs are put together from: streams, places, counts, registers, signals.

In:  a `Chooser` (random.Random, a recorder, a test's strategy) and a `Chip`.
Out: `Maker`, which hands out memory that no other task has and operands, counts and signals in all
     the forms that a word has for them: plain, through address registers, clipped, over the NoC.

Every choice is a number from a range whose low end is the simplest, so that whoever keeps the
numbers can make a failing program smaller by making them smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from athena.chip.model import Chip
from athena.isa.builder import Clip, Clips, Operand, StreamBuilder, Wait, acc, hbm, l1, self_sem
from athena.isa.fields import CORE_QUEUES, CORE_SEMS, DT_BYTES, Dt, Op, Queue, Seg, Sig, signal
from athena.isa.table import BY_OP

IN_BYTES = 16384
LOADED, SUMMED, DONE, FILLED, COPIED, AGAIN, CREDIT, INDEXED = range(8)  # semaphores
READY = 8  # four: the pool is there, by queue
NEVER = 12  # four semaphores that nothing signals, by queue
ODD, WILD = 6, 7  # aregs: an odd number of the run; whatever a SETA left there
SPARE = (8, 9, 10)  # aregs: even numbers of the run
SET = (11, 12, 13, 14, 15)  # aregs that SETAs set to addresses in turn
EXTREMES = (-(1 << 31), (1 << 31) - 1)
ADDRESS_BITS = 48
Item = TypeVar("Item")


class Chooser(Protocol):
    """Where the choices come from."""

    def randint(self, low: int, high: int, /) -> int:
        """A number from low to high, both included."""


def wrap(value: int, bits: int = ADDRESS_BITS) -> int:
    """Two's complement of `bits` bits."""
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


@dataclass(slots=True)
class Maker:
    """The streams so far and what they have used up."""

    chip: Chip
    rng: Chooser
    scalars: tuple[int, ...]
    aregs: dict[int, int]  # numbers of the run, the same in every queue
    first_sem: int = 0
    l1_at: int = 0
    acc_at: int = 0
    out_at: int = 0
    pool_at: int = 0
    pool_bytes: int = 0
    set_next: int = 0
    numbers: bytearray = field(default_factory=bytearray)  # the PARAM segment: index lists
    streams: dict[Queue, StreamBuilder] = field(
        default_factory=lambda: {queue: StreamBuilder() for queue in CORE_QUEUES}
    )

    def pick(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return self.rng.randint(low, high)

    def often(self, percent: int) -> bool:
        """True in `percent` of the cases; False is the simpler."""
        return self.pick(0, 99) >= 100 - percent

    def one(self, values: Sequence[Item]) -> Item:
        """One of `values`, the simplest first."""
        return values[self.pick(0, len(values) - 1)]

    def size(self, quantum: int, *, top: int = 0, zero: bool = True) -> int:
        """A count: 1, near a multiple of what the hardware takes at once, anything, seldom 0."""
        top = top or 2 * quantum + 2
        style = self.pick(0, 9)
        if style < 2:
            return 1
        if style < 6:
            return min(top, max(1, self.pick(1, 2) * quantum + self.pick(-1, 1)))
        if style == 9 and zero and self.often(30):
            return 0
        return self.pick(1, top)

    # Memory.

    def room(self, size: int, *, align: int = 4, own_bank: bool = False) -> int:
        """`size` bytes of L1 that no other task has."""
        at = self.l1_at + self.pick(0, 40)
        if own_bank:
            at = -(-at // self.chip.l1_bank_bytes) * self.chip.l1_bank_bytes
        at = -(-at // align) * align
        self.l1_at = at + size
        return at

    def sums(self, rows: int, cols: int, dt: Dt) -> Operand | None:
        """A block of accumulators of its own; None when they are used up."""
        stride = 4 * (cols + self.pick(0, 9))
        if self.acc_at + rows * stride > self.chip.core.acc_bytes:
            return None
        made = acc(self.acc_at, stride=stride, dt=dt)
        self.acc_at += rows * stride
        return made

    def source(self, size: int) -> int:
        """Where in the input segment `size` bytes are read; bytes may be read many times."""
        return self.pick(0, IN_BYTES - size - 256)

    def target(self, size: int) -> int:
        """`size` bytes of the output segment."""
        at = self.out_at
        self.out_at = at + size + self.pick(0, 9)
        return at

    def pooled(self, dt: Dt, rows: int, cols: int) -> Operand | None:
        """A block of `dt` anywhere in the pool; None when it does not fit."""
        size = DT_BYTES[dt]
        stride = size * (cols + self.pick(-cols, 4))
        span = max(0, rows - 1) * stride + size * cols
        if span > self.pool_bytes:
            return None
        at = self.pool_at + self.pick(0, (self.pool_bytes - span) // 4) * 4
        return l1(at, stride=stride, dt=dt)

    # Address registers.

    def near(self, queue: Queue, operand: Operand) -> Operand:
        """The same operand, sometimes addressed through an areg of the run or of a SETA."""
        style = self.pick(0, 9)
        areg = 0
        if style in (6, 7):
            areg = self.one(SPARE)
            if self.aregs[areg] > operand.imm:
                return operand
            value = self.aregs[areg]
        elif style == 9:
            value = self.pick(0, operand.imm)
            areg = SET[self.set_next]
            self.set_next = (self.set_next + 1) % len(SET)
            self.seta(queue, areg, value)
        else:
            return operand
        return Operand(operand.seg, operand.imm - value, operand.stride, operand.dt, areg)

    def seta(self, queue: Queue, areg: int, value: int) -> None:
        """SETA that gives `value`, by way of a scalar, both divisions and another areg."""
        scalar, add = self.pick(0, len(self.scalars) - 1), self.one((0, ODD, *SPARE))
        div, mod = self.one((1, 2, 3, 1000, (1 << 32) - 1)), self.one((0, 1, 2, 7, 1 << 31))
        q = self.scalars[scalar] // div
        q = q % mod if mod else q
        base = value - self.aregs.get(add, 0)
        shift = self.often(30)
        mult = self.pick(0, 9) - 4
        if shift and not (0 <= q * mult < 32 and base % (1 << q * mult) == 0):
            mult = 0
        start = base >> q * mult if shift else base - q * mult
        self.streams[queue].seta(
            areg, wrap(start), mult=mult, scalar=scalar, div=div, mod=mod, add=add, shift=shift
        )

    def wild(self, queue: Queue) -> None:
        """SETA of any value into the areg that only bounds and clips read."""
        self.streams[queue].seta(
            WILD, wrap(self.pick(0, (1 << self.pick(1, 48)) - 1)),
            mult=self.one((0, 1, -1, self.pick(-99, 99), *EXTREMES)),
            scalar=self.pick(0, len(self.scalars) - 1),
            div=self.one((1, self.pick(1, 99), (1 << 32) - 1)),
            mod=self.one((0, self.pick(1, 99), (1 << 32) - 1)), add=self.one((0, WILD, ODD)),
            shift=self.often(40),
        )  # fmt: skip

    # Counts and signals.

    def counts(
        self, op: Op, *wanted: int, wild: Sequence[int] = (0, 1, 2)
    ) -> tuple[tuple[int, ...], Clips]:
        """Fields and clips of a word's counts; those in `wild` may be cut to less than `wanted`."""
        fields, clips = list(wanted), [None, None, None]
        for slot, (_, meaning) in BY_OP[op].fields.items():
            if slot[0] != "n" or "clip" not in meaning or not self.often(12):
                continue
            at = int(slot[1])
            if at in wild and self.often(30):
                limit, areg, scalar = self.pick(-9, 99), WILD, self.pick(0, len(self.scalars) - 1)
            else:
                areg, scalar = self.one((0, ODD, *SPARE)), self.small_scalar()
                limit = wanted[at] + self.aregs.get(areg, 0) - self.scalars[scalar]
                fields[at] += self.pick(0, 5)
            clips[at] = Clip(limit, areg=areg, scalar=scalar)
        return tuple(fields), (clips[0], clips[1], clips[2])

    def small_scalar(self) -> int:
        """The number of a scalar that can be taken from 32 bits without leaving them."""
        number = self.pick(0, len(self.scalars) - 1)
        return number if abs(self.scalars[number]) < 1 << 20 else 0

    def sem(self, number: int) -> int:
        """Where semaphore `number` of the programs lies in this one."""
        return (self.first_sem + number) % CORE_SEMS

    def wait(self, number: int, count: int = 1) -> Wait:
        """Take `count` from semaphore `number` of the programs."""
        return Wait(self.sem(number), count)

    def signals(self, number: int) -> list[int]:
        """Codes that raise semaphore `number` by one, and perhaps one that reaches nobody."""
        sem = self.sem(number)
        codes = [self_sem(sem)]
        style = self.pick(0, 9)
        if style > 5:
            codes = [
                (
                    signal(Sig.ALL_CORES, sem),
                    signal(Sig.CORES_OF_CLUSTER, sem, arg=1),
                    signal(Sig.CORES_MASK, sem, arg=ODD),
                    self_sem(sem),
                )[style - 6]
            ]
        if self.often(15):
            other = self.sem(self.pick(0, NEVER - 1))
            codes.insert(
                self.pick(0, 1),
                self.one(
                    (
                        signal(Sig.CORES_OF_CLUSTER, other, arg=0),
                        signal(Sig.CORES_MASK, other, arg=SPARE[0]),
                    )
                ),
            )
        return codes

    # Copies to and from main memory.

    def load(  # noqa: PLR0913 - the parts of a copy
        self, at: int, stride: int, rows: int, row_bytes: int, number: int, *, wild: bool = False
    ) -> None:
        """LOAD rows into L1, perhaps in two blocks."""
        pitch = row_bytes + self.pick(0, 20)
        src = self.source(rows * pitch)
        blocks = 2 if rows % 2 == 0 and self.often(30) else 1
        half = rows // blocks
        counts, clips = self.counts(
            Op.COPY, blocks, half, row_bytes, wild=(0, 1, 2) if wild else ()
        )
        self.streams[Queue.LOAD].load(
            self.near(Queue.LOAD, hbm(Seg.INPUT, src, stride=pitch)),
            self.near(Queue.LOAD, l1(at, stride=stride)),
            blocks=counts[0], rows=counts[1], row_bytes=counts[2], clips=clips,
            block_strides=(max(0, half * pitch - 3), half * stride),
            signals=self.signals(number),
        )  # fmt: skip

    def indices(self, values: list[int], number: int) -> int:
        """LOAD `values` as int32 into L1; where they lie."""
        at, src = self.room(4 * len(values)), len(self.numbers)
        self.numbers += b"".join(value.to_bytes(4, "little") for value in values)
        self.streams[Queue.LOAD].load(
            hbm(Seg.PARAM, src), l1(at), rows=1, row_bytes=4 * len(values),
            signals=self.signals(number),
        )  # fmt: skip
        return at

    def store(  # noqa: PLR0913 - the parts of a copy
        self, at: int, stride: int, rows: int, row_bytes: int, number: int, *, count: int = 1
    ) -> None:
        """Wait, then STORE rows from L1."""
        pitch = row_bytes + self.pick(0, 5)
        dst = self.target(rows * pitch)
        blocks = 2 if rows % 2 == 0 and self.often(30) else 1
        half = rows // blocks
        counts, clips = self.counts(Op.COPY, blocks, half, row_bytes)
        self.streams[Queue.STORE].store(
            self.near(Queue.STORE, l1(at, stride=stride)),
            self.near(Queue.STORE, hbm(Seg.OUTPUT, dst, stride=pitch)),
            blocks=counts[0], rows=counts[1], row_bytes=counts[2], clips=clips,
            block_strides=(half * stride, half * pitch), waits=[self.wait(number, count)],
        )  # fmt: skip
