import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.bilinear import bilinear, bilinear_attention, bilinear_classifier, deep_bilinear
from zoo import checks
from zoo.checks import rejected


def drawn(dim=5, width=4, num_outputs=3, bias=False, seed=0):
    """A layer whose weights, and biases, are all random."""
    rng = np.random.default_rng(seed)
    rows = dim + bias
    return bilinear.Params(*(jnp.asarray(rng.normal(size=s)) for s in ((rows, width), (rows, width), (num_outputs, width))))


def points(dim, num=7, seed=1):
    return np.random.default_rng(seed).normal(size=(num, dim))


def outputs(params, x):
    return np.asarray(jax.vmap(bilinear.apply, (None, 0))(params, jnp.asarray(x)))


def close(values, expected, rtol=1e-12):
    np.testing.assert_allclose(values, expected, rtol=rtol, atol=rtol * np.abs(expected).max(initial=0))


# --------------------------------------------------------------------------------------------------------- one layer


def test_fact_1_tensor_is_the_layer_and_its_antisymmetric_part_does_nothing():
    params, x = drawn(), points(5)
    w, v, p = (np.asarray(part) for part in params)
    expected = np.array([[sum(p[o, k] * (w[:, k] @ a) * (v[:, k] @ a) for k in range(4)) for o in range(3)] for a in x])
    close(outputs(params, x), expected)
    tensor = np.asarray(bilinear.tensor(params))

    def assert_acts(b):
        close(np.einsum("oij,ni,nj->no", b, x, x), expected)

    assert_acts(tensor)
    symmetric = np.asarray(bilinear.symmetrize(jnp.asarray(tensor)))
    assert_acts(symmetric)
    rejected(assert_acts, np.tril(tensor))
    antisymmetric = tensor - symmetric
    assert np.abs(antisymmetric).max() > 0.1
    close(np.einsum("oij,ni,nj->no", antisymmetric, x, x) + 1, np.ones_like(expected))


def test_fact_1_biases_are_a_row_more():
    params, x = drawn(bias=True), points(5)
    (w, b), (v, c) = ((np.asarray(part[:-1]), np.asarray(part[-1])) for part in params[:2])
    expected = ((x @ w + b) * (x @ v + c)) @ np.asarray(params.p).T
    close(outputs(params, np.concatenate([x, np.ones((7, 1))], axis=1)), expected)
    form = np.asarray(bilinear.symmetrize(bilinear.tensor(params)))
    quadratic = np.einsum("oij,ni,nj->no", form[:, :-1, :-1], x, x)
    close(quadratic + 2 * x @ form[:, :-1, -1].T + form[:, -1, -1], expected)
    close(bilinear.append_one(jnp.asarray(x)), np.concatenate([x, np.ones((7, 1))], axis=1))


@pytest.mark.parametrize(("dim", "width"), [(7, 2), (7, 3), (7, 4), (5, 9)])
def test_eigenfeatures_are_those_of_the_dense_matrix(dim, width):
    params, direction = drawn(dim, width), jnp.asarray([0.3, -1.0, 2.0])
    q = np.asarray(bilinear.interaction_matrix(params, direction))
    close(q, np.einsum("o,oij->ij", direction, bilinear.symmetrize(bilinear.tensor(params))))
    eigen = bilinear.eigenfeatures(params, direction)
    rank = min(2 * width, dim)
    assert eigen.vectors.shape == (dim, rank)
    dense = np.linalg.eigvalsh(q)
    close(eigen.values, dense[np.argsort(-np.abs(dense))][:rank], 1e-11)
    close(bilinear.compose(eigen), q, 1e-11)
    close(eigen.vectors.T @ eigen.vectors + 1, np.eye(rank) + 1, 1e-11)
    # the layer itself, and the sign counts: never more than width of a sign
    x = points(dim)
    along = outputs(params, x) @ np.asarray(direction)
    close(jax.vmap(bilinear.quadratic_form, (None, 0))(eigen, jnp.asarray(x)), along, 1e-11)
    assert max(np.sum(dense > 1e-9), np.sum(dense < -1e-9)) <= width


