"""Fold repeated blocks of the emitted streams into one section, and place every section in memory.

In:  an `Emitter` that has been closed, with its cuts: the places in all lanes where repeats begin.
Out: `Folded`: streams, sections, and which nodes share words; `fold_nodes` gives the node table.
Raises: CapacityError where an op reaches beyond 4 GiB of a segment and cannot be rewritten.

Two blocks repeat if their words are equal on every lane but for offsets in main memory, and those
of one segment all differ by one distance: the section's `seg_stride`. Blocks that were not written
follow from those that were, because their steps are of the same kind and their buffers lie at the
same distances (`period.repeats_to_write`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from athena.chip import Chip
from athena.isa.builder import StreamBuilder
from athena.isa.fields import HBM_SEGMENTS, SEGMENTS, Seg
from athena.isa.program import NodeInfo, QueueRun, Section, Stream
from compiler.lowering.emitter import Emitter, Lane
from compiler.lowering.wide import OFFSET_LIMIT, OPERANDS, Offsets, Piece, Words, lift

Place = dict[Lane, int]
Distances = tuple[int, ...]
_LOCAL = len(HBM_SEGMENTS)
_LONGEST = 2  # blocks in a repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Streams and sections; `groups` maps a node to the later ones whose words it stands for."""

    streams: tuple[Stream, ...]
    sections: tuple[Section, ...]
    groups: dict[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The repeats of a model, `nodes` of the steps of each; the first `written` are in streams."""

    nodes: tuple[tuple[int, ...], ...] = ()
    written: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Words of all lanes from one place to another, run `repeat` times."""

    name: str
    start: Place
    end: Place
    repeat: int = 1
    stride: Distances = (0,) * SEGMENTS


def fold(emitter: Emitter, chip: Chip, blocks: Blocks) -> Folded | None:
    """The emitter's streams with repeated blocks as one section; None if the blocks that were not
    written do not follow from those that were.
    """
    lanes = _lanes(emitter)
    run = _best_run(lanes, emitter.cuts, blocks)
    if run is None:
        return whole(emitter, chip) if blocks.written == len(blocks.nodes) else None
    parts, groups = _folded(_all(lanes), emitter.cuts, run, blocks)
    return _assembled(emitter, lanes, parts, chip, groups)


def whole(emitter: Emitter, chip: Chip) -> Folded:
    """The emitter's streams as they are, in several sections only where one would reach too far."""
    lanes = _lanes(emitter)
    return _assembled(emitter, lanes, [_all(lanes)], chip, {})


def _lanes(emitter: Emitter) -> dict[Lane, Piece]:
    return {lane: _lane(emitter, lane) for lane, words in emitter.streams.items() if len(words)}


def _all(lanes: dict[Lane, Piece]) -> _Part:
    end = {lane: len(piece.words) for lane, piece in lanes.items()}
    return _Part(name="main", start=dict.fromkeys(lanes, 0), end=end)


def _assembled(
    emitter: Emitter,
    lanes: dict[Lane, Piece],
    parts: list[_Part],
    chip: Chip,
    groups: dict[int, tuple[int, ...]],
) -> Folded:
    streams: list[Stream] = []
    sections: list[Section] = []
    for part in parts:
        for piece in _within_reach(lanes, part, [mark.starts for mark in emitter.marks]):
            sections.append(_section(emitter, lanes, piece, streams, chip))
    return Folded(streams=tuple(streams), sections=tuple(sections), groups=groups)


def fold_nodes(nodes: Sequence[NodeInfo], folded: Folded) -> tuple[tuple[NodeInfo, ...], Folded]:
    """The node table with one entry for nodes that share words, and streams with its numbers."""
    gone = {other for others in folded.groups.values() for other in others}
    table: list[NodeInfo] = []
    numbers = np.full(len(nodes) + 1, -1, np.int32)  # the last entry is for words of no node
    for number, node in enumerate(nodes):
        if number in gone:
            continue
        others = list(folded.groups.get(number, ()))
        numbers[[number, *others]] = len(table)
        table.append(_joined([node, *(nodes[i] for i in others)]))
    streams = tuple(replace(s, nodes=numbers[s.nodes]) for s in folded.streams)
    return tuple(table), replace(folded, streams=streams)


def _joined(nodes: list[NodeInfo]) -> NodeInfo:
    first = nodes[0]
    if len(nodes) == 1:
        return first
    return replace(
        first,
        sources=tuple(source for node in nodes for source in node.sources),
        flops={kind: sum(node.flops.get(kind, 0) for node in nodes) for kind in first.flops},
        compulsory_bytes=sum(node.compulsory_bytes for node in nodes),
        repeat=len(nodes),
    )


# --- finding repeats


def _lane(emitter: Emitter, lane: Lane) -> Piece:
    """All words of a lane but its END."""
    builder = emitter.streams[lane]
    stream = builder.stream()
    offsets = builder.offsets(stream.words)
    return Piece(
        words=stream.words[:-1],
        nodes=stream.nodes[:-1],
        offsets=offsets[:-1],
        starts=tuple(mark.starts[lane] for mark in emitter.marks),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """`repeat` times `size` blocks from block `first` on, all written; `stride` apart."""

    first: int
    size: int
    repeat: int
    stride: Distances


def _best_run(lanes: dict[Lane, Piece], cuts: list[Place], blocks: Blocks) -> _Run | None:
    """The run that saves most words; it must reach the last written block if some are not."""
    best, saved = None, 0
    for size in range(1, _LONGEST + 1 if blocks.nodes else 1):
        run = _longest_run(lanes, cuts, size)
        whole = (
            blocks.written == len(blocks.nodes) or run.first + size * run.repeat == blocks.written
        )
        if whole and (run.repeat - 1) * size > saved:
            best, saved = run, (run.repeat - 1) * size
    return best


def _folded(
    whole: _Part, cuts: list[Place], run: _Run, blocks: Blocks
) -> tuple[list[_Part], dict[int, tuple[int, ...]]]:
    """What comes before, the repeated blocks, and what comes after."""
    start, end = cuts[run.first], cuts[run.first + run.size * run.repeat]
    repeat = run.repeat + (len(blocks.nodes) - blocks.written) // run.size
    inside = replace(whole, start=start, end=cuts[run.first + run.size])
    parts = [
        replace(whole, name="before", end=start),
        replace(inside, name="layers", repeat=repeat, stride=run.stride),
        replace(whole, name="after", start=end),
    ]
    filled = [p for p in parts if any(p.end[lane] > p.start[lane] for lane in p.end)]
    return filled, _groups(blocks.nodes[run.first :], run.size, repeat)


def _groups(
    nodes: tuple[tuple[int, ...], ...], size: int, repeat: int
) -> dict[int, tuple[int, ...]]:
    """For each node of the first `size` blocks those of the later repeats."""
    groups: dict[int, dict[int, None]] = {}
    first_of: dict[int, int] = {}
    for block in range(size, size * repeat):
        for one, other in zip(nodes[block % size], nodes[block], strict=True):
            first = first_of.get(one, one)  # a node's steps may lie on both sides of a boundary
            if first != other:
                groups.setdefault(first, {})[other] = None
                first_of[other] = first
    return {first: tuple(others) for first, others in groups.items()}


def _longest_run(lanes: dict[Lane, Piece], cuts: list[Place], size: int) -> _Run:
    """The longest run of repeats of `size` blocks."""
    steps = [_distances(lanes, cuts, i, i + size) for i in range(len(cuts) - 1 - size)]
    best = _Run(first=0, size=size, repeat=1, stride=())
    start = 0
    for at, step in enumerate(steps):
        if step is None or step != steps[start]:
            start = at
        repeat = (at + 1 - start + size) // size
        if step is not None and repeat > best.repeat:
            best = _Run(first=start, size=size, repeat=repeat, stride=step)
    return best


def _distances(
    lanes: dict[Lane, Piece], cuts: list[Place], one: int, other: int
) -> Distances | None:
    """How far apart two blocks lie in each segment; None if they are not equal otherwise."""
    found: dict[int, int] = {}
    for lane, piece in lanes.items():
        here = slice(cuts[one][lane], cuts[one + 1][lane])
        there = slice(cuts[other][lane], cuts[other + 1][lane])
        if here.stop - here.start != there.stop - there.start:
            return None
        words, segments = _without_offsets(piece.words[here])
        if words != _without_offsets(piece.words[there])[0]:
            return None
        steps = piece.offsets[there] - piece.offsets[here]
        for segment in np.unique(segments):
            values = np.unique(steps[segments == segment])
            distance = found.setdefault(int(segment), int(values[0]))
            if len(values) > 1 or distance != values[0] or (segment >= _LOCAL and distance):
                return None
    return tuple(found.get(segment, 0) for segment in range(SEGMENTS))


def _without_offsets(words: Words) -> tuple[bytes, Offsets]:
    """Bytes of the words with all offsets zero; the segment of every operand [n, 6] (-1: none)."""
    rest = words.copy()
    segments = np.empty((len(words), len(OPERANDS)), np.int64)
    for slot, name in enumerate(OPERANDS):
        low = rest[name][:, 0].astype(np.int64)
        segments[:, slot] = np.where((low == 0) & (rest[name][:, 1] == 0), -1, low & 15)
        rest[name][:, 1] = 0
    return rest.tobytes(), segments


# --- sections


def _within_reach(
    lanes: dict[Lane, Piece], part: _Part, marks: list[Place]
) -> list[_Part]:  # fmt: skip
    """A part, cut between ops so that each piece reaches less than 4 GiB of every segment but ACT.

    Repeated parts stay whole.
    """
    if part.repeat > 1:
        return [part]
    marks = [m for m in marks if _between(lanes, part, m)]
    places = [part.start, *marks, part.end]
    pieces: list[_Part] = []
    low, high = _reach(lanes, places[0], places[1])
    start = places[0]
    for here, end in zip(places[1:], places[2:], strict=False):
        more = _reach(lanes, here, end)
        joined = np.minimum(low, more[0]), np.maximum(high, more[1])
        if ((joined[1] - joined[0]) >= OFFSET_LIMIT).any():
            pieces.append(replace(part, start=start, end=here))
            start, (low, high) = here, more
        else:
            low, high = joined
    pieces.append(replace(part, start=start, end=part.end))
    return pieces


def _between(lanes: dict[Lane, Piece], part: _Part, place: Place) -> bool:
    inside = all(part.start[lane] <= place[lane] <= part.end[lane] for lane in lanes)
    return inside and any(part.start[lane] < place[lane] for lane in lanes)


def _reach(lanes: dict[Lane, Piece], start: Place, end: Place) -> tuple[Offsets, Offsets]:
    """Lowest and highest offset in each segment [SEGMENTS]; high < low of ACT and the unused."""
    low = np.full(SEGMENTS, OFFSET_LIMIT << 20, np.int64)
    high = np.full(SEGMENTS, -1, np.int64)
    for lane, piece in lanes.items():
        at = slice(start[lane], end[lane])
        offsets, (_, segments) = piece.offsets[at], _without_offsets(piece.words[at])
        for segment in HBM_SEGMENTS:
            values = offsets[segments == segment]
            if len(values) and segment is not Seg.ACT:
                low[segment] = min(low[segment], values.min())
                high[segment] = max(high[segment], values.max())
    return low, high


def _section(
    emitter: Emitter, lanes: dict[Lane, Piece], part: _Part, streams: list[Stream], chip: Chip
) -> Section:
    low, high = _reach(lanes, part.start, part.end)
    base = np.where(high >= OFFSET_LIMIT, low, 0)
    runs: list[QueueRun] = []
    for lane, piece in lanes.items():
        start, end = part.start[lane], part.end[lane]
        if start == end:
            continue
        runs.append(emitter.run_of(lane, len(streams)))
        streams.append(_stream(piece, start, end, base, chip))
    return Section(
        name=part.name,
        runs=tuple(runs),
        repeat=part.repeat,
        seg_base=tuple(base.tolist()),
        seg_stride=part.stride,
    )


def _stream(piece: Piece, start: int, end: int, base: Offsets, chip: Chip) -> Stream:
    """Words start … end and END, with offsets from the section's bases."""
    words = piece.words[start:end].copy()
    segments = _without_offsets(words)[1]
    offsets = piece.offsets[start:end] - np.where(segments >= 0, base[segments], 0)
    for slot, name in enumerate(OPERANDS):
        words[name][:, 1] = offsets[:, slot] & (OFFSET_LIMIT - 1)
    starts = tuple(s - start for s in piece.starts if start <= s < end)
    placed = lift(
        Piece(words=words, nodes=piece.nodes[start:end], offsets=offsets, starts=starts),
        chip.core.fifo_words,
    )
    close = StreamBuilder()
    close.end()
    return Stream(
        words=np.concatenate([placed.words, close.stream().words]),
        nodes=np.append(placed.nodes, np.int32(-1)),
    )
