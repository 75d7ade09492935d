# Asynchronous rounds: the simulated clock of a federation with FedBuff or FedAsync.

"The time that client k trains: its samples by its speed, which stays the same."
duration(r::Asynchronous, clients, k, seed) =
    nsamples(clients, k) * exp(r.spread * normal!(Stream(seed, :availability, 0, k)))

"""
    arrivals(r::Asynchronous, s, st, clients, n, seed) -> (s, arrived)

Advance the simulated time until `n` clients have finished; returns the new state and these
clients, in order of arrival. None arrives twice.
"""
function arrivals(r::Asynchronous, s, st, clients, n, seed)
    (; clock, begun) = s
    underway, arrived = copy(s.underway), Underway[]
    θ, stats = copy(st.θ), copy(st.stats)
    busy = falses(length(clients))
    foreach(c -> busy[c.client] = true, underway)
    idle = findall(!, busy)             # who arrives has had its turn in this round
    while length(arrived) < n
        while length(underway) < r.concurrency && !isempty(idle)
            begun += 1
            k = popat!(idle, 1 + below!(Stream(seed, :cohort, 0, begun), length(idle)))
            finish = clock + duration(r, clients, k, seed)
            push!(underway, (; client = k, st.round, finish, θ, stats))
        end
        i = argmin([c.finish for c in underway])
        clock = underway[i].finish
        push!(arrived, popat!(underway, i))
    end
    return (; clock, begun, st.round, underway), arrived
end

"""
    async_round!(f, st, clients, n; pool) -> (cohort, metrics)

The round of a federation whose rules contain a [`FedBuff`](@ref) or a [`FedAsync`](@ref):
the next `n` arrivals, each trained from the model that it started with, and the server's
step.
"""
function async_round!(f::Federated, st::State, clients::Clients, n; pool)
    i = findfirst(r -> r isa Asynchronous, f.rules)
    shared, arrived = arrivals(f.rules[i], st.shared[i], st, clients, n, f.seed)
    seen = Base.setindex(st.shared, at_arrival(f.rules[i], shared, st), i)
    start_states = Dict(c.client => State(st; c.round, c.θ, c.stats, shared = seen)
         for c in arrived)
    cohort = [c.client for c in arrived]
    _, metrics = round!(f, st, clients, cohort; pool, start_states)
    st.shared = Base.setindex(st.shared, shared, i)
    return cohort, metrics
end

is_async(rules::Tuple) = any(r -> r isa Asynchronous, rules)
