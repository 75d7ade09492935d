"""What a new process compiles before its first round from Python ends."""

import os
from pathlib import Path

from ..conftest import Run

# What a first run may compile. It grows when a call between Python and the core, or a type
# in a round, is not in the workload (julia/FedFlux/src/interface/precompile.jl).
MOST = 180


def test_calls_into_the_core_are_compiled_at_installation(
    julia: None, python: Run, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.jl"
    run = "import fedflux; fedflux.run(dataset='digits', rounds=1, local_steps=1)"
    python(run, env=os.environ | {"PYTHON_JULIACALL_TRACE_COMPILE": str(trace)})
    methods = trace.read_text().splitlines()
    dear = ("_pyrun", "pyconvert_get_rules", "get_buffer_impl", "pyjlany_call", "execute")
    again = [line for line in methods if any(name in line for name in dear)]
    assert again == []
    assert methods  # the trace was written
    assert len(methods) < MOST
