# The other direction: what the server sends is compressed too.

"""
    Download(compressor)

The server sends its step Δ through a [`Compressor`](@ref), keeps what was lost, and adds it to the next step (error
feedback on both sides: DoubleSqueeze, Tang et al. 2019, arXiv:1905.05957, Algorithm 1). The server takes the decoded step
itself, so clients train from the very model that the server has.

A client receives the messages of all rounds since it last took part, or the whole model where that is smaller or where it
takes part for the first time. Comes last in a chain of rules. In a run: the option `download`.

```julia
Federated(case_study_cnn(); rules = (TopK(0.01), Download(TopK(0.05))))
```
"""
struct Download{C<:Compressor} <: Rule
    compressor::C
end

Download(r::CountSketch) = fail("download is a sketch, which only averages over clients; expected another compressor")
Download(r::Rule) = fail("download is ", r, "; expected a compressor, such as topk(fraction=0.05)")

place(::Download) = 3
init(::Download, θ) = ((; residual = nothing, sizes = Int[]), 0)
client!(::Download, s, u, ctx) = (ctx.round, u)

function publish!(r::Download, s, Δ, ctx)
    coded, residual = compress(r.compressor, Δ, s.shared.residual, ctx.rng, ctx.layout)
    feedback(r.compressor) || (residual = nothing)
    missed = zeros(Int, ctx.round - 1 - length(s.shared.sizes))      # rounds that published nothing
    return (; residual, sizes = [s.shared.sizes; missed; wiresize(coded)]), coded
end

# s.private is the round whose model the client has at its end of training; sizes[t] is what round t published.
function received(::Download, s, bytes, ctx)
    s.private == 0 && return bytes
    return min(bytes, sum(@view s.shared.sizes[s.private:end]))
end
