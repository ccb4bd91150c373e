r"""How fast iterations and the flow to infinite time converge to a fixed point, by the spectrum of its Jacobian.

Formula. With the eigenvalues $\lambda_i$ of $J = df/dz$ at $z^* = f(z^*)$, errors shrink in the end

$$
\begin{align*}
\text{Picard, per step:} \quad & \rho = \max_i |\lambda_i| \\
\text{flow } dz/dt = f(z) - z \text{, per time:} \quad & e^{-a}, \qquad a = 1 - \max_i \operatorname{Re} \lambda_i \\
\text{damped by } h \text{, per step:} \quad & \rho(h) = \max_i |1 - h (1 - \lambda_i)|
\end{align*}
$$

Picard's iteration is Euler's method for the flow with the step $h = 1$. The best damping, for a real spectrum that fills
$[l, r]$ with $r < 1$, is

$$
h^* = \frac{2}{(1 - l) + (1 - r)}, \qquad \rho^* = \frac{r - l}{2 - l - r}
$$

and for any spectrum the minimum of the convex function $\rho(h)$. With $a_i = 1 - \operatorname{Re} \lambda_i$ and
$b_i = |1 - \lambda_i|^2$ it is

$$
\rho(h)^2 = 1 + h \max_i (b_i h - 2 a_i), \qquad
h^* = \frac{a_i}{b_i} \quad\text{or}\quad h^* = \frac{2 (a_i - a_j)}{b_i - b_j}
$$

where one eigenvalue $i$ is the slowest, or two.

Regime. Exact for affine maps, as the number of steps goes to infinity; asymptotic for smooth maps near the fixed point. A
Jacobian that is not normal may delay the rate by a transient (`linear_maps`). Since $\operatorname{Re} \lambda \le
|\lambda|$, the flow converges wherever Picard's iteration does, at the rate $a \ge 1 - \rho$; the reverse is false
(eigenvalue $-3$).

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $J$ | `jacobian` | unit unit | Jacobian at the fixed point; the weights of an affine map |
| $l$, $r$ | `low`, `high` | any | ends of a real spectrum, $l \le r$ |
| $h$ | `damping` | any | step of the damped iteration |
| $\rho$ | `spectral_radius` | `()` | largest modulus of an eigenvalue |
| $1 - a$ | `spectral_abscissa` | `()` | largest real part of an eigenvalue |

Factors. The spectrum is that of $J$, and not that of the flow's $J - I$. Rates are per step and per unit of time, of the
error and not of its square.

Source. The flow and the fixed point: A. Pal, A. Edelman, C. Rackauckas, arXiv 2201.12240. The best step for a real spectrum is
textbook (Richardson's iteration); its form for a complex one is derived here.

Finite size. None: rounding. Eigenvalues of a matrix that is far from normal are ill-conditioned.

Example. Eigenvalues from -3 to 1/2: Picard's iteration diverges, the flow and damping by 4/9 converge.

>>> import jax.numpy as jnp
>>> from closedform.theory.equilibria import convergence_rates
>>> jacobian = jnp.diag(jnp.array([-3.0, 0.5]))
>>> float(convergence_rates.spectral_radius(jacobian)), float(convergence_rates.flow_rate(jacobian))
(3.0, 0.5)
>>> [round(float(value), 4) for value in convergence_rates.optimal_damping(-3.0, 0.5)]
[0.4444, 0.7778]
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, Range, at_least, require_not_empty, require_together, takes
from ..numerics.linear import eigenvalues

Matrix = Real[ArrayLike, "unit unit"]
Numbers = Real[ArrayLike, "*#shape"]
BELOW_ONE = Range(high=1, low_open=True, high_open=True)


@documented
class Damping(NamedTuple):
    """The best constant step of a damped iteration."""

    step: Float[Array, "*shape"]  # h*
    rate: Float[Array, "*shape"]  # rho(h*), the factor of the error per step


@takes(jacobian=FINITE)
def spectral_radius(jacobian: Matrix) -> Float[Array, ""]:
    """rho, the largest modulus of an eigenvalue: the factor of the error per step of Picard's iteration.

    >>> round(float(spectral_radius([[0, 2], [-2, 0]])), 4)
    2.0
    """
    return jnp.max(jnp.abs(_eigenvalues(jacobian)))


@takes(jacobian=FINITE)
def spectral_abscissa(jacobian: Matrix) -> Float[Array, ""]:
    """The largest real part of an eigenvalue: the flow converges if it is below 1.

    >>> round(float(spectral_abscissa([[-3, 0], [0, 0.5]])), 4)
    0.5
    """
    return jnp.max(jnp.real(_eigenvalues(jacobian)))


@takes(jacobian=FINITE)
def flow_rate(jacobian: Matrix) -> Float[Array, ""]:
    """a = 1 - spectral abscissa: the error of the flow falls as exp(-a t); negative where it grows.

    >>> round(float(flow_rate([[-0.9]])), 4)
    1.9
    """
    return 1 - spectral_abscissa(jacobian)


@takes(jacobian=FINITE, damping=at_least(0, finite=True))
def damped_rate(jacobian: Matrix, damping: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """rho(h), the factor of the error per step of z <- (1 - h) z + h f(z).

    >>> [round(float(rate), 4) for rate in damped_rate([[-0.9]], [0.5, 1])]
    [0.05, 0.9]
    """
    slowness = 1 - _eigenvalues(jacobian)
    h = damping.ravel()[:, None]
    moved = jax.lax.complex(1 - h * jnp.real(slowness)[None], h * jnp.imag(slowness)[None])
    return jnp.max(jnp.abs(moved), axis=-1).reshape(damping.shape)


@takes(low=BELOW_ONE, high=BELOW_ONE)
def optimal_damping(low: Numbers, high: Numbers) -> Damping:
    """h* and rho* for a real spectrum with the ends l <= r < 1."""
    require_together("at most high", lambda low, high: low <= high, low=low, high=high)
    low, high = jnp.broadcast_arrays(low, high)
    slowness = (1 - low) + (1 - high)
    return Damping(2 / slowness, (high - low) / slowness)


@takes(jacobian=FINITE)
def optimal_damping_of(jacobian: Matrix) -> Damping:
    """h* and rho* for any spectrum with real parts below 1; (0, 1) where a real part is not: no damping converges.

    >>> [round(float(value), 4) for value in optimal_damping_of([[0, 1.2], [-1.2, 0]])]
    [0.4098, 0.7682]
    """
    slowness = 1 - _eigenvalues(jacobian)
    converges = jnp.all(jnp.real(slowness) > 0)
    a, c = (jnp.where(converges, part, 1) for part in (jnp.real(slowness), jnp.imag(slowness)))
    b = a**2 + c**2
    fixed_a, fixed_b = jax.lax.stop_gradient((a, b))

    def slowest(h: Float[Array, ""]) -> Array:
        return jnp.argmax(fixed_b * h - 2 * fixed_a)

    def halve(_: Any, ends: tuple[Array, ...]) -> tuple[Array, ...]:
        """The ends of a bracket of h*, and which eigenvalue is the slowest at each."""
        below, beyond, i, j = ends
        middle = (below + beyond) / 2
        k = slowest(middle)
        rising = fixed_b[k] * middle > fixed_a[k]
        low, high = (below, i), (middle, k)
        (below, i), (beyond, j) = (
            tuple(jnp.where(rising, one, other) for one, other in zip(*pair, strict=True))
            for pair in ((low, high), (high, (beyond, j)))
        )
        return below, beyond, i, j

    # beyond twice the least a/b the factor is above 1; every halving is a bit of h*
    none, most = jnp.zeros_like(fixed_a[0]), 2 * jnp.min(fixed_a / fixed_b)
    ends = none, most, slowest(none), slowest(most)
    below, beyond, i, j = jax.lax.fori_loop(0, jnp.finfo(a.dtype).nmant + 8, halve, ends)
    # the derivative of h*: two parabolas cross, or the vertex of one; conjugate eigenvalues have one parabola
    two = jnp.abs(fixed_b[i] - fixed_b[j]) > jnp.sqrt(jnp.finfo(b.dtype).eps) * fixed_b[i]
    formula = jnp.where(two, 2 * (a[i] - a[j]) / jnp.where(two, b[i] - b[j], 1), a[i] / b[i])
    h = (below + beyond) / 2 + formula - jax.lax.stop_gradient(formula)
    rate = jnp.abs(jax.lax.complex(1 - h * a[i], h * c[i]))
    return Damping(jnp.where(converges, h, 0), jnp.where(converges, rate, 1))


def _eigenvalues(jacobian: Array) -> Array:
    require_not_empty(jacobian=jacobian)
    return eigenvalues(jacobian)
