r"""How often a majority is right: independent votes, trees of majorities, correlated votes, one round of discussion.

Formula. Of $n$ votes on a question with two answers each is right with probability $p$. With $h = (n - 1)/2$,

$$
\begin{align*}
M_n(p) &= \Pr[\mathrm{Bin}(n, p) > n/2] = \frac{1}{2} + \frac{g_n}{2} \int_0^{2p - 1} (1 - t^2)^h\, dt, \qquad
g_n = \frac{n}{2^{n - 1}} \binom{n - 1}{h}
\end{align*}
$$

whose slope at $p = 1/2$ is $g_n \approx \sqrt{2n/\pi}$. A tree of $k$ layers with fan-in $b$ iterates $M_b$, so its slope is
$g_b^k$: each further layer costs a factor $2/\pi$ in effective votes. Votes that share a probability $\theta$ with the Beta
distribution of mean $\mu$ and intraclass correlation $\rho$ are right with

$$
\begin{align*}
A_n &= \mu + \sum_{j < h} D_j, \qquad D_0 = (2\mu - 1)\, \mu (1 - \mu) \frac{(1 - \rho)^2}{1 + \rho}, \qquad
\frac{D_{j}}{D_{j - 1}} = \frac{2 (2j + 1)}{j + 1}\, \frac{(\mu \bar\rho + j \rho)(\bar\mu \bar\rho + j \rho)}
{(1 + 2j \rho)(1 + (2j + 1) \rho)} \\
A_\infty &= \Pr[\theta > 1/2] = \frac{\mu N(\mu)}{\mu N(\mu) + \bar\mu N(\bar\mu)}, \qquad
N(\mu) = 1 + s \int_0^\infty \frac{e^{s (2\mu - 1) u}}{\cosh^s u} (1 - \tanh u)\, du
\end{align*}
$$

with $\bar\mu = 1 - \mu$, $\bar\rho = 1 - \rho$ and $s = \bar\rho/\rho$. In a round of discussion each of $m$ voters adds a
fresh vote of its own, $w$ times, to the sum $S$ of $n$ first votes ($\pm 1$):

$$
\sum_S \Pr[S]\, M_m(q_S), \qquad q_S = p\, \Theta(S + w) + (1 - p)\, \Theta(S - w), \qquad \Theta(0) = 1/2
$$

so that discussion only acts on near-ties, $|S| \le w$.

Regime. Exact for all numbers of votes. A tie is decided by a coin, which makes $n$ votes worth $n - 1$ where $n$ is even.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $n$, $m$ | `num_votes`, `num_voters` | any | first votes, and voters of the second layer |
| $b$, $k$ | `fan_in`, `num_layers` | any, int | votes under each majority of a tree, and its layers |
| $p$ | `competence` | any | probability that a vote is right |
| $\mu$, $\rho$ | `mean`, `correlation` | any | mean competence, correlation of two votes on one question |
| $w$ | `own_weight` | any | weight of its own vote that a voter of the second layer adds |

Factors. Votes are $\pm 1$ in $S$, 0 and 1 in $\mu$ and $\rho$. The Beta distribution has $A = \mu s$ and $B = \bar\mu s$.

Source. All derived here. The networks are those of Zhang et al., arXiv 2308.01862 (abstract and summaries read), who measure
agreement with human judges and not accuracy. $M_n$ is Condorcet's, the weights $\ln p/(1 - p)$ are textbook.

Finite size. None: absolute errors are a few roundings, times the slope $g_n$ of the majority. The terms of a discussion are
exponentials of logarithms as large as $n$: $n$ roundings.

Example. Nine voters hear nine others; it helps if they count their own opinion too, three times:

>>> from closedform.theory.discrete import voting
>>> [round(float(accuracy), 4) for accuracy in voting.discussion(9, 9, 0.6, [0, 3])]
[0.7334, 0.7916]
"""

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlog1py, xlogy
from jaxtyping import Array, Float, Int, Real

