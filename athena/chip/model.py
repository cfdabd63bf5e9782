"""The chip as frozen pydantic models; every figure carries its unit in its name.

In:  a mapping with exactly these keys (`athena.chip.load` reads YAML).
Out: `Chip`, immutable, with derived figures (peaks, bytes per cycle, balance point).
Raises: pydantic.ValidationError, which `athena.chip.load` turns into `ChipError` naming the key.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from athena.units import gbytes_per_s_to_bytes_per_cycle, gbytes_per_s_to_bytes_per_s


def _no_bool(value: object) -> object:
    """YAML's yes, no, on and off are no numbers."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")
    return value


_Number = BeforeValidator(_no_bool)
PositiveInt = Annotated[int, Field(gt=0, le=1 << 48), _Number]
Natural = Annotated[int, Field(ge=0, le=1 << 48), _Number]
PositiveFloat = Annotated[float, Field(gt=0, lt=1e18, allow_inf_nan=False), _Number]
NonNegativeFloat = Annotated[float, Field(ge=0, lt=1e18, allow_inf_nan=False), _Number]


class Part(BaseModel):
    """Common settings: frozen, unknown keys refused, numbers finite and never booleans."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class MatrixKind(StrEnum):
    """Which cycle law the matrix unit follows."""

    SYSTOLIC_WS = "systolic_ws"


class MemoryKind(StrEnum):
    """`fixed`: one latency and one bandwidth, exact; `hbm`: channels, banks, rows and refresh."""

    FIXED = "fixed"
    HBM = "hbm"


class Mesh(Part):
    """Clusters lie on a rows × cols mesh."""

    rows: Annotated[int, Field(gt=0, le=64), _Number]
    cols: Annotated[int, Field(gt=0, le=64), _Number]


class Cluster(Part):
    """Cores around one slice of software-managed L2 and their own DMA; `l2_bytes` 0 = no L2."""

    cores: Annotated[int, Field(gt=0, le=8), _Number]
    l2_bytes: Natural
    l2_banks: PositiveInt
    l2_bytes_per_cycle_per_bank: PositiveInt
    l2_latency_cycles: Natural
    dma_bytes_per_cycle: PositiveInt


class Matrix(Part):
    """The matrix unit: `rows` × `cols` MACs; `rate[dtype]` rows of A enter in one cycle."""

    kind: MatrixKind
    rows: Annotated[int, Field(ge=2, le=1024), _Number]
    cols: Annotated[int, Field(ge=2, le=1024), _Number]
    rate: dict[Literal["bf16", "int8", "fp32"], Annotated[int, Field(gt=0, le=16), _Number]]
    mac_latency_cycles: Annotated[int, Field(ge=1, le=32), _Number]


class Vector(Part):
    """The vector unit: `lanes` elements a cycle, `startup_cycles` before the first result."""

    lanes: Annotated[int, Field(ge=1, le=4096), _Number]
    startup_cycles: Annotated[int, Field(ge=1, le=256), _Number]


class Core(Part):
    """One core: matrix and vector units, L1 scratchpad, accumulators, instruction delivery."""

    matrix: Matrix
    vector: Vector
    l1_bytes: PositiveInt
    l1_banks: Annotated[int, Field(ge=1, le=64), _Number]
    acc_bytes: PositiveInt
    acc_regions: Annotated[int, Field(ge=2, le=16), _Number]
    load_bytes_per_cycle: PositiveInt
    store_bytes_per_cycle: PositiveInt
    dma_words_in_flight: Annotated[int, Field(ge=1, le=16), _Number]
    fifo_words: Annotated[int, Field(ge=8, le=4096), _Number]
    fetch_bytes_per_cycle: Annotated[int, Field(ge=1, le=128), _Number]
    fetch_latency_cycles: Natural


class Hbm(Part):
    """Main memory. With kind `fixed` only latency and bandwidth count, the latter for each port."""

    kind: MemoryKind
    bytes: PositiveInt
    bandwidth_gbytes_per_s: PositiveFloat
    latency_cycles: Natural
    channels: Annotated[int, Field(ge=1, le=256), _Number]
    interleave_bytes: Annotated[int, Field(ge=32, le=1 << 20), _Number]
    banks_per_channel: Annotated[int, Field(ge=1, le=64), _Number]
    row_bytes: Annotated[int, Field(ge=32, le=1 << 16), _Number]
    row_miss_ns: NonNegativeFloat
    turnaround_ns: NonNegativeFloat
    refresh_interval_ns: NonNegativeFloat
    refresh_ns: NonNegativeFloat
    standard: str = ""


class Noc(Part):
    """The mesh: latency a hop and bytes a cycle of a link and of a cluster's port."""

    hop_cycles: Natural
    link_bytes_per_cycle: PositiveInt
    cluster_port_bytes_per_cycle: PositiveInt
    signal_cycles: Natural


