"""What software and the bus see of the core in an SoC: registers, their bits, AXI constants.

In:  nothing. Out: enums that drivers use and that `rtl_sim/package.py` writes into the package;
`register_rows` are the lines of the table in docs/rtl.md.
"""

from __future__ import annotations

from enum import IntEnum

REGISTER_BITS = 19  # addresses of the control port
REGISTER_BYTES = 4
RUN_STRIDE_BYTES = 256  # one descriptor in the run table; a run_t takes less
COUNTERS_MAX = 128  # places of the counter window


class Reg(IntEnum):
    """Byte offsets of the control registers; an array's first."""

    CONTROL = 0x000
    STATUS = 0x004
    IRQ_ENABLE = 0x008
    IRQ_PENDING = 0x00C
    FAULT_CODE = 0x010
    FAULT_QUEUE = 0x014
    FAULT_PC = 0x018
    SIZES = 0x01C
    CODE_LOW = 0x020
    CODE_HIGH = 0x024
    DATA_LOW = 0x028
    DATA_HIGH = 0x02C
    MEMORY_LOW = 0x030
    MEMORY_HIGH = 0x034
    RUNS = 0x040
    SCALARS = 0x080
    SEMS = 0x0C0
    COUNTERS = 0x400
    RUN_TABLE = 0x40000


class Control(IntEnum):
    """Bits of CONTROL; they read as 0."""

    START = 0
    STOP = 1


class Status(IntEnum):
    """Bits of STATUS."""

    RUNNING = 0
    DONE = 1
    FAULT = 2
    WAITING = 3
    BUS_BUSY = 4


class Irq(IntEnum):
    """Bits of IRQ_ENABLE and IRQ_PENDING."""

    DONE = 0
    FAULT = 1


class AxiBurst(IntEnum):
    """AxBURST."""

    INCR = 1


class AxiResp(IntEnum):
    """RRESP and BRESP; bit 1 is set in errors."""

    OKAY = 0
    SLVERR = 2
    DECERR = 3


class AxiCache(IntEnum):
    """AxCACHE."""

    MEMORY = 2  # normal, not cached, answered by the memory itself: a signal means visible bytes


class AxiProt(IntEnum):
    """AxPROT: unprivileged, not secure."""

    DATA = 2
    CODE = 6


SIZES = {
    "AXI_PAGE_BITS": 12,  # no burst crosses 4 KiB
    "AXI_PAGE_BYTES": 4096,
    "AXI_BEATS_MAX": 256,
    "REGISTER_BITS": REGISTER_BITS,
    "RUN_STRIDE_BYTES": RUN_STRIDE_BYTES,
    "COUNTERS_MAX": COUNTERS_MAX,
}
ENUMS = (
    (Reg, REGISTER_BITS),
    (Control, 5),
    (Status, 5),
    (Irq, 1),
    (AxiBurst, 2),
    (AxiResp, 2),
    (AxiCache, 4),
    (AxiProt, 3),
)
_TEXT = {
    Reg.CONTROL: ("w", "bit 0 START: launch, unless running; bit 1 STOP: reset the core"),
    Reg.STATUS: (
        "r",
        "bit 0 RUNNING, 1 DONE, 2 FAULT, 3 WAITING (every queue waits: for ever, if it stays),"
        " 4 BUS_BUSY (AXI transactions are open)",
    ),
    Reg.IRQ_ENABLE: ("rw", "bit 0 DONE, 1 FAULT: `irq_o` is high while one is enabled and pending"),
    Reg.IRQ_PENDING: ("rw", "same bits; writing 1 clears"),
    Reg.FAULT_CODE: ("r", "0: none; the codes are `rtl_sim.package.Fault`"),
    Reg.FAULT_QUEUE: ("r", "queue of the word at fault: 0 STORE, 1 LOAD, 2 MATRIX, 3 VECTOR"),
    Reg.FAULT_PC: ("r", "its number in the stream"),
    Reg.SIZES: ("r", "bits 15:0 runs of a queue that the run table holds, 31:16 counters"),
    Reg.CODE_LOW: ("rw", "bus address of word 0, a multiple of 128"),
    Reg.CODE_HIGH: ("rw", "its bits from 32 on"),
    Reg.DATA_LOW: ("rw", "bus address of the core's address 0, a multiple of 4096"),
    Reg.DATA_HIGH: ("rw", "its bits from 32 on"),
    Reg.MEMORY_LOW: ("rw", "bytes of memory that the core may touch from there on"),
    Reg.MEMORY_HIGH: ("rw", "its bits from 32 on"),
    Reg.RUNS: ("rw", "+ 4·queue: runs of that queue, at most what the table holds"),
    Reg.SCALARS: ("rw", "+ 4·i: launch scalar i"),
    Reg.SEMS: ("rw", "+ 4·i: initial values of semaphores 4·i … 4·i + 3, a byte each"),
    Reg.COUNTERS: (
        "r",
        "+ 8·i: counter i; the word behind it has bits 63:32 as they were when the first was read",
    ),
    Reg.RUN_TABLE: (
        "w",
        "+ 256·(runs in the table·queue + run): a `run_t`, least significant word first:"
        " aregs 0 … 15 and segments 0 … 7 of 48 bits each, 32 bits number of its first word",
    ),
}


def register_rows() -> tuple[str, ...]:
    """Rows of the register table, as Markdown."""
    return tuple(
        f"| `{reg:#07x}` | {reg.name} | {_TEXT[reg][0]} | {_TEXT[reg][1]} |" for reg in Reg
    )
