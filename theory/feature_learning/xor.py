r"""One neuron under minibatch SGD on XOR while the network's output is small: phase 1, its length, noise and rates.

Formula. Each neuron $(w, a)$ moves alone. With $\alpha = w \cdot \mu_1$, $\beta = w \cdot \mu_2$, $s = |w_\perp|$, and $s g$
for $w_\perp \cdot x_\perp$,

$$
\begin{align*}
\frac{d\alpha}{dt} &= \frac{a}{2} \operatorname{erf}\left(\frac{\alpha}{s \sqrt{2}}\right) \\
\frac{d\beta}{dt} &= -\frac{a}{2} \operatorname{erf}\left(\frac{\beta}{s \sqrt{2}}\right) \\
\frac{ds}{dt} &= \frac{a}{2} \left[\phi\left(\frac{\alpha}{s}\right) - \phi\left(\frac{\beta}{s}\right)\right]
    + \frac{\kappa a^2}{2 s} \\
\frac{da}{dt} &= \frac{1}{2} \left[\psi(\alpha, s) - \frac{\alpha}{2} - \psi(\beta, s) + \frac{\beta}{2}\right],
    \qquad \psi(u, s) = \mathbb{E} \operatorname{relu}(u + s g)
\end{align*}
$$

For $a > 0$, $\alpha$ grows and $\beta$ decays as $e^{\pm\lambda t}$ until $\alpha = s$, at $T = \ln(d)/(2\lambda) - 1.21$ for
large $d$. Then $s$ and $\beta$ collapse to 0 in finite time and $\alpha = \sqrt{2} a$ grows as $e^{t/(2\sqrt{2})}$. For
$a < 0$ the roles of $\alpha$ and $\beta$ swap.

Regime. $d \to \infty$ ($w_\perp \cdot x_\perp$ becomes Gaussian), $\eta \to 0$ at fixed $t$, $\theta \to 0$ (no output), and
either the batch $m \to \infty$ ($\kappa = 0$) or $m$ of order $\eta d$ ($\kappa$ fixed, at most about 1: `noise_moments` keeps
$a$ fixed).

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $d$, $\eta$, $m$ | `dim`, `learning_rate`, `batch_size` | any | input dimension, step size, fresh examples per step |
| $\theta$ | `init_scale` | any | $\vert w\vert = \vert a\vert$ at the start |
| $t$ | `time` | any | $\eta$ times step (gradient-flow time) |
| $w \cdot \mu_1$ | `Neuron.alpha` | any | $\mu_1 = e_1 - e_2$ ($y = +1$) |
| $w \cdot \mu_2$ | `Neuron.beta` | any | $\mu_2 = e_1 + e_2$ ($y = -1$) |
| $\vert w_\perp\vert$, $a$ | `Neuron.s`, `Neuron.a` | any | norm of the coordinates 3 to $d$; output weight |
| $\kappa$ (ours) | `batch_noise` | any | $\eta d/(2 m)$ |
| $\psi$ (ours) | `relu_moments.relu_mean` | any | $\mathbb{E} \operatorname{relu}(u + s g)$ |
| $\phi$ (ours) | `normal.normal_pdf` | any | standard normal density |
| $\lambda$ (ours) | `BOOLEAN_RATES.small_signal` | `()` | $\phi(0) = 1/\sqrt{2\pi} = 0.398942$ |
| $S$ (ours) | `Moments.perp` | any | $\mathbb{E} s^2$ |
| $V$ (ours) | `Moments.signal` | any | $\mathbb{E}\, \text{sig}^2$; sig is $\alpha$ if $a > 0$ else $\beta$ |
| $U$ (ours) | `Moments.opposite` | any | $\mathbb{E}\, \text{opp}^2$; opp is the other one |

Factors. $f(x) = \frac{1}{p} \sum_j a_j \operatorname{relu}(w_j \cdot x)$. Loss $2\, \log(1 + e^{-y f})$:
$-d\,\text{loss}/df = y$ at $f = 0$; without the 2 every rate halves. Updates $-\eta p\, dL/dw_j$, $-\eta p\, dL/da_j$: the
$1/p$ of $f$ cancels. $\alpha = \sqrt{2} |w_\text{sig}|$, and so $|w|^2 = \alpha^2/2 + \beta^2/2 + s^2$. The drift is
homogeneous of degree 1 in $(\alpha, \beta, s, a)$.

Source. M. Glasgow, "SGD Finds then Tunes Features in Two-Layer Neural Networks with near-Optimal Sample Complexity",
arXiv 2309.15111. Read in its abstract and public reviews: a first phase of $\Theta(\log(d)/\eta)$ steps, with negligible
output and neurons that evolve independently. Recalled, not re-read: the $1/p$, the 2 in the loss, the start on the sphere.
The body was not read. Every formula and number in this file is derived here, none is the paper's, and no equation number is
known to us.

Finite size. Against enumeration of the hypercube, for 100 neurons uniform on the unit sphere, the drift is off by 0.016
(rms over components; at worst 0.10) at $d = 10$ and by 0.007 (0.06) at $d = 16$. `phase1_margin` takes $\alpha \ll s$ and
falls short later: at $d = 512$ by 2 % at $t = 4$, 10 % at $t = 6$. Once margins approach 1 the drift is too fast: see
`xor_mean_field`.

Example. At a typical start the signal grows and its opposite decays at the rate $\lambda = 1/\sqrt{2\pi}$:

>>> from closedform.theory.feature_learning import xor
>>> start = xor.typical_start(10_000)
>>> velocity = xor.drift(start)
>>> round(float(velocity.alpha / start.alpha), 3), round(float(velocity.beta / start.beta), 3)
(0.399, -0.399)
"""

