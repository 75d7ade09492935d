# What holds for every combination: it keeps the invariants of a round, or is refused with a
# reason when the federation is made. All of them take minutes, so a run of the tests takes
# one part of five, another one each hour, and every rule alone. FEDFLUX_COMBINATIONS names
# the part (any number), or is "all".
using FedFlux: build, decoded, Encoded, engine, flatten, global_model, load_checkpoint,
    Masked,
    restore, WorkerPool
using LinearAlgebra: norm
include("../setup/erased.jl")

const RULES =
    ["fedprox", "scaffold", "fednova", "feddyn", "ditto", "fedper", "fedrep", "fedbn",
        "fedsgd", "qffl", "afl", "fedbuff(concurrency=2)", "prune(sparsity=0.5, stop=2)",
        "client_dp(reproducible=true)", "dp_ftrl(reproducible=true)",
        "local_dp(noise_multiplier=0.1, reproducible=true)", "dpsgd(reproducible=true)",
        "topk(fraction=0.3)", "quantize(bits=4)", "sketch(rows=3, cols=40, k=10)",
        "download"]
# Further methods: with every rule and each other, and with every aggregator alone.
const METHODS = ["lgfedavg", "fedbabu", "fedlc", "fedrod", "fedrs", "fedexp", "fedcm",
    "feddc", "fedadmm", "term", "fedsam", "perfedavg", "pfedme", "apfl", "mimelite",
    "fedntd", "moon", "fedproto", "fedala", "mime", "scaffnew",
    "fedasync(concurrency=2)",
    "ema", "feddisco", "ifca"]

const WRITES = get(ENV, "FEDFLUX_WRITE_DOCS", "0") == "1"
# The part of the combinations that this run takes.
const PARTS = 5
const THIS_HOUR = string(mod(floor(Int, time() / 3600), PARTS))
const PART = WRITES ? "all" : get(ENV, "FEDFLUX_COMBINATIONS", THIS_HOUR)
"Whether this run takes the combination of what stands at these places of the lists."
drawn(places...) = PART == "all" || mod(sum(places) + parse(Int, PART), PARTS) == 0
const SHOWN = "FEDFLUX_COMBINATIONS=$PART"     # in what a failure prints

rule_of(name) = name == "download" ? Download(Quantize(8)) : build("rule", name)

const AGGREGATORS = ["mean", "median", "trimmed_mean(fraction=0.25)", "krum(f=0)",
    "multi_krum(f=0)", "bulyan(f=0)", "geometric_median", "norm_clipping(c=0.1)",
    "centered_clipping(tau=0.1)", "fltrust(root=10)"]

# An aggregator behind one type, so that a chain is compiled once for all of them. It notes
# what it is given to refer to, round after round.
struct Erased <: Aggregator
    inner::Aggregator
    references::Vector{Any}
end
Erased(inner) = Erased(inner, Any[])
function FedFlux.start(a::Erased, n, reference)
    push!(a.references, copy_of(reference))
    return FedFlux.start(a.inner, n, reference)
end
copy_of(reference) = reference === nothing ? nothing : copy(reference)
FedFlux.add!(a::Erased, acc, u, weight) = FedFlux.add!(a.inner, acc, u, weight)
FedFlux.finish(a::Erased, acc, threads) = FedFlux.finish(a.inner, acc, threads)
FedFlux.total(a::Erased, acc) = FedFlux.total(a.inner, acc)
FedFlux.min_updates(a::Erased) = FedFlux.min_updates(a.inner)
FedFlux.needs_root(a::Erased) = FedFlux.needs_root(a.inner)
FedFlux.carry_over(a::Erased, ū) = FedFlux.carry_over(a.inner, ū)
FedFlux.conflict(r::Rule, a::Erased) = FedFlux.conflict(r, a.inner)
FedFlux.conflict(r::ErasedRule, a::Erased) = FedFlux.conflict(r.inner, a.inner)
aggregator(name) = Erased(build("aggregate", name))

