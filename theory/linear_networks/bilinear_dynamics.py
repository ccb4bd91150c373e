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
\dot W = -G V \operatorname{diag}(p), \qquad \dot V = -G W \operatorname{diag}(p), \qquad
\dot a_k = -p_k G a_k, \qquad \dot b_k = p_k G b_k
$$

For one input and $b = 0$:

$$
q(t) = \frac{q^*}{1 + (q^*/q_0 - 1)\, e^{-12 q^* t}}
$$

For $p = 1$ and $a$, $b$ along the eigenvectors of $Q^*$, with $q = \alpha^2 - \beta^2$,

$$
\frac{d\alpha_i}{dt} = -g_i \alpha_i, \qquad \frac{d\beta_i}{dt} = g_i \beta_i, \qquad
g_i = 4 (q_i - q^*_i) + 2 \sum_j (q_j - q^*_j)
$$

and $\alpha_i \beta_i$ is conserved. Without the trace term in $L$, with $s = \sqrt{(q^*)^2 + 4 (\alpha \beta)^2}$,
$r_\pm = (s \pm q^*)/2$, $E = e^{-8 s t}$, $g = (1 - E)/s$:

$$
\left(\frac{\alpha}{\alpha_0}\right)^2 = \left(\frac{\beta_0}{\beta}\right)^2
= \frac{E + (r_+ + \beta_0^2)\, g}{E + (r_- + \alpha_0^2)\, g}
$$

For $p = 1$ and $W = V = A$, of any directions and rank, with $M = e^{4 Q^* t - C}$, $dC/dt = 2 \operatorname{tr}(Q - Q^*)$ and
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
derived here; Riccati solutions and balancedness are textbook for matrix factorisation. Checked against the flow of $W$,
$V$.

Finite size. None. Steps of size $\eta$ break the conservation laws by $O(\eta)$. `eigen_flow` and `riccati_flow` with the trace
are integrated numerically, to 1e-11 in float64 and 1e-5 in float32, up to times of some $10^4/\|Q^*\|$, beyond which the solver
raises an error; the other solutions are exact, and so is `eigen_flow` after infinite time.

Example. Large eigenvalues are learned first, after a time of about $\ln(q^*/q_0)/(12 q^*)$: shares $q/q^*$ at three times.

