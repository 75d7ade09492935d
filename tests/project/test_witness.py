"""A witness: what was public stays public, and what a run gave it still gives.

`python -m tests.project.test_witness` records witness.json anew. Names and options may be
added; a name, a parameter or a default that goes or changes, or other numbers of a run,
break users. Parameters are the same bits on one kind of processor, so fingerprints are
compared on the kinds that recorded them, and losses and norms, to five digits, on every
kind.
"""

from __future__ import annotations

import inspect
import json
import platform
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import fedflux

FILE = Path(__file__).parent / "witness.json"
DIGITS = {"dataset": "digits", "clients": 5, "rounds": 2, "batch_size": 32, "seed": 3}
MLP = DIGITS | {"model": "mlp", "hidden": [16], "engine": "julia"}
# A deployment gives the bits of a simulation, by test_deployment.py; some of these runs are
# such simulations.
RUNS: dict[str, dict[str, Any]] = {
    "reference": DIGITS | {"model": "softmax_regression", "engine": "reference"},
    "reference-cnn": DIGITS | {"engine": "reference"},
    "cnn": DIGITS | {"engine": "julia"},
    "zygote": DIGITS | {"engine": "julia", "trainer": "zygote"},
    "fedprox": MLP | {"rules": "fedprox(mu=0.1)", "partition": "dirichlet(alpha=0.3)"},
    "scaffold": MLP | {"rules": "scaffold", "weights": "uniform"},
    "topk": MLP | {"rules": "topk(fraction=0.1)"},
    "fedper": MLP | {"rules": "fedper", "client_test": 0.2},
    "prune": MLP | {"rules": ["prune(sparsity=0.5)", "quantize(bits=4)"]},
    "krum": MLP | {"aggregate": "krum(f=1)", "attack": "sign_flip", "attackers": 1},
    "trimmed": MLP | {"aggregate": "trimmed_mean(fraction=0.2)", "sampling": "round_robin"},
    "secure": MLP | {"aggregate": "secure"},
    "fedadam": MLP | {"server": "fedadam(lr=0.01)", "clients_per_round": 3},
    "fedbuff": MLP | {"rules": "fedbuff(concurrency=3)", "clients_per_round": 2},
    "faults": MLP | {"faults": "crash(p=0.3)", "schedule": "cosine(rounds=2)"},
    "workers": MLP | {"workers": 2},
    "resumed": MLP | {"rules": "feddyn"},
}
ON_THE_REFERENCE = [name for name in RUNS if name.startswith("reference")]


def processor() -> str:
    """The kind of processor, on which a run gives the same bits."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = (x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def parameters(function: Any) -> dict[str, str]:
    """Each parameter of a signature, with its default."""
    empty = inspect.Parameter.empty
    return {
        name: "required" if p.default is empty else repr(p.default)
        for name, p in inspect.signature(function).parameters.items()
    }


def public() -> dict[str, dict[str, str]]:
    """The parameters of everything that fedflux, and its public modules, name."""
    from fedflux import flower, he, plots

    figures = [n for n, f in vars(plots).items() if inspect.isfunction(f) and n[0] != "_"]
    own = [n for n in figures if getattr(plots, n).__module__ == plots.__name__]
    found = {}
    for module, names in (
        (fedflux, dir(fedflux)),
        (flower, flower.__all__),
        (he, he.__all__),
        (plots, own),
    ):
        for name in names:
            value, path = getattr(module, name), f"{module.__name__}.{name}"
            error = inspect.isclass(value) and issubclass(value, Exception)
            found[path] = parameters(value) if callable(value) and not error else {}
            members = dir(value) if inspect.isclass(value) else []
            found |= {f"{path}.{member}": {} for member in members if member[0] != "_"}
    return found


def commands() -> dict[str, dict[str, str]]:
    """The flags of each command, with their defaults, as its help lists them."""
    from fedflux.cli import cli

    found = {}
    for name, command in {"": cli, **cli.commands}.items():
        flags = found[name] = dict[str, str]()
        with click.Context(command) as context:
            assert command.get_help(context)
        for parameter in command.params:
            for flag in (*parameter.opts, *parameter.secondary_opts):
                flags[flag] = str(parameter.default)
    return found


def outcome(name: str) -> dict[str, Any]:
    """The loss of a run, the norm of its parameters and their fingerprint."""
    with tempfile.TemporaryDirectory() as folder:
        if name == "resumed":
            fedflux.run(**RUNS[name], checkpoint=folder)
            result = fedflux.run(resume=folder, rounds=4)
        else:
            result = fedflux.run(**RUNS[name])
    flat = np.concatenate([np.ravel(a) for a in result.parameters.values()]).astype(float)
    return {
        "loss": result.history[-1]["test_loss"],
        "norm": float(np.linalg.norm(flat)),
        "sha256": result.params_sha256,
    }


def names_in_julia() -> list[str]:
    """The names that `using FedFlux` brings."""
    from ..conftest import julia_command

    done = subprocess.run(
        [*julia_command(), "-e", 'using FedFlux; join(stdout, names(FedFlux), "\n")'],
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.split()


def missing(before: Any, now: Any, where: str = "") -> list[str]:
    """What was there before and isn't now, or is something else."""
    if not isinstance(before, dict):
        return [] if before == now else [f"{where}: {before!r} became {now!r}"]
    return [
        line
        for key, value in before.items()
        for line in (
            missing(value, now[key], f"{where} {key}")
            if key in now
            else [f"{where} {key} is gone"]
        )
    ]


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def test_what_was_public_still_is(seen: dict[str, Any]) -> None:
    assert missing(seen["public"], public()) == []


def test_every_command_has_its_flags(seen: dict[str, Any]) -> None:
    assert missing(seen["commands"], commands()) == []


def test_every_exported_name_of_the_core_still_is(
    seen: dict[str, Any], julia: None
) -> None:
    assert set(seen["julia"]) - set(names_in_julia()) == set()


@pytest.mark.parametrize(
    "name",
    [
        name if name in ON_THE_REFERENCE else pytest.param(name, marks=pytest.mark.julia)
        for name in RUNS
    ],
)
def test_a_run_gives_its_numbers(
    name: str, seen: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    if name not in ON_THE_REFERENCE:
        request.getfixturevalue("julia")
    before, now = seen["runs"][name], outcome(name)
    for figure in ("loss", "norm"):
        assert now[figure] == pytest.approx(before[figure], rel=1e-5)
    bits = before["sha256"].get(processor())
    assert now["sha256"] == (bits or now["sha256"])


def test_a_loss_is_noticed() -> None:
    before = {"f": {"x": "1", "y": "2"}, "g": {}}
    now = {"f": {"x": "1", "y": "3", "z": "4"}, "h": {}}
    assert missing(before, now) == [" f y: '2' became '3'", " g is gone"]


def record() -> None:
    """Write witness.json; fingerprints of other kinds of processors stay."""
    old = json.loads(FILE.read_text()) if FILE.exists() else {"runs": {}}
    runs = {}
    for name in RUNS:
        found = outcome(name)
        bits = old["runs"].get(name, {}).get("sha256", {})
        runs[name] = found | {"sha256": bits | {processor(): found["sha256"]}}
    facts = {"public": public(), "commands": commands(), "julia": names_in_julia()}
    FILE.write_text(json.dumps(facts | {"runs": runs}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    record()
