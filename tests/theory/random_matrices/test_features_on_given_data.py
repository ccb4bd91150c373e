"""Ridge regression on random features of given data against simulation, exact small cases and differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from closedform.theory.random_matrices import features_on_given_data as theory
from zoo.calls import Call
from zoo.checks import rejected
from zoo.random_features import assert_slopes

given_data, grouped_given_data = map(jax.jit, (theory.given_data, theory.grouped_given_data))


def gaussian_data(size):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(size + 6, 3))
    kernel = np.exp(-np.sum((x[:, None] - x) ** 2, axis=2) / 4)
    y = np.stack([np.sin(x[:size, 0]), x[:size, 1] * x[:size, 2]], axis=1)
    return kernel, y


def simulated_predictions(kernel, y, ridge, k, draws):
    rng, n = np.random.default_rng(4), len(y)
    root = np.linalg.cholesky(kernel + 1e-12 * np.eye(len(kernel)))
    features = root @ rng.normal(size=(draws, len(kernel), k)) / np.sqrt(k)
    train, test = features[:, :n], features[:, n:]
    dual = np.linalg.solve(train @ train.transpose(0, 2, 1) + ridge * np.eye(n), np.broadcast_to(y, (draws, *y.shape)))
    return test @ (train.transpose(0, 2, 1) @ dual), np.mean((ridge * dual) ** 2, axis=1)


def assert_given_data(given_data_fn):
    """Corrections are of order 1/k: for the mean 1/k of its spread, for variance and training error 3/k (2/k was measured)."""
    n, draws = 40, 1200
    kernel, y = gaussian_data(n)
    for k, ridge in ((20, 0.3), (40, 0.05), (160, 0.05)):
        predictions, train = simulated_predictions(kernel, y, ridge, k, draws)
        result = given_data_fn(kernel[:n, :n], kernel[n:, :n], np.diag(kernel)[n:], y, ridge, float(k))
        spread = predictions.std(axis=0)
        assert np.max(np.abs(predictions.mean(axis=0) - result.mean) / spread) < 4.5 / draws**0.5 + 1 / k
        squares = (predictions - predictions.mean(axis=0)) ** 2 / np.asarray(result.variance)
        square = squares.mean(axis=1)  # over test points, a draw
        assert np.all(np.abs(square.mean(axis=0) - 1) < 4 * square.std(axis=0) / draws**0.5 + 3 / k)
        relative = train / np.asarray(result.train)
        assert np.all(np.abs(relative.mean(axis=0) - 1) < 4 * relative.std(axis=0) / draws**0.5 + 3 / k)


def with_ridge_for_gamma(gram, cross, diagonal, y, ridge, k):
    result = given_data(gram, cross, diagonal, y, ridge, k)
    inverse = np.linalg.inv(gram + ridge * np.eye(len(gram)))
    return result._replace(mean=cross @ inverse @ y)


def without_slope(gram, cross, diagonal, y, ridge, k):
    result = given_data(gram, cross, diagonal, y, ridge, k)
    shares = np.linalg.eigvalsh(gram) / (np.linalg.eigvalsh(gram) + float(result.gamma))
    return result._replace(variance=result.variance * (1 - np.sum(shares**2) / k))


def half_conditioned(gram, cross, diagonal, y, ridge, k):
    """K_xx - K_x G K_x' as in Gaussian processes, where the learned part does not spread."""
    result = given_data(gram, cross, diagonal, y, ridge, k)
    once = cross @ np.linalg.inv(gram + float(result.gamma) * np.eye(len(gram)))
    single, double = np.sum(once * cross, axis=1), np.sum((once @ gram) * once, axis=1)
    return result._replace(variance=result.variance * ((diagonal - single) / (diagonal - 2 * single + double))[:, None])


def test_given_data():
    assert_given_data(given_data)


