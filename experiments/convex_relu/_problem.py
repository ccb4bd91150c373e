"""The problem by formula that several experiments share, and its optimum."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Array

from ...contract import Count, Positive, Precision, check
from ...models.fully_connected import convex_relu
from ...solvers import interior_point
from ...solvers.program import Program, Solution, relu_program
from ...tasks import waves


@dataclass(frozen=True)
class Config:
    num_samples: Count = 8  # examples, paper n
    dim: Count = 2  # input dimension, paper d
    weight_decay: Positive = 0.1  # weight decay, paper beta
    dtype: Precision = "float64"  # small differences are meant

    def __post_init__(self):
        check(self)

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        return waves.points(self.num_samples, self.dim)

    def gates(self) -> Array:
        """A gate for every activation pattern."""
        return convex_relu.all_gates(self.points()[0])

    def program(self) -> Program:
        """The ReLU program on all patterns, whose value is that of the non-convex problem."""
        return relu_program(*self.points(), self.gates(), self.weight_decay)

    def optimum(self) -> Solution:
        """p* and its weights, to 1e-8."""
        return interior_point.solve(self.program(), cones=True)
