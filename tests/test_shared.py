"""What a field of an experiment owes to theory is found by slicing its traced programs (tests/zoo/slices.py)."""

import jax

from closedform.sweeps import find
from closedform.sweeps.contract.experiment import last_step, recorded_steps
from closedform.sweeps.contract.tracing import trace
from closedform.theory.feature_learning import xor
from zoo import decay
from zoo.slices import fields_that_use_theory


def using_theory(**changed):
    """Fields that use theory where some functions of an experiment are replaced."""
    experiment, settings = find(decay), decay.Config()
    experiment = experiment._replace(functions={**experiment.functions, **changed})
    steps = recorded_steps(experiment, settings)
    return fields_that_use_theory(
        experiment, trace(experiment, settings, steps, last_step(experiment, settings, steps)).functions
    )


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

    assert not using_theory()
    for wrong in (observe, compiled, in_a_loop, beside_another_field):
        assert list(using_theory(observe=wrong)) == ["x"]

    def step(state, config):
        state = decay.step(state, config)
        return state._replace(x=state.x + 0 * xor.phase1_samples(1000.0, 0.1).astype(state.x.dtype))

    assert set(using_theory(step=step)) == {"x", "total"}
