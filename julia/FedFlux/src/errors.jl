"""
    FedFluxError(message)

A mistake in what the user gave: the message names the thing, what was expected, what came
and what to do. [`help_address`](@ref) says what to read about it.
"""
struct FedFluxError <: Exception
    message::String
end

Base.showerror(io::IO, e::FedFluxError) = print(io, "FedFluxError: ", e.message)

function Base.showerror(io::IO, e::FedFluxError, bt; backtrace = true)
    showerror(io, e)
    print(io, "\nsee ", help_address(e))
    return backtrace ? Base.show_backtrace(io, bt) : nothing
end

# The kinds of errors, each with what its messages have; Python reads the same table.
const ERRORS_FILE = joinpath(@__DIR__, "options", "errors.toml")
include_dependency(ERRORS_FILE)
const ERROR_KINDS = [
    kind["name"]::String => Regex(join(kind["texts"], '|')) for
    kind in TOML.parsefile(ERRORS_FILE)["kind"]
]
const ENTRIES = "https://fedflux.github.io/fedflux/errors/"

"""
    FedFlux.help_address(error) -> address

The address of the entry on a [`FedFluxError`](@ref), or on a message of one, with its
causes and remedies. If no entry fits, it is that of the whole page.

```julia
FedFlux.help_address(FedFluxError("rounds: expected at least 1, got 0"))
# "https://fedflux.github.io/fedflux/errors/#values-out-of-range"
```
"""
help_address(error::FedFluxError) = help_address(error.message)

function help_address(message::AbstractString)
    found = findfirst(kind -> occursin(last(kind), message), ERROR_KINDS)
    return found === nothing ? ENTRIES : string(ENTRIES, '#', first(ERROR_KINDS[found]))
end

# Compiled once for all that errors are made of.
@noinline fail(@nospecialize(parts...)) = throw(FedFluxError(string(parts...)))

"The first line of an exception's message: what users read of an error that isn't ours."
first_line(err) = first(split(sprint(showerror, err), '\n'))
