r"""The mean-field system of XOR with the noise of minibatch SGD: test error and samples at finite batch and dimension.

Formula. Neurons share the minibatch, so the noise of their $w_\perp$ has a part in common, along one orthonormal direction
$e_\nu$ for each cluster $\nu$: $w_\perp$ is the own part plus $\sum_\nu X_\nu e_\nu$, $s^2 = o + |X|^2$. Per neuron and
cluster, with label $y$, $u = w \cdot \nu/s$, $P = \Phi(u)$, $F = \phi(u)$, and to first Hermite order in $x_\perp$,

$$
\begin{align*}
f &= f_\nu + v_\nu \cdot x_\perp, \qquad f_\nu = \operatorname{mean}_j\; a\, \psi(w \cdot \nu, s) \\
v_\nu &= \operatorname{mean}_j\; a P w_\perp = \sum_k B_{\nu k} e_k + \text{own part} \\
B_{\nu k} &= \operatorname{mean}_j\; a P X_k \\
c_\nu &= w_\perp \cdot v_\nu = (B X)_\nu + a P \frac{o}{p} \\
\sigma_\nu^2 &= |B_\nu|^2 + \frac{1}{p} \operatorname{mean}_j\; a^2 \left(o P^2 + \frac{s^2 F^2}{2}\right) \\
\text{error} &= \operatorname{mean}_\nu\; \Phi\left(-\frac{y f_\nu}{\sigma_\nu}\right)
\end{align*}
$$

Let $g = 2/(1 + e^{y f})$, and $G$, $H$, $K$ the means of $g$, $g (2 - g)/2 = -y\, dg/df$ and $g^2$ over
$f \sim N(f_\nu, \sigma_\nu^2)$. By Stein's lemma the mean step is

$$
\begin{align*}
\Delta w &= \frac{\eta a}{4} \sum_\nu \nu \left(y G P - \frac{H F c}{s}\right) \\
\Delta a &= \frac{\eta}{4} \sum_\nu (y G \psi - H P c) \\
\Delta w_\perp &= \eta r w_\perp - \frac{\eta a}{4} \sum_\nu H P v_\nu,
    \qquad r = \frac{a}{4} \sum_\nu \frac{F}{s} \left(y G + \frac{H c u}{s}\right)
\end{align*}
$$

and its noise has the covariance $(\eta^2/m)\, a_j a_k\, \mathbb{E}[g^2\, 1_j 1_k\, x x^\top]$,
$1_j = \operatorname{relu}'(w_j \cdot x)$, where $\mathbb{E}[1_j 1_k] = P$ for $j = k$ and $P_j P_k + F_j F_k R_j R_k$
for $j \ne k$, $R = \operatorname{sign}(a) |X|/s \ll 1$. In $w_\perp$ the noise averages out over the coordinates,

$$
\begin{align*}
\Delta o &= q a^2 \sum_\nu K (P - P^2 - R^2 F^2), \qquad q = \frac{(d - 2) \eta^2}{4 m} \\
\Delta X_\nu^2 &= q a^2 K (P^2 + R^2 F^2)
\end{align*}
$$

but not in the plane of the label, where early noise grows exponentially and separates the four margins. There it is drawn:
counts of the clusters and the shared part of $1_j$ (4 normals each a step), and its own part (2 normals for each neuron),
leaving out the spread of $g$ within a cluster, $(K - G^2) P^2$.

Regime. $d \to \infty$ ($w_\perp \cdot x_\perp$ normal) with $\kappa = \eta d/(2 m)$ fixed, up to 0.5; many neurons; any margin
up to the end of learning. No constant is fitted. $m, p \to \infty$ is `xor_mean_field` at the same $\eta$. In phase 1, for
$\theta \to 0$ and $\kappa t \to 0$, the shared part of $\sigma$ is $|B_\nu| = \theta^2 \sqrt{(1 - 2/d) \kappa t/8}$. Left out:
the noise of $a$ and its radial counterpart in $w_\perp$ (of order $1/d$), and correlated own parts. The shared noise of
different steps is added in quadrature and taken as parallel for all neurons, which it is in phase 1.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $d$, $m$ | `dim`, `batch_size` | `()` | input dimension, fresh examples per step |
| $\eta$, $p$ | `learning_rate`, `width` | `()` | step size, number of hidden units |
| $w_{1:2}$, $a$ | `State.w`, `State.a` | `neuron 2`, `neuron` | weights to the coordinates of the label, output weight |
| $o$ (ours) | `State.own` | `neuron` | squared norm of the own part of $w_\perp$ |
| $X$ (ours) | `State.shared` | `neuron 4` | shared part of $w_\perp$ |
| $\vert w_\perp\vert$ | `perp_norm` | `neuron` | $s$ |
| $\nu$, $y$ | `CLUSTERS`, `LABELS` | `4 2`, `4` | sign pairs $(x_1, x_2)$ and their labels |
| $y f_\nu$ | `margins` | `4` | mean of $y f$ over $x_\perp$ in each cluster |
| $\sigma$ (ours) | `output_std` | `4` | standard deviation of $f$ over $x_\perp$ there |
| $\theta$ | `init_scale` | `()` | $\vert w\vert = \vert a\vert$ at the start |

Factors. As in `xor_mean_field`: $f$ carries $1/p$ and the updates $p$, the loss a 2. `width` enters only where own parts add
up, and $f$ is a mean over the neurons given, so fewer neurons may represent a wider network.

Source. M. Glasgow, arXiv 2309.15111, for the setting: abstract and public reviews read, body not. Every formula is
derived here. Two choices were made after seeing the comparison below: to keep $R^2 F^2$ and to drop the noise of $a$.

Finite size. $\text{Samples}/d$ to 10 % error for $\eta = \theta = 0.2$, $p = 256$ and the same initial weights: predicted,
96 draws, SE 0.24-0.29 (at $\kappa = 0.5$: 0.12), then SGD with its SE, 48 seeds (32 at $d = 256$):

| $\kappa$ | $d = 32$ | SGD | $d = 64$ | SGD | $d = 128$ | SGD | $d = 256$ | SGD |
|---|---|---|---|---|---|---|---|---|
| 0.05 | 47.73 | $49.08 \pm .53$ | 59.10 | $60.33 \pm .54$ | 70.77 | $71.12 \pm .56$ | 81.75 | $82.19 \pm .49$ |
| 0.2 | 21.16 | $21.35 \pm .40$ | 24.75 | $25.42 \pm .45$ | 29.05 | $29.54 \pm .45$ | 32.78 | $33.19 \pm .54$ |
| 0.5 | 14.50 | $15.31 \pm .15$ | 16.91 | $17.65 \pm .15$ | 19.18 | $19.88 \pm .12$ | 21.42 | $21.86 \pm .16$ |

The prediction is low by 0-3 % up to $\kappa = 0.2$ and by 2-5 % at 0.5. In part errors cancel: near the crossing $\sigma$ is
within 13 % (high up to $\kappa = 0.2$, low at 0.5) but the spread of the four margins 15-25 % low, and smaller errors come too
early: 5 % by 2-4 % and 2 % by 5-7 % at $\kappa = 0.2$, by 3-6 % and 5-8 % at 0.5. The deviation over seeds is 0-35 % low up to
$\kappa = 0.2$ and up to 40 % high at 0.5. After the collapse of $s$ the shared part fails: at $d = 64$, $p = 512$, $m = 4096$,
$\eta = \theta = 0.1$, $\sigma$ is up to 7 times low by $t = 30$, when it is under 1 % of the margin.

Example. At the start the neurons share no noise: the standard deviation of the output falls as $1/\sqrt{p}$ in all clusters.

>>> import jax
>>> from closedform.theory.feature_learning import xor_finite_batch as finite
>>> state = finite.state_of(finite.random_neurons(jax.random.key(0), 64, 256, 0.2))
>>> (finite.output_std(state, 256) / finite.output_std(state, 1024)).round(4).tolist()
[2.0, 2.0, 2.0, 2.0]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Real

from ...documented import documented
from ..gaussian.relu_moments import relu_mean
from ..numerics.arguments import FINITE, ArrayLike, above, at_least, between, each, takes
from ..numerics.normal import normal_pdf, standardize
from ..numerics.recording import recorded
from ..numerics.roots import square_root
from .xor_mean_field import CLUSTERS, LABELS, Neurons

Number = Real[ArrayLike, ""]


@documented
class State(NamedTuple):
    """The system for one draw of the noise. `*step` is empty for one state, and the recorded steps for a result of `euler`."""

    w: Float[Array, "*step neuron 2"]  # w_{1:2}
    own: Float[Array, "*step neuron"]  # squared norm of the part of w_perp that is independent between neurons
    shared: Float[Array, "*step neuron 4"]  # the part along the shared noise of each cluster
    a: Float[Array, "*step neuron"]  # output weight


_STATE = each(State, w=FINITE, own=at_least(0, finite=True), shared=FINITE, a=FINITE)
_NEURONS = each(Neurons, w=FINITE, s=above(0, finite=True), a=FINITE)
_RATE, _DIM = at_least(0, finite=True), at_least(2, finite=True)

_Progress = tuple[Int[Array, ""], State, Float[Array, ""]]  # step, state, error


@takes(neurons=each(Neurons, w=FINITE, s=at_least(0, finite=True), a=FINITE))
def state_of(neurons: Neurons) -> State:
    """The state of `neurons` before the first minibatch: no shared noise."""
    return State(neurons.w, neurons.s**2, jnp.zeros((*neurons.s.shape, 4), neurons.s.dtype), neurons.a)


@takes(state=_STATE)
def perp_norm(state: State) -> Float[Array, "*step neuron"]:
    """s = |w_perp|, from its own and shared parts; of one state or of many."""
    return square_root(state.own + jnp.sum(state.shared**2, axis=-1))


@takes(state=_STATE)
def margins(state: State) -> Float[Array, "4"]:
    """Mean of y f over each cluster, in the order of CLUSTERS: positive where the sign is right."""
    _require_one(state)
    return _margins(state)


@takes(state=_STATE, width=above(0))
def output_std(state: State, width: Number) -> Float[Array, "4"]:
    """sigma, the standard deviation of f over x_perp in each cluster."""
    _require_one(state)
    return _std(state, width)


@takes(state=_STATE, width=above(0))
def error(state: State, width: Number) -> Float[Array, ""]:
    """Test error, the probability of the wrong sign; 1/2 where nothing is learned."""
    _require_one(state)
    return jnp.mean(ndtr(-standardize(_margins(state), _std(state, width))))


@takes(neurons=_NEURONS, learning_rate=_RATE, steps=at_least(0), dim=_DIM, batch_size=above(0), width=above(0))
def euler(
    key: PRNGKeyArray,
    neurons: Neurons,
    learning_rate: Number,
    steps: Int[np.ndarray, "step"],
    *,
    dim: Number,
    batch_size: Number,
    width: Number | None = None,
    train_weights: bool = True,
    train_readout: bool = True,
) -> State:
    """The states after `steps` updates by minibatch SGD, on a leading axis; `steps` is concrete, in any order.

    `width` is the number of neurons unless given. Step k draws from fold_in(key, k), however many steps there are. Derivatives
    in the learning rate are right where it is positive; at 0 they meet norms of zero vectors.
    """
    setting = learning_rate, dim, batch_size, _width(neurons, width)

    def update(step: Int[Array, ""], state: State) -> State:
        after = _update(jax.random.fold_in(key, step), state, *setting)
        if not train_weights:
            after = state._replace(a=after.a)
        if not train_readout:
            after = after._replace(a=state.a)
        return after

    return recorded(update, state_of(neurons), steps)


@takes(
    neurons=_NEURONS,
    learning_rate=_RATE,
    level=between(0, 1),
    max_steps=at_least(0, finite=True),
    dim=_DIM,
    batch_size=above(0),
    width=above(0),
)
def steps_to_error(
    key: PRNGKeyArray,
    neurons: Neurons,
    learning_rate: Number,
    level: Number,
    max_steps: Number,
    *,
    dim: Number,
    batch_size: Number,
    width: Number | None = None,
) -> Float[Array, ""]:
    """The number of updates until the error is at most `level`, checked after each; nan if max_steps are too few.

    It is 0 if the error is at most `level` at the start. The noise is drawn as in `euler` with the same key.
    """
    width, limit = _width(neurons, width), jnp.floor(max_steps)

    def unfinished(carry: _Progress) -> Bool[Array, ""]:
        step, _, reached = carry
        return (reached > level) & (step.astype(limit.dtype) < limit)

    def advance(carry: _Progress) -> _Progress:
        step, state, _ = carry
        state = _update(jax.random.fold_in(key, step + 1), state, learning_rate, dim, batch_size, width)
        return step + 1, state, error(state, width)

    start = state_of(neurons)
    step, _, reached = jax.lax.while_loop(unfinished, advance, (jnp.int32(0), start, error(start, width)))
    return jnp.where(reached <= level, step.astype(limit.dtype), jnp.nan)


@takes(dim=above(2, finite=True), width=at_least(1), init_scale=_RATE)
def random_neurons(key: PRNGKeyArray, dim: Number, width: int, init_scale: Number) -> Neurons:
    """Neurons of weights uniform on the sphere of radius init_scale in R^dim, dim > 2, and a = +-init_scale.

    Exact: the angle of w_{1:2} is uniform and P(s > theta r) = 1 - r^(d - 2), so s/theta = exp(-E/(d - 2)) with E
    exponential.
    """
    key_angle, key_norm, key_sign = jax.random.split(key, 3)
    angle = 2 * jnp.pi * jax.random.uniform(key_angle, (width,), dim.dtype)
    log_s = -jax.random.exponential(key_norm, (width,), dim.dtype) / (dim - 2)
    in_plane = init_scale * square_root(-jnp.expm1(2 * log_s))
    return Neurons(
        w=in_plane[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1),
        s=init_scale * jnp.exp(log_s),
        a=init_scale * jax.random.rademacher(key_sign, (width,), dim.dtype),
    )


class _Activity(NamedTuple):
    """The neurons in each cluster, where w.x is normal with mean w.nu and standard deviation s."""

    s: Float[Array, "neuron 1"]
    ratio: Float[Array, "neuron 4"]  # u
    on: Float[Array, "neuron 4"]  # P
    edge: Float[Array, "neuron 4"]  # F
    mean: Float[Array, "neuron 4"]  # psi


def _require_one(state: State) -> None:
    if state.a.ndim != 1:
        raise ValueError(f"state must be of one step, got shape {state.a.shape} of its a; vmap over steps")


def _width(neurons: Neurons, width: Float[Array, ""] | None) -> Float[Array, ""]:
    return jnp.asarray(len(neurons.a), neurons.a.dtype) if width is None else width


def _margins(state: State) -> Float[Array, "4"]:
    return jnp.asarray(LABELS, state.a.dtype) * jnp.mean(state.a[:, None] * _activity(state).mean, axis=0)


def _std(state: State, width: Float[Array, ""]) -> Float[Array, "4"]:
    """sigma, by homogeneity in units in which its squares do not underflow: powers of 2, which round nothing."""
    weight, readout = (_power_of_2_near(jnp.max(jnp.abs(x))) for x in (perp_norm(state), state.a))
    unit = State(state.w / weight, state.own / weight / weight, state.shared / weight, state.a / readout)
    return weight * readout * _output(unit, _activity(unit), width)[0]


def _power_of_2_near(x: Float[Array, ""]) -> Float[Array, ""]:
    _, exponent = jnp.frexp(jax.lax.stop_gradient(x))
    return jnp.ldexp(jnp.ones_like(x), exponent)


def _activity(state: State) -> _Activity:
    projection = state.w @ jnp.asarray(CLUSTERS.T, state.w.dtype)
    s = jnp.maximum(perp_norm(state), float(jnp.finfo(state.a.dtype).tiny) ** 0.5)[:, None]  # a zero to divide by
    ratio = standardize(projection, s)
    return _Activity(s, ratio, ndtr(ratio), normal_pdf(ratio), relu_mean(projection, s))


def _output(
    state: State, activity: _Activity, width: Float[Array, ""]
) -> tuple[Float[Array, "4"], Float[Array, "4 4"], Float[Array, "neuron 4"]]:
    """sigma, B and c."""
    own, p = state.own[:, None], width
    weighted = state.a[:, None] * activity.on
    second_order = (state.a[:, None] * activity.s * activity.edge) ** 2 / 2
    shared = weighted.T @ state.shared / len(state.a)
    std = square_root(jnp.sum(shared**2, axis=1) + jnp.mean(own * weighted**2 + second_order, axis=0) / p)
    return std, shared, state.shared @ shared.T + weighted * own / p


def _gradient_moments(margin: Float[Array, "4"], std: Float[Array, "4"]) -> list[Float[Array, "1 4"]]:
    """G, H, K by three Gauss-Hermite nodes, exact for polynomials of degree 5."""
    node = jnp.asarray([[-(3**0.5)], [0.0], [3**0.5]], std.dtype)
    weight = jnp.asarray([[1 / 6, 2 / 3, 1 / 6]], std.dtype)
    g = 2 * jax.nn.sigmoid(-margin[None] - node * std[None])
    return [weight @ values for values in (g, g * (2 - g) / 2, g**2)]


def _update(key: PRNGKeyArray, state: State, learning_rate: Number, dim: Number, batch_size: Number, width: Number) -> State:
    """One step of SGD: the mean step and its noise, both in the letters of the module's formulas."""
    eta, d, m, p = (jnp.asarray(number, state.a.dtype) for number in (learning_rate, dim, batch_size, width))
    activity = _activity(state)
    s, u, P, F, psi = activity
    sigma, B, c = _output(state, activity, p)
    G, H, K = _gradient_moments(_margins(state), sigma)
    y, nu = jnp.asarray(LABELS[None], G.dtype), jnp.asarray(CLUSTERS, G.dtype)
    a, X = state.a[:, None], state.shared

    pull = a * H * P / 4
    radial = jnp.sum(a * F / s * (y * G + H * c * u / s), axis=1, keepdims=True) / 4
    own = state.own[:, None] * (1 + eta * (radial - jnp.sum(pull * a * P, axis=1, keepdims=True) / p)) ** 2
    X = X * (1 + eta * radial) - eta * pull @ B

    RF = F * jnp.sign(a) * square_root(jnp.sum(state.shared**2, axis=1, keepdims=True)) / s
    own_on = P * ndtr(-u) - RF**2  # P - P^2 - .., with the digits and slopes of 1 - P
    q = (d - 2) * eta**2 / (4 * m)
    gained = eta * square_root((d - 2) / (4 * m)) * jnp.abs(a) * square_root(K * (P**2 + RF**2))
    kick = _kick(key, y * G * P, square_root(K) * RF, K * own_on) / jnp.sqrt(4 * m)
    return State(
        w=state.w + eta * a * ((y * G * P - H * F * c / s) @ nu / 4 + kick),
        own=jnp.sum(own + q * a**2 * (own_on @ K.T), axis=1),
        shared=jnp.copysign(_joined(X, gained), jnp.where(X == 0, a, X)),
        a=state.a + eta / 4 * jnp.sum(psi * y * G - H * P * c, axis=1),
    )


