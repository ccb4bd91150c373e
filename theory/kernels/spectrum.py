r"""Spectra: the eigenvalues of a kernel with their multiplicities, and those of features that come in groups.

Formula. A kernel $k$ with eigenvalues $\lambda_j$, $m_j$ modes each, and the trace $\tau$ left to modes that are not listed;
groups $c$ of features, of weights $p_c$ and with spectra of their own:

$$
\mathbb{E}\, k(x, x) = \sum_j m_j \lambda_j + \tau, \qquad \lambda_j = \sum_c p_c L_{cj}, \qquad \tau = \sum_c p_c \tau_c
$$

Regime. Any kernel of finite trace.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\lambda$, $m$, $\tau$ | `Spectrum` | `mode`, `()` | eigenvalues, multiplicities, trace of the other modes |
| $v$ | `ZonalPower` | `degree`, `()` | mean square of a target on the modes of a degree, and beyond |
| $p_c$, $n_c$ | `Groups.weights`, `.block_size` | `group` | weight of a group; its features in one head's block |
| $L_c$, $\tau_c$ | `Groups.eigenvalues`, `.tails` | `group mode` | eigenvalues and tail of the kernel of group $c$ |

Factors. Eigenvalues are those of the integral operator under the law of the data, a probability: modes have mean square 1.

Source. Textbook: Mercer's theorem. Groups of features are derived here (see `grouped_feature_risk`).

Finite size. None: these are containers.

Example. The trace of a kernel with two eigenvalues and a tail.

>>> import jax.numpy as jnp
>>> from closedform.theory.kernels.spectrum import Spectrum
>>> spectrum = Spectrum(jnp.array([1.0, 0.1]), jnp.array([2.0, 10.0]), 0.5)
>>> float(spectrum.multiplicities @ spectrum.eigenvalues + spectrum.tail)
3.5
"""

from typing import NamedTuple

from jaxtyping import Array, Float

from ...documented import documented
from ..numerics.arguments import ArrayLike, at_least, each


@documented
class Spectrum(NamedTuple):
    """The distinct eigenvalues of a kernel, their multiplicities, and the trace of the modes that are not listed."""

    eigenvalues: Float[Array, "*mode"]  # Lambda
    multiplicities: Float[Array, "*mode"]  # B, number of modes that share an eigenvalue; the largest float if B overflows
    tail: Float[ArrayLike, ""]  # trace - sum of multiplicities * eigenvalues


LEGAL = each(Spectrum, *3 * [at_least(0, finite=True)])  # values of a spectrum in the formulas of ridge regression


@documented
class Groups(NamedTuple):
    """Features of a head in groups: given what all features of the head share, those of a block are independent of others."""

    weights: Float[Array, "group"]  # p_c
    block_size: Float[Array, "group"]  # n_c
    eigenvalues: Float[Array, "group *mode"]  # L_c
    tails: Float[ArrayLike, "*#group"] = 0.0  # tau_c, trace of the modes left out


@documented
class ZonalPower(NamedTuple):
    """How the mean square of a function of one direction is spread over the degrees: all of it, E f^2."""

    degrees: Float[Array, "degree"]  # of the degrees 0, 1, ..: the `power` of formulas that take a spectrum by degree
    beyond: Float[Array, ""]  # of all higher degrees together, which no listed mode can learn
