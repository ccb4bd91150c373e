"""The nested network against samples, its conservation laws against its gradients, and measurements against scipy."""

import jax
import numpy as np
import pytest
from scipy.linalg import subspace_angles

from closedform.models.linear import deep_linear, nested
from zoo.checks import rejected

ENCODER = deep_linear.Config(dim=4, widths=(3, 2), num_outputs=3, scheme="unit_gaussian", scale=1.0)
WEIGHTS = np.array([[1.0, 0.5, 2.0], [0.3, 1.0, 1.5], [1.0, 1.0, 0.7]])


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


def network(shared=False, exits="all", seed=0, encoder=ENCODER):
    return nested.init(key(seed), nested.Config(encoder, num_outputs=4, exits=exits, shared=shared))


def samples():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 4)) @ rng.standard_normal((4, 4))
    return x, rng.standard_normal((30, 4)) + x[:, ::-1]


# ----------------------------------------------------------------------------------------------------------------- the loss

errors = jax.jit(nested.errors)
outputs_of = jax.jit(jax.vmap(nested.apply, (None, 0)))


@pytest.mark.parametrize(("shared", "exits"), [(False, "all"), (True, "last")])
def test_errors_are_the_means_over_samples(shared, exits):
    """Of the outputs of `apply`, for the inputs and for a target; where exits are narrow, further sizes read zeros."""
    params, (x, y) = network(shared, exits), samples()
    outputs = np.asarray(outputs_of(params, x))
    covariance, cross, square = x.T @ x / 30, y.T @ x / 30, np.sum(y**2) / 30

    def assert_means(errors_fn):
        for target, arguments in ((x, ()), (y, (cross, square))):
            truth = np.mean(np.sum((target[:, None, None] - outputs) ** 2, axis=3), axis=0)
            np.testing.assert_allclose(errors_fn(params, covariance, *arguments), truth, rtol=1e-10)

    assert_means(errors)
    rejected(assert_means, lambda *given: errors(*given) / 2)
    rejected(assert_means, lambda params, *given: errors(params._replace(decoders=params.decoders[..., ::-1, :]), *given))
    if exits == "all":
        assert not nested.representations(params)[1, 2].any()  # the second layer has two units


def test_each_size_may_have_a_target_of_its_own():
    params, (x, y) = network(), samples()
    targets = np.stack([x, y, y[:, ::-1]])
    cross, square = np.einsum("mno,nd->mod", targets, x) / 30, np.sum(targets**2, axis=(1, 2)) / 30
    outputs = np.asarray(outputs_of(params, x))  # sample exit size output
    truth = np.mean(np.sum((np.moveaxis(targets, 0, 1)[:, None] - outputs) ** 2, axis=3), axis=0)
    covariance = x.T @ x / 30
    found = errors(params, covariance, cross, square)
    np.testing.assert_allclose(found, truth, rtol=1e-10)

    @jax.jit
    def loss_and_step(params):
        target = WEIGHTS, covariance, cross, square
        return jax.value_and_grad(nested.nested_loss)(params, *target), nested.descend(params, 0.25, *target)

    (loss, gradient), after = loss_and_step(params)
    np.testing.assert_allclose(loss, np.sum(WEIGHTS * truth), rtol=1e-10)
    np.testing.assert_allclose((params.decoders - after.decoders) / 0.25, gradient.decoders, rtol=1e-9, atol=1e-11)


def test_starts():
    """Entries of the decoders have the deviation of the encoder's scheme; the aligned start is diagonal."""
    for scheme, deviation in (("unit_gaussian", 0.5), ("gaussian", 0.5 / np.sqrt(40))):
        encoder = deep_linear.Config(dim=4, widths=(), num_outputs=40, scale=0.5, scheme=scheme)
        assert abs(np.std(np.asarray(network(encoder=encoder).decoders)) / deviation - 1) < 0.05  # of 6400 entries
    aligned = network(encoder=deep_linear.Config(dim=4, widths=(3,), num_outputs=2, scale=0.5, scheme="aligned"))
    np.testing.assert_array_equal(aligned.decoders, np.broadcast_to(0.5 * np.eye(4, 3), (2, 3, 4, 3)))
    assert nested.Config(ENCODER, 4, "all").widths == (3, 2, 3)
    assert nested.Config(ENCODER, 4).width == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nested.weights_at((2, 4), 3), "sizes must be from 1 to 3, got 4"),
        (lambda: nested.apply(network(), np.ones(3)), "x must have 4 entries, got 3"),
        (
            lambda: nested.subspace_distance(np.ones((1, 3)), np.ones((2, 3))),
            r"others must have the shape of rows, \(1, 3\), got \(2, 3\)",
        ),
        (
            lambda: nested.Config(deep_linear.Config(scheme="balanced")),
            "encoder.scheme must be gaussian, unit_gaussian or aligned, got balanced",
        ),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