# What one run sends and steps: the updates of each round, and the server's step, before
# pruning and the compression of the download change it.
Base.@kwdef struct Book
    bytes::Threads.Atomic{Int} = Threads.Atomic{Int}(0)
    lock::ReentrantLock = ReentrantLock()
    sent::Vector{Vector{Float32}} = Vector{Float32}[]
    rounds::Vector{Any} = []
end

# Behind all other rules: counts what is really sent, and checks how.
struct Ledger <: Rule
    book::Book
end
FedFlux.chain_position(::Ledger) = 12
function FedFlux.sent(r::Ledger, s, private, u, ctx)
    Threads.atomic_add!(r.book.bytes, sum(sent_bytes, FedFlux.parts(u)))
    @lock r.book.lock push!(r.book.sent, Vector{Float32}(decoded(u.delta)))
    return private
end

# In front of all: meets the step as the rules on the server have made it.
struct Probe <: Rule
    book::Book
end
FedFlux.chain_position(::Probe) = 0
function FedFlux.publish!(r::Probe, s, Δ, ctx)
    push!(r.book.rounds, (; step = Vector{Float32}(Δ), sent = copy(r.book.sent)))
    empty!(r.book.sent)
    return s.shared, Δ
end
sent_bytes(v::Vector{Float32}) = 4 * length(v)
sent_bytes(v::FedFlux.AlteredVector) = 4 * length(v)
sent_bytes(v::Encoded) = length(v.bytes)
function sent_bytes(v::Masked)
    all(iszero, v.values[setdiff(eachindex(v), v.kept)]) || error("a hidden value is sent")
    return 4 * length(v.kept)
end

x, y = blobs(100)
clients = Clients(x, y, collect(1:90), [1, 11, 31, 41, 61, 91], collect(91:100))
plain_model = mlp(6, 3; hidden = (4,), rng = Stream(1, :init))
glorot(in, out) = Dense(in => out; init = Flux.glorot_uniform(Stream(in, :init)))
normed_model = Chain(glorot(6, 4), BatchNorm(4, relu), glorot(4, 3))
model_for(rules) = any(r -> inner(r) isa FedBN, rules) ? normed_model : plain_model
# Per-FedAvg's steps come in pairs, and the smallest client has one batch.
epochs_for(rules) = any(r -> inner(r) isa PerFedAvg, rules) ? 2 : 1
federated(names; rules = Tuple(rule_of.(names)), kw...) =
    Federated(model_for(rules); rules, batchsize = 10, epochs = epochs_for(rules),
        optimizer = Descent(0.05f0), trainer = :zygote, seed = 3, weights = :uniform, kw...)

"Rounds of four of the five clients; the parameters, the state and the history."
function fitted(f; rounds = 2, threads = 1, folder = nothing, resume = false)
    pool = WorkerPool(f, clients; threads)
    st, progress =
        resume ? restore(load_checkpoint(folder), f, engine(pool)) :
        (State(f, pool), FedFlux.Progress())
    checkpoints = folder === nothing ? nothing : Checkpoints(folder)
    takes_turns = any(r -> inner(r) isa DPFTRL, f.rules)
    drawn = takes_turns ? FedFlux.RoundRobin() : FedFlux.UniformSampling()
    _, history, _ = fit!(f, st, clients; rounds, pool, progress, checkpoints,
        sampling = CohortSampling(4; sampling = drawn), warn = Returns(nothing))
    return flatten(global_model(f, st, engine(pool))), st, history
end

"The parameters of a run that stopped after its first round and was resumed."
resumed(f) =
    mktempdir() do folder
        fitted(f; rounds = 1, folder)
        fitted(f; folder, resume = true)[1]
    end

"Whether `make()` is refused in words that name what doesn't go together and why."
function refused(make)
    reason = message(make)
    reason == "no error was thrown" && return false
    @test occursin(r"^rules? \w+ and .*don't go together: .{20}", reason) ||
          occursin("rule DPSGD doesn't take this model: BatchNorm", reason)
    return true
