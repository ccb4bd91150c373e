r"""The scale of the start decides what a trained filter filters: from the identity it fits the task and passes everything else.

A filter $F$ and its head $C$ are trained on the output of a linear teacher, from starts of several scales $\epsilon$ with
$F F^\top - C^\top C = \epsilon^2 I$. Gradient flow conserves that matrix, so that the singular values at the end have a
closed form: the task directions have nearly $\sqrt{s_i}$ from a small start, and every other direction keeps $\epsilon$.
Gradient descent breaks the law in proportion to its step size.

$$
f_i = \sqrt{\frac{\epsilon^2 + \sqrt{\epsilon^4 + 4 s_i^2}}{2}}, \qquad
\| D(t) - D(0) \| \propto \eta, \quad D = F F^\top - C^\top C
$$

with the singular values $s_i$ of the teacher, 0 for directions that the task does not use, and the step size $\eta$.

Source: derived here; the filter with a head of its own is that of Liang et al., arXiv 2210.01351 (abstract read)
Cost: 15 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Precision, Tolerance, check
from ...models.linear import deep_linear
from ...theory.linear_networks import task_filters as theory

FACTOR = 4  # between the two step sizes


@dataclass(frozen=True)
class Config:
    dim: Annotated[int, Ge(2)] = 6  # coordinates of the hidden state, of variance 1 each
    strengths: Annotated[tuple[Positive, ...], MinLen(1)] = (4.0, 2.0)  # singular values of the teacher's output map (s)
    scales: Annotated[tuple[Positive, ...], MinLen(1), Distinct] = (1e-3, 0.1, 0.3, 1.0, 2.0)  # of the filter (epsilon)
    head_scale: Positive = 1e-3  # standard deviation of the entries of the head at the start
    learning_rate: Positive = 0.002  # step size (eta); a second filter has a quarter of it and four times as many updates
    num_steps: Count = 5000  # updates
    dtype: Precision = "float64"  # drifts are small

    def __post_init__(self):
        check(self)
        if len(self.strengths) > self.dim:
            raise ValueError(f"strengths must be at most dim = {self.dim} in number, got {len(self.strengths)}")


class State(NamedTuple):
    """Filters for every scale on a leading axis; weights are F, then C."""

    start: deep_linear.Params
    coarse: deep_linear.Params  # by steps of learning_rate
    fine: deep_linear.Params  # by quarter steps
    teacher: Float[Array, "output dim"]


class Result(NamedTuple):
    gains: Float[Array, "scale direction"]  # singular values of the filter, falling; by quarter steps
    drift_ratio: Float[Array, "scale"]  # change of the conserved matrix by whole steps, over that by quarter steps
    drift: Float[Array, "scale"] | None = None  # the former: norm of the change
    task_error: Float[Array, "scale"] | None = None  # E |y - C F h|^2 over E |y|^2


def labels(config: Config) -> dict[str, tuple]:
    return {"scale": config.scales}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_filter, key_left, key_right = jax.random.split(key, 3)
    outputs, dim = len(config.strengths), config.dim

    key_head, key_turn = jax.random.split(key_filter)
    head = config.head_scale * jax.random.normal(key_head, (outputs, dim))
    turn = jax.random.orthogonal(key_turn, dim)
    squares, vectors = jnp.linalg.eigh(head.T @ head)

    def one(scale: Array) -> deep_linear.Params:
        """F = (scale^2 + C^T C)^(1/2) times a random rotation."""
        sizes = jnp.sqrt(scale**2 + jnp.maximum(squares, 0))
        return deep_linear.Params(((vectors * sizes[None]) @ vectors.T @ turn, head))

    start = jax.vmap(one)(jnp.asarray(config.scales, float))
    left = jax.random.orthogonal(key_left, outputs)
    right = jax.random.orthogonal(key_right, dim, m=outputs)
    return State(start, start, start, (left * jnp.asarray(config.strengths, float)[None]) @ right.T)


def step(state: State, config: Config) -> State:
    eye = jnp.eye(config.dim)

    def descend(params: deep_linear.Params, rate: Array | float) -> deep_linear.Params:
        gradient = jax.grad(deep_linear.population_loss)(params, eye, state.teacher)
        return jax.tree.map(lambda p, g: p - jnp.asarray(rate, p.dtype) * g, params, gradient)

    coarse = jax.vmap(lambda params: descend(params, config.learning_rate))(state.coarse)
    # a fixed number of shorter steps in one: the engine's loop counts whole ones
    fine = jax.lax.fori_loop(
        0, FACTOR, lambda _, params: jax.vmap(lambda one: descend(one, config.learning_rate / FACTOR))(params), state.fine
    )
    return state._replace(coarse=coarse, fine=fine)


def num_steps(config: Config) -> int:
    return config.num_steps


def simulate(state: State, config: Config) -> Result:
    law = jax.vmap(lambda params: deep_linear.imbalances(params)[0])
    coarse, fine = (jnp.linalg.norm(law(end) - law(state.start), axis=(1, 2)) for end in (state.coarse, state.fine))
    gains = jnp.linalg.svd(state.fine.weights[0], compute_uv=False)
    off = jax.vmap(deep_linear.product)(state.fine) - state.teacher[None]
    return Result(gains, coarse / fine, coarse, jnp.sum(off**2, axis=(1, 2)) / jnp.sum(state.teacher**2))


def predict(config: Config) -> Result:
    s = jnp.zeros(config.dim).at[: len(config.strengths)].set(jnp.sort(jnp.asarray(config.strengths, float))[::-1])
    gains = theory.filter_gains(s[None], jnp.asarray(config.scales, float)[:, None])
    return Result(gains, jnp.full(len(config.scales), float(FACTOR)))


TOLERANCE = {
    "gains": Tolerance(2e-3, 1e-5, reason="the law drifts in proportion to the step size; training has an end"),
    "drift_ratio": Tolerance(0.03, reason="steps are finite: the square of the step size adds to the drift"),
}
QUICK = {"dim": 2, "strengths": (2.0,), "scales": (0.1, 1.0), "num_steps": 10}
SEEDS = 8
