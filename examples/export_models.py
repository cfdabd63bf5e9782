"""Export small random-weight transformers with torch's two ONNX exporters into tests/data/.

In:  nothing but transformers' configuration classes (no download); weights are seeded noise.
Out: FAMILY_EXPORTER.onnx files (fp32, self-contained), manifest.yaml describing each of them.
Raises: SystemExit when onnxruntime and torch disagree on an exported file by more than 1e-4.

Needs the extra `export` (torch, transformers, onnxscript).  Run it there:

    python examples/export_models.py                      # all models into tests/data/
    python examples/export_models.py gpt2_ts llama_kv_dynamo -o /tmp/models
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import transformers
import yaml

VOCAB = 500
POSITIONS = 128
TOLERANCE = 1e-4
MAX_FILE_BYTES = 4 * 1024 * 1024
KV_FORMAT = "past_key_values.{layer}.{part}"
PRESENT_FORMAT = "present.{layer}.{part}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One file to write: which model, which exporter, which inputs it takes.

    `inputs` are the names before the cache, `names` those of the symbolic dimensions (batch,
    sequence and, with a cache, past and total length).
    """

    family: str
    build: Callable[[str], torch.nn.Module]
    exporter: str
    attention: str
    inputs: tuple[str, ...]
    opset: int
    names: tuple[str, ...] = ("batch", "seq")
    cache: tuple[int, int, int] | None = None  # layers, key/value heads, head dim
    seed: int = 0

    @property
    def dims(self) -> dict[str, int]:
        """Return the default binding of the symbolic dimensions, in the order of `names`."""
        values = (1, 16) if self.cache is None else (1, 4, 12, 16)
        return dict(zip(self.names, values, strict=True))


# --- models -----------------------------------------------------------------------------------


def gpt2(attention: str) -> torch.nn.Module:
    """GPT-2: LayerNorm before, learnt positions, tanh-GELU, one matrix for query, key and value."""
    config = transformers.GPT2Config(
        vocab_size=VOCAB,
        n_positions=POSITIONS,
        n_embd=96,
        n_layer=2,
        n_head=4,
        bos_token_id=0,
        eos_token_id=0,
        attn_implementation=attention,
    )
    return transformers.GPT2LMHeadModel(config)


def bert(attention: str) -> torch.nn.Module:
    """BERT: LayerNorm after, token types, erf-GELU, padding mask."""
    config = transformers.BertConfig(
        vocab_size=VOCAB,
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=6,
        intermediate_size=384,
        max_position_embeddings=POSITIONS,
        attn_implementation=attention,
    )
    return transformers.BertModel(config, add_pooling_layer=False)


def llama(attention: str) -> torch.nn.Module:
    """Llama: RMSNorm, rotary positions, grouped-query attention (8 heads, 2 cached), SwiGLU."""
    config = transformers.LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=128,
        intermediate_size=344,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        attn_implementation=attention,
    )
    return transformers.LlamaForCausalLM(config)


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Give weights the scale trained ones have: activations near one, norms and biases not trivial.

    Matrices get a standard deviation of 1/sqrt(inputs), norm weights 1 +- 0.2, biases 0.1 and
    embeddings 0.5 (0.15 where the same matrix makes the logits).
    """
    generator = torch.Generator().manual_seed(seed)
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    linears = {id(m.weight): m.in_features for m in model.modules() if hasattr(m, "in_features")}
    tied = embeddings & set(linears)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if id(weight) in embeddings:
                weight.copy_(noise * (0.15 if id(weight) in tied else 0.5))
            elif weight.dim() == 2:
                fan_in = linears.get(id(weight), weight.shape[0])  # GPT-2's Conv1D is [in, out]
                weight.copy_(noise / fan_in**0.5)
            else:
                weight.copy_(1 + 0.2 * noise if name.endswith("weight") else 0.1 * noise)


class Flat(torch.nn.Module):
    """A transformers model with tensors in and tensors out, key/value cache as a flat list."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.inner = case.build(case.attention).eval()
        randomise(self.inner, case.seed)
        self.names = case.inputs
        self.cached = case.cache is not None

    def forward(self, ids: torch.Tensor, *rest: torch.Tensor) -> Any:
        """Return logits (or the last hidden state), then key and value of every layer."""
        named = dict(zip(self.names, (ids, *rest), strict=False))
        extra: dict[str, Any] = {}
        if self.cached:
            flat = rest[len(self.names) - 1 :]
            pairs = tuple(zip(flat[0::2], flat[1::2], strict=True))
            extra = {"past_key_values": transformers.DynamicCache(pairs), "use_cache": True}
        elif self.inner.config.model_type != "bert":
            extra = {"use_cache": False}
        result = self.inner(**named, **extra)
        if not self.cached:
            return result[0]
        present = [t for layer in result.past_key_values.layers for t in (layer.keys, layer.values)]
        return (result.logits, *present)


