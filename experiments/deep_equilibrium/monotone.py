r"""Monotone networks have one fixed point at any norm of their weights, and operator splitting finds it at predicted rates.

$W = (1 - m) I - A^\top A + B - B^\top$, with norms above 1 at which Picard's iteration does not converge. Without $A$ and with
the identity for an activation, the error of a splitting falls per step by the factor that in general is a bound:

$$
\begin{align*}
\text{forward-backward:} \quad & \sqrt{1 - 2 \alpha m + \alpha^2 L^2}, \;\; \text{least at } \alpha = m/L^2: \;
\sqrt{1 - m^2/L^2} \\
\text{Peaceman-Rachford:} \quad & \sqrt{\frac{1 - 2 \alpha m + \alpha^2 L^2}{1 + 2 \alpha m + \alpha^2 L^2}}
\end{align*}
$$

with $L = \|I - W\|_2$, for the error that falls slowest. With ReLU, the factor near the fixed point is the spectral radius of
$D ((1 - \alpha) I + \alpha W)$ and of $(2 V - I)(2 D - I)$, where $D$ marks the active units and
$V = (I + \alpha (I - W))^{-1}$, and no step anywhere is slower than the bound.

Source: Winston and Kolter, arXiv 2006.08591 (the weights and the splittings; recalled); the factors are derived here
Cost: 10 s
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Precision, Tolerance, check
from ...models.equilibrium import monotone
from ...solvers import operator_splitting as splitting
from ...theory.equilibria import convergence_rates, monotone_operators

SOLVERS = ("picard", "forward_backward", "peaceman_rachford")
Sizes = Annotated[tuple[Positive, ...], MinLen(1), Distinct]


@dataclass(frozen=True)
class Config:
    model: monotone.Config = field(default_factory=lambda: monotone.Config(dim=20, width=20, weight_scale=1.0))
    forward_sizes: Sizes = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.25, 2.5)  # steps of forward-backward, in units of m/L^2
    reflected_sizes: Sizes = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # steps of Peaceman-Rachford, in units of 1/L
    num_inputs: Count = 8  # standard normal inputs of a network
    num_steps: Count = 1000  # over whose second half a factor is averaged; a solver is given up after ten times as many
    atol: Positive = 1e-6  # largest entry of the residual at which a solver rests
    dtype: Precision = "float64"  # factors near 1

    def __post_init__(self):
        check(self)
        if self.num_steps < 2:
            raise ValueError(f"num_steps must be at least 2, got {self.num_steps}")


class State(NamedTuple):
    params: monotone.Params
    x: Float[Array, "input dim"]


class Result(NamedTuple):
    forward: Float[Array, "forward_size"]  # factor per step of the slowest error, forward-backward, A = 0, identity
    reflected: Float[Array, "reflected_size"]  # of Peaceman-Rachford, A = 0, identity
    forward_rate: Float[Array, ""]  # factor per step near the fixed point, ReLU, step m/L^2, geometric mean over inputs
    reflected_rate: Float[Array, ""]  # the same for Peaceman-Rachford, step 1/L
    kept: Float[Array, ""]  # share of one-step contractions of forward-backward, ReLU, step m/L^2, that are within the bound
    slowest: Float[Array, ""] | None = None  # the largest of them
    bound: Float[Array, ""] | None = None  # sqrt(1 - m^2/L^2)
    norm: Float[Array, ""] | None = None  # |W|_2
    num_evaluations: Float[Array, "solver"] | None = None  # of the ReLU layer until a solver rests, mean over inputs
    converged: Float[Array, "solver"] | None = None  # share of inputs for which it does


def labels(config: Config) -> dict[str, tuple]:
    return {"forward_size": config.forward_sizes, "reflected_size": config.reflected_sizes, "solver": SOLVERS}


def init(key: PRNGKeyArray, config: Config) -> State:
    key_params, key_x = jax.random.split(key)
    return State(monotone.init(key_params, config.model), jax.random.normal(key_x, (config.num_inputs, config.model.dim)))


def simulate(state: State, config: Config) -> Result:
    params, m = state.params, config.model.monotonicity
    relu, identity = monotone.ACTIVATIONS["relu"], monotone.ACTIVATIONS["identity"]
    nothing, start = params.bias, params.u[:, 0]
    # without A the eigenvalues of I - W are m plus imaginary numbers, and without a drive the fixed point is 0
    turning = _turning(params)
    turn, turn_lipschitz = monotone.weight(turning, config.model), monotone.lipschitz(turning, config.model)
    slowest = jnp.linalg.svd(jnp.eye(len(turn), dtype=turn.dtype) - turn)[2][0]  # an error in the plane that turns fastest

    def forward(size: Array) -> Array:
        alpha = size * m / turn_lipschitz**2
        return _factor(lambda z: splitting.forward_backward_step(turn, nothing, z, identity, alpha), slowest, config)

    def reflected(size: Array) -> Array:
        alpha = size / turn_lipschitz
        return _factor(lambda u: splitting.peaceman_rachford_step(turn, nothing, u, identity, alpha), slowest, config)

    weight, forward_step, reflected_step = _steps(params, config)
    bound = monotone_operators.forward_backward_contraction(forward_step, m, monotone.lipschitz(params, config.model))

    def of_input(x: Float[Array, "dim"]) -> tuple[Array, ...]:
        drive, settings = monotone.drive(params, x), {"atol": config.atol, "max_steps": 10 * config.num_steps}
        forward_steps = jnp.stack([jnp.ones_like(forward_step), forward_step])  # with step 1 it is Picard's iteration
        two = jax.vmap(lambda step: splitting.forward_backward(weight, drive, relu, step=step, **settings))(forward_steps)
        third = splitting.peaceman_rachford(weight, drive, relu, step=reflected_step, **settings)
        num_evaluations, converged = (
            jnp.concatenate([both, one[None]]).astype(start.dtype)
            for both, one in ((two.num_evaluations, third.num_evaluations), (two.converged, third.converged))
        )
        z = _fixed_point(params, x, config)
        u = (1 - reflected_step) * z + reflected_step * (weight @ z + drive)  # where Peaceman and Rachford rest
        _, push_forward = jax.linearize(lambda z: splitting.forward_backward_step(weight, drive, z, relu, forward_step), z)
        _, push_reflected = jax.linearize(lambda u: splitting.peaceman_rachford_step(weight, drive, u, relu, reflected_step), u)

        def advance(pair: Array, _: None) -> tuple[Array, Array]:
            after = jax.vmap(lambda z: splitting.forward_backward_step(weight, drive, z, relu, forward_step))(pair)
            apart, before = (jnp.linalg.norm(two[0] - two[1]) for two in (after, pair))
            return after, apart / jnp.where(before > 0, before, 1)

        ratios = jax.lax.scan(advance, jnp.stack([jnp.zeros_like(start), start]), length=_PAIR_STEPS)[1]
        return (
            jnp.log(_factor(push_forward, start, config)),
            jnp.log(_factor(push_reflected, start, config)),
            ratios,
            num_evaluations,
            converged,
        )

    forward_rate, reflected_rate, ratios, num_evaluations, converged = jax.vmap(of_input)(state.x)
    return Result(
        forward=jax.lax.map(forward, jnp.asarray(config.forward_sizes, start.dtype)),
        reflected=jax.lax.map(reflected, jnp.asarray(config.reflected_sizes, start.dtype)),
        forward_rate=jnp.exp(jnp.mean(forward_rate)),
        reflected_rate=jnp.exp(jnp.mean(reflected_rate)),
        kept=jnp.mean((ratios <= bound * (1 + _ROUNDING)).astype(start.dtype)),
        slowest=jnp.max(ratios),
        bound=bound,
        norm=jnp.linalg.norm(weight, 2),
        num_evaluations=jnp.mean(num_evaluations, axis=0),
        converged=jnp.mean(converged, axis=0),
    )


_PAIR_STEPS = 50  # along which two states approach one another, far from where their distance is rounding
_ROUNDING = 1e-9  # relative, of a distance in float64, with room


def _factor(linear_fn: Callable[[Array], Array], start: Float[Array, "width"], config: Config) -> Float[Array, ""]:
    """Growth per step of a vector under a linear map, geometric mean over the second half of the steps."""

    def advance(vector: Array, _: None) -> tuple[Array, Array]:
        after = linear_fn(vector)
        size = jnp.linalg.norm(after)
        return after / jnp.where(size > 0, size, 1), size

    growth = jax.lax.scan(advance, start / jnp.linalg.norm(start), length=config.num_steps)[1]
    return jnp.exp(jnp.mean(jnp.log(growth[config.num_steps // 2 :])))


def _turning(params: monotone.Params) -> monotone.Params:
    return params._replace(a=jnp.zeros_like(params.a))


def _steps(params: monotone.Params, config: Config) -> tuple[Float[Array, "width width"], Float[Array, ""], Float[Array, ""]]:
    """W, m/L^2 and 1/L."""
    lipschitz = monotone.lipschitz(params, config.model)
    return monotone.weight(params, config.model), config.model.monotonicity / lipschitz**2, 1 / lipschitz


def _fixed_point(params: monotone.Params, x: Float[Array, "dim"], config: Config) -> Float[Array, "width"]:
    """z*, to rounding, and exactly 0 where the unit is not active."""
    weight, _, step = _steps(params, config)
    settings = {"step": step, "atol": 100 * float(jnp.finfo(x.dtype).eps), "max_steps": 10 * config.num_steps}
    found = splitting.peaceman_rachford(weight, monotone.drive(params, x), monotone.ACTIVATIONS["relu"], **settings)
    return monotone.layer(params, found.state, x, config.model)


def predict(state: State, config: Config) -> Result:
    params, m = state.params, config.model.monotonicity
    turn_lipschitz = monotone_operators.lipschitz(monotone.weight(_turning(params), config.model))
    forward_sizes, reflected_sizes = (
        jnp.asarray(sizes, params.a.dtype) for sizes in (config.forward_sizes, config.reflected_sizes)
    )
    best = monotone_operators.best_step(m, turn_lipschitz)
    weight = monotone.weight(params, config.model)
    lipschitz = monotone_operators.lipschitz(weight)
    eye = jnp.eye(len(weight), dtype=weight.dtype)

    def rates(x: Float[Array, "dim"]) -> tuple[Array, Array]:
        active = (_fixed_point(params, x, config) > 0).astype(weight.dtype)
        alpha = monotone_operators.best_step(m, lipschitz)
        forward = active[:, None] * ((1 - alpha) * eye + alpha * weight)
        inverse = jnp.linalg.inv(eye + (eye - weight) / lipschitz)
        reflected = (2 * inverse - eye) * (2 * active - 1)[None]
        return jnp.log(convergence_rates.spectral_radius(forward)), jnp.log(convergence_rates.spectral_radius(reflected))

    forward_rate, reflected_rate = jax.lax.map(rates, state.x)
    return Result(
        forward=monotone_operators.forward_backward_contraction(forward_sizes * best, m, turn_lipschitz),
        reflected=monotone_operators.peaceman_rachford_contraction(reflected_sizes / turn_lipschitz, m, turn_lipschitz),
        forward_rate=jnp.exp(jnp.mean(forward_rate)),
        reflected_rate=jnp.exp(jnp.mean(reflected_rate)),
        kept=jnp.ones((), weight.dtype),
    )


SHARED = {"kept": "theory states the bound that steps are held against; whether they keep it is the network's"}
ROUNDING = "exact for the error that falls slowest: rounding of float64 over the steps"
AVERAGE = "average over finitely many steps, in which slower and faster modes have not parted"
TOLERANCE = {
    "forward": Tolerance(1e-10, reason=ROUNDING),
    "reflected": Tolerance(1e-10, reason=ROUNDING),
    "forward_rate": Tolerance(1e-3, reason=AVERAGE),
    "reflected_rate": Tolerance(1e-3, reason=AVERAGE),
    "kept": Tolerance(reason="a bound for every pair of states"),
}
QUICK = {"model.dim": 3, "model.width": 4, "num_inputs": 2, "num_steps": 100}
SEEDS = 8
GRID = {"model.monotonicity": (0.1, 0.5, 1.0)}
