"""What every module of its kind promises, checked for each one found by its path. Nothing here names a paper."""

import ast
import doctest
import importlib
import inspect
import pydoc
import re
import typing
from pathlib import Path

import annotated_types
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import closedform
from closedform import contract
from closedform.gallery.markup import markdown
from zoo.checks import config as checked_config
from zoo.history import recent

ROOT = Path(closedform.__file__).parent
FOLDERS = ("models", "tasks", "theory", "solvers", "sweeps", "experiments", "figures", "gallery", "benchmarks")


def modules(*folders):
    """Dotted names, below closedform, of all public modules in these folders."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in paths if not path.name.startswith("_")
    ]


def laws(*folders):
    """As `modules`, without theory/numerics: it states no law, and so no formula."""
    return [name for name in modules(*folders) if not name.startswith("theory.numerics.")]


def load(name):
    return importlib.import_module(f"closedform.{name}")


# --- the house -------------------------------------------------------------------------------------------------------------

# who may import whom is kept by import-linter: pyproject.toml


@pytest.mark.parametrize("name", modules(*FOLDERS))
def test_every_module_says_what_it_is(name):
    source = (ROOT / f"{name.replace('.', '/')}.py").read_text()
    assert ast.get_docstring(ast.parse(source)), f"{name} has no module docstring"


def recent_modules(names):
    """Modules that the last commits touched, and the first of each folder; the others are slow."""
    return recent((name, name, ROOT / f"{name.replace('.', '/')}.py", name.rpartition(".")[0]) for name in names)


@pytest.mark.parametrize("name", recent_modules(modules("models", "tasks", "theory", "solvers", "sweeps", "gallery")))
def test_doctests(name):
    with jax.enable_x64(False):
        results = doctest.testmod(load(name))
    assert results.failed == 0


@pytest.mark.parametrize("name", modules("models", "tasks", "theory", "solvers"))
def test_public_functions_are_documented(name):
    module = load(name)
    for attribute, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not attribute.startswith("_"):
            assert inspect.getdoc(value), f"{name}.{attribute} has no docstring"


@pytest.mark.parametrize("name", modules("models", "tasks", "theory", "solvers", "experiments"))
def test_docstrings_are_markdown_that_can_be_drawn(name):
    """Every formula becomes MathML, and no backslash of one was taken for a control character."""
    document = inspect.getdoc(load(name)) or ""
    assert not set(document) & set("\a\b\t\v\f\r"), "a docstring with LaTeX is raw: r before its quotes"
    assert markdown(document)
    assert "$" not in document.split("\n")[0], "the first line is printed by terminals"


@pytest.mark.parametrize("name", laws("models", "theory", "experiments"))
def test_docstrings_display_a_formula(name):
    assert '<div class="math block"' in markdown(inspect.getdoc(load(name)) or "")


@pytest.mark.parametrize("name", laws("models", "theory"))
def test_docstrings_end_with_an_example(name):
    document = inspect.getdoc(load(name)) or ""
    head, _, example = document.rpartition("\nExample.")
    assert head, "no paragraph that begins with Example."
    assert doctest.DocTestParser().get_examples(example)


def shown(kind):
    """What help() prints."""
    return pydoc.render_doc(kind, renderer=pydoc.plaintext)


@pytest.mark.parametrize("name", modules("models", "tasks", "theory", "solvers"))
def test_help_of_a_named_tuple_shows_its_fields_with_their_shapes(name):
    """Each field as the source has it, annotation and comment; found by the annotations alone, whatever the decorator does."""
    module = load(name)
    source = inspect.getsource(module)
    for attribute, kind in vars(module).items():
        public = inspect.isclass(kind) and not attribute.startswith("_") and kind.__module__ == module.__name__
        if public and issubclass(kind, tuple) and hasattr(kind, "_fields"):
            text = shown(kind)
            below = source[source.index(f"class {kind.__name__}(") :]
            for field in kind._fields:
                (line, *_) = re.findall(rf"^    {field}: .*$", below, flags=re.MULTILINE)
                assert line.strip() in text, f"{name}.{attribute} is not @documented"
            assert "Alias for field number" not in text


# --- models ----------------------------------------------------------------------------------------------------------------


def example(module, settings, key):
    """A random input of the shape that the annotation of apply's x names; an axis that is not in the Config is of any size."""
    axes = typing.get_type_hints(module.apply, include_extras=True)["x"].dim_str.split()
    return jax.random.normal(key, [getattr(settings, axis, 3) for axis in axes])


def defines(name, *functions):
    """Whether a module has these functions: told from its text, without importing it."""
    tree = ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text())
    return set(functions) <= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


MODELS = [name for name in modules("models") if defines(name, "init", "apply")]


@pytest.fixture(params=recent_modules(MODELS))
def model(request):
    module = load(request.param)
    settings = module.Config()
    params = module.init(jax.random.key(0), settings)
    return module, settings, params, jnp.stack([example(module, settings, jax.random.key(i)) for i in range(1, 5)])


def test_model_is_deterministic_and_follows_the_precision_asked_for(model):
    module, settings, params, _ = model
    again = module.init(jax.random.key(0), settings)
    chex.assert_trees_all_equal(params, again)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float64")}
    with jax.enable_x64(False):  # traced: nothing is compiled again
        single = jax.eval_shape(lambda: module.init(jax.random.key(0), settings))
        x = jax.eval_shape(lambda: example(module, settings, jax.random.key(1)))
        outputs = jax.tree.leaves(jax.eval_shape(module.apply, single, x))
    assert {leaf.dtype for leaf in jax.tree.leaves(single)} == {jnp.dtype("float32")}
    assert outputs[0].dtype == jnp.float32


