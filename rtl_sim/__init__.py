"""SystemVerilog of one Athena core, and its co-simulation against the functional and timing models."""
