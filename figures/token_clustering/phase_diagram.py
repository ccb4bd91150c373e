"""Share of pairs together over time and temperature with the predicted curve, mean inner products, and their error times d."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    cells = _style.cells(result, "dim")
    figure, panels = _style.panels(columns=len(cells), rows=4, squeeze=False)
    images = [_diagram(axes, result, cell, config) for cell, axes in zip(cells, panels[0], strict=True)]
    for cell, (diagram, means, errors, delays) in zip(cells, panels.T, strict=True):
        diagram.set_title(f"$d$ = {cell.get('dim', config.dim)}")
        _means(means, result, cell)
        _errors(errors, result, cell)
        _delays(delays, result, cell)
        delays.set_xlim(config.betas[0] - 0.5, config.betas[-1] + 0.5)
    label = f"share of pairs > {config.threshold:g}"
    figure.colorbar(images[-1], ax=list(panels[0]), label=label, boundaries=np.linspace(0, 1, 51), ticks=[0, 0.5, 1])
    seeds = result["simulation"].sizes["seed"]
    _style.legend(panels[1, 0], seeds, "$d \\to \\infty$", above=True, point="tokens", ncols=7)
    return figure


def _diagram(axes, result, cell, config):
    """The heat map with the predicted and the measured crossings of the threshold that lie inside."""
    share = statistics(result, "together")[0].sel(cell)
    options = dict(cmap="Greys", vmin=0, vmax=1.4, rasterized=True, shading="nearest")
    image = axes.pcolormesh(share["record"], share["beta"], share, **options)
    limit = prediction(result, "crossing", "prediction_limit").sel(cell)
    limit = limit[limit < config.time]
    _style.theory(axes, limit, limit["beta"], 5)
    mean, error = (values.sel(cell) for values in statistics(result, "crossing"))
    inside = mean < config.time
    look = dict(markersize=3.2, markerfacecolor="white", elinewidth=0.7, zorder=3)
    axes.errorbar(mean[inside], mean["beta"][inside], xerr=error[inside], fmt="o", color=_style.COLOURS[0], **look)
    axes.set(xlabel="time", ylabel="inverse temperature $\\beta$", xlim=(0, config.time))
    return image


def _shown(betas):
    """At most four, evenly spaced."""
    return [float(betas[i]) for i in np.unique(np.linspace(0, len(betas) - 1, min(4, len(betas))).astype(int))]


def _means(axes, result, cell):
    limit, (mean, error) = prediction(result, "mean", "prediction_limit"), statistics(result, "mean")
    betas = _shown(mean["beta"])
    for index, beta in enumerate(betas):
        at = {**cell, "beta": beta}
        _style.theory(axes, mean["record"], limit.sel(at), index, f"$\\beta$ = {_style.texts(betas)[index]}")
        _style.simulation(axes, mean["record"], (mean.sel(at), error.sel(at)), index)
    axes.set(xlabel="time", ylabel="mean inner product", ylim=(-0.05, 1.05))


def _off(result, cell, field):
    """Simulation less theory with its standard error, at the temperatures that are judged in this cell."""
    mean, error = (values.sel(cell).dropna("low", how="all") for values in statistics(result, field))
    return mean - prediction(result, field).sel(cell), error


def _errors(axes, result, cell):
    error, standard_error = _off(result, cell, "scaled_mean")
    half = {"record": slice(error.sizes["record"] // 2 + 1)}  # later all pairs have come together
    error, standard_error = error.isel(half), standard_error.isel(half)
    betas = _shown(error["low"])
    for index, beta in enumerate(betas):
        _style.simulation(axes, error["record"], (error.sel(low=beta), standard_error.sel(low=beta)), index)
        axes.plot(
            [],
            [],
            _style.MARKERS[index],
            color=_style.COLOURS[index],
            label=f"$\\beta$ = {_style.texts(betas)[index]}",
            mfc="white",
        )
    axes.plot(error["record"], np.zeros(error.sizes["record"]), color="0.35", linewidth=0.8, zorder=1)
    axes.set(xlabel="time", ylabel="$d$ (mean $- \\gamma$)/$(1 + \\beta^2)$")
    axes.legend(markerscale=0.6)


def _delays(axes, result, cell):
    delay, standard_error = _off(result, cell, "scaled_crossing")
    _style.theory(axes, delay["low"], np.zeros(delay.size))
    _style.simulation(axes, delay["low"], (delay, standard_error))
    axes.axhline(0, color="0.6", linewidth=0.7, zorder=0)
    axes.set(xlabel="inverse temperature $\\beta$", ylabel="$d$ (crossing $-$ curve)/$(1 + \\beta^2)$")
