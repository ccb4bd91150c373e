"""Acceptance of the specification on trained networks: fact 4, every seed by itself, and what must be rejected."""

import numpy as np
import pytest

from closedform.sweeps import agrees, compare, find, run

OPTIMUM = 2.2231758  # p* at (n, d) = (8, 2), weight_decay = 0.1: the specification's table


@pytest.fixture(scope="module")
def descent(tmp_path_factory):
    return run("convex_relu/descent", seeds=16, results=tmp_path_factory.mktemp("results"), progress=False)


@pytest.mark.slow
def test_fact_4_wide_networks_reach_the_optimum_and_narrow_ones_do_not(descent):
    narrow, wide = (descent["simulation"]["final"].sel(network=network).values for network in ("narrow", "wide"))
    assert np.all(np.abs(wide - OPTIMUM) < 1e-5)
    assert np.all(narrow > 2.45)
    assert 2.45 < narrow.min() < 2.65
    assert 3.1 < np.median(narrow) < 3.45
    assert min(narrow.min(), wide.min()) > OPTIMUM - 1e-6


@pytest.mark.slow
def test_the_agreement_table_accepts_it_and_rejects_a_wrong_optimum(descent):
    experiment = find("convex_relu/descent")
    assert agrees(compare(experiment, descent))
    for wrong in (3.686723, 1.843361, 2.342432, 0.734747):  # fact 2: no 1/2, weight_decay/2, l1 for l2, no cones
        result = descent.copy(deep=True)
        result["prediction"]["objective"] = result["prediction"]["objective"] * 0 + wrong
        verdicts = {row.field: row.verdict for row in compare(experiment, result)}
        assert verdicts["objective"] == "DISAGREES"
