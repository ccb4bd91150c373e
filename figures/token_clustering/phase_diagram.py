"""Where tokens are together over time and temperature, the predicted curve, and how far finite dimensions are from it."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style

CURVE = 5  # colour of the crossings; those before it tell temperatures apart


def draw(result, config):
    cells = _style.cells(result, "dim")
    shown = [cells[place] for place in _evenly(len(cells), 3)]
    columns = 2 if len(shown) == 1 else 3
    figure, panels = _style.panels(columns=columns, rows=2)
    *diagrams, means, errors, delays = panels.flat if columns * 2 == len(shown) + 3 else [*panels[0, :2], *panels[1]]
    for axes in set(panels.flat) - {*diagrams, means, errors, delays}:
        axes.set_axis_off()
    images = [_diagram(axes, result, cell, config) for cell, axes in zip(shown, diagrams, strict=True)]
    label = f"share of pairs > {config.threshold:g}"
    figure.colorbar(images[-1], ax=diagrams, label=label, boundaries=np.linspace(0, 1, 51), ticks=[0, 0.5, 1])
    _means(means, result, shown[-1])
    _errors(errors, result, shown[-1])
    _delays(delays, result, cells, config)
    for axes in (means, errors):
        axes.set_title(_dim(shown[-1], config))
    _style.theory(means, [], [], CURVE, f"mean is {config.threshold:g}")
    seeds = result["simulation"].sizes["seed"]
    _style.legend(means, seeds, "$d \\to \\infty$", above=True, point="tokens", ncols=4 if columns == 2 else 7)
    return figure


def _dim(cell, config):
    return f"$d$ = {cell.get('dim', config.dim)}"


def _evenly(number, most):
    """At most so many places, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, number - 1, min(most, number)).astype(int)).tolist()


def _where_all_cross(result, config):
    """The temperatures at which every run crosses the threshold before it ends: an end is no crossing."""
    simulated = result["simulation"].to_dataset()
    return ((simulated["crossing"] < config.time) | simulated["diverged"]).all("seed")


def _diagram(axes, result, cell, config):
    """The heat map with the predicted and the measured crossings of the threshold that lie inside."""
    share = statistics(result, "together")[0].sel(cell)
    options = dict(cmap="Greys", vmin=0, vmax=1.4, rasterized=True, shading="nearest")
    image = axes.pcolormesh(share["record"], share["beta"], share, **options)
    betas, limit = _style.along(result, "crossing", share["beta"], cell, "prediction_limit")
    _style.theory(axes, np.where(limit < config.time, limit, np.nan), betas, CURVE)
    mean, error = (values.sel(cell) for values in statistics(result, "crossing"))
    inside = _where_all_cross(result, config).sel(cell).values
    look = dict(markersize=3.2, markeredgewidth=0.6, markerfacecolor="white", elinewidth=0.7, zorder=3)
    axes.errorbar(
        mean[inside], mean["beta"][inside], xerr=error[inside], fmt=_style.MARKERS[0], color=_style.colour(CURVE), **look
    )
    title = f"{_dim(cell, config)}: all runs cross at {inside.sum()} of {inside.size} $\\beta$"
    axes.set(xlabel="time", ylabel="inverse temperature $\\beta$", xlim=(0, config.time), title=title)
    return image


def _shown(betas):
    """At most four, evenly spaced."""
    return [float(betas[place]) for place in _evenly(len(betas), 4)]


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
    colours = {beta: index for index, beta in enumerate(_shown(result["simulation"]["beta"]))}
    for beta in [beta for beta in colours if beta in error["low"]] or [float(error["low"][0])]:
        one = (error.sel(low=beta), standard_error.sel(low=beta))
        _style.simulation(axes, error["record"], one, colours.get(beta, 4))
    _style.zero(axes, error["record"], _style.allowance(result, "scaled_mean")[1])
    axes.set(xlabel="time", ylabel="$d$ (mean $- \\gamma$)/$(1 + \\beta^2)$")


def _delays(axes, result, cells, config):
    crossing = _where_all_cross(result, config)
    for place, cell in enumerate(cells):
        delay, error = _off(result, cell, "scaled_crossing")
        there = crossing.sel(cell).sel(beta=delay["low"].values).values
        look = {"color": _style.colour(CURVE), "label": _dim(cell, config)}
        _style.simulation(axes, delay["low"][there] + 0.08 * place, (delay[there], error[there]), place, **look)
    _style.zero(axes, config.betas, _style.allowance(result, "scaled_crossing")[1], CURVE)
    axes.set(xlabel="inverse temperature $\\beta$", ylabel="$d$ (crossing $-$ curve)/$(1 + \\beta^2)$")
    axes.legend(loc="upper right", fontsize=6)