def test_model_applies_to_one_example(model):
    module, _, params, x = model
    apply = jax.jit(chex.assert_max_traces(module.apply, 1))  # one program for all examples
    one_by_one = [apply(params, one) for one in x]
    np.testing.assert_allclose(one_by_one[0], module.apply(params, x[0]), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(jax.jit(jax.vmap(module.apply, (None, 0)))(params, x), one_by_one, rtol=1e-12, atol=1e-14)


def test_model_has_a_finite_gradient(model):
    module, _, params, x = model
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(jax.vmap(module.apply, (None, 0))(p, x))))(params)
    chex.assert_tree_all_finite(gradient)
    chex.assert_trees_all_equal_shapes_and_dtypes(gradient, params)
    assert any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


def test_model_refuses_what_is_not_one_example(model):
    """A batch, an axis too few, an axis of another size, and no numbers; lists and whole numbers are welcome."""
    module, _, params, x = model
    for several in (x, x[None]):
        with pytest.raises(ValueError, match=r"^x must be one example of shape \(.*\), got \(.*\); vmap over further axes$"):
            module.apply(params, several)
    with pytest.raises(ValueError, match=r"^x must be one example"):
        module.apply(params, x[0][..., 0])
    with pytest.raises(ValueError, match=r"^x must have .* got .*$"):
        module.apply(params, jnp.concatenate([x[0]] * 3, axis=-1))
    with pytest.raises(ValueError, match=r"^x must be numbers, got str$"):
        module.apply(params, "three")
    whole = np.round(3 * np.asarray(x[0]))
    for same in (whole, whole.astype(int), whole.astype(int).tolist()):
        np.testing.assert_array_equal(module.apply(params, same), module.apply(params, jnp.asarray(whole)))


# --- processes -------------------------------------------------------------------------------------------------------------

PROCESSES = [name for name in modules("models") if defines(name, "init", "step") and not defines(name, "apply")]


@pytest.fixture(params=PROCESSES)
def process(request):
    module = load(request.param)
    return module, module.Config()


def plain(state):
    """Leaves as arrays of numbers, keys among them."""
    is_key = [jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in jax.tree.leaves(state)]
    pairs = zip(jax.tree.leaves(state), is_key, strict=True)
    return [np.asarray(jax.random.key_data(leaf) if key else leaf) for leaf, key in pairs]


@pytest.mark.parametrize("x64", [True, False])
def test_process_keeps_its_structure_and_follows_the_precision_asked_for(process, x64):
    module, settings = process
    with jax.enable_x64(x64):  # traced: nothing is compiled
        start = jax.eval_shape(lambda: module.init(jax.random.key(0), settings))
        after = jax.eval_shape(lambda state: module.step(state, settings), start)
    assert isinstance(start, module.State)
    chex.assert_trees_all_equal_shapes_and_dtypes(start, after)
    floats = {leaf.dtype for leaf in jax.tree.leaves(start) if jnp.issubdtype(leaf.dtype, jnp.floating)}
    assert floats <= {jnp.dtype("float64" if x64 else "float32")}


def test_process_is_deterministic_compiled_or_not_and_alone_or_in_company(process):
    module, settings = process

    def run(key):
        start = module.init(key, settings)
        return start, module.step(start, settings)

    keys = jax.random.split(jax.random.key(0), 3)
    compiled = jax.jit(run)
    one_by_one = [plain(compiled(key)) for key in keys]
    for again, first in zip(plain(run(keys[0])), one_by_one[0], strict=True):
        np.testing.assert_allclose(again, first, rtol=1e-12, atol=1e-14)
    for company, alone in zip(plain(jax.jit(jax.vmap(run))(keys)), zip(*one_by_one, strict=True), strict=True):
        np.testing.assert_allclose(company, np.stack(alone), rtol=1e-12, atol=1e-14)
    assert any(np.any(one != other) for one, other in zip(*one_by_one[:2], strict=True)), "the key is not used"


@pytest.mark.parametrize("name", PROCESSES)
def test_process_refuses_a_config_out_of_range(name):
    """Each field: what is no number, and a value beyond each end of its range."""
    kind = load(name).Config
    for field, annotation in contract.annotations(kind).items():
        wrong = [object()]
        for mark in contract.unwrapped(annotation)[1]:
            match mark:
                case annotated_types.Ge(end):
                    wrong.append(end - 1)
                case annotated_types.Le(end):
                    wrong.append(end + 1)
                case annotated_types.Gt(end) | annotated_types.Lt(end):
                    wrong.append(end)
        for value in wrong:
            with pytest.raises(ValueError, match=rf"^{field} must be .*, got "):
                checked_config(kind, **{field: value})


# --- theory ----------------------------------------------------------------------------------------------------------------

# what its functions promise at every legal argument: tests/theory/test_calls.py


@pytest.mark.parametrize("name", laws("theory"))
def test_theory_docstrings_give_formula_regime_table_factors_source_and_finite_size(name):
    document = inspect.getdoc(load(name)) or ""
    places = [document.find(word) for word in ("Formula", "Regime", "paper symbol", "Factors", "Source", "Finite size")]
    assert -1 not in places, dict(zip(("Formula", "Regime", "table", "Factors", "Source", "Finite size"), places, strict=True))
    assert places == sorted(places)
