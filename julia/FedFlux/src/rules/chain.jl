# A chain is a tuple of rules; its states are tuples too. Recursion over the tuples keeps
# every call type-stable.

shared_init(rules::Tuple, θ) = map(r -> init(r, θ)[1], rules)
private_init(rules::Tuple, θ) = map(r -> init(r, θ)[2], rules)

"The state of the first rule, and the states of the others."
head(s) = map(first, s)
rest(s) = map(Base.tail, s)

receive!(::Tuple{}, s, m, ctx, own) = ()
function receive!(rules::Tuple, s, m, ctx, own)
    private = receive!(first(rules), head(s), m, ctx, own)
    return (private, receive!(Base.tail(rules), rest(s), m, ctx, own)...)
end

correct!(::Tuple{}, s, g, w, ctx) = g
function correct!(rules::Tuple, s, g, w, ctx)
    correct!(first(rules), head(s), g, w, ctx)
    return correct!(Base.tail(rules), rest(s), g, w, ctx)
end

client!(::Tuple{}, s, u, ctx) = ((), u)
function client!(rules::Tuple, s, u, ctx)
    private, u = client!(first(rules), head(s), u, ctx)
    others, u = client!(Base.tail(rules), rest(s), u, ctx)
    return (private, others...), u
end

server!(::Tuple{}, s, ū, ctx) = ((), ū)
function server!(rules::Tuple, s, ū, ctx)
    others, ū = server!(Base.tail(rules), rest(s), ū, ctx)
    shared, ū = server!(first(rules), head(s), ū, ctx)
    return (shared, others...), ū
end

publish!(::Tuple{}, s, Δ, ctx) = ((), Δ)
function publish!(rules::Tuple, s, Δ, ctx)
    shared, Δ = publish!(first(rules), head(s), Δ, ctx)
    others, Δ = publish!(Base.tail(rules), rest(s), Δ, ctx)
    return (shared, others...), Δ
end

download_bytes(::Tuple{}, s, bytes, ctx) = bytes
download_bytes(rules::Tuple, s, bytes, ctx) =
    download_bytes(first(rules), head(s),
        download_bytes(Base.tail(rules), rest(s), bytes, ctx), ctx)

personalises(rules::Tuple) = any(personalises, rules)

function personal!(rules::Tuple, private, m)
    foreach((r, p) -> personal!(r, p, m), rules, private)
    return m
end

"""
    chain_position(r::Rule) -> Int or nothing

The position of a rule that has one in a chain: 1 for pruning, 2 for compression, 3 for the
compression of the download. At most one rule has each; other rules come in any order.
"""
chain_position(::Rule) = nothing

"Check that all are rules and that those with a position stand in order."
function check_chain(rules::Tuple)
    for r in rules
        r isa Rule || fail("rules contain ", repr(r), ", a ", typeof(r),
            "; expected FedFlux.Rule objects")
    end
    placed = [r for r in rules if chain_position(r) !== nothing]
    for (a, b) in zip(placed, placed[2:end])
        chain_position(a) < chain_position(b) ||
            fail("rules have ", nameof(typeof(a)), " before ", nameof(typeof(b)),
                "; expected at most one pruning, then one compression, then one Download")
    end
    i = findfirst(r -> chain_position(r) == 3, rules)
    i === nothing || i == length(rules) ||
        fail("rules have ", nameof(typeof(rules[i+1])),
            " after Download; Download comes last")
end
