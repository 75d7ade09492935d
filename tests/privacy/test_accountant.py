"""The accountant beside the package dp-accounting, and the commands that print it."""

import json
import logging
import math
import re
import shlex
import warnings
from collections.abc import Callable
from typing import Any

import dp_accounting as dpa
import numpy as np
import pytest
from absl import logging as absl_logging
from dp_accounting import pld, rdp

import fedflux
from fedflux.cli.commands import main

from ..conftest import ROOT, Run

RELATION = dpa.NeighboringRelation
PLAN = shlex.split("--sampling-rate 0.0025 --steps 6000 --delta 1e-5")
EPSILON = ["epsilon", "--noise-multiplier", "1.3", *PLAN]


def theirs(accountant: Any, event: dpa.DpEvent, steps: int, delta: float) -> float:
    """The ε of dp-accounting."""
    return float(accountant.compose(event, steps).get_epsilon(delta))


def cases() -> list[dict[str, Any]]:
    """200 draws of (σ, q, T, δ), one in twenty with all clients in each round."""
    rng = np.random.default_rng(10)
    return [
        {
            "noise_multiplier": 10 ** rng.uniform(-0.2, 1),
            "sampling_rate": 1.0 if i % 20 == 0 else 10 ** rng.uniform(-4, -0.5),
            "steps": int(10 ** rng.uniform(0, 4)),
            "delta": 10 ** rng.uniform(-9, -3),
        }
        for i in range(200)
    ]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """dp-accounting warns of orders whose series does not converge, which it leaves out."""
    absl_logging.set_verbosity(absl_logging.FATAL)
    logging.getLogger("absl").setLevel(logging.CRITICAL)


def test_200_plans_beside_dp_accounting(julia: None) -> None:
    compared = 0
    for plan in cases():
        event = dpa.PoissonSampledDpEvent(
            plan["sampling_rate"], dpa.GaussianDpEvent(plan["noise_multiplier"])
        )
        steps, delta = plan["steps"], plan["delta"]
        expected = theirs(rdp.RdpAccountant(), event, steps, delta)
        assert fedflux.epsilon(**plan) == pytest.approx(expected, rel=1e-6, abs=0), plan
        if expected > 500:  # exp(-loss) is 0 in dp-accounting's PLD, which rounds up far
            continue
        # On the same grid of losses, 1e-4.
        expected = theirs(pld.PLDAccountant(), event, steps, delta)
        found = fedflux.epsilon(**plan, accountant="pld")
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-9), plan
        compared += expected > 0
    assert compared > 150


def test_cohorts_of_fixed_size_beside_dp_accounting(julia: None) -> None:
    for sigma, size, steps in [
        (1.0, 10, 100),
        (4.0, 1, 1000),
        (0.8, 50, 3),
        (30.0, 20, 500),
    ]:
        # dp-accounting's noise is relative to the change of one client's data, up to 2C
        event = dpa.SampledWithoutReplacementDpEvent(
            100, size, dpa.GaussianDpEvent(sigma / 2)
        )
        accountant = rdp.RdpAccountant(neighboring_relation=RELATION.REPLACE_ONE)
        found = fedflux.epsilon(
            noise_multiplier=sigma,
            sampling_rate=size / 100,
            steps=steps,
            delta=1e-6,
            sampling="fixed",
        )
        assert found == pytest.approx(theirs(accountant, event, steps, 1e-6), rel=1e-6)


def test_tree_beside_dp_accounting(julia: None) -> None:
    from fedflux._julia.start import boot

    for sigma, rounds in [(5.0, 1), (5.0, 500), (12.0, 4096)]:
        event = dpa.SingleEpochTreeAggregationDpEvent(sigma, rounds)
        accountant = rdp.RdpAccountant(neighboring_relation=RELATION.REPLACE_SPECIAL)
        found = fedflux.epsilon(
            noise_multiplier=boot().core.tree_noise(sigma, rounds),
            steps=1,
            delta=1e-5,
            sampling="none",
        )
        assert found == pytest.approx(theirs(accountant, event, 1, 1e-5), rel=1e-6)


