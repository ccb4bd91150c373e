"""Agreement is evidence where the two sides share no code: what they share is declared, with its reason."""

import jax
import pytest

from closedform.sweeps import find, names
from closedform.theory.feature_learning import xor
from zoo import decay
from zoo.slices import fields_that_use_theory


@pytest.mark.parametrize("name", names())
def test_a_field_whose_simulated_side_uses_theory_says_why(name):
    experiment = find(name)
    used = fields_that_use_theory(experiment, experiment.default_config("quick"))
    undeclared = {field: functions for field, functions in used.items() if field not in experiment.shared}
    assert not undeclared, f"{name}: give SHARED a reason for these fields"
    assert not set(experiment.shared) - set(used), f"{name}: SHARED has fields that use no theory"
    assert all(len(reason.split()) > 3 for reason in experiment.shared.values())


def changed(**functions):
    experiment = find(decay)
    return experiment._replace(functions={**experiment.functions, **functions})


def test_use_of_theory_is_found_in_the_field_that_needs_it_and_no_other():
    """Called plainly, compiled, inside of a loop; and in what makes the state."""

    def observe(state, config):
        result = decay.observe(state, config)
        return result._replace(x=result.x + 0 * xor.phase1_samples(1000.0, 0.1).astype(result.x.dtype))

    def compiled(state, config):
        return jax.jit(lambda state: observe(state, config))(state)

    def in_a_loop(state, config):
        result = decay.observe(state, config)
        body = lambda _, x: x + 0 * xor.phase1_samples(1000.0, 0.1).astype(x.dtype)  # noqa: E731
        return result._replace(x=jax.lax.fori_loop(0, 3, body, result.x))

    def beside_another_field(state, config):
        result = decay.observe(state, config)
        body = lambda total, _: (total, 0 * xor.phase1_samples(1000.0, 0.1).astype(total.dtype))  # noqa: E731
        total, zeros = jax.lax.scan(body, result.total, length=3)
        return result._replace(x=result.x + zeros[0], total=total)

    settings = decay.Config()
    assert not fields_that_use_theory(find(decay), settings)
    for wrong in (observe, compiled, in_a_loop, beside_another_field):
        assert list(fields_that_use_theory(changed(observe=wrong), settings)) == ["x"]

    def step(state, config):
        state = decay.step(state, config)
        return state._replace(x=state.x + 0 * xor.phase1_samples(1000.0, 0.1).astype(state.x.dtype))

    assert set(fields_that_use_theory(changed(step=step), settings)) == {"x", "total"}
