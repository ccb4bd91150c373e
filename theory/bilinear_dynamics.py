r"""Gradient flow of a bilinear layer: every eigenvalue of its interaction matrix, the whole matrix, and what is conserved.

Formula. With $a = (w + v)/2$ and $b = (w - v)/2$,

$$
Q = \operatorname{sym}(W \operatorname{diag}(p) V^\top) = \sum_k p_k (a_k a_k^\top - b_k b_k^\top)
$$

and on the Gaussian loss

$$
L = 2 \|Q - Q^*\|^2 + (\operatorname{tr}(Q - Q^*))^2, \qquad
G = \frac{dL}{dQ} = 4 (Q - Q^*) + 2 \operatorname{tr}(Q - Q^*)\, I
$$

the flow is

$$
\frac{dW}{dt} = -G V \operatorname{diag}(p), \qquad \frac{dV}{dt} = -G W \operatorname{diag}(p)
$$

that is

$$
\frac{da_k}{dt} = -p_k G a_k, \qquad \frac{db_k}{dt} = p_k G b_k
$$

One input, $b = 0$:

$$
q(t) = \frac{q^*}{1 + (q^*/q_0 - 1)\, e^{-12 q^* t}}
$$

$p = 1$, $a$ and $b$ along the eigenvectors of $Q^*$: with $q = \alpha^2 - \beta^2$,

$$
\frac{d\alpha_i}{dt} = -g_i \alpha_i, \qquad \frac{d\beta_i}{dt} = g_i \beta_i, \qquad
g_i = 4 (q_i - q^*_i) + 2 \sum_j (q_j - q^*_j)
$$

and $\alpha_i \beta_i$ stays. Without the trace term in $L$, with $s = \sqrt{(q^*)^2 + 4 (\alpha \beta)^2}$,
$r_\pm = (s \pm q^*)/2$, $E = e^{-8 s t}$, $g = (1 - E)/s$:

$$
\left(\frac{\alpha}{\alpha_0}\right)^2 = \left(\frac{\beta_0}{\beta}\right)^2
= \frac{E + (r_+ + \beta_0^2)\, g}{E + (r_- + \alpha_0^2)\, g}
$$

$p = 1$, $W = V = A$, of any directions and rank: with $M = e^{4 Q^* t - C}$, $dC/dt = 2 \operatorname{tr}(Q - Q^*)$ and
$J = 8 \int_0^t M^2$,

$$
Q(t) = M A_0 \left[ I + A_0^\top J A_0 \right]^{-1} A_0^\top M
$$

Without the trace term $C = 0$ and $J = (Q^*)^{-1} (e^{8 Q^* t} - I)$.

Regime. Exact for gradient flow (steps $\to 0$) on the population loss of inputs $N(0, I)$, for every size and every start
named. The trace term is absent for features of trace zero, $x x^\top - I$.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $t$ | `time` | any | `learning_rate` times steps as the rate goes to 0 |
| $Q^*$, $q^*$ | `target` | dim dim, dim | interaction matrix of the target; its eigenvalues |
| $\alpha$, $\beta$ | `alpha`, `beta` | dim | of $a$ and $b$ along each eigenvector |
| $q_0$ | `initial` | any | $q$ at $t = 0$ |
| $A_0$ | `a0` | dim width | $W = V$ at $t = 0$; column $k$ is unit $k$ |
| $w_k$, $v_k$, $p_k$ | `w`, `v`, `p` | dim width, width | weights and readout |
| $(W + V)(W - V)^\top$ | `Conserved.matrix` | width width | the paper's rows are units: here $(W + V)^\top (W - V)$ |

Factors. The loss has no 1/2 and $W$, $V$ are separate parameters: with 1/2 in front of $L$ the time counts half, for $W = V$
tied to one parameter it counts double. On the sphere $\|x\|^2 = d$ the loss is $d/(d + 2)$ times this one, and so is the rate.

Source. The layer is that of L. Sharkey, arXiv 2305.03452, and M. Pearce et al., arXiv 2410.08417. The flows and laws are
derived here [D]; Riccati solutions and balancedness are textbook for matrix factorisation. Checked against the flow of $W$,
$V$.

Finite size. None. Steps of size $\eta$ break the conservation laws by $O(\eta)$. Integrated numerically are `eigen_flow` and
`riccati_flow` with the trace, to 1e-11 in float64 and 1e-5 in float32, up to times of some $10^4/\|Q^*\|$; the others are
exact.

Example. Large eigenvalues are learned first, after a time of about $\ln(q^*/q_0)/(12 q^*)$: the share $q/q^*$ of 2 and of 1/2
at three times.

>>> import jax.numpy as jnp
>>> from closedform.theory.bilinear_dynamics import logistic
>>> times = jnp.array([0.1, 0.3, 1.0])
>>> [round(float(share), 3) for share in logistic(times, 2.0, 0.01) / 2.0]
[0.052, 0.871, 1.0]
>>> [round(float(share), 3) for share in logistic(times, 0.5, 0.01) / 0.5]
[0.036, 0.11, 0.892]
"""

