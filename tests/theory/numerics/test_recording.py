"""Recorded states, as test_calls asks; the tests of what records hold its values."""

from jaxtyping import ArrayLike, Real

from closedform.theory.numerics.arguments import takes
from closedform.theory.numerics.recording import recorded
from zoo.calls import Call


@takes()
def fading(start: Real[ArrayLike, ""], rate: Real[ArrayLike, ""]):
    return recorded(lambda step, x: x - rate * x / step.astype(x.dtype), start, (2, 0, 2))


CALLS = [Call(fading, {"start": 1.5, "rate": 0.3}, of=recorded)]