def test_eigenfeatures_of_all_outputs_never_decompose_a_large_matrix():
    params = drawn(50, 3, 4)
    program = jax.make_jaxpr(lambda directions: bilinear.eigenfeatures(params, directions))(jnp.eye(4))
    found = [e for e in _equations(program.jaxpr) if e.primitive.name in ("eigh", "qr", "geqrf")]
    shapes = {e.primitive.name: e.invars[0].aval.shape for e in found}
    assert shapes.pop("eigh") == (6, 6)
    assert set(shapes.values()) == {(50, 6)}  # not once an output


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)


def test_squares_and_invariances():
    params, direction = drawn(), jnp.asarray([1.0, -0.5, 0.2])
    q = bilinear.interaction_matrix(params, direction)
    plus, minus = bilinear.squares(params)
    x = points(5)
    close((x @ np.asarray(params.w)) * (x @ np.asarray(params.v)), (x @ np.asarray(plus)) ** 2 - (x @ np.asarray(minus)) ** 2)
    order = jnp.array([2, 0, 3, 1])
    scale = jnp.array([2.0, -1.0, 0.5, 3.0])[None]
    w, v, p = params
    same = [
        bilinear.Params(w[:, order], v[:, order], p[:, order]),
        bilinear.Params(w * scale, v / scale, p),
        bilinear.Params(v, w, p),
        bilinear.Params(w * scale, v, p / scale),
    ]
    for other in same:
        close(bilinear.interaction_matrix(other, direction), q)
    rejected(close, bilinear.interaction_matrix(bilinear.Params(w * scale, v, p), direction), q)


def test_pairs_of_features_add_up():
    params, direction = drawn(), jnp.asarray([1.0, -0.5, 0.2])
    features, c = points(5, 3), np.array([0.5, -2.0, 1.0])
    table = bilinear.feature_interactions(params, jnp.asarray(features), direction)
    close(c @ np.asarray(table) @ c, outputs(params, [c @ features])[0] @ np.asarray(direction))


def test_truncation_by_value_and_by_sign():
    values, vectors = jnp.array([-3.0, 2.0, 1.0, -0.5]), jnp.eye(4)
    eigen = bilinear.Eigen(values, vectors)
    assert bilinear.truncate(eigen, 2).values.tolist() == [-3, 2]
    assert bilinear.truncate(eigen, 3, "positive").values.tolist() == [2, 1, 0]
    assert bilinear.truncate(eigen, 1, "negative").values.tolist() == [-3]
    positive = np.eye(4)[:, 1:4]
    positive[:, 2] = 0  # no vector of the other sign in an empty place
    np.testing.assert_array_equal(bilinear.truncate(eigen, 3, "positive").vectors, positive)
    assert bilinear.truncate(eigen, 0).values.shape == (0,)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf[..., ::-1]]), eigen)
    assert bilinear.truncate(stacked, 2).values.tolist() == [[-3, 2], [-3, 2]]
    for wrong in ((5, "magnitude"), (-1, "magnitude")):
        with pytest.raises(ValueError, match="num_kept must be from 0 to the 4"):
            bilinear.truncate(eigen, *wrong)


@pytest.mark.slow
def test_fact_12_hosvd():
    for params in (drawn(9, 3, 4), drawn(4, 6, 3), drawn(3, 5, 8)):
        tensor = np.asarray(bilinear.symmetrize(bilinear.tensor(params)))
        outer, strengths, forms = bilinear.hosvd(params)
        close(np.sum(np.asarray(strengths) ** 2), np.sum(tensor**2))
        expected = np.linalg.svd(tensor.reshape(len(tensor), -1), compute_uv=False)[: len(strengths)]
        np.testing.assert_allclose(strengths, expected, atol=1e-12 * expected[0])
        z = np.asarray(bilinear.compose(forms))
        # exact with all, and of least error with fewer
        np.testing.assert_allclose(np.einsum("r,or,rij->oij", strengths, outer, z), tensor, atol=1e-11)
        for kept in range(1, len(expected)):
            part = np.einsum("r,or,rij->oij", strengths[:kept], outer[:, :kept], z[:kept])
            np.testing.assert_allclose(np.sum((tensor - part) ** 2), np.sum(expected[kept:] ** 2), rtol=1e-9, atol=1e-18)
        positive = expected > 1e-9
        gram = np.einsum("rij,sij->rs", z, z)
        np.testing.assert_allclose(gram, np.diag(positive.astype(float)), atol=1e-10)


