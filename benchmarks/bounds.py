"""What a chip could do at best: FLOPs over its peak, bytes over its bandwidth, from formulas alone.

In:  shapes; the chip's description file.   Out: `Work`, `Peaks`, cycles.
Nothing of the compiler or the simulators is imported here: these are the figures they are held
against.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

CHIPS = Path(__file__).parents[1] / "athena" / "chip" / "presets"
BF16_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """FLOPs (1 multiply-add = 2) and the bytes that main memory must deliver or take at least."""

    flops: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """FLOPs and bytes a cycle."""

    flops: float
    bytes: float
    clock_hz: float

    def cycles(self, work: Work) -> float:
        """The larger of compute and memory time."""
        return max(work.flops / self.flops, work.bytes / self.bytes)

    def limit(self, work: Work) -> str:
        """Which of the two it is."""
        return "compute" if work.flops / self.flops > work.bytes / self.bytes else "memory"


def peaks(chip: str) -> Peaks:
    """Peaks at bf16 of a preset that extends no other."""
    told = yaml.safe_load((CHIPS / f"{chip}.yaml").read_text(encoding="utf-8"))
    matrix = told["core"]["matrix"]
    cores = told["mesh"]["rows"] * told["mesh"]["cols"] * told["cluster"]["cores"]
    macs = cores * matrix["rows"] * matrix["cols"] * matrix["rate"]["bf16"]
    clock_hz = float(told["clock_hz"])
    return Peaks(
        flops=2 * macs,
        bytes=told["hbm"]["bandwidth_gbytes_per_s"] * 1e9 / clock_hz,
        clock_hz=clock_hz,
    )


def gemm(m: int, k: int, n: int) -> Work:
    """[m, k] x [k, n], operands read and result written once, bf16."""
    return Work(flops=2 * m * k * n, bytes=BF16_BYTES * (m * k + k * n + m * n))


def attention(heads: int, seq: int, depth: int) -> Work:
    """Causal attention of one sequence: pairs of a query and a key it sees, two products each."""
    pairs = seq * (seq + 1) // 2
    return Work(flops=4 * heads * pairs * depth, bytes=4 * BF16_BYTES * heads * seq * depth)


def llama_layer(*, seq: int, past: int) -> Work:
    """One layer of Llama-3-8B: products and attention; bytes of its weights and of the cache."""
    hidden, heads, kv_heads, depth, ffn = 4096, 32, 8, 128, 14336
    weights = hidden * (heads + 2 * kv_heads) * depth + heads * depth * hidden + 3 * hidden * ffn
    pairs = seq * past + seq * (seq + 1) // 2
    cache = 2 * kv_heads * depth * (past + seq)
    return Work(
        flops=2 * seq * weights + 4 * heads * depth * pairs, bytes=BF16_BYTES * (weights + cache)
    )
