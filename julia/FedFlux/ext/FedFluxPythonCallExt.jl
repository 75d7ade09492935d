# What the Python front needs beyond the core: its truth values, Ctrl-C and CKKS; and the
# calls between both languages, compiled when the package is installed.
module FedFluxPythonCallExt

using FedFlux: FedFlux
using PrecompileTools: @compile_workload, @setup_workload, workload_enabled
using PythonCall: PythonCall, Py, PyException, pybuiltins, pybytes, pyconvert, pydict,
    pyexec, pygetattr, pyimport, pyissubclass

FedFlux.as_bool(x::Py) = pyconvert(Bool, x)

FedFlux.is_interrupt(err::PyException) = pyissubclass(err.t, pybuiltins.KeyboardInterrupt)

function FedFlux.encrypted_sum(parties::Py, vectors, shares)
    sum, costs = parties(vectors, shares)
    named = sort!(collect(pyconvert(Dict{Symbol,Any}, costs)); by = first)
    return pyconvert(Vector{Float64}, sum), NamedTuple(named)
end

function FedFlux.ask_party(::Type{T}, party::Py, name, arguments...) where {T}
    try
        return pyconvert(T, pygetattr(party, name)(map(to_python, arguments)...))
    catch err
        ours = pyimport("fedflux.errors").FedFluxError
        err isa PyException && pyissubclass(err.t, ours) || rethrow()
        FedFlux.fail(string(err.v))
    end
end
to_python(x) = x
to_python(x::Vector{UInt8}) = pybytes(x)

FedFlux.call_python(::Type{T}, f::Py, arguments...) where {T} =
    pyconvert(T, f(arguments...))

include("precompile_python.jl")

end
