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
| $\kappa$ (ours) | `noise` | any | $\eta d/(2 m)$ |
| $\psi$ (ours) | `gaussian.relu_mean` | any | $\mathbb{E} \operatorname{relu}(u + s g)$ |
| $\phi$ (ours) | `gaussian.normal_pdf` | any | standard normal density |
| $\lambda$ (ours) | `BOOLEAN_RATES.small_signal` | `()` | $\phi(0) = 1/\sqrt{2\pi} = 0.398942$ |
| $S$ (ours) | `Moments.perp` | any | $\mathbb{E} s^2$ |
| $V$ (ours) | `Moments.signal` | any | $\mathbb{E}\, \text{sig}^2$; sig is $\alpha$ if $a > 0$ else $\beta$ |
| $U$ (ours) | `Moments.opposite` | any | $\mathbb{E}\, \text{opp}^2$; opp is the other one |

Factors. $f(x) = \frac{1}{p} \sum_j a_j \operatorname{relu}(w_j \cdot x)$. Loss $2\, \log(1 + e^{-y f})$:
$-d\,\text{loss}/df = y$ at $f = 0$; without the 2 every rate halves. Updates $-\eta p\, dL/dw_j$, $-\eta p\, dL/da_j$: the
$1/p$ of $f$ cancels. $\alpha = \sqrt{2} |w_\text{sig}|$, and so $|w|^2 = \alpha^2/2 + \beta^2/2 + s^2$. The drift is
homogeneous of degree 1 in $(\alpha, \beta, s, a)$.

Source. M. Glasgow, "SGD Finds then Tunes Features in Two-Layer Neural Networks with near-Optimal Sample Complexity",
arXiv 2309.15111. Read [S], in its abstract and public reviews: a first phase of $\Theta(\log(d)/\eta)$ steps, with
negligible output and neurons that evolve independently. Recalled, not re-read [Q]: the $1/p$, the 2 in the loss, the
start on the sphere. The body was not read. Every formula and number in this file is derived here [D], none is the
paper's, and no equation number is known to us.

Finite size. Against enumeration of the hypercube, for 100 neurons uniform on the unit sphere, the drift is off by 0.016
(rms over components; at worst 0.10) at $d = 10$ and by 0.007 (0.06) at $d = 16$. `phase1_margin` takes $\alpha \ll s$ and
falls short later: at $d = 512$ by 2 % at $t = 4$, 10 % at $t = 6$. Once margins near 1 the drift is too fast: see
`xor_mean_field`.

Example. At a typical start the signal grows and its opposite decays at the rate $\lambda = 1/\sqrt{2\pi}$:

>>> from closedform.theory import xor
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
from jaxtyping import Array, ArrayLike, Float, Real

from .gaussian import as_floats, normal_pdf, relu_mean, standardize

Number = Real[ArrayLike, ""]
Numbers = Real[ArrayLike, "*#shape"]  # numbers and arrays that broadcast together


class Neuron(NamedTuple):
    """What the drift sees of a neuron, or of an array of them."""

    alpha: Float[Array, "*neuron"]  # w.mu_1, the signal if a > 0
    beta: Float[Array, "*neuron"]  # w.mu_2, the signal if a < 0
    s: Float[Array, "*neuron"]  # |w_perp| > 0
    a: Float[Array, "*neuron"]  # output weight


class Moments(NamedTuple):
    """Second moments over neurons and minibatches, for init_scale 1."""

    perp: Float[Array, "*time"]  # S = E s^2
    signal: Float[Array, "*time"]  # V = E sig^2
    opposite: Float[Array, "*time"]  # U = E opp^2


class Rates(NamedTuple):
    """Growth of the signal under -dloss/df = y, by E[y relu'(w.x) x] along w_sig, before and after it dominates."""

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


def drift(neuron: Neuron, noise: Real[ArrayLike, "..."] = 0.0) -> Neuron:
    """Velocity of a neuron at negligible output; `noise` kappa adds the growth of s by minibatch noise.

    Derived here: one step adds to w_perp a noise of covariance eta^2 (a^2/m) E[relu'(w.x) x x^T] = eta^2 a^2/(2 m) I:
    y^2 = 1 and, by x -> -x, half the examples are active. s^2 grows by eta^2 a^2 d/(2 m) a step, d(s^2)/dt = kappa a^2.

    >>> velocity = drift(Neuron(*jnp.array([1.0, 0.0, 1.0, 1.0])))
    >>> round(float(velocity.alpha), 4), round(float(velocity.s), 4), round(float(velocity.a), 4)
    (0.3413, -0.0785, 0.0922)
    """
    alpha, beta, s, a, kappa = as_floats(*neuron, noise)
    u, v = standardize(alpha, s), standardize(beta, s)
    return Neuron(
        alpha=a / 2 * erf(u / math.sqrt(2)),
        beta=-a / 2 * erf(v / math.sqrt(2)),
        s=a / 2 * (normal_pdf(u) - normal_pdf(v)) + kappa * a**2 / (2 * jnp.maximum(s, float(jnp.finfo(s.dtype).tiny) ** 0.3)),
        a=(relu_mean(alpha, s) - alpha / 2 - relu_mean(beta, s) + beta / 2) / 2,
    )


