# The settings of a federation, and everything that changes while it runs.

"""
    ServerStep(optimizer = nothing; schedule = ())

How the server steps: by an Optimisers rule that takes `-ū.delta` as its gradient, with the
factors `schedule` for its learning rate; or, with `nothing`, by adding `ū.delta`.
"""
struct ServerStep{O<:Union{Nothing,Optimisers.AbstractRule},S<:Tuple}
    optimizer::O
    schedule::S
end

function ServerStep(optimizer = nothing; schedule = ())
    optimizer isa Union{Nothing,Optimisers.AbstractRule} ||
        fail("server is a ", typeof(optimizer),
            "; expected a name such as fedadam(lr=0.01), or an Optimisers rule")
    isempty(schedule) || optimizer !== nothing ||
        fail("server_schedule is given, and there is no server optimizer whose learning ",
            "rate it could change; use one, such as sgd")
    return ServerStep(optimizer, Tuple(schedule))
end

"""
    Federated(model; loss = CrossEntropy(), train = LocalTraining(), rules = (),
              aggregate = Mean(), server = nothing, weights = :samples, trainer = :auto,
              seed = 0, faults = Faults(), attack = nothing, freeze = String[], training...)

The settings of a federation; nothing in it changes. The default is FedAvg (McMahan et al.
2017, arXiv:1602.05629, Algorithm 1).

- `model`: any Flux model with Float32 parameters; it is copied, never changed.
- `loss`: `CrossEntropy()`, `BinaryCrossEntropy()`, `MSE()`, or any `loss(ŷ, y)` that
  Zygote can differentiate.
- `train`: a [`LocalTraining`](@ref). Its settings can also be given here, such as
  `optimizer = Descent(0.1), epochs = 2`.
- `rules`: a tuple of [`Rule`](@ref)s.  `aggregate`: an [`Aggregator`](@ref).
- `server`: an Optimisers rule, `nothing`, or a [`ServerStep`](@ref).
- `weights`: the weight of a client in the average: its number of samples (`:samples`) or
  equal for all (`:uniform`).
- `trainer`: `:fast`, `:zygote`, or `:auto`, the fast one for every model that it supports.
- `seed`: all random numbers derive from it.
- `faults`: simulated failures, a [`Faults`](@ref).  `attack`: hostile clients, an
  [`Attackers`](@ref).
- `freeze`: names of layers or arrays of the model that stay as they are, such as
  `["layers.1"]`. They are neither trained nor sent, and their BatchNorm is in test mode.

Throws a [`FedFluxError`](@ref) for settings that don't fit each other or the model.

```julia
f = Federated(softmax_regression(64); optimizer = Descent(0.1), seed = 1)
```
"""
struct Federated
    model::Any       # none of these is in the type: rounds are compiled once, and only
    loss::Any        # local training and the rules' own parts for each kind
    train::LocalTraining
    rules::Tuple
    aggregate::Aggregator
    server::ServerStep
    weights::Symbol
    trainer::Symbol
    seed::UInt64
    faults::Faults
    attack::Union{Nothing,Attackers}
    layout::Layout
end

function Federated(model; loss = CrossEntropy(), train = LocalTraining(), rules = (),
    aggregate = Mean(), server = nothing, weights = :samples,
    trainer = :auto, seed = 0, faults = Faults(), attack = nothing, freeze = String[],
    training...)
    weights in (:samples, :uniform) ||
        fail("weights is ", repr(weights), "; expected :samples or :uniform")
    trainer in (:auto, :fast, :zygote) ||
        fail("trainer is ", repr(trainer), "; expected :auto, :fast or :zygote")
    train = LocalTraining(train; training...)
    rules = ordered_chain(Tuple(rules))
    check_aggregator(rules, aggregate)
    model = freeze!(deepcopy(model), freeze)
    check_statistics(rules, aggregate, model)
    check_attack(attack, aggregate)
    foreach(r -> check_model(r, model), rules)
    layout = Layout(model, freeze)
    rules = map(r -> prepare(r, layout, train), rules)
    check_examples(rules, model, train, freeze)
    server = server isa ServerStep ? server : ServerStep(server)
    check_server(rules, server.optimizer)
    return Federated(model, loss, train, rules, aggregate, server, weights,
        trainer, UInt64(seed), faults, attack, layout)
end

check_attack(attack, aggregate) = nothing
check_attack(a::Attackers, ::SecureMean) =
    omniscient(a.attack) &&
    fail("attack ", nameof(typeof(a.attack)), " and aggregate SecureMean don't go ",
        "together: the attackers know all honest updates, which nobody does under masks")

function Base.show(io::IO, f::Federated)
    (; optimizer, epochs, batchsize) = f.train
    print(io, "Federated(", f.layout.n, " parameters; ", title(f.aggregate))
    isempty(f.rules) || print(io, " with ", join(nameof.(typeof.(f.rules)), ", "))
    print(io, ", ", epochs, " epochs of batch ", batchsize, ", ", nameof(typeof(optimizer)),
        "(", learning_rate(optimizer), "))")
end

"""
    State(f::Federated, pool)
    State(f::Federated, engine)

Everything that changes from round to round, and all that a resume needs: the number of
finished rounds, the global parameters `θ` (in the engine's order) and statistics, the
rules' shared state, the private state of each client that took part, the state of the
server's optimizer, and what the aggregator and the sampling keep.
"""
mutable struct State
    round::Int
    θ::Vector{Float32}
    stats::Vector{Float32}
    shared::Tuple
    private::Dict{Int,Any}
    server::Any
    aggregator::Any
    sampling::Any
end
State(round, θ, stats, shared, private, server, aggregator) =
    State(round, θ, stats, shared, private, server, aggregator, nothing)

function State(f::Federated, engine::Engine)
    (; n, frozen) = f.layout
    θ = to_engine!(Vector{Float32}(undef, n), engine, flatten(f.model, frozen))
    n = nstats(engine)
    stats = gather!(Vector{Float32}(undef, n), n == 0 ? () : statistics(f.model))
    (; optimizer) = f.server
    server = optimizer === nothing ? nothing : Optimisers.init(optimizer, θ)
    return State(0, θ, stats, shared_init(f.rules, θ), Dict{Int,Any}(), server, nothing)
end

"The state as a client sees it that started from an older model."
State(st::State; round, θ, stats, shared) =
    State(round, θ, stats, shared, st.private, st.server, st.aggregator)

"The state with the model that is evaluated and returned, which a rule may choose."
function returned_state(f::Federated, st::State)
    θ = returned(f.rules, st.shared, st.θ)
    return θ === st.θ ? st : State(st; st.round, θ, st.stats, st.shared)
end

"The private state of client k: what its rules kept, or begin with."
private_state(f::Federated, st::State, k) =
    get(() -> private_init(f.rules, st.θ), st.private, k)

Base.show(io::IO, st::State) =
    print(io, "State(after round ", st.round, ", ", length(st.θ), " parameters)")

"""
    global_model(f, st, engine)

A copy of the federation's model with the global parameters and statistics in it.
"""
function global_model(f::Federated, st::State, engine::Engine)
    model = deepcopy(f.model)
    θ = to_model!(similar(st.θ), engine, st.θ)
    scatter!(trained(model, f.layout.frozen), θ)
    isempty(st.stats) || scatter!(statistics(model), st.stats)
    return model
end
