"""Shares of an easy and a hard feature, variance and path norm of a ReLU network; shares against the scale of the start."""

from ...sweeps import prediction
from .. import _style
from . import _panels


def draw(result, config):
    simulated = result["simulation"]
    figure, (left, middle, right) = _style.panels(columns=3, height=2.6)
    features, scales = simulated["feature"].values.tolist(), simulated["scale"].values
    names = [_panels.FEATURES[feature] for feature in features]
    for index, (feature, name) in enumerate(zip(features, names, strict=True)):
        _panels.judged(left, [index], result, "shares", index, at={"feature": [feature]})
        _panels.unjudged(right, scales, result, "scale_shares", index, name, {"feature": feature})
        limit = float(prediction(result, "shares").sel(feature=feature))
        _style.rival(right, scales[[0, -1]], [limit, limit], index)
    for place, field in enumerate(("variance", "path_norm")):
        _panels.alone(middle, place, result, field, 4 + place)
    start = f"start of norm {config.model.init_scale:g}"
    _panels.named(left, names, ylim=(0, None), ylabel="share of the hidden variance", title=start)
    _panels.named(middle, ("hidden variance $V$", "path norm $P$"), ylim=(0, None), title=start)
    right.set(
        xscale="log", xlabel="norm of $w_j$ and $a_j$ at the start", ylabel="share of the hidden variance", ylim=(0, None)
    )
    right.legend(ncols=2)
    _style.rival(left, [], [], color="0.35", label="limit of a small start")
    _style.legend(left, simulated.sizes["seed"], "theory", above=True, point="networks", ncols=4)
    return figure
