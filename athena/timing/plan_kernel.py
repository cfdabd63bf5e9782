"""What one unit word asks for: ports, cycles or beats, bytes and action counts, from its fields and the queue's registers.

In:  the decoded words, aregs, segment bases, launch scalars and chip parameters (`athena.timing.layout`).
Out: d[...], the demand of the word: port masks, service time, transfer, counts; D_FAULT if the word cannot run.
"""

from __future__ import annotations

from numba import njit
from numba.extending import register_jitable

from athena.isa import cycles as law
from athena.isa.fields import (
    AREG_A,
    CLIP0,
    CLIP_EN,
    DT_A,
    DT_B,
    DT_D,
    IMM_A,
    LIM0,
    MODE,
    MODE_ACC_MASK,
    MODE_B_TRANS,
    MODE_VEC_INT,
    MODE_VEC_RED_KEEP,
    N0,
    OP,
    P0,
    P1,
    P2,
    S_CLUSTER,
    S_CORE,
    SEG_A,
    SEG_B,
    SEG_C,
    SEG_D,
    SEG_E,
    STRIDE_A,
    STRIDE_B,
    STRIDE_D,
    STRIDE_E,
    Acc,
    Dt,
    GatherMode,
    Kind,
    Lut,
    Op,
    Perm,
    Queue,
    Red,
    Seg,
)
from athena.timing.layout import (
    C_ACC,
    C_ACC_BANK,
    C_COLS,
    C_DMA,
    C_HBM_LATENCY,
    C_L1,
    C_L1_BANK,
    C_L2,
    C_L2_LATENCY,
    C_LANES,
    C_LOAD,
    C_MAC_LATENCY,
    C_RATE_BF16,
    C_ROWS,
    C_STARTUP,
    C_STORE,
    CLUSTER,
    D_ADDR,
    D_BSTRIDE,
    D_BYTES,
    D_COUNTS,
    D_CYCLES,
    D_DIR,
    D_FAULT,
    D_L2,
    D_LATENCY,
    D_MASK,
    D_PITCH,
    D_ROW,
    D_ROWS,
    D_SIZE,
    D_STRIDE,
    D_TABLE,
    D_ZERO,
    DIR_READ,
    DIR_WRITE,
    FAULT_BOUNDS,
    FAULT_DTYPE,
    FAULT_OP,
    FAULT_SEGMENT,
    FAULT_SIZE,
    KIND,
    N_ACR,
    N_ACW,
    N_ALU,
    N_CAST,
    N_HBMR,
    N_HBMW,
    N_L1R,
    N_L1W,
    N_L2R,
    N_L2W,
    N_LUT,
    N_MACS,
    N_PADDED,
    READ,
    UNIT,
    WRITE,
)

for _function in (law.ceil_div, law.matmul_cycles, law.copy_beats, law.tree_levels, law.vec_cycles, law.vperm_cycles):
    register_jitable(_function)
register_jitable(law.vgather_cycles)
ceil_div, matmul_cycles, copy_beats = law.ceil_div, law.matmul_cycles, law.copy_beats
vec_cycles, vperm_cycles, vgather_cycles = law.vec_cycles, law.vperm_cycles, law.vgather_cycles

L1, ACC, L2, HBM_LAST = int(Seg.L1), int(Seg.ACC), int(Seg.L2), int(Seg.HOST)
NONE, F32, BF16, F16, I8, U8, I32 = (int(t) for t in (Dt.NONE, Dt.F32, Dt.BF16, Dt.F16, Dt.I8, Dt.U8, Dt.I32))
K_NONE, K_FULL, K_ROW, K_COL, K_SCALAR, K_IMM = (int(kind) for kind in Kind)
LOAD, STORE, MATRIX, CDMA_IN, CDMA_OUT = (
    int(Queue.LOAD), int(Queue.STORE), int(Queue.MATRIX), int(Queue.CDMA_IN), int(Queue.CDMA_OUT),
)  # fmt: skip
VECTOR = int(Queue.VECTOR)
COPY, COPYX, FILL, MCAST, MATMUL, VEC, VPERM, VGATHER, CALL = (
    int(Op.COPY), int(Op.COPYX), int(Op.FILL), int(Op.MCAST), int(Op.MATMUL), int(Op.VEC), int(Op.VPERM), int(Op.VGATHER),
    int(Op.CALL),
)  # fmt: skip
ACC_KEEP, ACC_BIAS = int(Acc.KEEP), int(Acc.BIAS)
TRANSPOSE, ROWS_MODE = int(Perm.TRANSPOSE), int(GatherMode.ROWS)
RED_NONE, RED_SUMSQ, LUT_NONE = int(Red.NONE), int(Red.SUMSQ), int(Lut.NONE)
SIZE_LIMIT = 1 << 60


