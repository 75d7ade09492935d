"""
    draw_cohort(seed, round, N, n)

The clients that take part in a round: `n` of 1:N, uniform without replacement, in rising order; all of them when
`n == N`. Depends on `(seed, round)` alone.

```julia
FedFlux.draw_cohort(0, 1, 100, 10)
```
"""
function draw_cohort(seed, round::Integer, N::Integer, n::Integer)
    n == N && return collect(1:N)
    return sort!(shuffle!(Stream(seed, :cohort, round), collect(1:N))[1:n])
end
