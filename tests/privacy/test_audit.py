"""The audit from Python and on the command line.

The core's test/federation/audit.jl plants the bugs.
"""

import json
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import fedflux
from fedflux._privacy import audit as _audit
from fedflux.cli.commands import main

Command = Callable[..., tuple[Any, str, str]]
RULE = "client_dp(noise_multiplier=2, reproducible=true)"
SMALL = ["--rule", RULE, "--clients", "5", "--rounds", "2", "--trials", "60"]


def test_audit(julia: None) -> None:
    plan: dict[str, Any] = {"clients": 5, "rounds": 2, "trials": 60}
    found = fedflux.audit(RULE, **plan)
    assert isinstance(found, fedflux.Audit)
    assert not found.broken
    assert found.findings == ()
    assert 0 <= found.lower <= found.upper
    assert found.upper == pytest.approx(
        fedflux.epsilon(noise_multiplier=2, steps=2, delta=1e-5)
    )
    assert (found.trials, found.rounds, found.confidence) == (60, 2, 0.95)
    assert found.promise["unit"] == "one client"
    assert found.promise["neighbours"] == "with and without the unit"
    again = fedflux.audit(RULE, **plan)
    assert (again.lower, again.decided) == (found.lower, found.decided)
    few: dict[str, Any] = {"clients_per_round": 2, "sampling": "uniform"}
    fixed = fedflux.audit("client_dp(noise_multiplier=2)", **plan, **few)
    assert fixed.promise["sampling"] == "fixed"
    assert not fixed.broken
    names = ["a canary", "the run's seed known", "two hostile clients besides"]
    assert [attack["name"] for attack in fixed.attacks] == names
    assert fixed.lower == max(attack["lower"] for attack in fixed.attacks)
    assert fixed.decided in [attack["decided"] for attack in fixed.attacks]
    # Cohorts that follow from the seed make no ε smaller.
    seeded = fedflux.audit(RULE, **plan, **few)
    assert seeded.promise["sampling"] == "none"
    assert seeded.upper == found.upper
    assert "the run's seed" in seeded.promise["amplification"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"rule": "fedprox"}, "FedProx promises no ε"),
        ({"rule": "client_dq"}, "rule: expected one of fedprox"),
        ({"rule": 1}, "rule: expected a text, got 1"),
        ({"trials": 2}, "trials is 2; expected a number from 20"),
        ({"trials": 60.0}, "trials: expected an integer, got 60.0"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"confidence": float("nan")}, "confidence: expected a finite number, got nan"),
        ({"sampling": "weighted"}, "can't account for cohorts drawn by WeightedSampling"),
        ({"clients": 0}, "clients_per_round is"),
    ],
)
def test_a_mistake_names_itself(julia: None, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(fedflux.OptionError, match=re.escape(words)):
        fedflux.audit(**({"rule": RULE} | changed))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`fedflux audit` in this process: exit status, stdout, stderr."""

    def run(*args: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        with pytest.raises(SystemExit) as exit_:
            main(["audit", *args])
        return (exit_.value.code, *capsys.readouterr())

    return run


def test_command(julia: None, command: Command) -> None:
    code, out, _ = command(*SMALL, "--json")
    found = json.loads(out)
    assert (code, found["broken"]) == (0, False)
    code, out, _ = command(*SMALL)
    assert code == 0
    assert f"promised  ε ≤ {found['upper']:.4f}  (δ = 1e-05, 2 rounds)\n" in out
    assert "Consistent with the promise; an audit can't prove it.\n" in out
    assert re.search(
        r"attack    two hostile clients besides: ε ≥ \d.* attacked, ε ≤ \d", out
    )
    code, out, err = command("--rule", "fedprox")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"fedflux: error: [^\n]+\nfedflux: see \S+\n", err)


def test_a_broken_rule_has_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    found = fedflux.Audit(
        broken=True,
        lower=4.0,
        upper=float("inf"),
        decided={"delta": 0.3, "lower": 3.0, "upper": 1.0},
        findings=("the clip is off",),
        trials=60,
        rounds=2,
        confidence=0.95,
        seconds=1.0,
        promise={"delta": 1e-5, "unit": "one client", "neighbours": "n"},
    )
    monkeypatch.setattr(_audit, "audit", lambda **_: found)
    code, out, _ = command("--rule", "client_dp")
    assert code == 3
    assert "finding   the clip is off\nBROKEN: " in out
    code, out, _ = command("--rule", "client_dp", "--json")
    assert code == 3
    assert json.loads(out)["upper"] is None


def test_membership_in_the_history(julia: None) -> None:
    plan: dict[str, Any] = {"dataset": "digits", "model": "mlp", "hidden": [32]}
    plan |= {"clients": 4, "rounds": 3, "eval_every": 2, "lr": 0.1, "engine": "julia"}
    plain = fedflux.run(**plan)
    assert all(record["membership"] is None for record in plain.history)
    attacked = fedflux.run(**plan, membership=100)
    assert attacked.params_sha256 == plain.params_sha256
    found = [record["membership"] for record in attacked.history]
    assert found[0] is None
    assert found[1] is not None
    assert set(found[2]) == {"auc", "accuracy", "epsilon"}
    assert all(0.3 < each["auc"] < 0.9 for each in found[1:])
    assert all((each["accuracy"] * 100) % 1 == pytest.approx(0) for each in found[1:])
    frame = attacked.to_frame()
    assert frame["membership_auc"].iloc[2] == found[2]["auc"]
    with pytest.raises(fedflux.OptionError, match="membership"):
        fedflux.run(**plan, membership=-1)
