"""Loss and margins against time: mean field and the signal-only closed form over SGD."""

from ...sweeps import prediction
from .. import _style


def draw(result, config):
    time = result["simulation"]["step"].values * config.learning_rate
    seeds = result["simulation"].sizes["seed"]
    figure, (left, middle, right) = _style.panels(columns=3)
    _style.compare(left, time, result, "loss", shade=_style.ALONE)
    left.set(yscale="log", ylabel="loss  2 log(1 + exp(−y f))")
    _style.legend(left, seeds, "mean field")

    for index, cluster in enumerate(result["simulation"]["cluster"].values):
        label = f"${cluster}$".replace("mu", "\\mu")
        _style.compare(middle, time, result, "margin", index, label, at={"cluster": cluster})
    middle.set(yscale="log", ylim=(1e-4, 10), ylabel="margin of a cluster  y f")
    _style.legend(middle, seeds, "mean field", loc="lower right")

    for index, field in enumerate(("smallest", "largest")):
        _style.compare(right, time, result, field, index + 4, f"{field} of the four")
        late = prediction(result, field, "prediction_signal_only")
        label = f"closed form from t = {config.closed_form_from * config.learning_rate:g}" if index == 0 else None
        right.plot(time, late, color="black", linestyle=(0, (3, 2)), linewidth=0.9, zorder=4, label=label)
    right.set(ylabel="margin of a cluster  y f")
    _style.legend(right, seeds, "mean field", loc="upper left")
    for axes in (left, middle, right):
        axes.set_xlabel("time  (learning rate × step)")
    return figure
