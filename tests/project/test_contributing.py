"""The changes that CONTRIBUTING.md shows as diffs apply, and what they add works."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fedflux._julia.project import find_julia

from ..conftest import ROOT

DIFFS = re.findall(r"```diff\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)

# The core with all changes, loaded from its source; each new thing is held against what it
# should do: a known answer, or a bound that follows from its definition.
CHECK = """
include("julia/FedFlux/src/FedFlux.jl")
using .FedFlux
x, y = randn(Float32, 6, 60), repeat(0:2, 20)
data = Dataset(x, y, x, y)
run(; kw...) = FedFlux.run(; dataset = data, clients = 3, rounds = 1, local_steps = 4,
                           model = "mlp", hidden = [5], lr = 0.5, kw...)
change(r) = sqrt(sum(abs2, FedFlux.flatten(r.model) - start))
start = FedFlux.flatten(run(lr = 1e-12).model)
@assert change(run()) > 0.02
@assert 0.002 < change(run(rules = "clipgrad(c=0.01)")) <= 4 * 0.5 * 0.01 + 1e-4
vote = FedFlux.flatten(run(aggregate = "sign_vote(step=0.25)").model) - start
is_step(v) = isapprox(abs(v), 0.25; atol = 1e-4) || v == 0
@assert all(is_step, vote) && any(!=(0), vote)
parts = FedFlux.LabelBlocks()([1, 0, 2, 1, 0, 2], 3, nothing)
@assert parts == [[2, 5], [1, 4], [3, 6]]
@assert maximum(length, unique.(FedFlux.LabelBlocks()(y, 3, nothing))) == 20
model = run(model = "tanh_mlp").model
@assert model[2].σ === tanh && size(model(x)) == (3, 60)
println("all four work")
"""


def copied(folder: Path) -> Path:
    """Copy the tree that git tracks, with its changes."""
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def apply(diff: str, folder: Path) -> None:
    command = ["git", "apply", "--unidiff-zero", "-"]
    env = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    done = subprocess.run(
        command, input=diff, cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_there_is_a_diff_for_each_kind() -> None:
    titles = ["an algorithm", "an aggregator", "a partition", "a model"]
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert re.findall(r"^## Add (.*)$", text, re.M) == titles
    assert len(DIFFS) == len(titles)
    for diff in DIFFS:
        added = [line for line in diff.splitlines() if re.match(r"\+(?!\+\+ )", line)]
        assert 0 < len(added) <= 40
        assert all(len(line) <= 93 for line in added if not line.startswith("+|"))


@pytest.mark.parametrize(
    "diff", DIFFS, ids=["algorithm", "aggregator", "partition", "model"]
)
def test_each_diff_applies(diff: str, tmp_path: Path) -> None:
    apply(diff, copied(tmp_path))


def test_all_four_changes_work(julia: None, tmp_path: Path) -> None:
    tree = copied(tmp_path)
    for diff in DIFFS:
        apply(diff, tree)
    exe, project = find_julia()
    assert exe is not None
    core = tree / "julia" / "FedFlux"
    shutil.copyfile(project / "Manifest.toml", core / "Manifest.toml")
    (tree / "check.jl").write_text(CHECK)
    done = subprocess.run(
        [exe, f"--project={core}", "--startup-file=no", "check.jl"],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert "all four work" in done.stdout, done.stdout + done.stderr
