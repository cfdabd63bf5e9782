"""Main memory of the test bench: which chips it can be set to, and the settings a job carries.

In:  a `Chip` (its `hbm` part). Out: numbers in the order of `Setting`, which the generated package
     names SETTING_…; chips that differ only in memory share a build.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from athena.chip.model import Chip, MemoryKind
from athena.errors import ChipError
from athena.isa.cycles import beat_interval

QUEUE_BEATS = 4096  # beats of a port taken and not answered that the test bench can hold
STRESS_CYCLES = 64  # stress delays an answer by less than this

Rule = tuple[bool, str, str]  # whether the chip keeps it, the key, the rule


class Setting(IntEnum):
    """Place of each setting in the job file."""

    LATENCY = 0
    LOAD_INTERVAL = 1  # cycles that memory takes for a beat of LOAD
    STORE_INTERVAL = 2
    STRESS_SEED = 3  # 0: no stress
    ERROR_AT = 4  # beats from here on are answered with an error ...
    ERROR_BYTES = 5  # ... over so many bytes


def check(chip: Chip, rules: Iterable[Rule]) -> None:
    """Refuse a chip that breaks a rule.

    Raises: ChipError naming the key.
    """
    for good, key, reason in rules:
        if not good:
            raise ChipError(
                f"the RTL cannot be built for this chip: {reason}",
                where=f"{chip.name}: {key}",
                hint="use athena-edge or athena-edge-ci, or change the key",
            )


def rules(chip: Chip) -> tuple[Rule, ...]:
    """What a chip's memory must be."""
    longest = QUEUE_BEATS - STRESS_CYCLES
    return (
        (chip.hbm.kind is MemoryKind.FIXED, "hbm.kind", "the RTL has fixed-latency memory"),
        (
            1 <= chip.hbm.latency_cycles < longest,
            "hbm.latency_cycles",
            f"at least 1, below {longest}",
        ),
    )


def settings(chip: Chip, stress_seed: int, error_at: int, error_bytes: int) -> list[int]:
    """The settings of one job, in the order of `Setting`.

    Raises: ChipError for a memory that the test bench does not have.
    """
    check(chip, rules(chip))
    core, rate = chip.core, chip.hbm_bytes_per_cycle
    values = {
        Setting.LATENCY: chip.hbm.latency_cycles,
        Setting.LOAD_INTERVAL: beat_interval(core.load_bytes_per_cycle, rate),
        Setting.STORE_INTERVAL: beat_interval(core.store_bytes_per_cycle, rate),
        Setting.STRESS_SEED: stress_seed,
        Setting.ERROR_AT: error_at,
        Setting.ERROR_BYTES: error_bytes,
    }
    return [values[setting] for setting in Setting]
