"""Training as dynamics measured at their end: the state is a result of its own."""

import types

import jax
import numpy as np
import pytest

from closedform.sweeps import Settings, UsageError, agrees, compare, find, load, run, sweep
from closedform.sweeps.contract.experiment import last_step, recorded_steps
from closedform.sweeps.contract.tracing import trace
from closedform.sweeps.engine import checkpoints
from closedform.sweeps.engine import queue as queue_module
from closedform.sweeps.engine import runner as runner_module
from closedform.sweeps.results import sealed, states
from zoo import regression


@pytest.fixture
def trained_steps(monkeypatch):
    """How many steps the engine has done, over all runs."""
    done, advanced = [0], queue_module.Queue.advanced

    def counted(self, steps):
        done[0] += steps
        advanced(self, steps)

    monkeypatch.setattr(queue_module.Queue, "advanced", counted)
    return done


def changed(**names):
    """The experiment with other functions, as if typed into a session: its digest is that of what it names."""
    module = types.ModuleType(regression.__name__)
    vars(module).update({name: value for name, value in vars(regression).items() if not name.startswith("__")} | names)
    return module


def options(tmp_path, **more):
    return dict(results=tmp_path, progress=False, say=lambda line: None, **more)


def test_the_end_is_measured_and_agrees_with_a_loop(tmp_path):
    result = run(regression, {"num_steps": 20}, seeds=2, **options(tmp_path))
    config = regression.Config(num_steps=20)
    for seed in range(2):
        state = regression.init(jax.random.fold_in(jax.random.key(0), seed), config)
        for _ in range(20):
            state = regression.step(state, config)
        simulated = result["simulation"].sel(seed=seed)
        np.testing.assert_allclose(simulated["error"], regression.simulate(state, config).error, rtol=1e-12)
        assert float(simulated["draw"]) == float(regression.simulate(state, config).draw)
        missing = np.asarray(simulated["error"])
        np.testing.assert_allclose(simulated["loss"].isel(step=-1), missing @ missing / 2, rtol=1e-12)
    assert result["simulation"]["error"].dims == ("seed", "coordinate")
    assert result["simulation"]["coordinate"].values.tolist() == ["x0", "x1", "x2"]
    assert result["simulation"]["step"].values.tolist() == [0, 10, 20]
    rows = compare(find(regression), result)
    assert agrees(rows)
    assert rows[0].at.startswith("coordinate=x")


def test_numbers_do_not_depend_on_the_company(tmp_path):
    whole = run(regression, seeds=5, **options(tmp_path / "a"))["simulation"]
    settings = Settings(threads=1, block=1, chunk=7)
    alone = run(regression, seeds=[3], settings=settings, **options(tmp_path / "b"))["simulation"]
    for field in ("error", "draw", "loss"):
        np.testing.assert_array_equal(whole[field].sel(seed=[3]), alone[field])


def test_the_state_is_loaded_with_the_names_of_its_fields_when_it_is_asked_for(tmp_path, monkeypatch):
    over = {"dim": (2, 3)}
    result = sweep(regression, over=over, seeds=3, **options(tmp_path))
    with monkeypatch.context() as patch:
        asked, read = [], sealed.read
        patch.setattr(sealed, "read", lambda path: asked.append(path) or read(path))
        state = load(regression, over=over, results=tmp_path).state
        assert state.params.w.shape == (2, 3, 3)
        assert not any("states" in path.parts for path in asked)
    assert state.params.w.dims == ("dim", "seed", "params.w_0")
    missing = state.target.values - state.params.w.values
    np.testing.assert_array_equal(missing, result["simulation"]["error"].values)  # NaN where dim is 2
    assert np.all(state.params.counter == 40)
    assert state.key.dtype == np.uint32
    assert state.params.key.shape == (2, 3, 3)
    assert (
        len(list(tmp_path.glob("**/states/*/*.nc"))) == 2
    )  # a file for each cell: one for each run takes longer than the runs


def test_a_full_disk_while_states_are_written_ends_the_run_and_fails_no_cell(tmp_path, monkeypatch):
    def full(*_):
        raise UsageError("state: cannot be written (No space left on device)")

    monkeypatch.setattr("closedform.sweeps.engine.queue.KEPT_BYTES", 1)
    monkeypatch.setattr(states, "save", full)
    with pytest.raises(UsageError, match="No space left on device"):
        run(regression, seeds=2, **options(tmp_path))
    assert not list(tmp_path.glob("**/failed/*"))


def test_states_beyond_what_is_held_in_memory_are_written_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("closedform.sweeps.engine.queue.KEPT_BYTES", 1)
    sweep(regression, seeds=3, settings=Settings(threads=1, block=1), **options(tmp_path))
    assert len(list(tmp_path.glob("**/states/*/*.nc"))) == 3
    state = load(regression, results=tmp_path).state
    assert state.params.w.sizes["seed"] == 3
    assert np.all(state.params.counter == 40)


def test_another_measurement_does_not_train_again(tmp_path, trained_steps):
    first = run(regression, seeds=3, **options(tmp_path))
    assert trained_steps[0] == 3 * 40

    def simulate(state, config):
        return regression.Result(2 * regression.simulate(state, config).error, state.params.counter)

    second = run(changed(simulate=simulate), seeds=3, refresh=True, **options(tmp_path))
    assert trained_steps[0] == 3 * 40
    np.testing.assert_array_equal(second["simulation"]["error"], 2 * first["simulation"]["error"])
    np.testing.assert_array_equal(second["simulation"]["loss"], first["simulation"]["loss"])  # recorded on the way
    third = run(regression, {"scale": 3.0}, seeds=4, **options(tmp_path))  # one seed more
    assert trained_steps[0] == 4 * 40
    np.testing.assert_allclose(third["simulation"]["error"][:3], 3 * first["simulation"]["error"], rtol=1e-14)