@pytest.mark.parametrize(
    "wrong",
    [
        with_ridge_for_gamma,
        without_slope,
        lambda *args: given_data(*args)._replace(variance=given_data(*args).variance * args[-1]),
        half_conditioned,
        lambda gram, cross, diagonal, y, ridge, k: given_data(gram, cross, diagonal, y, ridge / k, k),
        # the bias of the mean predictor alone
        lambda *args: given_data(*args)._replace(
            train=np.mean((args[3] - given_data(args[0], args[0], np.diag(args[0]), *args[3:]).mean) ** 2, 0)
        ),
    ],
)
def test_wrong_predictions_on_given_data_are_rejected(wrong):
    rejected(assert_given_data, wrong)


def test_given_data_has_the_limits_and_shapes_of_kernel_regression():
    kernel, y = gaussian_data(20)
    gram, cross, diagonal = kernel[:20, :20], kernel[20:, :20], np.diag(kernel)[20:]
    result = given_data(gram, cross, diagonal, y, 0.1, np.inf)
    np.testing.assert_allclose(result.mean, cross @ np.linalg.solve(gram + 0.1 * np.eye(20), y), rtol=1e-10)
    np.testing.assert_array_equal(result.variance, 0)
    np.testing.assert_allclose(
        result.train, np.mean((0.1 * np.linalg.solve(gram + 0.1 * np.eye(20), y)) ** 2, axis=0), rtol=1e-10
    )
    near = given_data(gram, cross, diagonal, y, 0.1, 1e9)
    np.testing.assert_allclose(near.mean, result.mean, rtol=1e-6)
    one = theory.given_data(gram, cross, diagonal, y[:, 0], 0.1, np.inf)
    assert one.mean.shape == one.variance.shape == (6,)
    assert one.train.shape == ()
    np.testing.assert_allclose(one.mean, result.mean[:, 0], rtol=1e-12)


def test_effective_ridge_of_given_data():
    kernel, y = gaussian_data(30)
    gram = kernel[:30, :30]
    values = np.linalg.eigvalsh(gram)
    modes = theory.gram_modes(gram, kernel[30:, :30], np.diag(kernel)[30:], y)
    grid = jnp.array([[0.3, 12.0], [1e-3, 30.0], [1e-3, 100.0], [0.0, 12.0]])
    gammas = jax.jit(jax.vmap(lambda pair: theory.given_modes(modes, pair[0], pair[1])))(grid).gamma
    for gamma, (ridge, k) in zip(gammas, grid, strict=True):
        np.testing.assert_allclose(gamma * (1 - np.sum(values / (values + gamma)) / k), ridge, rtol=1e-9, atol=1e-12)


# ----------------------------------------------------------------------------------------------------------- contracts


@pytest.mark.slow
def test_derivatives_are_those_of_finite_differences():
    kernel, y = gaussian_data(12)
    modes = theory.gram_modes(kernel[:12, :12], kernel[12:, :12], np.diag(kernel)[12:], y)

    def given(ridge, k):
        result = theory.given_modes(modes, ridge, k)
        return jnp.sum(result.mean**2) + jnp.sum(result.variance) + jnp.sum(result.train)

    assert_slopes(jax.jit(jax.value_and_grad(given, argnums=(0, 1))), [np.array(0.05), np.array(15.0)])


@pytest.mark.slow
def test_dtype_follows_the_input():
    kernel, y = (jnp.asarray(part, jnp.float32) for part in gaussian_data(12))
    given = jax.eval_shape(given_data, kernel[:12, :12], kernel[12:, :12], jnp.diag(kernel)[12:], y, 0.1, 20)
    assert {leaf.dtype for leaf in jax.tree.leaves(given)} == {jnp.dtype("float32")}


def test_bad_arguments_are_named():
    kernel = np.array([[1.0, 2.0], [2.0, 1.0]])
    for wrong, message in (
        (kernel, "gram must be positive semi-definite, got the eigenvalue -1"),
        (np.triu(kernel), "gram must be symm"),
    ):
        with pytest.raises(ValueError, match=message):
            theory.given_data(wrong, kernel[:1], kernel[0, :1], np.ones(2), 0.1, 3.0)


# ------------------------------------------------------------------------------------- groups of features on given data


