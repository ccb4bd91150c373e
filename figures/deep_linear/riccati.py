"""Modes, loss and representations of a two-layer linear network against time, for several imbalances of the start."""

from .. import _style


def draw(result, config):
    time = config.learning_rate * result["simulation"]["step"].values
    cells = _style.cells(result, "model.imbalance")
    shown = cells[:: max(1, (len(cells) - 1) // 2)][:3]
    figure, panels = _style.panels(columns=3, rows=2, height=2.5)
    for axes, at in zip(panels[0], shown, strict=False):
        for index, s in enumerate(config.spectrum):
            axes.axhline(s, color="0.8", linewidth=0.6, zorder=0)
            _style.compare(axes, time, result, "strength", index, at={"mode": s, **at})
        imbalance = at.get("model.imbalance", config.model.imbalance)
        axes.set(
            title=f"imbalance $\\lambda$ = {imbalance:g}", xlabel="time, learning rate x steps", ylabel="$u_i^T W_2 W_1 v_i$"
        )
    for axes in panels[0][len(shown) :]:
        axes.set_axis_off()
    strongest = config.spectrum[0]
    for index, at in enumerate(shown):
        label = f"$\\lambda$ = {at.get('model.imbalance', config.model.imbalance):g}"
        look = _style.tint(index, 3)
        _style.compare(panels[1][0], time, result, "loss", index, label, at, look)
        _style.compare(panels[1][1], time, result, "mixing", index, label, at, look)
        for field, line in (("representation", "-"), ("readout", "--")):
            part = {"mode": strongest, **at}
            _style.compare(panels[1][2], time, result, field, index, label if line == "-" else None, part, look, linestyle=line)
    panels[1][0].set(yscale="log", ylim=(1e-3, 30), xlabel="time", ylabel="loss")
    panels[1][1].set(xlabel="time", ylabel="norm beside the modes")
    panels[1][2].set(
        xlabel="time",
        ylabel="weight of the strongest mode",
        title="in $W_1^T W_1$, and in $W_2 W_2^T$ (dashed)",
        yscale="log",
        xlim=(0, time[-1] / 4),
    )
    _style.legend(panels[1][0], result["simulation"].sizes["seed"], "Riccati equation", point="gradient descent")
    return figure
