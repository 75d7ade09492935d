# What holds for every combination: each converges to its known optimum, or keeps the
# invariants of a round, or is refused with a reason when the federation is made.
using FedFlux: build, engine, flatten, global_model, PoissonSampling, WorkerPool

distance(θ, w) = sqrt(sum(abs2, θ .- w))

"Quadratic clients of these sizes, and the optima for weights by samples and uniform ones."
function sized_clients(d, sizes; rng = Xoshiro(1))
    one, uniform = quadratic_clients(d, length(sizes); rng)
    owner = reduce(vcat, fill(k, n) for (k, n) in enumerate(sizes))
    stops = cumsum(sizes)
    parts = [(stop-n+1):stop for (stop, n) in zip(stops, sizes)]
    clients = Clients(one.x[:, owner], zeros(Float32, length(owner)), parts)
    a, b = one.x[1:d, :], one.x[(d+1):end, :]
    samples = vec(sum(a .* b .* sizes'; dims = 2) ./ sum(a .* sizes'; dims = 2))
    return clients, (; samples, uniform)
end

"The parameters after rounds of five full-batch steps per client."
function after(clients, d; rounds = 2500, n = 2, sampling = CohortSampling(n), kw...)
    f = Federated(Point(zeros(Float32, d)); loss = mean_of_outputs, batchsize = 100,
        epochs = 5, optimizer = Descent(0.05f0), kw...)
    pool = WorkerPool(f, clients.x; threads = 1)
    st = State(f, pool)
    fit!(f, st, clients; rounds, sampling, pool)
    return st.θ, st
end

const UNEQUAL, EQUAL = [1, 2, 5, 10, 30, 1, 2, 5], fill(3, 8)

const SAMPLINGS = ("all" => CohortSampling(8), "two" => CohortSampling(2),
    "Poisson" => CohortSampling(2; sampling = PoissonSampling()))
const CASES = Iterators.product((Scaffold(), FedDyn(alpha = 0.5)), (:samples, :uniform),
    SAMPLINGS, (UNEQUAL, EQUAL))

@testset "$rule reaches the optimum: $weights, $name of $sizes" for (
    rule,
    weights,
    (name, sampling),
    sizes
) in CASES

    clients, optimum = sized_clients(3, sizes)
    θ, st = after(clients, 3; rules = (rule,), weights, sampling)
    @test distance(θ, optimum[weights]) < 2e-3
    rule isa Scaffold || continue
    # c is the weighted mean of the cₖ, those of clients that never took part being zero.
    p = weights === :samples ? sizes ./ sum(sizes) : fill(1 / 8, 8)
    mean_c = sum(p[k] .* get(st.private, k, (zeros(3),))[1] for k = 1:8)
    @test st.shared[1] ≈ mean_c atol = 1e-4
end

const COMPRESSORS = (TopK(0.4), TopK(0.4; feedback = false), Quantize(4), QSGD(8),
    SignSGD(), Ternary())

@testset "SCAFFOLD through $compressor: c stays the mean of the cₖ" for compressor in
                                                                        COMPRESSORS

    clients, optimum = sized_clients(3, EQUAL)
    θ, st = after(clients, 3; rounds = 300, rules = (compressor, Scaffold()))
    mean_c = sum(get(st.private, k, (zeros(3),))[1] for k = 1:8) ./ 8
    @test st.shared[1] ≈ mean_c atol = 1e-3 * max(1, maximum(abs, mean_c))
end

const RULES = ["fedprox", "scaffold", "fednova", "feddyn", "ditto", "fedper", "fedrep",
    "fedsgd", "qffl", "afl", "fedbuff(concurrency=2)", "prune(sparsity=0.5, stop=2)",
    "topk(fraction=0.3)", "quantize(bits=4)", "sketch(rows=3, cols=40, k=10)",
    "download"]
rule_of(name) = name == "download" ? Download(Quantize(8)) : build("rule", name)

x, y = blobs(90)
clients = Clients(x, y, [1:40, 41:60, 61:90])
model = mlp(6, 3; hidden = (4,), rng = Stream(1, :init))
federated(names; rules = Tuple(rule_of.(names)), kw...) =
    Federated(model; rules, batchsize = 10,
        optimizer = Descent(0.05f0), trainer = :zygote, seed = 3, kw...)

"Two rounds of two clients; the parameters, the state and the history."
function two_rounds(f; threads = 1)
    pool = WorkerPool(f, clients; threads)
    st = State(f, pool)
    _, history, _ = fit!(f, st, clients; rounds = 2, clients_per_round = 2, pool,
        warn = Returns(nothing))
    return flatten(global_model(f, st, engine(pool))), st, history
end

