"""Cross-entropy, margin and distance from a coin of the exact PARITY and FIRST against length, and the gain of the head."""

import numpy as np

from .. import _style

GUIDES = {"PARITY": -2, "FIRST": -1}  # powers of the length


def draw(result, config):
    simulated = result["simulation"]
    lengths, variants = simulated["length"].values, simulated["variant"].values.tolist()
    figure, (bits, margins) = _style.panels(columns=3, rows=2)
    for place, language in enumerate(GUIDES):
        for index, variant in enumerate(variants):
            at = {"language": language, "variant": variant}
            label = variant.replace("eps", "layer norm, $\\epsilon$") if place == 0 else None
            _style.compare(bits[place], lengths, result, "cross_entropy", index, label, at)
            _style.compare(margins[place], lengths, result, "margin", index, None, at)
        bits[place].axhline(1, color="0.8", linewidth=0.6, zorder=0)
        bits[place].set(xscale="log", ylim=(0, 1.1), ylabel="cross-entropy (bits)", title=language)
        margins[place].set(xscale="log", yscale="log", ylabel="logit times sign of the label", title=language)
    for index, (language, power) in enumerate(GUIDES.items()):
        at = {"language": language, "variant": variants[0]}
        shade = _style.tint(index, 2)
        _style.compare(bits[2], lengths, result, "gap", index, language, at, shade)
        first = float(simulated["gap"].sel(at).isel(length=0).mean())
        guide = first * (lengths / lengths[0]) ** float(power)
        _style.rival(bits[2], lengths, guide, color=shade, label=f"$n^{{{power}}}$")
        gains = simulated["gain"].values
        _style.compare(margins[2], gains, result, "amplified", index, language, {"language": language}, shade)
    bits[2].set(xscale="log", yscale="log", ylabel="1 bit $-$ cross-entropy", title=variants[0])
    bits[2].legend(ncols=2)
    margins[2].set(yscale="log", xlabel="gain of the head $C$", ylabel="cross-entropy (bits)")
    margins[2].set_title(f"layer norm, $\\epsilon$ = 0, $n$ = {int(np.max(lengths))}")
    margins[2].legend()
    _style.decades(*margins, bits[2])
    for axes in (*bits, *margins[:2]):
        axes.set_xlabel("length $n$ (bits)")
    _style.legend(bits[0], simulated.sizes["seed"], "closed form", above=True, point="transformer", ncols=6)
    return figure
