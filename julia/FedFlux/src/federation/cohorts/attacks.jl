# Hostile clients, for experiments: what they do to their data, to what they send, or,
# knowing all other updates, instead of it.

"""
    Attack

What hostile clients do, one or more of

- `poison!(a, x, y, indices, nclasses, rng)`: change the samples `indices` that an attacker
  holds, before the first round;
- `send(a, m::Message, ctx) -> (messages...,)`: what an attacker sends in place of its
  honest message `m`;
- `forge(a, mean, deviation, n, f) -> update`: for an attack with `omniscient(a) = true`,
  what each of the `f` attackers among the `n` senders of a round sends, from the mean and
  the standard deviation of the honest updates. These clients don't train: the simulation
  forges their updates on the server, before it aggregates. With `sees_updates(a) = true`
  it is `forge_from(a, honest, f, rng)`, from each of them.

`ctx` is `(; seed, round, client)`.
"""
abstract type Attack end

changes_data(::Attack) = false
"The attack on data in which a white pixel is `white`."
with_white(a::Attack, white) = a
omniscient(::Attack) = false
send(::Attack, m, ctx) = (m,)

with_update(m::Message, update) = Message(m.client, m.round, m.weight, update)
scaled(m::Message, s) = with_update(m, map(v -> Float32(s) .* v, m.update))

"""
    Attackers(attack; count = 0, clients = Int[])

The clients that carry out an [`Attack`](@ref): those listed, or `count` of them, drawn from
the seed for the whole run.
"""
struct Attackers{A<:Attack}
    attack::A
    count::Int
    clients::Vector{Int}
end

function Attackers(attack::Attack; count = 0, clients = Int[])
    (count > 0) ⊻ !isempty(clients) ||
        fail("attack ", nameof(typeof(attack)), " needs attackers: how many clients, or a ",
            "list of them; ", count > 0 ? "both were given" : "neither was given")
    all(>(0), clients) || fail("attackers are ", clients, "; expected clients from 1 on")
    return Attackers{typeof(attack)}(attack, count, sort!(unique(clients)))
end

"The hostile ones among `N` clients, in rising order."
hostile(::Nothing, seed, N) = Int[]
function hostile(a::Attackers, seed, N)
    isempty(a.clients) || last(a.clients) <= N ||
        fail("attacker ", last(a.clients), " is none of the ", N, " clients")
    a.count <= N || fail("attackers is ", a.count, ", and there are ", N, " clients")
    isempty(a.clients) || return a.clients
    return sort!(shuffle!(Stream(seed, :attack), collect(1:N))[1:a.count])
end

"""
The clients' data after the attack; a copy, if the attack changes data. No honest client
may hold a sample of an attacker.
"""
poisoned(::Nothing, f, clients) = clients
function poisoned(a::Attackers, f, clients)
    changes_data(a.attack) || return clients
    must_be_in_memory(clients.x, "an attack on data")
    x, y = copy(clients.x), copy(clients.y)
    bad = hostile(a, f.seed, length(clients))
    held = BitSet(Iterators.flatten(indices(clients, k) for k in bad))
    for k in setdiff(1:length(clients), bad), i in indices(clients, k)
        i in held && fail("attack ", nameof(typeof(a.attack)), ": the honest client ", k,
            " holds sample ", i, ", which an attacker holds too")
    end
    nclasses = classes(f.loss, clients.y)
    for k in bad
        rng = Stream(f.seed, :attack, 0, k)
        poison!(a.attack, x, y, indices(clients, k), nclasses, rng)
    end
    return Clients(x, y, clients.order, clients.starts, clients.root)
end

"""
    SignFlip(scale = 1.0)

Sends −scale times its update.
"""
Base.@kwdef struct SignFlip <: Attack
    scale::Float64 = 1.0
end
send(a::SignFlip, m, ctx) = (scaled(m, -a.scale),)

"""
    Scaling(scale = 10.0)

Sends `scale` times its update, to outweigh the others: model replacement, Bagdasaryan et
al. 2020 (arXiv:1807.00459).
"""
Base.@kwdef struct Scaling <: Attack
    scale::Float64 = 10.0
end
send(a::Scaling, m, ctx) = (scaled(m, a.scale),)

"""
    NoiseAttack(std = 1.0)

Adds normal noise of this standard deviation to every value that it sends.
"""
Base.@kwdef struct NoiseAttack <: Attack
    std::Float64 = 1.0
end
function send(a::NoiseAttack, m, ctx)
    rng = Stream(ctx.seed, :attack, ctx.round, ctx.client)
    noisy(v) = v .+ Float32(a.std) .* randn(rng, Float32, length(v))
    return (with_update(m, map(noisy, m.update)),)
end

