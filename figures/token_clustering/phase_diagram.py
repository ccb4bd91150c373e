"""Share of pairs together over time and temperature with the predicted curve, mean inner products, and their error times d."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    swept = "dim" in simulated["together"].dims
    dims = [int(dim) for dim in simulated["dim"].values] if swept else [config.dim]
    figure, panels = _style.panels(columns=len(dims), rows=4, squeeze=False)
    for place, dim in enumerate(dims):

        def at(values, dim=dim):
            return (values.sel(dim=dim) if swept else values).values

        def of(field, at=at):
            mean, error = statistics(result, field)
            return at(mean), at(error)

        image = _diagram(panels[0, place], of, at(prediction(result, "crossing", "prediction_limit")), config)
        if place == len(dims) - 1:
            label = f"share of pairs > {config.threshold:g}"
            figure.colorbar(image, ax=list(panels[0]), label=label, boundaries=np.linspace(0, 1, 51), ticks=[0, 0.5, 1])
        panels[0, place].set_title(f"$d$ = {dim}")
        _means(panels[1, place], of("mean"), at(prediction(result, "mean", "prediction_limit")), config)
        judged = np.flatnonzero(~np.isnan(at(prediction(result, "delay"))))
        _errors(panels[2, place], of("error"), at(prediction(result, "error")), judged, config)
        _style.theory(panels[3, place], np.array(config.betas)[judged], at(prediction(result, "delay"))[judged])
        mean, error = of("delay")
        _style.simulation(panels[3, place], np.array(config.betas)[judged], (mean[judged], error[judged]))
        panels[3, place].axhline(0, color="0.6", linewidth=0.7, zorder=0)
        ends = config.betas[0] - 0.5, config.betas[-1] + 0.5
        label = "$d$ (crossing $-$ curve)/$(1 + \\beta^2)$"
        panels[3, place].set(xlim=ends, xlabel="inverse temperature $\\beta$", ylabel=label)
    _style.legend(panels[1, 0], simulated.sizes["seed"], "$d \\to \\infty$", above=True, point="tokens", ncols=7)
    return figure


def _diagram(axes, of, limit, config):
    """The heat map with the predicted and the measured crossings of the threshold that lie inside."""
    share, betas = of("together")[0], np.array(config.betas)
    times = np.linspace(0, config.time, share.shape[1])
    image = axes.pcolormesh(times, betas, share, cmap="Greys", vmin=0, vmax=1.4, rasterized=True, shading="nearest")
    inside = limit < config.time
    _style.theory(axes, limit[inside], betas[inside], 5)
    mean, error = of("crossing")
    inside = mean < config.time
    options = dict(markersize=3.2, markerfacecolor="white", elinewidth=0.7, zorder=3)
    axes.errorbar(mean[inside], betas[inside], xerr=error[inside], fmt="o", color=_style.COLOURS[0], **options)
    axes.set(xlabel="time", ylabel="inverse temperature $\\beta$", xlim=(0, config.time))
    return image


def _shown(places):
    """At most four, evenly spaced."""
    return [places[i] for i in np.unique(np.linspace(0, len(places) - 1, min(4, len(places))).astype(int))]


def _means(axes, statistics, limit, config):
    times, betas = np.linspace(0, config.time, limit.shape[1]), config.betas
    for index, place in enumerate(_shown(range(len(betas)))):
        _style.theory(axes, times, limit[place], index, f"$\\beta$ = {betas[place]:g}")
        _style.simulation(axes, times, tuple(part[place] for part in statistics), index)
    axes.set(xlabel="time", ylabel="mean inner product", ylim=(-0.05, 1.05))


def _errors(axes, statistics, predicted, judged, config):
    betas, half = config.betas, predicted.shape[1] // 2 + 1  # later all pairs have come together
    times = np.linspace(0, config.time, predicted.shape[1])[:half]
    for index, place in enumerate(_shown(judged)):
        _style.simulation(axes, times, tuple(part[place, :half] for part in statistics), index)
        axes.plot([], [], _style.MARKERS[index], color=_style.COLOURS[index], label=f"$\\beta$ = {betas[place]:g}", mfc="white")
    for place in judged:
        axes.plot(times, predicted[place, :half], color="0.35", linewidth=0.8, zorder=1)
    axes.set(xlabel="time", ylabel="$d$ (mean $- \\gamma$)/$(1 + \\beta^2)$")
    axes.legend(markerscale=0.6)