# --- inputs -----------------------------------------------------------------------------------


def input_names(case: Case) -> tuple[str, ...]:
    """Return the file's input names, in order."""
    layers = range(case.cache[0]) if case.cache else ()
    past = (KV_FORMAT.format(layer=n, part=p) for n in layers for p in ("key", "value"))
    return (*case.inputs, *past)


def output_names(case: Case) -> tuple[str, ...]:
    """Return the file's output names, in order."""
    first = "last_hidden_state" if case.family == "bert" else "logits"
    layers = range(case.cache[0]) if case.cache else ()
    present = (PRESENT_FORMAT.format(layer=n, part=p) for n in layers for p in ("key", "value"))
    return (first, *present)


def symbolic_shape(case: Case, name: str) -> dict[int, str]:
    """Return the symbolic axes of the input or output `name`."""
    batch, seq, *lengths = case.names
    if name.startswith("past_key_values"):
        return {0: batch, 2: lengths[0]}
    if name.startswith("present"):
        return {0: batch, 2: lengths[1]}
    if name == "attention_mask" and case.cache:
        return {0: batch, 1: lengths[1]}
    return {0: batch, 1: seq}


def make_inputs(case: Case, sizes: Sequence[int], padding: int = 0) -> tuple[torch.Tensor, ...]:
    """Return seeded inputs of `sizes` (batch, seq[, past]), the first `padding` keys masked."""
    batch, seq, *lengths = sizes
    past = lengths[0] if lengths else 0
    generator = torch.Generator().manual_seed(100 * case.seed + seq)
    mask = torch.ones(batch, past + seq, dtype=torch.int64)
    mask[0, :padding] = 0
    made = {
        "input_ids": torch.randint(0, VOCAB, (batch, seq), generator=generator),
        "attention_mask": mask,
        "token_type_ids": (torch.arange(seq) >= seq // 2).long().repeat(batch, 1),
        "position_ids": (torch.arange(seq) + past).repeat(batch, 1),
    }
    tensors = [made[name] for name in case.inputs]
    if case.cache:
        layers, heads, head_dim = case.cache
        shape = (batch, heads, past, head_dim)
        tensors += [torch.randn(shape, generator=generator) for _ in range(2 * layers)]
    return tuple(tensors)


# --- exporting and checking -------------------------------------------------------------------


def export(case: Case, model: Flat, path: Path) -> None:
    """Write `model` to `path` with the exporter the case names."""
    names, outputs = input_names(case), output_names(case)
    example = make_inputs(case, (2, 8) if case.cache is None else (2, 3, 5))
    shapes = [symbolic_shape(case, name) for name in names]
    if case.exporter == "ts":
        axes = {name: symbolic_shape(case, name) for name in (*names, *outputs)}
        options: dict[str, Any] = {"dynamo": False, "dynamic_axes": axes}
    else:
        dynamic = {"ids": shapes[0]} | ({"rest": tuple(shapes[1:])} if shapes[1:] else {})
        options = {"dynamo": True, "external_data": False, "dynamic_shapes": dynamic}
    torch.onnx.export(
        model,
        example,
        str(path),
        input_names=list(names),
        output_names=list(outputs),
        opset_version=case.opset,
        verbose=False,
        **options,
    )


def strip_paths(path: Path) -> None:
    """Remove what is only true of this machine (stack traces, graph names with paths)."""
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    for function in model.functions:
        del function.metadata_props[:]
        for node in function.node:
            del node.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def largest_difference(case: Case, model: Flat, path: Path) -> float:
    """Return the largest absolute difference of onnxruntime from torch over several sizes.

    Rows whose own token is masked are left out: their attention has no defined result.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    sizes = ((1, 16), (3, 7), (1, 1)) if case.cache is None else ((1, 4, 12), (3, 1, 9), (2, 6, 1))
    worst = 0.0
    for size in sizes:
        for padding in (0, 2) if "attention_mask" in case.inputs and size[1] > 2 else (0,):
            tensors = make_inputs(case, size, padding)
            with torch.no_grad():
                expected = model(*tensors)
            expected = expected if isinstance(expected, tuple) else (expected,)
            arrays = [t.numpy() for t in tensors]
            got = session.run(None, dict(zip(input_names(case), arrays, strict=True)))
            hidden = max(0, padding - (size[2] if case.cache else 0))
            for want, have in zip(expected, got, strict=True):
                axis = 1 if want.dim() == 3 else 2
                skip = hidden if want.dim() == 3 else padding
                keep = [slice(None)] * axis + [slice(skip, None)]
                difference = np.abs(want.numpy()[tuple(keep)] - have[tuple(keep)])
                worst = max(worst, float(difference.max()))
    return worst


def describe(path: Path, case: Case, difference: float) -> dict[str, Any]:
    """Return the manifest entry of a written file."""

    def shapes(values: Any) -> dict[str, Any]:
        return {
            v.name: [
                onnx.TensorProto.DataType.Name(v.type.tensor_type.elem_type).lower(),
                [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim],
            ]
            for v in values
        }

    model = onnx.load(path)
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    return {
        "family": case.family,
        "exporter": {"ts": "torchscript", "dynamo": "dynamo"}[case.exporter],
        "attention": case.attention,
        "kv_cache": case.cache is not None,
        "opsets": opsets,
        "dims": case.dims,
        "inputs": shapes(model.graph.input),
        "outputs": shapes(model.graph.output),
        "max_abs_diff_to_torch": float(f"{difference:.2g}"),
    }


# --- the table --------------------------------------------------------------------------------

OPTIMUM = (
    "batch_size",
    "sequence_length",
    "past_sequence_length",
    "past_sequence_length + sequence_length",
)
PLAIN = ("batch", "seq", "past", "total")
MASKED = ("input_ids", "attention_mask")
PLACED = (*MASKED, "position_ids")
BERT_INPUTS = (*MASKED, "token_type_ids")


def _case(build: Callable[[str], torch.nn.Module], row: str, **options: Any) -> Case:
    exporter, attention, opset = row.split()
    family = build.__name__
    return Case(
        family=family,
        build=build,
        exporter=exporter,
        attention=attention,
        opset=int(opset),
        **options,
    )


GPT2_CACHE, LLAMA_CACHE = (2, 4, 24), (2, 2, 16)
CASES: dict[str, Case] = {
    "gpt2_ts": _case(gpt2, "ts eager 17", inputs=MASKED, seed=1),
    "gpt2_dynamo": _case(gpt2, "dynamo sdpa 18", inputs=("input_ids",), seed=2),
    "gpt2_kv_ts": _case(gpt2, "ts sdpa 17", inputs=PLACED, seed=3, cache=GPT2_CACHE, names=OPTIMUM),
    "gpt2_kv_dynamo": _case(
        gpt2, "dynamo eager 20", inputs=MASKED, seed=4, cache=GPT2_CACHE, names=PLAIN
    ),
    "bert_ts": _case(bert, "ts sdpa 14", inputs=BERT_INPUTS, seed=5),
    "bert_dynamo": _case(bert, "dynamo eager 18", inputs=BERT_INPUTS, seed=6),
    "llama_ts": _case(llama, "ts eager 14", inputs=MASKED, seed=7),
    "llama_dynamo": _case(llama, "dynamo sdpa 18", inputs=MASKED, seed=8),
    "llama_kv_ts": _case(
        llama, "ts sdpa 17", inputs=PLACED, seed=9, cache=LLAMA_CACHE, names=OPTIMUM
    ),
    "llama_kv_dynamo": _case(
        llama, "dynamo eager 18", inputs=PLACED, seed=10, cache=LLAMA_CACHE, names=PLAIN
    ),
}


def write(name: str, folder: Path) -> dict[str, Any]:
    """Export, check and describe one model; returns its manifest entry."""
    case, path = CASES[name], folder / f"{name}.onnx"
    model = Flat(case).eval()
    export(case, model, path)
    strip_paths(path)
    difference = largest_difference(case, model, path)
    if not difference <= TOLERANCE:
        raise SystemExit(f"{path}: onnxruntime differs from torch by {difference:.3g}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SystemExit(f"{path}: {path.stat().st_size} bytes, allowed are {MAX_FILE_BYTES}")
    return describe(path, case, difference)


def main() -> None:
    """Write the models named on the command line (all without a name) and the manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}")
    parser.add_argument("-o", "--output", type=Path, default=Path("tests/data"))
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(CASES))
    if unknown:
        parser.error(f"unknown model {', '.join(unknown)}; known are {', '.join(CASES)}")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    arguments.output.mkdir(parents=True, exist_ok=True)
    versions = {m.__name__: str(m.__version__) for m in (torch, transformers, onnx, onnxruntime)}
    manifest_path = arguments.output / "manifest.yaml"
    manifest = yaml.safe_load(manifest_path.read_text()) if manifest_path.exists() else {}
    entries = manifest.get("files", {})
    for name in arguments.names or CASES:
        entries[f"{name}.onnx"] = write(name, arguments.output)
        print(f"{name}.onnx: {entries[f'{name}.onnx']['max_abs_diff_to_torch']:g} from torch")
        content = {"versions": versions, "files": {k: entries[k] for k in sorted(entries)}}
        text = yaml.safe_dump(content, sort_keys=False, width=100, default_flow_style=None)
        manifest_path.write_text(text)


if __name__ == "__main__":
    main()
