"""The chip description: pydantic models, YAML presets, derived figures."""

from athena.chip.load import load_chip, preset_names
from athena.chip.model import Chip

__all__ = ["Chip", "load_chip", "preset_names"]