def typical_start(dim: Numbers, init_scale: Numbers = 1.0) -> Neuron:
    """The start whose components have their root-mean-square size: alpha = beta = sqrt(2/d) theta, |w| = a = theta."""
    d, theta = jnp.broadcast_arrays(*as_floats(dim, init_scale))
    component = theta * jnp.sqrt(2 / d)
    return Neuron(component, component, theta * jnp.sqrt(1 - 2 / d), theta)


def trajectory(time: Real[ArrayLike, "*time"], start: Neuron, noise: Number = 0.0) -> Neuron:
    """The neuron at each `time` >= 0, of any shape and in any order, from a `start` of scalars (vmap over several).

    Where s collapses the velocity of beta jumps at beta = 0. Noise rounds that corner off (s floats at kappa a/lambda):
    the solver's tolerance, 1e-12 in float64, is added to `noise`, so that past the collapse s reads 2.5e-12 a, not 0.
    """
    t, kappa, *components = as_floats(time, noise, *start)
    y0, tolerance = jnp.stack(components), _tolerance(t)
    size = jnp.linalg.norm(y0)
    order = jnp.argsort(t.ravel())
    times = t.ravel()[order]
    ends = jax.lax.stop_gradient(times)
    errors = diffrax.PIDController(rtol=tolerance, atol=tolerance)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(_velocity_of_direction_and_log_size),
        # Implicit, because beta and s relax at the rate lambda a/s, which has no bound as s collapses.
        diffrax.Kvaerno5(root_finder=diffrax.with_stepsize_controller_tols(optimistix.Chord)()),
        t0=jnp.zeros_like(times[0]),
        t1=ends[-1],
        dt0=None,
        y0=jnp.append(y0 / size, jnp.log(size)),
        args=kappa + tolerance,
        saveat=diffrax.SaveAt(ts=times),
        # Steps end on every time asked for, because the interpolant is cruder than the solver.
        stepsize_controller=diffrax.ClipStepSizeController(errors, step_ts=ends),
        adjoint=diffrax.DirectAdjoint(),  # differentiable in forward and in reverse mode
        max_steps=4096 + times.size,
    )
    assert solution.ys is not None
    direction, log_size = solution.ys[:, :4], solution.ys[:, 4:]
    return Neuron(*(direction * jnp.exp(log_size))[jnp.argsort(order)].T.reshape(4, *t.shape))


def phase1_length(dim: Number, noise: Number = 0.0) -> tuple[Float[Array, ""], Neuron]:
    """The time at which alpha = s from the typical start of scale 1, and the neuron then.

    For dim > 4, where the start has alpha < s, and noise < 1.616; above, s keeps ahead of alpha for ever (derived here:
    there the growing solution alpha = u s, a = c s, beta = 0 of the drift has u < 1), and the solver raises.

    >>> time, neuron = phase1_length(100)
    >>> round(float(time), 2), round(float(neuron.a), 2)
    (4.55, 1.09)
    """
    d, kappa = as_floats(dim, noise)
    tolerance = _tolerance(d)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(_velocity),
        diffrax.Tsit5(),
        t0=jnp.zeros_like(d),
        t1=jnp.full_like(d, math.inf),
        dt0=None,
        y0=jnp.stack(typical_start(d)),
        args=kappa,
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        event=diffrax.Event(_signal_excess, optimistix.Newton(tolerance, tolerance), direction=True),
        adjoint=diffrax.DirectAdjoint(),
    )
    assert solution.ts is not None
    assert solution.ys is not None
    return solution.ts[0], Neuron(*solution.ys[0])


def phase1_margin(time: Numbers, dim: Numbers, init_scale: Numbers = 1.0) -> Float[Array, "*#shape"]:
    """Mean of y f over the clusters, E[lambda a (alpha^2 - beta^2)/(4 s)] = (lambda theta^2/d) sinh(2 lambda t)."""
    t, d, theta = as_floats(time, dim, init_scale)
    return _LAMBDA * theta**2 / d * jnp.sinh(2 * _LAMBDA * t)


