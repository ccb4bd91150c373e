"""The small map of the specification of equilibrium networks, and what is recorded of it."""

import jax.numpy as jnp
import numpy as np

DIM = 6
_PLACE = np.arange(DIM)
WEIGHT = 0.4 * np.sin((_PLACE[:, None] + 1) * (2 * _PLACE[None] + 3))
OFFSET = np.cos(_PLACE)

LINEAR = np.array([0.79577608, 0.41252633, -0.6565435, -0.67726809, -0.33655248, 0.34897448])
LINEAR_GRADIENT = np.array([0.43622844, 0.21006447, 0.46819167, 0.65822665, 0.7089504, 2.28110381])  # of sum(z) for the offset
TANH = np.array([0.67996121, 0.40620321, -0.55931776, -0.5975668, -0.34761907, 0.31483581])
TANH_GRADIENT = np.array([0.3011621, 0.27241351, 0.39214127, 0.47407923, 0.66277188, 1.86987271])
TANH_WEIGHT_GRADIENT = 2.6068884707  # Frobenius norm of the gradient of sum(z) for the weights
ONE_STEP_ERROR, ONE_STEP_COSINE = 0.5736077729, 0.8211322  # of lambda = g against the gradient for the offset


def linear(z, args):
    return args[0] @ z + args[1]


def tanh(z, args):
    return jnp.tanh(linear(z, args))


def mixed(z, args):
    """t tanh(W z + c) + l (W z + c) + k z^3 for args = (W, c, t, l, k): one program for many maps."""
    weight, offset, curved, straight, cubic = args
    inner = weight @ z + offset
    return curved * jnp.tanh(inner) + straight * inner + cubic * z**3


def mixture(weight=WEIGHT, offset=OFFSET, curved=0.0, straight=0.0, cubic=0.0):
    return jnp.asarray(weight), jnp.asarray(offset), *(jnp.asarray(one) for one in (curved, straight, cubic))


def args():
    return jnp.asarray(WEIGHT), jnp.asarray(OFFSET)


def start():
    return jnp.zeros(DIM)
