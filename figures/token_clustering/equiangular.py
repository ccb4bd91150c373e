"""Inner product against time for both flows, hitting times, and layers: exact curves through simulated points."""

from ...sweeps import prediction
from .. import _style

FLOWS = {"SA": "softmax (SA)", "USA": "unnormalised (USA)"}


def draw(result, config):
    simulated, betas = result["simulation"], config.betas
    figure, panels = _style.panels(columns=2, rows=2)
    for axes, (flow, title) in zip(panels[0], FLOWS.items(), strict=True):
        for index, beta in enumerate(betas):
            at = {"flow": flow, "beta": beta}
            _style.compare(
                axes, simulated["record"].values, result, "gamma", index, f"$\\beta$ = {_style.texts(betas)[index]}", at
            )
        axes.set(title=title, xlabel=f"time  (until $\\gamma$ = {config.end:g})", ylabel="inner product $\\gamma$")
    left, right = panels[1]
    for index, level in enumerate(config.levels):
        for flow, style in (("SA", "-"), ("USA", "--")):
            label = f"$\\gamma$ = {_style.texts(config.levels)[index]}" if flow == "SA" else None
            at, shade = {"flow": flow, "level": level}, _style.tint(index, len(config.levels))
            _style.compare(left, betas, result, "hitting", index, label, at, shade, linestyle=style)
    left.set(xlabel="inverse temperature $\\beta$", ylabel="hitting time", yscale="log")
    left.plot([], [], color="0.35", linestyle="--", label="USA, time $\\times e^\\beta$")
    left.legend()
    layers, continuous = range(config.num_layers + 1), prediction(result, "layers", "prediction_continuous")
    for index, size in enumerate(config.step_sizes):
        shade = _style.tint(index, len(config.step_sizes), _style.COLOURS[-1])
        _style.compare(
            right, layers, result, "layers", index, f"$\\eta$ = {_style.texts(config.step_sizes)[index]}", {"size": size}, shade
        )
        _style.rival(right, layers, continuous.sel(size=size), color=shade)
    _style.rival(right, [], [], label="as if continuous", color="0.35")
    right.set(xlabel="layer", ylabel="inner product", title=f"layers, $\\beta$ = {config.layer_beta:g}", ylim=(-0.05, 1.4))
    right.legend(loc="upper right", ncols=2)
    _style.legend(panels[0, 0], simulated.sizes["seed"], "exact", above=True, point="tokens", ncols=6)
    return figure
