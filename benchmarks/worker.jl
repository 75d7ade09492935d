# The FedFlux worker: answers the harness's requests (peers/protocol.py) with FedFlux.
#
#     julia --project=ENV --threads=CORES benchmarks/worker.jl TRAINER
#
# TRAINER is fast or zygote.

using FedFlux, LinearAlgebra, Statistics
using FedFlux: Flux, JSON, Optimisers
const NPZ = Base.require(FedFlux, :NPZ)

const TRAINER = Symbol(ARGS[1])
const PASS = 320     # samples per timed pass: whole batches for 10, 32 and 64

# --- the harness's files, in Julia's layouts ---

"An array of an .npy or .npz file, axes reversed: NumPy's memory order, Julia's sizes."
reversed(a::AbstractArray) = permutedims(a, ndims(a):-1:1)

function read_data(request)
    d = NPZ.npzread(request["data"])
    images(x) = reversed(x)                              # (W, H, C, N)
    tokens(x) = Int32.(reversed(x)) .+ Int32(1)          # (T, N); Flux counts from 1
    features = request["task"] == "lstm" ? tokens : images
    labels(y) = Int32.(reversed(y))
    split = NPZ.npzread(request["split"]) .+ 1
    return (;
        x = features(d["x_train"]),
        y = labels(d["y_train"]),
        xtest = features(d["x_test"]),
        ytest = labels(d["y_test"]),
        parts = collect(eachrow(split))
    )
end

function character_lstm(vocabulary, embedding, hidden)
    return Flux.Chain(
        Flux.Embedding(vocabulary => embedding),
        Flux.LSTM(embedding => hidden),
        Flux.Dense(hidden => vocabulary)
    )
end

function make_model(task, init)
    task == "case_study" && return case_study_cnn()
    task == "mcmahan" && return mcmahan_cnn()
    task == "mlp" && return mlp(784)
    return character_lstm(size(init[1])..., size(init[3], 2))
end

"An initial parameter array in Flux's layout."
function flux_layout(task, i, a)
    ndims(a) == 4 && return reverse(reversed(a); dims = (1, 2))
    return task == "lstm" && i == 1 ? reversed(a) : a
end

function build_model(task, init)
    model = make_model(task, init)
    for (i, (p, a)) in enumerate(zip(Optimisers.trainables(model), init))
        copyto!(p, flux_layout(task, i, a))
    end
    return model
end

function read_model(request)
    file = NPZ.npzread(request["init"])
    return build_model(request["task"], [file["p$i"] for i = 0:(length(file)-1)])
end

# --- gradient steps ---

function read_federated(request)
    return Federated(
        read_model(request);
        optimizer = Optimisers.Descent(Float32(request["lr"])),
        batchsize = request["batch"],
        trainer = TRAINER
    )
end

"A model's engine, and the batches of one pass; with a `clip`, of private steps."
struct Steps{W,X,Y,R,C}
    worker::W
    x::X
    y::Y
    rule::R
    order::Vector{Int}
    batch::Int
    clip::C
    secret::SecureRandom
end

function Steps(request)
    d = read_data(request)
    f = read_federated(request)
    pool = FedFlux.WorkerPool(f, d.x; threads = 1)
    worker = first(pool.workers)
    copyto!(worker.w, State(f, worker.engine).θ)
    order = length(d.parts[1]) >= PASS ? d.parts[1][1:PASS] : collect(1:PASS)
    clip, secret = get(request, "clip", nothing), SecureRandom()
    return Steps(
        worker, d.x, d.y, f.train.optimizer, order, request["batch"], clip, secret
    )
end

gradient!(s::Steps{W,X,Y,R,Nothing}, x, y, noise) where {W,X,Y,R} =
    valgrad!(s.worker.engine, s.worker.g, s.worker.w, x, y)

function gradient!(s::Steps, x, y, noise)
    (; engine, w, g) = s.worker
    loss = clipped_gradient!(engine, g, w, x, y, s.clip)
    FedFlux.add_gaussian!(g, noise * s.clip, s.secret)
    g ./= s.batch
    return loss
end