def time_to_margin_one(dim: Numbers, init_scale: Numbers) -> Float[Array, "*#shape"]:
    """Time to mean margin 1 for many neurons and small steps: ln(d)/(2 lambda) + 2 sqrt(2) ln(1/theta) + 2.33 (fitted).

    Derived here but for the offset: the signal dominates after ln(d)/(2 lambda), then margin ~ a^2 ~ exp(t/sqrt 2).
    """
    d, theta = as_floats(dim, init_scale)
    return jnp.log(d) / (2 * _LAMBDA) - 2 * math.sqrt(2) * jnp.log(theta) + MARGIN_ONE_OFFSET


def noise_parameter(learning_rate: Numbers, dim: Numbers, batch_size: Numbers) -> Float[Array, "*#shape"]:
    """kappa = eta d/(2 m), the growth rate of |w|^2/theta^2 by minibatch noise.

    >>> round(float(noise_parameter(0.1, 256, 128)), 4)
    0.1
    """
    eta, d, m = as_floats(learning_rate, dim, batch_size)
    return eta * d / (2 * m)


def noise_moments(time: Numbers, dim: Numbers, noise: Numbers) -> Moments:
    """Moments in phase 1: S' = kappa, V' = 2 lambda V/sqrt(S) + 2 kappa/d, U' = -2 lambda U/sqrt(S) + 2 kappa/d.

    From S = 1, V = U = 2/d. In q = sqrt(S) these are linear, dV/dq = V/r + 4 q/d with r = kappa/(4 lambda): hence
    V = (2/d) [e^{(q-1)/r} (1 + 2 r + 2 r^2) - 2 r (q + r)] and U the same with -r, where (q-1)/r = 4 lambda t/(q + 1).
    """
    t, d, kappa = jnp.broadcast_arrays(*as_floats(time, dim, noise))
    q, r = jnp.sqrt(1 + kappa * t), kappa / (4 * _LAMBDA)
    exponent = 4 * _LAMBDA * t / (q + 1)  # regular at kappa = 0
    return Moments(
        perp=1 + kappa * t,
        signal=2 / d * (jnp.exp(exponent) * (1 + 2 * r + 2 * r**2) - 2 * r * (q + r)),
        opposite=2 / d * (jnp.exp(-exponent) * (1 - 2 * r + 2 * r**2) + 2 * r * (q - r)),
    )


def balance_growth(time: Numbers, dim: Numbers, noise: Numbers) -> Float[Array, "*#shape"]:
    """(|w|^2 - a^2)/theta^2 = kappa t (1 - 1/d) in phase 1; gradient flow would keep the balance |w| = |a|."""
    t, d, kappa = as_floats(time, dim, noise)
    return kappa * t * (1 - 1 / d)


def phase1_samples(dim: Numbers, noise: Numbers) -> Float[Array, "*#shape"]:
    """Examples used until E sig^2 = theta^2: n = d T/(2 kappa), T = L/lambda + kappa L^2/(4 lambda^2), L = ln(d/2)/2.

    An estimate derived here, without the noise added to V, and not simulated on its own. It is of order d log d at
    fixed kappa and tends to (pi/4) d L^2 for large kappa.
    """
    d, kappa = as_floats(dim, noise)
    log_growth = jnp.log(d / 2) / 2
    return d * (log_growth / _LAMBDA / kappa + (log_growth / _LAMBDA) ** 2 / 4) / 2


def _velocity(t: object, y: Float[Array, "4"], kappa: Float[Array, ""]) -> Float[Array, "4"]:
    neuron = Neuron(*y)
    # Trial steps may end at s <= 0: turned back there, well below the floor kappa a/lambda, their noise stays finite.
    held = neuron._replace(s=jnp.maximum(neuron.s, 0.1 * kappa * jnp.abs(neuron.a)))
    return jnp.stack(drift(held, kappa))


def _velocity_of_direction_and_log_size(t: object, y: Float[Array, "5"], kappa: Float[Array, ""]) -> Float[Array, "5"]:
    # By homogeneity the size drops out of the direction's velocity: exponential growth then costs no accuracy.
    direction = y[:4]
    velocity = _velocity(t, direction, kappa)
    growth = direction @ velocity / (direction @ direction)
    return jnp.append(velocity - growth * direction, growth)


def _signal_excess(t: object, y: Float[Array, "4"], args: object, **kwargs: object) -> Float[Array, ""]:
    return jnp.asarray(y[0] - y[2], float)  # diffrax wants the default float here, whatever y is


def _tolerance(x: Float[Array, "..."]) -> float:
    return max(1e-12, 100 * float(jnp.finfo(x.dtype).eps))