>>> import jax.numpy as jnp
>>> from closedform.theory.linear_networks.bilinear_dynamics import logistic
>>> times = jnp.array([0.1, 0.3, 1.0])
>>> [[round(float(share), 3) for share in logistic(times, q, 0.01) / q] for q in (2.0, 0.5)]
[[0.052, 0.871, 1.0], [0.036, 0.11, 0.892]]
"""

import math
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, Bool, Float, Real

from ...documented import documented
from ..numerics import exact
from ..numerics.arguments import FINITE, ArrayLike, Range, at_least, takes
from ..numerics.exponentials import saturating
from . import _factored

Numbers = Real[ArrayLike, "*#shape"]


@documented
class Modes(NamedTuple):
    """A state that is diagonal in the eigenvectors of the target; leading axes are those of the time."""

    alpha: Float[Array, "*time mode"]
    beta: Float[Array, "*time mode"]

    @property
    def q(self) -> Float[Array, "*time mode"]:
        """Eigenvalues alpha^2 - beta^2 of the interaction matrix."""
        return self.alpha**2 - self.beta**2


@documented
class Conserved(NamedTuple):
    """Conserved quantities of gradient flow; with weight decay (omega/2)(|W|^2 + |V|^2 + |P|^2) each falls as exp(-2 omega t).

    `unit` is conserved for any loss of the output and any readout, trained or not, and `readout` if the readout is trained. The
    three matrices are conserved for a fixed readout, each at the pairs in its mask; at other pairs, and for a trained readout,
    they change.
    """

    unit: Float[Array, "width"]  # |w_k|^2 - |v_k|^2
    readout: Float[Array, "width"]  # |w_k|^2 - |p_k|^2, over the outputs
    matrix: Float[Array, "width width"]  # (W + V)^T (W - V), 4 a_k.b_k': where `equal`
    sums: Float[Array, "width width"]  # (W + V)^T (W + V), 4 a_k.a_k': where `opposite`
    differences: Float[Array, "width width"]  # (W - V)^T (W - V), 4 b_k.b_k': where `opposite`
    equal: Bool[Array, "width width"]  # p_k = p_k'
    opposite: Bool[Array, "width width"]  # p_k = -p_k'


@takes(time=Range(), target=FINITE, initial=FINITE)
def logistic(time: Numbers, target: Numbers, initial: Numbers) -> Float[Array, "*#shape"]:
    """q(t) = q*/(1 + (q*/q_0 - 1) exp(-12 q* t)), one input, from a^2 = q_0 and b = 0; for q_0 < 0 from b^2 = -q_0 and a = 0.

    A target of the other sign, or 0, is approached as far as 0. Any time is allowed, infinity included. Negative times follow
    the flow through q_0 backwards; the result is infinite before the time at which that flow came from infinity.

    >>> [round(float(logistic(time, 1, 0.01)), 4) for time in (-0.1, 0.3, jnp.inf)]
    [0.003, 0.2699, 1.0]
    """
    t, target, start = jnp.broadcast_arrays(time, target, initial)
    sign = jnp.where(start < 0, -1, 1).astype(t.dtype)
    q_star, q0 = sign * target, sign * start
    endless = jnp.isinf(t)
    now = jnp.where(endless, 0, t)
    rate = 12 * q_star
    exponent = rate * now
    grows = exponent >= 0
    decay = jnp.exp(-jnp.where(grows, exponent, -exponent))
    # the formula times exp(-12 q* t) where that is below 1, above and below
    below = jnp.where(grows, decay, 1) + 12 * q0 * saturating(now, rate)
    # backwards in time from close to a positive target, without cancellation
    close = ~grows & (now < 0) & (q0 > q_star / 2) & (q0 < 2 * q_star)
    near = jnp.where(close, q_star, 1)
    below = jnp.where(close, (near - q0) / near + q0 / near * decay, below)
    rests = (q0 == 0) | (close & (q0 == q_star) & (decay == 0))
    defined = (below > 0) & ~endless
    q = jnp.where(grows, 1, decay) / jnp.where(defined, below, 1)
    first = jnp.where(rests | (q0 == q_star), q0, jnp.where(q0 > jnp.maximum(q_star, 0), jnp.inf, 0))
    last = jnp.where(q0 > 0, jnp.maximum(q_star, 0), 0)
    ends = jnp.where(t > 0, last, jnp.where(endless, first, jnp.where(rests, q0, jnp.inf)))
    return jnp.where(defined, start * q, sign * ends)


@takes(time=at_least(0), target=FINITE, alpha=FINITE, beta=FINITE)
def eigen_flow(
    time: Real[ArrayLike, "*time"],
    target: Real[ArrayLike, "mode"],
    alpha: Real[ArrayLike, "mode"],
    beta: Real[ArrayLike, "mode"],
    trace: bool = True,
) -> Modes:
    """Modes at each time from alpha and beta at time 0; times in any order. Without the trace term, in closed form.

    An infinite time gives the limit. In float32 alpha and beta below 1e-18 count as 0, because their squares underflow.

    >>> flow = eigen_flow([0.5, jnp.inf], [2, -0.5], [0.1, 0.1], [0.1, 0.1])
    >>> [[round(float(q), 3) for q in row] for row in flow.q]
    [[1.833, -0.021], [2.0, -0.5]]
    """
    t, q_star, alpha0, beta0 = map(jnp.asarray, (time, target, alpha, beta))

    def modes(log_growth: Float[Array, "mode"]) -> Modes:
        # Two factors, because the growth of a tiny start overflows exp. A start of 0 stays 0: its second factor is 1 at most.
        bounded = jnp.clip(log_growth, -limit, limit)
        growth, rest = jnp.exp(bounded), log_growth - bounded
        return Modes(alpha0 * growth * jnp.exp(jnp.minimum(rest, up)), beta0 / growth * jnp.exp(jnp.minimum(-rest, down)))

    def velocity(_, log_growth: Float[Array, "mode"], args: object) -> Float[Array, "mode"]:
        error = modes(log_growth).q - q_star
        return -4 * error - 2 * jnp.sum(error)

    limit = -exact.log(float(jnp.finfo(t.dtype).tiny)) / 4
    sizes = (jnp.abs(jax.lax.stop_gradient(start)) for start in (alpha0, beta0))
    up, down = (-jnp.log(jnp.where((size > 0) & (size < 1), size, 1)) for size in sizes)
    endless = jnp.isinf(t.ravel())
    times = jnp.where(endless, 0, t.ravel())
    # the state is the logarithm of alpha/alpha_0 = beta_0/beta, which conserves alpha beta to rounding
    if trace:
        log_growths = _integrate(velocity, times, jnp.zeros_like(q_star), len(q_star))
    else:
        log_growths = jax.vmap(lambda now: _log_growth(now, q_star, alpha0, beta0))(times)
    last = _last_modes(q_star, alpha0, beta0, trace)
    rows = (jnp.where(endless[:, None], end[None], row) for row, end in zip(jax.vmap(modes)(log_growths), last, strict=True))
    return Modes(*(row.reshape(*t.shape, *q_star.shape) for row in rows))


@takes(time=at_least(0, finite=True), target=FINITE, a0=FINITE)
def riccati_flow(
    time: Real[ArrayLike, "*time"],
    target: Real[ArrayLike, "dim dim"],
    a0: Real[ArrayLike, "dim width"],
    trace: bool = True,
) -> Float[Array, "*time dim dim"]:
    """Q(t) from W = V = a0 at p = 1, for any symmetric target and any a0; finite times in any order.

    Parts of a0 below 100 roundings of its norm count as missing rank. Without the trace term the solution is in closed form,
    for any time. First derivatives are right everywhere, higher ones where a0 has full rank and no eigenvalue of the target
    repeats.

    >>> q = riccati_flow([0, 9], [[1, 0], [0, -0.5]], [[0.3], [0.3]], trace=False)
    >>> [[round(float(entry), 4) for entry in jnp.diag(matrix)] for matrix in q]
    [[0.09, 0.09], [1.0, 0.0]]
    """
    # dQ/d(8 t) = (Q*/2) Q + Q (Q*/2) - Q^2, and the trace term shifts all growth alike
    half_target, start = jnp.asarray(target) / 2, jnp.asarray(a0)
    times = 8 * jnp.asarray(time).ravel()

    def squared(roots: Float[Array, "dim rank time"]) -> Float[Array, "*time dim dim"]:
        columns = jnp.swapaxes(roots, 0, 1)
        return jnp.moveaxis(_factored.sum_of_products(columns, columns), -1, 0).reshape(*jnp.shape(time), *half_target.shape)

    if not trace:
        return squared(_factored.flow_root(times, half_target, start))
    unit, root_unit = _factored.units(half_target, start)
    at, dim = _factored.start(half_target / unit, start / root_unit), len(half_target)

    def root(now: Float[Array, "time"], states: Float[Array, "state time"]) -> Float[Array, "dim rank time"]:
        log_m = at.values[:, None] * now[None] - states[:1]
        return _factored.half(at, now, log_m, states[1 : 1 + dim], states[1 + dim :])

    def velocity(now: Real[ArrayLike, ""], state: Float[Array, "state"], args: object) -> Float[Array, "state"]:
        # j = J/(1 + M^2) stays of order 1/q* where J grows without bound; h is the integral of 2 J, over 1 + M^2
        j, h = state[1 : 1 + dim], state[1 + dim :]
        shift = (jnp.sum(root(jnp.asarray(now)[None], state[:, None]) ** 2) - 2 * jnp.sum(at.values)) / 4
        share, rate = jax.nn.sigmoid(2 * (at.values * now - state[0])), 2 * (at.values - shift)
        return jnp.concatenate([shift[None], share * (1 - rate * j), 2 * j - share * rate * h])

    scaled = times * unit
    states = _integrate(velocity, scaled, jnp.zeros(1 + 2 * dim, scaled.dtype), 1 + dim)
    return unit * squared(jnp.einsum("ij,jkt->ikt", at.basis, root(scaled, states.T)))


@takes(w=FINITE, v=FINITE, p=FINITE)
def conserved(
    w: Real[ArrayLike, "dim width"], v: Real[ArrayLike, "dim width"], p: Real[ArrayLike, "*output width"] | None = None
) -> Conserved:
    """The conserved quantities of gradient flow, for a readout p of one or several outputs; ones by default.

    >>> kept = conserved([[1, 2]], [[0, 1]], [1, -1])
    >>> kept.unit.tolist(), kept.matrix.tolist()
    ([1.0, 3.0], [[1.0, 1.0], [3.0, 3.0]])
    >>> kept.equal.tolist()  # units 0 and 1 have opposite readouts: for them sums and differences hold
    [[True, False], [False, True]]
    """
    W, V = jnp.asarray(w), jnp.asarray(v)
    width = W.shape[1]
    P = jnp.ones((1, width), W.dtype) if p is None else jnp.asarray(p).reshape(math.prod(jnp.shape(p)[:-1]), width)
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


def _integrate(
    velocity_fn, times: Float[Array, "time"], start: Float[Array, "state"], controlled: int
) -> Float[Array, "time state"]:
    """States at `times`, in any order, of the flow from `start` at time 0; the steps mind errors of the first `controlled`."""
    if times.size == 0 or start.size == 0:
        return jnp.zeros((times.size, start.size), start.dtype)
    order = jnp.argsort(times)
    fixed = jax.lax.stop_gradient(times)
    ends = fixed[order]
    tolerance = max(1e-11, 100 * float(jnp.finfo(times.dtype).eps))
    errors = diffrax.PIDController(rtol=tolerance, atol=tolerance, norm=lambda state: optimistix.rms_norm(state[:controlled]))
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
    # the derivative in time is the velocity, also at time 0, where the solver takes no step
    return states + jax.vmap(lambda t, zero, state: zero * velocity_fn(t, state, None))(fixed, times - fixed, states)


def _log_growth(
    t: Float[Array, ""], q_star: Float[Array, "mode"], alpha: Float[Array, "mode"], beta: Float[Array, "mode"]
) -> Float[Array, "mode"]:
    """log(alpha(t)/alpha_0) without the trace term; every sum is of terms that are not negative."""
    s = jnp.hypot(q_star, 2 * alpha * beta)
    # r_+ r_- = (alpha beta)^2: the smaller one from the larger one
    plus, minus = (s + q_star) / 2, (s - q_star) / 2
    r_plus = jnp.where(q_star >= 0, plus, (alpha * beta) ** 2 / jnp.where(q_star >= 0, 1, minus))
    r_minus = jnp.where(q_star <= 0, minus, (alpha * beta) ** 2 / jnp.where(q_star <= 0, 1, plus))
    least = -exact.log(4 * float(jnp.finfo(s.dtype).tiny))  # exp(-least) is no number that counts as 0
    decay, g = jnp.exp(-jnp.minimum(8 * s * t, least)), 8 * saturating(jnp.full_like(s, t), 8 * s)
    return (jnp.log(decay + (r_plus + beta**2) * g) - jnp.log(decay + (r_minus + alpha**2) * g)) / 2


def _last_modes(q_star: Float[Array, "mode"], alpha: Float[Array, "mode"], beta: Float[Array, "mode"], trace: bool) -> Modes:
    """The modes after infinite time: least loss, convex in q, if alpha_i = 0 keeps q_i <= 0 and beta_i = 0 keeps q_i >= 0.

    The minimum is q_i = q*_i - T/2, T = sum (q_i - q*_i), or q_i = 0 where q*_i - T/2 has the sign that is excluded.
    """
    up, down = alpha != 0, beta != 0

    def reached(wanted: Float[Array, "*row mode"]) -> Float[Array, "*row mode"]:
        return jnp.where(jnp.where(wanted > 0, up, down), wanted, 0)

    if trace:
        # T/2 is where a falling, piecewise linear function is 0: its sign at q*_i says whether q*_i - T/2 is above 0
        halves = jnp.broadcast_to(q_star, (len(q_star), len(q_star))).T
        excess = jnp.sum(jax.vmap(reached)(q_star[None] - halves), axis=1) - jnp.sum(q_star) - 2 * q_star
        kept = jnp.where(excess < 0, up, down)
        half = -jnp.sum(jnp.where(kept, 0, q_star)) / (jnp.sum(kept.astype(q_star.dtype)) + 2)
        q = jnp.where(kept, q_star - half, 0)
    else:
        q = reached(q_star)
    product = jnp.abs(alpha * beta)
    larger = (jnp.abs(q) + jnp.hypot(q, 2 * product)) / 2
    larger = jnp.where(larger > 0, jnp.sqrt(jnp.where(larger > 0, larger, 1)), 0)
    smaller = product / jnp.where(larger > 0, larger, 1)
    return Modes(jnp.sign(alpha) * jnp.where(q >= 0, larger, smaller), jnp.sign(beta) * jnp.where(q >= 0, smaller, larger))
