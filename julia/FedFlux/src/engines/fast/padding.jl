# Sequences of different lengths: the engine finds the lengths of a batch when it stages it,
# for the operations that look at more than one step.

"What fills the sequences of a model up, or `nothing`. `Padded` comes first in a model."
padding_of(m::Padded) = m.padding
padding_of(m) = nothing
function padding_of(m::Chain)
    layers = collect(Any, values(m.layers))
    i = findfirst(!=(as_sequence), layers)
    return i === nothing ? nothing : padding_of(layers[i])
end

"Throw if layers for padded sequences don't come first."
check_padded(model) =
    count(l -> l isa Padded, Flux.modules(model)) <= (padding_of(model) !== nothing) ||
    unsupported("Padded must be the first layer of the model, and stand there once")

"The number of real steps of sample `n` (from 0), out of `T`."
@inline real_length(lengths::Vector{Int}, n, T) =
    isempty(lengths) ? T : @inbounds lengths[n+1]

"Find the lengths of `n` staged samples of `T` steps, `size` values each."
function find_lengths!(lengths, staged::Ptr, n, size, T, padding)
    for i = 1:n
        k = i * size * T      # the last value of the sample
        while k > (i - 1) * size * T && unsafe_load(staged, k) == padding
            k -= 1
        end
        lengths[i] = max(1, cld(k - (i - 1) * size * T, size))
    end
end
