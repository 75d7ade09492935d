# Whether configurations differ beyond chance: tests on pairs of runs with the same seed.

const LEVEL = 0.05

"""
    paired_t(differences) -> p or nothing

The two-sided p-value of Student's paired t-test: how likely a mean at least as far from
zero is, if the differences are normal with mean zero. `nothing` for fewer than two. If all
differences are alike, their spread says nothing, and [`sign_flips`](@ref) answers.
Student 1908, "The probable error of a mean".

```julia
FedFlux.paired_t([0.01, 0.02, 0.03])        # 0.0742
```
"""
function paired_t(differences)
    n = length(differences)
    n < 2 && return nothing
    m, s = mean(differences), std(differences)
    s <= 1e-9 * abs(m) && return m == 0 ? 1.0 : sign_flips(differences)
    t, ν = m / (s / sqrt(n)), n - 1
    return first(beta_inc(ν / 2, 0.5, ν / (ν + t^2)))
end

const MOST_FLIPPED = 16

"""
    sign_flips(differences) -> p or nothing

The two-sided p-value of the exact sign-flip test: the share of all ways to give the
differences signs that move their sum at least as far from zero. It assumes no distribution,
only that a difference is as likely as its negative. With n pairs it can't be below 2/2ⁿ.
`nothing` for none, and for more than $MOST_FLIPPED pairs. Fisher 1935, "The Design of
Experiments", section 21.

```julia
FedFlux.sign_flips([0.01, 0.02, 0.03])      # 0.25
```
"""
function sign_flips(differences)
    n = length(differences)
    1 <= n <= MOST_FLIPPED || return nothing
    signed(flips) =
        sum((flips >> (i - 1)) & 1 == 0 ? d : -d for (i, d) in enumerate(differences))
    reached = abs(sum(differences)) * (1 - 1e-9)
    return count(flips -> abs(signed(flips)) >= reached, 0:(2^n-1)) / 2^n
end

"""
    holm(ps) -> Vector

p-values adjusted for there being several, so that a false alarm among all of them has the
chance that one alone would have: Holm 1979, "A simple sequentially rejective multiple test
procedure". `nothing` stays, and does not count.

```julia
FedFlux.holm([0.01, 0.04, 0.03])            # [0.03, 0.06, 0.06]
```
"""
function holm(ps)
    given = findall(!isnothing, ps)
    adjusted = Vector{Union{Nothing,Float64}}(nothing, length(ps))
    largest = 0.0
    for (rank, i) in enumerate(sort(given; by = i -> ps[i]))
        largest = max(largest, min(1.0, (length(given) - rank + 1) * ps[i]))
        adjusted[i] = largest
    end
    return adjusted
end
