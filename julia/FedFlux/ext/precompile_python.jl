# A run as the Python front calls it. PythonCall compiles little of what a call needs when
# it is installed itself: without this, a first run from Python compiles for seconds.

const CALLS = """
import numpy

def run(core, config, x, y):
    numbers = [numpy.ascontiguousarray(a).T for a in (x, y, x, y)]
    for data in (None, (*numbers, *[None] * 5)):
        answer, arrays, result = core._pyrun(
            config, data, None, None, lambda kind, payload: str(kind) == "", None, False
        )
        [numpy.array(a, dtype=numpy.float32).T for a in arrays], str(answer)

def calls(core, config):
    rng = numpy.random.default_rng(0)
    y = numpy.arange(20) % 2
    run(core, config, rng.normal(size=(20, 3)).astype(numpy.float32), y)
    run(core, config, rng.integers(0, 255, size=(20, 8, 8), dtype=numpy.uint8), y)
"""

const SMALL_RUN = """{"dataset": "digits", "model": "mlp", "hidden": [4], "rounds": 1,
    "clients": 2, "local_steps": 1, "rules": []}"""

@setup_workload begin
    if workload_enabled(FedFlux)
        # Python may be none of ours, without NumPy, where the core is used from Julia; and
        # what is wrong here must cost time alone.
        try
            calls = pyexec(@NamedTuple{calls::Py}, CALLS, pydict()).calls
            @compile_workload calls(FedFlux, SMALL_RUN)
        catch err
            @warn "calls from Python are compiled when they are first made" err
        end
        # What it found out about this process's types means nothing in the next.
        foreach(empty!, values(PythonCall.Convert.PYCONVERT_RULES_CACHE))
    end
end
