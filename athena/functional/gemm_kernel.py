"""Numba intrinsics: the inner loop of MATMUL and a 16 × 16 transposition, written as LLVM vectors.

The loop keeps a block of chains in registers: for k ascending, chain = chain + a[row, k] * b[k,
column], a multiply and an add, each rounded (no fast-math flag, so nothing is contracted or
reordered). Vectors of 16 floats are legal everywhere; LLVM splits them where registers are
narrower. Results do not depend on the width.
"""

# mypy: ignore-errors

from __future__ import annotations

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

PANEL = 64  # columns of a packed panel of B, the stride of its rows
ROWS = 4  # rows of A that advance together
SIDE = 16  # side of the transposed block
_FLOAT = ir.FloatType()
_I64 = ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, SIDE)
# Chains a row in registers: 32 vector registers with AVX-512, 16 otherwise.
WIDTH = 32 if llvm.get_host_cpu_features().get("avx512f") else 16


def _at(builder, address, kind):
    return builder.inttoptr(address, ir.PointerType(kind))


def _splat(builder, value):
    vector = builder.insert_element(
        ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
    )
    mask = ir.Constant(ir.VectorType(ir.IntType(32), SIDE), [0] * SIDE)
    return builder.shuffle_vector(vector, ir.Constant(_VECTOR, ir.Undefined), mask)


def _chains(builder, args, rows, width):
    """Emit the loop over k and store the chains."""
    a, a_stride, b, depth, out = args
    vectors = width // SIDE
    before = builder.block
    body = builder.append_basic_block("k_body")
    after = builder.append_basic_block("k_after")
    builder.branch(body)
    builder.position_at_end(body)
    k = builder.phi(_I64)
    chains = [builder.phi(_VECTOR) for _ in range(rows * vectors)]
    row_at = builder.add(b, builder.mul(k, ir.Constant(_I64, 4 * PANEL)))
    b_rows = [
        builder.load(_at(builder, builder.add(row_at, ir.Constant(_I64, 64 * v)), _VECTOR), align=4)
        for v in range(vectors)
    ]
    a_at = builder.add(a, builder.mul(k, ir.Constant(_I64, 4)))
    sums = []
    for r in range(rows):
        place = builder.add(a_at, builder.mul(a_stride, ir.Constant(_I64, r)))
        value = _splat(builder, builder.load(_at(builder, place, _FLOAT), align=4))
        for v in range(vectors):
            product = builder.fmul(value, b_rows[v])
            sums.append(builder.fadd(chains[r * vectors + v], product))
    step = builder.add(k, ir.Constant(_I64, 1))
    builder.cbranch(builder.icmp_signed("<", step, depth), body, after)
    k.add_incoming(ir.Constant(_I64, 0), before)
    k.add_incoming(step, body)
    zero = ir.Constant(_VECTOR, [0.0] * SIDE)
    for chain, total in zip(chains, sums, strict=True):
        chain.add_incoming(zero, before)
        chain.add_incoming(total, body)
    builder.position_at_end(after)
    for r in range(rows):
        for v in range(vectors):
            place = builder.add(out, ir.Constant(_I64, 4 * PANEL * r + 64 * v))
            builder.store(sums[r * vectors + v], _at(builder, place, _VECTOR), align=4)


def _block(rows, width):
    @intrinsic
    def block(typingctx, a, a_stride, b, depth, out):
        """out[rows, width] = chains.

        A: rows at a_stride bytes, b: a packed panel, depth ≥ 1; all are addresses.
        """
        sig = types.void(types.int64, types.int64, types.int64, types.int64, types.int64)

        def codegen(context, builder, signature, args):
            _chains(builder, args, rows, width)
            return context.get_dummy_value()

        return sig, codegen

    return block


chains_rows = _block(ROWS, WIDTH)
chains_row = _block(1, PANEL)


@intrinsic
def transpose16(typingctx, source, source_stride, target):
    """target[16, 16] at the panel's stride = transposed source, rows at source_stride bytes.

    All are addresses.
    """
    sig = types.void(types.int64, types.int64, types.int64)

    def codegen(context, builder, signature, args):
        source, stride, target = args
        rows = [
            builder.load(
                _at(
                    builder, builder.add(source, builder.mul(stride, ir.Constant(_I64, r))), _VECTOR
                ),
                align=4,
            )
            for r in range(SIDE)
        ]
        # Four rounds: interleave row i with row i + 8, which rotates the index bits of (row,
        # column) by one.
        index = ir.VectorType(ir.IntType(32), SIDE)
        low = ir.Constant(index, [i // 2 + (SIDE if i % 2 else 0) for i in range(SIDE)])
        high = ir.Constant(
            index, [SIDE // 2 + i // 2 + (SIDE if i % 2 else 0) for i in range(SIDE)]
        )
        half = SIDE // 2
        for _ in range(4):
            pairs = [(rows[i], rows[i + half]) for i in range(half)]
            rows = [builder.shuffle_vector(x, y, mask) for x, y in pairs for mask in (low, high)]
        for r in range(SIDE):
            place = builder.add(target, ir.Constant(_I64, 4 * PANEL * r))
            builder.store(rows[r], _at(builder, place, _VECTOR), align=4)
        return context.get_dummy_value()

    return sig, codegen
