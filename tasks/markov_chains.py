r"""Markov chains on a few states, walks on grids with walls, and random rewards on their states.

| chain | from state $s$ |
|---|---|
| `reset_chain` | to $s + 1$, or with probability `reset` back to 0; the last state stays in place of a step to the right |
| `reflecting_walk` | left or right with probability 1/2; where an end forbids it, it stays |
| `lazy_cycle` | stays with a probability of its own, otherwise to the next state round a ring |
| `walk` | on the free cells of a map, in one of four directions; where a wall forbids it, it stays |

Walks are symmetric, so that their stationary distribution is uniform; the other two have a direction. A chain is its matrix
of transition probabilities, one state a row. An auxiliary task is a reward for each state, its cumulant.

Source: textbook; the map `FOUR_ROOMS` of 104 cells is that of R. Sutton, D. Precup and S. Singh, "Between MDPs and
semi-MDPs", 1999 (recalled).

Example. A reward of 1 in the second state of a chain, and the next expected reward from each state:

>>> import numpy as np
>>> from closedform.tasks import markov_chains
>>> (markov_chains.reset_chain(3, 0.25) @ np.array([0.0, 1.0, 0.0])).tolist()
[0.75, 0.0, 0.0]
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray, Real

Transition = Float[np.ndarray, "state state"]
FOUR_ROOMS = (
    "#############",
    "#     #     #",
    "#     #     #",
    "#           #",
    "#     #     #",
    "#     #     #",
    "## ####     #",
    "#     ### ###",
    "#     #     #",
    "#     #     #",
    "#           #",
    "#     #     #",
    "#############",
)


def reset_chain(num_states: int, reset: float = 0.05) -> Transition:
    """To the right, with probability `reset` back to the start. Raises ValueError for a probability that is none.

    >>> reset_chain(2, 0.25).tolist()
    [[0.25, 0.75], [0.25, 0.75]]
    """
    _require_states(num_states)
    _require_probabilities("reset", (reset,))
    right = np.eye(num_states, k=1)
    right[-1, -1] = 1
    start = np.zeros((num_states, num_states))
    start[:, 0] = 1
    return (1 - reset) * right + reset * start


def reflecting_walk(num_states: int) -> Transition:
    """The symmetric walk on a line.

    >>> reflecting_walk(3).tolist()
    [[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]
    """
    _require_states(num_states)
    walk = np.eye(num_states, k=1) + np.eye(num_states, k=-1)
    walk[0, 0] += 1
    walk[-1, -1] += 1
    return walk / 2


def lazy_cycle(stay: Sequence[float]) -> Transition:
    """Round a ring, each state left with probability 1 - stay. Raises ValueError for no state, or a state that is never left.

    >>> lazy_cycle((0.5, 0.25)).tolist()
    [[0.5, 0.5], [0.75, 0.25]]
    """
    _require_states(len(stay))
    _require_probabilities("stay", stay)
    stays = np.asarray(stay, float)
    if np.any(stays == 1):
        raise ValueError(f"stay must be below 1 in every state, got {tuple(stay)}")
    return np.diag(stays) + (1 - stays)[:, None] * np.roll(np.eye(len(stays)), 1, axis=1)


def free_cells(rows: Sequence[str] = FOUR_ROOMS) -> Bool[np.ndarray, "row column"]:
    """Which cells of a map are free: all but those written as #. Raises ValueError for rows of unlike lengths.

    >>> int(free_cells().sum())
    104
    """
    if len({len(row) for row in rows}) != 1:
        raise ValueError(f"rows must be of one length, got lengths {[len(row) for row in rows]}")
    return np.array([[cell != "#" for cell in row] for row in rows])


def walk(free: Bool[np.ndarray, "row column"]) -> Transition:
    """The symmetric walk on the free cells of a map, in the order of `places`. Raises ValueError for a map without a free cell.

    >>> walk(np.array([[True, True]])).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    free = np.pad(np.asarray(free, bool), 1)
    cells = places(free)
    _require_states(len(cells))
    number = np.full(free.shape, -1)
    number[tuple(cells.T)] = np.arange(len(cells))
    here, found = np.arange(len(cells)), np.zeros((len(cells), len(cells)))
    for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        there = number[tuple((cells + step).T)]
        found[here, np.where(there < 0, here, there)] += 0.25
    return found


def places(free: Bool[np.ndarray, "row column"]) -> Int[np.ndarray, "state 2"]:
    """Row and column of each free cell: the states of `walk`."""
    return np.argwhere(free)


def stationary(transition: Float[ArrayLike, "state state"]) -> Float[Array, "state"]:
    """The stationary distribution of a chain that has only one.

    >>> [round(float(share), 4) for share in stationary(lazy_cycle((0.5, 0.0)))]
    [0.6667, 0.3333]
    """
    P = jnp.asarray(transition, float)
    ones = jnp.ones_like(P)
    return jnp.linalg.solve(jnp.eye(len(P)) - P.T + ones, ones[0])


def gaussian_cumulants(key: PRNGKeyArray, num_tasks: int, num_states: int) -> Float[Array, "task state"]:
    """Standard normal rewards of every state."""
    return jax.random.normal(key, (num_tasks, num_states))


def indicator_cumulants(
    key: PRNGKeyArray, num_tasks: int, num_states: int, probability: Real[ArrayLike, ""]
) -> Float[Array, "task state"]:
    """A reward of 1 in each state with the given probability, otherwise 0."""
    return jax.random.bernoulli(key, probability, (num_tasks, num_states)).astype(jnp.result_type(float))


def _require_states(count: int) -> None:
    if count < 1:
        raise ValueError(f"there must be at least 1 state, got {count}")


def _require_probabilities(name: str, values: Sequence[float]) -> None:
    if not all(0 <= value <= 1 for value in values):
        raise ValueError(f"{name} must be from 0 to 1, got {values if len(values) > 1 else values[0]}")
