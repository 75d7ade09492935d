# The weighted mean by secure aggregation, simulated with all its parties.

"""
    SecureMean(; neighbours = nothing, threshold = 0.6, range = 8.0, bits = nothing,
               ring = 32, drop = 0.0, noise = nothing, clip = nothing, cohort = nothing,
               law = :discrete_gaussian, delta = 1e-5, budget = nothing)

The weighted mean of the updates, as the server computes it without seeing any of them:
secure aggregation (Bonawitz et al. 2017, CCS) with the neighbor graph of SecAgg+ (Bell et
al. 2020, CCS), one party for each client. docs/secure-aggregation.md says who learns what.

- `neighbours`: with how many others a client shares masks and secrets, an even number;
  `nothing`: with all others.
- `threshold`: this share of each client's neighbors must answer to the end, or the round
  leaves the model as it was.
- `range`: a client clips each value of its vectors to `-range` … `range`; statistics and
  metrics, which take two integers each, reach 2^(bits-1) times as far. Clipping changes the
  mean: `clipped` in the history counts such values, and the first cause a warning.
- `bits`: of the integer that stands for a value; `nothing`: as many as the ring holds for
  the cohort, at most 24.  `ring`: sums are modulo 2^32 or 2^64.
  In [`combine_updates`](@ref), `reference = (; seed, round, max_weight)` gives what a run
  knows: the largest weight of any client, 1 by default.
- `drop`: the probability with which a simulated client vanishes in each of the four stages.
- `clip`, `noise`: differential privacy without trust in the server. Each client scales its
  vectors and statistics down to the L2 norm `clip` and adds its share of the noise before
  it masks, so that the sum of the cohort has `noise` times the sensitivity as its
  deviation. Needs equal weights. Clients that vanish take their share of it along; a round
  with fewer than `threshold` of the cohort is aborted.
- `cohort`: how many clients' noise together is `noise` times the sensitivity; `nothing`:
  that of the cohort. In a deployment a client must know it by itself: with the server's
  word for it, a number that is too large would leave next to no noise.
- `law`: of the noise, `:discrete_gaussian` (Kairouz, Liu, Steinke 2021, arXiv:2102.06387)
  or `:skellam` (Agarwal, Kairouz, Liu 2021, arXiv:2110.04995).
- `delta`: δ, for which the history tells ε after each round with noise, for a client that
  took part in all.  `budget`: the ε that a run must not exceed; it ends before.

The result is that of fixed point, exactly: Σ rₖ / Σ wₖ with rₖ = wₖ·clip(uₖ)
rounded to a multiple of `max_weight·range/2^(bits-1)`. Without noise it depends on no
secret, so runs are the same each time. Noise comes from the operating system. Throws a
[`FedFluxError`](@ref) for weights that aren't whole numbers, and, before anything is sent,
for `bits` with which the cohort's sum would wrap around.

```julia
updates = [Update(; delta = Float32[k, 1]) for k in 1:3]
combine_updates(SecureMean(), updates).delta     # Float32[2, 1]
```
"""
struct SecureMean <: Aggregator
    neighbours::Union{Nothing,Int}
    threshold::Float64
    range::Float64
    bits::Union{Nothing,Int}
    ring::Int
    drop::Float64
    noise::Union{Nothing,Float64}
    clip::Union{Nothing,Float64}
    cohort::Union{Nothing,Int}
    law::Symbol
    delta::Float64
    budget::Union{Nothing,Float64}
end

function SecureMean(; neighbours = nothing, threshold = 0.6, range = 8.0,
    bits = nothing, ring = 32, drop = 0.0, noise = nothing, clip = nothing,
    cohort = nothing, law = :discrete_gaussian, delta = 1e-5, budget = nothing)
    check_graph(neighbours, threshold)
    ring in (32, 64) || fail("SecureMean: ring is ", ring, "; expected 32 or 64 bits")
    0 <= drop <= 1 || fail("SecureMean: drop is ", drop, "; expected a probability")
    (noise === nothing) == (clip === nothing) ||
        fail("SecureMean: noise is ", noise, " and clip ", clip, "; expected both or none")
    for (name, v) in pairs((; noise, clip, budget))
        v === nothing || 0 < v < Inf ||
            fail("SecureMean: ", name, " is ", v, "; expected a positive number")
    end
    for (name, v) in pairs((; budget, cohort))
        v === nothing || noise !== nothing ||
            fail("SecureMean: ", name, " is ", v, ", and there is no noise; give noise ",
                "and clip too")
    end
    cohort === nothing || cohort >= 3 ||
        fail("SecureMean: cohort is ", cohort, "; expected 3 or more clients")
    Symbol(law) in NOISE_LAWS || fail("SecureMean: law is ", repr(law), "; expected ",
        join(repr.(NOISE_LAWS), " or "))
    0 < delta < 1 ||
        fail("SecureMean: delta is ", delta, "; expected a number between 0 and 1")
    clip === nothing || clip <= range ||
        fail("SecureMean: clip is ", clip, " and range ",
            range, ", and a value may be as large as the clip; use range=", clip)
    a = SecureMean(neighbours, threshold, range, bits, ring, drop, noise, clip, cohort,
        Symbol(law), delta, budget)
    fixed_point(a, 3)
    return a
