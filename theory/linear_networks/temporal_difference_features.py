r"""Features learned by temporal differences: the subspaces at which they may end, and how fast they get there.

The value of every task is predicted by a linear head on shared features. The head solves its temporal-difference equation,
and the features follow the semi-gradient: the derivative of the squared error in the prediction, not in the bootstrapped
target.

Formula. In the coordinates $\tilde\Phi = \Xi^{1/2} \Phi$, $\tilde L = \Xi^{1/2} (I - \gamma P)\, \Xi^{-1/2}$, for tasks that
are isotropic in the weights, $\mathbb{E}\, g g^\top = \Xi^{-1}$, and $\tilde\Phi^\top \tilde\Phi = I$ (which the flow
keeps),

$$
\begin{align*}
w &= (\tilde\Phi^\top \tilde L \tilde\Phi)^{-1} \tilde\Phi^\top \tilde g \\
\frac{d \tilde\Phi}{dt} &= 2\, \mathbb{E}\, (\tilde g - \tilde L \tilde\Phi w)\, w^\top
= -2\, (I - \tilde\Phi \tilde\Phi^\top)\, \tilde L \tilde\Phi\, (A^\top A)^{-1}, \qquad A = \tilde\Phi^\top \tilde L \tilde\Phi
\end{align*}
$$

The flow rests exactly at the invariant subspaces of $P$, whatever the weights. Near one, with $\tilde L$ in block form
$L_{11}, L_{12}, 0, L_{22}$ in a basis of it and of its complement, the tangents $X$ of the angles obey

$$
\frac{dX}{dt} = -2\, (L_{22} X - X L_{11})\, (L_{11}^\top L_{11})^{-1}
$$

If $L_{11}$ is normal (one feature; a reversible chain) the rates are $2\, (l_b - l_a)/|l_a|^2$ over the eigenvalues
$l = 1 - \gamma \mu$ inside ($a$) and outside ($b$): the subspace is stable if and only if it belongs to the largest real
parts of $\mu$. If $L_{11}$ is not normal that need not be: there are chains of five states on which the three largest real
parts are unstable, by a little (found here). `rates` decides.

Monte-Carlo features (`successor`) order the singular values of $\Psi$ instead. For a reversible chain weighted by its
stationary distribution both subspaces are those of the largest eigenvalues; for a normal $\tilde P$ Monte Carlo orders its
eigenvalues by $1/|1 - \gamma \mu|$, temporal differences by $\operatorname{Re} \mu$.

Regime. None: exact for any chain for which $A$ is invertible on the way. It is on-policy, that is for the stationary
distribution as weights: then the symmetric part of $\tilde L$ is positive definite. Off-policy features can diverge.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $P$, $\gamma$ | `transition`, `discount` | `state state`, `()` | transition probabilities under the policy; discount |
| $\xi$ | `weights` | `state` | weights of states, the stationary distribution on-policy; 1 each if None |
| $\Phi$ | `features` | `state feature` | features, one state a row |
| $k$ | `num_features` | | number of features |
| $\mu$ | | | eigenvalues of $P$ |

Factors. The semi-gradient is that of the squared error without $\frac{1}{2}$, divided by the weight of the state as in
`successor`. Tasks with the identity as second moment are isotropic for weights that are all 1 alone.

Source. Derived here. C. Le Lan et al., "Bootstrapped Representations in Reinforcement Learning", ICML 2023 (abstract read; that
invariant subspaces are fixed points and the largest real parts stable is recalled, and holds here with the restriction above).

Finite size. None for the subspace and its rates: rounding. `flow` integrates by the classical Runge-Kutta method: its error
falls as the fourth power of the step.

Example. Two states that are left with unlike probabilities: the constant feature is stable, and the other eigenvector is not.

>>> from closedform.theory.linear_networks import temporal_difference_features as td
>>> P = [[0.5, 0.5], [0.25, 0.75]]
>>> [round(float(td.rates(P, 0.8, features)[0]), 3) for features in ([[1.0], [1.0]], [[2.0], [-1.0]])]
[30.0, -1.875]
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import FINITE, ArrayLike, at_least, known, takes
from ..numerics.linear import eigenvalues
from .successor import DISCOUNT, PROBABILITY, WEIGHTS, Matrix, Weights, require_stochastic

NEWTON_STEPS = 40  # of the matrix sign: more than 20 halve or double an eigenvalue up to 1e6 times its distance from the border


@takes(transition=PROBABILITY, weights=WEIGHTS, num_features=at_least(1))
def leading_subspace(transition: Matrix, num_features: int, weights: Weights = None) -> Float[Array, "state feature"]:
    """A basis of the invariant subspace of P that belongs to the k largest real parts; orthonormal in the weights.

    Right singular vectors of the spectral projection by the sign of the matrix P - c, with c between the real parts k and k
    + 1: P may be defective on either side. Raises ValueError for a k that would part a conjugate pair, or equal real parts,
    and for more features than states.

    >>> basis = leading_subspace([[0.5, 0.5], [0.25, 0.75]], 1)  # the constant, of length 1
    >>> [round(abs(float(entry)), 4) for entry in basis[:, 0]]
    [0.7071, 0.7071]
    """
    require_stochastic(transition)
    num_states = len(transition)
    if num_features > num_states:
        raise ValueError(f"num_features must be at most the {num_states} states, got {num_features}")
    P, roots = _weighted(transition, weights)
    if num_features == num_states:
        return jnp.diag(1 / roots)
    real = jnp.sort(jnp.real(eigenvalues(P)))[::-1]
    above, below = real[num_features - 1], real[num_features]
    if known(above) and not above - below > 8 * num_states * float(jnp.finfo(P.dtype).eps) ** 0.5 * jnp.max(jnp.abs(real)):
        raise ValueError(
            f"num_features must not part eigenvalues of one real part, got {num_features} with the real parts "
            f"{float(above):.6g} and {float(below):.6g}"
        )
    eye = jnp.eye(num_states, dtype=P.dtype)

    def newton(_: Array, S: Array) -> Array:
        inverse = jnp.linalg.solve(S, eye)
        size = jnp.sqrt(jnp.linalg.norm(inverse) / jnp.linalg.norm(S))  # 1 at the end: the scaling that norms suggest
        return (size * S + inverse / size) / 2

    sign = jax.lax.fori_loop(0, NEWTON_STEPS, newton, P - (above + below) / 2 * eye)
    basis = jnp.linalg.svd((eye + sign) / 2)[0][:, :num_features]
    return basis / roots[:, None]


@takes(transition=PROBABILITY, discount=DISCOUNT, features=FINITE, weights=WEIGHTS)
def rates(
    transition: Matrix, discount: Real[ArrayLike, ""], features: Real[ArrayLike, "state feature"], weights: Weights = None
) -> Float[Array, "rate"]:
    """Real parts, rising, of the rates at which angles to an invariant subspace decay; it is stable if all are above 0.

    One rate for each pair of a direction inside and one outside: k (N - k). `features` span the subspace; that it is invariant
    under P is not checked. For features orthonormal in the weights; of squared length c^2 they are rates times c^2.

    >>> round(float(rates([[0.5, 0.5], [0.5, 0.5]], 0.5, [[1.0], [1.0]])[0]), 4)  # 2 (1 - 0.5)/0.5^2
    4.0
    """
    require_stochastic(transition)
    L, roots = _generator(transition, discount, weights)
    count = features.shape[1]
    basis = jnp.linalg.qr(features * roots[:, None], mode="complete")[0]
    turned = basis.T @ L @ basis
    inside, outside = turned[:count, :count], turned[count:, count:]
    eye = jnp.eye(count, dtype=L.dtype)
    speed = jnp.linalg.solve(inside.T @ inside, eye)
    others = jnp.eye(len(outside), dtype=L.dtype)
    operator = 2 * (jnp.kron(outside, speed) - jnp.kron(others, (inside @ speed).T))
    return jnp.sort(jnp.real(eigenvalues(operator)))


@takes(
    time=at_least(0, finite=True),
    transition=PROBABILITY,
    discount=DISCOUNT,
    features=FINITE,
    weights=WEIGHTS,
    num_steps=at_least(1),
)
def flow(
    time: Real[ArrayLike, "*time"],
    transition: Matrix,
    discount: Real[ArrayLike, ""],
    features: Real[ArrayLike, "state feature"],
    weights: Weights = None,
    num_steps: int = 1000,
) -> Float[Array, "*time state feature"]:
    """The features at each time, from `features` at 0, by `num_steps` equal steps of the classical Runge-Kutta method.

    The method is stable for steps below about 2.8 over the largest rate, which for a reversible chain is at most 4/(1 -
    gamma)^2. The features need not be orthonormal: whatever Phi^T diag(xi) Phi is, the flow keeps it.
    """
    require_stochastic(transition)
    L, roots = _generator(transition, discount, weights)
    h = (time / num_steps)[..., None, None]
    start = jnp.broadcast_to(features * roots[:, None], (*time.shape, *features.shape))

    def velocity(phi: Array) -> Array:
        """2 (Phi - L Phi A^-1 Phi^T Phi) A^-T: it keeps Phi^T Phi, whatever that is, so that rounding does not grow in it."""
        across = jnp.swapaxes(phi, -1, -2)
        moved = L @ phi
        A = across @ moved
        rest = phi - moved @ jnp.linalg.solve(A, across @ phi)
        return 2 * jnp.swapaxes(jnp.linalg.solve(A, jnp.swapaxes(rest, -1, -2)), -1, -2)

    share, count = jnp.asarray([0.0, 0.5, 0.5, 1.0], L.dtype), jnp.asarray([1.0, 2.0, 2.0, 1.0], L.dtype)

    def advance(_: Array, phi: Array) -> Array:
        def stage(i: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
            last, total = found
            slope = velocity(phi + share[i] * h * last)
            return slope, total + count[i] * slope

        nothing = jnp.zeros_like(phi)
        return phi + h / 6 * jax.lax.fori_loop(0, 4, stage, (nothing, nothing))[1]

    return jnp.einsum("s,...sk->...sk", 1 / roots, jax.lax.fori_loop(0, num_steps, advance, start))


def _weighted(transition: Array, weights: Array | None) -> tuple[Float[Array, "state state"], Float[Array, "state"]]:
    """diag(xi)^(1/2) P diag(xi)^(-1/2), and the roots of the weights."""
    roots = jnp.ones(len(transition), transition.dtype) if weights is None else jnp.sqrt(weights)
    return roots[:, None] * transition / roots[None], roots


def _generator(
    transition: Array, discount: Array, weights: Array | None
) -> tuple[Float[Array, "state state"], Float[Array, "state"]]:
    """1 - gamma P in the coordinates of the weights, and their roots."""
    P, roots = _weighted(transition, weights)
    return jnp.eye(len(P), dtype=P.dtype) - discount * P, roots