end

"What holds after the rounds of every chain with every aggregator."
function check_invariants(f, θ, st, history)
    rules = inner.(f.rules)
    @test all(isfinite, θ) && all(r -> r.skipped === nothing, history)
    @test all(r -> r.bytes_up >= 0 && r.bytes_down >= 0, history)
    @test all(r -> isempty(r.dropped) && isempty(r.rejected), history)
    book = last(f.rules).book
    @test sum(r -> r.bytes_up, history) == book.bytes[]
    @test length(book.rounds) == length(history)
    for (round, reference) in zip(book.rounds, f.aggregate.references)
        @test keeps_bound(f.aggregate.inner, round.step, round.sent, reference)
    end
    private = filter(r -> r isa FedFlux.PrivateArrays, rules)
    noisy = any(r -> r isa Union{LocalDP,F.CentralDP}, rules)
    if !isempty(private)
        initial = flatten(model_for(rules))
        for range in FedFlux.local_arrays(only(private)).ranges
            @test st.θ[range] == initial[range]      # the private arrays were never sent
            @test noisy || all(r -> all(iszero, r.step[range]), book.rounds)
        end
    end
    # What clients keep of what they sent is what the server decoded, but for a server's own
    # noise.
    any(r -> r isa F.CentralDP, rules) && return
    for i in findall(r -> r isa Union{Scaffold,FedDyn,FedDC}, rules)
        state(k) = get(() -> FedFlux.private_init(f.rules, st.θ), st.private, k)[i]
        kept(k) = rules[i] isa FedDC ? state(k).h : state(k)
        mean_kept = sum(kept, 1:5) ./ 5
        shared = rules[i] isa FedDC ? st.shared[i].h : st.shared[i]
        @test shared ≈ mean_kept atol = 1e-5 * max(1, maximum(abs, mean_kept))
    end
end

"""
Whether the server's step is what the aggregator promises of it, given what clients sent and
what the aggregator refers to.
"""
keeps_bound(::Mean, step, sent, reference) = true
keeps_bound(a::NormClipping, step, sent, reference) = norm(step) <= (1 + 1e-5) * a.c
keeps_bound(a::CenteredClipping, step, sent, before) =
    norm(before === nothing ? step : step .- before) <= (1 + 1e-5) * a.tau * a.iterations
keeps_bound(::FLTrust, step, sent, own) = norm(step) <= (1 + 1e-5) * norm(own)
keeps_bound(::Aggregator, step, sent, reference) =     # in the range of the updates
    all(eachindex(step)) do i
        low, high = extrema(v -> v[i], sent)
        low - 1e-6 * abs(low) <= step[i] <= high + 1e-6 * abs(high)
    end

"""
Two rounds on one thread and on two: the same bits, and the invariants. The same bits with a
resume too, where the aggregator keeps something, and for the mean.
"""
function check_chain(rules, aggregate)
    function make()
        book = Book()
        chain = (Probe(book), erased.(deepcopy(rules))..., Ledger(book))
        return federated((); rules = chain, aggregate)
    end
    f = make()
    θ, st, history = fitted(f)
    check_invariants(f, θ, st, history)
    @test fitted(make(); threads = min(2, Threads.nthreads()))[1] == θ
    aggregate.inner isa Union{Mean,CenteredClipping} && @test resumed(make()) == θ
end

"""
The outcome of a pair of rules, after its invariants were checked where it runs, with each
of the aggregators.
"""
function outcome(a, b, aggregators = AGGREGATORS)
    both = rule_of.((a, b))
    if refused(() -> federated((); rules = both))
        @test refused(() -> federated((); rules = reverse(both)))
        return "refused"
    end
    for name in aggregators
        aggregate = aggregator(name)
        any(r -> FedFlux.conflict(r, aggregate) !== nothing, both) ||
            check_chain(both, aggregate)
    end
    # In the other order the chain is the same, or both rules have the same place in it.
    chain(rules) = federated((); rules).rules
    repr(chain(both)) == repr(chain(reverse(both))) ||
        check_chain(reverse(both), aggregator("mean"))
    return "runs"