@jax.custom_jvp
def _joined(x: Float[Array, "n 4"], y: Float[Array, "n 4"]) -> Float[Array, "n 4"]:
    """sqrt(x^2 + y^2) for y >= 0."""
    return jnp.sqrt(x**2 + y**2)


@_joined.defjvp
def _joined_jvp(primals, tangents):
    """At 0 the derivative along y: x is 0 there because no step has been taken, or all with learning rate 0."""
    (x, y), size = primals, _joined(*primals)
    slope = (x * tangents[0] + y * tangents[1]) / jnp.where(size == 0, 1, size)
    return size, jnp.where(size == 0, tangents[1], slope)


def _kick(
    key: PRNGKeyArray, count: Float[Array, "n 4"], shared: Float[Array, "n 4"], own: Float[Array, "n 4"]
) -> Float[Array, "n 2"]:
    """Noise in the plane, from amplitudes for the cluster counts and the shared part of 1_j, and variances for its own part."""
    key_count, key_shared, key_own = jax.random.split(key, 3)
    nu = jnp.asarray(CLUSTERS, own.dtype)
    counts = jax.random.normal(key_count, (1, 4), own.dtype)
    counts -= jnp.mean(counts)  # multinomial: the batch size is fixed
    by_neuron = jax.random.normal(key_own, (len(own), 2), own.dtype)  # along mu_1 and mu_2, nu and -nu together
    common = count * counts + shared * jax.random.normal(key_shared, (1, 4), own.dtype)
    return common @ nu + (square_root(own[:, 0::2] + own[:, 1::2]) * by_neuron) @ nu[::2]