class Host(Part):
    """The host behind PCIe, for operators without a unit: a declared model with ranges."""

    link_gbytes_per_s: PositiveFloat
    call_latency_us: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    gflops: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    memory_gbytes_per_s: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    active_w: tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class Power(Part):
    """Design power and what the chip draws when clocked and idle (low, central, high)."""

    tdp_w: PositiveFloat
    idle_w: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat]


class Chip(Part):
    """A whole chip. `sources` maps a dotted key to where its figure comes from or "design choice".

    Raises: pydantic.ValidationError when figures contradict each other.
    """

    name: Annotated[
        str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    ]
    description: str
    evidence: Literal["validated", "datasheet", "hypothetical"]
    process_nm: PositiveFloat
    die_area_mm2: PositiveFloat | None = None
    clock_hz: Annotated[float, Field(ge=1e6, le=2e10, allow_inf_nan=False), _Number]
    mesh: Mesh
    cluster: Cluster
    core: Core
    disabled_cores: tuple[Natural, ...] = ()
    hbm: Hbm
    noc: Noc
    host: Host
    power: Power
    sources: dict[str, str]

    @model_validator(mode="after")
    def _consistent(self) -> Chip:
        core = self.core
        if core.l1_bytes % core.l1_banks or (core.l1_bytes // core.l1_banks) % 32:
            raise ValueError("core.l1_bytes must be a multiple of 32 × core.l1_banks")
        if core.acc_bytes % core.acc_regions or (core.acc_bytes // core.acc_regions) % 32:
            raise ValueError("core.acc_bytes must be a multiple of 32 × core.acc_regions")
        if core.acc_bytes // core.acc_regions < core.matrix.rows * core.matrix.cols * 4:
            raise ValueError(
                "a region of core.acc_bytes must hold matrix.rows × matrix.cols fp32 values"
            )
        total = self.mesh.rows * self.mesh.cols * self.cluster.cores
        if any(index >= total for index in self.disabled_cores):
            raise ValueError(f"disabled_cores names a core above {total - 1}")
        if len(set(self.disabled_cores)) >= total:
            raise ValueError("disabled_cores leaves no core")
        if total > 1024:
            raise ValueError(f"mesh × cluster.cores makes {total} cores; at most 1024")
        return self

    @property
    def clusters(self) -> int:
        """Clusters on the mesh."""
        return self.mesh.rows * self.mesh.cols

    @property
    def active_cores(self) -> tuple[int, ...]:
        """Physical numbers of the usable cores, ascending; logical core i is `active_cores[i]`."""
        off = set(self.disabled_cores)
        return tuple(i for i in range(self.clusters * self.cluster.cores) if i not in off)

    @property
    def cores(self) -> int:
        """Usable cores."""
        return len(self.active_cores)

    @property
    def l1_bank_bytes(self) -> int:
        """Bytes of one contiguous L1 bank."""
        return self.core.l1_bytes // self.core.l1_banks

    @property
    def acc_region_bytes(self) -> int:
        """Bytes of one accumulator region."""
        return self.core.acc_bytes // self.core.acc_regions

    @property
    def hbm_bytes_per_cycle(self) -> float:
        """Peak main-memory bytes a clock cycle."""
        return gbytes_per_s_to_bytes_per_cycle(self.hbm.bandwidth_gbytes_per_s, self.clock_hz)

    def peak_flops(self, dtype: str) -> float:
        """Dense peak in FLOP/s (OP/s for int8) of all usable cores: 2 × rows × cols × rate × clock
        × cores.
        """
        matrix = self.core.matrix
        rate = {str(name): value for name, value in matrix.rate.items()}.get(dtype, 0)
        return 2.0 * matrix.rows * matrix.cols * rate * self.clock_hz * self.cores

    def balance_flop_per_byte(self, dtype: str) -> float:
        """Arithmetic intensity at which compute and main memory take equal time."""
        bytes_per_s = gbytes_per_s_to_bytes_per_s(self.hbm.bandwidth_gbytes_per_s)
        return self.peak_flops(dtype) / bytes_per_s
