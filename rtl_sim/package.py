"""Generate `athena_pkg.sv`: every code, field position and size that the SystemVerilog core uses.

In:  `athena.isa.fields` (codes, word layout), `athena.isa.cycles` (SETA_CYCLES), `rtl_sim.tables`
     and a `Chip`.
Out: the text of the package; the build writes it beside its products, so no number exists twice.
Raises: ChipError for a chip that the RTL cannot take (sizes that are no powers of two, several rows
a cycle …).
"""

from __future__ import annotations

from enum import IntEnum

from athena.chip.model import Chip
from athena.isa import cycles, fields
from athena.timing import layout
from rtl_sim import memory, registers
from rtl_sim.counters import COUNTER_BITS, COUNTERS, Counter, Use
from rtl_sim.tables import constants, rom_text

COUNT_BITS = 20  # counts of unit words; a larger one is a range fault
BOUND_BITS = 50  # sums of an areg, a launch scalar and an immediate
RUNS_MAX = 256  # launch descriptors of one queue held by the test bench
MEMORY_BYTES = 1 << 24  # main memory of the test bench
PROGRAM_WORDS = 1 << 14  # instruction words of the test bench


class Fault(IntEnum):
    """Why the core halted."""

    NONE = 0
    ILLEGAL_WORD = 1  # no such word on this queue, or a field that the RTL does not have
    RANGE = 2  # an operand outside its memory, or a count above the RTL's counters
    SEMAPHORE = 3  # a counter above its limit, or taken by two queues at once
    LOOP = 4  # nested too deep, body longer than the FIFO or the loop around it, END inside
    INDEX = 5  # an index of COPYX or VGATHER outside its table
    MEMORY = 6  # main memory answered with an error


_ENUMS = (
    (fields.Op, 8),
    (fields.Queue, 3),
    (fields.Seg, 4),
    (fields.Dt, 4),
    (fields.Sig, 3),
    (fields.Alu, 8),
    (fields.Lut, 8),
    (fields.Red, 8),
    (fields.Kind, 8),
    (fields.Acc, 2),
    (fields.Perm, 8),
    (fields.GatherMode, 8),
    (fields.QuantMode, 8),
    (Fault, 3),
    (memory.Setting, 5),
    *registers.ENUMS,
    (Use, 3),
    (Counter, 8),
)

_TYPES = """
  typedef struct packed {
    logic [31:0] imm;
    logic [23:0] stride;
    logic [3:0]  areg;
    logic [3:0]  seg;
  } operand_t;

  // The 128-byte word; byte 0 is in the least significant bits.
  typedef struct packed {
%(word)s
  } word_t;

  // Which cycle of a step VEC reads operands a, b, c, e in (e: the kept side output), the step's
  // last cycle, and whether d and e share a bank.
  typedef struct packed {
    logic            clash;
    logic [1:0]      last;
    logic [3:0][1:0] at;
  } passes_t;

  // A word with its counts clipped and its addresses added up: what a unit starts from.
  typedef struct packed {
    word_t                      word;
    passes_t                    passes;
    logic [2:0][COUNT_BITS-1:0] n;
    logic [1:0][BOUND_BITS-1:0] mask;  // VEC: first column kept, first not kept, in row 0
    logic [4:0][ADDR_BITS-1:0]  addr;  // operands a b c d e
  } uop_t;

  // Bank ports that a word holds from issue to completion.
  typedef struct packed {
    logic [L1_BANKS-1:0]    l1_rd;
    logic [L1_BANKS-1:0]    l1_wr;
    logic [ACC_REGIONS-1:0] acc_rd;
    logic [ACC_REGIONS-1:0] acc_wr;
  } ports_t;

  // What a queue starts one run from: first word, segment bases, address registers.
  typedef struct packed {
    logic [31:0]                         base;
    logic [HBM_SEGMENTS-1:0][ADDR_BITS-1:0] seg;
    logic [AREGS-1:0][ADDR_BITS-1:0]     areg;
  } run_t;

  // What the core shows of a word as it issues.
  typedef struct packed {
    logic                 valid;
    logic                 control;
    logic [SLOT_BITS-1:0] slot;
    logic [PC_BITS-1:0]   pc;
    uop_t                 uop;
  } issue_t;

  // log2 of an element's bytes.
  function automatic logic [1:0] size_shift(input logic [3:0] dt);
    case (dt)
      DT_I8, DT_U8:    size_shift = 2'd0;
      DT_BF16, DT_F16: size_shift = 2'd1;
      default:         size_shift = 2'd2;
    endcase
  endfunction

  // Whether an operand of VEC of this kind is read from memory.
  function automatic logic in_place(input logic [7:0] kind);
    in_place = kind == KIND_FULL || kind == KIND_ROW || kind == KIND_COL || kind == KIND_SCALAR;
  endfunction

  // Widths of the above for arrays of them: Yosys neither indexes arrays of structs nor knows
  // $bits of a type.
  localparam int OPERAND_BITS = 64;
  localparam int WORD_BITS = 8 * WORD_BYTES;
  localparam int PASSES_BITS = 1 + 2 + 4 * 2;
  localparam int UOP_BITS = WORD_BITS + PASSES_BITS + 3 * COUNT_BITS + 2 * BOUND_BITS +
      5 * ADDR_BITS;
  localparam int PORTS_BITS = 2 * (L1_BANKS + ACC_REGIONS);
  localparam int RUN_BITS = 32 + (HBM_SEGMENTS + AREGS) * ADDR_BITS;
  localparam int ISSUE_BITS = 2 + SLOT_BITS + PC_BITS + UOP_BITS;
"""

