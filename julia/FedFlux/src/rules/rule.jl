# A rule is one paper's idea, on both sides of the wire. Each hook defaults to doing
# nothing.

"""
    Rule

One idea of federated learning, as hooks. A rule defines those that it needs; the others
change nothing. In brackets stands a small rule that has the hook. docs/extending.md writes
rules with `correct!`, `regrad!`, `teach!` and `each!`. Most rules need only

- `init(r, θ) -> (shared, private)`: the server's state, and the state each client starts
  with ([`Scaffold`](@ref));
- `correct!(r, s, g, w, ctx) -> g`: changes the gradient `g` at `w`, before each local step
  ([`FedProx`](@ref));
- `client!(r, s, u, ctx) -> (private, u)`: changes the [`Update`](@ref) before it is sent
  ([`FedADMM`](@ref));
- `server!(r, s, ū, ctx) -> (shared, ū)`: changes the aggregate of the updates; rules run
  in reverse order here ([`FedExP`](@ref)).

Rules that look at the model, or change it elsewhere:

- `check_model(r, model)`: throws if the rule can't be used with a model's layers
  ([`FedNTD`](@ref));
- `prepare(r, layout, training) -> r`: once, before the first round: the rule made ready for
  a model and its local training. Errors about either belong here ([`FedPer`](@ref));
- `receive!(r, s, m, ctx, own) -> private`: changes the model `m = (; w, stats)` that a
  client received, before it trains; rules run in reverse order here. `own`, a
  [`LocalData`](@ref), trains further models on the client's data ([`train!`](@ref)),
  measures their loss ([`meanloss`](@ref)) and their gradient ([`full_gradient!`](@ref)), or
  counts the labels ([`label_counts`](@ref)). [`TERM`](@ref) has it;
- `publish!(r, s, Δ, ctx) -> (shared, Δ)`: changes the server's step `Δ` before it is
  taken and sent to the clients ([`EMA`](@ref));
- `personal!(r, private, m) -> m`: turns the global model `m = (; w, stats)` into the one
  that the client would use itself, for a rule with `personalises(r) = true`; or
  `personal!(r, shared, private, m)`, if it takes the server's state ([`Ditto`](@ref),
  [`IFCA`](@ref));
- `local_steps(r, s, steps, ctx) -> steps`: how many of its local `steps` a client takes
  ([`Scaffnew`](@ref));
- `returned(r, shared, θ) -> θ`: the parameters that are evaluated and returned, if they
  aren't those that clients train from ([`EMA`](@ref)).

Rules that add to the loss, with `teaches(r) = true`, on the logits ([`FedNTD`](@ref)) or
one layer below, on the features ([`MOON`](@ref), [`FedProto`](@ref)); one in a chain:

- `teachers(r, s, ctx) -> ((; w, stats), ...)`: frozen models, whose outputs in test mode
  the rule wants for each batch; none by default;
- `teach!(r, s, student, teachers, labels, ctx) -> term`: after the forward pass of a batch:
  adds the gradients of its term to `student.dz` and `student.dh`, and returns the term.
  Column j of `z` holds the logits of the j-th sample, whose label is `labels[j]`, and
  column j of `h` what the last layer takes; `teachers` is a list of the same for each
  frozen model. Other columns mean nothing.

Rules whose server sees each update with its sender, with `sees_each(r) = true`
([`FedDisco`](@ref), [`IFCA`](@ref)). A secure sum, encryption, and noise that is meant for
the sum hide that, so they are refused:

- `each!(r, s, u, ctx) -> (seen, u)`: on the server, for each update that counts, in the
  order of the cohort, before it is aggregated: changes the update, and notes something.
  `s.seen` is what it has noted in this round, `nothing` before the first update. In
  `server!` it is that of the whole round. `ctx` holds `client`, its `weight`, the `share`
  of that in the weights of the cohort, `round`, `n`, `N`, `θ` and `layout`.

Rules that change what is sent, or must know it:

- `download_bytes(r, s, bytes, ctx) -> bytes`: the bytes that a client downloads, if they
  are fewer than the whole model; rules run in reverse order here ([`FedPer`](@ref));
- `for_client(r, shared, client)`: what a client needs of the server's state, if they are on
  different machines; nothing by default. Its `s.shared` is then this ([`AFL`](@ref));
- `on_clients(r)`: whether clients have a part in it; yes by default. A client on another
  machine has no rule that says no;
- `sent(r, s, private, u, ctx) -> private`: what the client keeps of `private`, given the
  update `u` as it was sent: encoded, or with values that are not sent at all
  ([`FedDyn`](@ref));
- `kept(r, shared, name, known)`: the indices of the vector `name`, one as long as the
  parameters, that clients send, if both sides know the others to be zero; `nothing`: all.
  `known` is what the rules before say ([`FedProto`](@ref));
- `hide!(r, shared, v) -> v`: sets to zero what a client would not send of a vector `v`
  ([`FedProto`](@ref));
- `nobody_sent(r, u) -> u`: adds the zeros that the rule would send to an update of zeros.
  The server expects this shape, and it stands for a round without clients if that must look
  like any other. If it depends on the number of clients: `nobody_sent(r, u, N)`
  ([`FedNova`](@ref), [`AFL`](@ref));
- `admitted(r, shared, u) -> u`: what the server makes of an update before it counts, for a
  bound that it must not leave to the client. `shared` is the server's state
  ([`DPFTRL`](@ref)).

`chain_position(r)` is where a rule stands in a chain, and `conflict(a, b)` says why two
don't go together.

`s` is `(; shared, private)`. `ctx` holds

- everywhere: `θ`, the global parameters (in `correct!` and `client!` as `receive!` left
  them: the model that the client starts from); `round` and `client`, from 1 (0 on the
  server); `n`, the size of the cohort, and `N`, the number of clients; `lr`, the learning
  rate of the clients (`nothing` if their optimizer has none); `rng`, a generator of the
  client's (or the server's) own; `layout`, the [`Layout`](@ref) of the flat vectors;
- on a client: `w` and `stats`, its model; `samples`, the number of its samples; `weight`,
  its weight in the average; `steps`, the number of local steps; `optimizer`, an Optimisers
  rule; and in `correct!` `step`, from 1, `batch`, the size of the batch, and
  `regrad!(g, w)`, which writes the gradient of the same batch at another point `w` to `g`
  (as [`FedSAM`](@ref) does; not under [`DPSGD`](@ref));
- on the server: `share`, the weight of the updates that count over that of all clients;
  `expected`, the size that a cohort is expected to have before it is drawn; `total`, the
  sum behind the aggregate `mean` in Float64, or `nothing` (see [`exact_sums`](@ref));
  `known`, the indices of `delta` that clients send by the rules before, or `nothing`, all
  (`kept`);
  `federation`, the [`Federated`](@ref) with the model; `engine`, whose
  [`to_model!`](@ref) and [`to_engine!`](@ref)
  convert flat vectors between the engine's order and the model's.

A rule holds settings only. Its states are what the hooks return; a hook never changes the
states it was given, since a round that fails leaves them as they were.
"""
abstract type Rule end

