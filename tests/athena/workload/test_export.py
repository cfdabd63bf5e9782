"""The benchmark models run in onnxruntime, say what they should, and keep activations alive."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from athena.workload.export import models
from athena.workload.export.parts import Sizes

SMALL = Sizes(layers=2, hidden=64, heads=4, kv_heads=4, ffn=256, vocab=100, positions=32)
LLAMA = replace(SMALL, kv_heads=2, theta=10000.0)


def run(model, feeds):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def tokens(batch, seq, seed=0):
    return np.random.default_rng(seed).integers(0, SMALL.vocab, (batch, seq))


def llama_feeds(ids, past=0, cache=None):
    batch, seq = ids.shape
    feeds = {
        "input_ids": ids,
        "attention_mask": np.ones((batch, past + seq), np.int64),
        "position_ids": np.tile(np.arange(past, past + seq), (batch, 1)),
    }
    return feeds | (cache or {})


def cache_of(outputs):
    return {
        name.replace("present", "past_key_values"): value
        for name, value in outputs.items()
        if name.startswith("present")
    }


def test_encoder_ignores_masked_tokens():
    model = models.build_transformer(models.encoder, SMALL)
    ids, mask = tokens(2, 9), np.ones((2, 9), np.int64)
    mask[:, 6:] = 0
    types = np.zeros_like(ids)
    feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    first = run(model, feeds)["last_hidden_state"]
    assert first.shape == (2, 9, 64)
    assert 0.5 < first.std() < 2
    ids[:, 6:] = (ids[:, 6:] + 1) % SMALL.vocab
    second = run(model, feeds)["last_hidden_state"]
    np.testing.assert_allclose(first[:, :6], second[:, :6], atol=1e-5)
    assert np.abs(first[:, 6:] - second[:, 6:]).max() > 0.1


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_decoder_never_looks_ahead(kind):
    if kind == "gpt2":
        model = models.build_transformer(models.decoder, SMALL)
    else:
        model = models.build_transformer(models.TRANSFORMERS["llama3-8b"][1], LLAMA)
    ids = tokens(2, 9)
    changed = ids.copy()
    changed[:, 5:] = (changed[:, 5:] + 1) % SMALL.vocab
    feeds = ({"input_ids": i} if kind == "gpt2" else llama_feeds(i) for i in (ids, changed))
    first, second = (run(model, f)["logits"] for f in feeds)
    assert first.shape == (2, 9, SMALL.vocab)
    assert 0.1 < first.std() < 3
    np.testing.assert_allclose(first[:, :5], second[:, :5], atol=1e-5)
    assert np.abs(first[:, 5:] - second[:, 5:]).max() > 0.1


def test_llama_with_cache_continues_where_it_stopped():
    whole = models.build_transformer(models.TRANSFORMERS["llama3-8b"][1], LLAMA, seed=3)
    stepped = models.build_transformer(models.TRANSFORMERS["llama3-8b-kv"][1], LLAMA, seed=3)
    ids = tokens(2, 10)
    expected = run(whole, llama_feeds(ids))["logits"]
    cache = {
        f"past_key_values.{n}.{p}": np.zeros((2, 2, 0, 16), np.float32)
        for n in range(2)
        for p in ("key", "value")
    }
    start = run(stepped, llama_feeds(ids[:, :7], 0, cache))
    then = run(stepped, llama_feeds(ids[:, 7:9], 7, cache_of(start)))
    last = run(stepped, llama_feeds(ids[:, 9:], 9, cache_of(then)))
    got = np.concatenate([start["logits"], then["logits"], last["logits"]], axis=1)
    np.testing.assert_allclose(got, expected, atol=2e-5)
    assert last["present.1.value"].shape == (2, 2, 10, 16)


def test_single_llama_layer_keeps_the_scale_of_its_input():
    shape = replace(LLAMA, layers=1, vocab=0)
    model = models.build_transformer(models.TRANSFORMERS["llama3-8b-layer"][1], shape)
    feeds = llama_feeds(tokens(1, 12))
    del feeds["input_ids"]
    noise = np.random.default_rng(1).standard_normal((1, 12, 64), dtype=np.float32)
    hidden = run(model, feeds | {"inputs_embeds": noise})["hidden_states"]
    assert 0.5 < hidden.std() < 2


def test_matmul_is_a_matrix_product():
    model = models.build_preset("matmul", sizes=(3, 8, 5))
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
    x = np.random.default_rng(0).standard_normal((3, 8), dtype=np.float32)
    np.testing.assert_allclose(run(model, {"x": x})["y"], x @ weight, rtol=1e-5, atol=1e-6)


def test_attention_equals_numpy():
    model = models.build_preset("attention", sizes=(2, 6, 8))
    shape = (3, 1, 2, 6, 8)
    q, k, v = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(8) + np.triu(np.full((6, 6), -np.inf), 1)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    expected = weights / weights.sum(-1, keepdims=True) @ v
    got = run(model, {"query": q, "key": k, "value": v})["y"]
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "parameters_millions"),
    [
        ("bert-base", 108.9),
        ("gpt2", 124.4),
        ("llama3-8b", 8030.3),
        ("llama3-8b-kv", 8030.3),
        ("llama3-8b-layer", 218.1),
    ],
)
def test_full_size_presets_have_the_published_parameter_counts(name, parameters_millions):
    model = models.build_preset(name, weightless=True)
    assert {p.key: p.value for p in model.metadata_props} == {"weightless": "1"}
    empty = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
    empty = [t for t in empty if not t.raw_data and not t.float_data]
    assert sum(np.prod(t.dims) for t in empty) / 1e6 == pytest.approx(parameters_millions, abs=0.1)
    assert model.ByteSize() < 2e6


def test_weightless_differs_only_in_data():
    full = models.build_transformer(models.encoder, SMALL)
    empty = models.build_transformer(models.encoder, SMALL, weightless=True)
    assert full.graph.node == empty.graph.node
    assert [(t.name, t.dims) for t in full.graph.initializer] == [
        (t.name, t.dims) for t in empty.graph.initializer
    ]


def test_models_are_the_same_for_the_same_seed_only():
    same = [models.build_transformer(models.decoder, SMALL, seed=s) for s in (1, 1, 2)]
    texts = [model.SerializeToString(deterministic=True) for model in same]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("bert-large", {}, "unknown preset"),
        ("matmul", {"sizes": (1, 2)}, "three sizes"),
        ("matmul", {"layers": 2}, "no layers"),
        ("gpt2", {"sizes": (1, 2, 3)}, "layers, not sizes"),
    ],
)
def test_wrong_options_are_named(name, options, text):
    with pytest.raises(ValueError, match=text):
        models.build_preset(name, **options)
