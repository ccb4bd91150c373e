r"""How far a network is from the global optimum: a lower bound from the dual, by all patterns or by a search.

For the outputs $f$ of any network and the weight decay $\beta$ let

$$
\nu = -\ell'(f), \qquad N(\nu) = \max_{\|u\| \le 1} |\nu \cdot \operatorname{relu}(x u)|, \qquad
c = \min\left(1, \frac{\beta}{N}\right)
$$

Scaled by $c$, $\nu$ is feasible in the dual, so that no network of any width is better than $\text{dual}(c\, \nu)$, and the gap
bounds what a better network can gain. At an optimum $N(\nu) = \beta$. With every pattern $N$ is exact, and the bound a proof.
The search ascends $|\nu \cdot \operatorname{relu}(x u)|$ from many starts; it gives $N$ from below, so its bound holds on
condition that the search has found the maximum.

Source: derived from the dual of Pilanci and Ergen, arXiv 2002.10553; see `theory.convex.convex_relu`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ..models.fully_connected import convex_relu, two_layer
from ..theory.convex import convex_relu as theory
from ..theory.convex.activation_patterns import pattern_count
from ..theory.numerics.arguments import at_least, takes
from . import losses
from .losses import Loss
from .program import Numbers, checked


class Certificate(NamedTuple):
    """A lower bound for all networks from the residual of one; leading axes where several were certified at once."""

    objective: Float[Array, "*batch"]  # of the network
    bound: Float[Array, "*batch"]  # no network has a smaller objective, if `proof`
    dual: Float[Array, "*batch sample"]  # nu = -l'(f), for the squared loss the residual y - f
    norm: Float[Array, "*batch"]  # N(nu); weight_decay at an optimum
    direction: Float[Array, "*batch dim"]  # the unit vector u that attains it: a neuron there gains most
    sign: Float[Array, "*batch"]  # the sign of its output weight
    proof: bool | Bool[Array, "*batch"]  # whether N was taken over all patterns, rather than searched for

    @property
    def gap(self) -> Float[Array, "*batch"]:
        """objective - bound: no network is better by more than this."""
        return self.objective - self.bound


@takes(num_starts=at_least(1), max_patterns=at_least(0))
def certify(
    params: two_layer.Params,
    x: Numbers,
    y: Numbers,
    weight_decay: Numbers,
    *,
    loss: Loss = losses.squared,
    key: PRNGKeyArray | None = None,
    num_starts: int = 1024,
    max_patterns: int = 2000,
) -> Certificate:
    """Certify a two-layer network, trained in any way, for the objective of `losses.network_objective`.

    Up to `max_patterns` activation patterns (as many as points in general position may have) they are all enumerated: a
    proof. Beyond, a search from `num_starts` random directions and the network's own neurons, and `proof` is False.
    Concrete arrays, no jit: see `by_patterns` and `by_search`. Raises ValueError on bad data.
    """
    x, y, weight_decay = checked(x, y, weight_decay)
    loss.check(y)
    if params.w.shape[0] != x.shape[1]:
        raise ValueError(f"the network has inputs of dimension {params.w.shape[0]}, x has the shape {x.shape}")
    if not all(np.isfinite(leaf).all() for leaf in params):
        raise ValueError("the parameters of the network must be finite")
    rank = int(np.linalg.matrix_rank(np.asarray(x)))
    if pattern_count(len(x), max(rank, 1)) <= max_patterns:
        found = _jitted_by_patterns(params, x, y, weight_decay, convex_relu.all_gates(x, max_patterns), loss=loss)
        return found._replace(proof=True)
    key = jax.random.key(0, impl="threefry2x32") if key is None else key
    return _jitted_by_search(params, x, y, weight_decay, key, loss=loss, num_starts=num_starts)._replace(proof=False)


def by_patterns(
    params: two_layer.Params,
    x: Float[Array, "sample dim"],
    y: Float[Array, "sample"],
    weight_decay: Float[Array, ""],
    gates: Float[Array, "dim pattern"],
    *,
    loss: Loss = losses.squared,
) -> Certificate:
    """A proof if the gates are those of `all_gates(x)`. May be jitted and mapped, over networks or weight_decay."""
    nu = _dual_point(params, x, y, loss)
    found = theory.dual_direction(nu, x, convex_relu.patterns(gates, x))
    return _certificate(params, x, y, weight_decay, loss, nu, found.value, found.direction, found.sign, proof=True)


def by_search(
    params: two_layer.Params,
    x: Float[Array, "sample dim"],
    y: Float[Array, "sample"],
    weight_decay: Float[Array, ""],
    key: PRNGKeyArray,
    *,
    loss: Loss = losses.squared,
    num_starts: int = 1024,
) -> Certificate:
    """A certificate with N by the search, which is no proof. May be jitted and mapped."""
    nu = _dual_point(params, x, y, loss)
    spread = convex_relu.products(params)[0]
    found = search(key, nu, x, num_starts=num_starts, near=spread)
    top = jnp.argmax(found.value)
    direction, sign = found.direction[:, top], found.sign[top]
    return _certificate(params, x, y, weight_decay, loss, nu, found.value[top], direction, sign, proof=False)


_jitted_by_patterns = jax.jit(by_patterns, static_argnames="loss")
_jitted_by_search = jax.jit(by_search, static_argnames=("loss", "num_starts"))


def _dual_point(params: two_layer.Params, x: Array, y: Array, loss: Loss) -> Float[Array, "sample"]:
    return loss.dual_point(jax.vmap(two_layer.apply, (None, 0))(params, x), y)


def _certificate(
    params: two_layer.Params,
    x: Array,
    y: Array,
    weight_decay: Array,
    loss: Loss,
    nu: Array,
    norm: Array,
    direction: Array,
    sign: Array,
    proof: bool,
) -> Certificate:
    objective = losses.network_objective(params, x, y, weight_decay, loss)
    return Certificate(objective, loss.bound(nu, norm, y, weight_decay), nu, norm, direction, sign, proof)


class Found(NamedTuple):
    """Local maxima of sign * nu . relu(x u) on the unit sphere, one for each start."""

    value: Float[Array, "start"]
    direction: Float[Array, "dim start"]
    sign: Float[Array, "start"]


def search(
    key: PRNGKeyArray,
    nu: Float[Array, "sample"],
    x: Float[Array, "sample dim"],
    *,
    num_starts: int,
    near: Float[Array, "dim neuron"] | None = None,
    num_steps: int = 200,
) -> Found:
    """Local maxima by ascent from random directions and from perturbed directions of given neurons, each with either sign.

    Steps of fixed length along the gradient on the sphere, shrinking geometrically: at the kinks, where the maxima of a
    trained network lie, a gradient does not fall to zero. The best point of every path is kept.
    """
    key_start, key_near = jax.random.split(key)
    start = jax.random.normal(key_start, (x.shape[1], num_starts), x.dtype)
    if near is not None:
        shaken = _unit(near) + 0.1 / jnp.sqrt(len(near)) * jax.random.normal(key_near, near.shape, x.dtype)
        start = jnp.concatenate([start, shaken], axis=1)
    start, sign = convex_relu.both_signs(_unit(start))

    def value(u: Array) -> Array:
        return sign * (nu @ jax.nn.relu(x @ u))

    first, last = 0.5, 1e-6  # radians

    def ascend(i: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        u, best, best_value = carry
        gradient = sign[None] * (x.T @ jnp.where(x @ u >= 0, nu[:, None], 0))
        tangent = gradient - u * jnp.sum(gradient * u, axis=0)[None]
        u = _unit(u + first * (last / first) ** (i / num_steps) * _unit(tangent))
        now = value(u)
        better = now > best_value
        return u, jnp.where(better[None], u, best), jnp.where(better, now, best_value)

    _, best, best_value = jax.lax.fori_loop(0, num_steps, ascend, (start, start, value(start)))
    return Found(best_value, best, sign)


def _unit(u: Float[Array, "dim start"]) -> Float[Array, "dim start"]:
    size = jnp.linalg.norm(u, axis=0)
    return u / jnp.where(size > 0, size, 1)[None]