def test_grouped_given_data_against_gaussian_features():
    rng = np.random.default_rng(5)
    n, tests, heads, draws, ridge = 60, 5, 40, 1000, 0.1
    sizes = np.array([3, 1])

    def covariance(strong):
        x = rng.standard_normal((n + tests, 90))
        x[:, :3] *= strong
        return x @ x.T / 90

    kernels = [covariance(1.0), covariance(10.0)]  # the group with few features carries what matters
    y = rng.standard_normal((n, 2))
    grams, crosses = (jnp.asarray([k[rows, :n] for k in kernels]) for rows in (slice(n), slice(n, None)))
    diagonals = jnp.asarray([np.diag(k)[n:] for k in kernels])
    grouped = jax.jit(theory.grouped_given_data)
    law = grouped(grams, crosses, diagonals, jnp.asarray(y), ridge, heads, sizes)
    roots = [np.linalg.cholesky(k + 1e-12 * np.eye(n + tests)) for k in kernels]
    outputs, train = [], []
    for _ in range(draws):
        phi = np.hstack(
            [
                root @ rng.standard_normal((n + tests, heads * size)) / np.sqrt(heads * size)
                for root, size in zip(roots, sizes, strict=True)
            ]
        )
        residual = ridge * np.linalg.solve(phi[:n] @ phi[:n].T + ridge * np.eye(n), y)
        outputs.append(phi[n:] @ phi[:n].T @ residual / ridge)
        train.append(np.mean(residual**2, axis=0))
    outputs = np.array(outputs)
    spread = outputs.std(axis=0)
    # corrections of relative order 1/k, k = 160 features
    assert np.all(np.abs(outputs.mean(axis=0) - law.mean) < 4.5 * spread / draws**0.5 + 0.02 * np.abs(law.mean).max())
    np.testing.assert_allclose(outputs.var(axis=0), law.variance, rtol=4.5 * (2 / draws) ** 0.5 + 0.03)
    np.testing.assert_allclose(np.mean(train, axis=0), law.train, rtol=0.05)
    # as if all were one group of four features a head: rejected
    alone = grouped(
        grams.sum(0)[None], crosses.sum(0)[None], diagonals.sum(0)[None], jnp.asarray(y), ridge, heads, np.array([4])
    )
    assert np.abs(alone.variance / outputs.var(axis=0) - 1).max() > 4.5 * (2 / draws) ** 0.5 + 0.03


@pytest.mark.slow
def test_one_group_is_given_data_and_many_heads_are_the_kernel():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((25, 40))
    gram, y = jnp.asarray(x @ x.T / 40), jnp.asarray(rng.standard_normal(20))
    split = gram[:20, :20], gram[20:, :20], jnp.diag(gram)[20:]
    grouped = jax.jit(theory.grouped_given_data)
    one = grouped(*(part[None] for part in split), y, 0.1, 6, np.array([5]))
    alone = theory.given_data(*split, y, 0.1, 30)
    for a, b in zip(one, alone, strict=True):
        np.testing.assert_allclose(jnp.squeeze(a), jnp.squeeze(b), rtol=1e-8)
    many = grouped(*(jnp.stack([part, part]) / 2 for part in split), y, 0.1, jnp.inf, np.array([5, 1]))
    np.testing.assert_allclose(many.mean, split[1] @ jnp.linalg.solve(split[0] + 0.1 * jnp.eye(20), y), rtol=1e-9)
    assert float(jnp.abs(many.variance).max()) < 1e-12


# ---------------------------------------------------------------------------------------------------- ends of the ranges


