"""What studies of convergence share: the leading error of several schemes, predicted, and measured at two step sizes."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ...theory.transformers import splitting
from .. import _measure

# the power of h whose coefficient is measured: written down here, so that no measurement asks theory for it
POWERS = {"parallel": 1, "sequential": 1, "lie": 1, "strang": 2, "macaron": 1, "midpoint": 2, "heun": 2, "rk4": 4}


class Leading(NamedTuple):
    """The error is h^order (coefficient + O(h))."""

    order: Float[Array, "scheme"]
    coefficient: Float[Array, "scheme *state"]


def leading(
    f_fn: splitting.FieldFn, g_fn: splitting.FieldFn, schemes: Sequence[str], x: Float[Array, "*state"], time: ArrayLike
) -> Leading:
    """The predicted leading errors, all schemes in one integration."""
    # traced once each: the trees of order 5 ask for a field and its derivatives a hundred times
    f_fn, g_fn = jax.jit(f_fn), jax.jit(g_fn)
    each = [_scheme(scheme, f_fn, g_fn) for scheme in schemes]

    def together(x: Float[Array, "scheme *state"]) -> Float[Array, "scheme *state"]:
        return jnp.stack([scheme.field_fn(one) for scheme, one in zip(each, x, strict=True)])

    velocity_fn = splitting.total((1, jax.vmap(f_fn)), (1, jax.vmap(g_fn)))
    start = jnp.broadcast_to(x, (len(schemes), *x.shape))
    end = splitting.leading_error(splitting.Scheme(each[0].order, together, velocity_fn), start, time)
    return Leading(jnp.asarray([scheme.order for scheme in each], x.dtype), end.error)


def observed(
    schemes: Sequence[str], gaps: Float[Array, "scheme count *state"], counts: Int[Array, "count"], time: ArrayLike
) -> Leading:
    """The measured leading errors, from the last two numbers of steps; the coefficient is extrapolated to h = 0."""
    two = gaps[:, -2:]
    order = -_measure.log_slope(counts[-2:], jnp.sqrt(jnp.sum(two**2, axis=range(2, two.ndim))))
    steps = jnp.asarray(time, gaps.dtype) / counts[-2:].astype(gaps.dtype)
    powers = steps[None] ** jnp.asarray([POWERS[scheme] for scheme in schemes], gaps.dtype)[:, None]
    coarse, fine = jnp.moveaxis(two / powers.reshape(*powers.shape, *[1] * (two.ndim - 2)), 1, 0)
    ratio = steps[0] / steps[1]
    return Leading(order, (ratio * fine - coarse) / (ratio - 1))


def _scheme(scheme: str, f_fn: splitting.FieldFn, g_fn: splitting.FieldFn) -> splitting.Scheme:
    name = {"parallel": "parallel_euler", "lie": "lie_trotter"}.get(scheme, scheme)
    return getattr(splitting, name)(f_fn, g_fn)
