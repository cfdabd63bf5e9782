"""What one unit word asks for: ports, cycles or beats, bytes and action counts, from its fields and the queue's registers.

In:  the decoded words, aregs, segment bases, launch scalars and chip parameters (`athena.timing.layout`).
Out: m[...], the demand of the word: port masks, service time, transfer, counts; D_FAULT if the word cannot run.
"""

from __future__ import annotations

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
from athena.timing.event_kernel import (
    scalar,
)
from athena.timing.jit import kernel
from athena.timing.layout import (
    AREG,
    BASE,
    C_ACC,
    C_ACC_BANK,
    C_CLUSTERS,
    C_COLS,
    C_DMA,
    C_HBM_LATENCY,
    C_HIGH,
    C_L1,
    C_L1_BANK,
    C_L2,
    C_L2_LATENCY,
    C_LANES,
    C_LOAD,
    C_LOW,
    C_MAC_LATENCY,
    C_RATE,
    C_ROWS,
    C_STARTUP,
    C_STORE,
    D_ADDR,
    D_AT,
    D_BSTRIDE,
    D_BYTES,
    D_COUNTS,
    D_CYCLES,
    D_DIR,
    D_END,
    D_FAULT,
    D_L2,
    D_LATENCY,
    D_MASK,
    D_PITCH,
    D_ROW,
    D_ROWS,
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
    WRITE,
)

for _function in (
    law.ceil_div,
    law.matmul_cycles,
    law.copy_beats,
    law.tree_levels,
    law.vec_cycles,
    law.vperm_cycles,
):
    register_jitable(_function)
register_jitable(law.vgather_cycles)
ceil_div, matmul_cycles, copy_beats = law.ceil_div, law.matmul_cycles, law.copy_beats
vec_cycles, vperm_cycles, vgather_cycles = law.vec_cycles, law.vperm_cycles, law.vgather_cycles

L1, ACC, L2, HBM_LAST = int(Seg.L1), int(Seg.ACC), int(Seg.L2), int(Seg.HOST)
NONE, F32, BF16, F16, I8, U8, I32 = (
    int(t) for t in (Dt.NONE, Dt.F32, Dt.BF16, Dt.F16, Dt.I8, Dt.U8, Dt.I32)
)
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
MASK_BITS = 48  # bits of an areg: masks name clusters 0 to 47


@kernel("i8(i8[::1],i8[:,::1],i8,i8,i8)")
def count(m, w, i, p, which):
    """Count field n0, n1 or n2 after its clip."""
    n = w[i, N0 + which]
    if w[i, CLIP_EN] >> which & 1:
        select = w[i, CLIP0 + which]
        limit = w[i, LIM0 + which] + scalar(m, p, select >> 4) - m[p + AREG + (select & 15)]
        n = min(n, max(0, limit))
    return n


@kernel("i8(i8[::1],i8[:,::1],i8,i8,i8)")
def address(m, w, i, at, p):
    """Address of the operand whose first column is `at`."""
    return (
        m[p + BASE + w[i, at]] + m[p + AREG + w[i, at + AREG_A - SEG_A]] + w[i, at + IMM_A - SEG_A]
    )


@kernel("i8(i8)")
def dt_bytes(dt):
    """Bytes of an element."""
    if dt == F32 or dt == I32:
        return 4
    if dt == BF16 or dt == F16:
        return 2
    return 1 if dt == I8 or dt == U8 else 0


