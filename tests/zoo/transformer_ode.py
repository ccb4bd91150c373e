"""A transformer layer with given numbers as an ordinary differential equation: problem A of the specification."""

import jax
import jax.numpy as jnp
import numpy as np

from closedform.models.transformers import integrators, ode_transformer
from closedform.models.transformers.ode_transformer import Config, Params


def entries(rows, columns, p, q, s):
    return np.sin(s + p * np.arange(rows)[:, None] + q * np.arange(columns)[None, :])


CONFIG = Config(dim=4, width=8)
WEIGHTS = Params(
    entries(4, 4, 1, 2, 1),
    entries(4, 4, 2, 1, 0.5),
    0.5 * entries(4, 4, 1, 3, 0.2),
    np.eye(4),
    0.5 * entries(4, 8, 3, 1, 0.7),
    0.1 * np.cos(np.arange(8)),
    0.5 * entries(8, 4, 1, 2.5, 0.3),
    np.zeros(4),
)
START = entries(6, 4, 1.3, 0.7, 0.1)


def solved():
    """Parameters, the state at time 0, and the state at time 1 by 4096 steps of fourth order."""
    params, start = jax.tree.map(jnp.asarray, WEIGHTS), jnp.asarray(START)
    f_fn, g_fn = ode_transformer.fields(params, CONFIG)
    return params, start, integrators.integrate(integrators.SCHEMES["rk4"].step_fn, f_fn, g_fn, start, 1 / 4096, 4096)
