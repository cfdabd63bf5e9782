"""Test benches: the SystemVerilog around the core, and cocotb benches of its units."""
