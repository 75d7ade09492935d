# Worker processes: the same numbers as in one process, whatever becomes of them. Two
# processes are shared by all tests; the last ones start some of their own.
using FedFlux.Distributed
using FedFlux: WorkerPool

const DIGITS = (; dataset = "digits", model = "mlp", hidden = [16], clients = 6,
    clients_per_round = 4, rounds = 2, batch_size = 20, lr = 0.1, seed = 5, threads = 1)

ids = addprocs(2; exeflags = "--threads=1")

struct OnlyHere <: Rule end

# What a user loads in all processes.
@everywhere module AtClients
using FedFlux
const HOME = Ref(false)
# Client k of round 2 ends the worker process in which it trains first.
struct Kills <: Rule
    k::Int
    once::String
end
function FedFlux.client!(r::Kills, s, u, ctx)
    if (ctx.round, ctx.client) == (2, r.k) && !ispath(r.once) && !HOME[]
        mkdir(r.once)
        run(`kill -KILL $(getpid())`)
        sleep(60)
    end
    return nothing, u
end
struct Fails <: Rule end
FedFlux.client!(::Fails, s, u, ctx) =
    ctx.client == 2 ? throw(DomainError(2, "no second\nclient")) : (nothing, u)
end
const AtClients = Main.AtClients
AtClients.HOME[] = true

x, y = blobs(240)
clients = Clients(x, y, [1:60, 61:90, 91:150, 151:200, 201:240])
federated(rules...; kw...) = Federated(
    softmax_regression(6, 3; rng = Stream(1, :init));
    optimizer = Descent(0.1f0), batchsize = 16, seed = 4, rules, kw...)

"Parameters, state, history and warnings of rounds with a pool."
function fitted(f, pool; rounds = 3, kw...)
    st, warnings = State(f, pool), String[]
    _, history, _ =
        fit!(f, st, clients; rounds, pool, warn = w -> push!(warnings, w), kw...)
    return st, history, warnings
end
alone(f; kw...) = fitted(f, WorkerPool(f, clients; threads = 1); kw...)

function in_workers(f; workers = ids, kw...)
    pool = WorkerPool(f, clients; threads = 1, workers)
    try
        return fitted(f, pool; kw...)
    finally
        close(pool)
    end
end

"What a history says apart from its times."
figures(history) = [(r.train_loss, r.bytes_up, r.bytes_down, r.dropped) for r in history]

images = (;
    model = Chain(Flux.flatten, Dense(64 => 16, relu), BatchNorm(16), Dropout(0.3),
        Dense(16 => 10)), augment = ["crop", "cutout(size=2)"])
dp = "client_dp(reproducible=true, noise_multiplier=0.5)"
@testset "one process and two workers: $(join(values(what), ", "))" for what in [
    (; rules = dp, weights = "uniform"),
    (; aggregate = "krum(f=1)", rules = "fedper", clients_per_round = 5),
    (; rules = "fedbuff(concurrency=3)", weights = "uniform"),
    images
]
    one = FedFlux.run(; DIGITS..., what...)
    two = FedFlux.run(; DIGITS..., what..., workers = ids)
    @test two.params_sha256 == one.params_sha256
    @test figures(two.history) == figures(one.history)
    @test [r.personal_accuracy for r in two.history] ==
          [r.personal_accuracy for r in one.history]
    @test (one.workers, two.workers) == (0, 2)
end

@testset "a resume may change the workers; checkpoints hold the clients' states" begin
    scaffold = (; DIGITS..., rules = ["scaffold", "topk(fraction=0.1)"], rounds = 4,
        download = "quantize(bits=8)")
    whole = FedFlux.run(; scaffold...)
    for (first, then) in ((ids, Int[]), (Int[], ids))
        mktempdir() do folder
            given(ids) =
                isempty(ids) ? (; workers = 0) : (; workers = Distributed.WorkerPool(ids))
            FedFlux.run(; scaffold..., rounds = 2, checkpoint = folder, given(first)...)
            rest = FedFlux.run(; resume = folder, rounds = 4, given(then)...)
            @test rest.resumed == 2 && rest.params_sha256 == whole.params_sha256
        end
    end
