"""Orders and constants of the specification as an experiment, rivals rejected; digits trained and refined."""

import jax
import numpy as np
import pytest

from closedform.experiments.ode_transformer import _schemes, digits, orders, refinement
from closedform.models.transformers import ode_transformer, vision_transformer
from closedform.sweeps import agrees, compare, find, run
from closedform.sweeps.contract import config
from zoo.checks import changed

ADAPTIVE = vision_transformer.Config(stack=ode_transformer.Config(scheme="tsit5"))
SCHEMES = ("parallel", "sequential", "lie", "strang", "macaron", "midpoint", "heun", "rk4")


@pytest.fixture(scope="module")
def sines(tmp_path_factory):
    experiment = find("ode_transformer/orders")
    settings = config.replace(experiment.default_config(), {"problem": "sines"})
    return experiment, run(experiment, settings, seeds=2, results=tmp_path_factory.mktemp("orders"), progress=False)


@pytest.mark.slow
def test_the_problem_of_the_specification(sines):
    experiment, result = sines
    assert orders.SCHEMES == SCHEMES == tuple(result["prediction"]["scheme"].values)
    assert agrees(compare(experiment, result))
    expected = {"parallel": 1.950240, "sequential": 2.317189, "lie": 1.296719, "macaron": 0.796171, "strang": 0.358109}
    predicted = dict(zip(SCHEMES, result["prediction"]["constant"].values[0], strict=True))
    assert {name: predicted[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    found = dict(zip(SCHEMES, result["simulation"]["error"].values[0, :, 3], strict=True))
    table = {"parallel": 1.514056e-2, "sequential": 1.808914e-2, "macaron": 6.199991e-3, "strang": 2.185752e-5}
    assert {name: found[name] for name in table} == pytest.approx(table, rel=1e-6)


@pytest.mark.slow
def test_rivals_are_rejected(sines):
    experiment, result = sines
    # Macaron has Strang's order of sublayers, and not Strang's order of convergence
    right = result["prediction"]
    macaron, strang = SCHEMES.index("macaron"), SCHEMES.index("strang")
    second = right["order"].values.copy()
    second[:, macaron] = second[:, strang]
    assert not agrees(compare(experiment, changed(result, order=second)))
    # a constant of another scheme, and of sequential layers that begin with the MLP
    with jax.enable_x64(True):
        settings = orders.Config(problem="sines")
        params, x = orders.init(jax.random.key(0), settings)
        f_fn, g_fn = ode_transformer.fields(params, settings.model)
        turned = np.linalg.norm(_schemes.leading(g_fn, f_fn, ("sequential",), x, 1.0).coefficient)
    wrong = {"sequential": turned, "parallel": right["constant"].values[0, SCHEMES.index("lie")]}
    for name, constant in wrong.items():
        constants = right["constant"].values.copy()
        constants[:, SCHEMES.index(name)] = constant
        assert not agrees(compare(experiment, changed(result, constant=constants)))
    # and half or double the constant is none
    for factor in (0.5, 2.0):
        assert not agrees(compare(experiment, changed(result, error=factor * right["error"].values)))


@pytest.mark.slow
def test_a_refined_stack_of_the_right_order_is_another_network(tmp_path):
    """Real digits, a trained stack of shared layers: what theory says of its refinement, and what that does to accuracy."""
    experiment = find("ode_transformer/refinement")
    result = run(experiment, experiment.default_config(), seeds=4, results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    accuracy = result["simulation"]["accuracy"].mean("seed").values
    assert accuracy[0] > 0.88
    assert accuracy[1] < accuracy[0] - 0.05
    assert accuracy[-1] < 0.7
    # no leading term at the step that was trained: more than a third of the tokens
    assert float(result["simulation"]["error"].sel(scheme="sequential", refinement=1).mean()) > 0.33


@pytest.mark.slow
def test_digits_are_learned_and_counts_are_what_they_should_be(tmp_path):
    experiment = find("ode_transformer/digits")
    base = experiment.default_config()
    for scheme, num_blocks, sublayers, num_steps in (("parallel", 3, 6, 500), ("midpoint", 1, 12, 5)):
        changes = {"model.stack.scheme": scheme, "model.stack.num_blocks": num_blocks, "training.num_steps": num_steps}
        settings = config.replace(base, changes)
        result = run(experiment, settings, seeds=2, results=tmp_path, progress=False)["simulation"]
        assert (float(result["accuracy"].mean()) > 0.85) == (num_steps == 500)
        assert np.unique(result["num_sublayers"]).tolist() == [sublayers]
        block = 4 * 16**2 + 2 * 16 * 32 + 32 + 16
        assert np.unique(result["num_parameters"]).tolist() == [
            num_blocks * block + 4 * 16 + 16 + 16**2 + 2 * 16 + 16 * 10 + 10
        ]


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (orders, {"problem": "A"}, "problem must be 'random' or 'sines', got 'A'"),
        (orders, {"num_steps": (16, 8)}, r"num_steps must rise, to at most 256, got \(16, 8\)"),
        (orders, {"num_steps": (16,)}, "num_steps must be a list of at least 2, each entry a whole number of at least 1"),
        (orders, {"model": ode_transformer.Config(num_blocks=2)}, "num_blocks must be 1"),
        (refinement, {"refinements": (1, 200)}, "refinements must rise, to at most half of finest = 256"),
        (refinement, {"num_images": 0}, "num_images must be a whole number of at least 1, got 0"),
        (refinement, {"model": ADAPTIVE}, r"model\.stack\.scheme must be one of parallel, .* got 'tsit5'"),
        (digits, {"num_samples": 0}, "num_samples must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_settings(experiment, changes, message):
    with pytest.raises(ValueError, match=message):
        experiment.Config(**changes)


def test_data_that_do_not_fit_the_model():
    settings = digits.Config(model=vision_transformer.Config(side=6))
    with pytest.raises(ValueError, match=r"model\.side must be that of digits_8x8, 8, got 6"):
        _ = settings.images