end

"The fixed point of a cohort of `n`, or an error if it is too small."
fixed_point(a::SecureMean, n) = fixed_point(a, n, a.ring == 32 ? UInt32 : UInt64)
function fixed_point(a::SecureMean, n, ::Type{T}) where {T}
    more = sqrt(max(1, n / noise_cohort(a, n)))     # a cohort that is larger has more noise
    noise = something(a.noise, 0.0) * something(a.clip, 0.0) * more
    return FixedPoint{T}(n; a.range, a.bits, noise)
end

"How many clients' noise together is enough: what the rule says, before what a server does."
noise_cohort(a::SecureMean, n) = something(a.cohort, n)

"Whether a client knows by itself how much noise its share is."
knows_cohort(a::SecureMean) = a.noise === nothing || a.cohort !== nothing

"The noise of each of `n` clients, whose updates have `values` numbers."
distributed_noise(a::SecureMean, fixed, n, values) =
    DistributedNoise(fixed, a.noise, a.clip, noise_cohort(a, n), values; a.law)

"How many of a cohort of `n` must be in its sum: noise for fewer would be too little."
fewest_senders(a::SecureMean, n) =
    a.noise === nothing ? 3 : max(3, ceil(Int, a.threshold * noise_cohort(a, n)))

min_updates(::SecureMean) = 3       # of two, each would learn the other's update
needs_round(::SecureMean) = true
ismean(::SecureMean) = true

function worth_warning(a::SecureMean, report::NamedTuple)
    clipped = something(get(report, :clipped, 0), 0)
    clipped == 0 && return nothing
    return "$clipped values of the clients went beyond the range of secure, " *
           "±$(a.range), and were clipped, so that the mean is another: give a larger " *
           "range, such as secure(range=$(8 * a.range), ring=64)"
end
update_bytes(::SecureMean, u) = 0   # an update is sent under its masks, at the end

"The updates of a cohort, as the integers that its clients mask."
mutable struct SecureCohort{T<:Ring}
    n::Int
    fixed::FixedPoint{T}
    noise::Union{Nothing,DistributedNoise}      # of each client, from the first update on
    facts::@NamedTuple{seed::UInt64, round::Int, max_weight::Float64}
    like::Any                       # the shape of the first update
    inputs::Vector{Vector{T}}
    outcome::Union{Nothing,SecureOutcome{T}}
    clipped::Int
end

start(a::SecureMean, n, ::Nothing) =
    start(a, n, (; seed = UInt64(0), round = 1, max_weight = 1.0))
function start(a::SecureMean, n, facts)
    a.noise === nothing || facts.max_weight == 1 ||
        fail("SecureMean: with noise the updates count the same, and a weight may be ",
            facts.max_weight, "; use weights=uniform")
    used = (; facts.seed, facts.round, facts.max_weight)
    return SecureCohort(n, fixed_point(a, n), used)
end
SecureCohort(n, fixed::FixedPoint{T}, facts) where {T} =
    SecureCohort{T}(n, fixed, nothing, facts, nothing, [], nothing, 0)

function add!(a::SecureMean, acc::SecureCohort{T}, u, weight) where {T}
    (; fixed, facts) = acc
    0 <= weight <= facts.max_weight && isinteger(weight) ||
        fail("SecureMean: a weight is ", weight, "; expected a whole number up to ",
            facts.max_weight)
    allfinite(u) || fail("SecureMean: an update holds NaN or Inf, which has no integer")
    expect_shape!(a, acc, shape(u))
    push!(acc.inputs, masked_input(a, acc, u, weight))
    return acc
end

"Take the shape that all updates have, and the noise that clients add to such."
function expect_shape!(a::SecureMean, acc::SecureCohort, like)
    acc.like === nothing || return
    acc.like = like
    a.noise === nothing && return
    values = sum(like.vectors; init = 0) + like.stats
    acc.noise = distributed_noise(a, acc.fixed, acc.n, values)
end

"The integers that a client masks: its update, clipped and with noise if there is any."
function masked_input(a::SecureMean, acc::SecureCohort, u, weight)
    a.noise === nothing || (u = clipped_for_noise(u, a.clip))
    return as_integers(acc.fixed, u, weight, acc.facts.max_weight, acc.noise)
end

