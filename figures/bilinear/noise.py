"""What is learned along each input against the noise on the inputs: Wiener filter over Adam, and the isotropic rule."""

from ...sweeps import prediction, statistics
from .. import _style


def draw(result, config):
    noise = result["simulation"]["noise_std"].values
    figure, (left, middle, right) = _style.panels(columns=3)
    (form, form_error), (linear, linear_error) = (statistics(result, field) for field in ("interaction", "linear"))
    for index, variance in enumerate(config.variances):
        at, row = {"row": index, "column": index}, {"row": index}
        _style.theory(left, noise, prediction(result, "interaction").isel(at), index, f"variance {variance:g}")
        isotropic = prediction(result, "interaction", "prediction_isotropic").isel(at)
        _style.theory(left, noise, isotropic, index, linestyle=":", linewidth=0.8)
        _style.simulation(left, noise, (form.isel(at), form_error.isel(at)), index)
        _style.theory(right, noise, prediction(result, "linear").isel(row), index)
        _style.simulation(right, noise, (linear.isel(row), linear_error.isel(row)), index)
    _style.theory(middle, noise, prediction(result, "constant"))
    _style.simulation(middle, noise, statistics(result, "constant"))
    left.plot([], [], color="0.35", linestyle=":", linewidth=0.8, label="equal variances")
    left.set(ylabel="diagonal of the quadratic form", ylim=(0, 1.6))
    middle.set_ylabel("constant")
    right.set(ylabel="linear form", ylim=(-0.05, 0.05))
    for axes in (left, middle, right):
        axes.set_xlabel("standard deviation of the noise")
    _style.legend(left, result["simulation"].sizes["seed"], "Wiener filter", point="Adam", ncols=2)
    return figure