@kernel("i8(i8[::1],i8,i8,i8,i8)")
def touch(m, segment, low, size, side):
    """Reserve the ports of the banks of [low, low + size) in L1 or ACC; returns the bank of the first byte."""
    if segment == L1:
        limit, bank = m[C_L1], m[C_L1_BANK]
    elif segment == ACC:
        limit, bank = m[C_ACC], m[C_ACC_BANK]
        side += 1
    else:
        m[D_FAULT] = FAULT_SEGMENT
        return 0
    if low < 0 or low + size > limit:
        m[D_FAULT] = FAULT_BOUNDS
        return 0
    first = low // bank
    if size > 0:
        banks = (low + size - 1) // bank - first + 1
        m[side] |= (-1 if banks >= 64 else (1 << banks) - 1) << first
    return first if segment == L1 else 64 + first


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8,i8)")
def _matmul(m, w, i, p, height, n, k):
    """MATMUL of [height, k] by [k, n]."""
    mode, dt = w[i, MODE], w[i, DT_A]
    start = mode & MODE_ACC_MASK
    kind = 1 if dt == I8 or dt == U8 else (2 if dt == F32 else 0)
    size_a, size_b = dt_bytes(dt), dt_bytes(w[i, DT_B])
    rate = m[C_RATE + kind]
    if rate == 0 or size_a == 0 or size_b == 0 or dt == I32:
        m[D_FAULT] = FAULT_DTYPE
        return
    if float(height) * n * k > SIZE_LIMIT:
        m[D_FAULT] = FAULT_SIZE
        return
    rows, cols = m[C_ROWS], m[C_COLS]
    if k > 0:
        touch(
            m,
            w[i, SEG_A],
            address(m, w, i, SEG_A, p),
            (height - 1) * w[i, STRIDE_A] + k * size_a,
            READ,
        )
        stored, width = (n, k) if mode & MODE_B_TRANS else (k, n)
        span = (stored - 1) * w[i, STRIDE_B] + width * size_b
        touch(m, w[i, SEG_B], address(m, w, i, SEG_B, p), span, READ)
    at, span = address(m, w, i, SEG_D, p), (height - 1) * w[i, STRIDE_D] + n * 4
    if w[i, SEG_D] != ACC:
        m[D_FAULT] = FAULT_SEGMENT
        return
    touch(m, ACC, at, span, READ)
    touch(m, ACC, at, span, WRITE)
    n_tiles, k_tiles = ceil_div(n, cols), ceil_div(k, rows)
    m[D_COUNTS + N_L1R] = height * k * size_a * n_tiles + k * n * size_b
    if start == ACC_BIAS:
        touch(m, w[i, SEG_C], address(m, w, i, SEG_C, p), n * 4, READ)
        m[D_COUNTS + N_L1R] += n * 4
    m[D_CYCLES] = matmul_cycles(height, n, k, rows, cols, rate, m[C_MAC_LATENCY])
    m[D_COUNTS + N_MACS + kind] = height * n * k
    m[D_COUNTS + N_PADDED + kind] = n_tiles * cols * k_tiles * rows * height - height * n * k
    m[D_COUNTS + N_ACR] = height * n * 4 * max(k_tiles, 1 if start == ACC_KEEP else 0)
    m[D_COUNTS + N_ACW] = height * n * 4 * max(k_tiles, 1)


@kernel("void(i8[::1],i8,i8)")
def _local_read(m, segment, size):
    """Count bytes read from L1 or ACC."""
    m[D_COUNTS + (N_L1R if segment == L1 else N_ACR)] += size


