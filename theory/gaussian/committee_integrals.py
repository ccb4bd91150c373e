r"""Moments of a committee machine's hidden units, those of teacher and student alike, over Gaussian inputs.

Formula. Fields $a, b, c, e$ are jointly Gaussian of mean 0 and covariance $C$. For every activation $g$ whose kernel
$\kappa(C_{aa}, C_{cc}, C_{ac}) = \mathbb{E}\, g(a)\, g(c)$ is known,

$$
\begin{align*}
I_2(a, b) &= \mathbb{E}\, g(a)\, g(b) = \kappa(C_{aa}, C_{bb}, C_{ab}) \\
J_2(a, b) &= \mathbb{E}\, g'(a)\, g'(b) = \partial_3 \kappa(C_{aa}, C_{bb}, C_{ab}) \\
I_3(a, b, c) &= \mathbb{E}\, g'(a)\, b\, g(c) = 2\, C_{ab}\, \partial_1 \kappa(C_{aa}, C_{cc}, C_{ac}) + C_{bc}\, J_2(a, c)
\end{align*}
$$

and for $g(u) = \operatorname{erf}(u/\sqrt 2)$

$$
I_4(a, b, c, e) = \mathbb{E}\, g'(a)\, g'(b)\, g(c)\, g(e)
= \frac{4}{\pi^2} \frac{1}{\sqrt{L_4}} \arcsin \frac{L_0}{\sqrt{L_1 L_2}}
$$

with

$$
\begin{align*}
L_4 &= (1 + C_{aa})(1 + C_{bb}) - C_{ab}^2 \\
L_0 &= L_4 C_{ce} - C_{bc} C_{be} (1 + C_{aa}) - C_{ac} C_{ae} (1 + C_{bb}) + C_{ab} (C_{ac} C_{be} + C_{ae} C_{bc}) \\
L_1 &= L_4 (1 + C_{cc}) - C_{bc}^2 (1 + C_{aa}) - C_{ac}^2 (1 + C_{bb}) + 2\, C_{ab} C_{ac} C_{bc}
\end{align*}
$$

and $L_2$ as $L_1$ with $e$ for $c$.

Regime. Exact for every covariance, singular ones included.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $C$ | `covariance` | field field | of the fields; symmetric and positive semi-definite |
| $g$ | `activation` | | `scaled_erf`, `relu`, or a name or function that `activation_of` takes |
| $I_2$ | `output_moments` | field field | |
| $I_3$ | `drift_moments` | field field field | |
| $J_2$ | `slope_moments` | field field | |
| $I_4$ | `noise_moments` | field field field field | for `scaled_erf` alone |

Factors. The error function is of $u/\sqrt 2$: its slope at 0 is $\sqrt{2/\pi}$.

Source. D. Saad, S. Solla, 1995, doi 10.1103/PhysRevE.52.4225 ($I_2$, $I_3$, $I_4$ for the error function, recalled; checked
here by quadrature). $I_3$ for other activations is derived here by Stein's identity.

Finite size. None. In float32 $I_4$ loses digits at large variances, a tenth of it at 1000.

Example. A student's unit that is its teacher's has their mean square as its product, 1/3 for fields of variance 1:

>>> from closedform.theory.gaussian.committee_integrals import output_moments
>>> [round(float(moment), 4) for moment in output_moments([[1.0, 1.0], [1.0, 1.0]]).ravel()]
[0.3333, 0.3333, 0.3333, 0.3333]
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import FINITE, ArrayLike, takes
from ..numerics.special import arcsine
from ..numerics.symmetric import require_kernel
from .activations import Activation, erf
from .any_activation import AnyActivation, activation_of

Covariance = Real[ArrayLike, "field field"]

scaled_erf = Activation(  # erf(u/sqrt 2)
    lambda variance_1, variance_2, covariance: erf.dual(variance_1 / 2, variance_2 / 2, covariance / 2),
    lambda variance_1, variance_2, covariance: erf.derivative_dual(variance_1 / 2, variance_2 / 2, covariance / 2) / 2,
)


@takes(covariance=FINITE)
def output_moments(covariance: Covariance, activation: AnyActivation = scaled_erf) -> Float[Array, "field field"]:
    """I_2(a, b) = E g(a) g(b) of all pairs.

    >>> [round(float(value), 6) for value in output_moments([[1.0, 0.5], [0.5, 1.0]])[0]]
    [0.333333, 0.160861]
    """
    require_kernel(covariance, "covariance")
    return activation_of(activation).dual(*_pairs(covariance))


@takes(covariance=FINITE)
def slope_moments(covariance: Covariance, activation: AnyActivation = scaled_erf) -> Float[Array, "field field"]:
    """J_2(a, b) = E g'(a) g'(b) of all pairs.

    >>> [round(float(value), 6) for value in slope_moments([[1.0, 0.0], [0.0, 1.0]], "relu")[0]]
    [0.5, 0.25]
    """
    require_kernel(covariance, "covariance")
    return activation_of(activation).derivative_dual(*_pairs(covariance))


@takes(covariance=FINITE)
def drift_moments(covariance: Covariance, activation: AnyActivation = scaled_erf) -> Float[Array, "field field field"]:
    """I_3(a, b, c) = E g'(a) b g(c) of all triples.

    >>> round(float(drift_moments([[1.0, 0.0], [0.0, 1.0]])[0, 0, 0]), 6)
    0.183776
    """
    require_kernel(covariance, "covariance")
    kernels, (v1, v2, c) = activation_of(activation), _pairs(covariance)
    _, by_variance = jax.jvp(lambda variance: kernels.dual(variance, v2, c), (v1,), (jnp.ones_like(v1),))
    # (a, b) and (a, c), (b, c) and (a, c)
    return (
        2 * covariance[:, :, None] * by_variance[:, None, :] + covariance[None] * kernels.derivative_dual(v1, v2, c)[:, None, :]
    )


@takes(covariance=FINITE)
def noise_moments(covariance: Covariance) -> Float[Array, "field field field field"]:
    """I_4(a, b, c, e) = E g'(a) g'(b) g(c) g(e) of all quadruples, g(u) = erf(u/sqrt 2).

    A difference of products of variances, of which float32 loses digits where they are large: a tenth of it at 1000.

    >>> round(float(noise_moments([[1.0, 0.0], [0.0, 1.0]])[0, 0, 1, 1]), 4)  # 1/3 of J_2 where the pairs are independent
    0.1225
    """
    require_kernel(covariance, "covariance")
    C, size = covariance, 1 + jnp.diagonal(covariance)

    def at(matrix: Array, places: str) -> Array:
        """The matrix or vector on the axes of a, b, c, e that are named."""
        return matrix.reshape([len(C) if letter in places else 1 for letter in "abce"])

    def pair(places: str) -> Array:
        return at(C, places)

    one_a, one_b = at(size, "a"), at(size, "b")
    l4 = one_a * one_b - pair("ab") ** 2
    l0 = l4 * pair("ce") - pair("bc") * pair("be") * one_a - pair("ac") * pair("ae") * one_b
    l0 = l0 + pair("ab") * (pair("ac") * pair("be") + pair("ae") * pair("bc"))

    def own(c: str) -> Array:
        ac, bc = pair("a" + c), pair("b" + c)
        return l4 * at(size, c) - bc**2 * one_a - ac**2 * one_b + 2 * pair("ab") * ac * bc

    return 4 / math.pi**2 * arcsine(l0 / jnp.sqrt(own("c") * own("e"))) / jnp.sqrt(l4)


def _pairs(covariance: Float[Array, "field field"]) -> tuple[Float[Array, "field field"], ...]:
    """Variances and covariance of each pair."""
    variance = jnp.diagonal(covariance)
    shape = covariance.shape
    return jnp.broadcast_to(variance[:, None], shape), jnp.broadcast_to(variance[None, :], shape), covariance
