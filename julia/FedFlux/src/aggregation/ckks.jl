# The weighted mean under homomorphic encryption: CKKS, by Python's TenSEAL.

"""
What Python provides: `CKKS_PARTIES[](poly_modulus_degree, coeff_mod_bit_sizes, scale_bits)`
checks the parameters, makes a key and gives the parties, which [`encrypted_sum`](@ref)
takes. In a deployment the parties are those of the server alone, and
[`ask_party`](@ref) calls them. `nothing` if Julia was not started by the Python package.
"""
const CKKS_PARTIES = Ref{Any}(nothing)

"""
    CKKS(poly_modulus_degree = 8192, coeff_mod_bit_sizes = [60, 60], scale_bits = 40)

The weighted mean ([`Mean`](@ref)) of updates that the server can't read: clients share a
secret key and encrypt, the server adds without a key, clients decrypt the sum and divide it
by the sum of the weights. Vectors, statistics and metrics are encrypted alike. CKKS is
approximate: values are off by about 1e-9, differently in each run. Cheon, Kim, Kim, Song
2017 (eprint.iacr.org/2016/421). The names of the parameters are SEAL's.

Works from Python, with the extra `fedflux[he]`; elsewhere a [`FedFluxError`](@ref). Holds
the updates of a round in memory, and one encrypted update.
"""
struct CKKS <: Aggregator
    poly_modulus_degree::Int
    coeff_mod_bit_sizes::Vector{Int}
    scale_bits::Int
    parties::Any
    function CKKS(poly_modulus_degree = 8192, coeff_mod_bit_sizes = [60, 60],
        scale_bits = 40)
        CKKS_PARTIES[] === nothing &&
            fail("CKKS needs TenSEAL, a Python package: run pip install 'fedflux[he]', ",
                "and start the run from Python with fedflux.run(aggregate=\"ckks\", …), ",
                "or with fedflux run --aggregate ckks")
        parties = CKKS_PARTIES[](poly_modulus_degree, coeff_mod_bit_sizes, scale_bits)
        return new(poly_modulus_degree, coeff_mod_bit_sizes, scale_bits, parties)
    end
end

construct(::Val{:aggregate}, ::Val{:ckks}; poly_modulus_degree, coeff_mod_bit_sizes,
    scale_bits) = CKKS(poly_modulus_degree, coeff_mod_bit_sizes, scale_bits)

Base.show(io::IO, a::CKKS) = print(io, "CKKS(", a.poly_modulus_degree, ", ",
    a.coeff_mod_bit_sizes, ", ", a.scale_bits, ")")

"""
    encrypted_sum(parties, vectors, shares)

Σ shareᵢ·vectorᵢ by way of encryption, and its costs, a NamedTuple of `bytes_up`, what all
clients send, `bytes_sum`, what the server sends to each, and more. The PythonCall extension
adds the method for Python's parties.
"""
function encrypted_sum end

"""
    ask_party(T, party, name, arguments...) -> T

Call a method of one of Python's parties, with numbers, vectors and bytes. What it refuses
becomes a [`FedFluxError`](@ref). The PythonCall extension adds the method.
"""
function ask_party end

"""
The sum that a deployment's clients gave, of updates of the shape `like` times shares that
add up to `shares`, and their weights to `weight`; `nothing` if there is none, and why.
Bytes are those of the protocol.
"""
struct Decrypted
    sum::Union{Nothing,Vector{Float64}}
    like::Update
    shares::Float64
    weight::Float64
    aborted::Union{Nothing,String}
    bytes_up::Int
    bytes_down::Int
    report::NamedTuple
end

mutable struct ToEncrypt
    n::Int                              # of the cohort
    like::Any                           # an update of the shape of all
    vectors::Vector{Vector{Float32}}
    weights::Vector{Float64}
    report::NamedTuple
    decrypted::Union{Nothing,Decrypted}     # in a deployment, where there are no vectors
    total::Any                          # the sum, see `total`
end

ismean(::CKKS) = true

start(::CKKS, n, reference) =
    ToEncrypt(n, nothing, Vector{Float32}[], Float64[], (;), nothing, nothing)

# The updates wait for `finish`, which the round calls in the task that Python called: other
# threads must not call Python.
function add!(::CKKS, acc::ToEncrypt, u, weight)
    acc.like === nothing && (acc.like = map(similar, u))
    push!(acc.vectors, concatenated(Float32, parts(u)))
    push!(acc.weights, weight)
    return acc
end

# A client multiplies by its weight, over the largest of the round, which the server knows.
# The division by the sum comes after decryption: it needs to know who answered, and makes
# the error smaller.
function finish(a::CKKS, acc::ToEncrypt, threads)
    acc.decrypted === nothing || return mean_of_decrypted!(acc, acc.decrypted)
    sum(acc.weights; init = 0.0) > 0 || return nothing
    shares = acc.weights ./ maximum(acc.weights)
    total, costs = encrypted_sum(a.parties, acc.vectors, shares)
    mean = total ./ sum(shares)
    acc.total = sums_like(acc.like, total .* maximum(acc.weights))
    # Clients hold the model, which the server can't read: each downloads the sum instead.
    acc.report = (; costs..., bytes_down = acc.n * costs.bytes_sum,
        error = error_of(mean, acc.vectors, shares))
    return split_like(acc.like, mean)
end

function mean_of_decrypted!(acc::ToEncrypt, d::Decrypted)
    acc.report = d.report
    (d.sum === nothing || d.shares == 0) && return nothing
    acc.total = sums_like(d.like, d.sum .* (d.weight / d.shares))
    return split_like(d.like, d.sum ./ d.shares)
end

total(::CKKS, acc::ToEncrypt) = acc.total

report(::CKKS, acc::ToEncrypt) = acc.report

protocol(::CKKS, acc::ToEncrypt) =
    acc.decrypted === nothing ? nothing :
    (; acc.decrypted.aborted, left_out = (), blamed = (), acc.decrypted.bytes_up,
        acc.decrypted.bytes_down)

"How far a mean is from the one that is computed without encryption."
function error_of(mean, vectors, shares)
    plain = zeros(length(mean))
    for (v, share) in zip(vectors, shares)
        add_scaled!(plain, v, share)
    end
    return maximum(((x, s),) -> abs(x - s / sum(shares)), zip(mean, plain); init = 0.0)
end

"The values of one vector as an update of the shape of `like`."
function split_like(like::Update, v)
    (; vectors, stats, metrics) = sums_like(like, v)
    rounded(x) = Vector{Float32}(x)
    return Update(map(rounded, vectors), rounded(stats), map(rounded, metrics))
end

"The same in Float64, as [`total`](@ref) gives sums."
function sums_like(like::Update, v)
    used = 0
    next(part) = v[(used+1):(used+=length(part))]
    vectors = map(next, like.vectors)
    stats = next(like.stats)
    return (; vectors, stats, metrics = map(next, like.metrics))
end
