"""The networks for PARITY and FIRST in numpy, matrix by matrix and token by token: an oracle for theory and for constructions.

Matrices act from the left (outputs before inputs), as in the specification.
"""

import itertools

import numpy as np


def entries(shape, values):
    matrix = np.zeros(shape)
    for place, value in values.items():
        matrix[place] = value
    return matrix


def parity(beta=1.0, c=1.0):
    """Dimension, heads, layers, and which dimension is read."""
    d = 10
    hat = {(j, 3): -1.0 for j in range(3)} | {(j, 5): 1.0 for j in range(3)} | {(0, 6): -1.0, (2, 6): 1.0}
    one = {
        "V": entries((d, d), {(0, 1): c, (1, 2): 1}),
        "O": entries((d, d), {(5, 0): 1, (6, 1): 1}),
        "1": entries((3, d), hat),
        "b": np.zeros(3),
        "2": entries((d, 3), {(7, 0): 1, (7, 1): -2, (7, 2): 1}),
    }
    two = {
        "Q": entries((d, d), {(0, 2): beta, (5, 2): beta}),
        "K": entries((d, d), {(0, 4): 1, (5, 4): -1}),
        "V": entries((d, d), {(0, 7): 1, (5, 7): 1}),
        "O": entries((d, d), {(8, 0): -1, (8, 5): 1}),
    }
    return d, 2, (one, two), 8


def first(beta=1.0, norm=False):
    d = 6
    found = {(0, 0): -1.0, (0, 2): -1.0, (0, 3): 1.0} if norm else {(0, 1): 1.0, (0, 3): 1.0}
    one = {
        "1": entries((1, d), found),
        "b": np.zeros(1) if norm else -np.ones(1),
        "2": entries((d, 1), {(4, 0): 1}),
    }
    two = {
        "Q": entries((d, d), {(0, 2): beta}),
        "K": entries((d, d), {(0, 3): 1}),
        "V": entries((d, d), {(5, 3): -0.5, (5, 4): 1}),
        "O": entries((d, d), {(5, 5): 1}),
    }
    return d, 1, (one, two), 5


def tokens(bits, language):
    n, d = len(bits), 10 if language == "parity" else 6
    x = np.zeros((n + 1, d))
    start = 0 if language == "parity" else 1
    x[np.arange(n) + start, bits] = 1
    x[n if language == "parity" else 0, 2] = 1
    if language == "parity":
        x[:, 3], x[:, 4] = np.arange(n + 1) / (n + 1), np.cos(np.pi * np.arange(n + 1))
    else:
        x[1, 3] = 1
    return x


def logit(bits, language, beta=1.0, norm=False, eps=0.0, c=1.0, log_length=False):
    """The logit of one string; with layer norm every token is (x, -x), and heads are twice as large."""
    d, heads, layers, read = parity(beta, c) if language == "parity" else first(beta, norm)
    x = tokens(bits, language)
    size = d // heads
    if norm:
        x = np.concatenate([x, -x], axis=1)
    cls = len(bits) if language == "parity" else 0
    for place, layer in enumerate(layers):
        half = x[:, :d]
        q, k, v = (half @ layer.get(name, np.zeros((d, d))).T for name in "QKV")
        mixed = np.zeros_like(half)
        for head in range(heads):
            at = slice(head * size, (head + 1) * size)
            scores = q[:, at] @ k[:, at].T / np.sqrt(2 * size if norm else size)
            scores = scores * np.log(len(x)) if log_length else scores
            share = np.exp(scores - scores.max(axis=1, keepdims=True))
            mixed[:, at] = share / share.sum(axis=1, keepdims=True) @ v[:, at]
        written = mixed @ layer.get("O", np.zeros((d, d))).T
        x = x + (np.concatenate([written, -written], axis=1) if norm else written)
        x = normalised(x, eps) if norm else x
        if place == 0:
            written = np.maximum(x[:, :d] @ layer["1"].T + layer["b"], 0) @ layer["2"].T
            x = x + (np.concatenate([written, -written], axis=1) if norm else written)
        elif norm:  # erase
            kept = x[:, [read, d + read]]
            x = np.zeros_like(x)
            x[:, [read, d + read]] = kept
        x = normalised(x, eps) if norm else x
    return x[cls, read]


def normalised(x, eps):
    centred = x - x.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # 0/0 in tokens that nobody reads
        return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)


def strings(longest):
    """All strings of 1 to `longest` bits."""
    return [np.array(bits) for n in range(1, longest + 1) for bits in itertools.product((0, 1), repeat=n)]


def accepted(bits, language):
    return bool(bits.sum() % 2) if language == "parity" else bool(bits[0])
