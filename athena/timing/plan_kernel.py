"""What one unit word asks for: ports, cycles or beats, bytes and action counts, from its fields and
the queue's registers.

In:  the decoded words, aregs, segment bases, launch scalars and chip parameters
     (`athena.timing.layout`).
Out: m[...], the demand of the word: port masks, service time, transfer, counts; D_FAULT if the word
     cannot run.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from athena.isa.cycles import (
    ceil_div,
    matmul_cycles,
    transpose_cycles,
    vec_cycles,
    vec_passes,
    vgather_cycles,
    vmxq_cycles,
    vperm_cycles,
)
from athena.isa.fields import (
    DT_A,
    DT_B,
    DT_D,
    MODE,
    MODE_ACC_MASK,
    MODE_B_TRANS,
    MODE_VEC_INT,
    MODE_VEC_RED_KEEP,
    OP,
    P0,
    P1,
    SEG_A,
    SEG_B,
    SEG_C,
    SEG_D,
    SEG_E,
    STRIDE_A,
    STRIDE_B,
    STRIDE_D,
    STRIDE_E,
)
from athena.timing.codes import (
    ACC,
    ACC_BIAS,
    ACC_KEEP,
    CDMA_IN,
    CDMA_OUT,
    COPY,
    F32,
    I8,
    I32,
    K_COL,
    K_FULL,
    K_IMM,
    K_NONE,
    K_ROW,
    L1,
    LOAD,
    LUT_NONE,
    MATMUL,
    MATRIX,
    MCAST,
    NONE,
    RED_NONE,
    RED_SUMSQ,
    ROTATE_HALF,
    ROWS_MODE,
    STORE,
    TRANSPOSE,
    U8,
    VEC,
    VECTOR,
    VGATHER,
    VMXQ,
    VPERM,
)
from athena.timing.copy_kernel import transfer
from athena.timing.jit import kernel
from athena.timing.layout import (
    C_COLS,
    C_LANES,
    C_MAC_LATENCY,
    C_RATE,
    C_ROWS,
    C_STARTUP,
    D_AT,
    D_COUNTS,
    D_CYCLES,
    D_END,
    D_FAULT,
    D_ZERO,
    FAULT_DTYPE,
    FAULT_OP,
    FAULT_SEGMENT,
    FAULT_SIZE,
    KIND,
    N_ACR,
    N_ACW,
    N_ALU,
    N_CAST,
    N_L1R,
    N_L1W,
    N_LUT,
    N_MACS,
    N_PADDED,
    READ,
    SIZE_LIMIT,
    WRITE,
)
from athena.timing.operand_kernel import address, count, dt_bytes, local_read, share, touch


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8,i8)")
def _matmul(m, w, i, p, height, n, k):
    """MATMUL of [height, k] by [k, n]."""
    mode, dt = w[i, MODE], w[i, DT_A]
    start = mode & MODE_ACC_MASK
    kind = 1 if dt in (I8, U8) else (2 if dt == F32 else 0)
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


@kernel("i8(i8[::1],i8[:,::1],i8,i8,i8,i8,i8,i8,i8)")
def _side_operand(m, w, i, p, at, size, kind, rows, cols):
    """Operand b or c of VEC; returns its banks, or -1 if it is not in memory."""
    if kind in (K_NONE, K_IMM):
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
    local_read(m, segment, volume)
    return touch(m, segment, address(m, w, i, at, p), span, READ)


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8)")
def _vec(m, w, i, p, rows, cols):
    """VEC."""
    steps, kinds, mode = w[i, P0], w[i, P1], w[i, MODE]
    size = dt_bytes(w[i, DT_A])
    elements = rows * cols
    local_read(m, w[i, SEG_A], elements * size)
    bank_a = touch(
        m, w[i, SEG_A], address(m, w, i, SEG_A, p), (rows - 1) * w[i, STRIDE_A] + cols * size, READ
    )
    size = dt_bytes(w[i, DT_B])
    bank_b = _side_operand(m, w, i, p, SEG_B, size, kinds & 255, rows, cols)
    size = dt_bytes(w[i, DT_B + 1])
    bank_c = _side_operand(m, w, i, p, SEG_C, size, kinds >> 8 & 255, rows, cols)
    red = steps >> 24 & 255
    bank_e, bank_kept, bank_d = -1, -1, -1
    if red != RED_NONE:
        at, span = address(m, w, i, SEG_E, p), (rows - 1) * w[i, STRIDE_E] + 4
        bank_e = touch(m, w[i, SEG_E], at, span, WRITE)
        m[D_COUNTS + (N_L1W if w[i, SEG_E] == L1 else N_ACW)] += rows * 4
        if mode & MODE_VEC_RED_KEEP:
            bank_kept = touch(m, w[i, SEG_E], at, span, READ)
            local_read(m, w[i, SEG_E], rows * 4)
    result = w[i, DT_D]
    if result != NONE:
        size = dt_bytes(result)
        at, span = address(m, w, i, SEG_D, p), (rows - 1) * w[i, STRIDE_D] + cols * size
        bank_d = touch(m, w[i, SEG_D], at, span, WRITE)
        m[D_COUNTS + (N_L1W if w[i, SEG_D] == L1 else N_ACW)] += elements * size
        if result != (I32 if mode & MODE_VEC_INT else F32):
            m[D_COUNTS + N_CAST] = elements
    alus = (
        ((steps & 255) != 0) + ((steps >> 16 & 255) != 0) + (red != RED_NONE) + (red == RED_SUMSQ)
    )
    m[D_COUNTS + N_ALU] = elements * alus
    if steps >> 8 & 255 != LUT_NONE:
        m[D_COUNTS + N_LUT] = elements
    passes = vec_passes(
        share(bank_a, bank_b),
        share(bank_a, bank_c),
        share(bank_b, bank_c),
        share(bank_a, bank_kept),
        share(bank_b, bank_kept),
        share(bank_c, bank_kept),
        share(bank_d, bank_e),
    )
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
            m[D_CYCLES] = transpose_cycles(rows, cols, m[C_LANES], m[C_STARTUP])
        else:
            parts = 2 if mode == ROTATE_HALF else 1
            m[D_CYCLES] = vperm_cycles(rows, cols, m[C_LANES], m[C_STARTUP], parts)
    else:
        table, width = (limit, cols) if mode == ROWS_MODE else (rows, limit)
        if limit > 0:
            touch(m, segment, at, (table - 1) * stride + width * size, READ)
        index = rows * 4 if mode == ROWS_MODE else (rows - 1) * w[i, STRIDE_B] + cols * 4
        touch(m, w[i, SEG_B], address(m, w, i, SEG_B, p), index, READ)
        local_read(m, w[i, SEG_B], rows * 4 if mode == ROWS_MODE else rows * cols * 4)
        m[D_CYCLES] = vgather_cycles(rows, cols, m[C_LANES], m[C_STARTUP], mode != ROWS_MODE)
    local_read(m, segment, rows * cols * size)
    span = (d_rows - 1) * w[i, STRIDE_D] + d_cols * size
    touch(m, w[i, SEG_D], address(m, w, i, SEG_D, p), span, WRITE)
    m[D_COUNTS + (N_L1W if w[i, SEG_D] == L1 else N_ACW)] += rows * cols * size


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8)")
def _quantise(m, w, i, p, rows, cols):
    """VMXQ."""
    size, elements = dt_bytes(w[i, DT_A]), rows * cols
    span = (rows - 1) * w[i, STRIDE_A] + cols * size
    touch(m, w[i, SEG_A], address(m, w, i, SEG_A, p), span, READ)
    local_read(m, w[i, SEG_A], 2 * elements * size)
    at, span = address(m, w, i, SEG_E, p), (rows - 1) * w[i, STRIDE_E] + 4
    touch(m, w[i, SEG_E], at, span, WRITE)
    touch(m, w[i, SEG_E], at, span, READ)
    local_read(m, w[i, SEG_E], rows * 4)
    span = (rows - 1) * w[i, STRIDE_D] + cols
    touch(m, w[i, SEG_D], address(m, w, i, SEG_D, p), span, WRITE)
    if w[i, SEG_D] != L1 or w[i, SEG_E] != L1:
        m[D_FAULT] = FAULT_SEGMENT
    m[D_COUNTS + N_L1W] += elements + rows * 4
    m[D_COUNTS + N_ALU] = 2 * elements + rows
    m[D_COUNTS + N_LUT] = rows
    m[D_COUNTS + N_CAST] = elements
    m[D_CYCLES] = vmxq_cycles(rows, cols, m[C_LANES], m[C_STARTUP])


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
    elif kind == VECTOR and (op in (VEC, VPERM, VGATHER, VMXQ)):
        if n0 == 0 or n1 == 0:
            m[D_ZERO] = 1
        elif float(n0) * n1 * m[C_STARTUP] > SIZE_LIMIT >> 4:
            m[D_FAULT] = FAULT_SIZE
        elif op == VEC:
            _vec(m, w, i, p, n0, n1)
        elif op == VMXQ:
            _quantise(m, w, i, p, n0, n1)
        else:
            _permute(m, w, i, p, n0, n1, n2)
    elif kind in (LOAD, STORE, CDMA_IN, CDMA_OUT):
        no_blocks = n0 == 0 and (op in (COPY, MCAST))
        if n1 == 0 or n2 == 0 or no_blocks:
            m[D_ZERO] = 1
        else:
            transfer(m, w, i, p, n0, n1, n2)
    else:
        m[D_FAULT] = FAULT_OP
