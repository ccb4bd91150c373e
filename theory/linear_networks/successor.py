r"""Features that predict the values of random auxiliary tasks: the best ones, how they are learned, and what they are worth.

An auxiliary task is a random reward for each state, its cumulant. Features are linear in nothing but their own table: a
state has a row of $\Phi$, and every task has a linear head of its own.

Formula. With the successor matrix $\Psi$, tasks of second moment $G$ and state weights $\Xi = \operatorname{diag}(\xi)$,

$$
\begin{align*}
\Psi &= (I - \gamma P)^{-1}, \qquad L(\Phi) = \mathbb{E}_g \min_w \| \Phi w - \Psi g \|_\xi^2 \\
M &= \Xi^{1/2} \Psi G \Psi^\top \Xi^{1/2} = U \operatorname{diag}(s^2)\, U^\top, \qquad
\Phi_* = \Xi^{-1/2} U_{1..k}, \qquad L(\Phi_*) = \sum_{i > k} s_i^2
\end{align*}
$$

For indicators of random sets, in which each state is with probability $p$, $G = p (1 - p) I + p^2\, 1 1^\top$. Gradient flow
$\dot\Phi = -\Xi^{-1} \partial L/\partial \Phi$ from $\Phi^\top \Xi \Phi = c^2 I$ keeps that product, and spans

$$
\Xi^{1/2} \Phi(t) \sim U \begin{pmatrix} I \\ X(t) \end{pmatrix}, \qquad
X_{ji}(t) = X_{ji}(0)\, e^{-2 (s_i^2 - s_j^2)\, t/c^2}
$$

With the empirical moment of $T$ independent tasks in place of $G$, the distance $\sum \sin^2$ of the $k$ principal angles
from the subspace of $G$ is on average

$$
\mathbb{E}\, d = \frac{C}{T} + O(T^{-2}), \qquad
C = \sum_{i \le k < j} \frac{\operatorname{Var}(a_i a_j)}{(s_i^2 - s_j^2)^2}, \qquad a_i = u_i^\top \Xi^{1/2} \Psi g
$$

and $\operatorname{Var}(a_i a_j) = s_i^2 s_j^2$ if $g$ is Gaussian of mean 0. Stochastic gradient descent on $B$ fresh tasks a
step, with the step size $\eta$, orthonormal features and small angles, ends at

$$
\mathbb{E}\, d = \frac{\eta}{B} \sum_{i \le k < j} \frac{\operatorname{Var}(a_i a_j)}{(s_i^2 - s_j^2)(1 - \eta (s_i^2 - s_j^2))}
$$

Regime. `optimal_features`, the errors and the flow are exact. `sampling_constant` is the first order in $1/T$: it needs
$C/T \ll 1$. `descent_distance` is the first order in $\eta/B$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $P$, $\gamma$ | `transition`, `discount` | `state state`, `()` | transition probabilities, one state a row; discount |
| $\Psi$ | `successor` | `state state` | discounted expected visits |
| $G$ | `moment` | `state state` | $\mathbb{E}\, g g^\top$ over tasks |
| $\xi$ | `weights` | `state` | weights of states in the loss; 1 each if None |
| $\Phi$ | `features` | `state feature` | features, one state a row |
| $s_i$ | `singular_values` | `state` | of $\Xi^{1/2} \Psi G^{1/2}$, falling |
| $k$, $T$, $B$ | `num_features`, `num_tasks`, `batch_size` | | numbers of features, of tasks, of tasks a step |
| $\eta$ | `learning_rate` | `()` | step size |
| $c^2$ | | | squared length of each feature, in the weights |

Factors. The loss has no $\frac{1}{2}$: with it all rates halve. Features twice as long learn at a quarter of the rate.
Weights need not sum to 1; without weights the loss is a sum over states, and for a symmetric $P$ and $G = I$ the features
are eigenvectors of $P$ (proto-value functions) and $s_i = 1/(1 - \gamma \mu_i)$. With weights the flow is that of the table
divided by $\xi$, state by state: each state then learns at one speed, however often it is visited.

Source. J. Farebrother et al., "Proto-Value Networks: Scaling Representation Learning with Auxiliary Tasks", arXiv 2304.12567
(number recalled): the tasks. The optimum is the theorem of Eckart and Young. The flow, $C$ and the noise of descent are derived
here.

Finite size. None for the exact functions: rounding. Singular values below $10^{-8}$ of the largest are rounding in float64.

Example. Three states in a ring, one of them slow to be left. The constant feature alone explains nearly all values:

>>> from closedform.theory.linear_networks import successor
>>> psi = successor.successor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]], 0.9)
>>> s = successor.singular_values(psi, successor.indicator_moment(0.5, 3))
>>> [round(float(e), 3) for e in successor.policy_evaluation_error(s, [0, 1, 2, 3])]
[102.947, 0.284, 0.092, 0.0]
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from ...documented import documented
from ..numerics.arguments import (
    FINITE,
    ArrayLike,
    above,
    at_least,
    between,
    each,
    known,
    require_not_empty,
    takes,
)
from ..numerics.exponentials import bounded
from ..numerics.roots import square_root
from ..numerics.symmetric import require_kernel

PROBABILITY = at_least(0, finite=True)
DISCOUNT = between(0, 1, high_open=True)
WEIGHTS = above(0, finite=True)
Matrix = Real[ArrayLike, "state state"]
Weights = Real[ArrayLike, "state"] | None


@takes(transition=PROBABILITY, discount=DISCOUNT)
def successor(transition: Matrix, discount: Real[ArrayLike, ""]) -> Float[Array, "state state"]:
    """Psi = (I - gamma P)^-1, the discounted expected visits of every state (column) from every state (row).

    Raises ValueError for rows that do not sum to 1.

    >>> successor([[0.5, 0.5], [0.5, 0.5]], 0.5).tolist()
    [[1.5, 0.5], [0.5, 1.5]]
    """
    require_stochastic(transition)
    eye = jnp.eye(len(transition), dtype=transition.dtype)
    return jnp.linalg.solve(eye - discount * transition, eye)


def require_stochastic(transition: Float[Array, "state state"]) -> None:
    """Raises ValueError for a known matrix that is empty, or whose rows do not sum to 1."""
    require_not_empty(transition=transition)
    if known(transition):
        rows = np.sum(np.asarray(transition), axis=1)
        wrong = np.abs(rows - 1) > float(np.finfo(rows.dtype).eps) ** 0.5
        if np.any(wrong):
            row = int(np.argmax(wrong))
            raise ValueError(f"transition must have rows that sum to 1, got the sum {float(rows[row])} in row {row}")


# ----------------------------------------------------------------------------------------------------------------- tasks


@documented
class Cumulants(NamedTuple):
    """Moments of the reward of one state, where those of different states are independent and distributed alike.

    Gaussian tasks of variance 1 are `Cumulants(0.0, 1.0, 0.0, 0.0)`.
    """

    mean: Float[Array, ""]
    variance: Float[Array, ""]
    third: Float[Array, ""]  # cumulant, E (g - mean)^3
    fourth: Float[Array, ""]  # cumulant, E (g - mean)^4 - 3 variance^2


@takes(probability=between(0, 1))
def indicator_cumulants(probability: Real[ArrayLike, ""]) -> Cumulants:
    """Of the indicator of a random set in which each state is with this probability, independently.

    >>> [float(value) for value in indicator_cumulants(0.5)]
    [0.5, 0.25, 0.0, -0.125]
    """
    variance = probability * (1 - probability)
    return Cumulants(probability, variance, variance * (1 - 2 * probability), variance * (1 - 6 * variance))


@takes(probability=between(0, 1), num_states=at_least(1))
def indicator_moment(probability: Real[ArrayLike, ""], num_states: int) -> Float[Array, "state state"]:
    """G = p (1 - p) I + p^2 11^T of indicators of random sets, exactly.

    >>> indicator_moment(0.5, 2).tolist()
    [[0.5, 0.25], [0.25, 0.5]]
    """
    return _moment(indicator_cumulants(probability), num_states)


def _moment(cumulants: Cumulants, num_states: int) -> Float[Array, "state state"]:
    return cumulants.variance * jnp.eye(num_states, dtype=cumulants.mean.dtype) + cumulants.mean**2


# ------------------------------------------------------------------------------------------------------------- best features


@takes(successor=FINITE, moment=FINITE, weights=WEIGHTS, num_features=at_least(1))
def optimal_features(
    successor: Matrix, moment: Matrix, num_features: int, weights: Weights = None
) -> Float[Array, "state feature"]:
    """The features of least loss, by falling singular value; orthonormal in the weights, Phi^T diag(xi) Phi = I.

    The span is unique where s_k > s_(k+1), a feature where its singular value is single. Of a feature and its negative the
    one is returned whose first entry within 0.1 % of the largest modulus is positive, in the coordinates diag(xi)^(1/2) Phi.
    There is no derivative where singular values repeat. Raises ValueError for more features than states.
    """
    _require_features(num_features, len(successor))
    _, vectors = _modes(successor, moment, weights)
    chosen = vectors[:, :num_features]
    size = jnp.abs(chosen)
    place = jnp.argmax(size >= 0.999 * jnp.max(size, axis=0, keepdims=True), axis=0)
    signs = jnp.where(jnp.take_along_axis(chosen, place[None], axis=0) < 0, -1, 1)
    return chosen * signs / _roots(weights, successor)[:, None]


@takes(successor=FINITE, moment=FINITE, weights=WEIGHTS)
def singular_values(successor: Matrix, moment: Matrix, weights: Weights = None) -> Float[Array, "state"]:
    """s of diag(xi)^(1/2) Psi G^(1/2), falling. Raises ValueError for a moment that is no such matrix.

    >>> singular_values([[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]).tolist()
    [2.0, 1.0]
    """
    squares = jnp.linalg.eigvalsh(_value_moment(successor, moment, weights))[::-1]
    return square_root(jnp.maximum(squares, 0))


@takes(singular_values=at_least(0, finite=True), num_features=at_least(0))
def policy_evaluation_error(
    singular_values: Real[ArrayLike, "mode"], num_features: Int[np.ndarray, "*count"]
) -> Float[Array, "*count"]:
    """The mean squared error of values under the best k features, sum_(i>k) s_i^2, for each number of features.

    Tasks are those of the singular values, or rewards of the same second moment. From as many features as modes on it is 0.

    >>> policy_evaluation_error([3.0, 2.0, 1.0], [0, 1, 3]).tolist()
    [14.0, 5.0, 0.0]
    """
    squares = jnp.sort(singular_values)[::-1] ** 2
    left = jnp.append(jnp.cumsum(squares[::-1])[::-1], jnp.zeros(1, squares.dtype))  # smallest first: no cancellation
    return left[np.minimum(num_features, len(squares))]


@takes(features=FINITE, successor=FINITE, moment=FINITE, weights=WEIGHTS)
def evaluation_error(
    features: Real[ArrayLike, "state feature"], successor: Matrix, moment: Matrix, weights: Weights = None
) -> Float[Array, ""]:
    """L(Phi) = tr (1 - Pi) M, the mean squared error of values under any features, by the best head of every task.

    Features may be linearly dependent.
    """
    rest = _complement(features, weights)
    return jnp.sum((rest @ _value_moment(successor, moment, weights)) * rest)


@takes(features=FINITE, other=FINITE, weights=WEIGHTS)
def subspace_distance(
    features: Real[ArrayLike, "*shape state feature"],
    other: Real[ArrayLike, "state other_feature"],
    weights: Weights = None,
) -> Float[Array, "*shape"]:
    """|(1 - Pi_other) Pi|_F^2 of the projections, orthogonal in the weights: the sum of sin^2 of the principal angles.

    Of two subspaces of dimension k it is k - |U^T V|_F^2 of orthonormal bases, from 0 to k, without the cancellation. If the
    features have more dimensions than the other ones, each one too many counts 1.

    >>> float(subspace_distance([[1.0], [0.0]], [[3.0], [3.0]]).round(6))
    0.5
    """
    scaled = jnp.einsum("s,...sk->...sk", _roots(weights, features), features)
    projection = scaled @ jnp.linalg.pinv(scaled)
    return jnp.sum((_complement(other, weights) @ projection) ** 2, axis=(-2, -1))


# -------------------------------------------------------------------------------------------------------------- learned ones


@takes(time=at_least(0), successor=FINITE, moment=FINITE, features=FINITE, weights=WEIGHTS)
def monte_carlo_flow(
    time: Real[ArrayLike, "*time"],
    successor: Matrix,
    moment: Matrix,
    features: Real[ArrayLike, "state feature"],
    weights: Weights = None,
) -> Float[Array, "*time state feature"]:
    """Features that span what gradient flow from `features` spans at each time; t = inf is the end.

    The basis is orthonormal in the weights, and not the flow's own. The start must have a part along each of the k leading
    directions that no other feature has (all but a null set of starts have), otherwise the result is not finite. Raises
    ValueError for a start whose features are not orthogonal and equally long in the weights.
    """
    roots = _roots(weights, successor)
    scaled = features * roots[:, None]
    gram = scaled.T @ scaled
    count = len(gram)
    _require_features(count, len(successor))
    square = jnp.trace(gram) / count  # c^2
    if known(gram):
        error = jnp.max(jnp.abs(gram - square * jnp.eye(count, dtype=gram.dtype)))
        if not (square > 0 and error <= float(jnp.finfo(gram.dtype).eps) ** 0.5 * square):
            raise ValueError(
                "features must be orthogonal and equally long in the weights, for their flow to have a closed form"
            )
    squares, vectors = _modes(successor, moment, weights)
    start = vectors.T @ scaled
    tangents = jnp.linalg.solve(start[:count].T, start[count:].T).T  # X(0), by direction outside and direction inside
    rates = 2 * (squares[None, :count] - squares[count:, None]) / square
    before = tuple(range(time.ndim))
    exponents = jnp.expand_dims(-rates, before) * bounded(time)[..., None, None]
    X = jnp.expand_dims(tangents, before) * jnp.exp(exponents)
    eye = jnp.broadcast_to(jnp.eye(count, dtype=X.dtype), (*time.shape, count, count))
    factor = jnp.linalg.cholesky(eye + jnp.swapaxes(X, -1, -2) @ X)
    spanned = (vectors / roots[:, None]) @ jnp.concatenate([eye, X], axis=-2)
    return jnp.swapaxes(jnp.linalg.solve(factor, jnp.swapaxes(spanned, -1, -2)), -1, -2)


ENTRY = each(Cumulants, FINITE, at_least(0, finite=True), FINITE, FINITE)


@takes(successor=FINITE, cumulants=ENTRY, weights=WEIGHTS, num_features=at_least(1))
def sampling_constant(successor: Matrix, cumulants: Cumulants, num_features: int, weights: Weights = None) -> Float[Array, ""]:
    """C, with E d = C/T for the best features of T sampled tasks; infinite where s_k = s_(k+1).

    The mean of the cumulants counts: the second moment of the tasks is about 0. Raises ValueError for more features than
    states.
    """
    _require_features(num_features, len(successor))
    gaps, variances = _noise(successor, cumulants, num_features, weights)
    return jnp.sum(jnp.where(gaps > 0, variances / jnp.where(gaps > 0, gaps, 1) ** 2, jnp.inf))


@takes(
    learning_rate=at_least(0, finite=True),
    batch_size=above(0, finite=True),
    successor=FINITE,
    cumulants=ENTRY,
    weights=WEIGHTS,
    num_features=at_least(1),
)
def descent_distance(
    learning_rate: Real[ArrayLike, ""],
    batch_size: Real[ArrayLike, ""],
    successor: Matrix,
    cumulants: Cumulants,
    num_features: int,
    weights: Weights = None,
) -> Float[Array, ""]:
    """The mean distance at which stochastic gradient descent with orthonormal features ends, to first order in eta/B.

    Infinite where a direction is not stable, eta (s_i^2 - s_j^2) >= 1, or has no restoring force. Raises ValueError for more
    features than states.
    """
    _require_features(num_features, len(successor))
    gaps, variances = _noise(successor, cumulants, num_features, weights)
    restored = gaps * (1 - learning_rate * gaps)
    ended = jnp.where(restored > 0, variances / jnp.where(restored > 0, restored, 1), jnp.inf)
    return jnp.where(learning_rate > 0, learning_rate / batch_size * jnp.sum(ended), 0)


def _noise(
    successor: Array, cumulants: Cumulants, num_features: int, weights: Array | None
) -> tuple[Float[Array, "inside outside"], Float[Array, "inside outside"]]:
    """s_i^2 - s_j^2 and Var(a_i a_j) of each direction i inside and j outside the best subspace."""
    mean, variance, third, fourth = cumulants
    squares, vectors = _modes(successor, _moment(cumulants, len(successor)), weights)
    loads = successor.T @ (vectors * _roots(weights, successor)[:, None])  # a_i = sum_s loads[s, i] g_s
    inside, outside = loads[:, :num_features], loads[:, num_features:]
    m, n = mean * jnp.sum(inside, axis=0)[:, None], mean * jnp.sum(outside, axis=0)[None]
    p, q = variance * jnp.sum(inside**2, axis=0)[:, None], variance * jnp.sum(outside**2, axis=0)[None]
    both = variance * inside.T @ outside  # covariance of a_i and a_j; m n + both = 0 by the choice of directions
    skew = third * (m * (inside.T @ outside**2) + n * ((inside**2).T @ outside))
    heavy = fourth * (inside**2).T @ outside**2
    # E (m + x)^2 (n + y)^2 - (m n + both)^2, of centred x and y with these moments
    found = m**2 * q + n**2 * p + p * q + both**2 + 2 * m * n * both + 2 * skew + heavy
    return squares[:num_features, None] - squares[None, num_features:], jnp.maximum(found, 0)


# ---------------------------------------------------------------------------------------------------------------------- parts


def _roots(weights: Array | None, like: Array) -> Float[Array, "state"]:
    return jnp.ones(like.shape[-2], like.dtype) if weights is None else jnp.sqrt(weights)


def _value_moment(successor: Array, moment: Array, weights: Array | None) -> Float[Array, "state state"]:
    """M, the second moment of the values of tasks, each times the root of the weight of its state."""
    require_not_empty(successor=successor)
    require_kernel(moment, "moment")
    scaled = successor * _roots(weights, successor)[:, None]
    M = scaled @ moment @ scaled.T
    return (M + M.T) / 2


def _modes(successor: Array, moment: Array, weights: Array | None) -> tuple[Float[Array, "mode"], Float[Array, "state mode"]]:
    """s^2, falling, and the directions U."""
    squares, vectors = jnp.linalg.eigh(_value_moment(successor, moment, weights))
    return squares[::-1], vectors[:, ::-1]


def _complement(features: Array, weights: Array | None) -> Float[Array, "state state"]:
    """1 - Pi, in the coordinates diag(xi)^(1/2) Phi."""
    scaled = features * _roots(weights, features)[:, None]
    return jnp.eye(len(scaled), dtype=scaled.dtype) - scaled @ jnp.linalg.pinv(scaled)


def _require_features(count: int, num_states: int) -> None:
    if count > num_states:
        raise ValueError(f"num_features must be at most the {num_states} states, got {count}")