@njit(cache=True)
def count(w, i, q, x, aregs, scalars, which):
    """Count field n0, n1 or n2 after its clip."""
    n = w[i, N0 + which]
    if w[i, CLIP_EN] >> which & 1:
        select = w[i, CLIP0 + which]
        scalar = select >> 4
        value = scalars[scalar]
        if scalar == S_CORE:
            value = q[x, UNIT] if q[x, KIND] < CDMA_IN else 0
        elif scalar == S_CLUSTER:
            value = q[x, CLUSTER]
        n = min(n, max(0, w[i, LIM0 + which] + value - aregs[x, select & 15]))
    return n


@njit(cache=True)
def address(w, i, at, x, aregs, bases):
    """Address of the operand whose first column is `at`."""
    return bases[x, w[i, at]] + aregs[x, w[i, at + AREG_A - SEG_A]] + w[i, at + IMM_A - SEG_A]


@njit(cache=True)
def dt_bytes(dt):
    """Bytes of an element."""
    if dt == F32 or dt == I32:
        return 4
    if dt == BF16 or dt == F16:
        return 2
    return 1 if dt == I8 or dt == U8 else 0


@njit(cache=True)
def touch(d, c, segment, low, size, side):
    """Reserve the ports of the banks of [low, low + size) in L1 or ACC; returns the bank of the first byte."""
    if segment == L1:
        limit, bank = c[C_L1], c[C_L1_BANK]
    elif segment == ACC:
        limit, bank = c[C_ACC], c[C_ACC_BANK]
        side += 1
    else:
        d[D_FAULT] = FAULT_SEGMENT
        return 0
    if low < 0 or low + size > limit:
        d[D_FAULT] = FAULT_BOUNDS
        return 0
    first = low // bank
    if size > 0:
        banks = (low + size - 1) // bank - first + 1
        d[side] |= (-1 if banks >= 64 else (1 << banks) - 1) << first
    return first if segment == L1 else 64 + first


@njit(cache=True)
def _matmul(d, w, i, x, aregs, bases, c, m, n, k):
    mode, dt = w[i, MODE], w[i, DT_A]
    start = mode & MODE_ACC_MASK
    kind = 1 if dt == I8 or dt == U8 else (2 if dt == F32 else 0)
    size_a, size_b = dt_bytes(dt), dt_bytes(w[i, DT_B])
    rate = c[C_RATE_BF16 + kind]
    if rate == 0 or size_a == 0 or size_b == 0 or dt == I32:
        d[D_FAULT] = FAULT_DTYPE
        return
    if float(m) * n * k > SIZE_LIMIT:
        d[D_FAULT] = FAULT_SIZE
        return
    rows, cols = c[C_ROWS], c[C_COLS]
    if k > 0:
        touch(d, c, w[i, SEG_A], address(w, i, SEG_A, x, aregs, bases), (m - 1) * w[i, STRIDE_A] + k * size_a, READ)
        stored, width = (n, k) if mode & MODE_B_TRANS else (k, n)
        span = (stored - 1) * w[i, STRIDE_B] + width * size_b
        touch(d, c, w[i, SEG_B], address(w, i, SEG_B, x, aregs, bases), span, READ)
    at, span = address(w, i, SEG_D, x, aregs, bases), (m - 1) * w[i, STRIDE_D] + n * 4
    if w[i, SEG_D] != ACC:
        d[D_FAULT] = FAULT_SEGMENT
        return
    touch(d, c, ACC, at, span, READ)
    touch(d, c, ACC, at, span, WRITE)
    n_tiles, k_tiles = ceil_div(n, cols), ceil_div(k, rows)
    d[D_COUNTS + N_L1R] = m * k * size_a * n_tiles + k * n * size_b
    if start == ACC_BIAS:
        touch(d, c, w[i, SEG_C], address(w, i, SEG_C, x, aregs, bases), n * 4, READ)
        d[D_COUNTS + N_L1R] += n * 4
    d[D_CYCLES] = matmul_cycles(m, n, k, rows, cols, rate, c[C_MAC_LATENCY])
    d[D_COUNTS + N_MACS + kind] = m * n * k
    d[D_COUNTS + N_PADDED + kind] = n_tiles * cols * k_tiles * rows * m - m * n * k
    d[D_COUNTS + N_ACR] = m * n * 4 * max(k_tiles, 1 if start == ACC_KEEP else 0)
    d[D_COUNTS + N_ACW] = m * n * 4 * max(k_tiles, 1)


