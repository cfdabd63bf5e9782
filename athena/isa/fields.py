"""The 128-byte instruction word: numpy dtype, codes, and the decoded form all executions read.

In:  nothing; these are the constants of the machine.
Out: `WORD_DTYPE` (structured, little endian, 128 bytes), enums of codes, and
     `decode(words)` → int64 [n, COLUMNS].

Word layout (bytes): 0 op, 1 mode, 2 dtypes (nibbles a, b, c, d), 4 two waits (sem, n), 8 two
signals, 12 clip enable, 13 three clip selectors; 16 six operands of 8 bytes (seg:4 areg:4
stride:24 | imm:32); 64 sixteen fields of 4 bytes: n0 n1 n2, lim0 lim1 lim2, p0…p7, f0 f1.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

WORD_BYTES = 128
AREGS = 16
SCALARS = 16
SEGMENTS = 16
CORE_SEMS = 32
CLUSTER_SEMS = 32
CHIP_SEMS = 32
SEM_MAX = 255
LOOP_DEPTH = 3
S_CORE = 14
S_CLUSTER = 15


class Op(IntEnum):
    """Operation codes; 0 is illegal so that cleared memory never runs."""

    ILLEGAL = 0
    END = 1
    SYNC = 2
    LOOP = 3
    SETA = 4
    COPY = 8
    COPYX = 9
    FILL = 10
    MCAST = 11
    MATMUL = 16
    VEC = 24
    VPERM = 25
    VGATHER = 26
    VMXQ = 27
    CALL = 32


class Queue(IntEnum):
    """Queue kinds; the numbers are also the tie order within a cycle."""

    STORE = 0
    LOAD = 1
    MATRIX = 2
    VECTOR = 3
    CDMA_IN = 4
    CDMA_OUT = 5
    HOST = 6


CORE_QUEUES = (Queue.STORE, Queue.LOAD, Queue.MATRIX, Queue.VECTOR)
CLUSTER_QUEUES = (Queue.CDMA_IN, Queue.CDMA_OUT)


class Seg(IntEnum):
    """Address spaces: 0–7 are HBM segments with a 64-bit base, 12–14 are local memories."""

    WORDS = 0
    PARAM = 1
    WEIGHT = 2
    KV = 3
    ACT = 4
    INPUT = 5
    OUTPUT = 6
    HOST = 7
    L1 = 12
    ACC = 13
    L2 = 14


HBM_SEGMENTS = tuple(Seg(i) for i in range(8))


class Dt(IntEnum):
    """Element types of operands."""

    NONE = 0
    F32 = 1
    BF16 = 2
    F16 = 3
    I8 = 4
    U8 = 5
    I32 = 6


DT_BYTES = {Dt.NONE: 0, Dt.F32: 4, Dt.BF16: 2, Dt.F16: 2, Dt.I8: 1, Dt.U8: 1, Dt.I32: 4}


class Sig(IntEnum):
    """Kinds of signal targets: kind:3 | arg:8 | sem:5 in 16 bits."""

    NONE = 0
    SELF = 1
    CORES_OF_CLUSTER = 2  # arg: mask of cores in the own cluster
    CDMA = 3  # own cluster's DMA
    ALL_CORES = 4
    CDMA_MASK = 5  # arg: areg that holds a mask of clusters
    CORES_MASK = 6  # arg: areg that holds a mask of clusters; every core of them
    CHIP = 7  # the chip's own semaphores (HOST queue)


class Alu(IntEnum):
    """Two-operand steps of VEC; comparisons give 1 or 0; SELECT gives b where t is not 0, else c
    (alu2 only).
    """

    PASS = 0
    ADD = 1
    SUB = 2
    RSUB = 3
    MUL = 4
    MAX = 5
    MIN = 6
    EQ = 7
    NE = 8
    LT = 9
    LE = 10
    GT = 11
    GE = 12
    SELECT = 13
    ABSDIFF = 14


class Lut(IntEnum):
    """One-operand steps of VEC; table-interpolated from EXP to COS, exact from FLOOR on."""

    NONE = 0
    EXP = 1
    LOG = 2
    RECIP = 3
    RSQRT = 4
    SQRT = 5
    TANH = 6
    ERF = 7
    GELU = 8
    GELU_TANH = 9
    SIGMOID = 10
    SILU = 11
    SIN = 12
    COS = 13
    FLOOR = 14
    CEIL = 15
    ROUND = 16
    TRUNC = 17
    ABS = 18
    NEG = 19
    SIGN = 20
    NOT = 21


class Red(IntEnum):
    """Row reductions that VEC gives beside its result."""

    NONE = 0
    SUM = 1
    MAX = 2
    MIN = 3
    SUMSQ = 4
    ABSMAX = 5


class Kind(IntEnum):
    """How VEC reads operands b and c: whole block, one row for all rows, one element a row, one
    element, or f0 / f1.
    """

    NONE = 0
    FULL = 1
    ROW = 2
    COL = 3
    SCALAR = 4
    IMM = 5


class Acc(IntEnum):
    """How MATMUL starts: from zero, from what the accumulator holds, or from a bias row."""

    ZERO = 0
    KEEP = 1
    BIAS = 2


class Perm(IntEnum):
    """Modes of VPERM."""

    TRANSPOSE = 0
    ROTATE_HALF = 1
    ROTATE_PAIRS = 2
    COPY = 3


class GatherMode(IntEnum):
    """Modes of VGATHER: whole rows a[idx[r], :], or one element of each row a[r, idx[r, j]]."""

    ROWS = 0
    ELEMENTS = 1


class QuantMode(IntEnum):
    """Modes of VMXQ: int8 with one scale a row, found from the row itself."""

    ROW_INT8 = 0


# mode bits
MODE_ACC_MASK = 0x3  # MATMUL: Acc
MODE_B_TRANS = 0x4  # MATMUL: B is stored [N, K]
MODE_SETA_SHIFT = 0x1  # SETA: shift instead of multiply
MODE_VEC_INT = 0x1  # VEC: int32 arithmetic
MODE_VEC_MASK = 0x2  # VEC: mask on
MODE_VEC_RED_KEEP = 0x4  # VEC: side output combines with what e holds

_OPERANDS = ("a", "b", "c", "d", "e", "g")

WORD_DTYPE = np.dtype(
    [
        ("op", "u1"),
        ("mode", "u1"),
        ("dt", "<u2"),
        ("wait", "u1", (4,)),
        ("sig", "<u2", (2,)),
        ("clip", "u1", (4,)),
        *[(name, "<u4", (2,)) for name in _OPERANDS],
        ("n", "<u4", (3,)),
        ("lim", "<i4", (3,)),
        ("p", "<i4", (8,)),
        ("f", "<f4", (2,)),
    ]
)
if WORD_DTYPE.itemsize != WORD_BYTES:
    raise AssertionError("the word is 128 bytes")

# Columns of the decoded form.
OP, MODE, DT_A, DT_B, DT_C, DT_D = range(6)
WAIT0, WAIT0_N, WAIT1, WAIT1_N, SIG0, SIG1 = range(6, 12)
CLIP_EN, CLIP0, CLIP1, CLIP2 = range(12, 16)
# Operand i (a b c d e g = 0..5), from column SEG_A + 4 i: seg, areg, imm and row stride (bytes).
SEG_A, AREG_A, IMM_A, STRIDE_A = range(16, 20)
SEG_B, AREG_B, IMM_B, STRIDE_B = range(20, 24)
SEG_C, AREG_C, IMM_C, STRIDE_C = range(24, 28)
SEG_D, AREG_D, IMM_D, STRIDE_D = range(28, 32)
SEG_E, AREG_E, IMM_E, STRIDE_E = range(32, 36)
SEG_G, AREG_G, IMM_G, STRIDE_G = range(36, 40)
N0, N1, N2, LIM0, LIM1, LIM2 = range(40, 46)
P0, P1, P2, P3, P4, P5, P6, P7 = range(46, 54)
F0_BITS, F1_BITS = range(54, 56)
COLUMNS = 56


def decode(words: NDArray[np.void]) -> NDArray[np.int64]:
    """Words [n] of `WORD_DTYPE` as int64 [n, COLUMNS]; floats stay as their bit patterns (F0_BITS,
    F1_BITS).
    """
    out = np.empty((len(words), COLUMNS), np.int64)
    out[:, OP] = words["op"]
    out[:, MODE] = words["mode"]
    for i in range(4):
        out[:, DT_A + i] = (words["dt"] >> (4 * i)) & 15
    out[:, WAIT0 : WAIT0 + 4] = words["wait"]
    out[:, SIG0 : SIG0 + 2] = words["sig"]
    out[:, CLIP_EN : CLIP_EN + 4] = words["clip"]
    for i, name in enumerate(_OPERANDS):
        low, at = words[name][:, 0], SEG_A + 4 * i
        out[:, at] = low & 15
        out[:, at + 1] = (low >> 4) & 15
        out[:, at + 2] = words[name][:, 1]
        out[:, at + 3] = low >> 8
    out[:, N0 : N0 + 3] = words["n"]
    out[:, LIM0 : LIM0 + 3] = words["lim"]
    out[:, P0 : P0 + 8] = words["p"]
    out[:, F0_BITS : F0_BITS + 2] = np.ascontiguousarray(words["f"]).view("<u4").reshape(-1, 2)
    return out


def signal(kind: Sig, sem: int, arg: int = 0) -> int:
    """The 16-bit code of a signal target."""
    return int(kind) << 13 | arg << 5 | sem
