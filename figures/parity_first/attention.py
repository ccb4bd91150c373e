"""Attention of the exact FIRST to the first bit, the logit's change with that bit, and cross-entropy, against length."""

from .. import _style

TITLES = {"constant": "softmax", "log_length": "logits times ln $N$"}


def draw(result, config):
    simulated = result["simulation"]
    lengths = simulated["length"].values
    figure, panels = _style.panels(columns=3, rows=2)
    for row, (scaling, title) in zip(panels, TITLES.items(), strict=True):
        for axes, field in zip(row, ("attention", "change", "cross_entropy"), strict=True):
            for index, exponent in enumerate(simulated["exponent"].values):
                name = f"$\\beta/\\sqrt{{6}}$ = {exponent:g}"
                at = {"scaling": scaling, "exponent": exponent}
                _style.compare(axes, lengths, result, field, index, name, at)
            axes.set(xscale="log", xlabel="length $n$ (bits)", title=title)
        row[0].set(yscale="log", ylabel="attention to the first bit")
        row[1].set(yscale="log", ylabel="change of the logit with that bit")
        row[2].set(ylabel="cross-entropy (bits)", ylim=(0.65, 1.02))
        _style.decades(*row[:2])
    _style.legend(panels[0, 0], simulated.sizes["seed"], "closed form", above=True, point="transformer", ncols=5)
    return figure