def step_of_another_size(state, config):
    return regression.step(state, config)._replace(target=state.target * 1.0001)


def step_written_otherwise(state, config):
    """Another text, the same program."""
    rate, missing = config.learning_rate, state.target - state.params.w
    weights = regression.Weights(state.params.w + rate * missing, state.params.counter + 1, state.params.key)
    return regression.State(weights, state.target, jax.random.split(state.key)[0])


@pytest.mark.parametrize(("step", "again"), [(step_of_another_size, True), (step_written_otherwise, False)])
def test_another_training_trains_again_and_a_refactoring_does_not(tmp_path, trained_steps, step, again):
    run(regression, seeds=2, **options(tmp_path))
    run(changed(step=step), seeds=2, refresh=True, **options(tmp_path))
    assert trained_steps[0] == 2 * 40 * (1 + again)


def test_a_stopped_training_goes_on_bitwise(tmp_path, monkeypatch, trained_steps):
    whole = run(regression, seeds=2, **options(tmp_path / "whole"))
    settings = Settings(threads=1, block=2, chunk=5, checkpoint_minutes=1e-9)
    save = checkpoints.save

    def interrupted(*arguments):
        save(*arguments)
        if arguments[2] >= 20:
            raise KeyboardInterrupt

    before = trained_steps[0]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(regression, seeds=2, settings=settings, **options(tmp_path / "part"))
    part = run(regression, seeds=2, settings=settings, **options(tmp_path / "part"))
    assert trained_steps[0] - before == 2 * 40  # not from the start
    for field in ("error", "draw", "loss"):
        np.testing.assert_array_equal(whole["simulation"][field], part["simulation"][field])


def test_a_training_that_meets_nan_is_marked_and_not_measured(tmp_path):
    def step(state, config):
        w = regression.step(state, config).params.w
        bad = jax.numpy.where(state.params.counter == 15, jax.numpy.nan, w)
        return state._replace(params=regression.Weights(bad, state.params.counter + 1, state.params.key))

    result = run(changed(step=step), seeds=2, **options(tmp_path))
    assert result["simulation"]["diverged"].values.all()
    assert np.isnan(result["simulation"]["draw"]).all()
    assert np.isfinite(result["simulation"]["loss"].sel(step=10)).all()


def test_a_large_state_is_not_kept_and_said_once(tmp_path, monkeypatch):
    monkeypatch.setattr(runner_module, "KEPT_BYTES", 10)
    lines = []
    run(regression, seeds=4, results=tmp_path, progress=False, say=lines.append, settings=Settings(block=1))
    assert len([line for line in lines if "is not kept" in line]) == 1
    assert "state" not in load(regression, results=tmp_path).children


def test_a_damaged_state_is_set_aside_and_trained_again(tmp_path, trained_steps):
    first = run(regression, seeds=2, settings=Settings(threads=1, block=2), **options(tmp_path))
    (path,) = tmp_path.glob("**/states/*/*.nc")
    path.write_bytes(path.read_bytes()[:-200])
    lines = []
    again = run(regression, {"scale": 2.0}, seeds=2, results=tmp_path, progress=False, say=lines.append)
    assert trained_steps[0] == 2 * 2 * 40
    np.testing.assert_array_equal(again["simulation"]["error"], 2 * first["simulation"]["error"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (dict(num_steps=lambda config: 2.5), r"num_steps\(config\) is a whole number"),
        (dict(steps=lambda config: np.array([0, 50])), r"steps\(config\) ends at num_steps\(config\) = 40"),
        (dict(labels=lambda config: {"coordinate": ("a", "b")}), "axis coordinate has length 3 here and 2 elsewhere"),
        (dict(labels=lambda config: {"coordinate": ("a", "a", "b")}), "distinct numbers or words"),
        (dict(labels=lambda config: {"place": ("a",)}), "axis in .*labels 'place'"),
        (dict(TOLERANCE={"error": 0.1}), r"TOLERANCE\['error'\]: got 0.1; allowed: Tolerance"),
        (dict(TOLERANCE={"error": regression.Tolerance(0.1)}), "got no reason"),
    ],
)
def test_what_breaks_the_contract_is_named(tmp_path, names, message):
    with pytest.raises(UsageError, match=message):
        run(changed(**names), seeds=1, **options(tmp_path))


def test_the_digest_tells_which_value_a_function_uses():
    """Two functions that use one value each, and the same two with the values exchanged."""

    def identity(at_first, at_each):
        def init(key, config):
            state = regression.init(key, config)
            return state._replace(target=getattr(config, at_first) * state.target)

        def step(state, config):
            return state._replace(target=getattr(config, at_each) * state.target)

        experiment, config = find(changed(init=init, step=step)), regression.Config()
        steps = recorded_steps(experiment, config)
        return trace(experiment, config, steps, last_step(experiment, config, steps)).identity

    one, other = identity("learning_rate", "scale"), identity("scale", "learning_rate")
    assert one.trained_by == other.trained_by == ("learning_rate", "scale")
    assert one.training != other.training