def test_hosvd_in_single_precision_knows_its_rank():
    once = drawn(64, 32, 10)
    twice = bilinear.Params(*(leaf.astype(jnp.float32) for leaf in once._replace(p=jnp.concatenate([once.p, once.p]))))
    _, strengths, forms = bilinear.hosvd(twice)
    assert np.count_nonzero(np.abs(forms.values).max(axis=1)) == 10
    assert float(strengths[10] / strengths[0]) < 1e-5


@pytest.mark.parametrize("values", [(2.0, 1.0, -0.5, -1.5, -3.0), (1.0, 2.0, 0.0, 0.0, 0.5)])
def test_a_matrix_needs_as_many_units_as_eigenvalues_of_one_sign(values):
    basis = np.linalg.qr(points(5, 5))[0]
    q = jnp.asarray(basis * np.array(values) @ basis.T)
    needed = max(sum(v > 0 for v in values), sum(v < 0 for v in values))
    one = jnp.ones(1)
    for width in (needed, needed + 2, 8):
        layer = bilinear.from_matrix(q, width)
        close(bilinear.interaction_matrix(layer, one), q, 1e-11)
        norm = float(jnp.sum(layer.w**2) + jnp.sum(layer.v**2))
        assert norm == pytest.approx(2 * sum(map(abs, values)), rel=1e-12)
    short = bilinear.interaction_matrix(bilinear.from_matrix(q, needed - 1), one)
    left_out = min((v for v in values if (v < 0) == (sum(u < 0 for u in values) == needed) and v), key=abs)
    assert float(jnp.linalg.norm(short - q)) == pytest.approx(abs(left_out), rel=1e-9)


@pytest.mark.parametrize("kind", ["gaussian", "alternating", "ones", "tied"])
def test_init(kind):
    config = bilinear.Config(40, 60, 3, bias=True, init=kind, init_scale=0.5)
    params = bilinear.init(jax.random.key(0), config)
    assert params.w.shape == params.v.shape == (41, 60)
    assert params.p.shape == (3, 60)
    assert not np.any(params.w[-1])
    for part in params[:2]:
        assert float(jnp.std(part[:-1])) == pytest.approx(0.5 / 40**0.5, rel=0.05)
    assert (kind == "tied") == bool(jnp.all(params.w == params.v))
    if kind == "gaussian":
        assert float(jnp.std(params.p)) == pytest.approx(60**-0.5, rel=0.2)
    else:
        assert set(np.unique(params.p)) == ({-1, 1} if kind == "alternating" else {1})
        assert float(jnp.sum(params.p)) == (0 if kind == "alternating" else 180)
    with jax.enable_x64(False):
        assert bilinear.init(jax.random.key(0), config).w.dtype == jnp.float32


