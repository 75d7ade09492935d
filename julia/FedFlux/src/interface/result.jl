# What a run returns.

"""
    RunResult

The result of a run:

- `model`: the trained Flux model; `small`, if channels were pruned, the smaller model
  without them (see [`shrink`](@ref)), else `nothing`;
- `parameters`: the arrays in model order, their `names`, and `params_sha256` over their
  bytes; `statistics`, such as BatchNorm's running means, by name;
- `best`: the [`Snapshot`](@ref) after the best round by the option `monitor`, or `nothing`
  if no round was evaluated;
- `history`: a vector of [`Record`](@ref)s; `stopped`: why the run ended;
- `finetuned_accuracy` and `baselines`, if they were asked for;
- `dataset`; `trainer` and why that one (`trainer_reason`); `threads`;
  `workers`, the number of worker processes; `seconds`;
  `warnings`;
- `privacy`: what is promised to whom, if a rule promises differential privacy, else
  `nothing`;
- `holdings`: the number of samples and labels of each client;
- `clients`: a row for each client, as [`client_table`](@ref) describes, for any package of
  the Tables.jl interface; [`personal`](@ref)`(r, name)` is a client's own model;
- `options`: the checked [`Options`](@ref); `resumed`: the round that the run was resumed
  after (0 for a run from the beginning);
- `sample`: the size of one sample, as the model takes it;
- `input`: what the model takes, an [`InputContract`](@ref);
- `classes`: the labels as they were given, by their numbers; `nothing` if they are numbers
  from 0 themselves;
- `state`: the [`State`](@ref) after the last round, and `facts`, what decided the numbers:
  what `run(resume = result)` goes on from; `federation`, the [`Federated`](@ref), or
  `nothing` for a deployment.
"""
Base.@kwdef struct RunResult
    model::Any
    small::Any
    parameters::Vector{Array{Float32}}
    names::Vector{String}
    params_sha256::String
    statistics::Vector{Pair{String,Array{Float32}}}
    best::Union{Nothing,Snapshot} = nothing
    history::Vector{Record}
    stopped::String
    dataset::String
    trainer::String
    trainer_reason::String
    finetuned_accuracy::Union{Nothing,Float64} = nothing
    baselines::Dict{String,NamedTuple} = Dict{String,NamedTuple}()
    threads::Int
    workers::Int
    seconds::Float64
    warnings::Vector{String}
    privacy::Union{Nothing,Dict{String,Any}} = nothing
    holdings::Dict{String,Any}
    clients::Vector{<:NamedTuple} = NamedTuple[]
    options::Options
    resumed::Int = 0
    sample::Dims
    input::InputContract
    classes::Union{Nothing,Vector} = nothing
    state::State
    best_state::Union{Nothing,Best} = nothing    # for a run that goes on
    facts::Dict{String,Any}
    federation::Union{Nothing,Federated} = nothing
end

"The parameters and the statistics of a result or of a model of one, by name."
arrays_by_name(r) = Dict{String,Any}([r.names .=> r.parameters; r.statistics])

"The arrays of a model as Python gets them: parameters, then statistics."
model_arrays(r) = Array{Float32}[r.parameters; last.(r.statistics)]

"Whether a result's best model is another than its last."
best_apart(r) = r.best !== nothing && r.best.round != r.state.round

"The arrays of a result, and those of its best model if that is another."
arrays_in_order(r::RunResult) =
    best_apart(r) ? [model_arrays(r); model_arrays(r.best)] : model_arrays(r)

accuracy(r::RunResult) = last(r.history).accuracy
history_table(r::RunResult) = history_table(r.history)

function Base.show(io::IO, r::RunResult)
    print(io, "RunResult(", length(r.history), " rounds on ", r.dataset)
    accuracy(r) === nothing || @printf(io, ", accuracy %.4f", accuracy(r))
    @printf(io, ", %.1f s, trainer %s, params %s…)", r.seconds, r.trainer,
        first(r.params_sha256, 12))
end
