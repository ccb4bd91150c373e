"""Problems with known optima for the tests of the convex programs, two oracles that share no code with the package, and
the compiled solvers, so that the test files share the compilations.

The optima were computed when the formulas were derived, by another interior-point solver; they are not the paper's.
"""

import itertools
import warnings
from functools import cache, partial
from typing import NamedTuple

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np

from closedform.models.fully_connected import convex_relu, two_layer
from closedform.solvers import admm, certificate, fista, interior_point, losses
from closedform.solvers.program import Program, gated_program, relu_program

WEIGHT_DECAYS = (0.01, 0.1, 0.5, 1.0)
CLARABEL = 1e-8  # the tolerance that Clarabel keeps on every processor; where it stops, it is mostly at 1e-10 or better


class Facts(NamedTuple):
    num_patterns: int
    weight_decay_max: float
    optima: tuple[float, ...]  # p* at WEIGHT_DECAYS
    gated: float  # at weight_decay = 0.1


FACTS = {
    (6, 2): Facts(12, 1.881375, (0.114528, 0.527371, 1.668808, 2.461405), 0.239386),
    (8, 2): Facts(16, 2.147437, (1.153476, 2.223176, 3.310860, 4.016331), 0.734747),
    (8, 3): Facts(58, 2.164342, (0.128874, 1.083772, 2.986398, 3.948039), 0.254666),
    (10, 3): Facts(92, 2.164342, (0.18218, 1.275092, 3.519759, 4.757533), 0.338338),
}
OPTIMUM = 2.2231758  # of (8, 2) at weight_decay = 0.1, to one more digit


def formula_data(n, d, seed=0):
    """The data of the facts; as their check sums are in the specification, the formula is not repeated there."""
    i, j = np.arange(1, n + 1)[:, None], np.arange(1, d + 1)[None]
    x, y = np.sin(1.3 * i * j + 0.7 * i + 2.1 * j + seed), 1.5 * np.cos(0.9 * i[:, 0] + seed)
    return jnp.asarray(x), jnp.asarray(y)


def random_data(n, d, seed=0, labels=False):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=n)
    return jnp.asarray(x), jnp.asarray(np.where(y < 0, -1.0, 1.0) if labels else y)


# ----------------------------------------------------------------------------------------------------------- oracles


def enumerate_patterns(x):
    """All patterns of generic rows: the null direction of every d - 1 rows, whose own signs are then free."""
    x = np.asarray(x)
    n, d = x.shape
    found = set()
    for rows in itertools.combinations(range(n), d - 1):
        null = np.linalg.svd(x[list(rows)])[2][-1]
        for sign in (1, -1):
            pattern = sign * (x @ null) > 0
            for choice in itertools.product((False, True), repeat=d - 1):
                pattern[list(rows)] = choice
                found.add(tuple(pattern))
    return np.array(sorted(found), float).T


def clarabel(x, y, patterns, weight_decay, *, cones=True, logistic=False, order=2, unhalved=False):
    """The optimum by cvxpy and Clarabel, as the program is written: v and w, and a constraint for each pattern."""
    x, y, patterns, weight_decay = np.asarray(x), np.asarray(y), np.asarray(patterns), float(weight_decay)
    v = cvxpy.Variable((x.shape[1], patterns.shape[1]))
    w = cvxpy.Variable(v.shape) if cones else 0
    outputs = cvxpy.sum(cvxpy.multiply(patterns, x @ (v - w)), axis=1)
    value = cvxpy.sum_squares(outputs - y) * (1 if unhalved else 0.5)
    if logistic:
        value = cvxpy.sum(cvxpy.logistic(cvxpy.multiply(-2 * y, outputs)))
    parts = (v, w) if cones else (v,)
    penalty = sum(cvxpy.sum(cvxpy.norm(part, order, axis=0)) for part in parts)
    inside = [cvxpy.multiply(2 * patterns - 1, x @ part) >= 0 for part in parts] if cones else []
    return solve(cvxpy.Problem(cvxpy.Minimize(value + weight_decay * penalty), inside), rtol=1e-9)