import math
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from .gaussian import as_floats

Numbers = Real[ArrayLike, "*#shape"]


class Modes(NamedTuple):
    """A state that is diagonal in the eigenvectors of the target; leading axes are those of the time."""

    alpha: Float[Array, "*time mode"]
    beta: Float[Array, "*time mode"]

    @property
    def q(self) -> Float[Array, "*time mode"]:
        """Eigenvalues alpha^2 - beta^2 of the interaction matrix."""
        return self.alpha**2 - self.beta**2


class Conserved(NamedTuple):
    """What gradient flow keeps. With weight decay (omega/2)(|W|^2 + |V|^2 + |P|^2) each of them decays as exp(-2 omega t).

    `unit` holds for any loss of the output and any readout, trained or not, and `readout` if it is trained. The three
    matrices hold for a fixed readout, each at the pairs its mask names; elsewhere, and for a trained one, they move.
    """

    unit: Float[Array, "width"]  # |w_k|^2 - |v_k|^2
    readout: Float[Array, "width"]  # |w_k|^2 - |p_k|^2, over the outputs
    matrix: Float[Array, "width width"]  # (W + V)^T (W - V), 4 a_k.b_k': where `equal`
    sums: Float[Array, "width width"]  # (W + V)^T (W + V), 4 a_k.a_k': where `opposite`
    differences: Float[Array, "width width"]  # (W - V)^T (W - V), 4 b_k.b_k': where `opposite`
    equal: Bool[Array, "width width"]  # p_k = p_k'
    opposite: Bool[Array, "width width"]  # p_k = -p_k'


def logistic(time: Numbers, target: Numbers, initial: Numbers) -> Float[Array, "*#shape"]:
    """q(t) = q*/(1 + (q*/q_0 - 1) exp(-12 q* t)), one input, from a^2 = q_0 and b = 0; for q_0 < 0 from b^2 = -q_0 and a = 0.

    A target of the other sign, or 0, is approached as far as 0.

    >>> round(float(logistic(0.3, 1.0, 0.01)), 4)
    0.2699
    """
    t, target, start = jnp.broadcast_arrays(*as_floats(time, target, initial))
    sign = jnp.where(start < 0, -1, 1).astype(t.dtype)
    q_star, q0 = sign * target, sign * start
    grows = q_star >= 0
    rate = 12 * jnp.where(grows, q_star, -q_star)
    decay = jnp.exp(-rate * _finite(t))
    # the formula times exp(-12 |q*| t), above and below
    below = jnp.where(grows, decay, 1) + 12 * q0 * _saturating(t, rate)
    return start * jnp.where(grows, 1, decay) / jnp.where(q0 > 0, below, 1)


