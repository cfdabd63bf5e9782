"""Copies that change the order of elements.

In:  `PlanStep`s of op Copy whose source has no neighbours in the result's last axis.   Out: words
on LOAD, VECTOR, STORE.
Raises: CapacityError where not even a small tile fits L1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from athena.errors import CapacityError
from athena.isa.builder import Operand, Wait, self_sem
from athena.isa.fields import Dt, Kind, Perm, Queue, Seg
from compiler.lowering.chain_script import ChainPlaces, add_chain
from compiler.lowering.emitter import Arena, Emitter, Sem
from compiler.lowering.nest import STRIDE_LIMIT, Nest, Split, Spot, TileLimit, choose_split
from compiler.lowering.plan import Buffer, PlanStep
from compiler.lowering.rowwise import store_tiles
from compiler.lowering.tiles import Rows, Script, Tile, make_tile, pitch_of, tile_bytes
from compiler.lowering.vecchain import vec_words
from compiler.lowering.views import View, collapse

INTEGERS = (Dt.I32, Dt.I8, Dt.U8)
TILE_SIDE = 256


def is_plain_copy(step: PlanStep) -> bool:
    """Whether rows of the source can be copied as rows of the result, or the result has no rows."""
    source = step.ins[0]
    if source is None:
        raise TypeError(step.op)
    shape, (steps, outs) = collapse(
        step.out.shape, (source.expand(step.out.shape).strides, step.out.strides)
    )
    return shape[-1] == 1 or steps[-1] in (0, source.esize) or outs[-1] != step.out.esize


@dataclass(frozen=True, slots=True)
class _Transpose:
    """A copy between `view` and `out` of one shape [outer…, rows, cols]; tiles turn in L1, or are
    gathered `by_element`.
    """

    view: View
    out: View
    by_element: bool
    split: Split

    @property
    def by_way(self) -> bool:
        """Turned in a tile of its own, since VPERM cannot convert on the way to the result."""
        return not self.by_element and self.view.dt != self.out.dt

    def layout(self, arena: Arena) -> tuple[tuple[int, int], Operand, Tile]:
        """Two slots as loaded, the tile turned and not converted, and the result's slots."""
        turned = replace(self.split, tile_rows=self.split.tile_cols, tile_cols=self.split.tile_rows)
        straight = tile_bytes(Kind.FULL, self.view.esize, self.split)
        loaded = straight if self.by_element else tile_bytes(Kind.FULL, self.view.esize, turned)
        slots = arena.take(loaded), arena.take(loaded)
        arena.next_bank()
        at = arena.take(straight) if self.by_way else 0
        arena.next_bank()
        pitch = pitch_of(Kind.FULL, self.split.tile_cols, self.view.esize)
        result = make_tile(self.out, Kind.FULL, self.split, arena)
        return slots, Operand(Seg.L1, at, pitch, self.view.dt), result

    def rows(self, spot: Spot, place: tuple[Seg, int], slot: int) -> Rows:
        """What LOAD brings to the slot at `slot`."""
        far = spot.operand(place[0], self.view, place[1])
        split, esize = self.split, self.view.esize
        if not self.by_element:
            pitch = pitch_of(Kind.FULL, split.tile_rows, esize)
            return Rows(
                far=far,
                step=self.view.strides[-1],
                near=Operand(Seg.L1, slot, pitch, self.view.dt),
                rows=split.tile_cols,
                row_bytes=split.tile_rows * esize,
                row_clip=spot.cols(),
                byte_clip=spot.row_bytes(esize),
            )
        pitch = pitch_of(Kind.FULL, split.tile_cols, esize)
        down = split.tile_rows, self.view.strides[-2], pitch, spot.rows()
        across = split.tile_cols, self.view.strides[-1], esize, spot.cols()
        inner, outer = (across, down) if _fits(across[1]) or not _fits(down[1]) else (down, across)
        return Rows(
            far=far,
            step=inner[1],
            near=Operand(Seg.L1, slot, inner[2], self.view.dt),
            rows=inner[0],
            row_bytes=esize,
            row_clip=inner[3],
            blocks=outer[0],
            block_steps=(outer[1], outer[2]) if outer[0] > 1 else (0, 0),
            block_clip=outer[3],
        )


def _fits(stride: int) -> bool:
    return 0 <= stride < STRIDE_LIMIT


