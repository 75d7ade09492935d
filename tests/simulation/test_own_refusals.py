"""Functions and rules of the user's own beside secure sums, privacy and processes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fedflux

from .own import SLOW, SMALL, Prox, median, rule, sends_nothing

PRIVATE: dict[str, Any] = {"weights": "uniform", "clients_per_round": 5}
CLIENT_DP = PRIVATE | {"rules": "client_dp", "sampling": "poisson"}


def everybody(round: int, clients: Any, rng: Any) -> Any:
    return clients


def mean(updates: Any, weights: Any) -> Any:
    return updates.mean(axis=0)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an aggregator, secure": (
        {"aggregate": [mean, "secure"]},
        "under secure aggregation and CKKS the server knows nothing but the sum of the upd",
    ),
    "an aggregator, CKKS": (
        {"aggregate": ["ckks", mean]},
        "under secure aggregation and CKKS the server knows nothing but the sum of the upd",
    ),
    "an aggregator, client-level privacy": (
        CLIENT_DP | {"aggregate": mean},
        "rule ClientDP and aggregate mean don't go together: it needs the weighted mean of "
        "the updates, and mean is none: the noise is meant for the sum of all updates",
    ),
    "an aggregator, DP-FTRL": (
        PRIVATE | {"rules": "dp_ftrl", "sampling": "round_robin", "aggregate": mean},
        "rule DPFTRL and aggregate mean don't go together",
    ),
    "a sampling, client-level privacy": (
        CLIENT_DP | {"sampling": everybody},
        "ClientDP can't account for cohorts drawn by FunctionSampling",
    ),
    "a sampling, DP-FTRL": (
        PRIVATE | {"rules": "dp_ftrl", "sampling": everybody},
        "rule DPFTRL needs cohorts that follow from the number of the round",
    ),
    "an aggregator, SCAFFOLD": (
        {"rules": "scaffold", "aggregate": median},
        "rule Scaffold and aggregate median don't go together",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_the_reason(julia: None, what: str) -> None:
    options, reason = REFUSED[what]
    with pytest.raises(fedflux.FedFluxError) as caught:
        fedflux.run(**(SLOW | options))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*reproducible")
@pytest.mark.parametrize("how", ["secure", "ckks", "client_dp", "dpsgd"])
def test_what_goes_together(julia: None, how: str) -> None:
    """Metrics, partitions and, without a claim that rests on chance, samplings."""
    if how == "ckks":
        pytest.importorskip("tenseal")
    options = SLOW | {"rounds": 2}
    options |= {
        "secure": {"aggregate": "secure"},
        "ckks": {"aggregate": "ckks"},
        "client_dp": CLIENT_DP | {"rules": "client_dp(reproducible=true)"},
        "dpsgd": {"rules": "dpsgd(reproducible=true)"},
    }[how]
    own: dict[str, Any] = {"metrics": {"n": lambda y, p: len(y)}}
    own["partition"] = np.array_split(np.random.default_rng(0).permutation(1437), 7)
    if how != "client_dp":
        own["sampling"] = everybody
    result = fedflux.run(**options, **own)
    assert [r["metrics"]["n"] for r in result.history] == [360, 360]
    if how in ("secure", "dpsgd"):
        del own["sampling"], own["metrics"]
        assert fedflux.run(**options, **own).params_sha256 == result.params_sha256


@pytest.mark.parametrize("where", [{"workers": 2}, {"machines": ["other:2"]}])
def test_client_hooks_need_python_on_the_client(where: dict[str, Any]) -> None:
    hooks = {
        "client": sends_nothing,
        "receive": lambda self, params, ctx: params,
        "correct": Prox.correct,
    }
    for name, hook in hooks.items():
        with pytest.raises(
            fedflux.OptionError,
            match=rf"rule Mine: its hook {name} runs on the clients, and .* without Python",
        ):
            fedflux.run(**SMALL, rules=[rule(**{name: hook})], **where)


def test_server_side_functions_beside_worker_processes(julia: None) -> None:
    """All that runs on the server, in one run with real processes."""
    steps: Iterator[int] = iter(range(9))

    def step(params: Any, mean: Any, state: Any, ctx: Any) -> Any:
        return mean * (1 + next(steps) * 0)

    own: dict[str, Any] = {
        "aggregate": lambda updates, weights: median(updates, weights),
        "rules": [rule(server=sends_nothing)],
        "server": step,
        "sampling": everybody,
        "availability": everybody,
        "metrics": {"n": lambda y, p: len(y)},
        "partition": lambda labels, clients, rng: [
            np.arange(k, len(labels), clients) for k in range(clients)
        ],
    }
    two = SLOW | {"rounds": 2}
    result = fedflux.run(**two, **own, workers=1)
    here = fedflux.run(**two, **own)
    assert result.params_sha256 == here.params_sha256
    assert result.history[1]["metrics"] == {"n": 360}
    assert next(steps) == 4  # the function was called, in each of both runs


def test_what_the_reference_engine_refuses() -> None:
    with pytest.raises(fedflux.OptionError, match="rules: an object of your own needs eng"):
        fedflux.run(**(SLOW | {"engine": "reference"}), rules=Prox())
