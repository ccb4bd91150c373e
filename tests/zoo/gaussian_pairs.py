"""Slow integrals over normal numbers, and points at which moments of Gaussian pairs are held against them."""

import math

import numpy as np
from scipy import special

NEAR_ONE = (0.995, 0.99999, 1 - 1e-9, 1 - 1e-13, 1 - 2**-53)
ENDS = (-1.0, 0.0, 1.0)
# beyond +-1 a correlation counts as +-1: the slope breaks there; the tests have the inner one
AT_ENDS = [f"correlation{at}={end}" for at in ("", "[0]") for end in ENDS if end]


def pdf(x):
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def pieces(edges, num_nodes=40):
    """Gauss-Legendre nodes and weights on every interval between the edges."""
    points, weights = np.polynomial.legendre.leggauss(num_nodes)
    middle, half = (edges[1:] + edges[:-1])[:, None] / 2, np.diff(edges)[:, None] / 2
    return (middle + half * points).ravel(), (half * weights).ravel()


def expectation(integrand, low, turn=0.0, width=1.0):
    """int_low^inf phi(x) integrand(x) dx, for an integrand that varies within `width` of `turn`."""
    steps = np.array([0, 1, 2, 4, 8, 16, 40])
    edges = np.concatenate([[low], np.arange(-14, 15, 2), turn + width * steps, turn - width * steps])
    x, weights = pieces(np.unique(np.clip(edges, max(low, -14), 14)))
    return np.sum(weights * pdf(x) * integrand(x))


def relu_mean_of(mean, std):
    """E relu of a normal of this mean (an array) and std."""
    return mean * special.ndtr(mean / std) + std * pdf(mean / std) if std else np.maximum(mean, 0)


def slow_cdf(h, k, rho):
    """P(-A >= -h, B <= k), by conditioning on A."""
    if rho == 1:
        return special.ndtr(min(h, k))
    if rho == -1:
        return max(0.0, special.ndtr(h) - special.ndtr(-k))
    q = math.sqrt((1 - rho) * (1 + rho))
    turn, width = (-k / rho, q / abs(rho)) if rho else (0, 1)
    return expectation(lambda x: special.ndtr((k + rho * x) / q), -h, turn, width)


def assert_slopes(slopes_fn, function, points, step=2e-6, atol=2e-9):
    """Gradients against central differences in every argument."""
    slopes = slopes_fn(*points.T)
    for argument, slope in enumerate(slopes):
        shift = step * (np.arange(points.shape[1]) == argument)
        difference = (function(*(points + shift).T) - function(*(points - shift).T)) / (2 * step)
        np.testing.assert_allclose(slope, difference, rtol=0, atol=atol)


def inner_points(rng, *columns):
    return np.stack([*(column(rng) for column in columns), rng.uniform(-0.97, 0.97, 20)], axis=1)
