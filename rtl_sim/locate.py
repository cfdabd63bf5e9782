"""Where a word of a trace stands in its program: text, node, source nodes.

In:  a `Program`, rows of the RTL's retire trace. Out: `Place`.   Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athena.isa.asm_write import disassemble_word
from athena.isa.fields import CORE_QUEUES, Queue
from athena.isa.program import Program, QueueRun, Section

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One executed word: `index` counts the words of its queue, `pc` those of its stream.

    `node` is the chip-level node that it works for, `sources` the model's nodes behind that.
    """

    queue: str
    index: int
    pc: int
    word: str
    node: str = ""
    sources: tuple[str, ...] = ()


def launches(program: Program) -> Iterator[tuple[Section, int, QueueRun]]:
    """Section, repeat and run of all that core 0 executes, in order."""
    for section in program.sections:
        for repeat in range(section.repeat):
            for run in section.runs:
                if run.kind in CORE_QUEUES and (not run.units or 0 in run.units):
                    yield section, repeat, run


def _streams(program: Program, queue: Queue) -> list[int]:
    """The stream of each of the queue's runs."""
    return [run.stream for _, _, run in launches(program) if run.kind == queue]


def in_stream(program: Program, queue: Queue, index: int, stream: int, pc: int) -> Place:
    """The word `pc` of a stream, executed as word `index` of its queue."""
    held = program.streams[stream]
    number = int(held.nodes[pc])
    node = program.nodes[number] if 0 <= number < len(program.nodes) else None
    return Place(
        queue=queue.name,
        index=index,
        pc=pc,
        word=disassemble_word(held.words[pc]),
        node=node.name if node else "",
        sources=node.sources if node else (),
    )


def in_run(program: Program, queue: Queue, index: int, run: int, pc: int) -> Place:
    """The word `pc` of a run of the queue, as the RTL's trace names it."""
    numbers = _streams(program, queue)
    if 0 <= run < len(numbers) and 0 <= pc < len(program.streams[numbers[run]].words):
        return in_stream(program, queue, index, numbers[run], pc)
    return Place(queue=queue.name, index=index, pc=pc, word="outside its stream")


def halted(program: Program, trace: Ints, queue: Queue, pc: int) -> Place:
    """The word at which the core halted: no trace holds it."""
    rows = trace[trace[:, 0] == int(queue)]
    if not len(rows):
        return in_run(program, queue, 0, 0, pc)
    last = rows[np.argmax(rows[:, 1])]
    run, numbers = int(last[6]), _streams(program, queue)
    ended = int(last[2]) == len(program.streams[numbers[run]].words) - 1
    return in_run(program, queue, len(rows), run + int(ended), pc)
