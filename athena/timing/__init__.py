"""The timing execution: the program's words in simulated time."""