def test_noise_for_epsilon(julia: None) -> None:
    plan = {"sampling_rate": 0.04, "steps": 2250, "delta": 1e-5}
    for accountant in ("rdp", "pld"):
        sigma = fedflux.noise_multiplier(epsilon=8, **plan, accountant=accountant)
        assert fedflux.epsilon(noise_multiplier=sigma, **plan, accountant=accountant) <= 8
        less = 0.99999 * sigma
        assert fedflux.epsilon(noise_multiplier=less, **plan, accountant=accountant) > 8
    assert math.isinf(fedflux.epsilon(noise_multiplier=1e-9, **plan))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"noise_multiplier": -1}, "noise_multiplier is -1; expected a positive number"),
        ({"noise_multiplier": math.nan}, "noise_multiplier: expected a finite number"),
        ({"noise_multiplier": "1"}, "noise_multiplier: expected a finite number, got '1'"),
        ({"sampling_rate": 1.5}, "sampling_rate is 1.5; expected a number above 0"),
        ({"steps": 2.5}, "steps is 2.5; expected a whole number"),
        ({"steps": True}, "steps: expected a finite number, got True"),
        ({"steps": 10**30}, "expected a whole number from 0"),
        ({"delta": 0}, "delta is 0; expected a number between 0 and 1"),
        ({"sampling": "all"}, "sampling is :all; expected"),
        ({"sampling": None}, "sampling: expected a text, got None"),
        ({"accountant": "gdp"}, "accountant is :gdp; expected"),
        ({"sampling": "fixed", "accountant": "pld"}, "can't account sampling :fixed"),
    ],
)
def test_bad_values(julia: None, changed: dict[str, Any], words: str) -> None:
    plan = {"noise_multiplier": 1.0, "sampling_rate": 0.1, "steps": 3, "delta": 1e-5}
    with pytest.raises(fedflux.OptionError, match=re.escape(words)):
        fedflux.epsilon(**(plan | changed))


def test_numpy_numbers(julia: None) -> None:
    found = fedflux.epsilon(
        noise_multiplier=np.float32(4), steps=np.int64(1), delta=np.float64(1e-5)
    )
    assert found == fedflux.epsilon(noise_multiplier=4, steps=1, delta=1e-5)


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fed(
    julia: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The command line in this process, which has Julia: exit code, stdout, stderr."""

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        with pytest.raises(SystemExit) as exit_:
            main(args)
        return (exit_.value.code, *capsys.readouterr())

    return run


def test_epsilon_in_a_process_of_its_own(julia: None, python: Run) -> None:
    found = json.loads(python(["-m", "fedflux", *EPSILON, "--json"]).stdout)
    assert list(found) == ["rdp", "pld"]
    assert found["rdp"] == pytest.approx(0.7242234026, rel=1e-6)
    assert found["pld"] == pytest.approx(0.64011, rel=1e-3)


def test_epsilon_command(fed: Command) -> None:
    code, text, _ = fed(*EPSILON)
    assert code == 0
    assert "rdp  ε = 0.724223  (δ = 1e-05)\npld  ε = 0.640111  (δ = 1e-05)\n" in text
    assert "with probability 0.0025, independently; neighbors differ in the pres" in text


def test_epsilon_command_for_cohorts_of_fixed_size(fed: Command) -> None:
    found = json.loads(fed(*EPSILON, "--sampling", "fixed", "--json")[1])
    assert found["pld"] is None
    assert found["rdp"] > 1
    text = fed(*EPSILON, "--sampling", "fixed")[1]
    assert "pld  ε = not for cohorts of fixed size" in text
    assert "differ in the data of one" in text


def test_noise_command(fed: Command) -> None:
    wanted = shlex.split("noise --epsilon 8 --sampling-rate 0.04 --steps 2250 --delta 1e-5")
    found = json.loads(fed(*wanted, "--json")[1])
    assert found == {"noise_multiplier": pytest.approx(1.416, abs=5e-4)}
    text = fed(*wanted, "--accountant", "pld", "--sampling", "none")[1]
    assert re.match(r"noise multiplier = \d+\.\d{6}  \(ε ≤ 8 by pld\)\n", text)
    assert "no amplification by sampling is claimed" in text


def test_the_outputs_in_the_docs(fed: Command) -> None:
    page = "".join(
        (ROOT / "docs" / f"privacy-{part}.md").read_text()
        for part in ("accounting", "audit")
    )
    shown = re.findall(r"^\$ fedflux (.*)\n((?:(?!\$|```).*\n)+)", page, re.M)
    assert len(shown) == 4
    for args, output in shown:
        out = fed(*shlex.split(args))[1]
        if "--json" in args:
            assert json.loads(out) == pytest.approx(json.loads(output), rel=1e-9)
        else:
            assert out == output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([*EPSILON, "--delta", "2"], "delta is 2.0; expected a number between 0 and 1"),
        ([*EPSILON, "--delta", "nan"], "delta: expected a finite number, got nan"),
        ([*EPSILON, "--sampling", "all"], "'all' is not one of"),
        (EPSILON[:3], "Missing option '--steps'"),
        (["noise", "--epsilon", "0", *PLAN], "epsilon is 0.0; expected a positive number"),
    ],
)
def test_a_mistake_is_one_line(fed: Command, args: list[str], words: str) -> None:
    code, out, err = fed(*args)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"fedflux: error: [^\n]+\nfedflux: see \S+\n", err)
    assert words in err


def test_without_julia(python: Run, no_julia: dict[str, str]) -> None:
    done = python(["-m", "fedflux", *EPSILON], env=no_julia, check=False, timeout=60)
    assert done.returncode == 1
    assert re.search(
        r"^fedflux: error: Julia [^\n]+\nfedflux: see \S+\n\Z", done.stderr, re.M
    )
    assert "Traceback" not in done.stderr
