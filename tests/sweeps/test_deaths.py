"""A cell that kills its process does not stop a sweep for ever."""

import subprocess
import sys

import numpy as np
import pytest

from closedform.sweeps import sweep
from closedform.sweeps.engine import plan as plan_module
from closedform.sweeps.engine import queue as queue_module
from closedform.sweeps.engine import runner as runner_module
from closedform.sweeps.results import locks
from closedform.sweeps.results.catalogue import sweeps_of
from zoo import decay

RATES = (0.1, 0.2, 0.3, 0.4)


class Death(BaseException):
    """The end of a process, as far as one process can play it: nothing is stored, and the lock keeps its text."""


@pytest.fixture
def deadly(monkeypatch):
    """Kills whoever runs a seed of the cell at rate 0.3; `.names` are the cells of each block that was begun."""
    begun, simulate = [], runner_module.Runner.simulate

    def run(self, batch, source):
        rates = {self.group.configs[row].rate for row in batch.cells.tolist()}
        begun.append(sorted(rates))
        if 0.3 in rates:
            raise Death
        return simulate(self, batch, source)

    monkeypatch.setattr(runner_module.Runner, "simulate", run)
    monkeypatch.setattr(plan_module, "FILES", 1)  # all cells are one part
    return begun


def die(monkeypatch, options):
    with monkeypatch.context() as patch:
        patch.setattr(queue_module.Queue, "_store", lambda self, part, final: None)
        patch.setattr(locks.Lock, "release", lambda self, done: self.close())
        with pytest.raises(Death):
            sweep(decay, **options)


def test_the_cell_that_kills_is_found_and_the_others_are_computed(tmp_path, monkeypatch, deadly):
    lines = []
    options = dict(over={"rate": RATES}, seeds=3, results=tmp_path, progress=False, say=lines.append)
    for _ in range(2):
        die(monkeypatch, options)
    assert any(len(cells) > 1 for cells in deadly)
    deadly.clear()
    die(monkeypatch, options)  # the third goes cell by cell, and says in the lock which
    assert all(len(cells) == 1 for cells in deadly)
    (path,) = tmp_path.glob("zoo/decay/locks/*")
    lock = locks.take(path)
    assert lock.left["alone"] in lock.left["cells"]
    lock.release(done=False)
    result = sweep(decay, **options)
    np.testing.assert_array_equal(result["simulation"]["failed"].values, [False, False, True, False])
    assert any("3 processes died at this cell, the last at it alone" in line for line in lines)
    (status,) = sweeps_of(tmp_path)
    assert [cell.state for cell in status.cells] == ["done", "done", "failed", "done"]
    assert not list(tmp_path.glob("zoo/decay/locks/*"))


def test_a_death_after_progress_and_an_orderly_end_count_for_nothing(tmp_path, monkeypatch, deadly):
    options = dict(over={"rate": RATES}, seeds=3, results=tmp_path, progress=False, say=str)
    die(monkeypatch, options)
    with pytest.raises(Death):  # its finished runs are stored, and the lock is emptied
        sweep(decay, **options)
    deadly.clear()
    die(monkeypatch, options)
    assert any(len(cells) > 1 for cells in deadly)


@pytest.mark.slow("sweeps/engine/queue.py", "sweeps/results/locks.py")
def test_a_cell_that_aborts_real_processes_is_recorded_as_failed(tmp_path):
    (tmp_path / "deadly.py").write_text(
        "import os, jax, numpy as np\n"
        "def host(x):\n    if x == 2:\n        os.abort()\n    return np.float32(x)\n"
        "config = {'level': 1.0}\n"
        "def simulate(key, config):\n"
        "    x = config['level'] + 0 * jax.random.normal(key)\n"
        "    return jax.pure_callback(host, jax.ShapeDtypeStruct((), np.float32), x)\n"
    )
    command = [sys.executable, "-m", "closedform", "sweep", "deadly.py:simulate", "--over", "level=1,2,3", "--seeds", "2"]
    codes = [subprocess.run(command, cwd=tmp_path, capture_output=True).returncode for _ in range(4)]
    assert codes == [-6, -6, -6, 3]
    again = subprocess.run([*command, "--retry-failed"], cwd=tmp_path, capture_output=True)
    assert again.returncode == -6
