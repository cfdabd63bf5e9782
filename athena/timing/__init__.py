"""Execution of a program in time: cycles, action counts, use of units."""

from athena.timing.engine import simulate
from athena.timing.result import ActionCounts, NodeTime, Timeline, UnitUse

__all__ = ["ActionCounts", "NodeTime", "Timeline", "UnitUse", "simulate"]
