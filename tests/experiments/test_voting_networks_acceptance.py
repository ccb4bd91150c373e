"""Networks of voters at sizes of a second: theory agrees with drawn votes, and plausible mistakes in it do not."""

import pytest

from closedform.sweeps import agrees, compare, find, run
from closedform.sweeps.contract import config
from closedform.theory.discrete import voting
from zoo.checks import changed


def simulate(name, folder, changes):
    experiment = find(f"voting_networks/{name}")
    settings = config.replace(experiment.default_config(), {"num_questions": 5000, **changes})
    return experiment, run(experiment, settings, seeds=16, results=folder, progress=False)


def test_width(tmp_path):
    experiment, result = simulate("width", tmp_path, {"process.num_voters": 101, "num_votes": (1, 9, 101)})
    assert agrees(compare(experiment, result))
    for rho in (0.0, 0.2 / 1.2, 0.25):  # independent votes; 1/(A + B) for 1/(1 + A + B), both ways round
        wrong = voting.beta_binomial_majority([1, 9, 101], 0.6, rho)
        assert not agrees(compare(experiment, changed(result, accuracy=lambda values, wrong=wrong: values.copy(data=wrong))))


@pytest.mark.slow
def test_discussion(tmp_path):
    experiment, result = simulate("discussion", tmp_path, {})
    assert agrees(compare(experiment, result))
    for own_weight in (1.0, 4.0):  # 2 and 3 differ by ties, which are rare
        wrong = float(voting.discussion(9, 9, 0.6, own_weight))
        assert not agrees(compare(experiment, changed(result, discussed=wrong)))
    assert not agrees(compare(experiment, changed(result, ceiling=float(voting.majority(16, 0.6)))))
