# A chain is a tuple of rules. Its states are tuples too. Recursion over the tuples keeps
# every call type-stable.

shared_init(rules::Tuple, θ) = map(r -> init(r, θ)[1], rules)
private_init(rules::Tuple, θ) = map(r -> init(r, θ)[2], rules)

"The state of the first rule, and the states of the others."
head(s) = map(first, s)
rest(s) = map(Base.tail, s)

local_steps(::Tuple{}, s, steps, ctx) = steps
local_steps(rules::Tuple, s, steps, ctx) = local_steps(
    Base.tail(rules), rest(s), local_steps(first(rules), head(s), steps, ctx), ctx)

# What a client downloads passes the rules in reverse order, as the aggregate does.
receive!(::Tuple{}, s, m, ctx, own) = ()
function receive!(rules::Tuple, s, m, ctx, own)
    others = receive!(Base.tail(rules), rest(s), m, ctx, own)
    return (receive!(first(rules), head(s), m, ctx, own), others...)
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

sent(rules::Tuple, s, private, u, ctx) =
    map((r, shared, before, after) -> sent(r, (; shared, private = before), after, u, ctx),
        rules, s.shared, s.private, private)

for_client(rules::Tuple, shared, client) =
    Tuple(for_client(r, s, client) for (r, s) in zip(rules, shared) if on_clients(r))

kept(::Tuple{}, shared, name, known) = known
kept(rules::Tuple, shared, name, known) = kept(Base.tail(rules), Base.tail(shared), name,
    kept(first(rules), first(shared), name, known))

hide!(rules::Tuple, shared, v) = (foreach((r, s) -> hide!(r, s, v), rules, shared); v)

admitted(::Tuple{}, shared, u) = u
admitted(rules::Tuple, shared, u) =
    admitted(Base.tail(rules), Base.tail(shared), admitted(first(rules), first(shared), u))

sees_each(rules::Tuple) = any(sees_each, rules)

each!(::Tuple{}, s, u, ctx) = ((), u)
function each!(rules::Tuple, s, u, ctx)
    r = first(rules)
    seen, u = sees_each(r) ? each!(r, head(s), u, ctx) : (nothing, u)
    others, u = each!(Base.tail(rules), rest(s), u, ctx)
    return (seen, others...), u
end

# `ctx.known`: what the rules before say of the values that clients send.
behind(r, shared, ctx) = (; ctx..., known = kept(r, shared, :delta, ctx.known))

server!(::Tuple{}, s, ū, ctx) = ((), ū)
function server!(rules::Tuple, s, ū, ctx)
    further = behind(first(rules), first(s.shared), ctx)
    others, ū = server!(Base.tail(rules), rest(s), ū, further)
    shared, ū = server!(first(rules), head(s), ū, ctx)
    return (shared, others...), ū
end

publish!(::Tuple{}, s, Δ, ctx) = ((), Δ)
function publish!(rules::Tuple, s, Δ, ctx)
    further = behind(first(rules), first(s.shared), ctx)
    shared, Δ = publish!(first(rules), head(s), Δ, ctx)
    others, Δ = publish!(Base.tail(rules), rest(s), Δ, further)
    return (shared, others...), Δ
end

returned(rules::Tuple, shared, θ) =
    foldl((θ, (r, s)) -> returned(r, s, θ), zip(rules, shared); init = θ)

download_bytes(::Tuple{}, s, bytes, ctx) = bytes
download_bytes(rules::Tuple, s, bytes, ctx) =
    download_bytes(first(rules), head(s),
        download_bytes(Base.tail(rules), rest(s), bytes, ctx), ctx)

personalises(rules::Tuple) = any(personalises, rules)

function personal!(rules::Tuple, shared, private, m)
    foreach((r, s, p) -> personal!(r, s, p, m), rules, shared, private)
    return m
end