import math
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import optimistix
from jax.scipy.special import erf
from jaxtyping import Array, Float, Real

from ...documented import documented
from ..numerics.arguments import FINITE, ArrayLike, above, at_least, between, each, takes
from ..numerics.normal import pdf_difference, standardize
from ..numerics.roots import square_root

Number = Real[ArrayLike, ""]
Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together


@documented
class Neuron(NamedTuple):
    """The four coordinates on which the drift of a neuron depends; fields may be arrays of neurons."""

    alpha: Float[Array, "*#shape"]  # w.mu_1, the signal if a > 0
    beta: Float[Array, "*#shape"]  # w.mu_2, the signal if a < 0
    s: Float[Array, "*#shape"]  # |w_perp| >= 0
    a: Float[Array, "*#shape"]  # output weight


@documented
class Moments(NamedTuple):
    """Second moments over neurons and minibatches, for init_scale 1."""

    perp: Float[Array, "*shape"]  # S = E s^2
    signal: Float[Array, "*shape"]  # V = E sig^2
    opposite: Float[Array, "*shape"]  # U = E opp^2


@documented
class Rates(NamedTuple):
    """Growth rates of the signal under -dloss/df = y, from E[y relu'(w.x) x] along w_sig, before and after it dominates."""

    small_signal: float  # (d ln|w_sig|/dt) / (a/s) for |w_sig| << s
    aligned: float  # (d|w_sig|/dt) / a for |w_sig| >> s


# With z = x.mu_1/sqrt 2: small_signal = phi(0) E[y z^2], aligned = E[y relu(z)].
BOOLEAN_RATES = Rates(1 / math.sqrt(2 * math.pi), 1 / (2 * math.sqrt(2)))  # x uniform on {-1, 1}^d, y = -x_1 x_2
# x normal, y = -sign(x_1 x_2), in polar coordinates: E[y z^2] = 2/pi.
GAUSSIAN_SIGN_RATES = Rates((2 / math.pi) / math.sqrt(2 * math.pi), (math.sqrt(2) - 1) / math.sqrt(2 * math.pi))
# x normal, y = -x_1 x_2 and loss -y f: E[y z^2] = (E z^4 - 1)/2 = 1.
GAUSSIAN_PRODUCT_RATES = Rates(1 / math.sqrt(2 * math.pi), 1 / (2 * math.sqrt(2 * math.pi)))

