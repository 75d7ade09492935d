# What a run returns.

"""
    RunResult

The result of a run:

- `model`: the trained Flux model; `small`, if channels were pruned, the smaller model
  without them (see [`shrink`](@ref)), else `nothing`;
- `parameters`: the arrays in model order, their `names`, and `params_sha256` over their
  bytes;
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
    state::State
    facts::Dict{String,Any}
    federation::Union{Nothing,Federated} = nothing
end

"The parameters of a result, and BatchNorm's statistics, by name."
arrays_by_name(r) = Dict{String,Any}([r.names .=> r.parameters; all_statistics(r.model)])

"The arrays that Python gets of a result or a personal model: parameters, then statistics."
arrays_in_order(r) = Array{Float32}[r.parameters; last.(all_statistics(r.model))]

accuracy(r::RunResult) = last(r.history).accuracy
history_table(r::RunResult) = history_table(r.history)

function Base.show(io::IO, r::RunResult)
    print(io, "RunResult(", length(r.history), " rounds on ", r.dataset)
    accuracy(r) === nothing || @printf(io, ", accuracy %.4f", accuracy(r))
    @printf(io, ", %.1f s, trainer %s, params %s…)", r.seconds, r.trainer,
        first(r.params_sha256, 12))
end
