# A rule is one paper's idea, on both sides of the wire. Each hook defaults to doing nothing.

"""
    Rule

One idea of federated learning, as hooks that may each be left out:

- `prepare(r, layout, training) -> r`: the rule made ready for a model and its local training; errors belong here;
- `init(r, θ) -> (shared, private)`: the server's state, and the state a client begins with;
- `receive!(r, s, m, ctx, own) -> private`: changes the model `m = (; w, stats)` that a client received, before it trains;
  `own`, a [`LocalData`](@ref), trains further models on the client's data or measures their loss;
- `correct!(r, s, g, w, ctx) -> g`: changes the gradient `g` at `w`, before each local step;
- `client!(r, s, u, ctx) -> (private, u)`: changes the update before it is sent;
- `server!(r, s, ū, ctx) -> (shared, ū)`: changes the aggregate; rules run in reverse order here;
- `publish!(r, s, Δ, ctx) -> (shared, Δ)`: changes the server's step `Δ` before it is taken and sent to the clients;
- `received(r, s, bytes, ctx) -> bytes`: what a client receives at the start of a round, where it is less than the whole
  model; rules run in reverse order here;
- `personal!(r, private, m) -> m`: turns the global model `m = (; w, stats)` into the one that the client would use itself,
  for a rule with `personalises(r) = true`.

`s` is `(; shared, private)`; `u` is a NamedTuple of flat vectors, `(; delta, …)` with `delta = w - θ`. `ctx` holds

- everywhere: `θ`, the global parameters; `round` and `client` (from 1; on the server 0); `n`, the cohort's size, and `N`,
  the number of clients; `lr`, the clients' learning rate; `rng`, a generator of the client's (or server's) own; `layout`,
  which says where each array lies;
- on a client: `w` and `stats`, its model; `samples`, how many it has; `weight`, its weight in the average; `steps`, the
  number of local steps; `optimizer`, an Optimisers rule; and in `correct!` `step` (from 1) and `batch`, its size;
- on the server: the `model` and the `engine`, whose `to_model!` and `to_engine!` give the order of each array in the
  flat vectors.

A slot of an update, and Δ, may be a vector that knows what it costs on the wire (see [`Coded`](@ref)); any other counts four
bytes a value.

A rule holds settings and no state: state is what the hooks return, and never what they were given, changed in place, since a
round that fails must leave it as it was.
"""
abstract type Rule end

prepare(r::Rule, layout, training) = r
init(::Rule, θ) = (nothing, nothing)
receive!(::Rule, s, m, ctx, own) = s.private
correct!(::Rule, s, g, w, ctx) = g
client!(::Rule, s, u, ctx) = (s.private, u)
server!(::Rule, s, ū, ctx) = (s.shared, ū)
publish!(::Rule, s, Δ, ctx) = (s.shared, Δ)
received(::Rule, s, bytes, ctx) = bytes
personalises(::Rule) = false
personal!(::Rule, private, m) = m

# A chain is a tuple of rules; its states are tuples too. Recursion over the tuples keeps every call type-stable.

shared_init(rules::Tuple, θ) = map(r -> init(r, θ)[1], rules)
private_init(rules::Tuple, θ) = map(r -> init(r, θ)[2], rules)

receive!(::Tuple{}, s, m, ctx, own) = ()
function receive!(rules::Tuple, s, m, ctx, own)
    private = receive!(first(rules), (; shared = first(s.shared), private = first(s.private)), m, ctx, own)
    return (private, receive!(Base.tail(rules), (; shared = Base.tail(s.shared), private = Base.tail(s.private)), m, ctx, own)...)
end

correct!(::Tuple{}, s, g, w, ctx) = g
function correct!(rules::Tuple, s, g, w, ctx)
    correct!(first(rules), (; shared = first(s.shared), private = first(s.private)), g, w, ctx)
    return correct!(Base.tail(rules), (; shared = Base.tail(s.shared), private = Base.tail(s.private)), g, w, ctx)
end

client!(::Tuple{}, s, u, ctx) = ((), u)
function client!(rules::Tuple, s, u, ctx)
    private, u = client!(first(rules), (; shared = first(s.shared), private = first(s.private)), u, ctx)
    rest, u = client!(Base.tail(rules), (; shared = Base.tail(s.shared), private = Base.tail(s.private)), u, ctx)
    return (private, rest...), u
end

server!(::Tuple{}, s, ū, ctx) = ((), ū)
function server!(rules::Tuple, s, ū, ctx)
    rest, ū = server!(Base.tail(rules), (; shared = Base.tail(s.shared)), ū, ctx)
    shared, ū = server!(first(rules), (; shared = first(s.shared)), ū, ctx)
    return (shared, rest...), ū
end

publish!(::Tuple{}, s, Δ, ctx) = ((), Δ)
function publish!(rules::Tuple, s, Δ, ctx)
    shared, Δ = publish!(first(rules), (; shared = first(s.shared)), Δ, ctx)
    rest, Δ = publish!(Base.tail(rules), (; shared = Base.tail(s.shared)), Δ, ctx)
    return (shared, rest...), Δ
end

received(::Tuple{}, s, bytes, ctx) = bytes
function received(rules::Tuple, s, bytes, ctx)
    bytes = received(Base.tail(rules), (; shared = Base.tail(s.shared), private = Base.tail(s.private)), bytes, ctx)
    return received(first(rules), (; shared = first(s.shared), private = first(s.private)), bytes, ctx)
end

personalises(rules::Tuple) = any(personalises, rules)
personal!(rules::Tuple, private, m) = (foreach((r, p) -> personal!(r, p, m), rules, private); m)

function checkchain(rules::Tuple)
    for r in rules
        r isa Rule || fail("rules contain ", repr(r), ", a ", typeof(r), "; expected FedFlux.Rule objects")
    end
    check_places(rules)
end

"""
    place(r::Rule) -> Int or nothing

Where a rule must stand among those that have a place, one of each at the most: pruning 1, compression 2, download 3.
"""
place(::Rule) = nothing

function check_places(rules)
    placed = [r for r in rules if place(r) !== nothing]
    for (a, b) in zip(placed, placed[2:end])
        place(a) < place(b) ||
            fail("rules have ", nameof(typeof(a)), " before ", nameof(typeof(b)), "; expected one pruning, then one compression, then ",
                 "one Download at the most")
    end
    i = findfirst(r -> place(r) == 3, rules)
    i === nothing || i == length(rules) || fail("rules have ", nameof(typeof(rules[i+1])), " after Download; Download comes last")
end
