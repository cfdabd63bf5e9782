"""The table functions of VEC as SystemVerilog: their constants, and the ROM of coefficients.

In:  `athena.isa.tables`, from which the functional machine computes too. Out: lines for the package
     and the module `vec_rom`, both written by `rtl_sim.package`.   Raises: nothing.
"""

from __future__ import annotations

import numpy as np

from athena.isa import tables

AT_BITS = tables.TABLE_SIZE.bit_length()
_FLOATS = (
    "EXP_SCALE", "EXP_HI", "EXP_LO", "EXP_LOW", "EXP_HIGH", "LOG_HI", "LOG_LO", "LOG_HALVE",
    "TURN_SCALE", "TURN_1", "TURN_2", "TURN_3", "TURN_4", "STEP_SCALE", "STEP_HI", "STEP_LO",
    "TANH_LIMIT", "ERF_LIMIT", "GELU_LIMIT", "SIGMOID_LIMIT", "SIN_LIMIT", "ROUND_MAGIC",
    "QUANT_STEP", "QUANT_LEAST",
)  # fmt: skip
_NODES = ("FINE", "COARSE", "MANTISSA_NODES", "ROOT_NODES")  # in a unit of the argument
_PLACES = (
    "EXP_AT", "LOG_BASE", "RECIP_BASE", "RSQRT_BASE", "SQRT_BASE", "TANH_AT", "ERF_AT", "GELU_AT",
    "GELU_TANH_AT", "SIGMOID_AT", "SIN_AT",
)  # fmt: skip


def float_bits(value: float) -> int:
    """The bit pattern of `value` as float32, which it must be exactly.

    >>> hex(float_bits(1.0))
    '0x3f800000'
    """
    single = np.float32(value)
    assert float(single) == value, value
    return int(single.view(np.uint32))


def constants() -> tuple[str, ...]:
    """One localparam a line: float32 patterns, places in the ROM, sizes of the cyclic tables."""
    floats = {name: getattr(tables, name) for name in _FLOATS + _NODES}
    floats |= {f"{name}_STEP": 1.0 / getattr(tables, name) for name in _NODES}
    lines = [f"logic [31:0] TABLE_{name} = 32'h{float_bits(x):08x}" for name, x in floats.items()]
    # A place below 0 wraps: the sum with the node's number does not.
    places = {name: getattr(tables, name) % (1 << AT_BITS) for name in _PLACES}
    lines += [f"int TABLE_AT_BITS = {AT_BITS}"]
    lines += [
        f"logic [{AT_BITS - 1}:0] TABLE_{name} = {AT_BITS}'d{at}" for name, at in places.items()
    ]
    lines += [f"int TABLE_{name} = {getattr(tables, name)}" for name in ("EXP_SIZE", "SIN_SIZE")]
    return tuple(f"  localparam {line};" for line in lines)


def rom_text() -> str:
    """The module `vec_rom`: entry `at_i` of the coefficients.

    Three outputs of 32 bits under one case: Verilator makes constant tables of it, Yosys a memory.
    """
    rows = zip(*tables.coefficients().view(np.uint32).tolist(), strict=True)
    cases = [
        f"      {AT_BITS}'d{at}: {{c0_o, c1_o, c2_o}} = 96'h{c0:08x}_{c1:08x}_{c2:08x};"
        for at, (c0, c1, c2) in enumerate(rows)
    ]
    head = (
        "// Coefficients c0 + d * (c1 + d * c2) of the table functions, float32.",
        "module vec_rom (",
        f"    input  logic [{AT_BITS - 1}:0] at_i,",
        "    output logic [31:0] c0_o,",
        "    output logic [31:0] c1_o,",
        "    output logic [31:0] c2_o",
        ");",
        "  /* verilator no_inline_module */",
        "  always_comb begin",
        "    case (at_i)",
    )
    tail = ("      default: {c0_o, c1_o, c2_o} = '0;", "    endcase", "  end", "endmodule", "")
    return "\n".join((*head, *cases, *tail))
