"""What every public function of theory promises, at every legal argument: see zoo/calls. The calls stand in the test files."""

import importlib
import importlib.util
import inspect
from pathlib import Path

import pytest

import closedform
from zoo.calls import problems
from zoo.history import recent

ROOT = Path(closedform.__file__).parent
HERE = Path(__file__).parent


def public_functions():
    """Every public function of every module of theory, by dotted name below theory."""
    found = {}
    for path in sorted((ROOT / "theory").rglob("*.py")):
        name = path.relative_to(ROOT / "theory").with_suffix("").as_posix().replace("/", ".")
        if not path.name.startswith("_") and not name.startswith("numerics."):
            module = importlib.import_module(f"closedform.theory.{name}")
            for attribute, value in vars(module).items():
                if inspect.isfunction(value) and value.__module__ == module.__name__ and not attribute.startswith("_"):
                    found[f"{name}.{attribute}"] = value
    return found


def exports():
    """CALLS and NOT_NUMERIC of all test files of theory."""
    calls, others = [], {}
    for path in sorted(HERE.rglob("test_*.py")):
        if path.name != Path(__file__).name and "CALLS" in path.read_text():
            spec = importlib.util.spec_from_file_location(f"calls_of_{path.stem}", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            calls += module.CALLS
            others |= getattr(module, "NOT_NUMERIC", {})
    return calls, others


CALLS, NOT_NUMERIC = exports()


def test_no_public_function_is_forgotten():
    covered = {inspect.unwrap(call.of or call.function) for call in CALLS} | {
        inspect.unwrap(function) for function in NOT_NUMERIC
    }
    missing = [name for name, function in public_functions().items() if inspect.unwrap(function) not in covered]
    assert not missing


FILES = [Path(inspect.getfile(inspect.unwrap(call.of or call.function))) for call in CALLS]


@pytest.mark.parametrize("call", recent((call, call.name, file, file.parent) for call, file in zip(CALLS, FILES, strict=True)))
def test_holds_at_every_legal_argument(call):
    _holds(call)


@pytest.mark.slow
@pytest.mark.parametrize("call", [pytest.param(call, id=call.name) for call in CALLS])
def test_holds_at_many_random_arguments(call):
    _holds(call, num_random=400, thorough=True)


def _holds(call, **how):
    found = problems(call, **how)
    if found:
        pytest.fail("\n".join(found), pytrace=False)
