"""AXI ports of a design for cocotbext-axi: names without direction, memory that refuses a range,
pauses, a monitor of handshakes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

PAYLOADS = {
    "aw": ("addr", "len", "size", "burst"),
    "w": ("data", "strb", "last"),
    "ar": ("addr", "len", "size", "burst"),
}


class Ports:
    """The ports of `dut` as attributes, without their direction's suffix."""

    def __init__(self, dut: Any) -> None:
        self._name, self._log = dut._name, dut._log
        logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.ERROR)
        for handle in dut:
            if handle._name.endswith(("_i", "_o")):
                setattr(self, handle._name[:-2], handle)


@dataclass(slots=True)
class Memory:
    """A target of cocotbext-axi's slave: bytes from `base` on; `refused` ones answer SLVERR."""

    base: int
    image: bytearray
    refused: range = field(default_factory=lambda: range(0))

    def _start(self, address: int, length: int) -> int:
        start = address - self.base
        outside = start < 0 or start + length > len(self.image)
        if outside or (address < self.refused.stop and address + length > self.refused.start):
            raise ValueError(f"no memory at {address:#x}")
        return start

    async def read(self, address: int, length: int) -> bytes:
        """Called by the slave for each word."""
        start = self._start(address, length)
        return bytes(self.image[start : start + length])

    async def write(self, address: int, data: bytes) -> None:
        """Called by the slave for each run of enabled bytes."""
        start = self._start(address, len(data))
        self.image[start : start + len(data)] = data


def pauses(seed: int, share: float) -> Iterator[bool]:
    """Random pauses of one channel."""
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.random(1024) < share


def pause_slave(slave: Any, seed: int, share: float) -> None:
    """Back-pressure and gaps on all channels of a slave that has them."""
    channels = []
    if slave.read_if is not None:
        channels += [slave.read_if.ar_channel, slave.read_if.r_channel]
    if slave.write_if is not None:
        write = slave.write_if
        channels += [write.aw_channel, write.w_channel, write.b_channel]
    for number, channel in enumerate(channels):
        channel.set_pause_generator(pauses(seed + number, share))


async def watch(dut: Any, ports: Ports, prefix: str, channel: str, seen: list[Any]) -> None:
    """Collect a master channel's beats; valid and payload must stay until ready."""
    valid = getattr(ports, f"{prefix}_{channel}valid")
    ready = getattr(ports, f"{prefix}_{channel}ready")
    payload = [getattr(ports, f"{prefix}_{channel}{name}") for name in PAYLOADS[channel]]
    waiting = None
    while True:
        await RisingEdge(dut.clk_i)
        beat = tuple(int(signal.value) for signal in payload) if valid.value == 1 else None
        assert waiting is None or beat == waiting, f"{prefix}_{channel} changed before ready"
        taken = beat is not None and ready.value == 1
        if taken:
            seen.append(beat)
        waiting = None if taken else beat


def start_watch(dut: Any, ports: Ports, prefix: str, channels: tuple[str, ...]) -> dict[str, Any]:
    """Watch master channels from now on; the lists of beats by channel."""
    seen: dict[str, Any] = {channel: [] for channel in channels}
    for channel in channels:
        cocotb.start_soon(watch(dut, ports, prefix, channel, seen[channel]))
    return seen
