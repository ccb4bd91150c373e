r"""Picard's iteration converges by the spectral radius, the flow to infinite time by the spectral abscissa.

Affine maps whose spectra are given, in a random basis and not normal, are iterated, iterated with damping and run as a flow.
An eigenvalue near -1 is slow for Picard's iteration and fast for the flow; from an eigenvalue -3, or a pair of modulus above
1 that rotates, the iteration departs where the flow converges. The best damping makes the iteration converge wherever the
flow does.

$$
\frac{|z_{k+1} - z^*|}{|z_k - z^*|} \to \max_i |1 - h (1 - \lambda_i)|, \qquad
-\frac{d}{dt} \ln |z(t) - z^*| \to 1 - \max_i \operatorname{Re} \lambda_i
$$

with the eigenvalues $\lambda_i$ of $W$ in $f(z) = W z + c$, and $h = 1$ for Picard.

Source: derived here; the continuous equilibrium model is that of Pal, Edelman and Rackauckas, arXiv 2201.12240
Cost: 20 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, NonNegative, Positive, Precision, Static, Tolerance, check
from ...models.equilibrium import deep_equilibrium
from ...solvers import fixed_point
from ...theory.equilibria import convergence_rates, linear_maps

# a pair a +- b i, if any, and then real eigenvalues: six in all
SPECTRA = {
    "0.9": (None, (0.9, 0.2, 0.1, 0.0, -0.1, -0.2)),
    "-0.9": (None, (-0.9, 0.2, -0.4, -0.5, -0.6, -0.7)),
    "-3": (None, (-3.0, 0.5, -1.0, -1.5, -2.0, -2.5)),
    "0.3 ± 0.6i": ((0.3, 0.6), (-0.5, -0.55, -0.4, -0.6)),
    "0.2 ± 1.2i": ((0.2, 1.2), (-0.5, -0.6, -0.7, -0.8)),
    "1.2": (None, (1.2, 0.2, 0.1, 0.0, -0.1, -0.2)),
}
WIDTH = 6
_CHUNK = 5  # steps between two rescalings of the distance
_PATIENCE = 400  # steps after which a solver is taken not to arrive: the slowest that does takes some 150


@dataclass(frozen=True)
class Config:
    coupling: NonNegative = 0.5  # entries above the diagonal of the triangular form: 0 is a normal matrix
    dampings: Annotated[tuple[Positive, ...], MinLen(1), Distinct] = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0, 1.1, 1.25)  # h
    num_steps: Count = 30  # of the iteration that are recorded
    horizon: Annotated[Positive, Static] = 20.0  # time of the flow
    num_records: Annotated[int, Ge(4)] = 20  # of the flow, evenly spaced
    num_chunks: Annotated[int, Ge(2)] = 120  # stretches of five steps, of which the later half gives the rate
    atol: Positive = 1e-6  # residual at which solvers stop
    dtype: Precision = "float64"  # errors are followed over many decades

    def __post_init__(self):
        check(self)


class Result(NamedTuple):
    """Distances are relative to the start; records begin after it."""

    picard_error: Float[Array, "spectrum step_of_picard"]  # |z_k - z*|
    flow_error: Float[Array, "spectrum time"]  # |z(t) - z*|
    picard_rate: Float[Array, "spectrum"]  # factor of the distance per step
    flow_rate: Float[Array, "spectrum"]  # of the distance per time, exp(-rate t)
    damped_rate: Float[Array, "spectrum damping"]  # factor per step of the damped iteration
    best_rate: Float[Array, "spectrum"]  # factor per step at the best damping
    picard_arrives: Float[Array, "spectrum"]  # 1 where the solver says so
    flow_arrives: Float[Array, "spectrum"]  # 1 where the adaptive solver says so


def labels(config: Config) -> dict[str, tuple]:
    return {
        "spectrum": tuple(SPECTRA),
        "step_of_picard": tuple(range(1, config.num_steps + 1)),
        "time": tuple(_times(config).tolist()),
        "damping": config.dampings,
    }


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    model = deep_equilibrium.Config(dim=WIDTH, width=WIDTH, activation="identity")
    matrices = _matrices(config)

    def f(z: Float[Array, "unit"], params: deep_equilibrium.Params) -> Float[Array, "unit"]:
        return deep_equilibrium.layer(params, z, jnp.zeros_like(z), model)

    def one(key: PRNGKeyArray, matrix: Float[Array, "unit unit"], best: Float[Array, ""]) -> Result:
        key_basis, key_offset, key_start = jax.random.split(key, 3)
        basis = jax.random.orthogonal(key_basis, len(matrix))
        params = deep_equilibrium.Params(
            basis @ matrix @ basis.T, jnp.zeros_like(matrix), jax.random.normal(key_offset, (WIDTH,))
        )
        at_rest = jnp.linalg.solve(jnp.eye(WIDTH) - params.w, params.b)
        start = at_rest + basis @ _start(matrix)

        def distances(path: Float[Array, "record unit"]) -> Float[Array, "record"]:
            return jnp.linalg.norm(path - at_rest[None], axis=1)

        def rate(damping: Float[Array, ""]) -> Float[Array, ""]:
            """An affine map moves a distance that is rescaled as it moves the distance itself, which would soon be rounding."""

            def stretch(error: Float[Array, "unit"], _: None) -> tuple[Float[Array, "unit"], Float[Array, ""]]:
                end = fixed_point.iterates(f, at_rest + error, params, num_steps=_CHUNK, step=damping)[-1] - at_rest
                size = jnp.linalg.norm(end)
                return end / size, jnp.log(size)

            error = jax.random.normal(key_start, (WIDTH,))
            _, growth = jax.lax.scan(stretch, error / jnp.linalg.norm(error), length=config.num_chunks)
            return jnp.exp(jnp.mean(growth[config.num_chunks // 2 :]) / _CHUNK)

        times = jnp.asarray(_times(config), matrix.dtype)
        flown = distances(fixed_point.flow(f, start, params, times=times, rtol=1e-12, max_steps=16384))
        late = slice(config.num_records // 2, None)
        centred = times[late] - jnp.mean(times[late])
        slope = jnp.log(flown[late]) @ centred / jnp.sum(centred**2)
        dampings = jnp.asarray([1.0, *config.dampings], matrix.dtype)
        rates = jax.lax.map(rate, dampings)
        return Result(
            distances(fixed_point.iterates(f, start, params, num_steps=config.num_steps))[1:],
            flown,
            rates[0],
            -slope,
            rates[1:],
            rate(best),
            fixed_point.picard(f, start, params, atol=config.atol, max_steps=_PATIENCE).converged.astype(matrix.dtype),
            fixed_point.continuous(f, start, params, atol=config.atol, max_steps=_PATIENCE).converged.astype(matrix.dtype),
        )

    best = jnp.stack([convergence_rates.optimal_damping_of(matrix).step for matrix in matrices])
    return jax.vmap(one)(jax.random.split(key, len(SPECTRA)), jnp.stack(matrices), best)


def predict(config: Config) -> Result:
    def one(matrix: Float[Array, "unit unit"]) -> Result:
        steps = linear_maps.picard_error(np.arange(1, config.num_steps + 1), matrix, _start(matrix))
        flown = linear_maps.flow_error(_times(config), matrix, _start(matrix))
        return Result(
            jnp.linalg.norm(steps, axis=1),
            jnp.linalg.norm(flown, axis=1),
            convergence_rates.spectral_radius(matrix),
            convergence_rates.flow_rate(matrix),
            convergence_rates.damped_rate(matrix, config.dampings),
            convergence_rates.optimal_damping_of(matrix).rate,
            (convergence_rates.spectral_radius(matrix) < 1).astype(matrix.dtype),
            (convergence_rates.spectral_abscissa(matrix) < 1).astype(matrix.dtype),
        )

    return jax.vmap(one)(jnp.stack(_matrices(config)))


def _matrices(config: Config) -> list[Float[Array, "unit unit"]]:
    """Block triangular, with the pair of eigenvalues first: a rotation, in which its distance falls without oscillating."""
    return [_matrix(*spectrum) + config.coupling * _beyond(spectrum[0]) for spectrum in SPECTRA.values()]


def _matrix(pair: tuple[float, float] | None, real: tuple[float, ...]) -> Float[Array, "unit unit"]:
    block = [] if pair is None else [jnp.array([[pair[0], pair[1]], [-pair[1], pair[0]]])]
    return jax.scipy.linalg.block_diag(*block, jnp.diag(jnp.asarray(real)))


def _beyond(pair: tuple[float, float] | None) -> Float[Array, "unit unit"]:
    """Ones above the diagonal, outside of the block of the pair."""
    ones = jnp.triu(jnp.ones((WIDTH, WIDTH)), 1)
    return ones if pair is None else ones.at[0, 1].set(0)


def _start(matrix: Array) -> Float[Array, "unit"]:
    """The distance to the fixed point at the start, in the basis of the triangular form."""
    return jnp.full(WIDTH, 1 / jnp.sqrt(WIDTH), matrix.dtype)


def _times(config: Config) -> np.ndarray:
    return config.horizon / config.num_records * np.arange(1.0, config.num_records + 1)


_ROUNDING = "the prediction is exact"
_LATE = (
    "the rate is that of the slowest mode; the others have died out by e^-5 or more where the rate is fitted, and a rate over "
    "a stretch forgets them as 1 over its length"
)
TOLERANCE = {
    "picard_error": Tolerance(1e-9, 1e-11, reason=f"{_ROUNDING}: rounding of the state, which is some 10, over steps"),
    "flow_error": Tolerance(1e-7, 1e-9, reason=f"{_ROUNDING}: the integration errs by 1e-12 of the state a step"),
    "picard_rate": Tolerance(0.01, reason=_LATE),
    "flow_rate": Tolerance(0.01, reason=_LATE),
    "damped_rate": Tolerance(0.01, reason=_LATE),
    "best_rate": Tolerance(0.01, reason=_LATE),
    "picard_arrives": Tolerance(reason="yes or no"),
    "flow_arrives": Tolerance(reason="yes or no"),
}
SHARED = {"best_rate": "theory says only with which damping the iteration is run: at which its factor should be the least"}
CURVE = {"dampings": 400}
QUICK = {"num_steps": 6, "num_records": 4, "num_chunks": 10, "dampings": (0.5, 1.0)}
SEEDS = 8
