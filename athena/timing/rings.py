"""What the controller of one channel keeps: a ring of beats for each DMA queue, of atoms for each
direction.

In:  `Chip`, the rows of its queues. Out: the controller's first state; the queues' port and ring
     columns; places are counted from the first ring.
Raises: ChipError where all that may be under way at once is more than LIMIT.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.errors import ChipError
from athena.isa.fields import CLUSTER_QUEUES, Queue
from athena.timing import layout as at
from athena.timing.chip_arrays import window_cycles

Array = NDArray[np.int64]
_WRITERS = (Queue.STORE, Queue.CDMA_OUT)


LIMIT = 1 << 27  # values of all rings: 1 GiB


def _length(least: int) -> int:
    """The power of two from `least` on."""
    return 1 << max(least - 1, 0).bit_length()


def controller(chip: Chip, q: Array) -> tuple[Array, int]:
    """The controller's columns K_… and the size of all rings; fills the ports' columns of `q`."""
    beats, place = _length(window_cycles(chip) + 1), 0
    atoms = [0, 0]
    for kind in (Queue.STORE, Queue.LOAD, *CLUSTER_QUEUES):
        bus = {
            Queue.STORE: chip.core.store_bytes_per_cycle,
            Queue.LOAD: chip.core.load_bytes_per_cycle,
        }
        rows = np.flatnonzero(q[:, at.KIND] == kind)
        size = bus.get(kind, chip.cluster.dma_bytes_per_cycle)
        q[rows, at.PORT_BYTES], q[rows, at.WRITES] = size, kind in _WRITERS
        q[rows, at.RING_MASK], q[rows, at.NEWEST] = beats - 1, -1
        q[rows, at.RING] = place + np.arange(len(rows)) * beats * at.T_SIZE
        place += len(rows) * beats * at.T_SIZE
        atoms[kind not in _WRITERS] += len(rows) * beats * (size // at.ATOM_BYTES + 2)
    state = np.zeros(at.K_SIZE, np.int64)
    state[at.K_DIRECTION] = 1
    for way, count in enumerate(atoms):
        state[at.K_RING + way], state[at.K_RING_MASK + way] = place, _length(count) - 1
        place += _length(count) * at.X_SIZE
    if place > LIMIT:
        raise ChipError(
            f"one channel with {place} values of beats under way; at most {LIMIT} are simulated",
            where=f"chip '{chip.name}': hbm.latency_cycles",
            hint="give the memory more channels, a shorter latency or the chip fewer cores",
        )
    return state, place