# Fitted here, not derived, to runs of xor_mean_field (random starts, d = 64..1024, theta <= 0.1, step -> 0): +- 0.1.
MARGIN_ONE_OFFSET = 2.33

_LAMBDA = BOOLEAN_RATES.small_signal

# The kappa at which alpha = s, a = c s, beta = 0 keeps its shape. The rates over s, with E = erf(1/sqrt 2) and
# G = phi(1) - phi(0), are c E/2 for alpha, c G/2 + kappa c^2/2 for s and E/4 + G/2 for a: c^2 = 1/2 + G/E, kappa c = E - G.
_E, _G = math.erf(1 / math.sqrt(2)), _LAMBDA * math.expm1(-1 / 2)
_CRITICAL_NOISE = (_E - _G) / math.sqrt(1 / 2 + _G / _E)  # 1.6157

_NEURON = each(Neuron, alpha=FINITE, beta=FINITE, s=at_least(0, finite=True), a=FINITE)
_NOT_NEGATIVE, _DIM = at_least(0, finite=True), at_least(2, finite=True)


@takes(neuron=_NEURON, batch_noise=_NOT_NEGATIVE)
def drift(neuron: Neuron, batch_noise: Numbers = 0.0) -> Neuron:
    """Velocity of a neuron at negligible output; `batch_noise` kappa adds the growth of s by minibatch noise.

    At s = 0 it returns the limit of small s, where the velocity of s is infinite if there is noise.

    Derived here: one step adds to w_perp a noise of covariance eta^2 (a^2/m) E[relu'(w.x) x x^T] = eta^2 a^2/(2 m) I:
    y^2 = 1 and, by x -> -x, half the examples are active. s^2 grows by eta^2 a^2 d/(2 m) a step, d(s^2)/dt = kappa a^2.

    >>> velocity = drift(Neuron(*jnp.array([1.0, 0.0, 1.0, 1.0])))
    >>> round(float(velocity.alpha), 4), round(float(velocity.s), 4), round(float(velocity.a), 4)
    (0.3413, -0.0785, 0.0922)
    """
    alpha, beta, s, a, kappa = jnp.broadcast_arrays(*neuron, batch_noise)
    u, v = standardize(alpha, s), standardize(beta, s)
    on_alpha, on_beta = erf(u / math.sqrt(2)), erf(v / math.sqrt(2))
    gap = pdf_difference(u, v)
    # Held where its square would underflow: without noise, 0 times the slope of 1/s must stay 0.
    unit = jnp.where(a == 0, 1, jnp.abs(a))
    ratio = jnp.maximum(s / unit, 4 * math.sqrt(jnp.finfo(s.dtype).tiny))
    noise_growth = jnp.where((s > 0) | (kappa * a == 0), kappa * a * (a / unit) / ratio / 2, jnp.inf)
    return Neuron(
        alpha=a / 2 * on_alpha,
        beta=-a / 2 * on_beta,
        s=a / 2 * gap + noise_growth,
        a=(alpha * on_alpha - beta * on_beta) / 4 + s * gap / 2,  # psi(u, s) - u/2 = u erf(u/(s sqrt 2))/2 + s phi(u/s)
    )


@takes(dim=at_least(2), init_scale=_NOT_NEGATIVE)
def typical_start(dim: Numbers, init_scale: Numbers = 1.0) -> Neuron:
    """The start whose components have their root-mean-square size: alpha = beta = sqrt(2/d) theta, |w| = a = theta."""
    d, theta = jnp.broadcast_arrays(dim, init_scale)
    component = theta * (math.sqrt(2) / jnp.sqrt(d))
    return Neuron(component, component, theta * square_root(1 - 2 / d), theta)


