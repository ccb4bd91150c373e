"""Eigenvectors of every digit, spectra, accuracy with few eigenvectors, and effective rank, for noise and weight decay."""

import itertools
import operator

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style
from . import _panels

DECAY = "training.weight_decay"


def draw(result, config):
    simulation = result["simulation"]
    swept = {name: _values(result, name) for name in ("noise_std", DECAY)}
    arms = [dict(zip(swept, pair, strict=True)) for pair in itertools.product(*swept.values())]
    arms = [{name: value for name, value in arm.items() if name in simulation.dims} for arm in arms]
    labels = [f"noise {_of(arm, config, 'noise_std')}, decay {_of(arm, config, DECAY)}" for arm in arms]
    figure, ((positive, negative), (kept, spectrum), (rank, edge)) = _style.panels(columns=2, rows=3, height=2.1)

    for axes, field, title in ((positive, "positive_image", "most positive"), (negative, "negative_image", "most negative")):
        first = simulation[field].isel(seed=0, image=0)
        tiles = [_panels.tiles(first.sel(arm)) for arm in arms]
        _style.signed_image(axes, np.concatenate(tiles), f"{title} eigenvectors, one seed")
        side, classes = len(tiles[0]), simulation.sizes["label"]
        axes.set_xticks(side * (np.arange(classes) + 0.5), range(classes))
        axes.set_yticks(side * (np.arange(len(arms)) + 0.5), labels if field == "positive_image" else [""] * len(arms))
        axes.tick_params(length=0)

    digit = simulation.sizes["label"] // 2
    for index, (arm, label) in enumerate(zip(arms, labels, strict=True)):

        def of(field, arm=arm, **at):
            return tuple(part.sel(arm).isel(at) for part in statistics(result, field))

        _style.measured(kept, simulation["size"].values, of("kept"), index, label)
        for field in ("positive", "negative"):
            values = of(field, label=digit)
            _style.measured(spectrum, 1 + np.arange(len(values[0])), values, index)
        for axes, field in ((rank, "participation"), (edge, "edge")):
            values = np.atleast_1d(of(field)[0]), np.atleast_1d(of(field)[1])
            _style.simulation(axes, index + 0.1 * np.arange(len(values[0])), values, index)
        _style.theory(edge, index + 0.1 * np.arange(2), prediction(result, "edge").sel(arm), index)
    kept.set(xscale="log", xlabel="eigenvectors kept of every digit", ylabel="test accuracy")
    _style.log_ticks(kept.xaxis, simulation["size"].values)
    kept.legend()
    spectrum.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    spectrum.set(xlabel="place", ylabel=f"eigenvalues of digit {digit}")
    rank.set_ylabel("effective rank $(\\Sigma|\\lambda|)^2/\\Sigma\\lambda^2$")
    edge.set_ylabel("largest $\\pm\\lambda$ at the start")
    for axes in (rank, edge):
        axes.set_xticks(range(len(arms)), [label.replace(", ", "\n") for label in labels])
        axes.set(xlim=(-0.5, len(arms) - 0.5), ylim=(0, 1.15 * axes.get_ylim()[1]))
    _style.legend(edge, simulation.sizes["seed"], "edge of the bulk", point="networks", loc="lower right")
    return figure


def _values(result, name):
    return result["simulation"][name].values if name in result["simulation"].dims else [None]


def _of(arm, config, name):
    return _style.texts([float(arm.get(name, operator.attrgetter(name)(config)))])[0]
