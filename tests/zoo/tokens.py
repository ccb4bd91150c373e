"""Tokens on a sphere, and the flow of attention, straight from its definition in numpy."""

import numpy as np
from scipy.integrate import solve_ivp


def velocity(x, beta, softmax=True):
    """Of all tokens, straight from the definition."""
    weights = np.exp(beta * x @ x.T)
    pull = weights @ x / (weights.sum(axis=1, keepdims=True) if softmax else len(x))
    return pull - np.sum(pull * x, axis=1, keepdims=True) * x


def tokens_flow(times, x, beta, softmax=True):
    def flat(_, y):
        return velocity(y.reshape(x.shape), beta, softmax).ravel()

    found = solve_ivp(flat, (0, times[-1]), x.ravel(), "DOP853", t_eval=times, rtol=1e-12, atol=1e-13)
    return found.y.T.reshape(-1, *x.shape)


def sphere(n, dim, seed):
    x = np.random.default_rng(seed).standard_normal((n, dim))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def equiangular(n, dim, g):
    """n unit vectors, in a basis of no axis, of one inner product."""
    values, vectors = np.linalg.eigh((1 - g) * np.eye(n) + g)
    root = vectors * np.sqrt(np.maximum(values, 0))
    basis = np.linalg.qr(np.random.default_rng(n).standard_normal((dim, dim)))[0]
    return root @ basis[:n]


def pairs(x):
    return (x @ x.T)[np.triu_indices(len(x), 1)]
