r"""Truncated gradients through a fixed point are wrong by powers of the spectral radius, and tend to the implicit one.

An affine map and a tanh layer have the same Jacobian at their fixed point: real eigenvalues, of which one leads, and
eigenvectors that are not orthogonal. The gradient through $K$ unrolled steps in the weights is off by $K \rho^K$, since both
its state and its adjoint are off; a Neumann series of order $m$ by $\rho^{m+1}$; the one-step gradient by a fraction that is
known exactly.

$$
(I - J)^\top \lambda = g, \qquad \lambda - \sum_{k \le m} (J^\top)^k g = (J^\top)^{m+1} \lambda, \qquad
\Big| \frac{dL}{dW} - G_K \Big| \sim K \rho^K
$$

Source: derived here; implicit gradients of equilibrium models: Bai, Kolter and Koltun, arXiv 1909.01377 (recalled)
Cost: 15 s
"""

import functools
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Lt
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ...contract import Precision, Tolerance, check
from ...models.equilibrium import deep_equilibrium
from ...solvers import equilibrium_gradients, fixed_point
from ...theory.equilibria import implicit_gradients
from .._measure import exponential_rate

MAPS = ("identity", "tanh")


@dataclass(frozen=True)
class Config:
    width: Annotated[int, Ge(2)] = 12  # units
    radius: Annotated[float, Ge(0.5), Lt(1)] = 0.65  # largest eigenvalue of the Jacobian (rho); below, late errors are rounding
    num_steps: Annotated[int, Ge(8)] = 40  # unrolled steps, and terms of the series, that are recorded
    dtype: Precision = "float64"  # errors fall over many decades

    def __post_init__(self):
        check(self)


class State(NamedTuple):
    params: deep_equilibrium.Params  # of both maps, on a leading axis
    at_rest: Float[Array, "unit"]  # their fixed point
    cotangent: Float[Array, "unit"]  # gradient of the loss in the state


class Result(NamedTuple):
    """Errors are relative to the implicit gradient: of unrolled steps in the weights, of the series in the bias."""

    implicit: Float[Array, "map unit"]  # gradient in the bias
    unrolled_error: Float[Array, "step_of_picard"]  # of the affine map
    neumann_error: Float[Array, "map order"]
    one_step_error: Float[Array, "map"]
    one_step_cosine: Float[Array, "map"]  # with the implicit gradient
    unrolled_rate: Float[Array, "map"]  # factor per step of error/K
    neumann_rate: Float[Array, "map"]  # factor per order of the error
    unrolled_tanh: Float[Array, "step_of_picard"] | None = None  # error of the tanh layer


def labels(config: Config) -> dict[str, tuple]:
    count = range(config.num_steps)
    return {"map": MAPS, "step_of_picard": tuple(k + 1 for k in count), "order": tuple(count)}


def init(key: PRNGKeyArray, config: Config) -> State:
    keys, width = jax.random.split(key, 4), config.width
    rest = jax.random.uniform(keys[0], (width - 1,), minval=-0.5, maxval=0.5)
    vectors = jnp.eye(width) + 0.4 * jax.random.normal(keys[1], (width, width)) / jnp.sqrt(width)
    jacobian = jnp.linalg.solve(vectors.T, config.radius * (jnp.concatenate([jnp.ones(1), rest])[:, None] * vectors.T)).T
    z = jax.random.uniform(keys[2], (width,), minval=-0.5, maxval=0.5)
    # of tanh(W z + b) the Jacobian is diag(1 - z^2) W
    w = jnp.stack([jacobian, jacobian / (1 - z**2)[:, None]])
    b = jnp.stack([z, jnp.arctanh(z)]) - w @ z
    return State(deep_equilibrium.Params(w, jnp.zeros((2, width, 1)), b), z, jax.random.normal(keys[3], (width,)))


