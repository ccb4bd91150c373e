"""Which results of a traced program depend on theory: the program sliced to an output, and where its lines were written.

Every equation of a jaxpr knows the stack of calls in which it was written. A field of an experiment's simulated side depends on
theory if an equation that it needs was written in a call that passed through theory/ (numerics apart, which state no law).
"""

from pathlib import Path

from jax.extend import core

import closedform

THEORY = str(Path(closedform.__file__).resolve().parent / "theory")
NO_LAW = f"{THEORY}/numerics"
_INLINED = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint")


def fields_that_use_theory(experiment, functions):
    """{field: functions of theory that its simulated side calls}, of the fields that have a prediction."""
    # a state is one thing: what any part of it owes to theory, every field owes
    made = [functions[name].closed.jaxpr for name in ("init", "step") if name in functions]
    before = set().union(*(_reached(one, [True] * len(one.outvars))[0] for one in made))
    measure = functions["observe" if experiment.dynamics else "simulate"].closed.jaxpr
    found = {}
    for place, (field, declared) in enumerate(experiment.fields.items()):
        if declared.predicted:
            wanted = [index == place for index in range(len(measure.outvars))]
            found[field] = before | _reached(measure, wanted)[0]
    return {field: sorted(functions) for field, functions in found.items() if functions}


def _reached(jaxpr, wanted):
    """Functions of theory in whose calls the equations that the wanted outputs need were written, and the inputs needed."""
    needed = {var for var, want in zip(jaxpr.outvars, wanted, strict=True) if want and not isinstance(var, core.Literal)}
    found = set()
    for equation in reversed(jaxpr.eqns):
        mine = [var in needed for var in equation.outvars]
        if not any(mine):
            continue
        found |= _theory(equation)
        inputs = [True] * len(equation.invars)
        inner = list(_inner(equation.params.values()))
        if equation.primitive.name in _INLINED and len(inner) == 1 and len(inner[0].outvars) == len(mine):
            functions, inputs = _reached(inner[0], mine)
            found |= functions
            if len(inputs) != len(equation.invars):
                inputs = [True] * len(equation.invars)
        elif equation.primitive.name == "scan":
            functions, inputs = _scanned(inner[0], mine, equation.params["num_consts"], equation.params["num_carry"])
            found |= functions
        else:
            for one in inner:
                found |= _reached(one, [True] * len(one.outvars))[0]
        needed |= {var for var, want in zip(equation.invars, inputs, strict=True) if want and not isinstance(var, core.Literal)}
    return found, [var in needed for var in jaxpr.invars]


def _scanned(body, wanted, num_consts, num_carry):
    """As `_reached`: what a later step needs of the carry is wanted too."""
    wanted = list(wanted)
    while True:
        found, inputs = _reached(body, wanted)
        carried = [one or other for one, other in zip(wanted, inputs[num_consts : num_consts + num_carry], strict=False)]
        if carried == wanted[:num_carry]:
            return found, inputs
        wanted[:num_carry] = carried


def _inner(values):
    for value in values:
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value
        elif isinstance(value, tuple | list):
            yield from _inner(value)


def _theory(equation):
    traceback = equation.source_info.traceback
    frames = traceback.frames if traceback is not None else ()
    files = ((frame.file_name, frame.function_name) for frame in frames)
    return {f"{Path(file).stem}.{name}" for file, name in files if file.startswith(THEORY) and not file.startswith(NO_LAW)}
