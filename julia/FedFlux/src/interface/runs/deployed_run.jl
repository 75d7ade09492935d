# A deployment from the options of a run: what `FedFlux.run` does in one process, split into
# a server and its clients.

"""
The options that decide what a client computes; both sides must have the same. Objects of
the user's own are told by name. Of an aggregator a client sees as little as of the mean.
"""
shared_options(o::Options) = Dict{String,String}(
    name => JSON.json(told_to_clients(name, getfield(o, Symbol(name))))
    for name in keys(column("shared"))
    if name in ("rules", "aggregate") || is_text(getfield(o, Symbol(name)))
)

told_to_clients(name, value) = value
told_to_clients(name, ::FunctionAggregate) = DECLARED_OPTIONS[name]["default"]
told_to_clients(name, r::Rule) = told_to_clients(name, (r,))
told_to_clients(name, rules::Tuple) =
    Any[type_name(r) for r in rules if !(r isa Rule) || on_clients(r)]

"""
    check_deployable(o::Options)

Throw a [`FedFluxError`](@ref) that names the first option that has a meaning in a
simulation only, and why.
"""
function check_deployable(o::Options)
    refuse_option(name, why) =
        fail("option ", name, " can't be used in a deployment: ", why)
    for (name, why) in sort!(collect(column("simulated")))
        getfield(o, Symbol(name)) == default_beside(name, n -> getfield(o, Symbol(n))) ||
            refuse_option(name, why)
    end
    aggregate = built(o, :aggregate)
    aggregate isa SecureMean && aggregate.drop > 0 &&
        refuse_option("aggregate", "drop simulates clients that vanish")
    aggregate isa Union{GeometricMedian,NormClipping} && o.weights == "samples" &&
        refuse_option(
            "weights",
            "with aggregate $(o.aggregate) a client weighs as many " *
            "samples as it says it has; set weights=uniform"
        )
    aggregate isa SecureMean && !knows_cohort(aggregate) &&
        refuse_option("aggregate",
            "a node must know how many clients' noise together is enough, and not take " *
            "it from the server: give cohort too, as in " *
            "secure(noise=4, clip=0.5, cohort=50)")
    o.class_weights == "balanced" && refuse_option("class_weights",
        "no machine sees all labels; give a number for each class")
    for r in one_or_many(built(o, :rules))
        r isa Pruning && o.download !== nothing &&
            refuse_option("download", "a pruned model travels whole")
        r isa Asynchronous && refuse_option("rules",
            "$(lowercase(string(nameof(typeof(r))))) simulates the clients' speeds")
    end
end

"What a client tells the server before the first round: see [`open_client`](@ref)."
client_facts(o::Options, d::Dataset) = Dict{String,Any}("samples" => numobs(d.x),
    "input" => Int[size(d.x)[1:(end-1)]...],
    "target" => Int[size(d.y)[1:(end-1)]...],
    "outputs" => needed_outputs(o, d))

"The number of outputs that a model needs for these data; 0: any."
function needed_outputs(o::Options, d::Dataset)
    loss = loss_of(o)
    n = outputs_for(loss, targets(loss, d.y))
    d.ytest === nothing || (n = max(n, outputs_for(loss, targets(loss, d.ytest))))
    return eltype(d.x) <: Integer ? max(n, maximum(d.x)) : n
end

"""
    open_client(given::Options, data::Dataset, party = nothing, number = nothing)
        -> (session, facts)

The client of a deployment that holds all of `data`, as a [`ClientSession`](@ref); and what
the server must know of it: its `samples`, the size of an `input` and of a `target`, and how
many `outputs` its labels need. `party` and `number`: see [`ClientSession`](@ref). Throws a
[`FedFluxError`](@ref) for options or data that can't be used.
"""
function open_client(given::Options, data::Dataset, party = nothing, number = nothing)
    check_deployable(given)
    d, o = prepare_data(given; data, deployed = true)
    loss = loss_of(o)
    checklabels(loss, d.y, "train")
    y = targets(loss, d.y)
    needed = needed_outputs(o, d)
    make(outputs) = (prepare_federated(o, d, max(outputs, needed), nothing), d.x, y)
    counted = parameter_count(o, d)
    session = ClientSession(make, shared_options(o), party; number, o.rounds,
        parameters = outputs -> counted(max(outputs, needed, 1)))
    return session, client_facts(o, d)
end

