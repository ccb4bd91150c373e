r"""The leap of a sum of products of coordinates, and the flow of one unit that learns the products on the cube, one by one.

Formula. The leap of a set of products of coordinates is the least $l$ for which they can be put in an order such that each adds
at most $l$ new coordinates (on the cube), or new coordinates of total degree at most $l$ (Hermite products). Online SGD is
conjectured to need $d^{\max(l - 1, 1)}$ samples, up to logarithms.

On the cube $x \in \{-1, 1\}^d$ a unit $g(w \cdot x)$ on the sphere learns $y = \sum_{S} \prod_{i \in S} x_i$, of few
coordinates, by $w \leftarrow (w + \eta\, y\, g'(w \cdot x)\, x)/|\cdot|$. With its weights $m_i = w_i$ on them, the field is
$v = \sum_i m_i x_i + \sqrt{1 - |m|^2}\, z$, $z$ standard normal, and in the time $\tau = \eta\, \text{steps}$

$$
\frac{dm_i}{d\tau} = \mathbb{E}\, y\, g'(v)\, (x_i - m_i v) - \frac{\eta d}{2}\, V(m)\, m_i, \qquad
V(m) = \mathbb{E}\, y^2 g'(v)^2
$$

The staircase $x_1 + x_1 x_2 + x_1 x_2 x_3$ has leap 1: $m_1$ grows at once, then $m_2$ in proportion to it, then $m_3$. The
product $x_1 x_2 x_3$ alone has leap 3, and $\dot m_i \propto m_j m_k$ takes a time of $1/m$.

Regime. $d \to \infty$ with weights spread over all other coordinates, so that their part of the field is Gaussian; leading
order in $\eta$, with $\eta d$ fixed.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $S$ | `monomials` | | sets of coordinates, which are counted from 0 where a flow has them |
| $m$ | `overlaps`, `initial` | coordinate | weights of the unit vector $w$ on the coordinates 0, 1, ... |
| $g$ | `student` | term | Hermite coefficients $c_0, c_1, \dots$ |
| $\tau$ | `time` | any | learning rate times steps |
| $\eta d$ | `noise` | () | learning rate times dimension; 0 leaves the noise out |

Factors. Hermite polynomials are orthonormal. On the cube $|x|^2 = d$ exactly.

Source. E. Abbe et al., arXiv 2202.08658, arXiv 2302.11055 (leap and staircase; recalled). The flow of one unit is derived here.

Finite size. The rest of the field differs from a Gaussian by $\sum_i w_i^4 \sim 1/d$.

Example. From weights of 0.1 the staircase moves its first weight at once, and the last product alone moves hardly:

>>> from closedform.theory.feature_learning import staircase
>>> start, student = [0.1, 0.1, 0.1], [0.0, 1.0, 1.0, 1.0]
>>> for monomials in ([[0], [0, 1], [0, 1, 2]], [[0, 1, 2]]):
...     print([round(float(rate), 2) for rate in staircase.cube_velocity(start, monomials, student)])
[1.13, 0.15, 0.01]
[0.02, 0.02, 0.02]
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ..numerics import quadrature
from ..numerics.arguments import FINITE, ArrayLike, at_least, between, takes
from ._flow import flow
from ._series import series, slope

Overlaps = Real[ArrayLike, "coordinate"]
Link = Real[ArrayLike, "term"]
_OVERLAP = between(-1, 1)
_MOST = 12  # coordinates, whose 2^12 signs are listed


def leap(monomials: Iterable[Collection[int]]) -> int:
    """The leap of products of coordinates of the cube, each given as the set of its coordinates.

    The empty product (a constant) costs nothing. Raises ValueError for a coordinate that a product holds twice.

    >>> leap([{1}, {1, 2}, {1, 2, 3}]), leap([{1, 2, 3}])
    (1, 3)
    """
    products = [tuple(product) for product in monomials]
    for product in products:
        if len(set(product)) != len(product):
            raise ValueError(f"monomials must hold each coordinate once, got {product}")
    return hermite_leap([dict.fromkeys(product, 1) for product in products])


def hermite_leap(monomials: Iterable[Mapping[int, int]]) -> int:
    """The leap of products of Hermite polynomials, each given as {coordinate: degree}, in these coordinates.

    Where a rotation of the coordinates leaves the law of the inputs as it is, the leap is the largest over all rotations.
    Raises ValueError for a degree that is not a whole number of at least 1.

    >>> hermite_leap([{1: 3}]), hermite_leap([{1: 1}, {1: 1, 2: 2}])
    (3, 2)
    """
    left = [dict(product) for product in monomials]
    for product in left:
        if any(not isinstance(degree, int) or degree < 1 for degree in product.values()):
            raise ValueError(f"degrees must be whole numbers of at least 1, got {product}")
    known_ones: set[int] = set()
    found = 0
    while left:
        # With a larger leap allowed everything that was reached is reached again: adding the cheapest first is never worse.
        costs = [sum(degree for coordinate, degree in product.items() if coordinate not in known_ones) for product in left]
        cheapest = min(range(len(left)), key=costs.__getitem__)
        found = max(found, costs[cheapest])
        known_ones |= left.pop(cheapest).keys()
    return found


@takes(overlaps=_OVERLAP, student=FINITE)
def cube_correlations(overlaps: Overlaps, monomials: Sequence[Collection[int]], student: Link) -> Float[Array, "monomial"]:
    """E g(v) prod_{i in S} x_i of each product S: how much of it the unit has learned.

    >>> student = [0, 0, 0, 1]
    >>> round(float(cube_correlations([0.5, 0.5, 0.5], [[0, 1, 2]], student)[0]), 4)  # sqrt(6) m_1 m_2 m_3
    0.3062
    """
    signs, field, weights = _fields(overlaps, monomials, student)
    outputs = jnp.sum(weights[None] * series(field, student), axis=1)
    return jnp.asarray(_products(signs, monomials), outputs.dtype).T @ outputs / len(signs)


@takes(overlaps=_OVERLAP, student=FINITE, noise=at_least(0, finite=True))
def cube_velocity(
    overlaps: Overlaps, monomials: Sequence[Collection[int]], student: Link, noise: Real[ArrayLike, ""] = 0.0
) -> Float[Array, "coordinate"]:
    """dm/dtau on the cube; `noise` is eta d, 0 for the drift alone.

    Raises ValueError for a product with a coordinate that is twice there or that `overlaps` has not.

    >>> cube_velocity([0.0, 0.0], [[0], [0, 1]], [0, 1, 1]).tolist()
    [1.0, 0.0]
    """
    signs, field, weights = _fields(overlaps, monomials, student)
    y = jnp.asarray(_products(signs, monomials).sum(axis=1), field.dtype)
    slopes = slope(field, student)
    along, inward = jnp.sum(weights[None] * slopes, axis=1), jnp.sum(weights[None] * slopes * field, axis=1)
    kicks = jnp.mean(y**2 * jnp.sum(weights[None] * slopes**2, axis=1))
    x = jnp.asarray(signs, field.dtype)
    return (y * along) @ x / len(signs) - overlaps * (jnp.mean(y * inward) + noise / 2 * kicks)


@takes(time=at_least(0, finite=True), initial=_OVERLAP, student=FINITE, noise=at_least(0, finite=True))
def cube_flow(
    time: Real[ArrayLike, "*time"],
    initial: Overlaps,
    monomials: Sequence[Collection[int]],
    student: Link,
    noise: Real[ArrayLike, ""] = 0.0,
) -> Float[Array, "*time coordinate"]:
    """m at each time tau, in any order, from `initial`; `noise` is eta d, 0 for the drift alone.

    Integrated to errors of 1e-9 (float32: 1e-5). Raises ValueError where `cube_velocity` does.
    """

    def velocity(m: Float[Array, "coordinate"]) -> Float[Array, "coordinate"]:
        return cube_velocity(jnp.clip(m, -1, 1), monomials, student, noise)

    return flow(velocity, time.ravel(), initial).reshape(*time.shape, *initial.shape)


def _fields(overlaps: Array, monomials: Sequence[Collection[int]], student: Array) -> tuple[np.ndarray, Array, Array]:
    """All signs of the coordinates, the field for each of them and each node of its Gaussian part, and weights of the nodes."""
    count = len(overlaps)
    if not 1 <= count <= _MOST:
        raise ValueError(f"overlaps must be of 1 to {_MOST} coordinates, got {count}")
    for product in monomials:
        if len(set(product)) != len(product) or not all(0 <= one < count for one in product):
            raise ValueError(f"monomials must hold different coordinates from 0 to {count - 1}, got {tuple(product)}")
    signs = 2.0 * (np.arange(2**count)[:, None] >> np.arange(count)[None] & 1) - 1
    # exact for squares of the slope, of degree 2 (terms - 2), and for products of the field and the slope
    nodes, weights = (jnp.asarray(part, overlaps.dtype) for part in quadrature.hermite(len(student) + 1))
    spread = jnp.sqrt(jnp.maximum(1 - jnp.sum(overlaps**2), 0))
    return signs, (jnp.asarray(signs, overlaps.dtype) @ overlaps)[:, None] + spread * nodes[None], weights


def _products(signs: np.ndarray, monomials: Sequence[Collection[int]]) -> np.ndarray:
    """Of each product of coordinates, a column."""
    columns = [np.prod(signs[:, sorted(product)], axis=1) for product in monomials]
    return np.stack(columns, axis=1) if columns else np.zeros((len(signs), 0))