def eigen_flow(
    time: Real[ArrayLike, "*time"],
    target: Real[ArrayLike, "mode"],
    alpha: Real[ArrayLike, "mode"],
    beta: Real[ArrayLike, "mode"],
    trace: bool = True,
) -> Modes:
    """Modes at each time from alpha and beta at time 0; times in any order. Without the trace term, in closed form.

    >>> flow = eigen_flow(0.5, jnp.array([2.0, -0.5]), jnp.full(2, 0.1), jnp.full(2, 0.1))
    >>> [round(float(q), 3) for q in flow.q]
    [1.833, -0.021]
    """
    t, q_star, alpha0, beta0 = as_floats(time, target, alpha, beta)
    if not q_star.shape == alpha0.shape == beta0.shape:
        shapes = f"{q_star.shape}, {alpha0.shape}, {beta0.shape}"
        raise ValueError(f"target, alpha and beta must have one shape, that of the modes; got {shapes}")

    def modes(log_growth: Float[Array, "mode"]) -> Modes:
        # bounded, for a mode of beta_0 = 0 that falls for ever: 0 times infinity is no beta
        growth = jnp.exp(jnp.clip(log_growth, -limit, limit))
        return Modes(alpha0 * growth, beta0 / growth)

    def velocity(_, log_growth: Float[Array, "mode"], args: object) -> Float[Array, "mode"]:
        error = modes(log_growth).q - q_star
        return -4 * error - 2 * jnp.sum(error)

    limit = -math.log(jnp.finfo(t.dtype).tiny) / 4
    times = t.ravel()
    # the state is the logarithm of alpha/alpha_0 = beta_0/beta, so that alpha beta stays to rounding
    if trace:
        log_growths = _integrate(velocity, times, jnp.zeros_like(q_star))
    else:
        log_growths = jax.vmap(lambda now: _log_growth(now, q_star, alpha0, beta0))(times)
    return Modes(*(rows.reshape(*t.shape, *q_star.shape) for rows in jax.vmap(modes)(log_growths)))


def riccati_flow(
    time: Real[ArrayLike, "*time"],
    target: Real[ArrayLike, "dim dim"],
    a0: Real[ArrayLike, "dim width"],
    trace: bool = True,
) -> Float[Array, "*time dim dim"]:
    """Q(t) from W = V = a0 at p = 1, for any symmetric target and any a0; finite times in any order, however long.

    What is below 100 roundings of a0's norm counts as rank that is missing. Not differentiable in a target of repeated
    eigenvalues. Without the trace term, in closed form.

    >>> q = riccati_flow(jnp.array([0.0, 9.0]), jnp.diag(jnp.array([1.0, -0.5])), jnp.full((2, 1), 0.3), trace=False)
    >>> [[round(float(entry), 4) for entry in jnp.diag(matrix)] for matrix in q]
    [[0.09, 0.09], [1.0, 0.0]]
    """
    t, Q_star, A0 = as_floats(time, target, a0)
    dim = A0.shape[0] if A0.ndim == 2 else 0
    if Q_star.shape != (dim, dim):
        raise ValueError(f"target must be square, of the rows of a0; got shapes {Q_star.shape} and {A0.shape}")
    values, vectors = jnp.linalg.eigh((Q_star + Q_star.T) / 2)
    q_star, basis = values[::-1], vectors[:, ::-1]
    L = _lower_triangle(basis.T @ A0)

    def root(log_m: Float[Array, "dim"], j: Float[Array, "dim"]) -> tuple[Float[Array, "dim dim"], Float[Array, "dim dim"]]:
        """E and (E N^-1)^T for Q = E N^-1 E^T in the eigenvectors of Q*; log_m falls from row to row."""
        # L^T J L and M L, column j divided by c_j = sqrt(1 + M_j^2). No row below j is above it, so nothing overflows.
        log_c = jax.nn.softplus(2 * log_m) / 2
        E = L * jnp.exp(jnp.minimum(log_m[:, None] - log_c[None, :], 0))
        F = L * jnp.exp(jnp.minimum(log_c[:, None] - log_c[None, :], 0))
        empty = jnp.diag(L) == 0
        N = (F.T * j[None, :]) @ F + jnp.diag(jnp.where(empty, 1, jnp.exp(-2 * log_c)))
        size = jnp.sqrt(jnp.diag(N))
        return E, jnp.linalg.solve(N / (size[:, None] * size[None, :]), (E / size[None, :]).T) / size[:, None]

    def velocity(now: Real[ArrayLike, ""], state: Float[Array, "state"], args: object) -> Float[Array, "state"]:
        # j = J/(1 + M^2) stays of order 1/q* where J grows without bound
        log_m, j = 4 * q_star * now - state[0], state[1:]
        E, solved = root(log_m, j)
        shift = 2 * (jnp.sum(E * solved.T) - jnp.sum(q_star))
        return jnp.append(shift, jax.nn.sigmoid(2 * log_m) * (8 - 2 * (4 * q_star - shift) * j))

    def matrix(now: Float[Array, ""], state: Float[Array, "state"]) -> Float[Array, "dim dim"]:
        E, solved = root(4 * q_star * now - state[0], state[1:])
        Q = basis @ (E @ solved) @ basis.T
        return (Q + Q.T) / 2

    times = t.ravel()
    if trace:
        states = _integrate(velocity, times, jnp.zeros(1 + dim, t.dtype))
    else:
        j = jax.vmap(lambda now: _tanh_over(4 * now, q_star))(times)
        states = jnp.concatenate([jnp.zeros((times.size, 1), t.dtype), j], axis=1)
    return jax.vmap(matrix)(times, states).reshape(*t.shape, dim, dim)


