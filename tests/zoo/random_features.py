"""What random features are tried on: three spectra, among them that of random-feature attention, and differences of risks."""

import numpy as np
from scipy import special

from closedform.theory.kernels.spectrum import Groups, Spectrum

EIGENVALUES = np.array([1.0, 0.1, 3e-3, 2e-5])
MULTIPLICITIES = np.array([2.0, 16.0, 60.0, 2000.0])
POWER = np.array([0.4, 0.3, 0.2, 0.1])
RISKS = [(30.0, 80.0, 1e-3), (80.0, 30.0, 1e-3), (50.0, 50.0, 0.1), (20.0, 1e3, 1e-8), (1e3, 20.0, 1e-8), (300.0, 310.0, 1e-5)]


def spectrum(tail=2e-3):
    return Spectrum(EIGENVALUES, MULTIPLICITIES, tail)


def along(function):
    """Test errors at each of the second argument; scalars as floats, so that one compiled program serves all."""

    def errors(n, sizes, ridge, *rest):
        return np.array([float(function(float(n), float(size), float(ridge), *rest).test) for size in sizes])

    return errors


def assert_slopes(function, arguments, step=1e-5, rtol=1e-5):
    """`function` gives the value and the gradient in every argument."""
    _, slopes = function(*arguments)
    for position, derivative in enumerate(slopes):
        for index in np.ndindex(np.shape(derivative)):
            here = float(np.asarray(arguments[position])[index])
            if here == 0:
                continue
            ends = []
            for sign in (1, -1):
                moved = np.array(arguments[position], float)
                moved[index] = here * (1 + sign * step)
                ends.append(float(function(*[moved if i == position else one for i, one in enumerate(arguments)])[0]))
            np.testing.assert_allclose(derivative[index] * here, (ends[0] - ends[1]) / (2 * step), rtol=rtol, atol=1e-8)


# ------------------------------------------------------------------- random-feature attention: d = 8, N = 4, sigma^2 = 0.05

DIM, NUM_KEYS, DEGREES, NOISE = 8, 4, 10, 0.05
NODES, WEIGHTS = special.roots_jacobi(60, (DIM - 3) / 2, (DIM - 3) / 2)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
T, TAU = np.meshgrid(NODES, NODES, indexing="ij")
POLYNOMIALS = np.array(
    [special.eval_gegenbauer(r, (DIM - 2) / 2, NODES) / special.binom(r + DIM - 3, r) for r in range(DEGREES)]
)
COUNTS = np.array([special.comb(DIM + r - 1, r) - (special.comb(DIM + r - 3, r - 2) if r > 1 else 0) for r in range(DEGREES)])
BLOCKS = np.outer(COUNTS, COUNTS)
KEYS = np.where(np.arange(DEGREES) > 0, NUM_KEYS, 1)


def blocks_of(values):
    return (POLYNOMIALS * WEIGHTS) @ values @ (POLYNOMIALS * WEIGHTS).T / KEYS


def arc_cosine(c):
    return (np.sqrt(1 - c**2) + (np.pi - np.arccos(c)) * c) / (2 * np.pi)


def attention_spectrum(augmented, with_tail=False):
    kernel = (
        (lambda t, tau: arc_cosine((1 + t) * (1 + tau) / 4) * (1 + tau))
        if augmented
        else lambda t, tau: arc_cosine(t * tau) * tau
    )
    values = blocks_of(kernel(T, TAU))
    trace = (kernel(1.0, 1.0) + (NUM_KEYS - 1) * WEIGHTS @ kernel(1.0, NODES)) / NUM_KEYS
    return Spectrum(values, BLOCKS, float(trace - np.sum(BLOCKS * values)) if with_tail else 0.0)


def attention_groups(block_size=DIM):
    """Features of a head share b = W_DD, N(0, 1/4): given it, pre-activations have mean b and variance 3/4."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    std, rho = np.sqrt(3) / 2, (T * TAU + T + TAU) / 3
    keys, constant = [], []
    for b in nodes / 2:
        h, slant = b / std, np.sqrt((1 - rho) / (1 + rho))
        both = special.ndtr(h) - 2 * special.owens_t(h, slant)  # both pre-activations are positive
        edge = b * std * np.exp(-(h**2) / 2) / np.sqrt(2 * np.pi) * special.ndtr(h * slant)
        corner = std**2 * np.sqrt(1 - rho**2) * np.exp(-(h**2) / (1 + rho)) / (2 * np.pi)
        moment = (b**2 + rho * std**2) * both + 2 * edge + corner
        keys.append(blocks_of(moment * TAU))
        constant.append(blocks_of(moment))
    weights = weights / weights.sum()
    sizes = np.repeat([1.0 * block_size, 1.0], 9)
    return Groups(np.tile(weights, 2), sizes, np.array(keys + constant))


def target(name):
    power = np.zeros((DEGREES, DEGREES))
    query, both = 1 / DIM**3, (1 - 1 / DIM) / (NUM_KEYS * DIM**2)
    parts = dict(
        T1={(0, 1): 1}, T2={(0, 2): 1}, T3={(1, 1): 1}, T4={(1, 0): query / (query + both), (1, 2): both / (query + both)}
    )
    for block, share in parts[name].items():
        power[block] = share
    return power
