r"""One-pass SGD of a committee machine in high dimension: exact equations for its overlaps with itself and with its teacher.

Formula. Student $\sum_k v_k\, g(J_k \cdot x)$, teacher $y = \sum_m v^*_m\, g(B_m \cdot x) + \sigma \xi$, fresh inputs
$x \sim N(0, I_d)$ at each step, $\Delta = y - $ student,

$$
J_k \leftarrow J_k + \frac{\eta}{d} v_k\, \Delta\, g'(J_k \cdot x)\, x, \qquad
v_k \leftarrow v_k + \frac{\eta_v}{d} \Delta\, g(J_k \cdot x)
$$

For $d \to \infty$ the overlaps $Q = J J^\top$, $R = J B^\top$, with $T = B B^\top$, follow in the time
$\tau = \eta\, \text{steps}/d$

$$
\begin{align*}
\frac{dR_{im}}{d\tau} &= v_i \sum_c s_c I_3(i, m, c), \qquad
\frac{dv_i}{d\tau} = \frac{\eta_v}{\eta} \sum_c s_c I_2(i, c) \\
\frac{dQ_{ik}}{d\tau} &= \sum_c s_c \left[ v_i I_3(i, k, c) + v_k I_3(k, i, c) \right]
+ \eta\, v_i v_k \Big[ \sum_{c, e} s_c s_e I_4(i, k, c, e) + \sigma^2 J_2(i, k) \Big]
\end{align*}
$$

where $c$, $e$ run over the units of the student, $s_c = -v_c$, and of the teacher, $s_c = v^*_c$, and the moments are those of
fields with the covariance of all overlaps. The error is

$$
E = \tfrac12 \mathbb{E} (\text{student} - \text{teacher without noise})^2 = \tfrac12 \sum_{a, b} s_a s_b I_2(a, b)
$$

For the error function, as many units as the teacher's, an orthonormal teacher and $\eta \to 0$, all units stay alike on the
plateau

$$
Q_{ik} = \frac{1}{2K - 1}, \qquad R_{im} = \frac{1}{\sqrt{K (2K - 1)}}, \qquad
E = \frac{K}{\pi} \left( \frac{\pi}{6} - K \arcsin \frac{1}{2K} \right)
$$

where the velocity vanishes; a finite learning rate moves it. How training ends is in `perfect_student`.

Regime. $d \to \infty$ at fixed numbers of units; the trajectory is that from the given overlaps. Without a learning rate the
flow is gradient flow on the population loss, for every activation; with one the equations are for `scaled_erf`, whose $I_4$ is
known.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $Q$, $R$, $T$ | `student`, `cross`, `teacher` | | overlaps; student student, student teacher, teacher teacher |
| $v$, $v^*$ | `weights`, `teacher_weights` | student, teacher | second layers; ones where they are left out |
| $\eta$ | `learning_rate` | () | of steps $\eta/d$ |
| $\eta_v/\eta$ | `weights_rate` | () | 0: the second layer is not trained |
| $\sigma$ | `noise_std` | () | of the label noise |
| $\tau$ | `time` | any | $\eta \alpha$, with $\alpha$ = steps$/d$ |
| $g$ | `activation` | | `scaled_erf` is $\operatorname{erf}(u/\sqrt 2)$ |
| $K$ | `num_units` | | hidden units |

Factors. The error has a factor 1/2 and leaves out $\sigma^2/2$. The published time is $\alpha = \tau/\eta$.

Source. D. Saad, S. Solla, 1995, doi 10.1103/PhysRevE.52.4225; S. Goldt et al., arXiv 1906.08632 (second layer); recalled,
derived again and checked here against simulation. Gradient flow for other activations is derived here.

Finite size. Overlaps fluctuate by $O(1/\sqrt d)$. What leaves a symmetric plateau is such a fluctuation: predict from the
overlaps of each draw.

Example. Beside the plateau of small learning rates the units grow longer where the learning rate is finite:

>>> from closedform.theory.feature_learning import online_sgd
>>> still = online_sgd.plateau(2)
>>> round(float(online_sgd.error(still)), 4)
0.0116
>>> round(float(online_sgd.velocity(still, 1.0).student[0, 0]), 3)
0.009
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..gaussian.any_activation import AnyActivation
from ..gaussian.committee_integrals import drift_moments, noise_moments, output_moments, scaled_erf, slope_moments
from ..numerics.arguments import FINITE, ArrayLike, at_least, each, takes
from ._flow import flow

Number = Real[ArrayLike, ""]
Numbers = Real[ArrayLike, "*#shape"]
SIZE = at_least(0, finite=True)
_STAGES, _LARGEST = 16, 6.0  # on the way to a plateau at a finite learning rate; the largest, times the number of units


@documented
class Overlaps(NamedTuple):
    """The order parameters of a student and its teacher; leading axes are those of the time."""

    student: Float[Array, "*moment student student"]  # Q = J J^T
    cross: Float[Array, "*moment student teacher"]  # R = J B^T
    teacher: Float[Array, "*moment teacher teacher"]  # T = B B^T
    weights: Float[Array, "*moment student"] | None = None  # v
    teacher_weights: Float[Array, "*moment teacher"] | None = None  # v*


OVERLAPS = each(Overlaps, FINITE, FINITE, FINITE, FINITE, FINITE)


@takes(overlaps=OVERLAPS)
def error(overlaps: Overlaps, activation: AnyActivation = scaled_erf) -> Float[Array, "*moment"]:
    """E, half the mean square of student less teacher, of overlaps or of a trajectory of them.

    >>> round(float(error(Overlaps(jnp.eye(1), jnp.zeros((1, 1)), jnp.eye(1)))), 4)
    0.3333
    """
    one = lambda at: _half_square(_covariance(at), _signs(at), activation)  # noqa: E731
    for _ in overlaps.student.shape[:-2]:
        one = jax.vmap(one)
    return one(_with_weights(overlaps))


@takes(overlaps=OVERLAPS, learning_rate=SIZE, noise_std=SIZE, weights_rate=SIZE)
def velocity(
    overlaps: Overlaps,
    learning_rate: Number | None = None,
    noise_std: Number = 0.0,
    weights_rate: Number = 0.0,
    activation: AnyActivation = scaled_erf,
) -> Overlaps:
    """The derivatives of all overlaps in tau, at one time; without a learning rate those of gradient flow, its limit at 0.

    Raises ValueError for a learning rate where I_4 is not known, and for overlaps of several times.

    >>> one = jnp.eye(1)
    >>> velocity(Overlaps(one, one, one)).student.round(6).tolist()  # the perfect student rests
    [[0.0]]
    """
    if learning_rate is not None and activation is not scaled_erf:
        raise ValueError("learning_rate must be left out (gradient flow) for any activation but scaled_erf")
    full = _at_one_time(overlaps)
    count, v, signs, C = len(full.student), full.weights, _signs(full), _covariance(full)
    assert v is not None
    I3 = drift_moments(C, activation)[:count]
    drift = v[:, None] * jnp.sum(I3 * signs[None, None], axis=2)  # of J_i with each field
    Q, R = drift[:, :count] + drift[:, :count].T, drift[:, count:]
    if learning_rate is not None:
        I4 = noise_moments(C)[:count, :count]
        squares = jnp.sum(I4 * (signs[:, None] * signs[None])[None, None], axis=(2, 3))
        squares = squares + noise_std**2 * slope_moments(C, activation)[:count, :count]
        Q = Q + learning_rate * v[:, None] * v[None] * squares
    by_output = jnp.sum(output_moments(C, activation)[:count] * signs[None], axis=1)
    still = jax.tree.map(jnp.zeros_like, full)
    return still._replace(student=(Q + Q.T) / 2, cross=R, weights=weights_rate * by_output)


@takes(time=at_least(0, finite=True), overlaps=OVERLAPS, learning_rate=SIZE, noise_std=SIZE, weights_rate=SIZE)
def trajectory(
    time: Real[ArrayLike, "*time"],
    overlaps: Overlaps,
    learning_rate: Number | None = None,
    noise_std: Number = 0.0,
    weights_rate: Number = 0.0,
    activation: AnyActivation = scaled_erf,
) -> Overlaps:
    """All overlaps at each time tau, in any order, from those at time 0; second layers are ones where they are left out.

    Integrated to relative errors of 1e-9 (float32: 1e-5). Raises ValueError where `velocity` does.
    """
    start = _at_one_time(overlaps)
    moving = start.student, start.cross, start.weights
    flat, unravel = ravel_pytree(moving)

    def change(state: Float[Array, "state"]) -> Float[Array, "state"]:
        Q, R, v = unravel(state)
        moved = velocity(start._replace(student=Q, cross=R, weights=v), learning_rate, noise_std, weights_rate, activation)
        return ravel_pytree((moved.student, moved.cross, moved.weights))[0]

    times = time.ravel()
    Q, R, v = jax.vmap(unravel)(flow(change, times, flat))
    every = start._replace(student=Q, cross=R, weights=v)
    fixed = {
        name: jnp.broadcast_to(getattr(start, name), (times.size, *getattr(start, name).shape))
        for name in ("teacher", "teacher_weights")
    }
    return jax.tree.map(lambda x: x.reshape(*time.shape, *x.shape[1:]), every._replace(**fixed))


@takes(num_units=at_least(2), learning_rate=SIZE)
def plateau(num_units: int, learning_rate: Number = 0.0) -> Overlaps:
    """The overlaps of the symmetric plateau, as many units as the teacher's, orthonormal, without noise; for `scaled_erf`.

    All units of the student are alike, Q_ik = q and R_im = r. In closed form at the learning rate 0, from where others are
    followed; NaN above the learning rate 6/K, on the way to some 9/K where the length of the units diverges.
    """
    K = num_units
    one, eye = jnp.ones((K, K), learning_rate.dtype), jnp.eye(K, dtype=learning_rate.dtype)

    def still(numbers: Float[Array, "2"], rate: Float[Array, ""]) -> Float[Array, "2"]:
        change = velocity(Overlaps(numbers[0] * one, numbers[1] * one, eye), rate)
        return jnp.stack([change.student[0, 0], change.cross[0, 0]])

    def newton(step: Array, numbers: Float[Array, "2"]) -> Float[Array, "2"]:
        rate = jnp.minimum(learning_rate, _LARGEST / K) * jnp.minimum((step // 4 + 1) / _STAGES, 1)
        slope, value = jax.jacfwd(lambda at: (still(at, rate),) * 2, has_aux=True)(numbers)
        return numbers - jnp.linalg.solve(slope, value)

    start = jnp.array([1 / (2 * K - 1), 1 / math.sqrt(K * (2 * K - 1))], learning_rate.dtype)
    # the last steps, at the learning rate itself, carry its derivatives
    q, r = jax.lax.fori_loop(0, 4 * _STAGES + 4, newton, start)
    exists = learning_rate * K <= _LARGEST
    return Overlaps(jnp.where(exists, q, jnp.nan) * one, jnp.where(exists, r, jnp.nan) * one, eye)


def _at_one_time(overlaps: Overlaps) -> Overlaps:
    if overlaps.student.ndim != 2:
        shape = overlaps.student.shape
        raise ValueError(f"overlaps must be those of one time, got overlaps.student of shape {shape}; vmap over several")
    return _with_weights(overlaps)


def _with_weights(overlaps: Overlaps) -> Overlaps:
    Q, T = overlaps.student, overlaps.teacher
    v = jnp.ones(Q.shape[:-1], Q.dtype) if overlaps.weights is None else overlaps.weights
    v_star = jnp.ones(T.shape[:-1], T.dtype) if overlaps.teacher_weights is None else overlaps.teacher_weights
    return overlaps._replace(weights=v, teacher_weights=v_star)


def _covariance(overlaps: Overlaps) -> Float[Array, "field field"]:
    """Of the fields of all units, those of the student first."""
    Q, R, T = overlaps[:3]
    return jnp.block([[Q, R], [R.T, T]])


def _signs(overlaps: Overlaps) -> Float[Array, "field"]:
    assert overlaps.weights is not None
    assert overlaps.teacher_weights is not None
    return jnp.concatenate([-overlaps.weights, overlaps.teacher_weights])


def _half_square(covariance: Array, signs: Array, activation: AnyActivation) -> Array:
    return jnp.sum(signs[:, None] * signs[None] * output_moments(covariance, activation)) / 2