from ..numerics import exact, quadrature
from ..numerics.arguments import FINITE, ArrayLike, at_least, between, takes

Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together
Counts = Int[np.ndarray, "*#shape"]  # whole numbers that broadcast with them: static
SHARE = between(0, 1)


@takes(num_votes=at_least(1), competence=SHARE)
def majority(num_votes: Counts, competence: Numbers) -> Float[Array, "*#shape"]:
    """M_n(p), the probability that a majority of independent votes is right."""
    return _majority(*_broadcast(num_votes, competence))


@takes(num_layers=at_least(0), fan_in=at_least(1), competence=SHARE)
def tree_majority(num_layers: int, fan_in: Counts, competence: Numbers) -> Float[Array, "*#shape"]:
    """The probability that a tree of majorities is right, M_b(M_b(..)): b^k votes in k layers."""
    fan_in, competence = _broadcast(fan_in, competence)
    for _ in range(num_layers):
        competence = _majority(fan_in, competence)
    return competence


@takes(num_votes=at_least(1))
def slope(num_votes: Int[np.ndarray, "*shape"]) -> Float[Array, "*shape"]:
    """g_n, the slope of M_n at p = 1/2, to the last bit.

    >>> slope([1, 3, 9]).tolist()
    [1.0, 1.5, 2.4609375]
    """
    return jnp.asarray(_slopes(num_votes), float)


@takes(num_votes=at_least(1), mean=SHARE, correlation=SHARE)
def beta_binomial_majority(num_votes: Counts, mean: Numbers, correlation: Numbers) -> Float[Array, "*#shape"]:
    """A_n, the probability that a majority of exchangeable votes is right, under the Beta-binomial law."""
    num_votes, mean, rho = _broadcast(num_votes, mean, correlation)
    right, wrong, pairs = mean * (1 - rho), (1 - mean) * (1 - rho), _half(num_votes)

    def add(carry: tuple[Array, Array], j: Array) -> tuple[tuple[Array, Array], None]:
        total, term = carry
        k = (j + 1).astype(term.dtype)
        ratio = (right + k * rho) * (wrong + k * rho) / ((1 + 2 * k * rho) * (1 + (2 * k + 1) * rho))
        return (total + jnp.where(j < pairs, term, 0), term * ratio * 2 * (2 * k + 1) / (k + 1)), None

    # two further votes change the majority only if the others are one apart; all D_j have one sign, so nothing cancels
    start = jnp.zeros_like(mean), (2 * mean - 1) * mean * (1 - mean) * (1 - rho) ** 2 / (1 + rho)
    (total, _), _ = jax.lax.scan(add, start, jnp.arange(pairs.max(initial=0)))
    return mean + total


# The integral in N: u = width exp(tau - exp(-tau)) maps the half line to the real line, where the trapezoidal rule converges
# exponentially. At tau = -3.8 and 3.4 the integrand has fallen below 1e-17; steps of 0.1 leave rounding.
_TAU = np.arange(-38, 35) / 10
_U = exact.exp(_TAU - exact.exp(-_TAU))
_DU = 0.1 * _U * (1 + exact.exp(-_TAU))


