# A whole run from its options: what `FedFlux.run` and Python's `fedflux.run` both call.

"""
    RunResult

What a run gives: the trained `model` (a Flux model), its `parameters` (arrays in model order) and their `names`,
`params_sha256` over their bytes, the `history` (a vector of [`Record`](@ref)s), why it `stopped`, the `dataset`, the
`trainer` and why that one (`trainer_reason`), the `small` model where channels were pruned (see [`shrink`](@ref); else
`nothing`), `finetuned_accuracy` and `baselines` where they were asked for, `threads`, `seconds`, `warnings`, who held what
(`holdings`), the checked `options`, and the round that it was `resumed` after (0 for a run from the beginning).
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
    seconds::Float64
    warnings::Vector{String}
    holdings::Dict{String,Any}
    options::Dict{Symbol,Any}
    resumed::Int = 0
end

accuracy(r::RunResult) = last(r.history).accuracy

function Base.show(io::IO, r::RunResult)
    print(io, "RunResult(", length(r.history), " rounds on ", r.dataset)
    accuracy(r) === nothing || @printf(io, ", accuracy %.4f", accuracy(r))
    @printf(io, ", %.1f s, trainer %s, params %s…)", r.seconds, r.trainer, first(r.params_sha256, 12))
end

"""
    run(; options...) -> RunResult

Run a federation from start to stop condition. The options are those of Python's `fedflux.run` and of the command line,
with the same names and defaults (src/options.toml declares them). Beyond names, some take Julia objects:

- `dataset`: a [`Dataset`](@ref);
- `model`: any Flux model with Float32 parameters;
- `loss`: a [`Loss`](@ref) or any function `loss(ŷ, y)`;
- `rules`, `augment`: a [`Rule`](@ref) or an [`Augmentation`](@ref), or a list of those and names;
- `server`: an Optimisers rule;  `download`: a [`Compressor`](@ref);
- `partition`: a function `law(y, clients, rng)` that gives parts;  `sampling`: a [`Sampling`](@ref);  `availability`: an
  [`Availability`](@ref);  `aggregate`: an [`Aggregator`](@ref).

Further: `init`, a list of arrays in model order to start from; `callback(record) -> Bool`, called after each round, `true`
ends the run; `verbose = true` prints each round.

Throws a [`FedFluxError`](@ref) for a mistake in the options or the data.

