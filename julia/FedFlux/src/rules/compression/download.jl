# Compression of what the server sends.

"""
    Download(compressor)

Compress the server's step Δ with a [`Compressor`](@ref). The server keeps what was lost and
adds it to the next step (error feedback on both sides: DoubleSqueeze, Tang et al. 2019,
arXiv:1905.05957, Algorithm 1). The server takes the decoded step itself, so clients train
from exactly the model that the server has.

A client receives the messages of all rounds since it last took part. It receives the whole
model if that is smaller, or when it takes part for the first time. `Download` must be the
last rule. In a run, use the option `download`.

```julia
Federated(case_study_cnn(); rules = (TopK(0.01), Download(TopK(0.05))))
```
"""
struct Download{C<:Compressor} <: Rule
    compressor::C
end

Download(r::CountSketch) =
    fail("download is a sketch, which only averages over clients; expected another ",
        "compressor")
Download(r::Rule) =
    fail("download is ", r, "; expected a compressor, such as topk(fraction=0.05)")

init(::Download, θ) = ((; residual = nothing, sizes = Int[]), 0)
client!(::Download, s, u, ctx) = (ctx.round, u)

function publish!(r::Download, s, Δ, ctx)
    encoded, residual = compress(r.compressor, Δ, s.shared.residual, ctx.rng, ctx.layout)
    feedback(r.compressor) || (residual = nothing)
    # rounds that published nothing
    missed = zeros(Int, ctx.round - 1 - length(s.shared.sizes))
    return (; residual, sizes = [s.shared.sizes; missed; wire_bytes(encoded)]), encoded
end

# s.private is the last round in which the client took part; sizes[t] is the number of bytes
# that round t published.
function download_bytes(::Download, s, bytes, ctx)
    # A client on a machine of its own isn't told the sizes: its server counts.
    (s.private == 0 || s.shared === nothing) && return bytes
    return min(bytes, sum(@view s.shared.sizes[s.private:end]))
end
