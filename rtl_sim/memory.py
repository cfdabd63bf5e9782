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
from athena.timing.chip_arrays import atom_ticks, refresh_every_ticks, ticks, window_cycles
from athena.timing.layout import ATOM_BYTES, TICKS

QUEUE_BEATS = 4096  # beats of a port taken and not answered that the test bench can hold
SETTING_LIMIT = 1 << 31  # settings of the job file are smaller
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
    BANKED = 6  # 1: channel with banks (what follows), 0: fixed latency
    ATOM_TICKS = 7  # of the data bus
    BANKS = 8
    ROW_BYTES = 9
    ROW_MISS_TICKS = 10
    TURN_TICKS = 11
    REFRESH_EVERY_TICKS = 12  # 0: never
    REFRESH_TICKS = 13
    WINDOW_BEATS = 14  # of a port, taken and not answered


def check(chip: Chip, rules: Iterable[Rule]) -> None:
    """Refuse a chip that breaks a rule.

    Raises: ChipError naming the key.
    """
    for good, key, reason in rules:
        if not good:
            raise ChipError(
                f"the RTL cannot be built for this chip: {reason}",
                where=f"{chip.name}: {key}",
                hint="change the key, or use athena-edge, athena-edge-lpddr5 or their -ci forms",
            )


def rules(chip: Chip) -> tuple[Rule, ...]:
    """What a chip's memory must be."""
    longest = QUEUE_BEATS - STRESS_CYCLES
    hbm, core = chip.hbm, chip.core
    banked = hbm.kind is MemoryKind.HBM
    least = 2 if banked else 1
    widest = max(core.load_bytes_per_cycle, core.store_bytes_per_cycle)
    slowest = beat_interval(widest, chip.hbm_bytes_per_cycle)
    of_banks: tuple[Rule, ...] = (
        (hbm.channels == 1, "hbm.channels", "one channel"),
        (widest <= ATOM_BYTES, "core.load_bytes_per_cycle, core.store_bytes_per_cycle",
         f"at most {ATOM_BYTES}, what the channel transfers at once"),
        (window_cycles(chip) < longest, "hbm.latency_cycles, hbm.row_miss_ns, hbm.refresh_ns",
         f"latency, refresh and two row misses below {longest} cycles together"),
        *((value < SETTING_LIMIT, f"hbm.{key}", f"below {SETTING_LIMIT // TICKS} cycles")
          for key, value in (
              ("turnaround_ns", ticks(chip, hbm.turnaround_ns)),
              ("refresh_interval_ns", refresh_every_ticks(chip)),
              ("bandwidth_gbytes_per_s", atom_ticks(chip)),
          )),
    )  # fmt: skip
    return (
        (least <= hbm.latency_cycles < longest, "hbm.latency_cycles",
         f"at least {least}, below {longest}"),
        (slowest < SETTING_LIMIT, "hbm.bandwidth_gbytes_per_s",
         f"a beat in less than {SETTING_LIMIT} cycles"),
        *(of_banks if banked else ()),
    )  # fmt: skip


def settings(chip: Chip, stress_seed: int, error_at: int, error_bytes: int) -> list[int]:
    """The settings of one job, in the order of `Setting`.

    Raises: ChipError for a memory that the test bench does not have.
    """
    check(chip, rules(chip))
    core, hbm, rate = chip.core, chip.hbm, chip.hbm_bytes_per_cycle
    banked = hbm.kind is MemoryKind.HBM and not stress_seed
    values: dict[Setting, int] = {
        Setting.LATENCY: chip.hbm.latency_cycles,
        Setting.LOAD_INTERVAL: beat_interval(core.load_bytes_per_cycle, rate),
        Setting.STORE_INTERVAL: beat_interval(core.store_bytes_per_cycle, rate),
        Setting.STRESS_SEED: stress_seed,
        Setting.ERROR_AT: error_at,
        Setting.ERROR_BYTES: error_bytes,
        Setting.BANKED: int(banked),
    }
    if banked:
        values |= {
            Setting.ATOM_TICKS: atom_ticks(chip),
            Setting.BANKS: hbm.banks_per_channel,
            Setting.ROW_BYTES: hbm.row_bytes,
            Setting.ROW_MISS_TICKS: ticks(chip, hbm.row_miss_ns),
            Setting.TURN_TICKS: ticks(chip, hbm.turnaround_ns),
            Setting.REFRESH_EVERY_TICKS: refresh_every_ticks(chip),
            Setting.REFRESH_TICKS: ticks(chip, hbm.refresh_ns),
            Setting.WINDOW_BEATS: window_cycles(chip),
        }
    return [values.get(setting, 0) for setting in Setting]
