r"""The kernels of an activation that is given by name, as a function, or by its closed form.

Formula. A function that is linear on both sides of 0, $f(z) = b z$ for $z > 0$ and $a z$ for $z < 0$, has a closed form, since
$z$ and $|z|$ of a centred pair do not correlate:

$$
f(z) = \frac{b + a}{2} z + \frac{b - a}{2} |z|, \qquad
\mathbb{E} f(A) f(B) = \left(\frac{b + a}{2}\right)^2 \mathbb{E} A B + \left(\frac{b - a}{2}\right)^2 \mathbb{E} |A| |B|
$$

Every other function is integrated by the trapezoidal rule of `activations.by_quadrature`, whose error is the largest at the
correlation 1. There it is measured, for $f$, $f'$ and their squares $g$ at the deviations $s$ of 1/2, 1 and 2: for a smooth
$f$ the rule with nodes $h k$ and the rule with nodes $h (k + 1/3)$ agree to rounding, and a kink or a jump sets them apart,

$$
h \sum_k g(s h k)\, \varphi(h k) - h \sum_k g(s h (k + \tfrac{1}{3}))\, \varphi(h (k + \tfrac{1}{3})), \qquad
\varphi(z) = \frac{e^{-z^2/2}}{\sqrt{2 \pi}}
$$

Regime. Any elementwise $f$ that is linear on both sides of 0, or smooth. 64 nodes are taken, or 128, 256, 512, the first with a
difference below 1e-3; a function that 512 nodes do not resolve (a kink away from 0, a jump) is refused.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $f$ | `activation` | elementwise | activation: its name, a function, or an `Activation` |
| $a$, $b$ | | | slope on the left and on the right of 0 |
| $h$ | | | distance of the nodes, $18/(n - 1)$ for $n$ of them |

Factors. None: a name or function means the function itself, without a normalisation of its mean square.

Source. Derived here; the rule and its errors are those of `activations.by_quadrature`.

Finite size. None. The difference is measured for deviations up to 2: at much larger ones a rule with few nodes resolves less,
and `activations.by_quadrature(f, num_nodes)` chooses their number.

Example. ReLU by its name, as a function and as a lambda has one closed form; tanh is integrated:

>>> import jax, jax.numpy as jnp
>>> from closedform.theory.gaussian import activations
>>> from closedform.theory.gaussian.any_activation import activation_of
>>> all(activation_of(one) is activations.relu for one in ("relu", jax.nn.relu, lambda z: jnp.maximum(z, 0)))
True
>>> round(float(activation_of("tanh").dual(1.0, 1.0, 0.5)), 4)
0.1863
"""

import difflib
import functools
import typing
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.arguments import known
from . import activations
from .activations import Activation, ElementwiseFn, by_quadrature, leaky_relu, relu

if typing.TYPE_CHECKING:
    AnyActivation: typing.TypeAlias = Activation | str | ElementwiseFn
else:
    AnyActivation = Any  # what is none of them is refused by `activation_of`, in one line

_NODES = 64, 128, 256, 512
_RESOLVED = 1e-3  # of the worst case, correlation 1: an average over a second direction makes other errors far smaller


def _rules(num_nodes: int) -> np.ndarray:
    """The nodes of `by_quadrature`, and the same a third of a step further: (2, node)."""
    nodes, step = np.linspace(-9, 9, num_nodes, retstep=True)
    return np.stack([nodes, nodes + step / 3])


_POINTS = [np.array([0.5, 1.0, 2.0])[:, None, None] * _rules(num_nodes) for num_nodes in _NODES]  # by deviation


