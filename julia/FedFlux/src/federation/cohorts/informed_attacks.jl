# Attacks that are fitted to the honest updates themselves, not to their mean and deviation.

"""
    sees_updates(a::Attack) -> Bool

Whether an omniscient attack looks at each honest update. Then the round keeps them, and
calls `forge_from(a, honest, f, rng)` for each of the `f` attackers of a round, where
`honest` is `(; updates, mean, deviation)` and `rng` the attacker's own generator.
"""
sees_updates(::Attack) = false

"`mean + γ p` with the largest γ that stays hidden, by Shejwalkar & Houmansadr."
abstract type HiddenAttack <: Attack end

omniscient(::HiddenAttack) = true
sees_updates(::HiddenAttack) = true

const AWAY = (:std, :mean, :sign)

function check_away(name, p)
    Symbol(p) in AWAY ||
        fail(name, ": p is ", p, "; expected one of ", join(AWAY, ", "))
    return Symbol(p)
end

"""
    MinMax(p = :std)

The attackers send `mean + γ p` of the honest updates, with the largest γ for which it is
no farther from any honest update than two honest ones are from each other (AGR-agnostic
min-max). `p` leads away from the mean: `:std`, minus the standard deviations; `:mean`,
minus the mean over its norm; `:sign`, minus the mean's signs. Shejwalkar & Houmansadr,
Manipulating the Byzantine, NDSS 2021, equation 9.
"""
struct MinMax <: HiddenAttack
    p::Symbol
    MinMax(p = :std) = new(check_away("MinMax", p))
end
construct(::Val{:attack}, ::Val{:min_max}; p) = MinMax(p)

"""
    MinSum(p = :std)

As [`MinMax`](@ref), but the sum of the squared distances to the honest updates is at most
the largest such sum of an honest one (AGR-agnostic min-sum). Shejwalkar & Houmansadr, NDSS
2021, equation 10.
"""
struct MinSum <: HiddenAttack
    p::Symbol
    MinSum(p = :std) = new(check_away("MinSum", p))
end
construct(::Val{:attack}, ::Val{:min_sum}; p) = MinSum(p)

function forge_from(a::HiddenAttack, honest, f, rng)
    (; updates, mean, deviation) = honest
    p = away(Val(a.p), mean, deviation)
    γ = largest_step(a, [Float64.(vector_of(u)) for u in updates],
        Float64.(vector_of(mean)),
        Float64.(vector_of(p)))
    return map((m, v) -> m .+ Float32(γ) .* v, mean, p)
end

away(::Val{:std}, mean, deviation) = map(v -> -v, deviation)
away(::Val{:sign}, mean, deviation) = map(v -> -sign.(v), mean)
function away(::Val{:mean}, mean, deviation)
    length = norm(vector_of(mean))
    return map(v -> length > 0 ? v ./ -length : zero(v), mean)
end

"All that is averaged of an update, in one vector."
vector_of(u::Update) = concatenated(Float32, parts(u))

squared(v) = sum(abs2, v; init = 0.0)
all_gaps(updates) = [squared(u .- v) for u in updates, v in updates]

# The farthest that γ can go: the positive root of ‖mean + γ p − u‖² = D² that
# comes first.
function largest_step(::MinMax, updates, mean, p)
    most, pp = maximum(all_gaps(updates)), squared(p)
    pp == 0 && return 0.0
    return minimum(updates) do u
        gap = mean .- u
        half = dot(p, gap)
        (-half + sqrt(max(half^2 + pp * (most - squared(gap)), 0.0))) / pp
    end
end

# Σ ‖mean + γ p − uᵢ‖² = Σ ‖mean − uᵢ‖² + n γ² ‖p‖², since mean
# is theirs.
function largest_step(::MinSum, updates, mean, p)
    most, pp = maximum(sum(all_gaps(updates); dims = 1)), squared(p)
    pp == 0 && return 0.0
    spread = sum(u -> squared(mean .- u), updates)
    return sqrt(max(most - spread, 0.0) / (length(updates) * pp))
end

"""
    Fang(b = 2)

The full-knowledge attack on the median and the trimmed mean: in each coordinate all
attackers send values beyond the honest ones, on the side that the honest mean does not
move to: uniform between the smallest honest value m and what is `b` times as far out (`b m`
for a negative m, `m/b` for a positive one), or between the largest and its counterpart.
Fang et al., Local Model Poisoning Attacks, arXiv:1911.11815, section 4.3.
"""
struct Fang <: Attack
    b::Float64
    function Fang(b = 2.0)
        b > 1 && isfinite(b) || fail("Fang: b is ", b, "; expected a number above 1")
        return new(b)
    end
end
construct(::Val{:attack}, ::Val{:fang}; b) = Fang(b)

omniscient(::Fang) = true
sees_updates(::Fang) = true

forge_from(a::Fang, honest, f, rng) =
    map((m, us...) -> beyond(a, m, us, rng), honest.mean, honest.updates...)

function beyond(a::Fang, mean, updates, rng)
    v = similar(mean)
    for i in eachindex(v)
        low, high = extrema(u -> u[i], updates)
        out =
            mean[i] > 0 ? (low > 0 ? low / a.b : low * a.b) :
            (high > 0 ? high * a.b : high / a.b)
        edge = mean[i] > 0 ? low : high
        v[i] = edge + rand(rng, Float64) * (out - edge)
    end
    return v
end
