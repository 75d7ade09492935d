# From the options of a run to its data, its clients and its federation.

"""
The data set that the options name or hold, or `data` in its place, its inputs as the model
takes them and its labels numbered ([`number_labels`](@ref)); and the options with the
defaults that hang on it.
"""
function prepare_data(o::Options; data = nothing, warn = Returns(nothing),
    keep_integers = false, deployed = false)
    dataset = something(data, o.dataset)
    if !(dataset isa Dataset)
        dataset isa AbstractString ||
            fail("dataset is a ", typeof(dataset),
                "; expected a name, a path or a FedFlux.Dataset")
        text = (; o.tokens, o.window, o.vocabulary, o.min_characters)
        dataset, warning = load_dataset(dataset; dir = o.data_dir, text)
        warning === nothing || warn(warning)
    end
    is_text(o.validation) || (dataset = with_validation(dataset, o.validation))
    o = settled(o, dataset.name)
    keep_integers |= !(o.model isa AbstractString)
    dataset =
        deployed ? with_numbers(dataset) :
        number_labels(dataset, loss_of(o); keep_integers)
    given = o.mean !== nothing || o.std !== nothing
    o.normalise == "none" || !given ||
        fail("normalise is ", o.normalise,
            ", and mean or std is given; expected one or the other")
    tokens = takes_tokens(o.model)
    tokens && (given || o.normalise != "none") &&
        fail("the model takes tokens, which can't be normalized: leave mean, std and ",
            "normalise out")
    own = data === nothing && (o.dataset isa Dataset || endswith(o.dataset, ".npz"))
    own && foreach(warn, advice_on(o, dataset, tokens, given))
    dataset = normalise(dataset, o.mean, o.std)
    # What the clients are to normalise together keeps its differences until then.
    o.normalise == "none" || return map_inputs(as_floats, dataset), o
    return inputs_for(dataset, tokens), o
end

"What in a user's own data will train badly."
function advice_on(o::Options, d::Dataset, tokens, scaled)
    messages = String[]
    tokens || scaled || o.normalise != "none" || append!(messages, advice_on_inputs(d.x))
    labels = o.loss == "cross_entropy" && ndims(d.y) == 1 && eltype(d.y) <: Integer
    labels && append!(messages, advice_on_labels(d.y))
    return messages
end

"""
The `clients` with their shares of the data, the `test` data as `(x, y)` or `nothing`, how
many `outputs` the model needs (0: any), the [`InputContract`](@ref) of the `input`, the
`names` of the clients, each one's `own_test` data, as [`Clients`](@ref), or `nothing`, and
the data for `validation` as `(x, y)`, or `nothing`.
"""
function prepare_clients(o::Options, d::Dataset; warn = Returns(nothing))
    loss = loss_of(o)
    checklabels(loss, d.y, "train")
    y = targets(loss, d.y)
    partitioner = for_data(built(o, :partition), d.owner)
    clients = partition(partitioner, d.x, y, o.clients, o.seed)
    something(o.clients_per_round, 1) <= length(clients) ||
        fail("clients_per_round is ", o.clients_per_round, ", and there are ",
            length(clients), " clients")
    names = client_names(partitioner, length(clients))
    clients, own = own_samples_of(o, d, clients, partitioner, names, warn)
    clients, apart = validation_samples(o, d, clients)
    xtest = d.xtest
    moments = (o.mean, o.std)
    if o.normalise == "federated"
        clients, xtest, moments = normalise_federated(clients, xtest)
    end
    input = InputContract(d, moments...)
    test, outputs = nothing, outputs_for(loss, y)
    if d.ytest !== nothing
        checklabels(loss, d.ytest, "test")
        test = (xtest, targets(loss, d.ytest))
        outputs = max(outputs, outputs_for(loss, last(test)))
    end
    together = o.normalise == "federated" ? moments : nothing
    validation = validation_data(d, clients, apart, loss, together)
    validation === nothing ||
        (outputs = max(outputs, outputs_for(loss, last(validation))))
    source = own !== nothing && own.trained ? (clients.x, clients.y) : test
    own_test = own === nothing ? nothing : test_clients(own, source...)
    return (; clients, test, outputs, input, names, own_test, validation)
end

"The clients without the samples that are set aside for validation, and those or `nothing`."
function validation_samples(o::Options, d::Dataset, clients)
    arrays, share = d.validation !== nothing, o.validation isa Real
    given = (arrays, share, o.client_validation !== nothing)
    count(given) > 1 &&
        fail("validation and client_validation, or validation twice, were given; ",
            "expected one: arrays, a share of the samples or a share of each client's")
    o.validation isa Real && return validation_share(clients, o.validation, o.seed)
    o.client_validation === nothing && return clients, nothing
    return client_validation_share(clients, o.client_validation, o.seed)
end

"The samples to validate on and their targets, as the model takes them, or `nothing`."
function validation_data(d::Dataset, clients, apart, loss, moments)
    apart === nothing || return getobs(clients.x, apart), getobs(clients.y, apart)
    d.validation === nothing && return nothing
    x, y = d.validation
    checklabels(loss, y, "validation")
    return moments === nothing ? x : standardize(x, moments...), targets(loss, y)
end

"The clients without what they keep for tests, and their own test samples or `nothing`."
function own_samples_of(o::Options, d::Dataset, clients, partitioner, names, warn)
    owned = partitioner isa ByOwner && d.owner_test !== nothing
    owned || o.client_test !== nothing || return clients, nothing
    length(clients) <= MAX_CLIENTS_LISTED ||
        fail("there are ", length(clients), " clients, and results tell the accuracy of ",
            "each for up to ", MAX_CLIENTS_LISTED, ": leave client_test and owner_test out")
    owned || return hold_out(clients, o.client_test, o.seed)
    o.client_test === nothing ||
        fail("client_test is ", o.client_test, ", and the data says already which test ",
            "samples are each client's own (owner_test); expected one of the two")
    return clients, owned_test(names, d.owner_test; warn)