@kernel("i8(i8[::1],i8[:,::1],i8,i8,i8,i8,i8,i8,i8)")
def _side_operand(m, w, i, p, at, size, kind, rows, cols):
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
    _local_read(m, segment, volume)
    return touch(m, segment, address(m, w, i, at, p), span, READ)


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8)")
def _vec(m, w, i, p, rows, cols):
    """VEC."""
    steps, kinds, mode = w[i, P0], w[i, P1], w[i, MODE]
    size = dt_bytes(w[i, DT_A])
    elements = rows * cols
    _local_read(m, w[i, SEG_A], elements * size)
    bank_a = touch(
        m, w[i, SEG_A], address(m, w, i, SEG_A, p), (rows - 1) * w[i, STRIDE_A] + cols * size, READ
    )
    size = dt_bytes(w[i, DT_B])
    bank_b = _side_operand(m, w, i, p, SEG_B, size, kinds & 255, rows, cols)
    size = dt_bytes(w[i, DT_B + 1])
    bank_c = _side_operand(m, w, i, p, SEG_C, size, kinds >> 8 & 255, rows, cols)
    passes = 1 + (bank_b == bank_a) + (bank_c == bank_a)
    if passes == 1 and bank_b >= 0 and bank_b == bank_c:
        passes = 2
    red = steps >> 24 & 255
    bank_e = -1
    if red != RED_NONE:
        at, span = address(m, w, i, SEG_E, p), (rows - 1) * w[i, STRIDE_E] + 4
        bank_e = touch(m, w[i, SEG_E], at, span, WRITE)
        m[D_COUNTS + (N_L1W if w[i, SEG_E] == L1 else N_ACW)] += rows * 4
        if mode & MODE_VEC_RED_KEEP:
            touch(m, w[i, SEG_E], at, span, READ)
            _local_read(m, w[i, SEG_E], rows * 4)
    result = w[i, DT_D]
    if result != NONE:
        size = dt_bytes(result)
        at, span = address(m, w, i, SEG_D, p), (rows - 1) * w[i, STRIDE_D] + cols * size
        bank_d = touch(m, w[i, SEG_D], at, span, WRITE)
        m[D_COUNTS + (N_L1W if w[i, SEG_D] == L1 else N_ACW)] += elements * size
        if bank_d == bank_e:
            passes = max(passes, 2)
        if result != (I32 if mode & MODE_VEC_INT else F32):
            m[D_COUNTS + N_CAST] = elements
    alus = (
        ((steps & 255) != 0) + ((steps >> 16 & 255) != 0) + (red != RED_NONE) + (red == RED_SUMSQ)
    )
    m[D_COUNTS + N_ALU] = elements * alus
    if steps >> 8 & 255 != LUT_NONE:
        m[D_COUNTS + N_LUT] = elements
    m[D_CYCLES] = vec_cycles(rows, cols, m[C_LANES], m[C_STARTUP], passes, red != RED_NONE)


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8,i8)")
def _permute(m, w, i, p, rows, cols, limit):
    """VPERM and VGATHER."""
    size = dt_bytes(w[i, DT_A])
    op, mode = w[i, OP], w[i, MODE]
    segment, at, stride = w[i, SEG_A], address(m, w, i, SEG_A, p), w[i, STRIDE_A]
    d_rows, d_cols = rows, cols
    if op == VPERM:
        touch(m, segment, at, (rows - 1) * stride + cols * size, READ)
        if mode == TRANSPOSE:
            d_rows, d_cols = cols, rows
        m[D_CYCLES] = vperm_cycles(rows, cols, m[C_LANES], m[C_STARTUP])
    else:
        table, width = (limit, cols) if mode == ROWS_MODE else (rows, limit)
        if limit > 0:
            touch(m, segment, at, (table - 1) * stride + width * size, READ)
        index = rows * 4 if mode == ROWS_MODE else (rows - 1) * w[i, STRIDE_B] + cols * 4
        touch(m, w[i, SEG_B], address(m, w, i, SEG_B, p), index, READ)
        _local_read(m, w[i, SEG_B], rows * 4 if mode == ROWS_MODE else rows * cols * 4)
        m[D_CYCLES] = vgather_cycles(rows, cols, m[C_LANES], m[C_STARTUP])
    _local_read(m, segment, rows * cols * size)
    span = (d_rows - 1) * w[i, STRIDE_D] + d_cols * size
    touch(m, w[i, SEG_D], address(m, w, i, SEG_D, p), span, WRITE)
    m[D_COUNTS + (N_L1W if w[i, SEG_D] == L1 else N_ACW)] += rows * cols * size


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8,i8,i8,i8,i8)")
def _far(m, w, i, at, p, span, block_span, volume, copies, direction):
    """The L2 or HBM side of a transfer. `span`: bytes from first to last of a block, `block_span`: of block starts (signed)."""
    segment, start = w[i, at], address(m, w, i, at, p)
    low, high = start + min(block_span, 0), start + max(block_span, 0) + span
    if segment == L2:
        if low < 0 or high > m[C_L2]:
            m[D_FAULT] = FAULT_BOUNDS
        m[D_L2] += 1
        m[D_COUNTS + (N_L2R if direction == DIR_READ else N_L2W)] += volume * copies
        if m[D_LATENCY] == 0:
            m[D_LATENCY] = m[C_L2_LATENCY]
    elif segment <= HBM_LAST:
        if low < m[C_LOW + segment] or high > m[C_HIGH + segment]:
            m[D_FAULT] = FAULT_BOUNDS
        m[D_DIR] = direction
        m[D_ADDR] = start
        m[D_STRIDE] = w[i, at + STRIDE_A - SEG_A]
        m[D_COUNTS + (N_HBMR if direction == DIR_READ else N_HBMW)] += volume
        m[D_LATENCY] = m[C_HBM_LATENCY]
    else:
        m[D_FAULT] = FAULT_SEGMENT


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8,i8,i8,i8)")
def _near(m, w, i, at, p, span, block_span, volume, side):
    """The L1 side of a transfer."""
    start = address(m, w, i, at, p)
    if w[i, at] != L1:
        m[D_FAULT] = FAULT_SEGMENT
        return
    low, high = start + min(block_span, 0), start + max(block_span, 0) + span
    touch(m, L1, low, high - low, side)
    m[D_COUNTS + (N_L1R if side == READ else N_L1W)] += volume


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8,i8,i8)")
def _copy(m, w, i, p, blocks, rows, row, copies):
    """COPY, MCAST (copies > 1 slices), and FILL."""
    kind, op = m[p + KIND], w[i, OP]
    volume = blocks * rows * row
    from_span, to_span = (rows - 1) * w[i, STRIDE_A] + row, (rows - 1) * w[i, STRIDE_D] + row
    from_blocks, to_blocks = (blocks - 1) * w[i, P0], (blocks - 1) * w[i, P1]
    m[D_BYTES], m[D_ROW], m[D_ROWS] = volume, row, rows
    bus = m[C_LOAD] if kind == LOAD else (m[C_STORE] if kind == STORE else m[C_DMA])
    m[D_CYCLES] = copy_beats(blocks, rows, row, bus)
    if op == FILL:
        _near(m, w, i, SEG_D, p, to_span, 0, volume, WRITE)
        return
    far_in = kind == LOAD or kind == CDMA_IN
    m[D_BSTRIDE] = w[i, P0] if far_in else w[i, P1]
    if kind == LOAD:
        _far(m, w, i, SEG_A, p, from_span, from_blocks, volume, 1, DIR_READ)
        _near(m, w, i, SEG_D, p, to_span, to_blocks, volume, WRITE)
    elif kind == STORE:
        _near(m, w, i, SEG_A, p, from_span, from_blocks, volume, READ)
        _far(m, w, i, SEG_D, p, to_span, to_blocks, volume, 1, DIR_WRITE)
    elif (w[i, SEG_D] if far_in else w[i, SEG_A]) == L2:
        _far(m, w, i, SEG_A, p, from_span, from_blocks, volume, 1, DIR_READ)
        _far(m, w, i, SEG_D, p, to_span, to_blocks, volume, copies, DIR_WRITE)
    else:
        m[D_FAULT] = FAULT_SEGMENT


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8)")
def _copyx(m, w, i, p, rows, row):
    """COPYX."""
    limit, pitch, volume = w[i, N0], w[i, P0], rows * row
    bus = m[C_LOAD] if m[p + KIND] == LOAD else m[C_STORE]
    m[D_BYTES], m[D_ROW], m[D_ROWS] = volume, row, rows
    m[D_CYCLES] = copy_beats(1, rows, row, bus) + rows
    _near(m, w, i, SEG_B, p, rows * 4, 0, rows * 4, READ)
    table = (limit - 1) * pitch
    if m[p + KIND] == LOAD:
        _far(m, w, i, SEG_A, p, row, table, volume, 1, DIR_READ)
        _near(m, w, i, SEG_D, p, (rows - 1) * w[i, STRIDE_D] + row, 0, volume, WRITE)
    else:
        _near(m, w, i, SEG_A, p, (rows - 1) * w[i, STRIDE_A] + row, 0, volume, READ)
        _far(m, w, i, SEG_D, p, row, table, volume, 1, DIR_WRITE)
    m[D_TABLE], m[D_PITCH] = limit, pitch