"The outcome of a pair of rules: `refused`, or `runs` after its invariants were checked."
function outcome(a, b)
    reason = message(() -> federated((a, b)))
    if reason != "no error was thrown"
        @test message(() -> federated((b, a))) != "no error was thrown"
        @test occursin("don't go together: ", reason) && length(reason) > 40
        return "refused"
    end
    f = federated((a, b))
    θ, st, history = two_rounds(f)
    @test all(isfinite, θ) && all(r -> r.skipped === nothing, history)
    @test all(r -> r.bytes_up >= 0 && r.bytes_down >= 0 && isempty(r.dropped), history)
    @test repr(federated((b, a)).rules) in (repr(f.rules), repr(reverse(f.rules)))
    @test two_rounds(f; threads = min(2, Threads.nthreads()))[1] == θ
    kept = f.layout.slots[3].range.start:f.layout.n
    private = any(r -> r isa Union{FedPer,FedRep}, f.rules)
    if private && !any(r -> r isa Union{CountSketch,FedFlux.Pruning}, f.rules)
        @test st.θ[kept] == flatten(model)[kept]      # the private head was never sent
    end
    return "runs"
end

"The table of docs/algorithms.md: a row and a column for each rule."
function markdown(table)
    names = [first(split(r, '(')) for r in RULES]
    cell(i, j) =
        i == j ? "" : table[(RULES[max(i, j)], RULES[min(i, j)])] == "runs" ? "✓" : "–"
    rows = [
        join(["| **$(names[i])**"; [cell(i, j) for j in eachindex(names)]], " | ") * " |"
        for i in eachindex(names)
    ]
    return join(
        ["| | " * join(names, " | ") * " |"; "|---"^(length(names) + 1) * "|"; rows],
        "\n")
end

@testset "every pair of rules runs with its invariants, or is refused" begin
    table = Dict{Tuple{String,String},String}()
    for (i, a) in enumerate(RULES), b in RULES[1:(i-1)]
        table[(a, b)] = outcome(a, b)
    end
    page = joinpath(pkgdir(FedFlux), "..", "..", "docs", "algorithms.md")
    text = read(page, String)
    marked = r"(?<=<!-- pairs: made by test/combinations.jl -->\n).*?(?=\n<!-- end -->)"s
    if get(ENV, "FEDFLUX_WRITE_DOCS", "0") == "1"
        write(page, replace(text, marked => markdown(table)))
    else
        @test match(marked, text).match == markdown(table)
    end
    @test count(==("refused"), values(table)) > 10
    @test count(==("runs"), values(table)) > 60
end

# Throws, or sends NaN, in one hook of the server, from round 3 on.
struct Bomb <: Rule
    hook::Symbol
    nan::Bool
end
explode(r::Bomb, hook, ctx, v) =
    r.hook !== hook || ctx.round < 3 ? v :
    r.nan ? v .* NaN32 : error("the bomb in $hook")
FedFlux.server!(r::Bomb, s, ū, ctx) =
    (s.shared, Update(ū; delta = explode(r, :server!, ctx, ū.delta)))
FedFlux.publish!(r::Bomb, s, Δ, ctx) = (s.shared, explode(r, :publish!, ctx, Δ))
FedFlux.client!(r::Bomb, s, u, ctx) =
    (s.private, Update(u; delta = explode(r, :client!, ctx, u.delta)))
FedFlux.receive!(r::Bomb, s, m, ctx, own) = (explode(r, :receive!, ctx, m.w); s.private)
FedFlux.correct!(r::Bomb, s, g, w, ctx) = g .= explode(r, :correct!, ctx, g)
fields(st) = (st.θ, st.stats, st.shared, st.private, st.server, st.aggregator)

const HOOKS = (:server!, :publish!, :client!, :receive!, :correct!)
const CHAINS = ((Scaffold(), Ditto()), (FedDyn(),), (AFL(),), (Prune(0.5; stop = 3),))

@testset "a failing $hook (NaN: $nan) leaves the state, with $rules" for (
    hook,
    nan,
    rules
) in Iterators.product(
    HOOKS,
    (false, true),
    CHAINS
)
    hook === :receive! && nan && continue      # it sends no values
    f = federated((); rules = (rules..., Bomb(hook, nan)), server = FedAdam(),
        aggregate = any(r -> r isa AFL, rules) ? Mean() : CenteredClipping(1.0))
    pool = WorkerPool(f, clients)
    st = State(f, pool)
    fit!(f, st, clients; rounds = 2, pool)
    before = deepcopy(fields(st))
    try
        _, metrics = round!(f, st, clients, 1:3; pool)
        @test metrics.skipped !== nothing
    catch err
        @test !nan && occursin("the bomb in $hook", sprint(showerror, err))
    end
    @test isequal(fields(st), before)
end
