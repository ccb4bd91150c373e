"""Students and filters at small sizes: the jump at its critical weight, and experiments that agree while mistakes do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.experiments.task_filters import _student, init, transition
from closedform.sweeps import agrees, compare, find, run, sweep
from closedform.theory.linear_networks import task_filters as theory
from zoo.checks import changed, rejected


@jax.jit
def trained(key, leak, alpha):
    """Relative task errors of students of one unit, a nuisance of variance 9 and b = 2, after 60000 updates."""

    def one(leak, alpha):
        problem = _student.problem((9.0,), 2.0, leak, alpha)
        start = _student.init(key, 2, 1, 0.1)
        end = jax.lax.fori_loop(0, 60000, lambda _, params: _student.descend(params, problem, 0.3), start)
        return _student.errors(end, problem)[0] / 4

    return jax.vmap(one)(leak, alpha)


def test_the_task_is_dropped_between_weights_on_both_sides_of_the_critical_one():
    """alpha_* = 0.5: error below 1e-20 at 0.45 and 1.0000 at 0.55; with leak 0.5 it is 3.2: 0 at 3.0 and 1.0000 at 3.4."""
    leak, alpha = jnp.array([1.0, 1.0, 0.5, 0.5]), jnp.array([0.45, 0.55, 3.0, 3.4])
    found = np.asarray(trained(jax.random.key(0, impl="threefry2x32"), leak, alpha))

    def assert_dropped(drop_fn):
        lost = np.array([a > float(drop_fn(2.0, [9.0], 1, e)) for e, a in zip(leak.tolist(), alpha.tolist(), strict=True)])
        np.testing.assert_allclose(found[lost], 1, atol=1e-4)
        assert np.all(found[~lost] < 1e-10)

    assert found[0] < 1e-20
    assert_dropped(theory.task_drop_alpha)
    rejected(assert_dropped, lambda b, L, k, e: theory.task_drop_alpha(b, L, k, e, task_variance=2.0))
    rejected(
        assert_dropped, lambda b, L, k, e: theory.task_drop_alpha(b, L, k, e**2)
    )  # the power of the leak for its amplitude
    rejected(assert_dropped, lambda b, L, k, e: theory.task_drop_alpha(b, L, k))


def test_filters_start_with_the_conserved_matrix_that_is_said():
    settings = init.Config(dim=3, strengths=(2.0,), scales=(0.1, 1.0), head_scale=0.5)
    state = jax.jit(lambda key: init.init(key, settings))(jax.random.key(0, impl="threefry2x32"))
    F, C = map(np.asarray, state.start.weights)
    law = F @ np.swapaxes(F, 1, 2) - np.swapaxes(C, 1, 2) @ C
    np.testing.assert_allclose(law, [0.01 * np.eye(3), np.eye(3)], atol=1e-14)
    np.testing.assert_allclose(np.linalg.svd(state.teacher)[1], 2.0, rtol=1e-13)


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (transition, {"variances": ()}, r"variances must be a list of at least 1, each entry a number of at least 0, got \(\)"),
        (transition, {"alpha": 0.0}, r"alpha must be a positive number, got 0\.0"),
        (transition, {"leading_share": 1.0}, r"leading_share must be a number above 0 and below 1, got 1\.0"),
        (init, {"dim": 2, "strengths": (1.0, 1.0, 1.0)}, "strengths must be at most dim = 2 in number, got 3"),
        (init, {"scales": (1.0, 1.0)}, r"scales must be .* no two of them equal, got \(1\.0, 1\.0\)"),
    ],
)
def test_wrong_settings(experiment, changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        experiment.Config(**changes)


@pytest.mark.slow
def test_transition(tmp_path):
    experiment = find("task_filters/transition")
    result = sweep(experiment, experiment.default_config(), over=experiment.grid, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, changed(result, task_error=lambda e: e.roll(alpha=1))))
    assert not agrees(compare(experiment, changed(result, loss=lambda e: e / 2)))


@pytest.mark.slow
def test_leak(tmp_path):
    experiment = find("task_filters/leak")
    result = run(experiment, experiment.default_config(), results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    e = np.array(experiment.default_config().leaks)
    assert not agrees(compare(experiment, changed(result, inverse=np.maximum(9 * e - 1, 0) / 4)))  # e in place of its square
    assert not agrees(compare(experiment, changed(result, inverse=9 * e**2 / 4)))


@pytest.mark.slow
def test_init(tmp_path):
    """Gains within 0.2 %, drifts in the ratio 4 of step sizes; from the identity the task is fitted and nothing filtered."""
    experiment = find("task_filters/init")
    result = run(experiment, experiment.default_config(), results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    simulated = result["simulation"]
    assert float(simulated["task_error"].max()) < 1e-10
    identity = simulated["gains"].sel(scale=1.0).mean("seed").values
    np.testing.assert_allclose(identity[2:], 1, atol=6e-3)
    s = np.array([4.0, 2.0, 0, 0, 0, 0])
    small = np.where(s > 0, np.sqrt(s), 1) * np.ones((5, 1))
    assert not agrees(compare(experiment, changed(result, gains=small)))
    assert not agrees(compare(experiment, changed(result, drift_ratio=lambda ratio: ratio / 2)))