@takes(time=_NOT_NEGATIVE, start=_NEURON, batch_noise=_NOT_NEGATIVE)
def trajectory(time: Real[ArrayLike, "*time"], start: Neuron, batch_noise: Number = 0.0) -> Neuron:
    """The neuron at each finite `time` >= 0, of any shape and in any order, from a `start` of scalars (vmap over several).

    Where s collapses the velocity of beta jumps at beta = 0. Noise rounds that corner off (s floats at kappa a/lambda): the
    solver's tolerance, 1e-12 in float64 and 1e-5 in float32, is added to `batch_noise`, so that past the collapse s reads
    2.5e-12 a, not 0. Components that overflow are infinite. Up to time 30 float32 was found within 5e-4 of float64, relative to
    the largest component, from starts whose components are at least 1e-3 of the largest, and within 5e-3 down to 1e-6.
    """
    start_ = jnp.stack(jnp.broadcast_arrays(*start))
    if start_.ndim > 1:
        raise ValueError(f"start must be one neuron, of single numbers, got shape {start_.shape[1:]}; vmap over several")
    if time.size == 0:
        return Neuron(*jnp.zeros((4, *time.shape), time.dtype))
    tolerance = _tolerance(time)
    kappa = batch_noise + tolerance
    order = jnp.argsort(time.ravel())
    times = time.ravel()[order]
    ends = jax.lax.stop_gradient(times)
    # By homogeneity the unit of length is free, and no derivative goes through it. A neuron that is 0 stays 0.
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(start_)))
    unit = jnp.where(size > 0, size, 1)
    # A signal far below the other components grows, and its error with it: the absolute tolerance is smaller.
    errors = diffrax.PIDController(rtol=tolerance, atol=tolerance / 100)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(_velocity_of_direction_and_log_size),
        # Implicit, because beta and s relax at the rate lambda a/s, which has no bound as s collapses.
        diffrax.Kvaerno5(root_finder=diffrax.with_stepsize_controller_tols(optimistix.Chord)()),
        t0=jnp.zeros_like(ends[0]),
        t1=ends[-1],
        dt0=None,
        y0=jnp.append(start_ / unit, 0),
        args=kappa,
        saveat=diffrax.SaveAt(ts=ends),
        # Steps end on every time asked for, because the interpolant is cruder than the solver.
        stepsize_controller=diffrax.ClipStepSizeController(errors, step_ts=ends),
        adjoint=diffrax.DirectAdjoint(),  # differentiable in forward and in reverse mode
        max_steps=4096 + times.size,
    )
    assert solution.ys is not None
    # The solver's times are constants, time 0 among them: a midpoint step of length 0 has the first two derivatives in time.
    velocity = jax.vmap(lambda y: _velocity_of_direction_and_log_size(None, y, kappa))
    passed = (times - ends)[:, None]
    states = solution.ys + passed * velocity(solution.ys + passed / 2 * velocity(solution.ys))
    direction, log_size = states[:, :4], states[:, 4:]
    grown = jnp.where(direction == 0, 0, direction * jnp.exp(log_size) * unit)
    return Neuron(*grown[jnp.argsort(order)].T.reshape(4, *time.shape))


@takes(dim=above(4, finite=True), batch_noise=between(0, _CRITICAL_NOISE, high_open=True))
def phase1_length(dim: Number, batch_noise: Number = 0.0) -> tuple[Float[Array, ""], Neuron]:
    """The time at which alpha = s from the typical start of scale 1, and the neuron then.

    For dim > 4, where the start has alpha < s, and noise < 1.6157; above, s stays ahead of alpha for ever (derived here: there
    the growing solution alpha = u s, a = c s, beta = 0 of the drift has u < 1). nan where a traced dim or noise is out of this
    range.

    >>> time, neuron = phase1_length(100)
    >>> round(float(time), 2), round(float(neuron.a), 2)
    (4.55, 1.09)
    """
    tolerance = _tolerance(dim)
    valid = (dim > 4) & (batch_noise < _CRITICAL_NOISE)
    d, kappa = jnp.where(valid, dim, 5), jnp.where(valid, batch_noise, 0)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(_velocity_of_logarithms),
        diffrax.Tsit5(),
        t0=jnp.zeros_like(d),
        t1=jnp.full_like(d, math.inf),
        dt0=None,
        y0=jnp.log(jnp.stack(typical_start(d))),
        args=kappa,
        # All rates are of order 1. Without a bound the linear growth invites steps whose trial states overflow.
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance, dtmax=1),
        event=diffrax.Event(_signal_excess, optimistix.Newton(tolerance, tolerance), direction=True),
        adjoint=diffrax.DirectAdjoint(),
    )
    assert solution.ts is not None
    assert solution.ys is not None
    time, *neuron = jnp.where(valid, jnp.append(solution.ts[:1], jnp.exp(solution.ys[0])), jnp.nan)
    return time, Neuron(*neuron)