def conserved(
    w: Real[ArrayLike, "dim width"], v: Real[ArrayLike, "dim width"], p: Real[ArrayLike, "*output width"] | None = None
) -> Conserved:
    """What gradient flow keeps, for a readout p of one or several outputs; ones by default.

    >>> kept = conserved(jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 1.0]]), jnp.array([1.0, -1.0]))
    >>> kept.unit.tolist(), kept.matrix.tolist()
    ([1.0, 3.0], [[1.0, 1.0], [3.0, 3.0]])
    >>> kept.equal.tolist()  # units 0 and 1 have opposite readouts: for them sums and differences hold
    [[True, False], [False, True]]
    """
    width = jnp.shape(w)[-1]
    if jnp.shape(v) != jnp.shape(w):
        raise ValueError(f"v must have the shape of w, {jnp.shape(w)}, got {jnp.shape(v)}")
    if p is not None and jnp.shape(p)[-1:] != (width,):
        raise ValueError(f"p must have {width} units on its last axis, as w; got shape {jnp.shape(p)}")
    W, V, P = as_floats(w, v, np.ones(width, dtype=int) if p is None else p)
    P = P.reshape(-1, width)
    a2, b2 = W + V, W - V
    return Conserved(
        unit=jnp.sum(a2 * b2, axis=0),
        readout=jnp.sum(W**2, axis=0) - jnp.sum(P**2, axis=0),
        matrix=a2.T @ b2,
        sums=a2.T @ a2,
        differences=b2.T @ b2,
        equal=jnp.all(P[:, :, None] == P[:, None, :], axis=0),
        opposite=jnp.all(P[:, :, None] == -P[:, None, :], axis=0),
    )


def _integrate(velocity_fn, times: Float[Array, "time"], start: Float[Array, "state"]) -> Float[Array, "time state"]:
    """States at `times`, in any order, of the flow from `start` at time 0."""
    order = jnp.argsort(times)
    fixed = jax.lax.stop_gradient(times)
    ends = fixed[order]
    tolerance = max(1e-11, 100 * float(jnp.finfo(times.dtype).eps))
    errors = diffrax.PIDController(rtol=tolerance, atol=tolerance)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(velocity_fn),
        diffrax.Dopri8(),
        t0=jnp.zeros_like(ends[0]),
        t1=ends[-1],
        dt0=None,
        y0=start,
        saveat=diffrax.SaveAt(ts=ends),
        # Steps end on every time asked for, because the interpolant is cruder than the solver.
        stepsize_controller=diffrax.ClipStepSizeController(errors, step_ts=ends),
        adjoint=diffrax.DirectAdjoint(),  # differentiable in forward and in reverse mode
        max_steps=65_536,  # stability bounds the steps, about 0.7/|Q*| at rest: enough for times to some 10^4/|Q*|
    )
    assert solution.ys is not None
    states = solution.ys[jnp.argsort(order)]
    # the derivative by the time is the velocity, at time 0 too, where the solver takes no step
    return states + jax.vmap(lambda t, zero, state: zero * velocity_fn(t, state, None))(fixed, times - fixed, states)