# ------------------------------------------------------------------------------------------------------------- conservation


def speeds(params, weights, **quantities):
    """How fast each quantity changes under gradient flow, for some data; all by one program."""
    x, _ = samples()

    @jax.jit
    def along(params):
        gradient = jax.grad(nested.nested_loss)(params, weights, x.T @ x / 30)
        return jax.jvp(lambda p: {name: fn(p) for name, fn in quantities.items()}, (params,), (gradient,))[1]

    return along(params)


def assert_conserved(speed):
    np.testing.assert_allclose(speed, 0, atol=1e-10)


def test_gradient_flow_conserves_the_balance_of_every_unit():
    """At a random point with all exits and separate decoders, and with one shared decoder at the last exit."""
    found = speeds(
        network(),
        WEIGHTS,
        right=nested.unit_balance,
        whole=nested.balance_matrices,  # as without prefixes
        undecoded=lambda p: nested.unit_balance(p._replace(decoders=0 * p.decoders)),
        first=lambda p: nested.unit_balance(p._replace(decoders=p.decoders[:, :1])),  # of all decoders one
    )
    assert_conserved(found["right"])
    for wrong in ("whole", "undecoded", "first"):
        rejected(assert_conserved, found[wrong])
    assert_conserved(speeds(network(shared=True, exits="last"), WEIGHTS[:1], right=nested.unit_balance)["right"])


def test_few_trained_sizes_conserve_whole_blocks():
    """With sizes 2 and 3 trained the entries of units 1 and 2 are conserved together; those of units 2 and 3 are not."""
    encoder = deep_linear.Config(dim=4, widths=(), num_outputs=3, scheme="unit_gaussian", scale=1.0)
    found = speeds(network(encoder=encoder), nested.weights_at((2, 3), 3), whole=nested.balance_matrices)["whole"][0]
    moved = np.abs(np.asarray(found)) > 1e-10
    np.testing.assert_array_equal(moved, [[False, False, True], [False, False, True], [True, True, False]])


# ----------------------------------------------------------------------------------- what a representation is good for


def test_optimal_decoders_are_least_squares():
    (x, y), rows, optimal = samples(), np.random.default_rng(2).standard_normal((3, 4)), jax.jit(nested.optimal_errors)
    for target, arguments in ((x, ()), (y, (y.T @ x / 30, np.sum(y**2) / 30))):
        truth = [np.linalg.lstsq(x @ rows[:m].T, target, rcond=None)[1].sum() / 30 for m in (1, 2, 3)]
        np.testing.assert_allclose(optimal(rows, x.T @ x / 30, *arguments), truth, rtol=1e-9)
    repeated = optimal(rows[[0, 0, 1]], x.T @ x / 30)  # a repeated row adds nothing
    alive = optimal(rows, x.T @ x / 30)
    np.testing.assert_allclose(repeated, [alive[0], alive[0], alive[1]], rtol=1e-9)


def test_projections_and_axes():
    """Against scipy's principal angles and numpy's projections."""
    rng = np.random.default_rng(3)
    rows, others, x = rng.standard_normal((2, 5)), rng.standard_normal((2, 5)), rng.standard_normal((30, 5))
    angles = subspace_angles(rows.T, others.T)
    np.testing.assert_allclose(nested.subspace_distance(rows, others), np.sqrt(np.sum(np.sin(angles) ** 2)), rtol=1e-12)
    assert nested.subspace_distance(rows, np.array([[1.0, 2.0], [0.0, -1.0]]) @ rows) < 1e-14
    projected = [x - x @ np.linalg.pinv(rows[:m]) @ rows[:m] for m in (1, 2)]
    truth = [np.mean(np.sum(left**2, axis=1)) for left in projected]
    np.testing.assert_allclose(nested.projection_errors(rows, x.T @ x / 30), truth, rtol=1e-12)
    first = rows[0] / np.linalg.norm(rows[0])
    second = rows[1] - first * (first @ rows[1])
    np.testing.assert_allclose(
        nested.axis_alignment(rows, np.eye(5)), np.abs([first, second / np.linalg.norm(second)]), rtol=1e-12
    )
