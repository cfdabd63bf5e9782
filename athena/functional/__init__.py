"""Functional execution: a program's words on memory images, bit for bit what the chip computes."""

from athena.functional.machine import Limits, Machine
from athena.functional.state import QueueId

__all__ = ["Limits", "Machine", "QueueId"]
