r"""The Jacobian of a wide random tanh network at its fixed point has its eigenvalues in a disc whose radius theory knows.

Weights $N(0, s^2/n)$ and inputs $N(0, \tau^2)$: the variance of the pre-activations is the fixed point $q^*$ of one equation.
The Jacobian is a random matrix with a variance for each row, and the circular law for such matrices gives the share of
eigenvalues within every radius, and the spectral radius by which Picard's iteration converges.

$$
q^* = s^2\, \mathbb{E} \tanh^2(\sqrt{q^*}\, \xi) + \tau^2, \qquad
\chi = s^2\, \mathbb{E} \operatorname{sech}^4(\sqrt{q^*}\, \xi), \qquad \rho(J) \to \sqrt \chi
$$

At finite width the largest eigenvalue is beyond $\sqrt \chi$, by the order of $\sqrt{\ln n/n}$: 5 % at 100 units and 3 % at
400. The prediction has this factor, as a heuristic that is derived here; the limit is drawn beside it.

Variance and gain are means over several inputs to a network. Inputs at which Picard's iteration does not converge, as happens
in narrow networks whose radius is near 1, are left out.

Source: derived here, by the circular law with a variance profile (Cook, Hachem, Najim and Renfrew, arXiv 1612.04428; recalled)
Cost: 35 s
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Precision, Tolerance, check
from ...models.equilibrium import deep_equilibrium
from ...solvers import fixed_point
from ...theory.equilibria import random_tanh
from ...theory.random_matrices import circular_law


@dataclass(frozen=True)
class Config:
    width: Annotated[int, Ge(2)] = 128  # units (n)
    weight_scale: Positive = 1.0  # sqrt(n) times the standard deviation of the weights (s)
    input_variance: Positive = 1.0  # of the input to each unit (tau^2)
    levels: Annotated[tuple[Positive, ...], MinLen(1), Distinct] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # moduli, over s
    num_inputs: Count = 16  # inputs to a network over which variance and gain are averaged; the spectrum is that at the first
    num_shown: Count = 60  # eigenvalues that are stored, drawn at random
    atol: Positive = 1e-10  # of the fixed point
    max_steps: Count = 4000  # of Picard's iteration
    dtype: Precision = "float64"  # eigenvalues of a matrix that is not normal

    def __post_init__(self):
        check(self)
        if self.num_shown > self.width:
            raise ValueError(f"num_shown must be at most width = {self.width}, got {self.num_shown}")


class Result(NamedTuple):
    preactivation_variance: Float[Array, ""]  # mean square of W z + u, over units and inputs
    gain: Float[Array, ""]  # tr J J^T/n, mean over inputs
    radius: Float[Array, ""]  # largest modulus of an eigenvalue of J
    shares: Float[Array, "level"]  # of eigenvalues with a modulus up to each level times s
    abscissa: Float[Array, ""] | None = None  # largest real part
    real: Float[Array, "eigenvalue"] | None = None  # of some eigenvalues
    imaginary: Float[Array, "eigenvalue"] | None = None  # of the same


def labels(config: Config) -> dict[str, tuple]:
    return {"level": config.levels}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    key_model, key_input, key_shown = jax.random.split(key, 3)
    model = deep_equilibrium.Config(dim=1, width=config.width, activation="tanh")
    drawn = deep_equilibrium.init(key_model, deep_equilibrium.Config(dim=1, width=config.width, weight_scale=1.0))
    u = jnp.sqrt(config.input_variance) * jax.random.normal(key_input, (config.num_inputs, config.width))
    params, x = drawn._replace(w=config.weight_scale * drawn.w), jnp.zeros(1)

    def at_rest(u: Float[Array, "unit"]) -> tuple[Float[Array, "unit"], Float[Array, "unit unit"]]:
        """The fixed point and the Jacobian there."""
        biased = params._replace(b=u)
        found = fixed_point.picard(
            lambda z, p: deep_equilibrium.layer(p, z, x, model),
            jnp.zeros(config.width),
            biased,
            atol=config.atol,
            max_steps=config.max_steps,
        )
        z = jnp.where(found.converged, found.state, jnp.nan)
        return z, deep_equilibrium.jacobian(biased, z, x, model)

    z, jacobians = jax.vmap(at_rest)(u)
    eigenvalues = jnp.linalg.eigvals(jacobians[jnp.argmax(jnp.isfinite(z[:, 0]))])
    moduli = jnp.abs(eigenvalues)
    shown = jax.random.permutation(key_shown, eigenvalues)[: config.num_shown]
    levels = config.weight_scale * jnp.asarray(config.levels)
    return Result(
        jnp.nanmean((z @ params.w.T + u) ** 2),
        jnp.nanmean(jnp.sum(jacobians**2, axis=(1, 2))) / config.width,
        jnp.max(moduli),
        jnp.mean(moduli[None] <= levels[:, None], axis=1),
        jnp.max(jnp.real(eigenvalues)),
        jnp.real(shown),
        jnp.imag(shown),
    )


def predict(config: Config) -> Result:
    s, tau2 = config.weight_scale, config.input_variance
    limit = random_tanh.equilibrium(s, tau2)
    radius = limit.spectral_radius * circular_law.largest_modulus(config.width, limit.spread)
    shares = random_tanh.radial_cdf(s * jnp.asarray(config.levels), s, tau2)
    return Result(limit.preactivation_variance, limit.gain, radius, shares)


def predict_limit(config: Config) -> Result:
    """Infinite width: sqrt(chi)."""
    radius = random_tanh.equilibrium(config.weight_scale, config.input_variance).spectral_radius
    return Result(None, None, radius, None)  # pyright: ignore[reportArgumentType]


TOLERANCE = {
    "preactivation_variance": Tolerance(
        0.02, reason="means of squares of units are off by O(1/width), about 1/width at 64 units"
    ),
    "gain": Tolerance(0.02, reason="means of squares of units are off by O(1/width), about 1/width at 64 units"),
    "radius": Tolerance(0.015, reason="the real eigenvalues, some sqrt(width), which the factor leaves out: 1 % at 64 units"),
    "shares": Tolerance(
        0.0, 0.05, reason="the edge is soft: a share of 1/sqrt(2 pi width) lies beyond it, 0.05 at 64 units; O(1/width) inside"
    ),
}
CURVE = {"weight_scale": 60, "levels": 60}
QUICK = {"width": 16, "num_inputs": 2, "num_shown": 8, "levels": (0.3, 0.6), "max_steps": 400}
SEEDS = 16
GRID = {"width": (64, 128, 256), "weight_scale": (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)}
