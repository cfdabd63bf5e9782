"""The instruction set: words, program container, builder, assembler, verifier, service times,
tables.
"""
