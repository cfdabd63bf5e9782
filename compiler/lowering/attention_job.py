"""What an attention looks like once shapes and tiles are fixed.

In:  filled by `attention.prepare_attention`.   Out: read by `attention_emit`.
"""

from __future__ import annotations

from dataclasses import dataclass

from athena.chip import Chip
from athena.isa.cycles import ceil_div
from athena.isa.fields import DT_BYTES, Dt
from compiler.lowering.plan import PlanStep
from compiler.lowering.views import View

PITCH_ALIGN = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionMap:
    """Tiles and core split; `tiles` key tiles in all, `row_blocks` query blocks a core."""

    bq: int = 0
    bk: int = 0
    head_groups: int = 1
    batch_groups: int = 1
    row_groups: int = 1
    row_blocks: int = 1
    tiles: int = 1
    s_slots: int = 1
    subs: int = 1
    p_dt: Dt = Dt.BF16
    cycles: float = 0.0
    bound: str = ""

    def describe(self) -> str:
        """One line for `--explain`."""
        return (
            f"online softmax, {self.subs}x{self.bq} rows x {self.bk} keys a tile, "
            f"{self.tiles} key tiles, "
            f"{self.batch_groups}x{self.head_groups}x{self.row_groups} cores "
            f"(batch x heads x rows), "
            f"~{self.cycles:,.0f} cycles, bound by {self.bound}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionJob:
    """Operands as views [B, heads, rows, depth]; a head h reads key head h // rep. Row r sees keys
    j <= r·slope + offset if causal.
    """

    step: PlanStep
    q: View
    k: View
    v: View
    mask: View | None
    out: View
    rep: int
    scale: float
    softcap: float | None
    causal: bool
    offset: int
    slope: int
    mapping: AttentionMap

    def pitch(self, elems: int, dt: Dt) -> int:
        """Bytes between rows of a tile in L1."""
        return ceil_div(elems * DT_BYTES[dt], PITCH_ALIGN) * PITCH_ALIGN

    def l1_bytes(self, bq: int, bk: int, subs: int, chip: Chip) -> int:
        """L1 of the kernel with these tiles, banks rounded up."""
        depth, value_depth = self.q.shape[3], self.v.shape[3]
        p_dt = Dt.F32 if self.q.dt is Dt.F32 else Dt.BF16
        queries = subs * bq * self.pitch(depth, self.q.dt)
        keys = 2 * bk * self.pitch(depth, self.k.dt) + 2 * bk * self.pitch(value_depth, self.v.dt)
        probabilities = 2 * bq * self.pitch(bk, p_dt)
        mask = 2 * bq * self.pitch(bk, self.mask.dt) + 128 if self.mask is not None else 0
        out = subs * bq * self.pitch(value_depth, self.out.dt)
        return (
            queries
            + keys
            + probabilities
            + mask
            + out
            + (4 + 3 * subs) * (4 * bq + 64)
            + 1024
            + 6 * chip.l1_bank_bytes
        )