def simulate(state: State, config: Config) -> Result:
    curved = jnp.array([name == "tanh" for name in MAPS])
    simulated_fn = functools.partial(_simulated, g=state.cotangent, config=config)
    implicit, unrolled, neumann, error, cosine = jax.vmap(simulated_fn)(state.params, curved)
    late = slice(config.num_steps // 2, None)
    count = jnp.arange(1.0, config.num_steps + 1)
    return Result(
        implicit,
        unrolled[0],
        neumann,
        error,
        cosine,
        jnp.exp(exponential_rate(count[late], (unrolled / count[None])[:, late])),
        jnp.exp(exponential_rate(count[late], neumann[:, late])),
        unrolled[1],
    )


def _simulated(
    params: deep_equilibrium.Params, curved: Bool[Array, ""], g: Float[Array, "unit"], config: Config
) -> tuple[Array, ...]:
    """Of one map: the affine one, or tanh of it where `curved`."""
    model = deep_equilibrium.Config(dim=1, width=config.width, activation="identity")
    zero = jnp.zeros(config.width)

    def f(z: Float[Array, "unit"], params: deep_equilibrium.Params) -> Float[Array, "unit"]:
        affine = deep_equilibrium.layer(params, z, jnp.zeros(1), model)
        return jnp.where(curved, jnp.tanh(affine), affine)

    def gradient(adjoint: Any) -> tuple[deep_equilibrium.Params, Float[Array, "unit"]]:
        """In all parameters, and the fixed point."""

        def loss(params: deep_equilibrium.Params) -> tuple[Float[Array, ""], Float[Array, "unit"]]:
            z = fixed_point.picard(f, zero, params, atol=1e-14, max_steps=4000, adjoint=adjoint).state
            return g @ z, z

        return jax.grad(loss, has_aux=True)(params)

    (exact, at_rest), (crude, _) = gradient(None), gradient(equilibrium_gradients.one_step())
    unrolled = jax.jacrev(lambda p: fixed_point.iterates(f, zero, p, num_steps=config.num_steps)[1:] @ g)(params)
    unrolled_error = jax.vmap(lambda one: _relative(one, exact.w))(unrolled.w)
    pull_fn = jax.vjp(f, at_rest, params)[1]  # the Neumann series by products with J^T

    def term(adjoint: Float[Array, "unit"], _: None) -> tuple[Float[Array, "unit"], Float[Array, ""]]:
        back, slope = pull_fn(adjoint)
        return g + back, _relative(slope.b, exact.b)

    _, neumann_error = jax.lax.scan(term, g, length=config.num_steps)
    cosine = crude.b @ exact.b / jnp.linalg.norm(crude.b) / jnp.linalg.norm(exact.b)
    return exact.b, unrolled_error, neumann_error, _relative(crude.b, exact.b), cosine


def _relative(approximate: Array, exact: Array) -> Float[Array, ""]:
    return jnp.linalg.norm(approximate - exact) / jnp.linalg.norm(exact)


def predict(state: State, config: Config) -> Result:
    params, z, g = state
    slopes = jnp.stack([jnp.ones_like(z), 1 - z**2])
    jacobians = slopes[:, :, None] * params.w
    orders = np.arange(config.num_steps)

    def series(jacobian: Array, slope: Array) -> tuple[Array, implicit_gradients.Comparison]:
        sensitivity = jnp.diag(slope)
        whole = implicit_gradients.implicit_gradient(jacobian, g, sensitivity)
        return whole, implicit_gradients.neumann_comparison(orders, jacobian, g, sensitivity)

    implicit, neumann = jax.vmap(series)(jacobians, slopes)
    missing = implicit_gradients.unrolled_error(orders + 1, jacobians[0], z, -z, g)
    unrolled = jnp.linalg.norm(missing, axis=(1, 2)) / jnp.linalg.norm(jnp.outer(implicit[0], z))
    rate = jnp.full(len(MAPS), config.radius)
    return Result(implicit, unrolled, neumann.relative_error, neumann.relative_error[:, 0], neumann.cosine[:, 0], rate, rate)


_EXACT = "the prediction is exact: rounding, and 1e-14 of the state at which the solver stops"
_RATE = (
    "errors follow the law with a correction of (second over first eigenvalue)^K, and of 1/K^2 per step where K rho^K has a "
    "constant beside K: 1.3 % over the steps of the fit at the radius 0.8, less at smaller ones"
)
TOLERANCE = {
    "implicit": Tolerance(1e-9, 1e-9, reason=_EXACT),
    "unrolled_error": Tolerance(1e-6, 1e-11, reason=_EXACT),
    "neumann_error": Tolerance(1e-6, 1e-11, reason=_EXACT),
    "one_step_error": Tolerance(1e-9, reason=_EXACT),
    "one_step_cosine": Tolerance(1e-9, reason=_EXACT),
    "unrolled_rate": Tolerance(0.013, reason=_RATE),
    "neumann_rate": Tolerance(0.01, reason=_RATE),
}
QUICK = {"width": 3, "num_steps": 8}
SEEDS = 16
GRID = {"radius": (0.5, 0.65, 0.8)}