@takes(time=at_least(0), dim=_DIM, init_scale=_NOT_NEGATIVE)
def phase1_margin(time: Numbers, dim: Numbers, init_scale: Numbers = 1.0) -> Float[Array, "*shape"]:
    """Mean of y f over the clusters, E[lambda a (alpha^2 - beta^2)/(4 s)] = (lambda theta^2/d) sinh(2 lambda t)."""
    t, d, theta = jnp.broadcast_arrays(time, dim, init_scale)
    x = jnp.where(theta > 0, _LAMBDA * t, 0)  # 0 at theta = 0, for ever
    return 2 * _LAMBDA / d * (theta * jnp.sinh(x)) * (theta * jnp.cosh(x))  # sinh 2x overflows before the product does


@takes(dim=at_least(2), init_scale=_NOT_NEGATIVE)
def time_to_margin_one(dim: Numbers, init_scale: Numbers) -> Float[Array, "*shape"]:
    """Time to mean margin 1 for many neurons and small steps: ln(d)/(2 lambda) + 2 sqrt(2) ln(1/theta) + 2.33 (fitted).

    Derived here but for the offset: the signal dominates after ln(d)/(2 lambda), then margin ~ a^2 ~ exp(t/sqrt 2).
    """
    d, theta = jnp.broadcast_arrays(dim, init_scale)
    return jnp.log(d) / (2 * _LAMBDA) - 2 * math.sqrt(2) * jnp.log(theta) + MARGIN_ONE_OFFSET


@takes(learning_rate=_NOT_NEGATIVE, dim=_DIM, batch_size=above(0))
def noise_parameter(learning_rate: Numbers, dim: Numbers, batch_size: Numbers) -> Float[Array, "*shape"]:
    """kappa = eta d/(2 m), the growth rate of |w|^2/theta^2 by minibatch noise.

    >>> round(float(noise_parameter(0.1, 256, 128)), 4)
    0.1
    """
    eta, d, m = jnp.broadcast_arrays(learning_rate, dim, batch_size)
    return eta * d / (2 * m)


@takes(time=at_least(0), dim=_DIM, batch_noise=_NOT_NEGATIVE)
def noise_moments(time: Numbers, dim: Numbers, batch_noise: Numbers) -> Moments:
    """Moments in phase 1: S' = kappa, V' = 2 lambda V/sqrt(S) + 2 kappa/d, U' = -2 lambda U/sqrt(S) + 2 kappa/d.

    From S = 1, V = U = 2/d. In q = sqrt(S) these are linear, dV/dq = V/r + 4 q/d with r = kappa/(4 lambda): hence
    V = (2/d) [e^E + 2 r (e^E - 1) + 2 r^2 (e^E - 1 - E)] with E = (q-1)/r = 4 lambda t/(q + 1), and U with -E and -r.
    Each term is positive.
    """
    t, d, kappa = jnp.broadcast_arrays(time, dim, batch_noise)
    ended = jnp.isinf(t)
    t = jnp.where(ended, 0, t)
    perp, r = 1 + kappa * t, kappa / (4 * _LAMBDA)
    x = 4 * _LAMBDA * t / (jnp.sqrt(perp) + 1)  # E, regular at kappa = 0
    decay, decayed = jnp.exp(-x), -jnp.expm1(-x)
    limit = jnp.where(kappa > 0, jnp.inf, jnp.zeros_like(t))  # the limit of S - 1, and of U, which grows as sqrt(t)
    beyond = _exp_beyond_linear(-x)
    # e^-E (e^E - 1 - E) = E (1 - e^-E) - (e^-E - 1 + E), two terms in the ratio 2 to 1 or more
    signal = 2 / d * jnp.exp(x) * (1 + 2 * r * (decayed + r * (x * decayed - beyond)))
    opposite = 2 / d * (decay + 2 * r * (decayed + r * beyond))
    return Moments(
        perp=jnp.where(ended, 1 + limit, perp),
        signal=jnp.where(ended, jnp.inf, signal),
        opposite=jnp.where(ended, limit, opposite),
    )


