"""Codes of the machine as plain integers, which Numba freezes into the kernels.

In:  the enums of `athena.isa.fields`. Out: integers of the same names.
"""

from __future__ import annotations

from athena.isa.fields import Acc, Dt, GatherMode, Kind, Lut, Op, Perm, Queue, Red, Seg, Sig

STORE, LOAD, MATRIX, VECTOR, CDMA_IN, CDMA_OUT, HOST = (int(kind) for kind in Queue)
END, SYNC, LOOP, SETA = int(Op.END), int(Op.SYNC), int(Op.LOOP), int(Op.SETA)
COPY, COPYX, FILL, MCAST = int(Op.COPY), int(Op.COPYX), int(Op.FILL), int(Op.MCAST)
MATMUL, VEC, VPERM, VGATHER = int(Op.MATMUL), int(Op.VEC), int(Op.VPERM), int(Op.VGATHER)
VMXQ, CALL = int(Op.VMXQ), int(Op.CALL)
L1, ACC, L2, HBM_LAST = int(Seg.L1), int(Seg.ACC), int(Seg.L2), int(Seg.HOST)
NONE, F32, BF16, F16, I8, U8, I32 = (int(dt) for dt in Dt)
K_NONE, K_FULL, K_ROW, K_COL, K_SCALAR, K_IMM = (int(kind) for kind in Kind)
SELF, CORES_OF_CLUSTER, CDMA = int(Sig.SELF), int(Sig.CORES_OF_CLUSTER), int(Sig.CDMA)
ALL_CORES, CDMA_MASK = int(Sig.ALL_CORES), int(Sig.CDMA_MASK)
CORES_MASK, CHIP = int(Sig.CORES_MASK), int(Sig.CHIP)
ACC_KEEP, ACC_BIAS = int(Acc.KEEP), int(Acc.BIAS)
RED_NONE, RED_SUMSQ, LUT_NONE = int(Red.NONE), int(Red.SUMSQ), int(Lut.NONE)
TRANSPOSE, ROTATE_HALF = int(Perm.TRANSPOSE), int(Perm.ROTATE_HALF)
ROWS_MODE = int(GatherMode.ROWS)
AREG_BITS = 48
MASK_BITS = AREG_BITS  # masks are kept in aregs: they can name clusters 0 to 47
