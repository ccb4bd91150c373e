"""Experiments B1 to B8 at sizes of seconds: theory agrees, rivals and mistakes do not, and fact 14 on real digits."""

import numpy as np
import pytest

from closedform.sweeps import UsageError, agrees, compare, find, run, statistics, sweep
from closedform.sweeps.contract import config
from closedform.theory.linear_networks.bilinear_losses import weight_decay_optimum
from zoo.checks import changed


def simulate(name, folder, changes=None, over=None, seeds=None):
    experiment = find(f"bilinear/{name}")
    settings = config.replace(experiment.default_config(), changes or {})
    options = dict(seeds=seeds or experiment.seeds, results=folder, progress=False)
    if over is None:
        return experiment, run(experiment, settings, **options)
    return experiment, sweep(experiment, settings, over=over, **options)


def swapped(result, side):
    """The result with a rival's numbers in place of the prediction."""
    other = result.copy()
    other["prediction"] = result[side]
    return other


@pytest.mark.slow
def test_b2_gradient_descent_follows_the_riccati_curve(tmp_path):
    experiment, result = simulate("riccati", tmp_path, {"num_records": 20})
    assert result["simulation"].sizes["seed"] == 8
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, swapped(result, "prediction_traceless")))
    # within 1 % of the size of the target, at every time
    assert float(abs(result["simulation"]["learned"] - result["prediction"]["learned"]).max()) < 0.02
    # what no unit can subtract is not learned
    last = result["simulation"]["learned"].isel(step=-1).mean("seed")
    assert float(last[0]) > 1.7
    assert float(abs(last[-3:]).max()) < 0.02


@pytest.mark.slow
def test_b2_halving_the_step_halves_the_lag(tmp_path):
    lags = []
    for rate, steps in ((2e-3, 200), (1e-3, 400)):
        _, result = simulate("riccati", tmp_path, {"learning_rate": rate, "num_steps": steps, "num_records": 8}, seeds=4)
        lags.append(abs(result["simulation"]["learned"] - result["prediction"]["learned"]).max(("step", "mode")).values)
    assert np.all(np.abs(lags[0] / lags[1] - 2) < 0.1)


@pytest.mark.slow
def test_large_modes_are_learned_first(tmp_path):
    changes = {"num_steps": 1000, "num_records": 10, "num_test": 1000}
    experiment, result = simulate("modes", tmp_path, changes, seeds=8)
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, changed(result, learned=lambda q: q.shift(step=1, fill_value=0.0))))
    early = result["simulation"]["learned"].isel(step=3).mean("seed")  # at a time of 0.3
    assert float(early[0]) > 1.2
    assert 0 < float(early[1]) < 0.5


@pytest.mark.slow
def test_b2_laws_drift_with_the_step_and_what_is_no_law_moves_anyway(tmp_path):
    experiment, result = simulate("conservation", tmp_path)
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, changed(result, slope=lambda slope: 0 * slope + 1)))
    assert not agrees(compare(experiment, changed(result, decay=np.sqrt)))  # exp(-wd t), not exp(-2 wd t)
    drift = result["simulation"]["drift"].mean("seed")
    laws = drift.sel(quantity=result["simulation"]["law"].values)
    halvings = laws.isel(learning_rate=slice(None, -1)).values / laws.isel(learning_rate=slice(1, None)).values
    assert np.all(np.abs(halvings - 2) < 0.2)
    assert np.all(drift.sel(quantity=["alternating matrix", "gaussian matrix"]) > 0.3)
    assert np.all(laws.isel(learning_rate=-1) < 0.02)


def test_b3_weight_decay_thresholds_the_eigenvalues(tmp_path):
    experiment, result = simulate("weight_decay", tmp_path, over={"weight_decay": (0.5, 1.5, 4.5)})
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, swapped(result, "prediction_uncoupled")))
    expected = (1.90625, 0.90625, 0.30625, 0.00625, -0.14375, -1.04375)  # fact 7
    mean, _ = statistics(result, "eigenvalues")
    np.testing.assert_allclose(mean.sel(weight_decay=0.5), expected, atol=1e-6)
    assert result["simulation"]["rank"].isel(seed=0).values.tolist() == [6, 4, 2]