```julia
FedFlux.run(dataset = "digits", rounds = 3, lr = 0.1)
```
"""
function run(; init = nothing, callback = Returns(false), verbose = false, options...)
    objects, given = split_objects(with_recorded(Dict{Symbol,Any}(options)))
    o = check_options(given)
    o[:engine] == "reference" && fail("engine reference is Python's NumPy implementation; in Julia leave engine out")
    warnings = String[]
    announce(record) = (verbose && println(record); callback(record))
    return execute(o, objects, init, warnings; callback = announce, started = _ -> foreach(w -> @warn(w), warnings), warned = w -> @warn(w))
end

"Options given as Julia objects, apart from those that options.toml can check."
function split_objects(given)
    objects = Dict(name => v for (name, v) in given if is_object(name, v))
    return objects, filter(p -> !is_object(p...), given)
end

is_object(name, v) = !plain_text(v) && (name in (:dataset, :model, :loss) || names_object(get(OPTIONS, string(name), nothing)))
names_object(option) = option !== nothing && startswith(option["type"], "spec")
plain_text(v) = v isa Union{AbstractString,Symbol,Nothing} || v isa Union{Tuple,AbstractVector} && all(plain_text, v)

"The object, or for a list the tuple of objects, that an option names or that was given."
built(o, objects, name) = as_object(get(OPTIONS[string(name)], "kind", string(name)), get(objects, name, o[name]))
as_object(kind, v) = v
as_object(kind, v::Union{AbstractString,Symbol}) = build(kind, string(v))
as_object(kind, v::Union{Tuple,AbstractVector}) = Tuple(as_object(kind, e) for e in v)

"""
The run itself, from checked options. `started(facts)` is called before the first round, `warned(message)` at each later
warning, `tick()` several times a second.
"""
function execute(o, objects, init, warnings; callback, started = Returns(nothing), warned = Returns(nothing), tick = nothing)
    begun = time()
    folder = checkpoint_folder(o)
    saved = o[:resume] === nothing ? nothing : load_checkpoint(o[:resume]; warn = w -> push!(warnings, w))
    dataset, warning = prepare_data(o, objects)
    warning === nothing || push!(warnings, warning)
    loss = get(objects, :loss, get(LOSSES, o[:loss], nothing))
    clients, test, outputs = prepare_clients(o, objects, dataset, loss)
    f = prepare_federated(o, objects, dataset, loss, outputs, init)
    clients, root = trains_root(f.aggregate) ? set_aside(clients, f.aggregate.root, o[:seed]) : (clients, nothing)
    crew = Crew(f, clients; threads = something(o[:threads], Threads.nthreads()), tick)
    st, history, before = State(f, engine(crew)), Record[], 0.0
    facts = folder === nothing ? Dict{String,Any}() : run_facts(o, objects, crew, clients, test)
    if saved !== nothing
        check_unchanged(saved, facts, w -> push!(warnings, w))
        st, history, before = restore(saved, f, engine(crew))
    end
    resumed = st.round
    checkpoints = folder === nothing ? nothing : Checkpoints(folder; every = o[:checkpoint_every], keep = o[:checkpoint_keep], run = facts)
    warn(message) = message in warnings || (push!(warnings, message); warned(message))
    started((; dataset = dataset.name, crew.trainer, trainer_reason = crew.reason, clients = length(clients), parameters = f.layout.n,
             threads = length(crew.workers), warnings))
    st, history, stopped = fit!(f, st, clients; rounds = o[:rounds], test, clients_per_round = something(o[:clients_per_round], length(clients)),
                                sampling = built(o, objects, :sampling), availability = built(o, objects, :availability),
                                target_accuracy = o[:target_accuracy], patience = o[:patience], time_budget = o[:time_budget],
                                eval_every = o[:eval_every], crew, callback, checkpoints, history, seconds = before, root, warn)
    beside = compare(o, f, st, clients, test, crew)
    model = global_model(f, st, engine(crew))
    θ = flatten(model)
    small = any(r -> r isa PruneChannels, f.rules) ? shrink(model) : nothing
    return RunResult(; model, small, parameters = arrays(θ, f.layout), names = [s.name for s in f.layout.slots],
                     params_sha256 = fingerprint(θ), history, stopped, dataset = dataset.name, crew.trainer,
                     trainer_reason = crew.reason, beside..., threads = length(crew.workers), seconds = before + time() - begun, warnings,
                     holdings = holdings(clients), options = o, resumed)
end

"What a run tells beside its own accuracy: the clients' fine-tuned models, and the baselines."
function compare(o, f, st, clients, test, crew)
    o[:finetune_epochs] == 0 && isempty(o[:baselines]) && return (;)
    nclasses = test_classes(f, test, clients)
    nclasses == 0 && fail("finetune_epochs and baselines need test data with classes to measure accuracy on")
    counts = labelcounts(clients, nclasses)
    baseline(name) = name == "centralized" ? centralized_baseline(crew, f, clients, st.round, test) :
                     local_baseline(crew, f, clients, st.round, test, counts)
    tuned = o[:finetune_epochs] == 0 ? nothing : finetuned_accuracy(crew, f, st, clients, o[:finetune_epochs], test, counts)
    return (; finetuned_accuracy = tuned, baselines = Dict{String,NamedTuple}(name => baseline(name) for name in o[:baselines]))
end

function prepare_data(o, objects)
    dataset, warning = haskey(objects, :dataset) ? (objects[:dataset], nothing) :
                       load_dataset(o[:dataset]; dir = o[:data_dir], text = text_options(o))
    dataset isa Dataset || fail("dataset is a ", typeof(dataset), "; expected a name, a path or a FedFlux.Dataset")
    o[:normalise] == "none" || (o[:mean] === nothing && o[:std] === nothing) ||
        fail("normalise is ", o[:normalise], ", and mean or std is given; expected one or the other")
    tokens = takes_tokens(get(objects, :model, o[:model]))
    tokens && !(o[:mean] === o[:std] === nothing && o[:normalise] == "none") &&
        fail("the model takes tokens, which can't be normalised: leave mean, std and normalise out")
    return inputs_for(normalise(dataset, o[:mean], o[:std]), tokens), warning
end

text_options(o) = (; tokens = o[:tokens], window = o[:window], vocabulary = o[:vocabulary], min_characters = o[:min_characters])

"The clients, the test data as `(x, y)` or `nothing`, and how many outputs the model needs (0: any)."
function prepare_clients(o, objects, d::Dataset, loss)
    checklabels(loss, d.y, "train")
    y = targets(loss, d.y)
    clients = partition(for_data(built(o, objects, :partition), d.owner), d.x, y, o[:clients], o[:seed])
    something(o[:clients_per_round], 1) <= length(clients) ||
        fail("clients_per_round is ", o[:clients_per_round], ", and there are ", length(clients), " clients")
    xtest = d.xtest
    o[:normalise] == "federated" && ((clients, xtest) = normalise_federated(clients, xtest))
    d.ytest === nothing && return clients, nothing, outputs_for(loss, y)
    checklabels(loss, d.ytest, "test")
    ytest = targets(loss, d.ytest)
    return clients, (xtest, ytest), max(outputs_for(loss, y), outputs_for(loss, ytest))
end

outputs_for(loss::CrossEntropy, y) = classes(loss, y)
outputs_for(::Union{BinaryCrossEntropy,MSE}, y) = ndims(y) == 1 ? 1 : prod(size(y)[1:end-1])
outputs_for(loss, y) = 0

function prepare_federated(o, objects, d::Dataset, loss, outputs, init)
    dims = size(d.x)[1:end-1]
    eltype(d.x) <: Integer && (outputs = max(outputs, maximum(d.x)))      # a token may stand in the inputs alone
    model = get(objects, :model, nothing)
    own = model !== nothing
    own || (model = build_model(o[:model], dims, max(outputs, 1); hidden = o[:hidden], embedding = o[:embedding],
                                rng = Stream(o[:seed], :init)))
    sample = getobs(d.x, 1:1)
    takes_tokens(model) && check_vocabulary(model, d)
    # A model of the user's own may have more outputs than the labels seen.
    checkmodel(model, sample, own && loss isa CrossEntropy ? 0 : outputs)
    own && loss isa CrossEntropy && check_enough_outputs(model, sample, outputs)
    init === nothing || (model = deepcopy(model); load_init!(model, init))
    return Federated(model; loss, rules = (one_or_many(built(o, objects, :rules))..., download_rule(built(o, objects, :download))...),
                     server = check_server(built(o, objects, :server)),
                     schedule = one_or_many(built(o, objects, :schedule)), server_schedule = one_or_many(built(o, objects, :server_schedule)),
                     augment = one_or_many(built(o, objects, :augment)), samples_per_epoch = something(o[:samples_per_epoch], typemax(Int)),
                     optimizer = client_optimizer(o), epochs = o[:local_epochs],
                     maxsteps = something(o[:local_steps], typemax(Int)), batchsize = o[:batch_size], aggregate = built(o, objects, :aggregate),
                     weights = Symbol(o[:weights]), trainer = Symbol(o[:trainer]), seed = o[:seed],
                     faults = Faults(one_or_many(built(o, objects, :faults)); deadline = o[:deadline], overselect = o[:overselect],
                                     min_updates = o[:min_updates]), attack = build_attack(o, objects))
end

function build_attack(o, objects)
    attack = built(o, objects, :attack)
    attack === nothing || return Attackers(attack; count = something(o[:attackers], 0), clients = something(o[:attacker_list], Int[]))
    o[:attackers] === nothing && o[:attacker_list] === nothing || fail("there are attackers, and no attack: give the option attack too")
    return nothing
end

one_or_many(object) = (object,)
one_or_many(objects::Tuple) = objects

download_rule(::Nothing) = ()
download_rule(c::Rule) = (Download(c),)
download_rule(c) = fail("download is a ", typeof(c), "; expected a name such as quantize(bits=8), or a compressor")

check_server(s::Union{Nothing,Optimisers.AbstractRule}) = s
check_server(s) = fail("server is a ", typeof(s), "; expected a name such as fedadam(lr=0.01), or an Optimisers rule")

check_enough_outputs(model, sample, outputs) =
    (n = size(model(sample), 1); n >= outputs || fail("the model gives ", n, " outputs, and labels go up to ", outputs - 1))

function check_vocabulary(model, d)
    n = size(first(model.layers).weight, 2)
    top = maximum(maximum(x) for x in (d.x, d.xtest) if x !== nothing)
    top <= n ||
        fail("the model's Embedding holds ", n, " tokens, and those of the data go up to ", top - 1, "; expected less than ", n)
end

load_init!(model, init) = update_model!(model, collect(init))

function client_optimizer(o)
    lr = o[:lr]
    o[:optimizer] == "sgd" && return Optimisers.Descent(Float32(lr))
    o[:optimizer] == "momentum" && return Optimisers.Momentum(lr, o[:momentum])
    return Optimisers.Adam(lr)
end
