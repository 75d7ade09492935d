"""The Julia core: callbacks, models, errors, threads, the case study and its own tests."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux._julia.project import find_julia

from ..conftest import NOTES, ROOT, SUITE, Run
from ..images import IMAGES, ROWS


def test_callback_sees_records_and_stops(julia: None) -> None:
    seen: list[dict[str, Any]] = []

    def callback(record: dict[str, Any]) -> bool:
        seen.append(record)
        return record["round"] == 2

    result = fedflux.run(
        **ROWS, clients=3, rounds=9, model="mlp", engine="julia", callback=callback
    )
    assert (result.stopped, len(result.history)) == ("callback", 2)
    assert seen == result.history


def test_a_model_of_the_users_own(julia: None) -> None:
    from juliacall import Main as jl

    model = jl.seval(
        "using FedFlux.Flux: Chain, Dense, tanh; Chain(Dense(37 => 8, tanh), Dense(8 => 5))"
    )
    result = fedflux.run(**ROWS, clients=3, rounds=2, lr=0.3, model=model)
    assert result.engine == "julia"
    assert {name: a.shape for name, a in result.parameters.items()} == {
        "layers.1.weight": (37, 8),
        "layers.1.bias": (8,),
        "layers.2.weight": (8, 5),
        "layers.2.bias": (5,),
    }
    w1, b1, w2, b2 = result.parameters.values()
    predicted = (np.tanh(ROWS["x_test"] @ w1 + b1) @ w2 + b2).argmax(axis=1)
    assert result.accuracy == pytest.approx((predicted == ROWS["y_test"]).mean())
    with pytest.raises(fedflux.FedFluxError, match=r"layer 1.*Dense\(37 => 8"):
        fedflux.run(**IMAGES, clients=3, rounds=1, model=model)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dataset": "digits", "model": "lenet"}, "lenet, layer 3"),
        ({"dataset": "digits", "clients": 5000}, "5000"),
    ],
)
def test_errors_of_the_core_are_one_line(
    julia: None, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(fedflux.FedFluxError, match=words) as error:
        fedflux.run(engine="julia", **options)
    assert "\n" not in str(error.value)
    assert "Stacktrace" not in str(error.value)


@pytest.mark.parametrize("engine", ["julia", "reference"])
def test_a_run_that_blows_up_warns_and_leaves_the_model(julia: None, engine: str) -> None:
    data = ROWS | {"y_train": np.linspace(-1, 1, 90), "y_test": np.linspace(-1, 1, 40)}
    linear: dict[str, Any] = {
        "model": "softmax_regression",
        "loss": "mse",
        "lr": 1000.0,
        "local_epochs": 30,
    }
    with pytest.warns(fedflux.FedFluxWarning, match="smaller learning rate"):
        result = fedflux.run(**data, **linear, rounds=2, engine=engine)
    assert any(r["skipped"] and r["rejected"] for r in result.history)
    assert all(np.isfinite(a).all() for a in result.parameters.values())


DIGITS: dict[str, Any] = {
    "dataset": "digits",
    "clients": 6,
    "rounds": 2,
    "batch_size": 20,
    "lr": 0.1,
    "seed": 4,
}


def test_same_bits_for_any_threads_and_through_julia(julia: None, python: Run) -> None:
    hashes = {
        f"threads={n}": fedflux.run(**DIGITS, engine="julia", threads=n).params_sha256
        for n in (1, 2)
    }
    exe, project = find_julia()
    assert exe is not None
    for threads in (1, 2):
        call = f"fedflux.run(**{DIGITS!r}, engine='julia')"
        code = f"import fedflux; print({call}.params_sha256)"
        done = python(code, env=os.environ | {"PYTHON_JULIACALL_THREADS": str(threads)})
        hashes[f"Python on {threads}"] = done.stdout.strip()
        options = ", ".join(
            f"{name} = {json.dumps(value)}" for name, value in DIGITS.items()
        )
        command = [exe, f"--project={project}", "--startup-file=no", f"--threads={threads}"]
        code = f"using FedFlux; print(FedFlux.run(; {options}).params_sha256)"
        run = subprocess.run(
            [*command, "-e", code], capture_output=True, text=True, check=True
        )
        hashes[f"Julia on {threads}"] = run.stdout.strip()
    assert len(set(hashes.values())) == 1, hashes


def test_the_case_study_learns_real_images(
    julia: None, test_data: Path, tmp_path: Path
) -> None:
    """The acceptance run; a plain loop in another framework gives .9385 here."""
    options = (
        "--clients 10 --rounds 8 --local-epochs 1 --batch-size 10 --lr 0.05 --engine julia "
        "--json out.json"
    )
    command = [
        "run",
        "--dataset",
        str(test_data / "mnist" / "mnist10k.npz"),
        *options.split(),
    ]
    subprocess.run([sys.executable, "-m", "fedflux", *command], cwd=tmp_path, check=True)
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["engine"] == "julia"
    assert facts["accuracy"] >= 0.92
    assert len(facts["history"]) == 8


def test_julia_suite(julia: None, request: pytest.FixtureRequest) -> None:
    """The core's own tests; prints their summary and every failure at the end."""
    counts: Counter[str] = Counter()
    broken: list[str] = []
    last: list[str] = []
    for code, lines in request.config.stash[SUITE].wait():
        counts += _counts(lines)
        if code != 0:
            failed = [x for x in lines if "Test Failed at" in x or "Error During" in x]
            broken += [f"exit code {code}", *lines[-1:], *failed]
            last += lines[-80:]
    told = ", ".join(f"{n} {kind.lower()}" for kind, n in counts.items())
    notes = [f"Julia suite: {line}" for line in (told, *broken)]
    request.config.stash[NOTES].extend(notes)
    assert not broken, "\n".join([*broken, *last])
    tests = ROOT / "julia" / "FedFlux" / "test"
    files = set(tests.rglob("*.jl")) - set(tests.glob("setup/*")) - {tests / "runtests.jl"}
    assert counts["files"] == len(files)


