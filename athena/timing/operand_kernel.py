"""Fields of a word as a queue sees them: clipped counts, addresses, bank ports.

In:  the engine's memory (`athena.timing.layout`), the words, a word, a queue. Out: numbers; port
     masks and faults in D_….
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from athena.isa.fields import AREG_A, CLIP0, CLIP_EN, IMM_A, LIM0, N0, SEG_A
from athena.timing.codes import ACC, BF16, F16, F32, I8, I32, L1, U8
from athena.timing.event_kernel import scalar
from athena.timing.jit import kernel
from athena.timing.layout import (
    AREG,
    BASE,
    C_ACC,
    C_ACC_BANK,
    C_L1,
    C_L1_BANK,
    D_COUNTS,
    D_FAULT,
    FAULT_BOUNDS,
    FAULT_SEGMENT,
    N_ACR,
    N_L1R,
)


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
    if dt in (F32, I32):
        return 4
    if dt in (BF16, F16):
        return 2
    return 1 if dt in (I8, U8) else 0


@kernel("i8(i8[::1],i8,i8,i8,i8)")
def touch(m, segment, low, size, side):
    """Reserve the ports of the banks of [low, low + size) in L1 or ACC; returns the first and last
    of them as first << 8 | last.
    """
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
    last = max(low + size - 1, low) // bank
    if size > 0:
        banks = last - first + 1
        m[side] |= (-1 if banks >= 64 else (1 << banks) - 1) << first
    base = 0 if segment == L1 else 64
    return (base + first) << 8 | (base + last)


@kernel("i8(i8,i8)")
def share(x, y):
    """Whether two results of `touch` (-1: none) have a bank in common."""
    return x >= 0 and y >= 0 and x >> 8 <= (y & 255) and y >> 8 <= (x & 255)


@kernel("void(i8[::1],i8,i8)")
def local_read(m, segment, size):
    """Count bytes read from L1 or ACC."""
    m[D_COUNTS + (N_L1R if segment == L1 else N_ACR)] += size
