r"""Pairs of views of one sample: Gaussian features, each with a strength and a noise of augmentation, in a random basis.

$$
x = z + \epsilon, \quad x^+ = z + \epsilon^+, \qquad z = U \phi \odot \zeta, \quad \epsilon = U \sigma \odot \xi, \quad
\epsilon^+ = U \sigma \odot \xi^+
$$

with $\zeta$, $\xi$ and $\xi^+$ standard normal and independent, and an orthogonal $U$. The clean signal has the covariance
$C = U \operatorname{diag}(\phi^2) U^\top$ and a view $S = C + U \operatorname{diag}(\sigma^2) U^\top$; between two views of one
sample it is $C$.

Source: derived here, after the data model of Y. Xue et al., arXiv 2403.11391, as their reviewers describe it (its definition
3.1 was not re-read).

Example. Without augmentation both views are the sample:

>>> import jax
>>> from closedform.tasks import augmentation_pairs
>>> problem = augmentation_pairs.draw(jax.random.key(0), (2.0, 1.0), (0.0, 0.0))
>>> x, x_plus = augmentation_pairs.sample(jax.random.key(1), 5, problem)
>>> bool((x == x_plus).all())
True
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..documented import documented


@documented
class Problem(NamedTuple):
    signals: Float[Array, "feature"]  # phi, standard deviation of each feature
    noise_stds: Float[Array, "feature"]  # sigma, standard deviation of the augmentation along it
    basis: Float[Array, "dim feature"]  # U, orthogonal: a feature a column

    @property
    def clean(self) -> Float[Array, "dim dim"]:
        """C, the covariance of samples, and of two views of one sample."""
        return self._covariance(self.signals**2)

    @property
    def view(self) -> Float[Array, "dim dim"]:
        """S, the covariance of views."""
        return self._covariance(self.signals**2 + self.noise_stds**2)

    def _covariance(self, variances: Float[Array, "feature"]) -> Float[Array, "dim dim"]:
        return (self.basis * variances[None]) @ self.basis.T


def draw(key: PRNGKeyArray, signals: Sequence | Array, noise_stds: Sequence | Array) -> Problem:
    """Features of these strengths and noises in a basis that is uniform on the rotations and reflections.

    Raises ValueError for lists of different length, or none.
    """
    if len(signals) != len(noise_stds) or len(signals) == 0:
        raise ValueError(f"noise_stds must have the length of signals, at least 1, got {len(noise_stds)} and {len(signals)}")
    phi, sigma = jnp.asarray(signals, float), jnp.asarray(noise_stds, float)
    return Problem(phi, sigma, jax.random.orthogonal(key, len(signals)))


def sample(
    key: PRNGKeyArray, num_samples: int, problem: Problem
) -> tuple[Float[Array, "num_samples dim"], Float[Array, "num_samples dim"]]:
    """Two views, x and x^+, of each of the samples."""
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    z, noise, other = jax.random.normal(key, (3, num_samples, len(problem.signals)))
    views = (z * problem.signals[None] + part * problem.noise_stds[None] for part in (noise, other))
    one, plus = (view @ problem.basis.T for view in views)
    return one, plus