def _counts(lines: list[str]) -> Counter[str]:
    """The sums of the summaries that Julia prints, one for each file of tests."""
    counts: Counter[str] = Counter()
    for header, row in pairwise(lines):
        if header.startswith("Test Summary:"):
            kinds, values = (line.partition("|")[2].split() for line in (header, row))
            counts["files"] += 1
            values_of = dict(zip(kinds, values, strict=False))
            counts.update({k: int(v) for k, v in values_of.items() if k != "Time"})
    return counts


@pytest.mark.usefixtures("julia")
def test_rules_personal_accuracy_and_baselines(blobs: dict[str, np.ndarray]) -> None:
    options: dict[str, Any] = {
        "model": "softmax_regression",
        "clients": 3,
        "rounds": 2,
        "lr": 0.1,
        **blobs,
    }
    plain = fedflux.run(**options)
    same = fedflux.run(rules=[fedflux.FedProx(mu=0)], **options)
    assert same.params_sha256 == plain.params_sha256
    result = fedflux.run(
        rules=["ditto(lam=0.5)", fedflux.Scaffold()],
        server=fedflux.FedAdam(lr=0.05),
        schedule=fedflux.CosineDecay(rounds=2, final=0.5),
        baselines=["centralized", "local"],
        finetune_epochs=1,
        **options,
    )
    assert 0 < result.history[-1]["personal_accuracy"] <= 1
    assert set(result.details["baselines"]) == {"centralized", "local"}
    for words in ("personal accuracy", "fine-tuned", "centralized", "local"):
        assert f"{words} 0." in repr(result) or f"{words} 1." in repr(result)
    with pytest.raises(fedflux.FedFluxError, match="FedPer leaves nothing to share"):
        fedflux.run(rules=fedflux.FedPer(), **options)
