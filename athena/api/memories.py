"""Main memories for comparisons with the RTL: latencies, bandwidths, banks with refresh.

In:  a chip, which kinds. Out: for each run of a program, the memories that take turns.
Raises: UsageError for an unknown kind.
"""

from __future__ import annotations

from athena.chip import Chip, load_chip
from athena.chip.model import Hbm, MemoryKind
from athena.errors import UsageError, printable

KINDS = ("fixed", "banks", "both")
BANKED = "athena-edge-lpddr5"
OTHERS = ((4, 1.0), (100, 1.0), (200, 0.5), (40, 0.25), (12, 0.5), (60, 0.8), (80, 0.5))


def memories(chip: Chip, kind: str) -> tuple[tuple[Hbm, ...], ...]:
    """`fixed`: the chip's own, and latencies in cycles with shares of its bandwidth taking turns.

    `banks`: a channel with banks, rows and refresh: the chip's own, or that of BANKED.
    """
    if kind not in KINDS:
        raise UsageError(
            f"no memory '{printable(kind)}'", where="--memory", hint=f"one of {', '.join(KINDS)}"
        )
    fixed = chip.hbm.model_copy(update={"kind": MemoryKind.FIXED})
    others = tuple(
        fixed.model_copy(
            update={
                "latency_cycles": latency,
                "bandwidth_gbytes_per_s": fixed.bandwidth_gbytes_per_s * share,
            }
        )
        for latency, share in OTHERS
    )
    found = ((fixed,), others) if kind != "banks" else ()
    if kind == "fixed":
        return found
    if chip.hbm.kind is MemoryKind.HBM:
        return (*found, (chip.hbm,))
    return (*found, (load_chip(BANKED).hbm,))
