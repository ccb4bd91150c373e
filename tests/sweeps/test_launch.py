"""The same sweep as several processes: on this machine, and under a real Slurm (tests/slurm/start.sh), preempted on the way."""

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from closedform.sweeps import Launcher, Settings, UsageError, submit, sweep
from closedform.sweeps import cluster as cluster_module
from closedform.sweeps.api import ask
from closedform.sweeps.contract.request import Request
from closedform.sweeps.results.catalogue import sweeps_of
from closedform.sweeps.results.notes import manifest_path, note_request
from zoo import decay, fragile, marathon

TESTS = Path(__file__).resolve().parent.parent
MARATHON = str(Path(marathon.__file__))
OPTIONS = {"over": {"rate": (3.7, 3.8, 3.9)}, "seeds": 4}
SLURM = ("munged", "slurmctld", "slurmd", "sinfo", "sbatch", "srun", "scontrol", "scancel", "squeue")


# submitit leaves its watched processes to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def _as_a_user_meets_it(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return sweep(MARATHON, results=tmp_path_factory.mktemp("alone"), progress=False, say=str, **OPTIONS)


def same(left, right):
    for name, values in left["simulation"].data_vars.items():
        np.testing.assert_array_equal(values.values, right["simulation"][name].values, err_msg=name)


def test_local_processes_share_the_work_and_the_first_to_see_it_complete_assembles(expected, tmp_path):
    jobs = submit(MARATHON, launcher=Launcher("local", nodes=2), results=tmp_path, **OPTIONS)
    assert [job.result() for job in jobs] == [{"failed": 0}] * 2
    whole = manifest_path(ask(Request(MARATHON, results=tmp_path, **OPTIONS)))
    assert whole.with_suffix(".nc").exists()
    (status,) = sweeps_of(tmp_path)
    assert status.counts()["done"] == 3
    same(expected, sweep(MARATHON, results=tmp_path, progress=False, say=str, **OPTIONS))
    # four parts for each process or more: a cell's seeds are cut so that nobody waits
    assert len(list(tmp_path.glob("marathon/??/*.nc"))) == 12


@pytest.mark.slow
def test_a_function_in_a_file_and_cells_that_fail_are_launched_too(tmp_path):
    options = dict(over={"size": (4, 7)}, seeds=3, launcher=Launcher("local", nodes=2), results=tmp_path)
    jobs = submit(fragile.simulate, fragile.Config(), **options)
    assert [job.result() for job in jobs] == [{"failed": 1}] * 2
    assert list(tmp_path.glob("fragile/simulate/sweeps/*.nc"))  # complete: what can be had is there
    (status,) = sweeps_of(tmp_path)
    assert [(cell.state, cell.why) for cell in status.cells] == [("done", ""), ("failed", "ValueError: size 7 cannot be had")]


@pytest.mark.slow
def test_a_function_of_a_dict_is_launched_from_the_command_line(tmp_path):
    (tmp_path / "mine.py").write_text(
        "config = {'a': 1.0, 'n': 2}\n"
        "def simulate(key, config):\n    return config['a'] * config['n']\n"
        "def predict(config):\n    return config['a'] * config['n']\n"
    )
    command = [sys.executable, "-m", "closedform", "sweep", "mine.py:simulate", "--over", "a=1,2", "--seeds", "3"]
    launched = [*command, "--launcher", "local", "--nodes", "2"]
    done = subprocess.run(launched, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("agrees") == 2
    assert "compilation" not in done.stderr  # the processes had done it all


@pytest.mark.parametrize(
    ("thing", "launcher", "says"),
    [
        (decay, dict(kind="pbs"), r"launcher: got 'pbs'; allowed: 'local' or 'slurm'"),
        (decay, dict(nodes=0), r"nodes: got 0; allowed: a positive number"),
        (lambda key, config: config["a"], {}, r"must stand at the top level of a file"),
    ],
)
def test_a_bad_launch_is_said(thing, launcher, says, tmp_path):
    with pytest.raises(UsageError, match=says):
        submit(thing, None if thing is decay else {"a": 1.0}, launcher=Launcher(**launcher), results=tmp_path)


def test_without_submitit_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"pip install 'closedform\[cluster\]'"):
        submit(decay, launcher=Launcher(), results=tmp_path)


