r"""How many steps, how much time and how many evaluations a solver of a fixed point takes to a tolerance.

Formula. From the distance $\delta$ to the equilibrium down to $\varepsilon < \delta$,

$$
\begin{align*}
\text{steps of an iteration with the factor } \rho: \quad & k = \frac{\ln(\delta/\varepsilon)}{-\ln \rho} \\
\text{time of the flow with the rate } a: \quad & t = \frac{\ln(\delta/\varepsilon)}{a} \\
\text{evaluations of an explicit method:} \quad & \frac{s\, (1 - l)}{S\, (1 - r)} \ln \frac{\delta}{\varepsilon}
\end{align*}
$$

The last counts the steps of an adaptive explicit Runge-Kutta method of $s$ stages whose stability interval on the real axis is
$[-S, 0]$: near the equilibrium of a Jacobian with the real spectrum $[l, r]$ the error estimate is small, the step grows to the
limit of stability $S/(1 - l)$, and the slowest mode falls at the rate $1 - r$. A start at the distance $\delta'$ instead of
$\delta$ saves $\ln(\delta/\delta')/(-\ln \rho)$ steps.

Regime. Steps and time are exact for one mode, and asymptotic otherwise: they leave out by how much the error of the slowest
mode differs from $\delta$, which is a constant number of steps as $\varepsilon \to 0$. The evaluations are a heuristic: the
steps of a real solver scatter about the limit of stability, some are rejected, and a tolerance that is loose enough ends the
run before the limit is reached.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\rho$ | `factor` | any | of the error per step; infinitely many steps from 1 on |
| $a$ | `rate` | any | of the flow, 1 - spectral abscissa; infinite time from 0 down |
| $\varepsilon$ | `tolerance` | any | distance to the equilibrium at the end |
| $\delta$, $\delta'$ | `distance`, `skip_distance` | any | distance at the start, without and with a skip start |
| $l$, $r$ | `low`, `high` | any | ends of the real spectrum of the Jacobian, $l \le r < 1$ |
| $s$, $S$ | `stages`, `stability` | any | of the method: 1 and 2 (Euler), 2 and 2 (Heun), 4 and 2.785 (RK4) |

Factors. Natural logarithms. The number of steps is not rounded: an iteration takes the next whole number.

Source. Skip starts and the flow: A. Pal, A. Edelman, C. Rackauckas, arXiv 2201.12240. The formulas are derived here; the limit
of stability as the step of an explicit method is textbook for stiff equations.

Finite size. None.

Example. The eigenvalue -0.9 is as slow as 0.9 for Picard's iteration, and nineteen times as fast for the flow:

>>> from closedform.theory.equilibria import stopping_times
>>> round(float(stopping_times.iteration_steps(0.9, 1e-6)), 2)
131.13
>>> [round(float(time), 2) for time in stopping_times.flow_time([0.1, 1.9], 1e-6)]
[138.16, 7.27]
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import FINITE, ArrayLike, Range, above, at_least, require_together, takes

Numbers = Real[ArrayLike, "*#shape"]
POSITIVE = above(0, finite=True)
BELOW_ONE = Range(high=1, low_open=True, high_open=True)


@takes(factor=POSITIVE, tolerance=POSITIVE, distance=POSITIVE)
def iteration_steps(factor: Numbers, tolerance: Numbers, distance: Numbers = 1.0) -> Float[Array, "*shape"]:
    """k, the steps of an iteration whose error falls by `factor` per step; 0 from below the tolerance.

    >>> [round(float(steps), 6) for steps in iteration_steps([0.1, 2.0], 1e-3)]
    [3.0, inf]
    """
    factor, logarithm = jnp.broadcast_arrays(factor, _logarithm(distance, tolerance))
    shrinks = factor < 1
    return jnp.where(shrinks, logarithm / jnp.where(shrinks, -jnp.log(factor), 1), _endless(logarithm))


@takes(rate=FINITE, tolerance=POSITIVE, distance=POSITIVE)
def flow_time(rate: Numbers, tolerance: Numbers, distance: Numbers = 1.0) -> Float[Array, "*shape"]:
    """t, the time of the flow whose error falls as exp(-rate t); 0 from below the tolerance."""
    rate, logarithm = jnp.broadcast_arrays(rate, _logarithm(distance, tolerance))
    shrinks = rate > 0
    return jnp.where(shrinks, logarithm / jnp.where(shrinks, rate, 1), _endless(logarithm))


@takes(
    low=BELOW_ONE, high=BELOW_ONE, tolerance=POSITIVE, distance=POSITIVE, stages=at_least(1, finite=True), stability=POSITIVE
)
def explicit_evaluations(
    low: Numbers, high: Numbers, tolerance: Numbers, distance: Numbers, stages: Numbers, stability: Numbers
) -> Float[Array, "*shape"]:
    """Evaluations of the map by an adaptive explicit method at its limit of stability: a heuristic.

    >>> round(float(explicit_evaluations(-3.0, 0.5, 1e-6, 1.0, 4.0, 2.785)), 1)  # RK4
    158.7
    """
    require_together("at most high", lambda low, high: low <= high, low=low, high=high)
    return stages * (1 - low) / (stability * (1 - high)) * _logarithm(distance, tolerance)


@takes(factor=POSITIVE, distance=POSITIVE, skip_distance=POSITIVE)
def skipped_steps(factor: Numbers, distance: Numbers, skip_distance: Numbers) -> Float[Array, "*shape"]:
    """Steps saved by a start nearer to the equilibrium; negative for one further off, infinite where nothing converges.

    >>> round(float(skipped_steps(0.5, 1.0, 0.125)), 6)
    3.0
    """
    factor, gain = jnp.broadcast_arrays(factor, jnp.log(distance) - jnp.log(skip_distance))
    shrinks = factor < 1
    return jnp.where(shrinks, gain / jnp.where(shrinks, -jnp.log(factor), 1), jnp.sign(gain) * _endless(jnp.abs(gain)))


def _logarithm(distance: Array, tolerance: Array) -> Array:
    """ln(distance/tolerance), 0 from below the tolerance; without a quotient that overflows."""
    return jnp.maximum(jnp.log(distance) - jnp.log(tolerance), 0)


def _endless(logarithm: Array) -> Array:
    """Infinity, and 0 where nothing is left to do."""
    return jnp.where(logarithm > 0, jnp.inf, 0).astype(logarithm.dtype)