@kernel("i8(i8,i8)")
def popcount(mask, bits):
    """Set bits among the lowest `bits`."""
    total = 0
    for bit in range(bits):
        total += mask >> bit & 1
    return total


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8,i8)")
def _transfer(m, w, i, p, blocks, rows, row):
    """Words of the DMA queues."""
    kind, op = m[p + KIND], w[i, OP]
    if float(blocks) * rows * row > SIZE_LIMIT:
        m[D_FAULT] = FAULT_SIZE
    elif op == COPY:
        _copy(m, w, i, p, blocks, rows, row, 1)
    elif op == FILL and kind == LOAD:
        _copy(m, w, i, p, 1, rows, row, 1)
    elif op == COPYX and kind < MATRIX:
        _copyx(m, w, i, p, rows, row)
    elif op == MCAST and kind == CDMA_IN and w[i, SEG_A] <= HBM_LAST:
        clusters = min(m[C_CLUSTERS], MASK_BITS)
        m[D_MASK] = m[p + AREG + (w[i, P2] & 15)] & ((1 << clusters) - 1)
        copies = popcount(m[D_MASK], clusters)
        _copy(m, w, i, p, blocks, rows, row, copies)
    else:
        m[D_FAULT] = FAULT_OP


@kernel("void(i8[::1],i8[:,::1],i8,i8)")
def plan(m, w, i, p):
    """Fill D_… for unit word i at the head of queue p (HOST words excepted)."""
    for place in range(D_AT, D_END):
        m[place] = 0
    op, kind = w[i, OP], m[p + KIND]
    n0, n1 = count(m, w, i, p, 0), count(m, w, i, p, 1)
    n2 = count(m, w, i, p, 2)
    m[D_CYCLES] = 1
    if kind == MATRIX and op == MATMUL:
        if n0 == 0 or n1 == 0:
            m[D_ZERO] = 1
        else:
            _matmul(m, w, i, p, n0, n1, n2)
    elif kind == VECTOR and (op == VEC or op == VPERM or op == VGATHER):
        if n0 == 0 or n1 == 0:
            m[D_ZERO] = 1
        elif float(n0) * n1 * m[C_STARTUP] > SIZE_LIMIT >> 4:
            m[D_FAULT] = FAULT_SIZE
        elif op == VEC:
            _vec(m, w, i, p, n0, n1)
        else:
            _permute(m, w, i, p, n0, n1, n2)
    elif kind == LOAD or kind == STORE or kind == CDMA_IN or kind == CDMA_OUT:
        no_blocks = n0 == 0 and (op == COPY or op == MCAST)
        if n1 == 0 or n2 == 0 or no_blocks:
            m[D_ZERO] = 1
        else:
            _transfer(m, w, i, p, n0, n1, n2)
    else:
        m[D_FAULT] = FAULT_OP
