"""Analytic predictions of deep-learning theory beside the networks they predict.

The folders are the map: `models` (networks), `tasks` (data), `theory` (predictions), `solvers` (from data to parameters),
`experiments` (where these meet), `figures` (the pictures), `sweeps` (the engine that runs, stores and compares), `gallery`
(site, report, bibliography), `benchmarks` (speed); `contract` is what a Config declares.
"""

from importlib import metadata

__version__ = metadata.version("closedform")  # as pyproject.toml says
