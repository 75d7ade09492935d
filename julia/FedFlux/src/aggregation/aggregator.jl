# Aggregators: many updates into one.

"""
    Aggregator

Turns the updates of a round into one. An aggregator implements

- `start(a, n, reference) -> acc`: for a cohort of `n`; `reference` is what
  [`needs_root`](@ref) or [`carry_over`](@ref) provide, else `nothing`;
- `add!(a, acc, u, weight) -> acc`: for each [`Update`](@ref), in the order of the cohort;
  the caller may reuse `u` afterwards;
- `finish(a, acc, threads) -> ū`, or `nothing` if no update has a weight.

It looks at `u.vectors` for norms and distances, treats `u.stats` in the same manner apart
from them, and takes the weighted mean of `u.metrics`.
"""
abstract type Aggregator end

start(a::Aggregator, n) = start(a, n, nothing)
function add! end
finish(a::Aggregator, acc) = finish(a, acc, 1)

"The smallest number of updates that an aggregator takes."
min_updates(::Aggregator) = 1

"Throw a [`FedFluxError`](@ref) if `n` updates are too few for the aggregator."
check_count(a, n) =
    n >= min_updates(a) ||
    fail(title(a), " needs ", min_updates(a), " updates and got ", n)

"""
    ismean(a::Aggregator) -> Bool

Whether an aggregate is the weighted mean of the updates, up to rounding: what some rules
need, see [`needs_mean`](@ref). Not unless an aggregator says so.
"""
ismean(::Aggregator) = false

"""
    worth_warning(a::Aggregator, n::Integer) -> message or nothing
    worth_warning(a::Aggregator, report::NamedTuple) -> message or nothing

What to tell the user of an aggregator for cohorts of `n`, before the first round; and of
what it reported of a round.
"""
worth_warning(::Aggregator, n) = nothing

"Whether the server trains on root data of its own and passes its update as `reference`."
needs_root(::Aggregator) = false

"""
Whether `reference` is `(; seed, round, max_weight, kept)`, of the run, the round, a client,
and what [`carry_over`](@ref) kept.
"""
needs_round(::Aggregator) = false

"What an update costs on its way up when it is added."
update_bytes(::Aggregator, u) = wire_bytes(u)

"""
What a protocol between the clients and the server did when the aggregate was finished, for
the round's record; `nothing` if there is none.

`(; aborted, left_out, blamed, bytes_up, bytes_down)`: why it failed, or `nothing`; the
`(position, reason)` of each added update that is not in the aggregate, and of each that is,
and whose client broke the protocol later; the bytes of all clients.
"""
protocol(::Aggregator, acc) = nothing

"""
    total(a::Aggregator, acc) -> (; vectors, stats, metrics) or nothing

The sum of the updates, each times its weight, in Float64, after `finish`; `nothing` for an
aggregator without one.
"""
total(::Aggregator, acc) = nothing

"""
    carry_over(a::Aggregator, acc, ū)

What an aggregator keeps, after `finish` gave `ū`, as the `reference` of the next round.
"""
carry_over(::Aggregator, acc, ū) = nothing

"What an aggregator is called in messages."
title(a::Aggregator) = string(nameof(typeof(a)))

"""
    report(a::Aggregator, acc) -> NamedTuple

Numbers about a round's aggregation, by name, for the round's record: after `finish`, or
before it if the round was skipped. `bytes_up` and `bytes_down` among them replace those
of the record, if updates travel in another form than rules gave them.
"""
report(::Aggregator, acc) = (;)

"""
    combine_updates(a::Aggregator, updates; weights = ones, threads = 1,
                    reference = nothing)

The aggregate of `updates`, as an [`Update`](@ref); `nothing` if no update has a weight.

- `weights`: a number ≥ 0 for each.  `threads`: how many to use; the result is the same.
- `reference`: for [`FLTrust`](@ref) the server's own update, for [`CenteredClipping`](@ref)
  the last result, each as one vector.

Throws a [`FedFluxError`](@ref) for updates of different shapes, and for fewer than the
aggregator needs.

```julia
updates = [Update(; delta = Float32[k, 1]) for k in (1, 2, 100)]
combine_updates(Median(), updates).delta     # Float32[2, 1]
```
"""
function combine_updates(a::Aggregator, updates; weights = ones(length(updates)),
    threads = 1, reference = nothing)
    isempty(updates) && return nothing
    length(weights) == length(updates) || fail("combine_updates: ", length(updates),
        " updates and ", length(weights), " weights")
    like = shape(first(updates))
    acc = start(a, length(updates), reference)
    for (i, (u, weight)) in enumerate(zip(updates, weights))
        shape(u) == like ||
            fail("combine_updates: update ", i, " has the shape ", shape(u),
                ", and the first ", like)
        acc = add!(a, acc, u, weight)
    end
    return finish(a, acc, threads)
end