@njit(cache=True)
def _local_read(d, segment, size):
    d[D_COUNTS + (N_L1R if segment == L1 else N_ACR)] += size


@njit(cache=True)
def _side_operand(d, w, i, x, aregs, bases, c, at, size, kind, rows, cols):
    """Operand b or c of VEC; returns the bank of its first byte, or -1 if it is not in memory."""
    if kind == K_NONE or kind == K_IMM:
        return -1
    stride = w[i, at + STRIDE_A - SEG_A]
    if kind == K_FULL:
        span, volume = (rows - 1) * stride + cols * size, rows * cols * size
    elif kind == K_ROW:
        span, volume = cols * size, cols * size
    elif kind == K_COL:
        span, volume = (rows - 1) * stride + size, rows * size
    else:
        span, volume = size, size
    segment = w[i, at]
    _local_read(d, segment, volume)
    return touch(d, c, segment, address(w, i, at, x, aregs, bases), span, READ)


@njit(cache=True)
def _vec(d, w, i, x, aregs, bases, c, rows, cols):
    steps, kinds, mode = w[i, P0], w[i, P1], w[i, MODE]
    size = dt_bytes(w[i, DT_A])
    elements = rows * cols
    _local_read(d, w[i, SEG_A], elements * size)
    bank_a = touch(
        d, c, w[i, SEG_A], address(w, i, SEG_A, x, aregs, bases), (rows - 1) * w[i, STRIDE_A] + cols * size, READ
    )
    size = dt_bytes(w[i, DT_B])
    bank_b = _side_operand(d, w, i, x, aregs, bases, c, SEG_B, size, kinds & 255, rows, cols)
    size = dt_bytes(w[i, DT_B + 1])
    bank_c = _side_operand(d, w, i, x, aregs, bases, c, SEG_C, size, kinds >> 8 & 255, rows, cols)
    passes = 1 + (bank_b == bank_a) + (bank_c == bank_a)
    if passes == 1 and bank_b >= 0 and bank_b == bank_c:
        passes = 2
    red = steps >> 24 & 255
    bank_e = -1
    if red != RED_NONE:
        at, span = address(w, i, SEG_E, x, aregs, bases), (rows - 1) * w[i, STRIDE_E] + 4
        bank_e = touch(d, c, w[i, SEG_E], at, span, WRITE)
        d[D_COUNTS + (N_L1W if w[i, SEG_E] == L1 else N_ACW)] += rows * 4
        if mode & MODE_VEC_RED_KEEP:
            touch(d, c, w[i, SEG_E], at, span, READ)
            _local_read(d, w[i, SEG_E], rows * 4)
    result = w[i, DT_D]
    if result != NONE:
        size = dt_bytes(result)
        at, span = address(w, i, SEG_D, x, aregs, bases), (rows - 1) * w[i, STRIDE_D] + cols * size
        bank_d = touch(d, c, w[i, SEG_D], at, span, WRITE)
        d[D_COUNTS + (N_L1W if w[i, SEG_D] == L1 else N_ACW)] += elements * size
        if bank_d == bank_e:
            passes = max(passes, 2)
        if result != (I32 if mode & MODE_VEC_INT else F32):
            d[D_COUNTS + N_CAST] = elements
    alus = ((steps & 255) != 0) + ((steps >> 16 & 255) != 0) + (red != RED_NONE) + (red == RED_SUMSQ)
    d[D_COUNTS + N_ALU] = elements * alus
    if steps >> 8 & 255 != LUT_NONE:
        d[D_COUNTS + N_LUT] = elements
    d[D_CYCLES] = vec_cycles(rows, cols, c[C_LANES], c[C_STARTUP], passes, red != RED_NONE)