end

"A table in Markdown with these rows and columns; `cell(row, column)` is its text."
function markdown(cell, rows, columns)
    line(cells) = "| " * join(cells, " | ") * " |"
    short(name) = first(split(name, '('))
    return join(
        [line(["", short.(columns)...]); "|---"^(length(columns) + 1) * "|";
            [line(["**$(short(r))**"; [cell(r, c) for c in columns]]) for r in rows]],
        "\n")
end

"""
Compare a table with the one in docs/algorithms.md, or write it there where that is asked;
return it. `known(row, column)` is "runs", "refused", "" or, where this run did not ask,
`nothing`: the page's own cell then stands for it.
"""
function check_table(name, known, rows, columns)
    page = joinpath(pkgdir(FedFlux), "..", "..", "docs", "algorithms.md")
    text = read(page, String)
    begins = "<!-- $name: made by test/federation/combinations.jl -->\n"
    marked = Regex("(?<=\\Q$begins\\E).*?(?=\n<!-- end -->)", "s")
    there = match(marked, text).match
    lines = split(there, '\n')[3:end]
    cells = [split(chopsuffix(chopprefix(l, "| "), " |"), " | ")[2:end] for l in lines]
    place(x, all) = findfirst(==(x), all)
    on_page(r, c) = get(get(cells, place(r, rows), []), place(c, columns), "")
    cell(r, c) = (o = known(r, c); o === nothing ? on_page(r, c) : MARKS[o])
    table = markdown(cell, rows, columns)
    WRITES ? write(page, replace(text, marked => table)) : @test there == table
    return table
end

const MARKS = Dict("runs" => "✓", "refused" => "–", "" => "")

@testset "every pair of rules with every aggregator: invariants, or refused; $SHOWN" begin
    found = Dict{Set{String},String}()
    for (i, a) in enumerate(RULES), (j, b) in enumerate(RULES[1:(i-1)])
        drawn(i, j) && (found[Set((a, b))] = outcome(a, b))
    end
    pair(a, b) = a == b ? "" : get(found, Set((a, b)), nothing)
    table = check_table("pairs", pair, RULES, RULES)
    @test count("–", table) > 20 && count("✓", table) > 120     # each pair twice
end

@testset "every method with every rule: invariants, or refused; $SHOWN" begin
    every = [RULES; METHODS]
    found = Dict{Set{String},String}()
    for (i, a) in enumerate(METHODS), (j, b) in enumerate(every[1:(length(RULES)+i-1)])
        drawn(i, j) || continue
        made(names) = refused(() -> federated(names)) ? "refused" : "runs"
        found[Set((a, b))] = b in RULES ? outcome(a, b, ("mean",)) : made((a, b))
        b in RULES || @test made((b, a)) == found[Set((a, b))]
    end
    pair(a, b) = a == b ? "" : get(found, Set((a, b)), nothing)
    with_rules = check_table("methods", pair, METHODS, RULES)
    between = check_table("between methods", pair, METHODS, METHODS)
    @test count("✓", with_rules) + count("✓", between) ÷ 2 > 200
end

@testset "every rule with every aggregator: invariants, or refused; $SHOWN" begin
    found = Dict{Tuple{String,String},String}()
    every = [RULES; METHODS]
    for (i, rule) in enumerate(every), (k, name) in enumerate(AGGREGATORS)
        name == "mean" || drawn(i, k) || continue     # every run takes every rule
        rules, aggregate = (rule_of(rule),), build("aggregate", name)
        no = refused(() -> federated((); rules, aggregate))
        no || (rule in METHODS && !(name in ("mean", "krum(f=0)"))) ||
            check_chain(rules, aggregator(name))
        found[(rule, name)] = no ? "refused" : "runs"
    end
    alone(rule, name) = get(found, (rule, name), nothing)
    @test count("–", check_table("aggregators", alone, every, AGGREGATORS)) > 20