"""
The number of parameters of the model, for each number of outputs: a named one's grows by as
many with each, since nothing but its last layer, and an Embedding, depends on it.
"""
function parameter_count(o::Options, d::Dataset)
    count_in(model) = sum(length, Optimisers.trainables(model); init = 0)
    o.model isa AbstractString || return Returns(count_in(o.model))
    named(outputs) = build_model(o.model, size(d.x)[1:(end-1)], outputs; o.hidden,
        o.embedding, rng = Stream(o.seed, :init))
    one, two = count_in(named(1)), count_in(named(2))
    return outputs -> one + (two - one) * (outputs - 1)
end

"""
    Deployment

A server that was opened from its options: its `session`, and what the result of the run
tells besides.
"""
mutable struct Deployment
    options::Options
    session::ServerSession
    run::Dict{String,Any}           # what decides the numbers
    lock::Union{Nothing,FolderLock}
    dataset::String
    warnings::Vector{String}
    resumed::Int
    input::InputContract
end

"""
    open_server(o::Options, facts, data, init) -> Deployment

The server of a deployment.

- `facts`: for each client, in order, what [`open_client`](@ref) told; `samples` alone is
  enough if there is test data.
- `data`: a [`Dataset`](@ref) whose training data is the server's root data (for FLTrust)
  and whose test data it evaluates on; `nothing`: it has none.
- `init`: arrays to start from, or `nothing`.

Locks the folder for checkpoints until [`close!`](@ref). Throws a [`FedFluxError`](@ref)
for options that can't be used.
"""
function open_server(o::Options, facts, data, init)
    check_deployable(o)
    folder, warnings = checkpoint_folder(o), String[]
    note = Base.Fix1(add_warning!, warnings)
    folder === nothing && return open_server(o, facts, data, init, nothing, warnings, note)
    lock = FolderLock(folder; warn = note)
    try
        check_unused(folder, o)
        return open_server(o, facts, data, init, lock, warnings, note)
    catch
        release!(lock)
        rethrow()
    end
end

function open_server(o, facts, data, init, lock, warnings, note)
    saved = o.resume === nothing ? nothing : load_checkpoint(o.resume; warn = note)
    given = data === nothing ? stand_in(facts) : data
    d, o = prepare_data(o; data = given, deployed = true)
    samples, outputs = joined(o, facts, data === nothing ? nothing : d)
    loss = loss_of(o)
    f = prepare_federated(o, d, outputs, init)
    rooted = data !== nothing && needs_root(f.aggregate)
    needs_root(f.aggregate) && !rooted &&
        fail("aggregate ", o.aggregate, " needs root data: give the server training data")
    clients = absent_clients(samples, d.x, targets(loss, d.y);
        root = rooted ? collect(1:numobs(d.x)) : Int[])
    test = d.ytest === nothing ? nothing : (d.xtest, targets(loss, d.ytest))
    pool = WorkerPool(f, d.x, clients.y; threads = something(o.threads, Threads.nthreads()))

    folder = checkpoint_folder(o)
    run = run_facts(o, pool.trainer, clients, test, versions())
    federation = random_bytes(ID_BYTES)
    st, progress = State(f, pool), Progress()
    if saved !== nothing
        check_same_run(saved, run, note)
        federation = federation_of(saved)
        st, progress = restore(saved, f, engine(pool))
    end
    run["federation"] = bytes2hex(federation)
    run["dataset"] = data === nothing ? "none" : d.name
    run["sample"] = collect(reverse(size(d.x)[1:(end-1)]))
    run["input"] = plain_contract(InputContract(d, o.mean, o.std))
    checkpoints =
        folder === nothing ? nothing :
        Checkpoints(folder; every = o.checkpoint_every, keep = o.checkpoint_keep, run)

    sampling = cohort_sampling(o, length(clients))
    evaluation =
        test === nothing ? nothing :
        TestData(test..., counted_outputs(loss, test[2], outputs), nothing)
    run_log = RunLog(f, st, clients; stopping = stopping_of(o), sampling, evaluation,
        o.eval_every, pool, warn = Callback(note), checkpoints, progress,
        metrics = run_metrics(o, loss, d.classes))
    session = ServerSession(f, st, clients, pool, run_log, sampling; federation, outputs,
        options = shared_options(o), key = common_key(f.aggregate, facts))
    check_encryption(f.aggregate, session, o.rounds)
    return Deployment(o, session, run, lock, data === nothing ? "none" : d.name, warnings,
        st.round, InputContract(d, o.mean, o.std))
end

