"""The Julia core: against the reference engine, and against itself on other threads and through Julia."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux.doctor import find_julia

from .conftest import NOTES, ROOT, Run

RNG = np.random.default_rng(3)
IMAGES = {
    "x_train": RNG.integers(256, size=(90, 2, 15, 13), dtype=np.uint8),
    "y_train": np.arange(90) % 5,
    "x_test": RNG.integers(256, size=(40, 2, 15, 13), dtype=np.uint8),
    "y_test": np.arange(40) % 5,
}
ROWS = {name: a.reshape(len(a), -1)[:, :37].astype(np.float32) / 255 if a.ndim > 1 else a for name, a in IMAGES.items()}
COMMON: dict[str, Any] = {"clients": 4, "rounds": 3, "batch_size": 7, "local_steps": 4, "lr": 0.1}


def both(**options: Any) -> tuple[fedflux.Result, fedflux.Result]:
    core = fedflux.run(**options, engine="julia")
    reference = fedflux.run(**options, engine="reference")
    assert (core.engine, reference.engine) == ("julia", "reference")
    return core, reference


def assert_same(core: fedflux.Result, reference: fedflux.Result, rel: float = 1e-5) -> None:
    assert list(core.parameters) == list(reference.parameters)
    for name, expected in reference.parameters.items():
        got = core.parameters[name]
        assert got.shape == expected.shape
        assert got.dtype == np.float32
        assert got.flags.c_contiguous
        distance = np.linalg.norm((got - expected).astype(float)) / np.linalg.norm(expected.astype(float))
        assert distance <= rel, f"{name}: {distance}"
    assert [set(r) for r in core.history] == [set(r) for r in reference.history]
    for got, expected in zip(core.history, reference.history, strict=True):
        for name in ("round", "clients", "bytes_up", "bytes_down", "accuracy", "client_accuracy"):
            wanted = expected[name]
            assert got[name] == (wanted if wanted is None else pytest.approx(wanted)), name
        for name in ("train_loss", "test_loss"):
            wanted = expected[name]
            assert got[name] == (wanted if wanted is None else pytest.approx(wanted, rel=1e-4)), name
    assert core.stopped == reference.stopped


# Zygote is not asked about pools: NNlib's gives the gradient to the first value that is *about* the largest (isapprox,
# 3e-4 for Float32), which random images meet often enough to move the parameters by a percent.
@pytest.mark.parametrize(
    ("model", "trainer"),
    [
        ("case_study_cnn", "fast"),
        ("lenet", "fast"),
        ("mcmahan_cnn", "fast"),
        ("mlp", "fast"),
        ("softmax_regression", "fast"),
        ("case_study_cnn", "zygote"),
        ("mlp", "zygote"),
        ("softmax_regression", "zygote"),
    ],
)
def test_equals_the_reference(julia: None, model: str, trainer: str) -> None:
    """Nothing is shared but the seed: the split, the initial parameters, the batches are drawn on both sides."""
    core, reference = both(**IMAGES, **COMMON, model=model, hidden=[21, 9], trainer=trainer, seed=11)
    assert core.trainer == trainer
    assert_same(core, reference)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "momentum", "momentum": 0.8},
        {"optimizer": "adam", "lr": 0.01},
        {"clients": 7, "clients_per_round": 3, "weights": "uniform"},
        {"local_steps": None, "local_epochs": 2, "eval_every": 2},
        {"mean": 0.3, "std": 0.2},
        {"target_accuracy": 0.01},
        {"lr": 1e-12, "patience": 1, "rounds": 9},
    ],
    ids=str,
)
def test_options_mean_the_same(julia: None, options: dict[str, Any]) -> None:
    core, reference = both(**ROWS, **(COMMON | {"model": "mlp", "hidden": [11]} | options))
    assert_same(core, reference, 1e-4 if "optimizer" in options else 1e-5)  # Adam divides by small gradients


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        ("binary_cross_entropy", lambda n: np.arange(n) % 2),
        ("binary_cross_entropy", lambda n: np.stack([np.arange(n) % 2, np.arange(n) // 2 % 2, np.arange(n) % 2], 1)),
        ("mse", lambda n: np.linspace(-1, 1, n)),
        ("mse", lambda n: np.linspace(-1, 1, 3 * n).reshape(n, 3)),
    ],
)
def test_losses_mean_the_same(julia: None, loss: str, targets: Any) -> None:
    data = ROWS | {"y_train": targets(90), "y_test": targets(40)}
    assert_same(*both(**data, **COMMON, loss=loss, model="mlp", hidden=[11]))


def test_without_test_data(julia: None) -> None:
    data = {name: a for name, a in ROWS.items() if "train" in name}
    core, reference = both(**data, **COMMON, model="softmax_regression")
    assert_same(core, reference)
    assert core.accuracy is None


def test_starts_from_given_parameters(julia: None, tmp_path: Path) -> None:
    common: dict[str, Any] = {**IMAGES, **COMMON, "model": "case_study_cnn"}
    first = fedflux.run(**common, engine="julia")
    path = first.save(tmp_path / "first.safetensors")
    core, reference = both(**common, init=path)
    assert_same(core, reference)
    assert core.params_sha256 != first.params_sha256


def test_callback_sees_records_and_stops(julia: None) -> None:
    seen: list[dict[str, Any]] = []

    def callback(record: dict[str, Any]) -> bool:
        seen.append(record)
        return record["round"] == 2

    result = fedflux.run(**ROWS, clients=3, rounds=9, model="mlp", engine="julia", callback=callback)
    assert (result.stopped, len(result.history)) == ("callback", 2)
    assert seen == result.history


def test_a_model_of_the_users_own(julia: None) -> None:
    from juliacall import Main as jl

    model = jl.seval("using FedFlux.Flux: Chain, Dense, tanh; Chain(Dense(37 => 8, tanh), Dense(8 => 5))")
    result = fedflux.run(**ROWS, clients=3, rounds=2, lr=0.3, model=model)
    assert result.engine == "julia"
    assert {name: a.shape for name, a in result.parameters.items()} == {
        "layers.1.weight": (37, 8),
        "layers.1.bias": (8,),
        "layers.2.weight": (8, 5),
        "layers.2.bias": (5,),
    }
    w1, b1, w2, b2 = result.parameters.values()
    said = (np.tanh(ROWS["x_test"] @ w1 + b1) @ w2 + b2).argmax(axis=1)
    assert result.accuracy == pytest.approx((said == ROWS["y_test"]).mean())
    with pytest.raises(fedflux.FedFluxError, match=r"layer 1.*Dense\(37 => 8"):
        fedflux.run(**IMAGES, clients=3, rounds=1, model=model)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dataset": "digits", "model": "lenet"}, "lenet, layer 3"),
        ({"dataset": "digits", "clients": 5000}, "5000"),
    ],
)
def test_the_cores_refusals_are_plain(julia: None, options: dict[str, Any], words: str) -> None:
    with pytest.raises(fedflux.FedFluxError, match=words) as error:
        fedflux.run(engine="julia", **options)
    assert "\n" not in str(error.value)
    assert "Stacktrace" not in str(error.value)


@pytest.mark.parametrize("engine", ["julia", "reference"])
def test_a_run_that_blows_up_warns_and_leaves_the_model(julia: None, engine: str) -> None:
    data = ROWS | {"y_train": np.linspace(-1, 1, 90), "y_test": np.linspace(-1, 1, 40)}
    linear: dict[str, Any] = {"model": "softmax_regression", "loss": "mse", "lr": 1000.0, "local_epochs": 30}
    with pytest.warns(fedflux.FedFluxWarning, match="smaller learning rate"):
        result = fedflux.run(**data, **linear, rounds=2, engine=engine)
    assert any(r["skipped"] and r["rejected"] for r in result.history)
    assert all(np.isfinite(a).all() for a in result.parameters.values())


DIGITS: dict[str, Any] = {"dataset": "digits", "clients": 6, "rounds": 2, "batch_size": 20, "lr": 0.1, "seed": 4}


def test_same_bits_for_any_threads_and_through_julia(julia: None, python: Run) -> None:
    hashes = {f"threads={n}": fedflux.run(**DIGITS, engine="julia", threads=n).params_sha256 for n in (1, 2)}
    exe, project = find_julia()
    assert exe is not None
    for threads in (1, 2):
        code = f"import fedflux; print(fedflux.run(**{DIGITS!r}, engine='julia').params_sha256)"
        done = python(code, env=_with(PYTHON_JULIACALL_THREADS=str(threads)))
        hashes[f"Python on {threads}"] = done.stdout.strip()
        options = ", ".join(f"{name} = {json.dumps(value)}" for name, value in DIGITS.items())
        command = [exe, f"--project={project}", "--startup-file=no", f"--threads={threads}"]
        code = f"using FedFlux; print(FedFlux.run(; {options}).params_sha256)"
        run = subprocess.run([*command, "-e", code], capture_output=True, text=True, check=True)
        hashes[f"Julia on {threads}"] = run.stdout.strip()
    assert len(set(hashes.values())) == 1, hashes


def test_the_case_study_learns_real_images(julia: None, test_data: Path, tmp_path: Path) -> None:
    """The acceptance run; a plain loop in another framework gives .9385 here."""
    options = "--clients 10 --rounds 8 --local-epochs 1 --batch-size 10 --lr 0.05 --engine julia --json out.json"
    command = ["run", "--dataset", str(test_data / "mnist" / "mnist10k.npz"), *options.split()]
    subprocess.run([sys.executable, "-m", "fedflux", *command], cwd=tmp_path, check=True)
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["engine"] == "julia"
    assert facts["accuracy"] >= 0.92
    assert len(facts["history"]) == 8


def test_julia_suite(julia: None, request: pytest.FixtureRequest) -> None:
    """The core's own tests, in the project that runs use; their summary is shown at the end."""
    exe, project = find_julia()
    assert exe is not None
    command = [exe, f"--project={project}", "--startup-file=no", "--threads=2", "test/runtests.jl"]
    done = subprocess.run(command, cwd=ROOT / "julia" / "FedFlux", capture_output=True, text=True, timeout=3600)
    lines = (done.stdout + done.stderr).splitlines()
    start = max((i for i, line in enumerate(lines) if line.startswith("Test Summary")), default=None)
    summary = [] if start is None else lines[start : start + 2]
    request.config.stash[NOTES].extend(f"Julia suite: {line}" for line in summary)
    assert done.returncode == 0, "\n".join(lines[-80:])
    assert summary, "the suite printed no summary"


def _with(**env: str) -> dict[str, str]:
    import os

    return {**os.environ, **env}


@pytest.mark.usefixtures("julia")
def test_rules_personal_accuracy_and_baselines(blobs: dict[str, np.ndarray]) -> None:
    options: dict[str, Any] = {"model": "softmax_regression", "clients": 3, "rounds": 2, "lr": 0.1, **blobs}
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
