"""
    FedFluxError(message)

A mistake in what the user gave: the message names the thing, what was expected, what came
and what to do.
"""
struct FedFluxError <: Exception
    message::String
end

Base.showerror(io::IO, e::FedFluxError) = print(io, "FedFluxError: ", e.message)

# Compiled once for all that errors are made of.
@noinline fail(@nospecialize(parts...)) = throw(FedFluxError(string(parts...)))

"The first line of an exception's message: what users read of an error that isn't ours."
first_line(err) = first(split(sprint(showerror, err), '\n'))
