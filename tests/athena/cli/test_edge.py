"""The command line's edge: bad input, defects, interruption, closed and full streams, help."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.athena.cli.conftest import DATA

ROOT = Path(__file__).parents[3]
GPT2 = str(DATA / "gpt2_dynamo.onnx")
BOUND = (GPT2, "--dim", "batch=1", "--dim", "seq=16")


def start(*arguments: str, **options) -> subprocess.Popen:
    code = "import sys; from athena.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        **{"stdout": subprocess.PIPE, **options},
    )


BAD = {
    "no such file": (("compile", "nosuch.onnx"), "E-MODEL-FILE"),
    "not a model": (("compile", __file__), "E-MODEL-FILE"),
    "a folder": (("verify", "tests"), "E-MODEL-FILE"),
    "unbound dims": (("compile", GPT2), "E-MODEL-DIM"),
    "unknown dim": (("compile", *BOUND, "--dim", "sequ=3"), "did you mean"),
    "no number": (("compile", GPT2, "--dim", "seq=x"), "write NAME=N"),
    "unknown precision": (("verify", *BOUND, "--precision", "fp4"), "E-USAGE"),
    "unknown chip": (("compile", *BOUND, "--chip", "athenna"), "did you mean 'athena'"),
    "unknown key": (("compile", *BOUND, "--set", "core.matrix.row=3"), "core.matrix.rows"),
    "unknown command": (("compil",), "E-USAGE"),
    "unknown option": (("compile", "--fast"), "E-USAGE"),
    "missing argument": (("compile",), "athena compile --help"),
    "no folder": (("compile", *BOUND, "-o", "nowhere/x.athena"), "E-OUTPUT"),
    "trace without folder": (("simulate", *BOUND, "--trace"), "add -o"),
    "foreign folder": (("simulate", *BOUND, "-o", "tests"), "not one of ours"),
    "not an npz": (("run", *BOUND, "--inputs", __file__, "-o", "o.npz"), "E-INPUT"),
    "not a run": (("report", "tests", "-o", "nosuch"), "E-RUN-INVALID"),
    "not a program": (("check", GPT2), "E-PROGRAM-INVALID"),
    "options of a program": (("simulate", GPT2, "--precision"), "E-USAGE"),
}


@pytest.mark.parametrize(("arguments", "text"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_message_and_exit_2(athena, arguments, text, monkeypatch):
    monkeypatch.chdir(ROOT)
    before = sorted(os.listdir(ROOT))
    told = athena(*arguments)
    assert told.code == 2 and told.out == ""
    assert text in told.err and told.err.startswith("error[E-") and told.err.count("error[") == 1
    assert "Traceback" not in told.err
    assert sorted(os.listdir(ROOT)) == before


def test_a_defect_is_exit_70_and_shows_its_trace_on_request(athena, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a \x1b[31m defect")

    monkeypatch.setattr("athena.chip.load.preset_names", broken)
    monkeypatch.setattr("athena.chip.preset_names", broken)
    plain = athena("chips", "list")
    assert plain.code == 70 and "E-INTERNAL" in plain.err and "Traceback" not in plain.err
    assert "\x1b" not in plain.err
    assert "Traceback" in athena("--debug", "chips", "list").err


def test_running_out_of_memory_is_a_limit_and_no_defect(athena, monkeypatch):
    def hungry(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("athena.chip.preset_names", hungry)
    told = athena("chips", "list")
    assert told.code == 2 and "E-LIMIT" in told.err


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from athena.cli import main; main(['--help'])\n"
        "heavy = {'numba', 'onnx', 'networkx', 'numpy', 'pydantic', 'yaml', 'onnxruntime'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"
    assert "quickstart" in done.stdout


@pytest.mark.parametrize("delay_s", [0.0, 0.2, 0.4, 0.6, 1.0])
def test_interruption_exits_130_without_a_trace(delay_s):
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from athena.cli import main; print('on', flush=True); sys.exit(main())"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, "verify", *BOUND],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None and child.stdout.readline() == "on\n"
    time.sleep(0.02 + delay_s)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert "Traceback" not in err
    assert child.returncode == 130


@pytest.mark.parametrize(
    "arguments", [("ops", "--markdown"), ("chips", "--help"), ("ops", "--json")]
)
def test_a_reader_that_leaves_ends_the_command_quietly(arguments):
    reader, writer = os.pipe()
    child = start(*arguments, stdout=writer)
    os.close(writer)
    os.close(reader)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 0 and err == ""


@pytest.mark.parametrize("arguments", [(), ("chips",), ("rtl",)])
def test_nothing_asked_is_answered_with_help(athena, arguments):
    told = athena(*arguments)
    assert told.code == 2 and "Usage: athena" in told.out and told.err == ""


def test_closed_standard_output_is_no_defect():
    code = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    run = "import sys; from athena.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "-c", run, "models", "list"],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_of_the_user():
    with open("/dev/full", "w") as full:
        child = start("models", "list", stdout=full)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 2 and "disk full" in err


def test_text_without_unicode_still_prints():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    child = start("chips", "list", env=environment)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0 and err == "" and "athena-edge" in out


def test_a_foreign_compiler_package_is_refused(tmp_path):
    (tmp_path / "compiler").mkdir()
    (tmp_path / "compiler" / "__init__.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.path.append({str(ROOT)!r})\n"
        "from athena.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "models", "list"], capture_output=True, text=True
    )
    assert done.returncode == 2 and "E-TOOL-MISSING" in done.stderr


def test_telemetry_is_off_before_anything_is_imported():
    code = (
        "import os, sys; os.environ.pop('ORT_DISABLE_TELEMETRY', None)\n"
        "from athena.cli import main; main(['--version'])\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.endswith("1\n")


def test_an_interruption_inside_a_callback_from_c_is_not_lost():
    code = """
import ctypes, os, signal, time
from athena.cli.interrupt import Interrupts

def inside():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)

with Interrupts():
    try:
        ctypes.CFUNCTYPE(None)(inside)()
        time.sleep(5)
    except KeyboardInterrupt:
        print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted\n", "", 0)
