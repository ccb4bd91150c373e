"""Analytic predictions of deep-learning theory beside the networks they predict.

The folders are the map: `models` (networks), `tasks` (data), `theory` (predictions), `experiments` (where the three meet),
`figures` (the pictures), `sweeps` (the engine that runs, stores and compares).
"""

__version__ = "0.1.0"