end

@testset "a client that fails in a worker is left out as it is at home" begin
    f = federated(AtClients.Fails())
    st, history, warnings = in_workers(f)
    one, expected, same = alone(f)
    @test st.θ == one.θ && figures(history) == figures(expected) && warnings == same
    @test occursin("failed: DomainError", only(history[1].dropped).reason)
    text = message(() -> in_workers(federated(OnlyHere())))
    @test occursin("worker process $(first(ids))", text) || occursin("$(last(ids))", text)
    @test occursin("not defined", text) && occursin("@everywhere using", text)
end

"The bytes that have arrived at these processes, as TCP counts them (Linux's tcp_info)."
function bytes_to(ids)
    return sum(ids) do id
        info, length = zeros(UInt64, 32), Ref{Cuint}(256)
        fd = Base._fd(Distributed.worker_from_id(id).w_stream)
        ccall(:getsockopt, Cint, (RawFD, Cint, Cint, Ptr{Cvoid}, Ptr{Cuint}), fd, 6, 11,
            info, length) == 0 || error("getsockopt")
        Int(info[16])      # tcpi_bytes_acked
    end
end

Sys.islinux() &&
    @testset "data and model travel once; in a round θ once to each process" begin
        big = Federated(Chain(Dense(6 => 20_000), Dense(20_000 => 3));
            optimizer = Descent(1.0f-3),
            batchsize = 60, seed = 4, rules = (Scaffold(),))
        θ = 4 * big.layout.n
        pool = WorkerPool(big, clients; threads = 1, workers = ids)
        st, sent = State(big, pool), Int[]
        before = bytes_to(ids)
        for _ = 1:3
            round!(big, st, clients, 1:5; pool)
            push!(sent, bytes_to(ids) - before - sum(sent; init = 0))
        end
        # In each round θ and SCAFFOLD's c to two processes, and cᵢ to each client; in the
        # first the model too. Distributed adds less than 2 %.
        @test sent[1] ≈ (2 * 3 + 5) * θ rtol = 0.02
        @test sent[2] ≈ (2 * 2 + 5) * θ rtol = 0.02
        @test sent[3] ≈ (2 * 2 + 5) * θ rtol = 0.02
        close(pool)
    end

@testset "mistakes are told" begin
    f = federated()
    @test occursin(
        "process 99; expected",
        message(() -> in_workers(f; workers = [99]))
    )
    @test occursin("process 1; expected", message(() -> in_workers(f; workers = [1])))
    @test occursin(
        "expected a number of processes",
        message(() -> in_workers(f; workers = "x"))
    )
    @test occursin("workers: expected at least 0",
        message(() -> FedFlux.run(; DIGITS..., workers = -1)))
    @test occursin("empty", message(() -> in_workers(f; workers = Int[])))
    mktempdir() do folder
        path = joinpath(folder, "hosts.txt")
        machines(text) = (write(path, text); FedFlux.read_machines(path))
        listed = [("anna@a-1.example:2222", 4), ("10.0.0.7", 1), ("[fe80::1]:22", 2)]
        @test machines(
            "# two\n\nanna@a-1.example:2222 4\n10.0.0.7\n[fe80::1]:22 2 # x\n"
        ) ==
              listed
        option = "-oProxyCommand=x"
        @test occursin("line 2 is \"$option\"", message(() -> machines("a\n$option")))
        @test occursin("line 1", message(() -> machines("host four")))
        @test occursin("names none", message(() -> machines("# nobody")))
        @test occursin("no such file", message(() -> FedFlux.read_machines(folder * "/no")))
    end
end

# From here on processes die.