_MEMBER_TYPES = {"dt": "logic [3:0][3:0]", "wait": "logic [1:0][15:0]", "sig": "logic [1:0][15:0]"}


def _member(name: str) -> str:
    dtype = fields.WORD_DTYPE[name]
    if name in _MEMBER_TYPES:
        return f"    {_MEMBER_TYPES[name]} {'waits' if name == 'wait' else name};"
    if dtype.shape == (2,) and dtype.base.itemsize == 4 and name != "f":
        return f"    operand_t {name};"
    bits = 8 * dtype.base.itemsize
    shape = f"[{dtype.shape[0] - 1}:0]" if dtype.shape else ""
    return f"    logic {shape}[{bits - 1}:0] {name};"


def _word_members() -> str:
    names = fields.WORD_DTYPE.names or ()
    return "\n".join(_member(name) for name in reversed(names))


def _power_of_two(value: int) -> bool:
    return value > 0 and not value & (value - 1)


def check_chip(chip: Chip) -> None:
    """Refuse chips outside the RTL's parameters.

    Raises: ChipError naming the key.
    """
    core = chip.core
    beats = fields.WORD_BYTES / core.fetch_bytes_per_cycle
    rules = (
        (chip.cores == 1, "mesh", "the RTL is one core"),
        *memory.rules(chip),
        (core.fetch_latency_cycles >= 2, "core.fetch_latency_cycles", "at least 2"),
        (chip.noc.signal_cycles >= 1, "noc.signal_cycles", "at least 1"),
        (beats.is_integer(), "core.fetch_bytes_per_cycle", "must divide a word"),
        (_power_of_two(core.vector.lanes), "core.vector.lanes", "must be a power of two"),
        (core.vector.lanes >= 2, "core.vector.lanes", "at least 2"),
        (core.load_bytes_per_cycle % 4 == 0, "core.load_bytes_per_cycle", "a multiple of 4"),
        (_power_of_two(core.fifo_words), "core.fifo_words", "must be a power of two"),
        (_power_of_two(chip.l1_bank_bytes), "core.l1_bytes", "banks must be a power of two"),
        (_power_of_two(chip.acc_region_bytes), "core.acc_bytes", "regions likewise"),
        (core.matrix.mac_latency_cycles == 1, "core.matrix.mac_latency_cycles", "must be 1"),
        (core.matrix.rate.get("int8", 0) == 1, "core.matrix.rate", "int8 must be 1"),
        (core.matrix.rate.get("bf16", 0) == 1, "core.matrix.rate", "bf16 must be 1"),
        (core.matrix.cols <= core.matrix.rows, "core.matrix.cols", "at most core.matrix.rows"),
    )
    memory.check(chip, rules)


