"""Runs of small networks side by side: whether, by shapes alone, and that no bit depends on the company."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.sweeps import Settings, find, run, sweep
from closedform.sweeps.contract import lanes
from closedform.sweeps.contract.experiment import last_step, recorded_steps
from closedform.sweeps.contract.tracing import trace
from zoo import decay, regression, small_network


@pytest.fixture
def several(monkeypatch):
    """Lanes for the shortest run."""
    monkeypatch.setattr(lanes, "_LEAST", 0.0)


def traced(module, **values):
    experiment = find(module)
    config = experiment.Config(**values)
    rows = recorded_steps(experiment, config)
    return trace(experiment, config, rows, last_step(experiment, config, rows))


def asked(tmp_path, **more):
    return dict(results=tmp_path, progress=False, say=lambda line: None, **more)


def equal(left, right, seeds):
    for name, values in left.items():
        if "seed" in values.dims:
            np.testing.assert_array_equal(values.sel(seed=seeds).values, right[name].sel(seed=seeds).values, name)


# --- the rule -------------------------------------------------------------------------------------------------------------


def test_a_short_run_a_large_network_and_a_run_that_waits_go_alone(several, monkeypatch):
    assert traced(small_network).lanes == lanes.LANES
    assert traced(small_network, batch_size=1000).lanes == 1  # an activation of 40 kB
    assert traced(small_network, num_steps=2).lanes == 1  # half of the work is not done in steps
    monkeypatch.undo()
    assert traced(small_network).lanes == 1
    assert traced(small_network, num_steps=100_000).lanes == lanes.LANES


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jax.lax.while_loop(lambda x: x[0] > 0, lambda x: x - 1, x),
        lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x),
        lambda x: jnp.linalg.eigvalsh(jnp.outer(x, x)),
        lambda x: jax.jit(lambda x: jax.lax.scan(lambda c, _: (jnp.linalg.inv(c), None), jnp.outer(x, x), None, length=3)[0])(
            x
        ),
        lambda x: jax.pure_callback(np.sin, x, x),
        lambda x: jnp.zeros(5000) + x.sum(),
    ],
    ids=["while", "cond", "eigenvalues", "inverses in a loop", "callback", "large"],
)
def test_what_does_not_suit(function):
    assert not lanes.work(jax.make_jaxpr(function)(jnp.ones(3)).jaxpr).suits


def test_operations_are_counted():
    def products(x):
        return jax.lax.scan(lambda c, _: (c @ x, None), x, None, length=50)[0]

    work = lanes.work(jax.make_jaxpr(products)(jnp.ones((20, 20))).jaxpr)
    np.testing.assert_allclose(work.operations, 50 * (lanes._START + 20**3))
    assert work.largest == 400 * jnp.ones(()).dtype.itemsize


def test_lanes_belong_to_the_identity(several, monkeypatch):
    with_lanes = traced(small_network).identity.simulation
    monkeypatch.setattr(lanes, "LANES", 2)
    fewer = traced(small_network).identity.simulation
    monkeypatch.undo()
    assert len({with_lanes, fewer, traced(small_network).identity.simulation}) == 3


# --- the bits -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def whole(several, tmp_path):
    over = {"learning_rate": (0.05, 0.1)}
    swept = sweep(small_network, over=over, seeds=19, **asked(tmp_path / "whole"))
    return swept["simulation"].to_dataset().sel(learning_rate=0.1)


@pytest.mark.parametrize(
    ("seeds", "settings"),
    [
        ([11], Settings(threads=1)),
        ([17, 3, 4], Settings(threads=2, block=2, chunk=7)),
        (list(range(18, -1, -1)), Settings(threads=1, block=8)),
        (list(range(19)), Settings(threads=2, block=3, chunk=1)),
    ],
    ids=["alone", "three", "backwards", "three at a time"],
)
def test_no_number_depends_on_the_company(whole, seeds, settings, tmp_path):
    part = run(small_network, {"learning_rate": 0.1}, seeds=seeds, settings=settings, **asked(tmp_path / "part"))
    equal(whole, part["simulation"], seeds)


def test_several_lanes_are_one_lane_to_rounding(whole, monkeypatch, tmp_path):
    monkeypatch.undo()
    alone = run(small_network, {"learning_rate": 0.1}, seeds=19, **asked(tmp_path / "alone"))
    for name, values in alone["simulation"].data_vars.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(whole[name], values, rtol=1e-4, atol=1e-5)


def test_a_lane_that_diverges_leaves_the_others(several, tmp_path):
    """A NaN in one lane, from an initial weight that is too large, is in no other."""
    seen = types.ModuleType("half")
    vars(seen).update({name: value for name, value in vars(small_network).items() if not name.startswith("__")})

    def init(key, config):
        state = small_network.init(key, config)
        return state._replace(a=jnp.where(jax.random.bernoulli(key), jnp.nan, 1) * state.a)

    seen.init = init
    result = run(seen, seeds=16, **asked(tmp_path / "half"))["simulation"]
    diverged, output = result["diverged"].values, result["output"].values[:, -1]
    assert 0 < diverged.sum() < 16
    np.testing.assert_array_equal(np.isnan(output), diverged)
    sound = run(small_network, seeds=16, **asked(tmp_path / "sound"))["simulation"]["output"].values[:, -1]
    np.testing.assert_array_equal(output[~diverged], sound[~diverged])


@pytest.mark.parametrize("module", [decay, pytest.param(regression, marks=pytest.mark.slow)], ids=["dynamics", "training"])
def test_predictions_states_and_resumed_runs(module, several, tmp_path):
    whole = run(module, seeds=9, **asked(tmp_path / "whole"))
    settings = Settings(threads=1, block=5, chunk=3, checkpoint_minutes=1e-9)
    part = run(module, seeds=[8, 2], settings=settings, **asked(tmp_path / "part"))
    equal(whole["simulation"], part["simulation"], [2, 8])
    more = run(module, seeds=9, settings=settings, **asked(tmp_path / "part"))
    equal(whole["simulation"], more["simulation"], list(range(9)))
    for name, values in whole["prediction"].data_vars.items():
        np.testing.assert_array_equal(values, more["prediction"][name])
