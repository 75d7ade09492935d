# Samples that stay where they are, such as in a memory-mapped file: each is read, and
# converted, when a batch is gathered. Nothing here copies the whole.

"""
    Mapped(x)
    Mapped([x1, x2, …])

Samples that a run reads batch by batch, and never copies as a whole: for arrays that are
larger than the memory, such as those of `Mmap.mmap`. Several arrays count as one, with the
samples of each behind those of the one before.

- `x`: as [`Dataset`](@ref) takes it, (features, N), (W, H, N), (W, H, C, N) or tokens
  (T, N); 8-bit values are scaled to 0..1, floats become Float32, each when it is read.

The numbers of a run are those of the same array in memory. NaN and Inf are not looked for
ahead: a client that holds some gives an update that the round rejects. Worker processes,
`noise` partitions and attacks on data refuse such samples, since they copy the whole.

Throws a [`FedFluxError`](@ref) for arrays whose samples differ in size or type.

```julia
using Mmap
write("x.bin", rand(UInt8, 8, 8, 100))
x = open(io -> Mmap.mmap(io, Array{UInt8,3}, (8, 8, 100)), "x.bin")
Dataset(FedFlux.Mapped(x), repeat(0:9, 10), nothing, nothing)
```
"""
struct Mapped{T,N,S,A<:AbstractArray{S,N},F} <: AbstractArray{T,N}
    parts::Vector{A}
    starts::Vector{Int}       # the samples of part p are starts[p]:starts[p+1]-1
    change::F                 # of a value, and its place in its part
    owner::Any                # of the memory, kept alive
end

Mapped(x::AbstractArray; owner = nothing) = Mapped([x]; owner)

function Mapped(parts::AbstractVector{<:AbstractArray}; owner = nothing)
    isempty(parts) && fail("there are no arrays of samples; expected at least one")
    all(a -> eltype(a) <: Real && isbitstype(eltype(a)), parts) ||
        fail("samples to be mapped are ", eltype(first(parts)), "; expected numbers")
    check_one_size("x", parts)
    S = eltype(first(parts))
    all(a -> eltype(a) == S, parts) ||
        fail("samples to be mapped are of several types, ",
            join(unique(map(eltype, parts)), ", "), "; expected one")
    parts = identity.(parts)         # of one type of array, where they are
    return mapped(S, parts, cumsum([1; numobs.(parts)]), (v, i) -> v, owner)
end

mapped(T, parts::Vector{A}, starts, change::F, owner) where {S,N,A<:AbstractArray{S,N},F} =
    Mapped{T,N,S,A,F}(parts, starts, change, owner)

"The samples with `g(value, place)`, of type `T`, in the place of each value."
changed(T, g, x::Mapped) =
    mapped(T, x.parts, x.starts, Then(x.change, g), x.owner)

struct Then{F,G}
    first::F
    second::G
end
(t::Then)(v, i) = t.second(t.first(v, i), i)

sample_size(x::Mapped) = size(first(x.parts))[1:(end-1)]
Base.size(x::Mapped) = (sample_size(x)..., last(x.starts) - 1)
Base.IndexStyle(::Type{<:Mapped}) = IndexLinear()

function Base.getindex(x::Mapped, i::Int)
    @boundscheck checkbounds(x, i)
    m = prod(sample_size(x))
    k, j = fldmod1(i, m)
    values, before = sample_at(x, k, m)
    return values[before+j]
end

"The values of one part, in its own order."
struct PartValues{T,A,F} <: AbstractVector{T}
    part::A
    change::F
end
Base.size(v::PartValues) = (length(v.part),)
Base.@propagate_inbounds Base.getindex(v::PartValues{T}, i::Int) where {T} =
    v.change(v.part[i], i)::T

function sample_at(x::Mapped{T,N,S,A,F}, k, size) where {T,N,S,A,F}
    p = length(x.parts) == 1 ? 1 : searchsortedlast(x.starts, k)
    return PartValues{T,A,F}(x.parts[p], x.change), (k - x.starts[p]) * size
end

"The samples `idx`, in memory."
function MLUtils.getobs(x::Mapped{T}, idx::AbstractVector{<:Integer}) where {T}
    to = Array{T}(undef, sample_size(x)..., length(idx))
    checkbounds(x, prod(sample_size(x)) .* idx)
    gather_samples!(to, x, idx)
    return to
end

"Gather the samples `idx` of `from`, one after the other."
function gather_samples!(to, from, idx)
    m = length(from) ÷ size(from, ndims(from))
    for (i, k) in enumerate(idx)
        values, before = sample_at(from, k, m)
        copyto!(to, (i - 1) * m + 1, values, before + 1, m)
    end
end

"Throw if samples are mapped, for what would copy all of them."
must_be_in_memory(x, what) = nothing
must_be_in_memory(x::Mapped, what) =
    fail(what, " copies all samples, and these are mapped to a file and stay there: leave ",
        "it out, or give the samples as an array in memory")