"""
    LabelFlip()

Trains on the label C − 1 − y in place of y, of C classes. Needs integer labels.
"""
struct LabelFlip <: Attack end
changes_data(::LabelFlip) = true
function poison!(::LabelFlip, x, y, indices, nclasses, rng)
    nclasses > 0 || fail("attack label_flip needs labels; the loss has none")
    for i in indices
        v = selectdim(y, ndims(y), i)
        v .= nclasses - 1 .- v
    end
end

"""
    ALIE(z = nothing)

"A little is enough": all attackers send mean + z·deviation of the honest updates,
coordinate by coordinate. The default `z` is Φ⁻¹((n − f − s)/(n − f)) with s =
⌊n/2⌋ + 1 − f, for f attackers among n. Baruch et al. 2019 (arXiv:1902.06156).
"""
Base.@kwdef struct ALIE <: Attack
    z::Union{Nothing,Float64} = nothing
end
omniscient(::ALIE) = true
function forge(a::ALIE, mean, deviation, n, f)
    z = something(a.z, alie_z(n, f))
    return map((m, d) -> m .+ Float32(z) .* d, mean, deviation)
end

"""
The largest z that hides among `n` senders, `f` of them hostile; 0 without an honest
majority.
"""
function alie_z(n, f)
    s = n ÷ 2 + 1 - f
    p = (n - f - s) / (n - f)
    return 0 < p < 1 ? normal_quantile(p) : 0.0
end

"Φ⁻¹(p), by bisection on Φ; called a few times per run."
function normal_quantile(p)
    low, high = -40.0, 40.0
    while high - low > 1e-12
        mid = (low + high) / 2
        normal_cdf(mid) < p ? (low = mid) : (high = mid)
    end
    return (low + high) / 2
end

# Φ(x) = ½ + φ(x)(x + x³/3 + x⁵/15 + …) (Marsaglia 2004), which converges
# everywhere; beyond 8 nothing is left in Float64.
function normal_cdf(x)
    abs(x) > 8 && return x > 0 ? 1.0 : 0.0
    term = total = x
    k = 1
    while total + term != total
        term *= x^2 / (k += 2)
        total += term
    end
    return 0.5 + total * exp(-x^2 / 2) / sqrt(2π)
end

"""
    IPM(eps = 0.5)

Inner product manipulation: all attackers send −eps times the mean of the honest updates.
Xie et al. 2020 (arXiv:1903.03936).
"""
Base.@kwdef struct IPM <: Attack
    eps::Float64 = 0.5
end
omniscient(::IPM) = true
forge(a::IPM, mean, deviation, n, f) = map(m -> Float32(-a.eps) .* m, mean)

"""
    Broken(what)

Sends what no server should accept; `what` is `nan`, `inf`, `shape`, `slots` (other
vectors), `stale` (of the round before), `twice` or `weight` (a claim of 10¹⁸).
"""
struct Broken <: Attack
    what::Symbol
    function Broken(what)
        Symbol(what) in BROKEN ||
            fail("Broken: what is ", what, "; expected one of ", join(BROKEN, ", "))
        return new(Symbol(what))
    end
end
const BROKEN = (:nan, :inf, :shape, :slots, :stale, :twice, :weight)
construct(::Val{:attack}, ::Val{:broken}; what) = Broken(what)

function send(a::Broken, m, ctx)
    (; client, round, weight, update) = m
    a.what === :stale && return (Message(client, round - 1, weight, update),)
    a.what === :twice && return (m, m)
    a.what === :weight && return (Message(client, round, 1e18, update),)
    return (with_update(m, broken(Val(a.what), update)),)
end

broken(::Val{:nan}, u) = Update(u; delta = with_last(u.delta, NaN32))
broken(::Val{:inf}, u) = Update(u; delta = with_last(u.delta, Inf32))
broken(::Val{:shape}, u) = Update(u; delta = u.delta[1:(end-1)])
broken(::Val{:slots}, u) = Update((; gradient = u.delta), u.stats, u.metrics)

with_last(v, x) = (v = copy(v); v[end] = x; v)

"""
Coordinate by coordinate the mean and the standard deviation of updates that arrive one
after another (Welford 1962).
"""
mutable struct Moments
    n::Int
    mean::Any
    squares::Any
end
Moments() = Moments(0, nothing, nothing)

function observe!(m::Moments, u::Update)
    m.n == 0 && (m.mean = map(zero, u); m.squares = map(zero, u))
    m.n += 1
    foreach(parts(m.mean), parts(m.squares), parts(u)) do mean, squares, v
        @inbounds @simd for i in eachindex(v)
            before = v[i] - mean[i]
            mean[i] += before / m.n
            squares[i] += before * (v[i] - mean[i])
        end
    end
end

deviation(m::Moments) = map(s -> sqrt.(s ./ m.n), m.squares)