@pytest.mark.parametrize(
    ("config", "wrong", "message"),
    [
        (bilinear.Config, {"width": 0}, "width must be a whole number of at least 1, got 0"),
        (bilinear.Config, {"init": "zero"}, "init must be 'gaussian' or .* 'tied', got 'zero'"),
        (bilinear.Config, {"init_scale": float("nan")}, "init_scale must be a number of at least 0, got nan"),
        (deep_bilinear.Config, {"num_layers": 0}, "num_layers must be a whole number of at least 1, got 0"),
        (deep_bilinear.Config, {"num_outputs": 0}, "num_outputs must be a whole number of at least 1, got 0"),
        (deep_bilinear.Config, {"dim": 0}, "dim must be a whole number of at least 1, got 0"),
        (bilinear_classifier.Config, {"embedding_dim": -1}, "embedding_dim must be a whole number of at least 0"),
        (bilinear_classifier.Config, {"residual": True}, "embedding_dim must be width = 64.*, got embedding_dim = 0"),
        (bilinear_attention.Config, {"num_heads": 0}, "num_heads must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_configs(config, wrong, message):
    with pytest.raises(ValueError, match=message):
        checks.config(config, **wrong)


def test_bad_arguments():
    params = drawn()
    for wrong in (4, 6):
        with pytest.raises(ValueError, match=f"x must have 5 entries, got {wrong}; a layer with biases reads append_one"):
            bilinear.apply(params, jnp.ones(wrong))
    with pytest.raises(ValueError, match="by must be one of magnitude, positive, negative, got size"):
        bilinear.truncate(bilinear.eigenfeatures(params, jnp.ones(3)), 1, "size")
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        bilinear.from_matrix(jnp.eye(2), 0)
    with pytest.raises(ValueError, match="two layers, got 3"):
        deep_bilinear.two_layer_tensor(deep_bilinear.init(jax.random.key(0), deep_bilinear.Config(num_layers=3)))


# ---------------------------------------------------------------------------------------------------------- in depth


@pytest.mark.slow
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_fact_11_degrees(num_layers):
    config = deep_bilinear.Config(4, 5, 2, num_layers)
    params = deep_bilinear.init(jax.random.key(num_layers), config)
    x = jnp.asarray(points(4, 1)[0])
    close(deep_bilinear.apply(params, 2 * x), 2 ** (2**num_layers) * np.asarray(deep_bilinear.apply(params, x)))
    for residual in (False, True):
        parts = np.asarray(deep_bilinear.by_degree(params, x, residual))
        assert parts.shape == (2**num_layers + 1, 2)
        for c in (1.0, 0.5, -1.5):
            expected = deep_bilinear.apply(params, c * x, residual)
            np.testing.assert_allclose(c ** np.arange(len(parts)) @ parts, expected, rtol=1e-11)
        present = np.abs(parts).max(axis=1) > 0
        assert present.tolist() == [False, *[residual] * (2**num_layers - 1), True]
    # the part of degree 1 of a residual network is its skip connection
    close(deep_bilinear.by_degree(params, x, True)[1], params.head @ x)


def test_two_layers_are_a_tensor_of_fourth_order():
    params = deep_bilinear.init(jax.random.key(0), deep_bilinear.Config(3, 4, 2))
    x = points(3, 1)[0]
    values = np.einsum("oijkl,i,j,k,l->o", deep_bilinear.two_layer_tensor(params), x, x, x, x)
    close(values, deep_bilinear.apply(params, jnp.asarray(x)), 1e-11)
    assert deep_bilinear.num_coefficients(3, 2) == len(list(itertools.combinations_with_replacement(range(3), 4)))


# -------------------------------------------------------------------------------------------------------- attention


@pytest.mark.parametrize(("num_heads", "causal"), [(1, True), (3, False)])
def test_fact_10_paths_add_up_to_the_output(num_heads, causal):
    config = bilinear_attention.Config(num_heads=num_heads, causal=causal)
    params = bilinear_attention.init(jax.random.key(0), config)
    x = jnp.asarray(points(6, 5))
    attention = bilinear_attention.patterns(params, x, causal)
    terms = np.asarray(bilinear_attention.paths(params, x, attention))
    assert terms.shape == (1 + num_heads, 1 + num_heads, 5, 3)
    # by loops over positions and heads
    w, v, p = (np.asarray(part) for part in params.layer)
    expected = []
    for t in range(5):
        mid = np.array(x[t])
        for h in range(num_heads):
            seen = t + 1 if causal else 5
            scores = [np.asarray(x[t] @ params.query_key[h] @ x[s]) / 6**0.5 for s in range(seen)]
            weights = np.exp(scores) / np.sum(np.exp(scores))
            close(attention[h, t, :seen], weights, 1e-11)
            mid = mid + sum(weight * np.asarray(params.output_value[h] @ x[s]) for s, weight in enumerate(weights))
        expected.append(p @ ((mid @ w) * (mid @ v)))
    expected = np.array(expected)
    close(bilinear_attention.apply(params, x, causal), expected, 1e-11)
    close(np.sum(terms, axis=(0, 1)), expected, 1e-11)
    rejected(close, np.einsum("pptO->tO", terms), expected)  # same paths alone
    distinct = {round(float(term), 9) for term in terms[:, :, 0, 0].ravel()}
    assert len(distinct) == (1 + num_heads) * (2 + num_heads) // 2


# -------------------------------------------------------------------------------------------------------- classifier


@pytest.mark.parametrize(("embedding_dim", "residual"), [(0, False), (7, False), (5, True)])
def test_classifier_and_its_eigenfeatures(embedding_dim, residual):
    config = bilinear_classifier.Config(12, 5, 3, embedding_dim, residual)
    params = bilinear_classifier.init(jax.random.key(0), config)
    x = points(12)
    inputs = x if params.embedding is None else x @ np.asarray(params.embedding)
    layer = params.layer
    gate = (inputs @ np.asarray(layer.w)) * (inputs @ np.asarray(layer.v))
    logits = jax.vmap(lambda one: bilinear_classifier.apply(params, one, residual))(jnp.asarray(x))
    close(logits, (gate + (inputs if residual else 0)) @ np.asarray(layer.p).T, 1e-11)
    eigen = bilinear_classifier.eigenfeatures(params)
    pixels = jax.vmap(lambda vectors: bilinear_classifier.to_pixels(params, vectors))(eigen.vectors)
    quadratic = np.einsum("cr,ndcr->nc", eigen.values, np.einsum("nd,cdr->ncr", x, pixels)[:, None] ** 2)
    close(quadratic, gate @ np.asarray(layer.p).T, 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("embedding_dim", [0, 20])
def test_masks_move_along_one_eigenvector_and_raise_its_class(embedding_dim):
    config = bilinear_classifier.Config(20, 6, 3, embedding_dim)
    params = bilinear_classifier.init(jax.random.key(0), config)
    if embedding_dim:  # an embedding that keeps angles, so that what moves in pixels moves alike in the embedded space
        params = params._replace(embedding=jnp.linalg.qr(params.embedding)[0])
    rng = np.random.default_rng(0)
    x, labels = jnp.asarray(rng.uniform(size=(40, 20))), jnp.asarray(rng.integers(0, 3, 40))
    masks = bilinear_classifier.adversarial_masks(params, x, labels, 2)
    assert masks.shape == (3, 2, 20)
    close(np.std(masks, axis=2), np.ones((3, 2)))
    top = bilinear.truncate(bilinear_classifier.eigenfeatures(params), 2, "positive").vectors
    moved = np.einsum("chv,bwh->cvbw", top, bilinear_classifier.embed(params, masks)).reshape(6, 6)
    np.testing.assert_allclose(moved, np.diag(np.diag(moved)), atol=1e-10)
    for target in range(3):
        others = np.asarray(x)[np.asarray(labels) != target]
        for index in range(2):
            mean = float(np.mean(np.asarray(bilinear_classifier.embed(params, jnp.asarray(others))) @ top[target, :, index]))
            along = moved[2 * target + index, 2 * target + index]
            assert along * mean > 0
            vector = np.asarray(top[target, :, index])
            shifted = others + 3 * np.asarray(masks[target, index])
            activations = [
                np.asarray(bilinear_classifier.embed(params, jnp.asarray(part))) @ vector for part in (others, shifted)
            ]
            assert np.mean(activations[1] ** 2) > np.mean(activations[0] ** 2)
