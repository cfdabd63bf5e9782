"""SystemVerilog of one core, and its co-simulation against the functional and timing models."""