def test_b3_its_grid_keeps_off_the_points_where_a_mode_vanishes():
    experiment = find("bilinear/weight_decay")
    target = np.array(experiment.default_config().spectrum)
    for decay in experiment.grid["weight_decay"]:
        trace = float(np.sum(weight_decay_optimum(target, decay))) - target.sum()
        assert np.min(np.abs(4 * np.abs(target - trace / 2) - decay)) > 0.02


@pytest.mark.slow
def test_b4_noise_is_a_wiener_filter(tmp_path):
    changes = {"training.num_steps": 3000, "training.batch_size": 256}
    experiment, result = simulate("noise", tmp_path, changes, over={"noise_std": (0.0, 1.0)})
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, swapped(result, "prediction_isotropic")))


@pytest.mark.slow
def test_b5_spectrum_at_the_start(tmp_path):
    experiment, result = simulate("spectrum", tmp_path, {"dim": 400})
    assert agrees(compare(experiment, result))
    variance = result["prediction"]["second"]
    assert not agrees(compare(experiment, changed(result, edge=lambda _: 2 * variance**0.5)))  # of a semicircle
    assert not agrees(compare(experiment, changed(result, fourth=lambda _: 2 * variance**2)))


@pytest.mark.slow
def test_b6_learning_curve_on_the_sphere_alone(tmp_path):
    experiment, result = simulate("samples", tmp_path, seeds=150)
    assert agrees(compare(experiment, result))
    np.testing.assert_allclose(result["prediction"]["test"], (1.8396, 1.0007, 0.295492, 0.151614, 0.120658), rtol=1e-5)
    other = result.copy()
    other["simulation"] = result["simulation"].to_dataset().assign(test=result["simulation"]["gaussian"])
    assert not agrees(compare(experiment, other))


@pytest.mark.slow
def test_b1_the_layer_holds_the_forms_of_the_operations(tmp_path):
    experiment, result = simulate("pairs", tmp_path, seeds=4)
    assert agrees(compare(experiment, result))
    assert not agrees(compare(experiment, changed(result, interaction=lambda q: q.isel(operation=[0, 0, 0]).values + 0 * q)))


@pytest.mark.slow
def test_fact_14_weight_decay_lowers_the_rank_and_ten_eigenvectors_suffice(tmp_path):
    over = {"noise_std": (0.0, 0.4), "training.weight_decay": (0.0, 1.0)}
    experiment, result = simulate("digits", tmp_path, {"num_kept": (1, 10)}, over=over, seeds=2)
    assert agrees(compare(experiment, result))
    rank, accuracy, kept = (result["simulation"][field] for field in ("participation", "accuracy", "kept"))
    decayed, free = (rank.sel({"training.weight_decay": decay}) for decay in (1.0, 0.0))
    assert (decayed < 0.7 * free).all()
    assert (rank.sel(noise_std=0.4) > rank.sel(noise_std=0.0)).all()
    assert (accuracy.sel(noise_std=0.4) > accuracy.sel(noise_std=0.0)).all()
    assert (abs(accuracy - kept.sel(size=10)) < 0.03).all()
    assert (kept.sel(size=1) < accuracy - 0.2).all()
    _, loud = simulate("digits", tmp_path, {"num_kept": (10,), "noise_std": 0.8, "training.weight_decay": 1.0}, seeds=2)
    accuracy, kept = (loud["simulation"][field] for field in ("accuracy", "kept"))
    assert (abs(accuracy - kept.sel(size=10)) < 0.03).all()
    assert (accuracy > 0.9).all()