function clipped_for_noise(u, clip)
    isempty(u.metrics) || fail("SecureMean: noise covers vectors and statistics, and an ",
        "update has the metrics ", join(keys(u.metrics), ", "),
        ", which it would not hide")
    return clip_update(u, clip)
end

"""
All that a client sends, as integers: its vectors; and as wide numbers its statistics, its
metrics, its weight, and how many values were clipped, which stays a secret under noise.
"""
function as_integers(f::FixedPoint{T}, u, weight, max_weight, noise = nothing) where {T}
    narrow, wide = values(u.vectors), (u.stats, values(u.metrics)...)
    weight <= widest(f) || fail("SecureMean: the weight ", weight, " goes beyond ",
        widest(f), ", the most that ", f.bits, " bits hold; use more bits")
    places = places_of(shape(u))
    out = Vector{T}(undef, last(last(places)))
    clipped = sum(zip((narrow..., wide...), places)) do (v, place)
        quantize!(f, view(out, place), decoded(v), weight / max_weight)
    end
    write_wide!(f, view(out, places[end-1]), Int64(weight))
    write_wide!(f, view(out, places[end]), noise === nothing ? Int64(clipped) : 0)
    random = noise === nothing ? nothing : SecureRandom()
    foreach(p -> add_noise!(view(out, p), noise, f, random), places[1:length(narrow)])
    add_wide_noise!(view(out, places[length(narrow)+1]), noise, f, random)
    return out
end

"Where each part of an update of a shape stands among its integers, the weight, the count."
places_of(like) = consecutive((values(like.vectors)...,
    (2 .* (like.stats, values(like.metrics)..., 1, 1))...))

function finish(a::SecureMean, acc::SecureCohort, threads)
    acc.outcome === nothing && simulate_parties!(a, acc)
    return acc.outcome.sum === nothing ? nothing : mean_of_sum!(acc, acc.outcome.sum)
end

"The sum of a cohort whose clients are all here; a deployment has it from messages."
function simulate_parties!(a::SecureMean, acc::SecureCohort)
    check_count(a, length(acc.inputs))
    (; seed, round) = acc.facts
    vanishes = [stage_of(a.drop, Stream(seed, :secure, round, i))
     for i in eachindex(acc.inputs)]
    acc.outcome = secure_sum(acc.inputs; a.neighbours, a.threshold, round, vanishes,
        fewest = fewest_senders(a, acc.n))
end

"The first of the four stages in which a client vanishes; 0: in none."
stage_of(p, rng) = something(findfirst(_ -> rand(rng, Float64) < p, 1:4), 0)

"The mean that the sum of the integers stands for."
function mean_of_sum!(acc::SecureCohort, sum)
    (; fixed, like) = acc
    places = places_of(like)
    weight, acc.clipped = (only(read_wide(fixed, sum[p])) for p in places[(end-1):end])
    weight > 0 || return nothing
    factor = acc.facts.max_weight / weight
    narrow(place) = dequantize(fixed, signed.(view(sum, place)), factor)
    n, m = length(like.vectors), length(like.metrics)
    widened(place) = dequantize(fixed, read_wide(fixed, view(sum, place)), factor)
    return Update(NamedTuple{keys(like.vectors)}(map(narrow, Tuple(places[1:n]))),
        widened(places[n+1]),
        NamedTuple{keys(like.metrics)}(map(widened, Tuple(places[(n+2):(n+1+m)]))))
end

function protocol(a::SecureMean, acc::SecureCohort)
    o = acc.outcome
    left_out = [
        (i, "vanished before $(STAGES[stage])") for (i, stage) in o.vanished
        if !(i in o.arrived)
    ]
    missed = [o.arrived; first.(left_out)]
    append!(left_out, filter(b -> !(first(b) in missed), o.blamed))
    aborted =
        o.aborted === nothing ? nothing : "secure aggregation was aborted: $(o.aborted)"
    return (; aborted, left_out, blamed = filter(b -> first(b) in o.arrived, o.blamed),
        bytes_up = sum(o.bytes_up), bytes_down = sum(o.bytes_down))
end

function report(a::SecureMean, acc::SecureCohort)
    acc.outcome === nothing && return (;)
    o, noisy = acc.outcome, acc.noise !== nothing
    return (; acc.fixed.bits, clipped = noisy ? nothing : acc.clipped,
        sensitivity = noisy ? acc.noise.sensitivity : nothing,
        variance = noisy ? acc.noise.variance : nothing,
        dimension = noisy ? acc.noise.dimension : nothing,
        senders = o.sum === nothing ? 0 : length(o.arrived),
        vanished = ntuple(stage -> count(==(stage), last.(o.vanished)), 4),
        stages_up = Tuple(o.bytes_up), stages_down = Tuple(o.bytes_down),
        seconds_client = o.seconds_clients / max(length(acc.inputs), 1), o.seconds_server)
end