@njit(cache=True)
def _permute(d, w, i, x, aregs, bases, c, rows, cols, limit):
    """VPERM and VGATHER."""
    size = dt_bytes(w[i, DT_A])
    op, mode = w[i, OP], w[i, MODE]
    segment, at, stride = w[i, SEG_A], address(w, i, SEG_A, x, aregs, bases), w[i, STRIDE_A]
    d_rows, d_cols = rows, cols
    if op == VPERM:
        touch(d, c, segment, at, (rows - 1) * stride + cols * size, READ)
        if mode == TRANSPOSE:
            d_rows, d_cols = cols, rows
        d[D_CYCLES] = vperm_cycles(rows, cols, c[C_LANES], c[C_STARTUP])
    else:
        table, width = (limit, cols) if mode == ROWS_MODE else (rows, limit)
        if limit > 0:
            touch(d, c, segment, at, (table - 1) * stride + width * size, READ)
        index = rows * 4 if mode == ROWS_MODE else (rows - 1) * w[i, STRIDE_B] + cols * 4
        touch(d, c, w[i, SEG_B], address(w, i, SEG_B, x, aregs, bases), index, READ)
        _local_read(d, w[i, SEG_B], rows * 4 if mode == ROWS_MODE else rows * cols * 4)
        d[D_CYCLES] = vgather_cycles(rows, cols, c[C_LANES], c[C_STARTUP])
    _local_read(d, segment, rows * cols * size)
    span = (d_rows - 1) * w[i, STRIDE_D] + d_cols * size
    touch(d, c, w[i, SEG_D], address(w, i, SEG_D, x, aregs, bases), span, WRITE)
    d[D_COUNTS + (N_L1W if w[i, SEG_D] == L1 else N_ACW)] += rows * cols * size


@njit(cache=True)
def _far(d, w, i, at, x, aregs, bases, c, segments, span, block_span, volume, copies, direction):
    """The L2 or HBM side of a transfer. `span`: bytes from first to last of a block, `block_span`: of block starts (signed)."""
    segment, start = w[i, at], address(w, i, at, x, aregs, bases)
    low, high = start + min(block_span, 0), start + max(block_span, 0) + span
    if segment == L2:
        if low < 0 or high > c[C_L2]:
            d[D_FAULT] = FAULT_BOUNDS
        d[D_L2] += 1
        d[D_COUNTS + (N_L2R if direction == DIR_READ else N_L2W)] += volume * copies
        if d[D_LATENCY] == 0:
            d[D_LATENCY] = c[C_L2_LATENCY]
    elif segment <= HBM_LAST:
        if low < segments[0, segment] or high > segments[1, segment]:
            d[D_FAULT] = FAULT_BOUNDS
        d[D_DIR] = direction
        d[D_ADDR] = start
        d[D_STRIDE] = w[i, at + STRIDE_A - SEG_A]
        d[D_COUNTS + (N_HBMR if direction == DIR_READ else N_HBMW)] += volume
        d[D_LATENCY] = c[C_HBM_LATENCY]
    else:
        d[D_FAULT] = FAULT_SEGMENT


@njit(cache=True)
def _near(d, w, i, at, x, aregs, bases, c, span, block_span, volume, side):
    """The L1 side of a transfer."""
    start = address(w, i, at, x, aregs, bases)
    if w[i, at] != L1:
        d[D_FAULT] = FAULT_SEGMENT
        return
    low, high = start + min(block_span, 0), start + max(block_span, 0) + span
    touch(d, c, L1, low, high - low, side)
    d[D_COUNTS + (N_L1R if side == READ else N_L1W)] += volume


@njit(cache=True)
def _copy(d, w, i, q, x, aregs, bases, c, segments, blocks, rows, row, copies):
    """COPY, MCAST (copies > 1 slices), and FILL."""
    kind, op = q[x, KIND], w[i, OP]
    volume = blocks * rows * row
    from_span, to_span = (rows - 1) * w[i, STRIDE_A] + row, (rows - 1) * w[i, STRIDE_D] + row
    from_blocks, to_blocks = (blocks - 1) * w[i, P0], (blocks - 1) * w[i, P1]
    d[D_BYTES], d[D_ROW], d[D_ROWS] = volume, row, rows
    bus = c[C_LOAD] if kind == LOAD else (c[C_STORE] if kind == STORE else c[C_DMA])
    d[D_CYCLES] = copy_beats(blocks, rows, row, bus)
    if op == FILL:
        _near(d, w, i, SEG_D, x, aregs, bases, c, to_span, 0, volume, WRITE)
        return
    far_in = kind == LOAD or kind == CDMA_IN
    d[D_BSTRIDE] = w[i, P0] if far_in else w[i, P1]
    if kind == LOAD:
        _far(d, w, i, SEG_A, x, aregs, bases, c, segments, from_span, from_blocks, volume, 1, DIR_READ)
        _near(d, w, i, SEG_D, x, aregs, bases, c, to_span, to_blocks, volume, WRITE)
    elif kind == STORE:
        _near(d, w, i, SEG_A, x, aregs, bases, c, from_span, from_blocks, volume, READ)
        _far(d, w, i, SEG_D, x, aregs, bases, c, segments, to_span, to_blocks, volume, 1, DIR_WRITE)
    elif (w[i, SEG_D] if far_in else w[i, SEG_A]) == L2:
        _far(d, w, i, SEG_A, x, aregs, bases, c, segments, from_span, from_blocks, volume, 1, DIR_READ)
        _far(d, w, i, SEG_D, x, aregs, bases, c, segments, to_span, to_blocks, volume, copies, DIR_WRITE)
    else:
        d[D_FAULT] = FAULT_SEGMENT


