"""Programs whose decompositions come in batches wait inside of XLA's threads: no two of them may run side by side."""

import threading

import jax
import jax.numpy as jnp
import pytest

from closedform.sweeps.engine import programs
from closedform.sweeps.engine.programs import Program

MATRICES = jax.ShapeDtypeStruct((3, 4, 4), jnp.float32)


def program(function):
    return Program(function, (MATRICES,), float64=False).compile()


@pytest.mark.parametrize(
    ("function", "waits"),
    [
        (jnp.linalg.eigvalsh, True),
        (lambda a: jnp.linalg.qr(a)[0], True),
        (jnp.linalg.cholesky, True),
        (lambda a: jax.lax.map(jnp.linalg.eigvalsh, a), False),
        (lambda a: jnp.linalg.eigvalsh(a[:1]), False),
        (lambda a: jnp.linalg.eigvalsh(a[None]), True),
        (lambda a: jnp.linalg.eigvalsh(a[None, :1]), False),
        (lambda a: jnp.einsum("nij,njk->nik", a, a), False),
    ],
)
def test_batches_of_decompositions_are_found(function, waits, monkeypatch):
    for old in (True, False):
        monkeypatch.setattr(programs, "_OLD", old)
        assert program(function).waits == (old and waits)


def test_programs_that_wait_run_one_at_a_time(monkeypatch):
    monkeypatch.setattr(programs, "_OLD", True)
    inside, most, met = [], [], threading.Event()

    def slow(_):
        inside.append(1)
        most.append(len(inside))
        if len(inside) == 2:
            met.set()
        met.wait(patience)
        inside.pop()

    def at_once(*both):
        most.clear()
        for one in both:
            monkeypatch.setattr(one, "_compiled", slow)
        threads = [threading.Thread(target=one, args=(None,)) for one in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return max(most)

    patience = 0.05  # of those that never meet
    assert at_once(program(jnp.linalg.eigvalsh), program(jnp.linalg.cholesky)) == 1
    patience = None
    assert at_once(program(jnp.linalg.eigvalsh), program(jnp.negative)) == 2  # others do not stand in line
