r"""Learning labels with a convex loss from inputs of any covariance, or from features of them: one model for both.

Formula. A student sees $b$ of covariance $\Omega$, of eigenvalues $o_k$, $k = 1..d$, and $z = \langle w, b \rangle/\sqrt{d}$.
The teacher's field $u$ has the variance $\rho$ and the covariance $\mathbb{E} b u = g/\sqrt{d}$; on the eigenvectors $v_k$ of
$\Omega$ it has $G_k = \langle v_k, g \rangle^2$. With the conjugates of `convex_learning`, $R_k = 1/(\lambda + \hat V o_k)$ and
means over $k$,

$$
m = \hat m \overline{G R}, \qquad q = \hat m^2\, \overline{G o R^2} + \hat q\, \overline{o^2 R^2}, \qquad
V = \overline{o R}, \qquad
\frac{\lvert w \rvert^2}{d} = \hat m^2\, \overline{G R^2} + \hat q\, \overline{o R^2}
$$

where $m$ is the covariance of $u$ and $z$ and $q$ the variance of $z$. One covariance: $u = \langle \theta, b \rangle/\sqrt{d}$
has $g = \Omega \theta$. Random features $b = \sigma(F a/\sqrt{p})$ of $a \sim N(0, I_p)$, $F$ of $d \times p$ standard normal
entries, odd $\sigma$ and $u = \langle \theta, a \rangle/\sqrt{p}$: with $\kappa_1 = \mathbb{E} \xi \sigma(\xi)$,
$\kappa_*^2 = \mathbb{E} \sigma^2 - \kappa_1^2$ and eigenvalues $s$ of $F F^\top/p$,

$$
o = \kappa_1^2 s + \kappa_*^2, \qquad G = \rho\, \kappa_1^2 \frac{d}{p}\, s
$$

Regime. $n$ and $d \to \infty$ at a fixed ratio; Gaussian inputs, or features that behave as Gaussian ones of their covariance.

| paper symbol | name here | shape | meaning |
|---|---|---|---|
| $\alpha$ | `ratio` | `()` | n/d, samples over the inputs or features that the student sees |
| $\lambda$ | `ridge` | `()` | of a sum over samples |
| $o_k$ | `eigenvalues` | `mode` | of the covariance of what the student sees; all modes count alike |
| $G_k$ | `power` | `mode` | squared covariance of teacher and mode, times d |
| $\rho$ | `Labels.norm_squared` | `()` | variance of the teacher's field |
| $\kappa_1$, $\kappa_*^2$ | `linear`, `nonlinear_variance` | `()` | of the activation |

Factors. $\overline{G/o} \le \rho$: modes explain at most the teacher's variance. Activations that are not odd need their mean
subtracted.

Source. B. Loureiro et al., arXiv 2102.08127 (two-covariance model; recalled); F. Gerace et al., arXiv 2002.09339 and H. Hu, Y.
Lu, arXiv 2009.07669 (random features; recalled). Derived here again.

Finite size. As in `convex_learning`. For random features the eigenvalues of the drawn $F$ give the prediction for that draw.

Example. Eigenvalues that are all 1 give the isotropic result:

>>> import jax.numpy as jnp
>>> from closedform.theory.high_dimension import input_covariance, losses
>>> from closedform.theory.high_dimension.label_channels import Labels
>>> solution = input_covariance.solve(2.0, 0.1, jnp.ones(3), jnp.ones(3), losses.LOGISTIC, Labels())
>>> round(float(solution.error), 4), round(float(solution.norm), 3)
(0.1797, 4.146)
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from ..numerics.arguments import ArrayLike, above, at_least, known, require_not_empty, takes
from .convex_learning import Hats, Solution, require_margin, solve_with
from .label_channels import LABELS, PROBIT, Labels, Link, Order
from .losses import Loss, compiled

Number = Real[ArrayLike, ""]
Modes = Real[ArrayLike, "mode"]
POSITIVE, NOT_NEGATIVE = above(0, finite=True), at_least(0, finite=True)


@takes(ratio=POSITIVE, ridge=NOT_NEGATIVE, eigenvalues=NOT_NEGATIVE, power=NOT_NEGATIVE, teacher=LABELS)
def solve(
    ratio: Number, ridge: Number, eigenvalues: Modes, power: Modes, loss: Loss, teacher: Labels, link: Link = PROBIT
) -> Solution:
    """The optimum for inputs of this spectrum. Differentiable; vmap any number. `loss` and `link` are static.

    Raises ValueError for powers that explain more than the teacher's variance. `norm` of the result is the variance of the
    student's output, and `weight_norm` is |w|^2/d.
    """
    require_margin(loss)
    require_not_empty(eigenvalues=eigenvalues)
    _require_explained(eigenvalues, power, teacher.norm_squared)
    return _solve(ratio, ridge, eigenvalues, power, teacher, loss=loss, link=link)


@compiled
def _solve(
    ratio: Array, ridge: Array, eigenvalues: Array, power: Array, teacher: Labels, *, loss: Loss, link: Link
) -> Solution:
    tiny = jnp.finfo(ratio.dtype).tiny

    def students(hats: Hats) -> tuple[Array, Order, Array]:
        R = 1 / jnp.maximum(ridge + hats.response * eigenvalues, tiny)
        overlap = hats.overlap * jnp.mean(power * R)
        noise = hats.norm * jnp.mean((eigenvalues * R) ** 2)
        norm = hats.overlap**2 * jnp.mean(power * eigenvalues * R**2) + noise
        weight_norm = hats.overlap**2 * jnp.mean(power * R**2) + hats.norm * jnp.mean(eigenvalues * R**2)
        rest = jnp.maximum(teacher.norm_squared * norm - overlap**2, jnp.finfo(ratio.dtype).eps * teacher.norm_squared * noise)
        cotangent = overlap / jnp.sqrt(jnp.maximum(rest, tiny))
        return cotangent, Order(overlap, norm, jnp.mean(eigenvalues * R)), weight_norm

    return solve_with(students, ratio, ridge, loss, teacher, link)


@takes(
    eigenvalues=NOT_NEGATIVE,
    linear=NOT_NEGATIVE,
    nonlinear_variance=NOT_NEGATIVE,
    features_per_dim=POSITIVE,
    norm_squared=POSITIVE,
)
def random_features(
    eigenvalues: Modes, linear: Number, nonlinear_variance: Number, features_per_dim: Number, norm_squared: Number = 1.0
) -> tuple[Float[Array, "mode"], Float[Array, "mode"]]:
    """Eigenvalues and power of random features, from the eigenvalues of F F^T/p, for d/p = `features_per_dim`.

    >>> o, G = random_features([0.0, 2.0], 1.0, 0.5, 2.0)
    >>> o.tolist(), G.tolist()
    ([0.5, 2.5], [0.0, 4.0])
    """
    linear_part = linear**2 * eigenvalues
    return linear_part + nonlinear_variance, norm_squared * features_per_dim * linear_part


def _require_explained(eigenvalues: Array, power: Array, norm_squared: Array) -> None:
    if known(eigenvalues, power, norm_squared):
        some = eigenvalues > 0
        explained = jnp.where(some, power / jnp.where(some, eigenvalues, 1), jnp.where(power > 0, jnp.inf, 0))
        if float(jnp.mean(explained)) > float(norm_squared) * (1 + 1e-4):
            raise ValueError(
                f"power must explain at most teacher.norm_squared, mean(power/eigenvalues) <= {float(norm_squared):g}, "
                f"got {float(jnp.mean(explained)):g}"
            )