@takes(mean=SHARE, correlation=SHARE)
def beta_binomial_limit(mean: Numbers, correlation: Numbers) -> Float[Array, "*#shape"]:
    """A_infinity, the accuracy of infinitely many votes; at correlation 0 (independent votes) it is a step at mean = 1/2."""
    mean, correlation = jnp.broadcast_arrays(mean, correlation)
    # the correlation that stands for 0: it makes the step 400 roundings of the mean wide, with exponents known to 0.1
    rho = jnp.maximum(correlation, (400 * jnp.finfo(mean.dtype).eps) ** 2)
    s, drift = ((1 - rho) / rho)[..., None], (2 * mean - 1)[..., None]
    width = 1 / jnp.sqrt(1 + s)  # the integrand is normal if s is large, and exponential if it is small
    u, du = width * _last(_U, mean), width * _last(_DU, mean)
    near = jnp.log1p(2 * jnp.sinh(jnp.minimum(u, 1) / 2) ** 2)
    log_cosh = jnp.where(u < 1, near, u - exact.log(2) + jnp.log1p(jnp.exp(-2 * u)))
    top = jnp.max(s * (jnp.abs(drift) * u - log_cosh), axis=-1, keepdims=True)
    top = jax.lax.stop_gradient(jnp.maximum(top, 0))  # for the sake of range: both masses are over exp(top)

    def mass(drift: Array) -> Array:
        integrand = jnp.exp(s * (drift * u - log_cosh) - top) * (1 - jnp.tanh(u))
        return jnp.sum(jnp.exp(-top), axis=-1) + jnp.sum(s * integrand * du, axis=-1)

    right, wrong = mean * mass(drift), (1 - mean) * mass(-drift)
    ratio = jnp.minimum(right, wrong) / jnp.maximum(right, wrong)  # its slope is 0 where one side has all the mass
    return jnp.where(right < wrong, ratio, 1) / (1 + ratio)


@takes(num_votes=at_least(1), num_voters=at_least(1), competence=SHARE, own_weight=at_least(0, finite=True))
def discussion(num_votes: int, num_voters: Counts, competence: Numbers, own_weight: Numbers) -> Float[Array, "*#shape"]:
    """The accuracy of voters who each add a fresh vote, `own_weight` times, to the votes that they have heard."""
    num_voters, competence, own_weight = _broadcast(num_voters, competence, own_weight)
    p, w = competence[..., None], own_weight[..., None]
    heard = _last(2 * np.arange(num_votes + 1) - num_votes, competence)  # S

    def theta(x: Array) -> Array:
        return (1 + jnp.sign(x)) / 2

    q = p * theta(heard + w) + (1 - p) * theta(heard - w)
    return jnp.sum(_binomial(num_votes, competence) * _majority(*_broadcast(num_voters[..., None], q)), axis=-1)


MOST_WEIGHTED = 20  # votes, of which all 2^20 outcomes are summed


@takes(competence=SHARE, weights=FINITE)
def weighted_majority(competence: Real[ArrayLike, "vote"], weights: Real[ArrayLike, "vote"]) -> Float[Array, ""]:
    """The accuracy of a weighted vote of unequal competences. Raises ValueError for more than 20 votes."""
    if len(weights) > MOST_WEIGHTED:
        raise ValueError(f"weights must be of at most {MOST_WEIGHTED} votes, got {len(weights)}")
    sums, probability = jnp.zeros(1, weights.dtype), jnp.ones(1, weights.dtype)
    for p, weight in zip(competence, weights, strict=True):
        sums = jnp.concatenate([sums + weight, sums - weight])
        probability = jnp.concatenate([probability * p, probability * (1 - p)])
    rounding = 2 * len(weights) * jnp.finfo(weights.dtype).eps * jnp.sum(jnp.abs(weights))
    return probability @ jnp.where(jnp.abs(sums) <= rounding, 0.5, (1 + jnp.sign(sums)) / 2)