"Whether a process runs (Linux): one that nobody has waited for yet is dead."
runs(pid) =
    isfile("/proc/$pid/stat") &&
    !(last(split(read("/proc/$pid/stat", String), ") "))[1] in "ZX")

Sys.islinux() &&
    @testset "processes that train die with a run that is killed" begin
        code = """
            using FedFlux, FedFlux.Distributed
            ids = FedFlux.started(FedFlux.start_here, 2, FedFlux.Launches())
            println(join((remotecall_fetch(getpid, id) for id in ids), ' '))
            # A client that trains for long, and looks at nothing else.
            foreach(id -> remote_do(Core.eval, id, Main, :(while true end)), ids)
            sleep(2)
            println("busy")
            sleep(600)
            """
        project = Base.active_project()
        run = open(`$(Base.julia_cmd()) --startup-file=no --project=$project -e $code`)
        pids = parse.(Int, split(readline(run)))
        try
            @test readline(run) == "busy" && length(pids) == 2 && all(runs, pids)
            kill(run, Base.SIGKILL)
            @test timedwait(() -> !any(runs, pids), 10; pollint = 0.1) === :ok
        finally
            foreach(pid -> ccall(:kill, Cint, (Cint, Cint), pid, 9), filter(runs, pids))
        end
    end

@testset "a process that ended by itself is watched no more" begin
    # In a process of its own, since this one has workers of another topology.
    code = """
        using FedFlux, Distributed
        launches = FedFlux.Launches()
        id = only(FedFlux.started(FedFlux.start_here, 1, launches))
        watcher = only(launches.configs).userdata
        process_running(watcher) || exit(1)
        rmprocs(id)
        timedwait(() -> process_exited(watcher), 10) === :ok && success(watcher) || exit(2)
        """
    project = Base.active_project()
    @test success(`$(Base.julia_cmd()) --startup-file=no --project=$project -e $code`)
end

@testset "SIGKILL in the middle of a round changes no number" begin
    mktempdir() do folder
        kills(k) = federated(Scaffold(), AtClients.Kills(k, joinpath(folder, "once$k")))
        expected, history, _ = alone(kills(1))
        # The user's processes: the other one does the work, then this process.
        for (k, words) in ((1, "1 others train"), (3, "no other is left"))
            f = kills(k)
            st, same, warnings = in_workers(f; workers = intersect(ids, procs()))
            @test isdir(joinpath(folder, "once$k"))
            @test st.θ == expected.θ && st.private == expected.private
            @test figures(same) == figures(history)
            @test occursin(words, only(warnings))
        end
    end
    @test intersect(ids, procs()) == Int[]
end

@testset "a process of the run's own is replaced, and ends with the run" begin
    run_it(workers, callback) = FedFlux.run(; DIGITS...,
        rules = "scaffold", workers, callback)
    function kill_it(record)
        record.round == 1 || return false
        pid = remotecall_fetch(getpid, only(workers()))
        run(`kill -KILL $pid`)
        return false
    end
    one = run_it(0, Returns(false))
    two = run_it(1, kill_it)
    @test two.params_sha256 == one.params_sha256
    @test occursin("another has taken its place", only(two.warnings))
    @test nprocs() == 1
end

@testset "an interrupt ends the run and its processes at once" begin
    f = federated(Scaffold(); epochs = 10^7)
    ticks, interrupted = Ref(0), Ref(0.0)
    function tick()
        (ticks[] += 1) > 80 || return
        interrupted[] = time()
        throw(InterruptException())
    end
    pool = WorkerPool(f, clients; threads = 1, workers = 1)
    pool =
        WorkerPool(pool.workers, pool.processes, pool.trainer, pool.reason, pool.control,
            tick)
    @test_throws InterruptException fitted(f, pool)
    @test time() - interrupted[] < 3
    @test nprocs() == 2
    close(pool)
    @test nprocs() == 1
end
