r"""Attacks on a two-layer network: inputs moved in an l_inf box so that the margin y f falls.

| attack | new point | steps |
|---|---|---|
| `fgsm` | $x - r \operatorname{sign}(y \nabla f(x))$ | one, to a corner of the box |
| `pgd` | $x \leftarrow$ the box's nearest point to $x - \text{step} \; r \operatorname{sign}(y \nabla f(x))$ | many |

with $r$ the radius of the box along each input (0: this input is not attacked). Every loss that falls with the margin has a
gradient of this sign, except that a hinge has no gradient beyond a margin of 1: there an attack on the loss would not move, and
an attack on the margin does. Where no activation changes in the box, $f$ is linear there and one step of either attack reaches
the worst case; elsewhere both give a lower bound of the worst case.

The box is not cut to the range of the data, $[0, 1]$ for pixels, unless `within` asks for it: the worst case of
`solvers.robust` is over the whole box.

Source: FGSM: Goodfellow, Shlens and Szegedy, arXiv 1412.6572; PGD: Madry et al., arXiv 1706.06083 (both recalled).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Real

from ..models.fully_connected import two_layer
from ..theory.numerics.arguments import FINITE, ArrayLike, above, at_least, one_of, takes

Points = Real[ArrayLike, "sample dim"]
Labels = Real[ArrayLike, "sample"]
Radius = Real[ArrayLike, "..."]  # one number, or one for each input
_DATA: dict[str, Any] = dict(x=FINITE, y=one_of(-1, 1))
Range = tuple[float | int, float | int]  # lowest and highest value of an input


@takes(**_DATA)
def margins(params: two_layer.Params, x: Points, y: Labels) -> Float[Array, "sample"]:
    """y f of every example, y = +-1: negative where the class is wrong."""
    return y * jax.vmap(two_layer.apply, (None, 0))(params, x)


@takes(**_DATA, radius=at_least(0, finite=True))
def fgsm(
    params: two_layer.Params,
    x: Points,
    y: Labels,
    radius: Radius,
    *,
    within: Range | None = None,
) -> Float[Array, "sample dim"]:
    """The fast gradient sign method: the corner of the box that the gradient points to.

    Exact, that is the worst point of the box, if f is linear there; otherwise the margin may even rise.

    >>> params = two_layer.Params(jnp.array([[1.0], [-2.0]]), jnp.array([1.0]))
    >>> fgsm(params, jnp.array([[3.0, 1.0]]), jnp.array([1.0]), 0.25).tolist()
    [[2.75, 1.25]]
    """
    return _cut(x - _rows(radius, x) * _uphill(params, x, y), within)


@takes(**_DATA, radius=at_least(0, finite=True), num_steps=at_least(0), step_size=above(0, finite=True))
def pgd(
    params: two_layer.Params,
    x: Points,
    y: Labels,
    radius: Radius,
    key: PRNGKeyArray | None = None,
    *,
    num_steps: int = 20,
    step_size: Real[ArrayLike, ""] | None = None,
    within: Range | None = None,
) -> Float[Array, "sample dim"]:
    """Projected gradient descent on the margin: the point of the smallest margin among those visited, x included.

    From x, or from a point drawn uniformly in the box if a `key` is given. `step_size` is in units of the radius, by
    default 2.5/num_steps as in Madry et al.; below 2/num_steps a corner may be out of reach. The margin never rises.
    """
    radius = _rows(radius, x)
    step = (2.5 / max(num_steps, 1) if step_size is None else step_size) * radius
    start = x if key is None else x + radius * jax.random.uniform(key, x.shape, x.dtype, -1, 1)

    def look(point: Array, worst: Array, smallest: Array) -> _Seen:
        margin = margins(params, point, y)
        lower = margin < smallest
        return point, jnp.where(lower[:, None], point, worst), jnp.where(lower, margin, smallest)

    def move(_: Array, seen: _Seen) -> _Seen:
        point, worst, smallest = seen
        point = jnp.clip(point - step * _uphill(params, point, y), x - radius, x + radius)
        return look(_cut(point, within), worst, smallest)

    first = look(_cut(start, within), x, margins(params, x, y))
    return jax.lax.fori_loop(0, num_steps, move, first)[1]


_Seen = tuple[Array, Array, Array]  # where PGD is, the worst point so far, its margin


def _uphill(params: two_layer.Params, x: Array, y: Array) -> Array:
    """The sign of the gradient of the margin; 0 for an input on which f does not depend."""
    return jnp.sign(jax.grad(lambda points: jnp.sum(margins(params, points, y)))(x))


def _rows(radius: Array, x: Array) -> Array:
    if radius.shape not in ((), x.shape[1:]):
        raise ValueError(f"radius must be one number or one for each of the {x.shape[1]} inputs; got the shape {radius.shape}")
    return jnp.broadcast_to(jnp.asarray(radius, x.dtype), x.shape[1:])[None]


def _cut(x: Array, within: Range | None) -> Array:
    if within is None:
        return x
    low, high = within
    if not low <= high:
        raise ValueError(f"within must be (lowest, highest), got {within}")
    return jnp.clip(x, low, high)