@njit(cache=True)
def _copyx(d, w, i, q, x, aregs, bases, c, segments, rows, row):
    limit, pitch, volume = w[i, N0], w[i, P0], rows * row
    bus = c[C_LOAD] if q[x, KIND] == LOAD else c[C_STORE]
    d[D_BYTES], d[D_ROW], d[D_ROWS] = volume, row, rows
    d[D_CYCLES] = copy_beats(1, rows, row, bus) + rows
    _near(d, w, i, SEG_B, x, aregs, bases, c, rows * 4, 0, rows * 4, READ)
    table = (limit - 1) * pitch
    if q[x, KIND] == LOAD:
        _far(d, w, i, SEG_A, x, aregs, bases, c, segments, row, table, volume, 1, DIR_READ)
        _near(d, w, i, SEG_D, x, aregs, bases, c, (rows - 1) * w[i, STRIDE_D] + row, 0, volume, WRITE)
    else:
        _near(d, w, i, SEG_A, x, aregs, bases, c, (rows - 1) * w[i, STRIDE_A] + row, 0, volume, READ)
        _far(d, w, i, SEG_D, x, aregs, bases, c, segments, row, table, volume, 1, DIR_WRITE)
    d[D_TABLE], d[D_PITCH] = limit, pitch


@njit(cache=True)
def popcount(mask, bits):
    """Set bits among the lowest `bits`."""
    total = 0
    for bit in range(bits):
        total += mask >> bit & 1
    return total


@njit(cache=True)
def _transfer(d, w, i, q, x, aregs, bases, c, segments, blocks, rows, row, clusters):
    kind, op = q[x, KIND], w[i, OP]
    if float(blocks) * rows * row > SIZE_LIMIT:
        d[D_FAULT] = FAULT_SIZE
    elif op == COPY:
        _copy(d, w, i, q, x, aregs, bases, c, segments, blocks, rows, row, 1)
    elif op == FILL and kind == LOAD:
        _copy(d, w, i, q, x, aregs, bases, c, segments, 1, rows, row, 1)
    elif op == COPYX and kind < MATRIX:
        _copyx(d, w, i, q, x, aregs, bases, c, segments, rows, row)
    elif op == MCAST and kind == CDMA_IN and w[i, SEG_A] <= HBM_LAST:
        d[D_MASK] = aregs[x, w[i, P2] & 15] & ((1 << min(clusters, 48)) - 1)
        copies = popcount(d[D_MASK], min(clusters, 48))
        _copy(d, w, i, q, x, aregs, bases, c, segments, blocks, rows, row, copies)
    else:
        d[D_FAULT] = FAULT_OP


@njit(cache=True)
def plan(d, w, i, q, x, aregs, bases, c, segments, scalars, clusters):
    """Fill d for unit word i at the head of queue x (HOST words excepted)."""
    for slot in range(D_SIZE):
        d[slot] = 0
    op, kind = w[i, OP], q[x, KIND]
    n0, n1 = count(w, i, q, x, aregs, scalars, 0), count(w, i, q, x, aregs, scalars, 1)
    n2 = count(w, i, q, x, aregs, scalars, 2)
    d[D_CYCLES] = 1
    if kind == MATRIX and op == MATMUL:
        if n0 == 0 or n1 == 0:
            d[D_ZERO] = 1
        else:
            _matmul(d, w, i, x, aregs, bases, c, n0, n1, n2)
    elif kind == VECTOR and (op == VEC or op == VPERM or op == VGATHER):
        if n0 == 0 or n1 == 0:
            d[D_ZERO] = 1
        elif float(n0) * n1 * c[C_STARTUP] > SIZE_LIMIT >> 4:
            d[D_FAULT] = FAULT_SIZE
        elif op == VEC:
            _vec(d, w, i, x, aregs, bases, c, n0, n1)
        else:
            _permute(d, w, i, x, aregs, bases, c, n0, n1, n2)
    elif kind == LOAD or kind == STORE or kind == CDMA_IN or kind == CDMA_OUT:
        no_blocks = n0 == 0 and (op == COPY or op == MCAST)
        if n1 == 0 or n2 == 0 or no_blocks:
            d[D_ZERO] = 1
        else:
            _transfer(d, w, i, q, x, aregs, bases, c, segments, n0, n1, n2, clusters)
    else:
        d[D_FAULT] = FAULT_OP
