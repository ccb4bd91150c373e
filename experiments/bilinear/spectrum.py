r"""The eigenvalues of a bilinear layer at initialisation follow a closed law: a bulk, its edge, and an atom at 0 for few units.

$$
\begin{align*}
\rho(x) &= \frac{1}{\pi} \left| \operatorname{Im} \frac{1}{y} \right| + \max(0, 1 - 2c)\, \delta(x), \qquad
y^3 - x y^2 + \frac{2c - 1}{4}\, y + \frac{x}{4} = 0 \\
\text{edge}^2 &= \frac{2 + 10 c - c^2 + \sqrt{c\, (4 + c)^3}}{8}, \qquad
m_2 = \frac{c}{2}, \qquad m_4 = \frac{c}{8} + \frac{c^2}{2}
\end{align*}
$$

with $c$ hidden units an input (`ratios`), $y$ the root of $\operatorname{Im} y > 0$ inside the bulk, and the moments $m_2$ and
$m_4$ of the eigenvalues.

Source: derived here by free probability; readouts +1 and -1 in turn
Cost: 10 s
"""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np
from annotated_types import MinLen
from jaxtyping import Array, Float, PRNGKeyArray

from ...contract import Count, Distinct, Positive, Precision, Tolerance, check
from ...models.bilinear import bilinear
from ...theory.random_matrices import bilinear_spectra
from .._measure import stacked


@dataclass(frozen=True)
class Config:
    dim: Count = 800  # inputs, paper d
    ratios: Annotated[tuple[Positive, ...], MinLen(1), Distinct] = (0.25, 1.0, 2.0)  # hidden units over inputs, paper c
    num_bins: Count = 24  # of the histogram of one side; the law is symmetric, and so are the bins
    dtype: Precision = "float64"  # as the law

    def __post_init__(self):
        check(self)
        if min(self.ratios) * self.dim < 1:
            raise ValueError(f"ratios must leave at least one unit of dim = {self.dim}, got {self.ratios}")

    def width(self, ratio: float) -> int:
        """An even number of hidden units, half of them of either sign."""
        return 2 * max(1, round(ratio * self.dim / 2))

    def bins(self, edge: float = 1.0) -> np.ndarray:
        """Edges of the bins, up to a fifth beyond the edge of the bulk, with 0, where an atom may be, inside a bin."""
        return np.linspace(-1.2 * edge, 1.2 * edge, 2 * self.num_bins)


def _edge(c: float) -> float:
    """The edge by the formula above; written out here, since the bins of the simulation depend on it."""
    return math.sqrt((2 + 10 * c - c**2 + math.sqrt(c * (4 + c) ** 3)) / 8)


class Result(NamedTuple):
    edge: Float[Array, "ratio"]  # largest eigenvalue
    second: Float[Array, "ratio"]  # mean of lambda^2
    fourth: Float[Array, "ratio"]  # mean of lambda^4
    mass: Float[Array, "ratio bin"]  # share of eigenvalues in every bin


def labels(config: Config) -> dict[str, tuple]:
    """The middle of every bin, in units of the edge."""
    borders = config.bins()
    return {"ratio": config.ratios, "bin": tuple(((borders[1:] + borders[:-1]) / 2).tolist())}


def simulate(key: PRNGKeyArray, config: Config) -> Result:
    def of_ratio(ratio: float) -> Result:
        model = bilinear.Config(config.dim, config.width(ratio), init="alternating")
        params = bilinear.init(key, model)
        values = jnp.linalg.eigvalsh(bilinear.interaction_matrix(params, jnp.ones(1, params.p.dtype)))
        counts = jnp.histogram(values, jnp.asarray(config.bins(_edge(ratio)), values.dtype))[0]
        return Result(values[-1], jnp.mean(values**2), jnp.mean(values**4), counts.astype(values.dtype) / config.dim)

    return stacked(of_ratio(ratio) for ratio in config.ratios)


def predict(config: Config) -> Result:
    def of_ratio(ratio: float) -> Result:
        exact = jnp.asarray(config.width(ratio) / config.dim)
        mass = bilinear_spectra.bulk_masses(config.bins(_edge(ratio)), exact)
        return Result(bilinear_spectra.bulk_edge(exact), *bilinear_spectra.bulk_moments(exact), mass)

    return stacked(of_ratio(ratio) for ratio in config.ratios)


TOLERANCE = {
    "edge": Tolerance(0.03, reason="the largest eigenvalue scatters below the edge by O(dim^(-2/3)): 1 % at dim = 800"),
    "second": Tolerance(0.01, reason="corrections of order 1/dim"),
    "fourth": Tolerance(0.02, reason="corrections of order 1/dim, twice those of the second moment"),
    "mass": Tolerance(
        0.02,
        0.002,
        reason="a bin counts in units of 1/dim: at the steep edge it may be off by one or two eigenvalues",
    ),
}
CURVE = {"ratios": 40}
QUICK = {"dim": 24, "num_bins": 4}
SEEDS = 8
