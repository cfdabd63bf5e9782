"""Measurements of the compiler and the simulators, outside the default test run."""
