r"""Monotone equilibrium networks: a unique fixed point whatever the norm of the weights, and how fast splittings reach it.

Formula. For $z = \sigma(W z + u)$ with an activation $\sigma$ that is a proximal operator, let $m > 0$ be the smallest
eigenvalue of the symmetric part of $I - W$ and $L = \|I - W\|_2$. With the step $\alpha$, two iterates of the forward-backward
iteration $z \leftarrow \sigma_\alpha((1 - \alpha) z + \alpha (W z + u))$ approach one another by the factor

$$
\| I - \alpha (I - W) \|_2 \le \sqrt{1 - 2 \alpha m + \alpha^2 L^2}
$$

which is least, $\sqrt{1 - m^2/L^2}$, at $\alpha = m/L^2$, and below 1 for $0 < \alpha < 2m/L^2$. Peaceman-Rachford's reflected
steps approach one another by the factor

$$
\| (I - \alpha (I - W)) (I + \alpha (I - W))^{-1} \|_2 \le
\sqrt{\frac{1 - 2 \alpha m + \alpha^2 L^2}{1 + 2 \alpha m + \alpha^2 L^2}}
$$

which is below 1 for every $\alpha > 0$ and least, $\sqrt{(L - m)/(L + m)}$, at $\alpha = 1/L$.

Regime. Bounds for every pair of iterates, not asymptotic; a given network may converge faster, and its rate is
`convergence_rates.damped_rate` of the Jacobian. The weights $W = (1 - m) I - A^\top A + B - B^\top$ have monotonicity at least
$m$ for all $A$ and $B$.

A function of one number is the proximal operator of some convex $g$, $\sigma(v)$ the $x$ at which $\frac12 (x - v)^2 + g(x)$
is least, if and only if it is nondecreasing and 1-Lipschitz: ReLU, the identity and tanh are, $|v|$ is not. For every such
$\sigma$, applied unit by unit, the network has exactly one state. The iterations above use $\sigma_\alpha$, the proximal
operator of $\alpha g$. It is $\sigma$ for every $\alpha$ if and only if $\sigma$ is a projection onto a closed convex set:
ReLU, the identity, clipping to an interval. tanh is the proximal operator of
$g(x) = x \operatorname{artanh} x + \frac12 \ln(1 - x^2) - \frac12 x^2$ and no projection: with tanh in place of
$\sigma_\alpha$ and $\alpha \ne 1$ both iterations converge by the same factors, to another state. The forward-backward bound
holds for every 1-Lipschitz function in place of $\sigma_\alpha$; that of Peaceman and Rachford needs $2 \sigma_\alpha(v) - v$
to be 1-Lipschitz too, which proximal operators ensure.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $W$ | `weights` | unit unit | of the equilibrium network |
| $m$ | `monotonicity` | any | strong monotonicity of $I - W$ |
| $L$ | `lipschitz` | any | spectral norm of $I - W$; at least $m$ |
| $\alpha$ | `step` | any | of the splitting |
| $\sigma$, $\sigma_\alpha$ | | | activation, and the proximal operator of $\alpha g$ if $\sigma$ is that of $g$ |

Factors. $m$ and $L$ are those of $I - W$, not of $W$.

Source. E. Winston, J. Z. Kolter, arXiv 2006.08591 (parametrisation and both splittings; recalled). E. Ryu, S. Boyd, "A primer
on monotone operator methods", 2016 (recalled) has the forward-backward bound; the bound for linear Peaceman-Rachford steps is
derived here. Which functions are proximal operators: P. Combettes, J.-C. Pesquet, "Deep neural network structures solved by
variational inequalities", 2020 (recalled); the condition for projections is derived here. The componentwise condition: L. El
Ghaoui et al., arXiv 1908.06315 (recalled).

Finite size. None.

Example. The best steps of both at $m = 1/2$, $L = 4$: Peaceman-Rachford needs far fewer iterations.

>>> from closedform.theory.equilibria import monotone_operators
>>> step = monotone_operators.best_step(0.5, 4.0)
>>> round(float(monotone_operators.forward_backward_contraction(step, 0.5, 4.0)), 4)
0.9922
>>> round(float(monotone_operators.peaceman_rachford_contraction(0.25, 0.5, 4.0)), 4)
0.8819
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import FINITE, ArrayLike, above, at_least, require_not_empty, require_together, takes
from ..numerics.linear import eigenvalues
from ..numerics.roots import square_root

Matrix = Real[ArrayLike, "unit unit"]
Numbers = Real[ArrayLike, "*#shape"]
STEP, POSITIVE = at_least(0, finite=True), above(0, finite=True)


@takes(weights=FINITE)
def monotonicity(weights: Matrix) -> Float[Array, ""]:
    """m, the smallest eigenvalue of the symmetric part of I - W: if it is positive there is exactly one fixed point.

    >>> float(monotonicity([[0.5, 3.0], [-3.0, 0.0]]))
    0.5
    """
    require_not_empty(weights=weights)
    rest = _rest(weights)
    return jnp.linalg.eigvalsh((rest + rest.T) / 2)[0]


@takes(weights=FINITE)
def lipschitz(weights: Matrix) -> Float[Array, ""]:
    """L, the spectral norm of I - W.

    >>> float(lipschitz([[-1.0, 0.0], [0.0, 0.5]]))
    2.0
    """
    require_not_empty(weights=weights)
    return jnp.linalg.norm(_rest(weights), ord=2)


@takes(step=STEP, monotonicity=POSITIVE, lipschitz=POSITIVE)
def forward_backward_contraction(step: Numbers, monotonicity: Numbers, lipschitz: Numbers) -> Float[Array, "*shape"]:
    """The bound of the factor per forward-backward step; above 1 beyond the largest stable step.

    >>> float(forward_backward_contraction(0.5, 1.0, 2.0)), float(forward_backward_contraction(0.25, 1.0, 1.0))
    (1.0, 0.75)
    """
    a, m, L = _checked(step, monotonicity, lipschitz)
    # (1 - a m)^2 + a^2 (L^2 - m^2), a sum of squares
    return square_root((1 - a * m) ** 2 + a**2 * (L - m) * (L + m))


@takes(monotonicity=POSITIVE, lipschitz=POSITIVE)
def best_step(monotonicity: Numbers, lipschitz: Numbers) -> Float[Array, "*shape"]:
    """m/L^2, the forward-backward step with the smallest bound.

    >>> float(best_step(1.0, 2.0))
    0.25
    """
    _, m, L = _checked(0 * monotonicity, monotonicity, lipschitz)
    return m / L / L


@takes(monotonicity=POSITIVE, lipschitz=POSITIVE)
def largest_stable_step(monotonicity: Numbers, lipschitz: Numbers) -> Float[Array, "*shape"]:
    """2m/L^2, below which the forward-backward iteration is sure to converge.

    >>> float(largest_stable_step(1.0, 2.0))
    0.5
    """
    return 2 * best_step(monotonicity, lipschitz)


@takes(step=STEP, monotonicity=POSITIVE, lipschitz=POSITIVE)
def peaceman_rachford_contraction(step: Numbers, monotonicity: Numbers, lipschitz: Numbers) -> Float[Array, "*shape"]:
    """The bound of the factor per step of Peaceman and Rachford; least at the step 1/L.

    >>> float(peaceman_rachford_contraction(1.0, 1.0, 1.0))
    0.0
    """
    a, m, L = _checked(step, monotonicity, lipschitz)
    below = (1 + a * m) ** 2 + a**2 * (L - m) * (L + m)
    return forward_backward_contraction(a, m, L) / jnp.sqrt(below)


@takes(weights=FINITE)
def componentwise_radius(weights: Matrix) -> Float[Array, ""]:
    """The spectral radius of |W| entry by entry: below 1, Picard's iteration converges for every 1-Lipschitz activation.

    >>> round(float(componentwise_radius([[0.0, 0.5], [-0.5, 0.0]])), 4)
    0.5
    """
    require_not_empty(weights=weights)
    # Perron and Frobenius: the eigenvalue of largest modulus is the one of largest real part
    return jnp.max(jnp.real(eigenvalues(jnp.abs(weights))))


def _rest(weights: Array) -> Array:
    return jnp.eye(len(weights), dtype=weights.dtype) - weights


def _checked(step: Array, m: Array, L: Array) -> tuple[Array, ...]:
    require_together("at most lipschitz", lambda m, L: m <= L * (1 + 1e-5), monotonicity=m, lipschitz=L)
    return tuple(jnp.broadcast_arrays(step, m, jnp.maximum(L, m)))