end

@testset "every pair of algorithms through a compressor; $SHOWN" begin
    algorithms = filter(name -> FedFlux.chain_position(rule_of(name)) < 6, RULES)
    for (i, a) in enumerate(algorithms), (j, b) in enumerate(algorithms[1:(i-1)])
        drawn(i, j) || continue
        # q-FFL and AFL take compressors without memory alone.
        feedback = isdisjoint((a, b), ("qffl", "afl"))
        rules = (rule_of(a), rule_of(b), TopK(0.3; feedback))
        refused(() -> federated((); rules)) || check_chain(rules, aggregator("mean"))
    end
end

# Throws, or sends NaN, in one hook, from round 3 on.
struct Bomb <: Rule
    hook::Symbol
    nan::Bool
end
explode(r::Bomb, hook, ctx, v) =
    r.hook !== hook || ctx.round < 3 ? v :
    r.nan ? v .* NaN32 : error("the bomb in $hook")
FedFlux.download_bytes(r::Bomb, s, bytes, ctx) = explode(r, :download_bytes, ctx, bytes)
FedFlux.receive!(r::Bomb, s, m, ctx, own) =
    (m.w .= explode(r, :receive!, ctx, m.w); s.private)
FedFlux.correct!(r::Bomb, s, g, w, ctx) = g .= explode(r, :correct!, ctx, g)
FedFlux.client!(r::Bomb, s, u, ctx) =
    (s.private, Update(u; delta = explode(r, :client!, ctx, u.delta)))
FedFlux.sent(r::Bomb, s, private, u, ctx) = (explode(r, :sent, ctx, [1.0f0]); private)
FedFlux.server!(r::Bomb, s, ū, ctx) =
    (s.shared, Update(ū; delta = explode(r, :server!, ctx, ū.delta)))
FedFlux.publish!(r::Bomb, s, Δ, ctx) = (s.shared, explode(r, :publish!, ctx, Δ))
fields(st) = (st.θ, st.stats, st.shared, st.private, st.server, st.aggregator)

const SENDS_VALUES = (:receive!, :correct!, :client!, :server!, :publish!)
const HOOKS = (SENDS_VALUES..., :download_bytes, :sent)
const SINGLE = [(rule_of(name),) for name in RULES if !startswith(name, "fedbuff")]
const CHAINS = enumerate([SINGLE; (Scaffold(), Ditto())])

@testset "failing hooks of $(nameof.(typeof.(rules))), $SHOWN" for (i, rules) in CHAINS
    # The state stays as it was.
    for (j, hook) in enumerate(HOOKS), nan in (false, true)
        drawn(i, j) || continue
        nan && !(hook in SENDS_VALUES) && continue
        nan && hook === :client! && FedSGD() in rules && continue     # which replaces it
        clips = any(r -> r isa Union{F.CentralDP,LocalDP}, rules)     # NaN to zeros
        nan && clips && !(hook in (:server!, :publish!)) && continue
        mean_only = FedFlux.conflict(first(rules), CenteredClipping(1.0)) !== nothing
        f = federated((); rules = (erased.(rules)..., Bomb(hook, nan)), server = FedAdam(),
            aggregate = Erased(mean_only ? Mean() : CenteredClipping(1.0)))
        pool = WorkerPool(f, clients)
        st = State(f, pool)
        fit!(f, st, clients; rounds = 2, pool)
        before = deepcopy(fields(st))
        try
            _, metrics = round!(f, st, clients, 1:5; pool)
            @test metrics.skipped !== nothing
        catch err
            @test !nan && occursin("the bomb in $hook", sprint(showerror, err))
        end
        @test isequal(fields(st), before)
    end
end
