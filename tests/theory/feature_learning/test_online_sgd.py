"""The equations of online SGD against tables of other integrations, a simulation in numpy, and the flow of the weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from closedform.theory.feature_learning import online_sgd
from closedform.theory.feature_learning.online_sgd import Overlaps
from closedform.theory.numerics.arguments import as_floats
from zoo.calls import Call
from zoo.checks import rejected

START = Overlaps(np.diag([0.16, 0.09]), np.diag([0.25, 0.05]), np.eye(2))
TIMES = np.array([0.0, 1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0])  # alpha
TABLE = {
    (1.5, 0.0): [0.2771629, 0.1550807, 0.0359891, 0.0251191, 0.0124026, 0.0043359, 0.0013103, 0.0001085],
    (1.0, 0.3): [0.2771629, 0.1497961, 0.0594414, 0.0528345, 0.0442449, 0.0368510, 0.0318805, 0.0275876],
}
ONE = Overlaps(np.array([[0.4]]), np.array([[0.3]]), np.array([[1.0]]), np.array([0.8]), np.array([1.1]))


def drawn(rng):
    J, B = rng.normal(size=(1, 3)), rng.normal(size=(1, 3))
    return {"overlaps": Overlaps(J @ J.T, J @ B.T, B @ B.T, rng.normal(size=1), rng.normal(size=1))}


@jax.jit
def _trajectory(*numbers):
    return online_sgd.trajectory(*numbers)


def trajectory(time, overlaps, learning_rate, noise_std, weights_rate):
    """Compiled once for each precision."""
    time, Q, *rest = as_floats(time, *overlaps, learning_rate, noise_std, weights_rate)
    return _trajectory(time, Overlaps(Q, *rest[:4]), *rest[4:])


# entries of a covariance hang together: single ones are not moved to the ends of their ranges
OVERLAPS = {
    "draw": drawn,
    "edges": {f"overlaps.{name}": (getattr(ONE, name),) for name in ONE._fields},
}
CALLS = [
    Call(online_sgd.error, {"overlaps": ONE}, **OVERLAPS),
    Call(
        online_sgd.velocity,
        {"overlaps": ONE, "learning_rate": 0.5, "noise_std": 0.3, "weights_rate": 0.2},
        **OVERLAPS,
    ),
    Call(
        trajectory,
        {"time": np.array([0.0, 0.5]), "overlaps": ONE, "learning_rate": 0.5, "noise_std": 0.3, "weights_rate": 0.2},
        of=online_sgd.trajectory,
        differentiable=False,  # the derivatives are those of diffrax: compiling them takes long
        draw=OVERLAPS["draw"],
        # an integration of any length and stiffness is not asked for
        edges=OVERLAPS["edges"]
        | {"time": (0.0, 2.0), "learning_rate": (0.0, 2.0), "noise_std": (0.0, 1.0), "weights_rate": (0.0,)},
        rounding=30.0,  # the tolerance of the integration in float32 is 1e-5
    ),
    Call(
        online_sgd.plateau,
        {"num_units": 2, "learning_rate": 0.5},
        edges={"learning_rate": (0.0, 1.0)},
        draw=lambda rng: {"learning_rate": rng.uniform(0, 2.5)},  # it diverges beyond
        differentiable=False,
        rounding=30.0,
    ),
]


def by_runge_kutta(times, start, rate, noise, num_steps=6000):
    """The overlaps at multiples of the last time over num_steps, by the classical method of Runge and Kutta."""
    start = start._replace(weights=jnp.ones(2), teacher_weights=jnp.ones(2))
    h = times[-1] / num_steps

    def advance(state, _):
        total, velocity = state, None
        for share, weight in ((0, 1 / 6), (0.5, 1 / 3), (0.5, 1 / 3), (1, 1 / 6)):
            at = state if velocity is None else jax.tree.map(lambda x, v, share=share: x + share * h * v, state, velocity)
            velocity = online_sgd.velocity(at, rate, noise)
            total = jax.tree.map(lambda x, v, weight=weight: x + weight * h * v, total, velocity)
        return total, state

    _, path = jax.lax.scan(advance, start, None, length=num_steps + 1)
    index = jnp.round(times / h).astype(int)
    return jax.tree.map(lambda x: x[index], path)


@functools.cache
def errors(trajectory_fn=by_runge_kutta):
    """E(alpha) of both rows of the table by one program."""

    @jax.jit
    @jax.vmap
    def of(rate, noise):
        return online_sgd.error(trajectory_fn(rate * jnp.asarray(TIMES), START, rate, noise))

    with jax.enable_x64(True):
        return dict(zip(TABLE, np.asarray(of(*jnp.asarray([*TABLE]).T)), strict=True))


@pytest.mark.parametrize("case", TABLE)
def test_the_table_of_the_specification(case):
    """To 1e-6; with the error of the other step size and noise it fails."""

    def assert_table(found):
        np.testing.assert_allclose(found, TABLE[case], atol=1e-6)

    assert_table(errors()[case])
    rejected(assert_table, errors()[next(other for other in TABLE if other != case)])
    rejected(assert_table, 2 * errors()[case])


@pytest.mark.slow
def test_the_trajectory_has_the_table_of_the_specification():
    for case, expected in TABLE.items():
        np.testing.assert_allclose(errors(online_sgd.trajectory)[case], expected, atol=1e-6)


def test_gradient_flow_of_relu_is_that_of_the_weights():
    """Two units of four inputs; the population gradient of the weights by its closed form, in numpy."""
    rng = np.random.default_rng(0)
    J, B = 0.5 * rng.normal(size=(2, 4)), np.eye(2, 4)
    change = np.zeros_like(J)
    for i, w in enumerate(J):  # minus the gradient of the error with respect to J_i
        for c, sign in zip([*B, *J], [1, 1, -1, -1], strict=True):
            norm_w, norm_c = np.linalg.norm(w), np.linalg.norm(c)
            theta = np.arccos(np.clip(w @ c / (norm_w * norm_c), -1, 1))
            change[i] += sign * (norm_c * np.sin(theta) * w / norm_w + (np.pi - theta) * c) / (2 * np.pi)

    def assert_flow(found):
        np.testing.assert_allclose(found.cross, change @ B.T, rtol=1e-7)
        np.testing.assert_allclose(found.student, change @ J.T + J @ change.T, rtol=1e-7)
        np.testing.assert_array_equal(found.teacher, 0)

    overlaps = Overlaps(*map(jnp.asarray, (J @ J.T, J @ B.T, B @ B.T)))
    found = jax.jit(lambda at: online_sgd.velocity(at, activation="relu"))(overlaps)
    assert_flow(found)
    rejected(assert_flow, jax.tree.map(lambda x: 2 * x, found))
    rejected(assert_flow, jax.jit(online_sgd.velocity)(overlaps))


@pytest.mark.slow
def test_relu_table_of_the_specification():
    """Gradient flow at times 0 to 20, to 1e-7 and 1e-8."""
    path = online_sgd.trajectory([0.0, 1.0, 2.0, 5.0, 10.0, 20.0], START, activation="relu")
    expected = [0.4293752, 0.1592883, 0.0747238, 0.0267196, 0.0033789, 9.84e-5]
    np.testing.assert_allclose(online_sgd.error(path, "relu"), expected, atol=1e-6)


def simulated(dim, num_steps, rate, noise, weights_rate, seed):
    """Q, R and v after steps of SGD, and the overlaps of its start; in numpy."""
    rng = np.random.default_rng(seed)
    B = np.linalg.qr(rng.normal(size=(dim, 2)))[0].T
    J = rng.normal(size=(2, dim)) / dim**0.5 * 0.6 + 0.2 * B
    v = np.array([0.8, 1.3])
    start = Overlaps(J @ J.T, J @ B.T, B @ B.T, v.copy(), np.array([1.0, 1.0]))
    for _ in range(num_steps):
        x = rng.normal(size=dim)
        u = J @ x
        delta = np.sum(erf(B @ x / 2**0.5)) + noise * rng.normal() - v @ erf(u / 2**0.5)
        slope = (2 / np.pi) ** 0.5 * np.exp(-(u**2) / 2)
        J, v = (
            J + rate / dim * delta * (v * slope)[:, None] * x[None],
            v + rate * weights_rate / dim * delta * erf(u / 2**0.5),
        )
    return start, Overlaps(J @ J.T, J @ B.T, B @ B.T, v, np.array([1.0, 1.0]))


def test_sgd_with_a_trained_second_layer_follows_the_equations():
    """Mean over 16 seeds in 150 dimensions, within 4 standard errors and 1/d; without the factors v of each drift it fails."""
    dim, alpha, rate, noise, ratio = 150, 2, 0.8, 0.3, 0.5
    runs = [simulated(dim, dim * alpha, rate, noise, ratio, seed) for seed in range(16)]

    starts, ends = (jax.tree.map(lambda *x: np.stack(x), *some) for some in zip(*runs, strict=True))
    velocity = jax.jit(jax.vmap(lambda overlaps: online_sgd.velocity(overlaps, rate, noise, ratio)))

    def predicted(starts, num_steps=40):
        """By the midpoint rule, whose error is below 1e-4."""
        state, h = starts, rate * alpha / num_steps
        for _ in range(num_steps):
            middle = jax.tree.map(lambda x, v: x + h / 2 * v, state, velocity(state))
            state = jax.tree.map(lambda x, v: x + h * v, state, velocity(middle))
        return state

    def assert_follows(starts):
        for field, found in predicted(starts)._asdict().items():
            difference = getattr(ends, field) - np.asarray(found)
            error = difference.std(axis=0) / 15**0.5
            assert np.all(np.abs(difference.mean(axis=0)) <= 4 * error + 2 / dim)

    assert_follows(starts)
    rejected(assert_follows, starts._replace(weights=np.ones_like(starts.weights)))
    rejected(assert_follows, starts._replace(student=2 * starts.student))


def test_plateau():
    """The errors of the specification at the rates 0 to 1.5, to 1e-6; at the rate 0 the closed form, where nothing moves."""
    rates = jnp.array([0.0, 0.1, 0.5, 1.0, 1.5])
    plateaus = jax.jit(jax.vmap(lambda rate: online_sgd.plateau(2, rate)))(rates)

    def assert_errors(overlaps):
        expected = [0.0116108, 0.012086, 0.014677, 0.021156, 0.041106]
        np.testing.assert_allclose(online_sgd.error(overlaps), expected, atol=6e-7)

    assert_errors(plateaus)
    rejected(assert_errors, plateaus._replace(cross=plateaus.student))
    np.testing.assert_allclose(plateaus.student[0], 1 / 3, rtol=1e-12)
    np.testing.assert_allclose(plateaus.cross[0], 6**-0.5, rtol=1e-12)


@pytest.mark.slow
def test_plateau_of_three_units():
    still = online_sgd.plateau(3)
    np.testing.assert_allclose(online_sgd.error(still), 0.0202966, atol=5e-8)
    moved = online_sgd.velocity(still)
    np.testing.assert_allclose(moved.student, 0, atol=1e-15)
    np.testing.assert_allclose(moved.cross, 0, atol=1e-15)


def test_refused():
    with pytest.raises(
        ValueError, match=r"^learning_rate must be left out \(gradient flow\) for any activation but scaled_erf$"
    ):
        online_sgd.velocity(START, 0.5, activation="relu")
    path = jax.tree.map(lambda x: np.stack([x, x]), START)
    with pytest.raises(ValueError, match=r"overlaps must be those of one time, got overlaps.student of shape \(2, 2, 2\)"):
        online_sgd.trajectory(1.0, path)
    with pytest.raises(ValueError, match="teacher"):
        online_sgd.error(START._replace(cross=np.eye(2, 3)))
