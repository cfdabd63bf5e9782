"""`athena inspect`: what a model file is, before anything is compiled.

In:  a model file, optionally dimensions. Out: tables or JSON.   Raises: AthenaError.
"""

from __future__ import annotations

from typing import Any

from athena.cli import options, output

SCHEMA = "athena-cli-inspect/1"


def inspect(
    model: options.ModelPath,
    dim: options.Dims = None,
    chip: options.ChipName = "athena",
    as_json: options.AsJson = False,
) -> None:
    """Say what a model is: inputs, dimensions and their roles, operators and where they run."""
    from athena.api.inspection import inspect_model

    with output.step(f"inspect {model.name}"):
        found = inspect_model(model, options.dims_of(dim), chip)
    if as_json:
        output.emit_json(SCHEMA, found)
        return
    facts: list[tuple[str, Any]] = [
        ("producer", found.info.producer or "not said"),
        ("opsets", ", ".join(f"{name} {number}" for name, number in found.info.opsets)),
        ("nodes", f"{found.info.node_count}, {found.info.function_count} local functions"),
        ("parameters", f"{found.info.parameter_count:,} ({found.info.parameter_bytes:,} bytes)"),
        ("external data", f"{found.info.external_bytes:,} bytes"),
        ("weights", "left out (weightless)" if found.info.weightless else "in the file"),
        ("caches", f"{len(found.info.cache_pairs)} pairs"),
        ("operators", found.places),
    ]
    if found.compiled:
        facts += [("chip-level nodes", found.compiled), ("fits", found.fits)]
    output.table(found.info.file, ("", ""), facts)
    ports = [
        (kind, port.name, port.dtype, ", ".join(map(str, port.dims)))
        for kind, group in (("input", found.info.inputs), ("output", found.info.outputs))
        for port in group
    ]
    output.table("ports", ("kind", "name", "dtype", "dims"), ports)
    if found.info.dims:
        output.table("dimensions to bind", ("dimension", "role", "option"), found.roles)
    rows = [(row.op, row.count, row.place) for row in found.ops]
    output.table("operators", ("operator", "count", "place"), rows)
