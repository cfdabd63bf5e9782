"""Numba: raw memory as typed arrays, bit casts, operand addresses with their checks, fault codes.

Memories are given by address and size ([2, n] int64), so that constants may stay where they are
(memory-mapped, read-only) and every check is made once a word, before any access.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from athena.functional.inner_kernel import inner

# Fault codes; `athena.functional.messages` has the words.
(
    ILLEGAL_OP,
    WRONG_QUEUE,
    BAD_SEGMENT,
    OUT_OF_BOUNDS,
    MISALIGNED,
    BAD_INDEX,
    SEM_OVERFLOW,
    BAD_FIELD,
) = range(1, 9)
BAD_LOOP, STREAM_END, TOO_BIG = 9, 10, 11
# Most bytes, elements or MACs of one word, and most blocks, rows, columns: sums of addresses stay
# within 64 bits and every word ends.
WORK_LIMIT = 1 << 40
COUNT_LIMIT = 1 << 31

# Why the interpreter returns.
BLOCKED, FINISHED, FAULT, HOST, LIMIT, TRACE_FULL, PAUSE = range(7)

# Rows of the per-queue table (int64, given once).
(
    Q_KIND, Q_UNIT, Q_CORE, Q_CLUSTER, Q_SEMS, Q_L1, Q_ACC, Q_L2, Q_RUN0, Q_RUN1, QUEUE_COLUMNS,
) = range(11)  # fmt: skip
# Columns of the per-queue state (int64).
RUN, REPEAT, PC, DEPTH, DONE, DYN, PENDING, START, LENGTH = range(9)
AREG = 16
LOOPS = 32
LOOP_COLUMNS = 8  # first pc, end pc, iterations left, row of the LOOP word, four saved aregs
STATE_COLUMNS = LOOPS + 3 * LOOP_COLUMNS

HBM_MASK = 0xFF
L1_MASK = 1 << 12
ACC_MASK = 1 << 13
L2_MASK = 1 << 14

# Fault record: code, operand (0..5 or -1), met, allowed, extra.
F_CODE, F_OPERAND, F_MET, F_ALLOWED, F_EXTRA = range(5)


def _elements(dtype):
    """The intrinsic that makes a contiguous array [n] of a type at an address."""
    kind = types.Array(dtype, 1, "C")

    @intrinsic
    def at(typingctx, address, n):
        def codegen(context, builder, signature, args):
            array = make_array(kind)(context, builder)
            size = context.get_constant(types.intp, dtype.bitwidth // 8)
            populate_array(
                array,
                data=builder.inttoptr(args[0], array.data.type),
                shape=[args[1]],
                strides=[size],
                itemsize=size,
                meminfo=None,
            )
            return array._getvalue()

        return kind(types.int64, types.int64), codegen

    return at


f32_at = _elements(types.float32)
i32_at = _elements(types.int32)
u16_at = _elements(types.uint16)
i8_at = _elements(types.int8)
u8_at = _elements(types.uint8)


@intrinsic
def bits_of(typingctx, value):
    """The int32 bit pattern of a float32."""
    sig = types.int32(types.float32)

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(32))

    return sig, codegen


@intrinsic
def float_of(typingctx, value):
    """The float32 with the bit pattern of an integer's low 32 bits."""
    sig = types.float32(types.int64)

    def codegen(context, builder, signature, args):
        return builder.bitcast(builder.trunc(args[0], ir.IntType(32)), ir.FloatType())

    return sig, codegen


@inner
def size_of(dt):
    """Bytes of an element; 0 for no or unknown types."""
    if dt == 1 or dt == 6:
        return 4
    if dt == 2 or dt == 3:
        return 2
    if dt == 4 or dt == 5:
        return 1
    return 0


@inner
def fail(fault, code, operand, met, allowed, extra):
    """Record a fault and give -1."""
    fault[F_CODE] = code
    fault[F_OPERAND] = operand
    fault[F_MET] = met
    fault[F_ALLOWED] = allowed
    fault[F_EXTRA] = extra
    return -1


@inner
def clipped(row, i, state, scalars):
    """Count i of a word after its clip."""
    count = row[40 + i]
    if (row[12] >> i) & 1:
        selector = row[13 + i]
        limit = row[43 + i] + scalars[selector >> 4] - state[AREG + (selector & 15)]
        count = min(count, max(0, limit))
    return count


@inner
def too_big(row, blocks, rows, columns, fault):
    """Whether the counts pass the limits of one word; a fault if so."""
    work = np.float64(blocks) * np.float64(rows) * np.float64(columns)
    if work <= WORK_LIMIT and max(blocks, rows, columns) <= COUNT_LIMIT:
        return False
    fail(fault, TOO_BIG, -1, blocks, rows, columns)
    return True


@inner
def memory_of(segment, info):
    """Index of the memory behind a segment as this queue sees it; -1: none."""
    if segment < 8:
        return segment
    if segment == 12:
        return info[Q_L1]
    if segment == 13:
        return info[Q_ACC]
    if segment == 14:
        return info[Q_L2]
    return -1


@inner
def locate(row, i, info, state, base, mem, allowed, low, high, align, fault):
    """Real address of operand i's first byte.

    -1 and a fault if bytes [low, high) around it are not all in its memory.
    """
    at = 16 + 4 * i
    segment = row[at]
    memory = memory_of(segment, info)
    if not (allowed >> segment) & 1 or memory < 0:
        return fail(fault, BAD_SEGMENT, i, segment, allowed, 0)
    offset = row[at + 2] + state[AREG + row[at + 1]]
    if segment < 8:
        offset += base[segment]
    if offset + low < 0 or offset + high > mem[1, memory]:
        return fail(fault, OUT_OF_BOUNDS, i, offset + low, mem[1, memory], offset + high)
    if align > 1 and (offset % align or row[at + 3] % align):
        return fail(fault, MISALIGNED, i, offset, align, row[at + 3])
    return mem[0, memory] + offset


@inner
def block(row, i, info, state, base, mem, allowed, rows, row_bytes, align, fault):
    """`locate` for `rows` rows of `row_bytes` at the operand's stride."""
    high = (rows - 1) * row[16 + 4 * i + 3] + row_bytes
    return locate(row, i, info, state, base, mem, allowed, 0, high, align, fault)


@inner
def note(written, slot, address, blocks, block_stride, rows, stride, row_bytes):
    """Say what the word wrote, for the trace."""
    written[slot, 0] = address
    written[slot, 1] = blocks
    written[slot, 2] = block_stride
    written[slot, 3] = rows
    written[slot, 4] = stride
    written[slot, 5] = row_bytes
