# The federation's settings, and everything that changes while it runs.

"""
    Federated(model; loss = CrossEntropy(), optimizer = Descent(0.05), epochs = 1, maxsteps = typemax(Int),
              batchsize = 32, samples_per_epoch = typemax(Int), augment = (), rules = (), aggregate = Mean(), server = nothing,
              schedule = (), server_schedule = (), weights = :samples, trainer = :auto, seed = 0, faults = Faults(), attack = nothing)

What a federation does: settings only, nothing in it changes. The default is FedAvg (McMahan et al. 2017,
arXiv:1602.05629, Algorithm 1).

- `model`: any Flux model with Float32 parameters; it is copied, never changed.
- `loss`: `CrossEntropy()`, `BinaryCrossEntropy()`, `MSE()`, or any `loss(ŷ, y)` that Zygote can differentiate.
- `optimizer`, `epochs`, `maxsteps`, `batchsize`: a client's local training; an Optimisers rule, started anew each round.
- `samples_per_epoch`: samples at the most that a client sees in an epoch, drawn anew from its own each time.
- `augment`: a tuple of [`Augmentation`](@ref)s, done in their order.
- `rules`: a tuple of [`Rule`](@ref)s.  `aggregate`: an [`Aggregator`](@ref).
- `server`: an Optimisers rule that takes -ū.delta as its gradient; `nothing` adds ū.delta.
- `schedule`, `server_schedule`: factors for the clients' and the server's learning rate, tuples of functions of the round.
- `weights`: what a client weighs in the average, `:samples` or `:uniform`.
- `trainer`: `:fast`, `:zygote`, or `:auto`, the fast one wherever it takes the model.
- `seed`: everything random derives from it.
- `faults`: how clients fail, and how that is met, a [`Faults`](@ref).  `attack`: hostile clients, an [`Attackers`](@ref).

```julia
f = Federated(softmax_regression(64); optimizer = Descent(0.1), seed = 1)
```
"""
struct Federated{M,L,O,G<:Tuple,R<:Tuple,A<:Aggregator,S,F<:Faults,H<:Union{Nothing,Attackers}}
    model::M
    loss::L
    train::LocalTraining{O}
    augment::G
    rules::R
    aggregate::A
    server::S
    schedule::Tuple
    server_schedule::Tuple
    weights::Symbol
    trainer::Symbol
    seed::UInt64
    layout::Layout
    faults::F
    attack::H
end

function Federated(model; loss = CrossEntropy(), optimizer = Optimisers.Descent(0.05f0), epochs = 1, maxsteps = typemax(Int),
                   batchsize = 32, samples_per_epoch = typemax(Int), augment = (), rules = (), aggregate = Mean(), server = nothing,
                   schedule = (), server_schedule = (), weights = :samples, trainer = :auto, seed = 0, faults = Faults(), attack = nothing)
    weights in (:samples, :uniform) || fail("weights is ", repr(weights), "; expected :samples or :uniform")
    trainer in (:auto, :fast, :zygote) || fail("trainer is ", repr(trainer), "; expected :auto, :fast or :zygote")
    all(>(0), (epochs, maxsteps, batchsize, samples_per_epoch)) ||
        fail("epochs, maxsteps, batchsize and samples_per_epoch are ", (epochs, maxsteps, batchsize, samples_per_epoch),
             "; expected positive numbers")
    rules = Tuple(rules)
    checkchain(rules)
    isempty(server_schedule) || server !== nothing ||
        fail("server_schedule is given, and there is no server optimiser whose learning rate it could change; use one, such as sgd")
    layout, training = Layout(model), LocalTraining(optimizer; epochs, maxsteps, batchsize, samples = samples_per_epoch)
    rules = map(r -> prepare(r, layout, training), rules)
    return Federated(deepcopy(model), loss, training, Tuple(augment), rules, aggregate, server, Tuple(schedule),
                     Tuple(server_schedule), weights, trainer, UInt64(seed), layout, faults, attack)
end

Base.show(io::IO, f::Federated) =
    print(io, "Federated(", f.layout.n, " parameters; ", nameof(typeof(f.aggregate)), isempty(f.rules) ? "" : " with ",
          join((nameof(typeof(r)) for r in f.rules), ", "), ", ", f.train.epochs, " epochs of batch ", f.train.batchsize, ", ",
          nameof(typeof(f.train.optimizer)), "(", learning_rate(f.train.optimizer), "))")

"""
    State(f::Federated, engine)

Everything that changes from round to round, and all that a resume needs: the number of rounds done, the global
parameters `θ` (in the engine's order) and statistics, the rules' shared state, each seen client's private state, the
server optimiser's state, and what the aggregator keeps.
"""
mutable struct State
    round::Int
    θ::Vector{Float32}
    stats::Vector{Float32}
    shared::Tuple
    private::Dict{Int,Any}
    server::Any
    aggregator::Any
end

function State(f::Federated, engine::Engine)
    θ = to_engine!(Vector{Float32}(undef, f.layout.n), engine, flatten(f.model))
    stats = gather!(Vector{Float32}(undef, nstats(engine)), nstats(engine) == 0 ? () : statistics(f.model))
    server = f.server === nothing ? nothing : Optimisers.init(f.server, θ)
    return State(0, θ, stats, shared_init(f.rules, θ), Dict{Int,Any}(), server, nothing)
end

Base.show(io::IO, st::State) = print(io, "State(after round ", st.round, ", ", length(st.θ), " parameters)")

"""
    global_model(f, st, engine)

A copy of the federation's model with the global parameters and statistics in it.
"""
function global_model(f::Federated, st::State, engine::Engine)
    model = deepcopy(f.model)
    scatter!(Optimisers.trainables(model), to_model!(similar(st.θ), engine, st.θ))
    isempty(st.stats) || scatter!(statistics(model), st.stats)
    return model
end
