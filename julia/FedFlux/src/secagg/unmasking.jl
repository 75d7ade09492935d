# The end of a round on the server: the secrets from their shares, of which some may be
# wrong, and the masks off the sum.

function unmasked!(s::SecureServer)
    (; round) = s.setup
    for id in s.arrived
        right(seed) = commitment(seed, round, id) == s.bundles[id].commitment
        seed = recover(right, s, id, "seed", r -> r.arrived, a -> a.seeds)
        subtract_mask!(s.sum, seed_key(seed, round, id))
    end
    for id in setdiff(keys(s.bundles), s.arrived, s.excluded)
        others = partners(s, id)
        isempty(others) && continue             # its masks are in no vector
        right(secret) = public_key(secret) == s.public[id].masking
        secret = recover(right, s, id, "mask key", r -> r.vanished, a -> a.keys)
        for v in others
            key = mask_key(secret, s.public[v].masking, round, id, v)
            add_pair_mask!(s.sum, key, id, v)   # the opposite of what v added
        end
    end
    foreach(id -> unmask_excluded!(s, id), s.excluded)
    unmask_unopened!(s)
    s.stage = 5
    return s.sum
end

"Take off the masks that others share with a client that was left out, as they told them."
function unmask_excluded!(s, id)
    for v in partners(s, id)
        haskey(s.answers, v) || abort("client ", v, " did not answer, and shares a mask ",
            "with client ", id, ", which was left out: it ", s.blamed[id])
        i = findfirst(==(id), s.requests[v].excluded)
        add_pair_mask!(s.sum, s.answers[v].pairs[i], id, v)
    end
end

"Take off the masks that a client added alone: the other couldn't open its shares."
function unmask_unopened!(s)
    for (id, complaints) in s.unopened, (v, key) in complaints
        id in s.arrived && v in s.arrived && opened(s, id, v) || continue
        add_pair_mask!(s.sum, key, v, id)
    end
end

"How many subsets of the shares are tried, drawn anew, if the first is wrong."
const MOST_SUBSETS = 1000

"""
A secret of client `id` from the answers of its neighbors: the one that is `right`. Who
sent a share that doesn't belong to it is blamed.
"""
function recover(right, s, id, what, asked, answered)
    t, given = threshold(s, id), shares_given(s, id, asked, answered)
    length(given) >= t || too_few_neighbors(s, id, length(given), t)
    sort!(given; by = g -> haskey(s.blamed, first(g)))
    attempt(some) = secret_if_right(right, some, t)
    secret = attempt(given[1:t])
    secret === nothing || return secret
    for _ = 1:(length(given)>t ? MOST_SUBSETS : 0)
        some = shuffle!(Random.RandomDevice(), given)[1:t]
        secret = attempt(some)
        secret === nothing && continue
        for g in given
            belongs = any(==(g), some) || attempt([some[2:end]; g]) == secret
            belongs || (s.blamed[first(g)] = "sent a wrong share of client $id's $what")
        end
        return secret
    end
    s.blamed[id] =
        "has a $what that no $t of the $(length(given)) shares of it give: " *
        "it made them wrong, or its neighbors changed them"
    abort("client ", id, " ", s.blamed[id])
end

"Who answered with a share of a secret of client `id`, and the share."
function shares_given(s, id, asked, answered)
    given = Tuple{UInt32,Share}[]
    for v in s.neighbors[id]
        haskey(s.answers, v) || continue
        i = findfirst(==(id), asked(s.requests[v]))
        i === nothing || push!(given, (v, answered(s.answers[v])[i]))
    end
    return given
end

function secret_if_right(right, given, t)
    secret = try
        recover_secret(last.(given), first.(given), t)
    catch err
        err isa FedFluxError || rethrow()
        return nothing              # the numbers are no secret's
    end
    return right(secret) ? secret : nothing
end