check_model(::Rule, model) = nothing
prepare(r::Rule, layout, training) = r
init(::Rule, θ) = (nothing, nothing)
download_bytes(::Rule, s, bytes, ctx) = bytes
local_steps(::Rule, s, steps, ctx) = steps
receive!(::Rule, s, m, ctx, own) = s.private
correct!(::Rule, s, g, w, ctx) = g
client!(::Rule, s, u, ctx) = (s.private, u)
admitted(::Rule, shared, u) = u
sees_each(::Rule) = false
function each! end
server!(::Rule, s, ū, ctx) = (s.shared, ū)
publish!(::Rule, s, Δ, ctx) = (s.shared, Δ)
returned(::Rule, shared, θ) = θ
sent(::Rule, s, private, u, ctx) = private
hide!(::Rule, shared, v) = v
for_client(::Rule, shared, client) = nothing
on_clients(::Rule) = true
kept(::Rule, shared, name, known) = known
nobody_sent(::Rule, u) = u
nobody_sent(r::Rule, u, N) = nobody_sent(r, u)
teaches(::Rule) = false
teachers(::Rule, s, ctx) = ()
function teach! end
personalises(::Rule) = false
personal!(::Rule, private, m) = m
personal!(r::Rule, shared, private, m) = personal!(r, private, m)

"""
    train!(f, own::LocalData, m; epochs, maxsteps) -> m

Train the model `m = (; w, stats)`, in place, on the client's own data, with the settings of
its local training. `f(g, w)` takes the place of the rules and corrects each gradient `g` at
`w`. Batches are drawn from a stream of their own.
"""
function train! end

"""
    meanloss(own::LocalData, m) -> Float64

The mean loss of the model `m = (; w, stats)` over the client's own samples, in test mode.
"""
function meanloss end

"""
    full_gradient!(g, own::LocalData, m) -> g

The gradient of the mean loss of the model `m = (; w, stats)` over the client's own samples,
in training mode; computed in batches. `m` stays as it is.
"""
function full_gradient! end

"""
    label_counts(own::LocalData, classes) -> Vector{Int}

The number of the client's own labels 0, 1, …, `classes` − 1. Throws a
[`FedFluxError`](@ref) if the loss isn't cross-entropy on such labels.
"""
function label_counts end