@pytest.mark.slow
def test_b7_leading_eigenvectors_are_alike_across_seeds_and_more_so_in_wide_networks(tmp_path):
    _, result = simulate("widths", tmp_path, {"training.num_steps": 500}, over={"width": (16, 48)}, seeds=2)
    similarity = result["simulation"]["similarity"].mean("seed")
    chance = float(result["prediction"]["untrained"].max())
    # one overlap scatters by 0.76 of its mean, and 1200 of them are averaged: three standard errors
    assert abs(float(result["simulation"]["untrained"].mean()) / chance - 1) < 0.07
    assert (similarity.isel(place=0) > 10 * chance).all()
    assert (similarity.isel(place=0) > 2 * similarity.isel(place=-1)).all()
    few = similarity.isel(place=slice(5)).mean("place")
    assert float(few.sel(width=48)) > float(few.sel(width=16))


@pytest.mark.slow
def test_b7_with_all_eigenvectors_the_accuracy_is_that_of_the_network(tmp_path):
    changes = {
        "data": "digits_8x8",
        "num_samples": 1000,
        "width": 16,
        "num_compared": 5,
        "training.num_steps": 100,
        "num_kept": (1, 10**6),
    }
    _, result = simulate("widths", tmp_path, changes, seeds=2)
    kept, accuracy = (result["simulation"][field].values for field in ("kept", "accuracy"))
    np.testing.assert_allclose(kept[:, 1], accuracy, atol=0.002)  # of 797 images, one near a tie may turn by rounding
    assert np.all(kept[:, 0] < accuracy)


@pytest.mark.slow
def test_b8_masks_mislead_and_permuted_ones_do_not(tmp_path):
    changes = {"strengths": (0.0, 0.3), "num_vectors": 5, "training.num_steps": 800}
    experiment, result = simulate("masks", tmp_path, changes, seeds=2)
    assert agrees(compare(experiment, result))
    strongest = result["simulation"].to_dataset().sel(strength=0.3).sel(kind=["mask", "pixels permuted"]).mean("seed")
    accuracy, misled = strongest["accuracy"].values, strongest["misled"].values
    assert accuracy[0] < 0.75 < 0.85 < accuracy[1]
    assert misled[0] > 0.1 > 0.02 > misled[1]
    assert not agrees(compare(experiment, changed(result, shift=lambda shift: shift.isel(kind=[1, 0]).values + 0 * shift)))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("riccati", {"model.init": "ones"}, r"model.init must be tied"),
        ("riccati", {"model.dim": 7}, r"model.dim must be the 8 of the spectrum"),
        ("weight_decay", {"model.init": "gaussian"}, r"model.init must be ones"),
        ("weight_decay", {"model.init": "tied"}, r"model.init must be ones"),
        ("weight_decay", {"model.width": 3}, r"model.width must be at least 4"),
        ("weight_decay", {"weight_decay": -1.0}, r"weight_decay: got -1.0; allowed: a number of at least 0"),
        ("conservation", {"learning_rates": (0.01,)}, r"allowed: a list of at least 2, each entry a positive number"),
        ("conservation", {"learning_rates": (0.01, 0.02)}, r"learning_rates must fall"),
        ("noise", {"width": 4}, r"width must be above 4"),
        ("noise", {"variances": (1.0, 2.0)}, r"variances must be one number for each"),
        ("noise", {"variances": (1.0, 2.0, 0.0, 1.0)}, r"each entry a positive number"),
        ("spectrum", {"ratios": ()}, r"ratios: got \(\); allowed: a list of at least 1, each entry a positive number"),
        ("spectrum", {"ratios": (1e-4,)}, r"ratios must leave at least one unit"),
        ("samples", {"ridge": 0.0}, r"ridge: got 0.0; allowed: a positive number"),
        ("pairs", {"operations": ("and", "nand")}, r"each entry 'and' or 'or' or 'xor'"),
        ("digits", {"noise_std": -0.1}, r"noise_std: got -0.1; allowed: a number of at least 0"),
        ("digits", {"residual": True}, r"embedding_dim must be width = 64.*, got embedding_dim = 0"),
        ("widths", {"embedding_dim": 8}, r"embedding_dim: got 8; allowed: 0"),
        ("masks", {"num_vectors": 65}, r"num_vectors must be at most width = 64"),
    ],
)
def test_configs_that_make_no_sense_are_refused(name, change, message):
    with pytest.raises(UsageError, match=message):
        config.replace(find(f"bilinear/{name}").default_config(), change)
