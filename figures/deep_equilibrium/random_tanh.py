"""Pre-activations, gain and spectral radius of random tanh networks against the scale of the weights, and their eigenvalues."""

import numpy as np

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    widths, scales = _style.cells(result, "width"), _style.cells(result, "weight_scale")
    figure, ((q, gain, radius), (plane, shares, edge)) = _style.panels(columns=3, rows=2, height=2.6)
    x = [config.weight_scale] if scales == [{}] else simulated["weight_scale"].values
    for index, width in enumerate(widths):
        label = f"{width.get('width', config.width)} units"
        for axes, field in ((q, "preactivation_variance"), (gain, "gain"), (radius, "radius")):
            _against_scale(axes, result, config, field, index, label, width)
        _style.measured(edge, x, [np.atleast_1d(values.sel(width)) for values in statistics(result, "abscissa")], index)
    limit = prediction(result, "radius", "prediction_limit").sel(widths[-1])
    for axes in (radius, edge):
        _style.rival(axes, x, np.atleast_1d(limit), color="0.35", label="$\\sqrt{\\chi}$, infinite width")
        axes.legend(loc="lower right")
    for axes, label in (
        (q, "variance of $W z^* + u$"),
        (gain, "tr $J J^T/n$"),
        (radius, "largest $|\\lambda|$"),
        (edge, "largest Re $\\lambda$"),
    ):
        axes.set(xlabel="scale of the weights $s$", ylabel=label)
    chosen = [scales[i] for i in sorted({0, len(scales) // 2, len(scales) - 1})]
    _disc(plane, result, [{**widths[-1], **scale} for scale in chosen])
    for index, scale in enumerate(chosen):
        s = scale.get("weight_scale", config.weight_scale)
        at = {**widths[-1], **scale}
        _style.compare(shares, config.levels, result, "shares", index, f"$s$ = {s:g}", at, _style.colour(index + 3))
    shares.set(xlabel="modulus over $s$", ylabel="share of eigenvalues inside", title=f"{_width(widths[-1], config)} units")
    shares.legend(loc="lower right")
    _style.legend(q, simulated.sizes["seed"], "mean field, circular law", above=True, point="networks", ncols=4)
    return figure


def _width(width, config):
    return width.get("width", config.width)


def _against_scale(axes, result, config, field, index, label, width):
    if "weight_scale" in result["simulation"].dims:
        _style.compare(axes, result["simulation"]["weight_scale"].values, result, field, index, label, width)
    else:
        at = [config.weight_scale]
        mean, error = (np.atleast_1d(values.sel(width)) for values in statistics(result, field))
        _style.theory(axes, at, np.atleast_1d(prediction(result, field).sel(width)), index, label, marker="_")
        _style.simulation(axes, at, (mean, error), index)


def _disc(axes, result, cells):
    """Eigenvalues of all networks in the predicted discs, the smallest on top."""
    angle = np.linspace(0, 2 * np.pi, 200)
    for index, at in reversed(list(enumerate(cells))):
        color = _style.colour(index + 3)
        r = float(prediction(result, "radius", "prediction_limit").sel(at))
        axes.plot(r * np.cos(angle), r * np.sin(angle), color=color, zorder=3)
        real, imaginary = (result["simulation"][part].sel(at).values.ravel() for part in ("real", "imaginary"))
        axes.plot(real, imaginary, ".", markersize=1.5, color=color, alpha=0.5, markeredgewidth=0, gid=_style.UNJUDGED)
    axes.set(xlabel="Re $\\lambda$", ylabel="Im $\\lambda$", aspect="equal")
