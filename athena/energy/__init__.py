"""Energy of an execution, with a range and the source of every figure.

In:  `ActionCounts`, seconds, chip, table. Out: `EnergyBreakdown`.   Raises: ChipError.
"""

from athena.energy.compute import EnergyBreakdown, EnergyPart, Group, energy
from athena.energy.range import Range, exactly, total
from athena.energy.table import (
    DEFAULT_TABLE,
    EnergyTable,
    Entry,
    Kind,
    load_table,
    table_names,
)

__all__ = [
    "DEFAULT_TABLE",
    "EnergyBreakdown",
    "EnergyPart",
    "EnergyTable",
    "Entry",
    "Group",
    "Kind",
    "Range",
    "energy",
    "exactly",
    "load_table",
    "table_names",
    "total",
]