def activation_of(activation: AnyActivation) -> Activation:
    """The `Activation` of a name ("relu", "tanh", any elementwise function of jax.nn or jax.numpy), a function, or itself.

    The same function has the same kernels, so that what is compiled for them is compiled once. Raises ValueError for an unknown
    name, with the nearest ones, for what is not elementwise, and for a function whose kinks the quadrature does not resolve.
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        return _named(activation)
    if not callable(activation):
        raise ValueError(f"activation must be a name, an elementwise function or an Activation, got {activation!r}")
    try:
        return _of_function(activation)
    except TypeError:
        if getattr(activation, "__hash__", None):
            raise
        return _of_function.__wrapped__(activation)  # pyright: ignore[reportFunctionMemberAccess]


def _named(name: str) -> Activation:
    closed = {other: value for other, value in vars(activations).items() if isinstance(value, Activation)}
    if name in closed:
        return closed[name]
    for library in (jax.nn, jnp):
        if callable(found := getattr(library, name, None)) and not name.startswith("_") and not isinstance(found, type):
            return _of_function(found)
    others = {other for other in (*dir(jax.nn), *dir(jnp)) if other.islower() and not other.startswith("_")}
    near = difflib.get_close_matches(name.lower(), [*closed, *sorted(others - set(closed))], n=3) or sorted(closed)
    raise ValueError(
        f"activation must be {', '.join(sorted(closed))} or a function of jax.nn; got {name!r}, near {', '.join(near)}"
    )


@functools.lru_cache(maxsize=256)
def _of_function(activation_fn: ElementwiseFn) -> Activation:
    sides = np.geomspace(1e-3, 20, 40)
    z = np.concatenate([-sides, sides])
    sampled = _sampled(activation_fn, np.concatenate([z, [-1.0, 1.0], *map(np.ravel, _POINTS)]))
    if sampled is None:  # it holds traced numbers: nothing can be measured
        return by_quadrature(activation_fn)
    left, right = -sampled[0][z.size], sampled[0][z.size + 1]
    if np.allclose(sampled[0][: z.size], np.where(z > 0, right, left) * z, rtol=1e-14, atol=0):
        return _piecewise_linear(left, right)
    both = np.split(np.stack(sampled)[:, z.size + 2 :], np.cumsum([points.size for points in _POINTS])[:-1], axis=1)
    errors = [_difference(values.reshape(2, *points.shape)) for values, points in zip(both, _POINTS, strict=True)]
    for nodes, error in zip(_NODES, errors, strict=True):
        if error < _RESOLVED:
            return by_quadrature(activation_fn, nodes)
    raise ValueError(
        f"activation must be smooth, or linear on both sides of 0; {_name(activation_fn)} is neither: with {_NODES[-1]} nodes "
        f"its integrals are off by {errors[-1]:.0e} (activations.by_quadrature takes it as it is)"
    )


def _piecewise_linear(left: float, right: float) -> Activation:
    """f(z) = right z for z > 0 and left z for z < 0; the sign of f, and that of z, change no kernel."""
    size, other = (right, left) if right else (left, right)
    kernels = leaky_relu(other / size) if size and other else relu
    return kernels if size**2 == 1 else Activation(*(_scaled(dual, size**2) for dual in kernels))


def _scaled(dual: activations.DualFn, factor: float) -> activations.DualFn:
    return lambda variance_1, variance_2, covariance: factor * dual(variance_1, variance_2, covariance)


def _difference(values: np.ndarray) -> float:
    """Between the two rules: for f, f' and their squares, relative to the root mean squares; infinite where they overflow."""
    worst, num_nodes = 0.0, values.shape[-1]
    weights = 18 / (num_nodes - 1) * np.exp(-(_rules(num_nodes) ** 2) / 2) / np.sqrt(2 * np.pi)
    with np.errstate(over="ignore", invalid="ignore"):
        first, squares = (np.sum(weights * powers, axis=-1) for powers in (values, values**2))  # (f or f', deviation, rule)
        size = np.maximum(np.max(squares, axis=-1), float(np.finfo(float).tiny))
        for means, scale in ((first, np.sqrt(size)), (squares, size)):
            worst = max(worst, float(np.max(np.nan_to_num(np.abs(means[..., 0] - means[..., 1]) / scale, nan=np.inf))))
    return worst


def _sampled(activation_fn: ElementwiseFn, z: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """f and f' in float64 at any points, or None if f holds traced numbers. Raises ValueError if f is not elementwise."""
    half = slice(None, z.size // 2)
    try:
        with jax.ensure_compile_time_eval(), jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            points = jnp.asarray(z, np.float64)
            values, slopes = jax.jvp(activation_fn, (points,), (jnp.ones_like(points),))
            other = activation_fn(points.at[z.size // 2 :].set(0.5))  # each value must depend on its own point alone
    except Exception as error:
        reason = str(error).split("\n", 1)[0]
        raise ValueError(f"activation must be elementwise, on JAX arrays; {_name(activation_fn)} raises: {reason}") from None
    if not known(values, slopes, other):
        return None
    values, slopes, other = map(np.asarray, (values, slopes, other))  # in numpy: a slice of theirs would be traced under jit
    elementwise = values.shape == other.shape == z.shape
    if not elementwise or not np.allclose(values[half], other[half], rtol=1e-12, atol=0, equal_nan=True):
        raise ValueError(f"activation must be elementwise, {_name(activation_fn)} is not")
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(f"activation must return floats, {_name(activation_fn)} returns {values.dtype}")
    return values, slopes


def _name(activation_fn: ElementwiseFn) -> str:
    return getattr(activation_fn, "__name__", repr(activation_fn))
