"""Digests are equal on every processor: no constant of a program is rounded by instructions that another one lacks.

Libraries choose their code by what the processor can do, and can be told that it can do less; then exp, sin, products of
matrices and eigenvalues differ in their last bits.
"""

import functools
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from closedform.sweeps import find, names
from closedform.sweeps.contract.digest import hash_of
from closedform.sweeps.contract.groups import gather
from closedform.sweeps.contract.request import Request

HERE = Path(__file__).resolve().parent
FOUND = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])  # what NumPy uses here beyond what it needs
SETTINGS = {
    "XLA": {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2"},
    "BLAS and LAPACK": {"OPENBLAS_CORETYPE": "Prescott"},
    "NumPy": {"NPY_DISABLE_CPU_FEATURES": " ".join(FOUND)},
    "the C library": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F"},
}
ALL = {variable: value for setting in SETTINGS.values() for variable, value in setting.items()}
CHEAP = ("convex_relu/scp", "random_feature_attention/staircase", "voting_networks/trees")


def digests(preset, experiments):
    """{experiment: digests of its programs}, and under "" a digest of numbers that do differ."""
    found = {"": arithmetic()}
    for name in experiments:
        experiment = find(name)
        plan = Request(experiment, experiment.default_config(preset or None)).plan()
        found[name] = [list(group.traced().identity) for group in gather(plan.experiment, plan.cells)[0]]
    return found


def arithmetic():
    x = np.random.default_rng(0).uniform(0, 9, (60, 60))
    return hash_of([str(f(x).tobytes()) for f in (np.exp, np.sin, lambda x: x @ x, np.linalg.inv)])


def elsewhere(setting, preset, experiments):
    """`digests` of a process under these settings."""
    code = "import json, sys, test_processors as here; print(json.dumps(here.digests(sys.argv[1], sys.argv[2:])))"
    environment = {key: value for key, value in os.environ.items() if key not in ALL}
    environment |= setting | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", code, preset, *experiments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def assert_equal(one, other):
    different = [name for name in one if name and one[name] != other[name]]
    assert not different, f"other digests under these settings: {', '.join(different)}"


def test_digests_of_some_experiments_are_equal_on_another_processor():
    here, there = digests("quick", CHEAP), elsewhere(ALL, "quick", CHEAP)
    assert_equal(json.loads(json.dumps(here)), there)
    if platform.machine() == "x86_64" and FOUND:
        assert here[""] != there[""]


@pytest.fixture(scope="module")
def plain():
    return functools.cache(lambda preset: elsewhere({}, preset, names()))


@pytest.mark.slow("sweeps/contract/digest.py", "theory/numerics/exact.py", "theory/numerics/quadrature.py", "tasks/waves.py")
@pytest.mark.parametrize("library", SETTINGS)
def test_digests_are_equal_under_each_setting(library, plain):
    assert_equal(plain("quick"), elsewhere(SETTINGS[library], "quick", names()))


@pytest.mark.slow("sweeps/contract/digest.py", "theory/numerics/exact.py", "theory/numerics/quadrature.py", "tasks/waves.py")
def test_digests_at_the_default_sizes_are_equal_on_another_processor(plain):
    assert_equal(plain(""), elsewhere(ALL, "", names()))
