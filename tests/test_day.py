"""A newcomer's day at the command line, one command after the other in one folder: each exit code and last line."""

import re
import textwrap

import jax
import pytest

import closedform.__main__ as command_line

FILES = {
    "logreg.py": """
        from dataclasses import dataclass

        import jax
        import jax.numpy as jnp


        @dataclass
        class Config:
            rate: float = 0.1
            size: int = 4


        def simulate(key, config):
            return {"mean": config.rate + 0.1 * jax.random.normal(key, (config.size,))}


        def predict(config):
            return {"mean": config.rate + jnp.zeros(config.size)}
        """,
    "alone.py": """
        import jax


        def simulate(key):
            return jax.random.uniform(key, (3,))
        """,
    "broken.py": """
        config = {"rate": 0.1}


        def simulate(key, config):
            raise ValueError("no such thing")
        """,
    "leaves.py": "raise SystemExit(3)",
}
FILES["wrong.py"] = FILES["logreg.py"].replace('"mean": config.rate + jnp', '"mean": 1 + config.rate + jnp')
ROWS = r"(\d+) of \1 rows? agrees?; the median row detects"
OURS = "voting_networks/discussion --preset quick"
DAY = [
    ("", 2, "request, 3 failed cells, 4 stale, 70 internal error, 130 interrupted"),
    ("--help", 0, "130 interrupted"),
    ("--version", 0, r"closedform \d.*jax"),
    ("lst", 2, "unknown command 'lst'; nearest: list"),
    ("list", 0, "xor .*SGD on XOR"),
    ("list voting", 2, "unknown paper or experiment 'voting'; nearest: voting_networks"),
    ("list voting_networks", 0, ""),
    ("run voting_networks/discusion", 2, "unknown experiment .*; nearest: voting_networks/discussion"),
    ("run voting_networks/discussion --preset huge", 2, "unknown preset .* 'huge'; known: quick"),
    ("run voting_networks/discussion --help", 0, ""),
    (f"predict {OURS}", 0, r"ceiling +0\.6826"),
    (f"run {OURS} --seeds 4", 0, ROWS),
    (f"run {OURS} --seeds 4", 0, ROWS),
    (f"agree {OURS}", 2, "not .*all.* computed in results; first: closedform reproduce"),
    (f"reproduce {OURS}", 0, ROWS),
    (f"agree {OURS}", 0, ROWS),
    (f"agree {OURS} --csv", 0, "voting_networks/discussion,.*agrees"),
    (f"agree {OURS} --quiet", 0, ROWS),
    ("status", 0, ""),
    ("cite voting_networks", 0, "}"),
    ("report", 0, "report.html"),
    ("prune", 0, "nothing is stale or superseded"),
    ("run logreg.py", 2, "a function of the file is named by logreg.py:simulate"),
    ("run logreg.py:simulate --seeds 20", 0, ROWS),
    ("run logreg.py:simulate --seeds 20-24 --quiet", 0, ROWS),
    ("run logreg.py:simulate --seeds 0", 2, "seeds: got 0; allowed"),
    ("run logreg.py:simulate --seeds 99999999999", 2, "seeds: got 99999999999, which take at least .* of memory"),
    ("run logreg.py:simulate --config.rate nan", 2, "rate: got 'nan'; allowed: a finite number"),
    ("sweep logreg.py:simulate --over rate=.1,.2,.4 --seeds 20", 0, ROWS),
    ("sweep logreg.py:simulate --over rate=.1,.1", 2, r"rate: got \(0.1, 0.1\); allowed: one or more distinct values"),
    ("sweep logreg.py:simulate --over rate=fast", 2, "rate: got 'fast'; allowed: a finite number"),
    ("sweep logreg.py:simulate --over speed=1,2", 2, "unknown field of logreg/simulate 'speed'; known: rate, size"),
    ("sweep logreg.py:simulate --over rate=.1,.2 --config.rate .3", 2, "rate: is set by --config.rate and swept by --over"),
    ("sweep logreg.py:simulate --over rate=.1,.2 --nodes 3", 2, "nodes: --nodes is of processes that are launched"),
    ("status logreg.py:simulate", 0, ""),
    ("agree logreg.py:simulate", 0, ROWS),
    ("run alone.py:simulate --seeds 5", 0, "1 field measured, nothing predicted; of 5 runs 0 diverged and 0 failed"),
    ("run wrong.py:simulate --seeds 20", 1, "0 of 1 row agrees"),
    ("run broken.py:simulate", 3, "broken/simulate failed: ValueError: no such thing"),
    ("run leaves.py:simulate", 2, "leaves.py: cannot be imported"),
    ("report logreg.py:simulate --output .", 2, "output: got '.', a folder"),
    ("cite nothing", 2, "unknown paper, experiment or module 'nothing'"),
]


@pytest.mark.slow("commands", "__main__.py", "sweeps/api.py")
def test_a_day_of_a_newcomer(tmp_path, monkeypatch, capsys):
    for name, text in FILES.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    assert len(DAY) >= 40
    for words, code, last in DAY:
        with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
            found = command_line.main(words.split())
        printed = capsys.readouterr()
        assert found == code, f"{words}: {printed}"
        lines = [line for line in (printed.out or printed.err).split("\n") if line.strip()]
        assert re.search(last, lines[-1]), f"{words}: {lines[-1]}"
        if code == 2 and words:  # a wrong request is one line, and nothing else
            assert len(lines) == 1
            assert lines[0].startswith("closedform: ")
