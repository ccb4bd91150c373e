"""Logit, cross-entropy and accuracy of PARITY along the weight that counts ones: a triangle wave, and notches of width 1/n."""

from .. import _style


def draw(result, config):
    simulated = result["simulation"]
    weights, lengths, norms = (simulated[axis].values for axis in ("value_weight", "length", "norm"))
    figure, ((wave, bare, normed), (right, scaled, scaled_bits)) = _style.panels(columns=3, rows=2)
    for index, ones in enumerate(simulated["ones"].values):
        shade = _style.tint(index, len(config.shown_ones))
        _style.compare(wave, weights, result, "logit", index, f"$k$ = {ones}", {"ones": ones}, shade)
    wave.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    wave.set(ylabel="logit", title=f"{norms[0]}, $n$ = {lengths[0]}", xlabel="weight $c$")
    low, high = wave.get_ylim()
    wave.set_ylim(low, high + 0.15 * (high - low))
    wave.legend(ncols=3, loc="upper center")
    shown = (
        (bare, "cross_entropy", norms[0], False),
        (normed, "cross_entropy", norms[1], False),
        (right, "accuracy", norms[0], False),
        (scaled, "accuracy", norms[1], True),
        (scaled_bits, "cross_entropy", norms[1], True),
    )
    for axes, field, norm, by_length in shown:
        for index, length in enumerate(lengths):
            x = length * (weights - 1) if by_length else weights
            label = f"$n$ = {length}" if axes is bare else None
            _style.compare(axes, x, result, field, index, label, {"norm": norm, "length": length})
            for side in (-0.5, 0.5):  # every string is right in between
                place = side if by_length else 1 + side / length
                look = "0.5" if by_length else _style.colour(index)
                axes.axvline(place, color=look, linewidth=0.5, linestyle=":", zorder=0)
        axes.set(title=norm, xlabel="$n\\,(c - 1)$" if by_length else "weight $c$")
        axes.set_ylabel("cross-entropy (bits)" if field == "cross_entropy" else "accuracy")
    for axes in (scaled, scaled_bits):
        axes.set_xlim(-2.5, 2.5)
    right.set_xlim(0.88, 1.12)
    _style.legend(bare, simulated.sizes["seed"], "closed form", above=True, point="transformer", ncols=5)
    return figure