end

outputs_for(loss::CrossEntropy, y) = classes(loss, y)
outputs_for(::PointwiseLoss, y) =
    ndims(y) == 1 ? 1 : prod(size(y)[1:(end-1)])
outputs_for(loss, y) = 0

"""
The federation: the model, its local training, the rules, the aggregator and the server.
`input` is the [`InputContract`](@ref) of the data, which has their moments; the labels of
`clients` count for class weights that are balanced.
"""
function prepare_federated(o::Options, d::Dataset, outputs, init,
    input = InputContract(d, o.mean, o.std); clients = nothing)
    foreach(a -> check_image(a, size(d.x)[1:(end-1)]), one_or_many(built(o, :augment)))
    # A token may stand in the inputs alone, and a named model predicts each.
    is_name(o.model) && eltype(d.x) <: Integer &&
        (outputs = max(outputs, maximum(d.x)))
    model = prepare_model(o, d, outputs, init)
    download = download_rule(built(o, :download))
    counts = clients === nothing ? nothing : () -> classcounts(clients, max(outputs, 2))
    return Federated(model; loss = loss_of(o, counts), train = local_training(o),
        rules = (one_or_many(built(o, :rules))..., kept_optimizer(o)..., download...),
        aggregate = built(o, :aggregate), server = server_step_of(o),
        weights = Symbol(o.weights), trainer = Symbol(o.trainer), o.seed,
        faults = prepare_faults(o), attack = prepare_attack(o, input), o.freeze)
end

local_training(o::Options) =
    LocalTraining(; optimizer = client_optimizer(o), epochs = o.local_epochs,
        maxsteps = something(o.local_steps, typemax(Int)),
        batchsize = o.batch_size,
        samples_per_epoch = something(o.samples_per_epoch, typemax(Int)),
        schedule = one_or_many(built(o, :schedule)),
        augment = one_or_many(built(o, :augment)))

function client_optimizer(o::Options)
    o.optimizer isa AbstractString || return o.optimizer
    name, parameters = parse_spec("optimizer", o.optimizer)
    own = name == "momentum" ? (; o.momentum) : (;)
    return construct(Val(:optimizer), Val(Symbol(name)); o.lr, own..., parameters...)
end

kept_optimizer(o::Options) = o.keep_optimizer ? (KeepOptimizer(),) : ()

server_step_of(o::Options) =
    ServerStep(built(o, :server); schedule = one_or_many(built(o, :server_schedule)))

prepare_faults(o::Options) =
    Faults(one_or_many(built(o, :faults)); o.deadline, o.overselect, o.min_updates)

function prepare_attack(o::Options, input)
    attack = built(o, :attack)
    mean, std = Float32.(something(input.mean, 0)), Float32.(something(input.std, 1))
    attack === nothing ||
        return Attackers(with_white(attack, (1 .- mean) ./ std);
            count = something(o.attackers, 0),
            clients = something(o.attacker_list, Int[]))
    o.attackers === nothing && o.attacker_list === nothing ||
        fail("there are attackers, and no attack: give the option attack too")
    return nothing
end

cohort_sampling(o::Options, N) =
    CohortSampling(something(o.clients_per_round, N); sampling = built(o, :sampling),
        availability = built(o, :availability))

stopping_of(o::Options) =
    Stopping(; o.rounds, o.target_accuracy, target = target_of(o), o.patience,
        o.time_budget, monitor = monitor_of(o))

function monitor_of(o::Options)
    o.monitor in ("loss", "accuracy", first.(named_metrics(o.metrics))...) &&
        return Monitor(o.monitor)
    loss = loss_of(o)
    return Monitor(o.monitor, (out, y) -> measure(o.monitor, loss, out, y))
end

one_or_many(object) = (object,)
one_or_many(objects::Tuple) = objects

download_rule(::Nothing) = ()
download_rule(c::Rule) = (Download(c),)
download_rule(c) = fail("download is a ", typeof(c),
    "; expected a name such as quantize(bits=8), or a compressor")

function prepare_model(o::Options, d::Dataset, outputs, init)
    own = !is_name(o.model)
    model =
        !(o.model isa AbstractString) ? o.model :
        build_model(o.model, size(d.x)[1:(end-1)], max(outputs, 1); o.hidden, o.embedding,
            rng = Stream(o.seed, :init))
    sample = in_float32(getobs(d.x, 1:1))
    takes_tokens(model) && check_embedding(model, d)
    # A model of the user's own may have more outputs than there are labels.
    more = own && loss_of(o) isa CrossEntropy
    output = checkmodel(model, sample, more ? 0 : outputs)
    more && check_enough_outputs(output, outputs)
    is_described(o.model) && check_even_pools(model, sample)
    check_targets(loss_of(o), output, "y_train", d.y)
    d.ytest === nothing || check_targets(loss_of(o), output, "y_test", d.ytest)
    d.validation === nothing ||
        check_targets(loss_of(o), output, "validation's y", last(d.validation))
    return init === nothing ? model : with_initial(model, init)
end

check_enough_outputs(output, outputs) =
    size(output, 1) >= outputs ||
    fail("the model gives ", size(output, 1), " outputs, and labels go up to ", outputs - 1)

function check_embedding(model, d)
    n = size(first_layer(model).weight, 2)
    top = maximum(maximum(x) for x in (d.x, d.xtest) if x !== nothing)
    top <= n ||
        fail("the model's Embedding holds ", n, " tokens, and those of the data go up to ",
            top - 1, "; expected less than ", n)
end