@takes(time=at_least(0), dim=_DIM, batch_noise=_NOT_NEGATIVE)
def balance_growth(time: Numbers, dim: Numbers, batch_noise: Numbers) -> Float[Array, "*shape"]:
    """(|w|^2 - a^2)/theta^2 = kappa t (1 - 1/d) in phase 1; gradient flow would keep the balance |w| = |a|."""
    t, d, kappa = jnp.broadcast_arrays(time, dim, batch_noise)
    t = jnp.where(jnp.isinf(t) & (kappa == 0), 0, t)
    return kappa * t * (1 - 1 / d)


@takes(dim=_DIM, batch_noise=above(0))
def phase1_samples(dim: Numbers, batch_noise: Numbers) -> Float[Array, "*shape"]:
    """Examples used until E sig^2 = theta^2: n = d T/(2 kappa), T = L/lambda + kappa L^2/(4 lambda^2), L = ln(d/2)/2.

    An estimate derived here, without the noise added to V, and not simulated on its own. It is of order d log d at
    fixed kappa and tends to (pi/4) d L^2 for large kappa.
    """
    d, kappa = jnp.broadcast_arrays(dim, batch_noise)
    log_growth = jnp.log(d / 2) / 2
    return d * (log_growth / _LAMBDA / kappa + (log_growth / _LAMBDA) ** 2 / 4) / 2


def _velocity(t: object, y: Float[Array, "4"], kappa: Float[Array, ""]) -> Float[Array, "4"]:
    neuron = Neuron(*y)
    # Trial steps may end at s <= 0. Bounding s there, well below the floor kappa a/lambda, keeps their noise finite.
    held = neuron._replace(s=jnp.maximum(neuron.s, 0.1 * kappa * jnp.abs(neuron.a)))
    return jnp.stack(drift(held, kappa))


def _velocity_of_direction_and_log_size(t: object, y: Float[Array, "5"], kappa: Float[Array, ""]) -> Float[Array, "5"]:
    # By homogeneity the size drops out of the direction's velocity: exponential growth then costs no accuracy.
    direction = y[:4]
    velocity = _velocity(t, direction, kappa)
    square = direction @ direction
    growth = direction @ velocity / jnp.where(square > 0, square, 1)
    return jnp.append(velocity - growth * direction, growth)


def _velocity_of_logarithms(t: object, y: Float[Array, "4"], kappa: Float[Array, ""]) -> Float[Array, "4"]:
    # All four are positive. Logarithms keep the digits of alpha however small it is.
    values = jnp.maximum(jnp.exp(y), float(jnp.finfo(y.dtype).tiny))
    return jnp.stack(drift(Neuron(*values), kappa)) / values


def _signal_excess(t: object, y: Float[Array, "4"], args: object, **kwargs: object) -> Float[Array, ""]:
    return jnp.asarray(y[0] - y[2], float)  # diffrax wants the default float here, whatever y is


def _tolerance(x: Float[Array, "..."]) -> float:
    return max(1e-12, 100 * float(jnp.finfo(x.dtype).eps))


def _exp_beyond_linear(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """e^x - 1 - x without cancellation: by 16 terms of its series where |x| < 1/2, the next is below 2^-54 of the first."""
    near = jnp.abs(x) < 0.5
    z = jnp.where(near, x, 0)
    series = jnp.ones_like(z)
    for k in range(18, 2, -1):  # x^2/2 (1 + x/3 (1 + x/4 (1 + ...)))
        series = 1 + z / k * series
    return jnp.where(near, z**2 / 2 * series, jnp.expm1(x) - x)
