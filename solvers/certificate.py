r"""How far a network is from the global optimum: a lower bound from the dual, by all patterns or by a search.

For the outputs $f$ of any network and the weight decay $\beta$ let

$$
\nu = -\ell'(f), \qquad N(\nu) = \max_{\|u\| \le 1} |\nu \cdot \operatorname{relu}(x u)|, \qquad
c = \min\left(1, \frac{\beta}{N}\right)
$$

Scaled by $c$, $\nu$ is feasible in the dual, so that no network of any width is better than $\text{dual}(c\, \nu)$, and the gap
bounds what a better network can gain. At an optimum $N(\nu) = \beta$. With every pattern $N$ is exact, and the bound a proof.
The search ascends $|\nu \cdot \operatorname{relu}(x u)|$ from many starts; it gives $N$ from below, so its bound holds on
condition that the search has found the maximum. A proof is computed in float64, whatever the precision of the data: float32
would leave its bound an error of the size of the gap at an optimum.

Every function here takes the network in the scale of `models.fully_connected.two_layer`, a *mean* over its neurons. A network
that is a plain *sum* of its neurons enters through `from_network`.

Source: derived from the dual of Pilanci and Ergen, arXiv 2002.10553; see `theory.convex.convex_relu`.

Example. One neuron, $f(x) = 2 \operatorname{relu}(x_1)$, fits two points: what is left of the objective is the penalty
$\beta\, (1^2 + 2^2)/2$, of which balanced layers, $1 \cdot 2 = \sqrt 2 \cdot \sqrt 2$, would need $2 \beta$.

>>> import jax.numpy as jnp
>>> from closedform.solvers import certificate
>>> network = certificate.from_network(W=[[1.0], [0.0]], a=[2.0])
>>> found = certificate.certify(network, x=jnp.eye(2), y=[2.0, 0.0], weight_decay=0.1)
>>> float(found.objective), bool(found.bound <= 0.2), found.proof
(0.25, True, True)
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Real

from ..documented import documented
from ..models.fully_connected import convex_relu, two_layer
from ..theory.convex import convex_relu as theory
from ..theory.convex.activation_patterns import pattern_count
from ..theory.numerics.arguments import FINITE, ArrayLike, at_least, takes
from . import losses
from .losses import Loss
from .program import Numbers, checked


@documented
class Certificate(NamedTuple):
    """A lower bound for all networks from the residual of one; leading axes where several were certified at once."""

    objective: Float[ArrayLike, "*batch"]  # of the network
    bound: Float[ArrayLike, "*batch"]  # no network has a smaller objective, if `proof`
    dual: Float[ArrayLike, "*batch sample"]  # nu = -l'(f), for the squared loss the residual y - f
    norm: Float[ArrayLike, "*batch"]  # N(nu); weight_decay at an optimum
    direction: Float[ArrayLike, "*batch dim"]  # the unit vector u that attains it: a neuron there gains most
    sign: Float[ArrayLike, "*batch"]  # the sign of its output weight
    proof: bool | Bool[ArrayLike, "*batch"]  # whether N was taken over all patterns, in float64, rather than searched for

    @property
    def gap(self) -> Float[ArrayLike, "*batch"]:
        """objective - bound: no network is better by more than this."""
        return self.objective - self.bound


@takes(W=FINITE, a=FINITE)
def from_network(W: Real[ArrayLike, "dim width"], a: Real[ArrayLike, "width"]) -> two_layer.Params:
    """The network f(x) = sum_j a_j relu(W_j . x), a plain sum of neurons W_j = W[:, j], in the scale that is certified here.

    `two_layer` takes a mean over the neurons: both layers are multiplied by sqrt(width), which keeps the outputs and the
    penalty (weight_decay/2) sum_j (|W_j|^2 + a_j^2). A first layer stored by rows, one a neuron (PyTorch), is W.T.

    >>> network = from_network(W=[[3.0, 0.0], [4.0, 1.0]], a=[1.0, -2.0])
    >>> round(float(two_layer.apply(network, jnp.array([1.0, 1.0]))), 5)  # 1 (3 + 4) - 2 (0 + 1)
    5.0
    """
    if not a.size:
        raise ValueError(f"W must have at least one neuron, got shape {W.shape}")
    root = jnp.sqrt(jnp.asarray(a.size, a.dtype))
    return two_layer.Params(root * W, root * a)


def _in_float64(certify: Callable[..., Certificate]) -> Callable[..., Certificate]:
    """Under x64, with floating arrays as float64, and with NumPy arrays as the answer, whatever JAX's default is."""

    def double(value: Any) -> Any:
        floating = hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.floating)
        return value.astype(np.float64) if floating else value

    @functools.wraps(certify)
    def doubled(params: Any, *data: Any, **settings: Any) -> Any:
        if not isinstance(params, two_layer.Params):
            given = type(params).__name__
            raise ValueError(
                f"params must be two_layer.Params (of a sum of neurons: certificate.from_network(W, a)), got {given}"
            )
        with jax.enable_x64(True):
            found = certify(*jax.tree.map(double, (params, *data)), **jax.tree.map(double, settings))
            return found._replace(**{name: np.asarray(value) for name, value in found._asdict().items() if name != "proof"})

    return doubled


@_in_float64
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

    The network is a mean over its neurons, as `two_layer` has it; see `from_network` for a plain sum. Computed in float64,
    data of lower precision taken as they are; the answer holds NumPy arrays of float64, also where JAX's default is float32.

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
    """A proof if the gates are those of `all_gates(x)`. May be jitted and mapped, over networks or weight_decay.

    `proof` is False for x of lower precision than float64, which leaves the bound its rounding: see `certify`.
    """
    nu = _dual_point(params, x, y, loss)
    found = theory.dual_direction(nu, x, convex_relu.patterns(gates, x))
    return _certificate(
        params, x, y, weight_decay, loss, nu, found.value, found.direction, found.sign, proof=x.dtype == np.float64
    )


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


@documented
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
