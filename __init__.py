"""Analytic predictions of deep-learning theory beside the networks they predict.

The folders are the map: `models` (networks), `tasks` (data), `theory` (predictions), `experiments` (where the three meet),
`figures` (the pictures), `sweeps` (the engine that runs, stores and compares).
"""

from importlib import metadata

__version__ = metadata.version("closedform")  # as pyproject.toml says
