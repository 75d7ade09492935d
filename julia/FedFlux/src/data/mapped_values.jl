# What is done to samples in memory, done to each value of mapped ones when it is read.

dtype_name(x::Mapped{T,N,S}) where {T,N,S} = dtype_name(S[])

function check_samples(name, x::Mapped{T}) where {T}
    ndims(x) in 2:4 ||
        fail(name, " has ", ndims(x),
            " dimensions; expected (features, N), (W, H, N) or (W, H, C, N)")
    T in (UInt64, Int128, UInt128) &&
        fail(name, " are ", T, "; expected whole numbers of at most 64 bits with a sign")
    x = ndims(x) == 3 ? with_channel(x) : x
    T == UInt8 && return changed(Float32, (v, i) -> Float32(v) / 255.0f0, x)
    kept = T <: Integer ? Int : dtype_name(x) == "float64" ? Float64 : Float32
    return T == kept ? x : changed(kept, (v, i) -> kept(v), x)
end

with_channel(x::Mapped{T}) where {T} =
    mapped(T, [reshape(a, size(a, 1), size(a, 2), 1, size(a, 3)) for a in x.parts],
        x.starts, x.change, x.owner)

in_float32(x::Mapped{Float64}) = as_inputs(x, false)

function as_floats(x::Mapped{<:Integer})
    all(v -> abs(v) <= 2^24, x) && return changed(Float32, (v, i) -> Float32(v), x)
    return changed(Float64, (v, i) -> Float64(v), x)
end

as_inputs(x::Mapped{T}, tokens) where {T} =
    tokens ? (check_tokens(x); changed(Int, (v, i) -> v + 1, x)) :
    T == Float32 ? x : changed(Float32, (v, i) -> Float32(v), x)

standardize(x::Mapped{T}, mean, std) where {T<:AbstractFloat} =
    changed(Float32, Standard(x, T.(mean), T.(std)), x)

"`(value - mean) / std` of the channel at a place."
struct Standard{M,S}
    mean::M
    std::S
    inner::Int        # values of a channel in a sample
    channels::Int
end

Standard(x, mean, std) =
    Standard(
        in_a_list(mean),
        in_a_list(std),
        prod(size(x)[1:(end-2)]),
        size(x, ndims(x) - 1)
    )

in_a_list(moment) = moment
in_a_list(moment::AbstractArray) = vec(moment)
at_channel(moment, c) = moment
at_channel(moment::Vector, c) = moment[c]

function (s::Standard)(v, i)
    c = (i - 1) ÷ s.inner % s.channels + 1
    return Float32((v - at_channel(s.mean, c)) / at_channel(s.std, c))
end
