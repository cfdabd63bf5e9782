"""Layers and exported models on the RTL: bits of the functional machine, cycles of the timing."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from athena.api import compile, load_model
from athena.api.correlate import Case, correlate, sample_cases
from athena.api.memories import memories
from athena.api.quickstart import ANSWER, data_folder, score
from athena.api.rtl import stored
from athena.api.rtl_models import quickstart_model
from athena.api.samples import VERIFY_SEED, random_inputs
from athena.chip import load_chip
from athena.functional import Machine
from athena.workload.export.rtl_set import bert_layer, llama_layer, samples
from rtl_sim.job import RtlJob
from rtl_sim.run import run_jobs

DATA = Path(__file__).parents[1] / "data"
EXPORTS = yaml.safe_load((DATA / "manifest.yaml").read_text("utf-8"))["files"]
DECODE = {"batch": 1, "seq": 1, "past": 31}
PRECISIONS = ("int8", "bf16")


def check(cases, memories=None):
    chip = cases[0].chip
    found = correlate(cases, memories or ((chip.hbm,),))
    for row in found.programs:
        assert row.bits_equal and row.trace_equal, (row.name, row.memory, row.difference)
        assert row.rtl_cycles == row.timing_cycles > 0
    return found


def layers(hidden, chip):
    made = [bert_layer(hidden, precision) for precision in PRECISIONS]
    made += [llama_layer(hidden, precision, "decode", DECODE) for precision in PRECISIONS]
    return sample_cases(made, chip)


def test_layers_of_bert_and_llama(rtl_tools, ci_chip):
    found = check(layers(64, ci_chip))
    assert [row.name for row in found.programs] == [
        *("bert-layer-64.int8", "bert-layer-64.bf16"),
        *("llama-decode-64.int8", "llama-decode-64.bf16"),
    ]
    assert min(row.words for row in found.programs) > 500


@pytest.mark.slow
def test_layers_of_hidden_256(rtl_tools):
    found = check(layers(256, load_chip("athena-edge")))
    assert min(row.rtl_cycles for row in found.programs) > 50_000


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTS)
def test_exported_models(rtl_tools, name):
    chip, model = load_chip("athena-edge"), load_model(DATA / name, EXPORTS[name]["dims"])
    cases = []
    for precision in PRECISIONS:
        made = compile(model, chip=chip, precision=precision)
        inputs = random_inputs(made.model, made.graph, VERIFY_SEED)
        cases.append(Case(name=precision, program=made.program, chip=chip, inputs=inputs))
    check(cases)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_trained_model_adds_on_the_rtl(rtl_tools, precision):
    """The RTL's logits score as the functional simulator's do, on sums that it has not seen."""
    made, inputs = quickstart_model(precision, load_chip("athena-edge"), {"batch": 8})
    job = RtlJob(program=made.program, inputs=stored(made.program, inputs))
    (result,) = run_jobs([job], made.chip)
    logits = Machine(made.program, made.chip).run(inputs)["logits"]
    np.testing.assert_array_equal(result.outputs["logits"].view(np.uint32), logits.view(np.uint32))
    with np.load(data_folder() / "heldout.npz") as heldout:
        answers = heldout["answers"][:8]
    assert answers.shape[1] == ANSWER.stop - ANSWER.start
    assert score(result.outputs["logits"], answers) >= 0.5


@pytest.mark.slow
def test_the_whole_set_on_fixed_memories(rtl_tools, ci_chip):
    found = check(sample_cases(samples(), ci_chip), memories(ci_chip, "fixed"))
    assert len(found.programs) >= 120 and found.passed