def emit_transpose(emitter: Emitter, step: PlanStep, buffers: list[Buffer]) -> str:
    """A copy whose source's neighbours lie along another axis than the result's: tiles through
    VPERM, or element by element.
    """
    job = _job(emitter, step)
    dry = Arena(0, 1 << 62, emitter.chip.l1_bank_bytes)
    job.layout(dry)
    arena = emitter.begin(step.node, dry.used)
    slots, straight, target = job.layout(arena)
    nest = Nest(emitter, job.view.shape, job.split, transposed=True)
    emitter.barrier()
    source = buffers[job.view.buffer]

    def load(spot: Spot) -> None:
        rows = job.rows(spot, (source.segment, source.offset), slots[spot.slot])
        rows.load(emitter.load, [Wait(Sem.X_FREE)], [self_sem(Sem.X_FULL)])

    def vector(spot: Spot) -> None:
        script = Script(emitter.vector, spot, job.split.tile_rows, job.split.tile_cols)
        result = target.operand(spot.slot)
        if job.by_element:
            _convert(script, replace(straight, imm=slots[spot.slot]), result)
        elif job.by_way:
            _turn(script, job, slots[spot.slot], straight)
            _convert(script, straight, result)
        else:
            _turn(script, job, slots[spot.slot], result)
        script.emit(
            [Wait(Sem.X_FULL), Wait(Sem.OUT_FREE)], [self_sem(Sem.X_FREE), self_sem(Sem.OUT_FULL)]
        )

    nest.walk(Queue.LOAD, (job.view,), load, by_element=True)
    nest.walk(Queue.VECTOR, (), vector, by_element=True)
    store_tiles(nest, emitter, target, buffers)
    emitter.finish(matrix=False)
    return f"{'element copy' if job.by_element else 'transpose'}: {job.split.describe()}"


def _job(emitter: Emitter, step: PlanStep) -> _Transpose:
    """Axes reordered so that the rows are the axis along which the source has neighbours."""
    source = step.ins[0]
    if source is None:
        raise TypeError(step.op)
    shape, (steps, outs) = collapse(
        step.out.shape, (source.expand(step.out.shape).strides, step.out.strides)
    )
    if len(shape) == 1:
        shape, steps, outs = (1, *shape), (0, *steps), (0, *outs)
    last = len(shape) - 1
    inner = next((i for i, s in enumerate(steps[:-1]) if s == source.esize), None)
    rest = sorted((i for i in range(last) if i != inner), key=lambda i: shape[i])
    axes = (*rest, last) if inner is None else (*rest, inner, last)
    full = tuple(shape[a] for a in axes)
    view = replace(source, shape=full, strides=tuple(steps[a] for a in axes))
    out = replace(step.out, shape=full, strides=tuple(outs[a] for a in axes))
    return _fitted(emitter, view, out, by_element=inner is None)


def _fitted(emitter: Emitter, view: View, out: View, *, by_element: bool) -> _Transpose:
    core = emitter.chip.core
    one_row = by_element and not _fits(view.strides[-1]) and not _fits(view.strides[-2])
    side = TILE_SIDE
    while side:
        limit = TileLimit(elems=side * side, rows=1 if one_row else side, cols=side)
        lanes = min(core.vector.lanes, side)
        split = choose_split(view.shape, emitter.chip.cores, lanes, limit)
        job = _Transpose(view, out, by_element, split)
        arena = Arena(0, 1 << 62, emitter.chip.l1_bank_bytes)
        job.layout(arena)
        if arena.used <= core.l1_bytes // 2 or (side == 1 and arena.used <= core.l1_bytes):
            return job
        side //= 2
    raise CapacityError(f"no tile fits L1 of {core.l1_bytes} bytes", where="lowering")


def _turn(script: Script, job: _Transpose, slot: int, turned: Operand) -> None:
    split, spot = job.split, script.spot
    script.perm(
        Operand(Seg.L1, slot, pitch_of(Kind.FULL, split.tile_rows, job.view.esize), job.view.dt),
        turned,
        Perm.TRANSPOSE,
        rows=split.tile_cols,
        cols=split.tile_rows,
        clips=(spot.cols(), spot.rows(), None),
    )


def _convert(script: Script, source: Operand, target: Operand) -> None:
    words = vec_words(
        (),
        integer=source.dt in INTEGERS,
        operand_integer=(source.dt in INTEGERS,),
        out_integer=target.dt in INTEGERS,
    )
    add_chain(script, words, source, target, ChainPlaces(tiles={}, temp=None, recip=None), 0)