def solve(program, rtol=CLARABEL):
    """The value by Clarabel, which is asked for an rtol (feasibility, absolute and relative gap) and must keep 1e-8.

    1e-8 is what Clarabel asks of itself. It can often do ten times better, but how far rounding lets it go depends on the
    processor: where it stops on the way it says "may be inaccurate", although 1e-8 is reached. What misses 1e-8 is an error.
    """
    names = "tol_gap_abs", "tol_gap_rel", "tol_feas"
    limits = dict.fromkeys(names, rtol) | dict.fromkeys([f"reduced_{name}" for name in names], CLARABEL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
        value = program.solve(solver="CLARABEL", **limits)
    assert program.status in (cvxpy.OPTIMAL, cvxpy.OPTIMAL_INACCURATE), program.status
    return value


def assert_honest(bounds, optimum, tolerance=2 * CLARABEL):
    """bound <= optimum <= objective, as far as the optimum is known; also of many iterates at once.

    Clarabel's is known to its gap and its infeasibility: 1e-8 each, of the optimum where that is above 1. The objective is
    infinite where an iterate holds no point of the program yet.
    """
    slack = tolerance * max(1, abs(optimum))
    assert np.min(bounds.objective) < np.inf
    assert np.max(bounds.bound) <= optimum + slack
    assert np.min(bounds.objective) >= optimum - slack


# ---------------------------------------------------------------------------------------------------- compiled once


interior = partial(interior_point.solve, cones=True)


@partial(jax.jit, static_argnames=("cones", "loss"))
def _accelerated(problem, start, rtol, cones, loss):
    return fista.solve(problem, cones=cones, loss=loss, rtol=rtol, start=start)


def accelerated(problem, *, cones, loss=losses.squared, rtol=1e-6, start=None):
    start = jnp.zeros((problem.x.shape[1], problem.sign.size)) if start is None else start
    return _accelerated(problem, start, rtol, cones, loss)


@jax.jit
def _alternating(problem, start, rho, dual_step, rtol):
    return admm.solve(problem, rho=rho, dual_step=dual_step, rtol=rtol, start=start)


def alternating(problem, *, rho=0.1, dual_step=1.0, rtol=1e-6, start=None):
    return _alternating(problem, admm.init(problem) if start is None else start, rho, dual_step, rtol)


by_patterns = jax.jit(certificate.by_patterns, static_argnames=("loss",))


@jax.jit
def interior_of_many(programs):
    """ReLU programs of equal shapes, stacked."""
    return jax.vmap(lambda one: interior_point.solve(one, cones=True))(programs)


@jax.jit
def gated_of_many(programs):
    return jax.vmap(lambda one: interior_point.solve(one, cones=False))(programs)


def stacked(programs):
    """Programs of any sizes as one of equal shapes, with zero rows, zero columns and blocks switched off: same optima."""
    n, d, blocks = np.max([(*p.x.shape, p.sign.size) for p in programs], axis=0)

    def padded(p):
        rows, columns, off = n - p.x.shape[0], d - p.x.shape[1], blocks - p.sign.size
        return Program(
            jnp.pad(p.x, [(0, rows), (0, columns)]),
            jnp.pad(p.y, (0, rows)),
            jnp.pad(p.active, [(0, rows), (0, off)], constant_values=1),
            jnp.pad(p.sign, (0, off)),
            p.weight_decay,
        )

    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(padded, programs))


def close(actual, expected, rtol=1e-10):
    """Leaf by leaf, relative to the largest entry of the leaf."""

    def compare(u, v):
        np.testing.assert_allclose(u, v, rtol=rtol, atol=rtol * np.abs(v).max(initial=0))

    jax.tree.map(compare, actual, expected)


