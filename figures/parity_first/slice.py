"""Logit, cross-entropy and accuracy of PARITY along the weight that counts ones: a triangle wave, and notches of width 1/n."""

from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    weights, lengths, norms = (simulated[axis].values for axis in ("value_weight", "length", "norm"))
    figure, ((wave, bits, normed), (scaled, right, right_normed)) = _style.panels(columns=3, rows=2)
    for index, ones in enumerate(simulated["ones"].values):
        shade = _style.tint(index, len(config.shown_ones))
        _style.compare(wave, weights, result, "logit", index, f"$k$ = {ones}", {"ones": ones}, shade)
    wave.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    wave.set(ylabel="logit", title=f"{norms[0]}, $n$ = {lengths[0]}", xlabel="weight $c$")
    wave.legend(ncols=3, loc="lower center")
    for norm, pair in zip(norms, ((bits, right), (normed, right_normed)), strict=True):
        for axes, field in zip(pair, ("cross_entropy", "accuracy"), strict=True):
            for index, length in enumerate(lengths):
                label = f"$n$ = {length}" if axes is bits else None
                _style.compare(axes, weights, result, field, index, label, {"norm": norm, "length": length})
                for side in (-1, 1):  # right for every string in between
                    axes.axvline(1 + side / (2 * length), color=_style.colour(index), linewidth=0.5, linestyle=":", zorder=0)
            axes.set(xlabel="weight $c$", title=norm)
        pair[0].set(ylabel="cross-entropy (bits)")
        pair[1].set(ylabel="accuracy", ylim=(0.35, 1.05))
    for index, length in enumerate(lengths):
        _style.compare(scaled, length * (weights - 1), result, "accuracy", index, None, {"norm": norms[0], "length": length})
    scaled.set(xlim=(-4, 4), ylim=(0.35, 1.05), ylabel="accuracy", title=norms[0], xlabel="$n\\,(c - 1)$")
    for side in (-0.5, 0.5):
        scaled.axvline(side, color="0.5", linewidth=0.5, linestyle=":", zorder=0)
    _style.legend(bits, simulated.sizes["seed"], "closed form", above=True, point="transformer", ncols=5)
    return figure