def test_smallest_examples_on_given_data():
    """Issue 16.13: one sample, kernel 1, or two independent ones; ridge 0."""
    one, eye = np.ones((1, 1)), np.eye(2)
    for k, mean, variance, train in ((5.0, 1.0, 0.0, 0.0), (np.inf, 1.0, 0.0, 0.0)):
        alone = given_data(one, one, np.ones(1), np.ones(1), 0.0, k)
        grouped = grouped_given_data(one[None], one[None], np.ones((1, 1)), np.ones(1), 0.0, k, np.ones(1))
        for result in (alone, grouped):
            np.testing.assert_allclose([result.mean[0], result.variance[0], result.train], [mean, variance, train], atol=1e-12)
    # a test point of covariance 1/2 with the first of two samples: |G y|^2 (1 - 1/4)/(k - 2)
    half = np.array([[0.5, 0.0]])
    for k, variance in ((2.0, np.inf), (5.0, 2 * 0.75 / 3), (np.inf, 0.0)):
        alone = given_data(eye, half, np.ones(1), np.ones(2), 0.0, k)
        grouped = grouped_given_data(eye[None], half[None], np.ones((1, 1)), np.ones(2), 0.0, k, np.ones(1))
        for result in (alone, grouped):
            np.testing.assert_allclose([result.mean[0], result.variance[0], result.train], [0.5, variance, 0], atol=1e-12)
    for result in (
        given_data(eye, half, np.ones(1), np.ones(2), np.inf, 3.0),
        grouped_given_data(eye[None], half[None], np.ones((1, 1)), np.ones(2), np.inf, 3.0, np.ones(1)),
    ):
        np.testing.assert_allclose([result.mean[0], result.variance[0], result.train], [0, 0, 1], atol=1e-12)


@pytest.mark.slow
def test_samples_that_repeat():
    """Issue 16.3: rank 1, five samples. The fit is their mean, at ridge 0 and at small ridges: y.1/(5 + ridge)."""
    ones, y = np.ones((5, 5)), np.arange(5.0)
    for dtype, rtol in ((jnp.float64, 1e-12), (jnp.float32, 1e-5)):
        data = [jnp.asarray(part, dtype) for part in (ones, ones[:1], ones[0, :1], y)]
        for ridge in (0.0, 1e-18, 1e-3):
            for k in (3.0, np.inf):
                result = given_data(*data, ridge, k)
                grouped = grouped_given_data(*(part[None] for part in data[:3]), y.astype(dtype), ridge, k, np.ones(1, dtype))
                gamma = ridge if k == np.inf else exact_gamma_of_ones(ridge, k)
                for one in (result, grouped):
                    np.testing.assert_allclose(one.mean[0], 10 / (5 + gamma), rtol=rtol)
                    np.testing.assert_allclose(one.train, np.mean((y - 10 / (5 + gamma)) ** 2), rtol=1e-3 if k == 3 else rtol)


def exact_gamma_of_ones(ridge, k):
    """ridge = gamma (1 - 5/(5 + gamma)/k)."""
    return optimize.brentq(lambda gamma: gamma * (1 - 5 / (5 + gamma) / k) - ridge, 0, 10 * ridge + 1e-30, xtol=1e-30)


@pytest.mark.slow
def test_slopes_in_a_kernel_with_repeated_eigenvalues():
    """Issue 16.12. Of the mean: -K_x G (dK + d gamma) G y, by hand; of all results by differences."""
    rng = np.random.default_rng(0)
    change, cross, y = rng.standard_normal((3, 3)), rng.standard_normal((2, 3)) / 3, rng.standard_normal(3)
    change = change + change.T
    for base in (np.eye(3), np.diag([1.0, 1.0, 2.0])):

        def results(h, base=base):
            kernel = base + h * change
            return theory.given_data(kernel, cross, np.ones(2), y, 0.3, 7.0)

        slopes = jax.jit(jax.jacrev(results))(0.0)
        ahead, behind = jax.jit(results)(1e-5), jax.jit(results)(-1e-5)
        for slope, a, b in zip(slopes, ahead, behind, strict=True):
            np.testing.assert_allclose(slope, (a - b) / 2e-5, rtol=1e-7, atol=1e-8)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

FEATURES = np.random.default_rng(3).standard_normal((6, 9)) / 3
KERNEL = FEATURES @ FEATURES.T
GIVEN = {
    "gram": KERNEL[:4, :4],
    "cross": KERNEL[4:, :4],
    "diagonal": np.diag(KERNEL)[4:],
    "y": np.array([1.0, -0.5, 2.0, 0.3]),
}


def symmetric(x, rng):
    change = rng.standard_normal(x.shape)
    return (change + np.swapaxes(change, -1, -2)) * np.max(np.abs(x)) * 0.1