def network_objective(params, x, y, weight_decay, logistic=False):
    """1/2 |sum_j relu(x u_j) alpha_j - y|^2 + (weight_decay/2) sum_j (|u_j|^2 + alpha_j^2), a loop over plain neurons."""
    x, y = np.asarray(x), np.asarray(y)
    scale = np.sqrt(params.a.size)
    f, penalty = np.zeros(len(y)), 0.0
    for j in range(params.a.size):
        u, alpha = np.asarray(params.w[:, j]) / scale, float(params.a[j]) / scale
        f += np.maximum(x @ u, 0) * alpha
        penalty += (u @ u + alpha**2) / 2
    return (np.sum(np.log1p(np.exp(-2 * y * f))) if logistic else np.sum((f - y) ** 2) / 2) + weight_decay * penalty


def adam(objective, params, num_steps, learning_rate=0.03):
    """Adam with a cosine decay to zero, in plain jnp; `objective` of the parameters."""

    def update(i, carry):
        params, first, second = carry
        gradient = jax.grad(objective)(params)
        i = i.astype(float)
        now = learning_rate * (1 + jnp.cos(jnp.pi * i / num_steps)) / 2
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, gradient)

        def moved(p, m, v):
            return p - now * m / (1 - 0.9 ** (i + 1)) / (jnp.sqrt(v / (1 - 0.999 ** (i + 1))) + 1e-12)

        return jax.tree.map(moved, params, first, second), first, second

    zero = jax.tree.map(jnp.zeros_like, params)
    return jax.lax.fori_loop(0, num_steps, update, (params, zero, zero))[0]


def trained(seeds, width, x, y, weight_decay, num_steps, learning_rate=0.03):
    """Networks of several seeds after training by Adam, on a leading axis; Gaussian start of scale 0.5 on u and alpha."""

    @jax.jit
    def run(keys):
        def one(key):
            start = np.sqrt(width) * 0.5 * jax.random.normal(key, (x.shape[1] + 1, width))
            params = two_layer.Params(start[:-1], start[-1])
            # the objective in u = w/sqrt(width), where the usual rates of Adam are meant
            rate = learning_rate * np.sqrt(width)
            return adam(lambda p: losses.network_objective(p, x, y, weight_decay), params, num_steps, rate)

        return jax.vmap(one)(keys)

    return run(jax.random.split(jax.random.key(0), seeds))


def one_of(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)


# ----------------------------------------------------------------------------------- programs that several files solve


def plain(shape=(8, 2), weight_decay=0.1, seed=0):
    """A problem of the facts with all of its patterns."""
    x, y = formula_data(*shape, seed)
    return relu_program(x, y, convex_relu.all_gates(x), weight_decay)


def gated(shape):
    x, y = formula_data(*shape)
    return gated_program(x, y, convex_relu.all_gates(x), 0.1)


def variants_of_data():
    """The problem (8, 2) with a row of zeros, with a row twice, and with that row and its target times sqrt(2)."""
    x, y = formula_data(8, 2)
    for data in (
        (jnp.concatenate([x, jnp.zeros((1, 2))]), jnp.append(y, 0.7)),
        (jnp.concatenate([x, x[2:3]]), jnp.append(y, y[2])),
        (x.at[2].multiply(jnp.sqrt(2.0)), y.at[2].multiply(jnp.sqrt(2.0))),
    ):
        yield relu_program(*data, convex_relu.all_gates(data[0]), 0.1)


WHITENED = (1.2, -0.7, 0.9)


def whitened(weight_decay):
    x = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0])
    return relu_program(x, jnp.array(WHITENED), convex_relu.all_gates(x), weight_decay)


@cache
def solved():
    """(program, solution) by name, all of one compilation; call it under x64."""
    programs = {(shape, weight_decay): plain(shape, weight_decay) for shape in FACTS for weight_decay in WEIGHT_DECAYS}
    programs |= {("seed", seed): plain((8, 2), 0.1 + 0.1 * seed, seed) for seed in (1, 2)}
    programs |= dict(zip(("a zero row", "a row twice", "a heavy row"), variants_of_data(), strict=True))
    programs |= {("whitened", weight_decay): whitened(weight_decay) for weight_decay in (0.2, 0.8)}
    solutions = interior_of_many(stacked(list(programs.values())))
    return {name: (programs[name], one_of(solutions, i)) for i, name in enumerate(programs)}