def _log_growth(
    t: Float[Array, ""], q_star: Float[Array, "mode"], alpha: Float[Array, "mode"], beta: Float[Array, "mode"]
) -> Float[Array, "mode"]:
    """log(alpha(t)/alpha_0) without the trace term; every sum is of terms that are not negative."""
    square = q_star**2 + 4 * (alpha * beta) ** 2
    s = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    # r_+ r_- = (alpha beta)^2: the smaller one from the larger one
    plus, minus = (s + q_star) / 2, (s - q_star) / 2
    r_plus = jnp.where(q_star >= 0, plus, (alpha * beta) ** 2 / jnp.where(q_star >= 0, 1, minus))
    r_minus = jnp.where(q_star <= 0, minus, (alpha * beta) ** 2 / jnp.where(q_star <= 0, 1, plus))
    decay, g = jnp.exp(-8 * s * t), 8 * _saturating(jnp.full_like(s, t), 8 * s)
    tiny = 1e2 * float(jnp.finfo(s.dtype).tiny)
    up, down = decay + (r_plus + beta**2) * g, decay + (r_minus + alpha**2) * g
    return (jnp.log(jnp.maximum(up, tiny)) - jnp.log(jnp.maximum(down, tiny))) / 2


def _saturating(t: Float[Array, "*shape"], rate: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """(1 - exp(-rate t))/rate for rate >= 0, and t at 0."""
    t = _finite(t)
    small = rate * t < 1e-3
    x = jnp.where(small, rate * t, 0)
    series = t * (1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5))))
    return jnp.where(small, series, -jnp.expm1(-rate * t) / jnp.where(small, 1, rate))


def _finite(t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """t, of which rate 0 at t = inf makes no NaN."""
    return jnp.minimum(t, jnp.finfo(t.dtype).max / 1e3)


def _tanh_over(t: Float[Array, ""], rate: Float[Array, "mode"]) -> Float[Array, "mode"]:
    """tanh(rate t)/rate, and t at rate 0."""
    small = jnp.abs(rate * t) < 1e-3
    x = jnp.where(small, rate * t, 0) ** 2
    return jnp.where(small, t * (1 - x / 3 * (1 - x * 0.4)), jnp.tanh(rate * t) / jnp.where(small, 1, rate))


def _lower_triangle(B: Float[Array, "dim width"]) -> Float[Array, "dim dim"]:
    """L with B = L Z^T, Z of orthonormal columns: Gram-Schmidt over the rows. A row that adds no rank has no column."""
    dim, width = B.shape
    negligible = 100 * jnp.finfo(B.dtype).eps * jnp.linalg.norm(jax.lax.stop_gradient(B))

    def step(Z: Float[Array, "dim width"], here: tuple[Array, Array]) -> tuple[Float[Array, "dim width"], Float[Array, "dim"]]:
        at, row = here
        first = Z @ row
        rest = row - first @ Z
        second = Z @ rest  # once more: the first time leaves roundings of row, which may be all there is in rest
        rest = rest - second @ Z
        square = rest @ rest
        new = square > negligible**2
        norm = jnp.where(new, jnp.sqrt(jnp.where(new, square, 1)), 0)
        z = jnp.where(new, rest / jnp.where(new, norm, 1), 0)
        return Z + at[:, None] * z[None, :], first + second + norm * at

    return jax.lax.scan(step, jnp.zeros((dim, width), B.dtype), (jnp.eye(dim, dtype=B.dtype), B))[1]