def drawn_data(rng):
    """Kernels of features, from one dimension (rank 1) to many."""
    features = rng.standard_normal((6, 8)) * 10.0 ** rng.uniform(-1, 1, (1, 8))
    kernel = features @ features.T
    return {"gram": kernel[:4, :4], "cross": kernel[4:, :4], "diagonal": np.diag(kernel)[4:], "y": rng.standard_normal(4)}


def drawn_given(rng):
    return drawn_data(rng) | {"ridge": 10 ** rng.uniform(-3, 3), "num_features": rng.uniform(0.5, 20)}


def drawn_modes(rng):
    data = drawn_data(rng)
    values, vectors = np.linalg.eigh(data["gram"])
    return {
        "modes.gram": np.diag(values),
        "modes.cross": data["cross"] @ vectors,
        "modes.diagonal": data["diagonal"],
        "modes.y": vectors.T @ data["y"],
        "ridge": 10 ** rng.uniform(-3, 3),
        "num_features": rng.uniform(0.5, 20),
    }


def drawn_groups(rng):
    parts = [drawn_data(rng) for _ in range(2)]
    return {
        "grams": np.stack([part["gram"] for part in parts]),
        "crosses": np.stack([part["cross"] for part in parts]),
        "diagonals": np.stack([part["diagonal"] for part in parts]),
        "y": parts[0]["y"],
        "ridge": 10 ** rng.uniform(-2, 2),
        "num_heads": rng.uniform(0.5, 20),
    }


TURNED = np.linalg.eigh(KERNEL[:4, :4])
DIAGONAL = theory.GramModes(np.diag(TURNED[0]), GIVEN["cross"] @ TURNED[1], GIVEN["diagonal"], TURNED[1].T @ GIVEN["y"])
DUPLICATE = {"gram": np.ones((4, 4)), "cross": np.ones((2, 4)), "diagonal": np.ones(2)}
REPEATED = {"gram": np.eye(4), "cross": np.eye(2, 4) / 2, "diagonal": np.ones(2)}
CALLS = [
    Call(
        theory.given_data,
        {**GIVEN, "ridge": 0.1, "num_features": 7.0},
        cases=[DUPLICATE, REPEATED, DUPLICATE | {"ridge": 0.0}, REPEATED | {"ridge": 0.0, "num_features": 9.0}],
        edges={"gram": [], "cross": []},
        directions={"gram": symmetric},
        fixed=("cross", "diagonal"),  # they hang together with gram: only nearby kernels are legal, see drawn_data
        kinks=("case 0", "case 2"),  # a kernel of rank 1: its neighbours are not positive
        scaling={"gram": 1, "cross": 1, "diagonal": 1, "ridge": 1},
        degree=(0, 0, 0, 1),
        draw=drawn_given,
    ),
    Call(
        theory.gram_modes,
        GIVEN,
        directions={"gram": symmetric},
        draw=drawn_data,
        differentiable=False,  # of the eigenvectors there is no derivative; given_data has them
        single=lambda arguments: False,  # signs of eigenvectors
    ),
    Call(
        theory.given_modes,
        {"modes": DIAGONAL, "ridge": 0.1, "num_features": 7.0},
        directions={"modes.gram": lambda x, rng: np.diag(rng.uniform(-0.1, 0.1, len(x)) * np.diag(x))},
        draw=drawn_modes,
    ),
    Call(
        theory.grouped_given_data,
        {
            "grams": np.stack([KERNEL[:4, :4], np.eye(4)]),
            "crosses": np.stack([KERNEL[4:, :4], np.zeros((2, 4))]),
            "diagonals": np.stack([np.diag(KERNEL)[4:], np.ones(2)]),
            "y": GIVEN["y"],
            "ridge": 0.1,
            "num_heads": 7.0,
            "block_size": np.array([3.0, 1.0]),
        },
        directions={"grams": symmetric},
        fixed=("crosses", "diagonals"),  # as in given_data
        scaling={"grams": 1, "crosses": 1, "diagonals": 1, "ridge": 1},
        degree=(0, 0, 0, 1),
        draw=drawn_groups,
        kinks=("ridge=0.",),  # more features than samples: the docstring promises no slope at ridge 0
    ),
]