@takes(competence=between(0, 1, low_open=True, high_open=True))
def best_weights(competence: Real[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """ln p/(1 - p): independent votes are right most often with these weights.

    >>> best_weights(0.5).tolist()
    0.0
    """
    return jnp.log(competence) - jnp.log1p(-competence)


def _half(num_votes: np.ndarray) -> np.ndarray:
    """h = (n - 1)/2; an even number of votes counts as one less, because a coin decides a tie."""
    return np.asarray((num_votes - 1) // 2)


def _slopes(num_votes: np.ndarray) -> np.ndarray:
    """g_n, from exact integers of any size."""
    halves, place = np.unique(_half(num_votes), return_inverse=True)
    slopes = [(2 * h + 1) * math.comb(2 * h, h) / 4**h for h in halves.tolist()]
    return np.asarray(np.array(slopes, float)[place]).reshape(num_votes.shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _majority(num_votes: np.ndarray, p: Array) -> Array:
    """The smaller of M and 1 - M is (g_n/2) int (1 - t^2)^h over |2p - 1| < t < 1: to a few roundings of itself."""
    half = _half(num_votes)
    half, slope = (jnp.asarray(part, p.dtype) for part in (half, _slopes(num_votes)))
    kept = jnp.exp(-39 / jnp.maximum(half, 1e-9))  # where (1 - t^2)^h has fallen by e^-39 = 1e-17, the integral is cut
    small, start = jnp.minimum(p, 1 - p), jnp.abs(2 * p - 1)
    square = 4 * p * (1 - p)  # 1 - t^2 at the start
    length = square * (1 - kept) / (jnp.sqrt(1 - square * kept) + start)
    # 32 nodes err by less than rounding on the bell (1 - t^2)^h, cut at 1e-17, for every h
    nodes, weights = quadrature.legendre(32)
    below = 2 * small[..., None] - length[..., None] * _last((nodes + 1) / 2, p)  # 1 - t
    tail = slope / 2 * length * jnp.sum(_last(weights, p) * _bell(1 - below, below * (2 - below), half[..., None]), axis=-1)
    return jnp.where(p < 0.5, tail, 1 - tail)


@_majority.defjvp
def _(num_votes: np.ndarray, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (p,), (tangent,) = primals, tangents
    half, slope = (jnp.asarray(part, p.dtype) for part in (_half(num_votes), _slopes(num_votes)))
    return _majority(num_votes, p), slope * _bell(2 * p - 1, 4 * p * (1 - p), half) * tangent


def _bell(t: Array, square: Array, half: Array) -> Array:
    """(1 - t^2)^h from t and 1 - t^2: near t = 0 only t is accurate enough for the power, near t = 1 only 1 - t^2."""
    inner = jnp.abs(t) < 0.5
    return jnp.where(inner, jnp.exp(half * jnp.log1p(-(jnp.where(inner, t, 0) ** 2))), jnp.where(inner, 1, square) ** half)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _binomial(num_votes: int, p: Array) -> Array:
    """The probabilities of 0 to n right votes, along a last axis."""
    ways = itertools.accumulate(range(num_votes), lambda ways, k: ways * (num_votes - k) // (k + 1), initial=1)
    log_ways = _last(np.array([exact.log(one) for one in ways]), p)
    right = _last(np.arange(num_votes + 1), p)
    return jnp.exp(log_ways + xlogy(right, p[..., None]) + xlog1py(num_votes - right, -p[..., None]))


@_binomial.defjvp
def _(num_votes: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """n [P_{n-1}(k - 1) - P_{n-1}(k)]: the slope of the formula itself is 0/0 at the ends."""
    (p,), (tangent,) = primals, tangents
    fewer = jnp.pad(_binomial(num_votes - 1, p), [(0, 0)] * p.ndim + [(1, 1)])
    return _binomial(num_votes, p), num_votes * (fewer[..., :-1] - fewer[..., 1:]) * tangent[..., None]


def _last(values: np.ndarray, like: Array) -> Array:
    """The values along a new last axis, after the axes of `like`, and of its dtype."""
    return jnp.asarray(values, like.dtype).reshape((1,) * like.ndim + (-1,))


def _broadcast(counts: np.ndarray, *numbers: Array) -> tuple[Any, ...]:
    """The counts, still a numpy array, and the numbers, broadcast to one shape."""
    shape = np.broadcast_shapes(counts.shape, *(one.shape for one in numbers))
    return np.broadcast_to(counts, shape), *(jnp.broadcast_to(one, shape) for one in numbers)
