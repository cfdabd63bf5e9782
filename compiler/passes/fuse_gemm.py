"""Fusion into Gemm (alpha, bias, epilogue steps) and merging of elementwise chains.

In:  Elementwise roots.   Out: rewrites for the engine.   Raises: nothing.

A producer is fused away only if its consumer is the only reader and it is no graph output. The
fused node takes its consumer's place in the order, where all other operands are known already.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from compiler.graph.chip_ops import MAX_STEPS, ElementwiseAttrs, Fn, GemmAttrs, Op
from compiler.graph.graph import GraphEdit
from compiler.graph.types import Node
from compiler.passes.build import Builder
from compiler.passes.chains import append, conversion, moved_step, rooted_at
from compiler.passes.engine import Rewrite
from compiler.passes.match import binary, either, is_private, made_by
from compiler.passes.simplify import edit_out, joined

FIRST_OPERAND = 3
"""Position of the first epilogue operand among a Gemm's inputs, after a, b and bias."""


def _plain_gemm(edit: GraphEdit, name: object) -> Node | None:
    """A private Gemm without bias and steps that makes the value."""
    gemm = made_by(edit, name, Op.GEMM) if isinstance(name, str) else None
    if gemm is None or not is_private(edit, gemm.outputs[0]):
        return None
    attrs = cast(GemmAttrs, gemm.attrs)
    return None if attrs.steps or any(gemm.inputs[2:]) else gemm


def gemm_alpha(edit: GraphEdit, node: Node) -> bool:
    """A number that multiplies or divides a product is its alpha."""
    pairs = list(either(edit, node.outputs[0], Fn.MUL))
    quotient = binary(edit, node.outputs[0], Fn.DIV)
    if quotient is not None and isinstance(quotient[1], float) and quotient[1] != 0.0:
        pairs.append((quotient[0], 1.0 / quotient[1]))
    for left, factor in pairs:
        gemm = _plain_gemm(edit, left)
        if gemm is None or not isinstance(factor, float):
            continue
        attrs = cast(GemmAttrs, gemm.attrs)
        edit_out(edit, node)
        edit.remove_node(gemm.name)
        b = Builder(edit, node, joined(gemm, node))
        b.finish(Op.GEMM, gemm.inputs, replace(attrs, alpha=attrs.alpha * factor))
        return True
    return False


def gemm_bias(edit: GraphEdit, node: Node) -> bool:
    """A row added to a product with a matrix is its bias."""
    for left, right in either(edit, node.outputs[0], Fn.ADD):
        gemm = _plain_gemm(edit, left)
        if gemm is None or not isinstance(right, str):
            continue
        size = edit.value(gemm.outputs[0]).shape[-1]
        row = edit.value(right)
        if row.elems != size or row.shape[-1:] != (size,) or not row.is_const:
            continue
        if edit.value(gemm.outputs[0]).shape != edit.value(node.outputs[0]).shape:
            continue
        edit_out(edit, node)
        edit.remove_node(gemm.name)
        b = Builder(edit, node, joined(gemm, node))
        b.finish(Op.GEMM, [*gemm.inputs[:2], b.view(right, (size,))], gemm.attrs)
        return True
    return False


def gemm_epilogue(edit: GraphEdit, node: Node) -> bool:
    """A chain that starts with a Gemm's output is the Gemm's epilogue, as long as it stays within
    MAX_STEPS.
    """
    out = edit.value(node.outputs[0])
    for name in dict.fromkeys(node.inputs):
        gemm = made_by(edit, name, Op.GEMM)
        if gemm is None or not is_private(edit, name) or edit.value(name).shape != out.shape:
            continue
        attrs = cast(GemmAttrs, gemm.attrs)
        chain = rooted_at(cast(ElementwiseAttrs, node.attrs).steps, node.inputs, name)
        if chain is None or not chain[0] or len(attrs.steps) + len(chain[0]) > MAX_STEPS:
            continue
        if any(step.fn is Fn.CAST for step in chain[0]) or not out.dtype.is_float:
            continue
        given = (*gemm.inputs, "") if len(gemm.inputs) < FIRST_OPERAND else gemm.inputs
        extra = chain[1][1:]
        position = {i + 1: len(given) + i for i in range(len(extra))}
        steps = (*attrs.steps, *(moved_step(step, position) for step in chain[0]))
        edit_out(edit, node)
        edit.remove_node(gemm.name)
        b = Builder(edit, node, joined(gemm, node))
        b.finish(Op.GEMM, [*given, *extra], replace(attrs, steps=steps))
        return True
    return False


def merge_chains(edit: GraphEdit, node: Node) -> bool:
    """A chain that starts with another chain's private result continues it, as long as it stays
    within MAX_STEPS.
    """
    out = edit.value(node.outputs[0])
    for name in dict.fromkeys(node.inputs):
        maker = made_by(edit, name, Op.ELEMENTWISE)
        if maker is None or not is_private(edit, name) or edit.value(name).shape != out.shape:
            continue
        chain = rooted_at(cast(ElementwiseAttrs, node.attrs).steps, node.inputs, name)
        if chain is None:
            continue
        before = cast(ElementwiseAttrs, maker.attrs).steps
        dtypes = [edit.value(x).dtype for x in maker.inputs]
        between = conversion(before, dtypes, edit.value(name).dtype)
        steps, inputs = append((before, maker.inputs), chain, between)
        if len(steps) > MAX_STEPS:
            continue
        edit_out(edit, node)
        edit.remove_node(maker.name)
        b = Builder(edit, node, joined(maker, node))
        b.finish(Op.ELEMENTWISE, inputs, ElementwiseAttrs(steps=steps))
        return True
    return False


GEMM_REWRITES = tuple(
    Rewrite(name=apply.__name__.replace("_", "-"), pattern=(Op.ELEMENTWISE,), apply=apply)
    for apply in (gemm_alpha, gemm_bias, gemm_epilogue)
)
MERGE_REWRITES = (Rewrite(name="merge-chains", pattern=(Op.ELEMENTWISE,), apply=merge_chains),)
