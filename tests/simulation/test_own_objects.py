"""docs/extending.md: each section's files and code, as a user would run them."""

import re
from pathlib import Path
from typing import Any

import pytest

import fedflux

from ..conftest import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))


def test_from_nothing_to_a_run_with_an_aggregator_and_a_metric(julia: None) -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.partition("\n## ")[0], re.S)[0]
    assert len([line for line in code.splitlines() if line]) <= 20
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    assert names["result"].options["aggregate"] == "midrange"
    assert 0.5 < names["result"].history[-1]["metrics"]["worst"] < names["result"].accuracy


@pytest.mark.parametrize("section", [s for s in SECTIONS if "fedflux.run(" in SECTIONS[s]])
def test_the_python_of_a_section(
    julia: None, section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = SECTIONS[section]
    for name, code in re.findall(r"```julia\n# (\w+\.jl)\n(.*?)```", text, re.S):
        (tmp_path / name).write_text(code)
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.S))
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    result = names["result"]
    assert result.engine == "julia"
    assert len(result.history) >= 3
    expected = {
        "An aggregator in Python": {"aggregate": "momentum"},
        "A rule in Python": {"rules": ["Drift", "quantize(bits=8)"]},
        "Cohorts, partitions and the server's step in Python": {
            "partition": "largest_labels_last",
            "sampling": "half",
            "availability": "awake",
            "server": "step",
        },
        "A metric in Python": {"metrics": ["f1", "confidence", "auc"]},
        "A rule in Julia": {"rules": ["Clip", "fedprox(mu=0.01)"]},
        "An aggregator in Julia": {"aggregate": "Midrange"},
        "A partition in Julia": {"partition": "deal"},
        "A model and a loss": {"model": "Chain", "loss": "smoothed"},
        "A metric": {},
    }[section]
    assert {name: result.options[name] for name in expected} == expected
    if section == "A metric":
        assert names["near"] > result.score(names["x"], names["y"])
        return
    if section == "A metric in Python":
        figures = result.history[-1]["metrics"]
        assert (result.stopped, figures["f1"] >= 0.93) == ("target_metric", True)
        assert figures["auc"] > figures["f1"] > 0
        return
    plain = fedflux.run(
        dataset="digits", model="mlp", hidden=[20], rounds=3, lr=0.5, engine="julia"
    )
    assert result.params_sha256 != plain.params_sha256
    more = fedflux.run(resume=result, rounds=4)  # the objects are kept
    assert more.details["resumed"] == 3
    assert more.options == result.options | {"rounds": 4, "engine": "julia"}


def test_objects_of_a_wrong_kind(julia: None) -> None:
    from juliacall import Main as jl

    with pytest.raises(
        fedflux.FedFluxError, match="option rules holds a RefValue; expected"
    ):
        fedflux.run(dataset="digits", rules=[jl.seval("Ref(1)"), "fedprox"])
    with pytest.raises(fedflux.OptionError, match="rounds: expected an integer, got a Jul"):
        fedflux.run(dataset="digits", rounds=jl.seval("Ref(1)"))
    with pytest.raises(fedflux.OptionError, match="an object of your own needs en"):
        fedflux.run(dataset="digits", partition=jl.seval("deal"), engine="reference")