@pytest.mark.slow
def test_a_task_that_is_warned_stores_what_it_has_and_comes_back(expected, tmp_path, monkeypatch):
    """What submitit does on Slurm's signal, by hand: checkpoint() while the task works, then its successor."""
    import threading

    from closedform.sweeps.engine.queue import Queue

    monkeypatch.setattr("closedform.sweeps.engine.runner._WORTH_SAVING", 0.0)
    working, advanced = threading.Event(), Queue.advanced

    def until(self, steps):
        """After the first chunk a thread stands still until the task is warned."""
        advanced(self, steps)
        working.set()
        self.stop.wait()

    monkeypatch.setattr(Queue, "advanced", until)
    asked = Request(MARATHON, results=tmp_path, **OPTIONS)
    note_request(ask(asked))
    task = cluster_module.Task(asked, False, Settings(chunk=50))
    results = []
    worker = threading.Thread(target=lambda: results.append(task(0)))
    worker.start()
    while not working.wait(0.1):
        assert worker.is_alive()
    successor = task.checkpoint(0)
    worker.join()
    monkeypatch.setattr(Queue, "advanced", advanced)
    (status,) = sweeps_of(tmp_path)
    assert status.counts()["done"] < 3
    assert list(tmp_path.glob("marathon/checkpoints/*/*"))
    assert successor.function(0) == {"failed": 0}
    same(expected, sweep(MARATHON, results=tmp_path, progress=False, say=str, **OPTIONS))


# --- Slurm ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A cluster of one node on loopback; skipped where Slurm is not installed."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [program for program in SLURM if not shutil.which(program, path=path)]
    if missing:
        pytest.skip(f"Slurm is not installed (no {', '.join(missing)}); tests/slurm/start.sh, run as root, installs it")
    folder = tmp_path_factory.mktemp("slurm")
    start = subprocess.run([TESTS / "slurm/start.sh", folder], capture_output=True, text=True, timeout=90, check=False)
    try:
        if start.returncode:  # installed and broken is a failure, not a skip
            pytest.fail(start.stdout + start.stderr)
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("SLURM", "SBATCH", "SRUN", "SUBMITIT"))]:
                patch.delenv(name)  # the tests may themselves run in a job
            patch.setenv("SLURM_CONF", start.stdout.splitlines()[-1].removeprefix("SLURM_CONF="))
            logging.getLogger("submitit").setLevel(logging.ERROR)  # it warns that there is no accounting
            yield folder
    finally:
        subprocess.run([TESTS / "slurm/stop.sh", folder], check=False, timeout=60)


def finish(results):
    """Wait until all cells are done, for as long as the queue holds a job."""
    while True:
        queue = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=True).stdout
        status = next(iter(sweeps_of(results)), None)
        if status is not None and status.counts()["done"] == len(status.cells):
            return
        if not queue.strip():
            logs = "\n".join(path.read_text()[-2000:] for path in results.rglob("jobs/*/*.err"))
            pytest.fail(f"the jobs ended: {status and status.counts()}\n{logs}")
        time.sleep(0.5)


def wait_until(state, seconds):
    deadline = time.monotonic() + seconds
    while not state():
        assert time.monotonic() < deadline, f"not reached in {seconds} s"
        time.sleep(0.1)


@pytest.mark.slow
def test_one_array_job_does_a_sweep_and_survives_preemption(slurm, expected, tmp_path):
    """Two tasks; one is warned as Slurm warns before the time is up, stores its checkpoints, is requeued and goes on."""
    options = {"over": {"rate": (3.7, 3.8)}, "seeds": 2}
    command = [sys.executable, "-m", "closedform", "sweep", MARATHON, "--over", "rate=3.7,3.8", "--seeds", "2"]
    command += ["--config.num-steps", "200000", "--results", str(tmp_path)]
    launched = [*command, "--chunk", "100", "--checkpoint-minutes", "0.01", "--launcher", "slurm", "--nodes", "2"]
    done = subprocess.run([*launched, "--time", "5", "--cpus", "1"], capture_output=True, text=True, check=True, timeout=60)
    assert "submitted job" in done.stdout
    number = done.stdout.split()[2].rstrip(":")
    status = [sys.executable, "-m", "closedform", "status", "--results", str(tmp_path)]
    wait_until(lambda: list(tmp_path.glob("marathon/locks/*")), 60)
    wait_until(lambda: "rate=3.7: running" in subprocess.run(status, capture_output=True, text=True, check=True).stdout, 60)
    wait_until(lambda: list(tmp_path.glob("marathon/checkpoints/*/*")), 60)
    subprocess.run(["scancel", "--signal=USR2", f"{number}_0"], check=True)
    finish(tmp_path)
    whole = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert whole.returncode == 0, whole.stderr
    config = {"num_steps": 200000}
    alone = sweep(MARATHON, config, results=tmp_path / "alone", progress=False, say=str, **options)
    same(alone, sweep(MARATHON, config, results=tmp_path, progress=False, say=str, **options))
    logs = "\n".join(path.read_text() for path in tmp_path.rglob("jobs/*/*.out"))
    assert logs.count("Queue completed successfully") == 2
    assert logs.count("Requeued job") == 1