"The number of classes that right answers are counted for, by those of all clients."
function counted_outputs(loss, y, outputs)
    n = counted_classes(loss, y)
    return loss isa CrossEntropy && n > 0 ? outputs : n
end

"One sample of zeros, like those of the clients, for a server without data."
function stand_in(facts)
    known = findfirst(c -> haskey(c, "input") && haskey(c, "target"), facts)
    known === nothing &&
        fail("the server has no data and knows no client's: give it test ",
            "data, so that it can make the model")
    input, target = (size_in(facts[known], known, name) for name in ("input", "target"))
    tokens = length(input) == 1 && target == input
    x = zeros(tokens ? Int : Float32, input..., 1)
    d = Dataset(x, zeros(Int, target..., 1), nothing, nothing; name = "none")
    return untyped(d)
end

"""
The clients' numbers of samples, and how many outputs the model needs for the data of all.
Throws if a client's data have another form than the others', or what it says of them is
no number that can be.
"""
function joined(o::Options, facts, d)
    isempty(facts) && fail("there are no clients")
    samples = [number_in(c, k, "samples", 1:MOST_SAMPLES) for (k, c) in enumerate(facts)]
    for name in ("input", "target")
        forms = unique(c[name] for c in facts if haskey(c, name))
        length(forms) <= 1 ||
            fail("the clients' data differ: an ", name, " has size ", join(forms, " or "))
    end
    outputs = maximum(((k, c),) -> number_in(c, k, "outputs", 0:MAX_CLASSES, 0),
        enumerate(facts))
    return samples, d === nothing ? outputs : max(outputs, needed_outputs(o, d))
end

const MOST_SAMPLES = 10^9       # of a client
const MOST_VALUES = 1 << 24     # of an input, or a target

function number_in(facts, k, name, range, default = nothing)
    x = get(facts, name, default)
    x isa Int && x in range ||
        fail("client ", k, " says that its number of ", name, " is ",
            repr(x), "; expected ", first(range), " to ", last(range))
    return x
end

function size_in(facts, k, name)
    x = get(facts, name, nothing)
    x isa AbstractVector && length(x) <= 8 && all(n -> n isa Int && n > 0, x) &&
    prod(big, x; init = big(1)) <= MOST_VALUES ||
        fail("client ", k, " says that the size of its ", name, " is ", repr(x))
    return Int.(x)
end

"The number of the key that all clients have, if they encrypt."
common_key(::Aggregator, facts) = ""
function common_key(::CKKS, facts)
    ids = [get(c, "ckks_key", nothing) for c in facts]
    plain = findfirst(id -> !(id isa AbstractString), ids)
    plain === nothing || fail("client ", plain, " has no key for aggregate ckks: a plain ",
        "Flower client can't take part")
    other = findfirst(!=(first(ids)), ids)
    other === nothing || fail("clients 1 and ", other, " have different keys for ",
        "aggregate ckks: give all nodes the same file as ckks-key")
    occursin(r"^[0-9a-f]{32}$", first(ids)) || fail("client 1 says no valid ckks_key")
    return String(first(ids))
end

function federation_of(saved)
    text = get(saved.content["run"], "federation", "")
    id = hex2bytes_or_nothing(text)
    id !== nothing && length(id) == ID_BYTES ||
        fail("resume: ", saved.path, " is of a simulated run, not of a deployment")
    return id
end
hex2bytes_or_nothing(text) = occursin(r"^([0-9a-f]{2})*$", text) ? hex2bytes(text) : nothing

"Force the newest checkpoint to the disk, and give the folder for them free again."
function close!(d::Deployment)
    end_checkpoints(d.session.run_log)
    return d.lock === nothing || release!(d.lock)
end

"The [`RunResult`](@ref) of a deployment, when its run ended or before."
function result(d::Deployment)
    (; f, st, clients, pool, run_log) = d.session
    (; progress) = run_log
    return run_result(d.options, f, st, pool; run_log.history,
        best = best_snapshot(d.options, f, st, pool, progress, d.input, nothing),
        best_state = progress.best,
        stopped = something(run_log.stopped, "stopped"), d.dataset,
        seconds = elapsed(run_log), d.warnings,
        privacy = statement(run_log.privacy, st.round, reports(run_log.history)),
        holdings = sizes_held(clients),
        clients = client_table(1:length(clients), clients, run_log.history;
            hidden = hides_cohort(f.rules)),
        d.resumed, d.input, sample = size(clients.x)[1:(end-1)], state = st, facts = d.run)
end
