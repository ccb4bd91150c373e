"""Nonsense on every field of every experiment, nested ones too: refused in one line before anything runs, or legal.

What is refused names the field and says what is allowed. What is legal (no noise, no weight decay) traces, and gives numbers
when it runs. Floats that a program takes as arguments do not change what is traced, so few values have to be traced at all.
"""

import functools
import math

import pytest

from closedform.sweeps import UsageError, find, names, sweep
from closedform.sweeps.contract import config
from closedform.sweeps.contract.groups import gather
from closedform.sweeps.contract.request import Request
from zoo.history import changed_experiments

NONSENSE = (0, -1, math.nan, math.inf, "nosuch")
FIRST = {name.split("/")[0]: name for name in reversed(names())}.values()  # of each paper
TOUCHED = changed_experiments(commits=3, most=2)

every = pytest.mark.parametrize("name", names())
traced = pytest.mark.parametrize(
    "name", [pytest.param(one, marks=() if one in FIRST or one in TOUCHED else pytest.mark.slow) for one in names()]
)


def tried(leaf):
    """The nonsense for a field; of a list also lists of it, and an entry twice."""
    if not isinstance(leaf.value, tuple):
        return NONSENSE
    return (*NONSENSE, (), *((value,) for value in NONSENSE), leaf.value + leaf.value[-1:])


@functools.cache
def outcome(name):
    """`{(path, value as text): a config, or the error}` of the nonsense on an experiment at its QUICK size."""
    experiment = find(name)
    base, found = experiment.default_config("quick"), {}
    for leaf in config.leaves(base):
        for value in tried(leaf):
            try:
                one = config.replace(base, {leaf.path: value})
            except UsageError as error:
                found[leaf.path, repr(value)] = error
                continue
            if config.as_dict(one) != config.as_dict(base):
                found[leaf.path, repr(value)] = one
    return found


def legal(name):
    return {key: one for key, one in outcome(name).items() if not isinstance(one, UsageError)}


@every
def test_nonsense_is_refused_in_one_line_that_names_the_field(name):
    refused = {key: str(one) for key, one in outcome(name).items() if isinstance(one, UsageError)}
    assert refused
    for (path, value), said in refused.items():
        assert "\n" not in said, (path, value, said)
        assert path.split(".")[-1] in said, (path, value, said)
        assert "allowed" in said or "must" in said, (path, value, said)
        assert value.strip("(),'") in said or f"{value}.0" in said, (path, value, said)


@every
def test_what_is_no_number_and_no_word_of_it_is_never_legal(name):
    """Not a number, and a word that no field knows; infinity only where the range says so."""
    allowed = {leaf.path for leaf in config.leaves(find(name).default_config("quick")) if "Infinite" in str(leaf.annotation)}
    for path, value in legal(name):
        assert "nan" not in value
        assert "nosuch" not in value
        assert "inf" not in value or path in allowed


@traced
def test_legal_nonsense_traces(name, tmp_path):
    experiment = find(name)
    base = config.static_key(experiment.default_config("quick"))
    for one in {config.static_key(one): one for one in legal(name).values()}.values():
        if config.static_key(one) != base:
            plan = Request(experiment, one, seeds=2, results=tmp_path).plan()
            groups, failed = gather(experiment, plan.cells)
            assert not failed
            for group in groups:
                group.traced()


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_legal_nonsense_gives_numbers(name, tmp_path):
    for key, one in legal(name).items():
        result = sweep(find(name), one, seeds=2, results=tmp_path, progress=False, say=str)
        assert not result["simulation"]["diverged"].values.any(), key
