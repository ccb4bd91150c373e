"""Share of pairs together over time and temperature with the predicted curve, and mean inner products on the closed curve."""

import numpy as np

from ...sweeps import prediction, provenance, statistics
from .. import _style


def draw(result):
    config = provenance(result)["config"]
    simulated = result["simulation"]
    swept = "dim" in simulated["together"].dims
    dims = [int(dim) for dim in simulated["dim"].values] if swept else [config["dim"]]
    betas, threshold = np.array(config["betas"]), config["threshold"]
    figure, panels = _style.panels(columns=len(dims), rows=2, squeeze=False)
    for column, dim in enumerate(dims):

        def at(values, dim=dim):
            return values.sel(dim=dim) if swept else values

        top, bottom = panels[:, column]
        share = at(statistics(result, "together")[0]).values
        times = np.linspace(0, config["time"], share.shape[1])
        edges = [np.concatenate([[x[0]], (x[1:] + x[:-1]) / 2, [x[-1]]]) for x in (times, betas)]
        image = top.pcolormesh(*edges, share, cmap="Greys", vmin=0, vmax=1.4, rasterized=True)
        crossing = [_joined(at, result, "crossing", side) for side in ("limit", "mean", "error")]
        judged = np.isfinite(at(prediction(result, "crossing")).values).sum()
        seen, limit = crossing[1] < config["time"], crossing[0] < config["time"]
        top.plot(crossing[0][limit], betas[limit], color=_style.COLOURS[5], label="theory, $d \\to \\infty$", zorder=2)
        top.errorbar(
            crossing[1][seen],
            betas[seen],
            xerr=crossing[2][seen],
            fmt="o",
            color=_style.COLOURS[0],
            markersize=3.2,
            markerfacecolor="white",
            elinewidth=0.7,
            label="simulated",
            zorder=3,
        )
        top.set(title=f"$d$ = {dim}", xlabel="time", ylabel="inverse temperature $\\beta$")
        mean = [_joined(at, result, "mean", side) for side in ("limit", "mean", "error")]
        for index, place in enumerate(np.linspace(0, len(betas) - 1, min(4, len(betas))).astype(int)):
            style = "-" if place < judged else "--"
            _style.theory(bottom, times, mean[0][place], index, f"$\\beta$ = {betas[place]:g}", linestyle=style)
            _style.simulation(bottom, times, (mean[1][place], mean[2][place]), index)
        if column == len(dims) - 1:
            figure.colorbar(
                image, ax=list(panels[0]), label=f"share of pairs > {threshold:g}", boundaries=np.linspace(0, 1, 51)
            )
        bottom.set(xlabel="time", ylabel="mean inner product", ylim=(-0.05, 1.05))
    panels[1, 0].plot([], [], color="0.35", linestyle="--", label="not judged")
    _style.legend(panels[1, 0], simulated.sizes["seed"], "$d \\to \\infty$", above=True, point="tokens", ncols=7)
    return figure


def _joined(at, result, field, side):
    """Of all temperatures, the judged ones first: the limit, or the mean or the error of the simulation."""
    parts = []
    for name in (field, f"{field}_high"):
        if side == "limit":
            values = at(prediction(result, name, "prediction_limit")).values
        else:
            values = at(statistics(result, name)[("mean", "error").index(side)]).values
        # a grid over dimensions pads the shorter of the two parts
        parts.append(values[~np.isnan(values.reshape(len(values), -1)).all(axis=1)])
    return np.concatenate(parts)