function one_pass!(s::Steps, noise = 1.0)
    (; engine, w, g) = s.worker
    state = Optimisers.init(s.rule, w)
    loss = 0.0f0
    for first = 1:s.batch:length(s.order)
        idx = view(s.order, first:min(first+s.batch-1, length(s.order)))
        x, y = FedFlux.batch(engine, s.x, s.y, idx)
        loss = gradient!(s, x, y, noise)
        state = FedFlux.step!(s.rule, state, w, g)
    end
    return loss
end

nsteps(s::Steps) = cld(length(s.order), s.batch)

"Seconds per step, over whole passes."
function measure(s::Steps, seconds)
    passes, begun = 0, time_ns()
    while time_ns() - begun < 1e9seconds
        one_pass!(s)
        passes += 1
    end
    return (time_ns() - begun) / 1e9 / (passes * nsteps(s))
end

allocated(s::Steps) = (one_pass!(s); @allocated one_pass!(s))

const PREPARED = Dict{Tuple{String,Int,Bool},Any}()
key(request) =
    (request["task"], request["batch"], get(request, "clip", nothing) !== nothing)

function prepare(request)
    s = Steps(request)
    loss = one_pass!(s, 0.0)     # of private steps without the noise
    bytes = allocated(s)
    PREPARED[key(request)] = s
    return (; loss, note = "trainer $TRAINER", bytes_per_step = bytes ÷ nsteps(s))
end

function steps(request)
    s = PREPARED[key(request)]
    return (; ms = 1e3 * measure(s, request["seconds"]))
end

# --- rounds ---

function federation(request)
    d = read_data(request)
    f = read_federated(request)
    seconds = @elapsed clients = Clients(d.x, d.y, d.parts)
    return d, f, clients, FedFlux.WorkerPool(f, clients.x), seconds
end

function rounds(request)
    d, f, clients, pool, prepare_s = federation(request)
    clients_per_round = request["cohort"]
    st = State(f, pool)
    marks = [time_ns()]
    callback(record) = (push!(marks, time_ns()); false)
    fit!(f, st, clients; rounds = request["rounds"], clients_per_round, pool, callback)
    nclasses = Int(maximum(d.ytest)) + 1
    result = FedFlux.evaluate(pool, f, st.θ, st.stats, d.xtest, d.ytest, nclasses)
    return (;
        seconds = Float64.(diff(marks)) ./ 1e9,
        prepare_s,
        accuracy = FedFlux.accuracy(result),
        note = "trainer $(pool.trainer)"
    )
end

"""
The cost of a client beyond its steps, in microseconds: the difference between rounds and as
many bare steps on the same data, measured in turns in this process.
"""
function overhead(request)
    _, f, clients, pool = federation(request)
    st, bare = State(f, pool), Steps(request)
    cohort = collect(1:request["cohort"])
    steps_each = FedFlux.nsteps(f.train, length(clients.order) ÷ length(clients))
    differences = map(1:request["repeats"]) do _
        step = measure(bare, 0.1)
        seconds = @elapsed round!(f, st, clients, cohort; pool)
        1e6 * (seconds / length(cohort) - steps_each * step)
    end
    return (; microseconds = median(differences[2:end]))
end

"The best rate of square matrix products, in GFLOP/s."
function gemm(request)
    n = request["n"]
    a, b, c = rand(Float32, n, n), rand(Float32, n, n), zeros(Float32, n, n)
    best, stop = Inf, time() + request["seconds"]
    while time() < stop
        best = min(best, @elapsed mul!(c, a, b))
    end
    return (; gflops = 2e-9 * n^3 / best)
end

# --- the protocol ---

reply(answer) = (println("@bench ", JSON.json(answer)); flush(stdout))

function serve(handlers)
    BLAS.set_num_threads(1)          # as in a run, where threads work on clients
    blas = basename(first(BLAS.get_config().loaded_libs).libname)
    versions = Dict(FedFlux.versions()..., "Julia's BLAS" => blas)
    reply((; versions, cores = Threads.nthreads()))
    for line in eachline(stdin)
        request = JSON.parse(line)
        try
            reply(handlers[request["do"]](request))
        catch err
            reply((; error = first(split(sprint(showerror, err), '\n'))))
        end
    end
end

handlers = Dict(
    "prepare" => prepare,
    "steps" => steps,
    "round" => rounds,
    "overhead" => overhead,
    "gemm" => gemm
)
serve(handlers)