def _sizes(chip: Chip) -> dict[str, int]:
    core = chip.core
    return {
        "WORD_BYTES": fields.WORD_BYTES,
        "AREGS": fields.AREGS,
        "SCALARS": fields.SCALARS,
        "HBM_SEGMENTS": len(fields.HBM_SEGMENTS),
        "SEMS": fields.CORE_SEMS,
        "SEM_MAX": fields.SEM_MAX,
        "LOOP_DEPTH": fields.LOOP_DEPTH,
        "QUEUES": len(fields.CORE_QUEUES),
        "SETA_CYCLES": cycles.SETA_CYCLES,
        "MODE_ACC_MASK": fields.MODE_ACC_MASK,
        "MODE_B_TRANS": fields.MODE_B_TRANS,
        "MODE_SETA_SHIFT": fields.MODE_SETA_SHIFT,
        "MODE_VEC_INT": fields.MODE_VEC_INT,
        "MODE_VEC_MASK": fields.MODE_VEC_MASK,
        "MODE_VEC_RED_KEEP": fields.MODE_VEC_RED_KEEP,
        "ADDR_BITS": 48,
        "BOUND_BITS": BOUND_BITS,
        "PC_BITS": 24,
        "QUEUE_COUNTERS": len(Use),
        "COUNTERS": COUNTERS,
        "COUNTER_BITS": COUNTER_BITS,
        "COUNT_BITS": COUNT_BITS,
        "RUNS_MAX": RUNS_MAX,
        "MEMORY_BYTES": MEMORY_BYTES,
        "PROGRAM_WORDS": PROGRAM_WORDS,
        "FEED_BITS": 16,
        "SUM_BITS": 32,
        "ROWS": core.matrix.rows,
        "COLS": core.matrix.cols,
        "LANES": core.vector.lanes,
        "VEC_STARTUP": core.vector.startup_cycles,
        "L1_BYTES": core.l1_bytes,
        "L1_BANKS": core.l1_banks,
        "L1_BANK_BYTES": chip.l1_bank_bytes,
        "ACC_BYTES": core.acc_bytes,
        "ACC_REGIONS": core.acc_regions,
        "ACC_REGION_BYTES": chip.acc_region_bytes,
        "LOAD_BYTES": core.load_bytes_per_cycle,
        "STORE_BYTES": core.store_bytes_per_cycle,
        "DMA_SLOTS": core.dma_words_in_flight,
        "SLOT_BITS": max(1, (core.dma_words_in_flight - 1).bit_length()),
        "FIFO_WORDS": core.fifo_words,
        "FETCH_BYTES": core.fetch_bytes_per_cycle,
        "FETCH_BEATS": fields.WORD_BYTES // core.fetch_bytes_per_cycle,
        "FETCH_LATENCY": core.fetch_latency_cycles,
        "SIGNAL_CYCLES": chip.noc.signal_cycles,
        "MEMORY_SETTINGS": len(memory.Setting),
        "MEMORY_QUEUE": memory.QUEUE_BEATS,
        "STRESS_CYCLES": memory.STRESS_CYCLES,
        "TICKS": layout.TICKS,
        "ATOM_BYTES": layout.ATOM_BYTES,
        "BATCH_BYTES": layout.BATCH_BYTES,
        **registers.SIZES,
    }


def package_text(chip: Chip) -> str:
    """The SystemVerilog package for `chip`, and the ROM of the table functions after it.

    Raises: ChipError for a chip that the RTL cannot take.
    """
    check_chip(chip)
    lines = [
        "// Generated by rtl_sim/package.py; do not edit.",
        "// Not every module needs every constant of the machine:",
        "// verilator lint_off UNUSEDPARAM",
        "package athena_pkg;",
    ]
    for enum, bits in _ENUMS:
        lines += [
            f"  localparam logic [{bits - 1}:0] {enum.__name__.upper()}_{member.name} = "
            f"{bits}'d{int(member)};"
            for member in enum
        ]
    lines += [f"  localparam int {name} = {value};" for name, value in _sizes(chip).items()]
    lines += constants()
    return (
        "\n".join(lines)
        + _TYPES % {"word": _word_members()}
        + "endpackage\n// verilator lint_on UNUSEDPARAM\n\n"
        + rom_text()
    )
