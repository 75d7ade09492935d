# What one party can do to a guarantee: who knows the run's seed, and a client that sends
# what it likes.
using FedFlux: Attackers, draw_cohort, guarantee, PoissonSampling, statement
using FedFlux: UniformSampling, WorkerPool
import FedFlux: client!, send

x, y = blobs(120)
clients = Clients(x, y, [k:(k+2) for k = 1:3:120])
model() = softmax_regression(6, 3; rng = Stream(1, :init))
private(rules...; seed = 6, kw...) =
    Federated(model(); rules, weights = :uniform, batchsize = 3, maxsteps = 1,
        optimizer = Descent(0.2f0), seed, kw...)
poisson = CohortSampling(4; sampling = PoissonSampling())

# Notes who was asked in which round; one thread trains.
struct Spy <: Rule
    seen::Dict{Int,Vector{Int}}
end
client!(r::Spy, s, u, ctx) =
    (push!(get!(r.seen, ctx.round, Int[]), ctx.client); (nothing, u))

"The cohorts of a run, its history and its warnings."
function watched(rule; rounds = 100, sampling = poisson, folder = nothing)
    seen, warnings = Dict{Int,Vector{Int}}(), String[]
    f = private(Spy(seen), rule)
    pool = WorkerPool(f, clients; threads = 1)
    st, progress = State(f, pool), FedFlux.Progress()
    saved = folder === nothing ? nothing : FedFlux.load_checkpoint(folder)
    saved === nothing || ((st, progress) = FedFlux.restore(saved, f, FedFlux.engine(pool)))
    checkpoints = folder === nothing ? nothing : Checkpoints(folder)
    _, history, _ = fit!(f, st, clients; rounds, sampling, pool, checkpoints, progress,
        warn = w -> push!(warnings, w))
    return [sort(get(seen, r, Int[])) for r = 1:rounds], history, warnings
end

"In how many rounds the cohort is the one that follows from the seed."
foreseen(cohorts, sampling) =
    count(eachindex(cohorts)) do round
        cohorts[round] == draw_cohort(sampling, clients, 4, UInt64(6), round)
    end

@testset "who knows the seed knows no cohort that ε rests on: $(typeof(s))" for s in
                                                                                (
    PoissonSampling(), UniformSampling())

    sampling = CohortSampling(4; sampling = s)
    secret, _, warnings = watched(ClientDP(); sampling)
    @test foreseen(secret, sampling) <= 3 && isempty(warnings)
    @test watched(ClientDP(); sampling)[1] != secret
    # What is drawn has the law that is accounted.
    taken = sum(length, secret)
    s isa UniformSampling ? (@test all(c -> length(c) == 4, secret)) :
    (@test abs(taken - 400) < 5 * sqrt(100 * 40 * 0.1 * 0.9))
    # The attack works where cohorts follow from the seed, and then nothing is claimed for
    # chance.
    dp = ClientDP(; noise_multiplier = 1.3, delta = 1e-4, reproducible = true)
    seeded, history, warnings = watched(dp; sampling)
    @test foreseen(seeded, sampling) == 100
    @test occursin("without amplification", only(warnings))
    plain(n) = epsilon(; noise_multiplier = 1.3, steps = n, delta = 1e-4, sampling = :none)
    @test [r.epsilon for r in history] ≈ plain.(1:100)
    told = statement(guarantee(private(dp), sampling, clients), 3)
    @test told["sampling"] == "none" && told["sampling_rate"] == 1
    @test occursin("follows from the run's seed", told["amplification"])
end

@testset "without such a claim, cohorts follow from the seed as ever" begin
    for rule in (FedProx(), LocalDP())
        cohorts, _, warnings = watched(rule; rounds = 20)
        @test foreseen(cohorts, poisson) == 20 && isempty(warnings)
    end
end

@testset "a resumed run draws its cohorts anew" begin
    mktempdir() do folder
        watched(ClientDP(); rounds = 3, folder)
        again = map(1:2) do i
            mine = cp(folder, joinpath(mktempdir(), "run"))
            cohorts, history, _ = watched(ClientDP(); rounds = 30, folder = mine)
            @test last(history).epsilon ≈
                  epsilon(; noise_multiplier = 1.0, sampling_rate = 0.1, steps = 30,
                delta = 1e-5)
            cohorts[4:30]
        end
        @test again[1] != again[2]
    end
end

@testset "batches that follow from the seed make ε no smaller" begin
    guaranteed(; kw...) = guarantee(private(DPSGD(; noise_multiplier = 1.1, kw...);
            batchsize = 1), CohortSampling(40), clients)
    secret, seeded = guaranteed(), guaranteed(; reproducible = true)
    ε(p) = FedFlux.epsilon_after(p, 3)
    want(; kw...) = epsilon(; noise_multiplier = 1.1, steps = 3, delta = 1e-5, kw...)
    @test ε(secret) ≈ want(; sampling_rate = 1 / 3) && secret.warning === nothing
    @test ε(seeded) ≈ want(; sampling = :none) > 1.5 * ε(secret)
    @test occursin("without amplification", seeded.warning)
end

# Client 1, the victim, sends ±0.5 in the first value, with the sign of the round, and all
# others zeros.
struct Victim <: Rule end
sign_of(round) = isodd(count_ones(round)) ? 1.0f0 : -1.0f0
function client!(::Victim, s, u, ctx)
    delta = zero(u.delta)
    ctx.client == 1 && (delta[1] = 0.5f0 * sign_of(ctx.round))
    return nothing, Update(u; delta)
end

# Sends one huge value, past its own clip.
struct Huge <: FedFlux.Attack
    value::Float32
end
function send(a::Huge, m, ctx)
    delta = zero(m.update.delta)
    delta[1] = a.value
    return (FedFlux.with_update(m, Update(m.update; delta)),)
end

hundred = Clients(zeros(Float32, 2, 100), zeros(Int, 100), [k:k for k = 1:100])
attacked(rule, value) = Federated(softmax_regression(2, 2; rng = Stream(1, :init));
    rules = (Victim(), rule), weights = :uniform, batchsize = 1, maxsteps = 1,
    optimizer = Descent(0.0f0), attack = Attackers(Huge(value); clients = [100]))

"What rounds of all hundred add to the first value, times 100."
function steps(f, rounds)
    pool = WorkerPool(f, hundred; threads = 1)
    st = State(f, pool)
    return map(1:rounds) do _
        fill!(st.θ, 0)
        _, metrics = round!(f, st, hundred, 1:100; pool, expected = 100)
        @test metrics.clients == 100
        100 * Float64(st.θ[1])
    end
end

@testset "a hostile client of a hundred makes no other one's part visible" begin
    # The mean of such a value lies between two Float32, and the victim decided which: the
    # sum then moved by 12.5.
    for value in (0.0f0, 100 * (2.0f0^20 + 0.0625f0))
        seen = steps(attacked(ClientDP(), value), 3000)
        right = mean((seen .> median(seen)) .== (sign_of.(1:3000) .> 0))
        @test right ≈ 0.6915 atol = 0.035        # Φ(½): N(±½, 1) by their sign
    end
end

@testset "the server's clip holds, whoever sent what: $(typeof(r))" for r in (
    ClientDP(; noise_multiplier = 1e-9), DPFTRL(; noise_multiplier = 1e-9),
    ClientDP(; noise_multiplier = 1e-9, quantile = 0.5, count_noise = 1e6))

    for value in (7.0f6, -3.0f38, 1.0f0)
        @test only(steps(attacked(r, value), 1)) ≈ 0.5 + clamp(value, -1, 1) rtol = 1e-5
    end
end

# Says that a thousand clients are below the clip.
struct Liar <: FedFlux.Attack end
send(::Liar, m, ctx) =
    (FedFlux.with_update(m, Update(m.update; metrics = (; below = [1.0f3]))),)

@testset "one client's bit counts once" begin
    r = ClientDP(; clip = 2.0, quantile = 0.5, clip_lr = 1.0, count_noise = 6.0,
        noise_multiplier = 1e-3)
    f = Federated(softmax_regression(2, 2); rules = (Victim(), r), weights = :uniform,
        batchsize = 1, maxsteps = 1, attack = Attackers(Liar(); clients = [100]))
    pool = WorkerPool(f, hundred; threads = 1)
    st = State(f, pool)
    round!(f, st, hundred, 1:100; pool, expected = 100)
    # All are below: the share is 1, with noise of 0.06.
    @test last(st.shared).clip ≈ 2 * exp(-0.5) rtol = 0.4
end

struct NoNumbers <: FedFlux.Attack end
send(::NoNumbers, m, ctx) = (FedFlux.with_update(m, map(v -> NaN32 .* v .+ NaN32,
    m.update)),)

@testset "a round in which every update is rejected has its noise: $(typeof(r))" for r in (
    ClientDP(), DPFTRL())

    f = Federated(softmax_regression(2, 2); rules = (r,), weights = :uniform,
        batchsize = 1, attack = Attackers(NoNumbers(); count = 100))
    pool = WorkerPool(f, hundred; threads = 1)
    st = State(f, pool)
    before = copy(st.θ)
    _, metrics = round!(f, st, hundred, 1:100; pool, expected = 100)
    @test length(metrics.rejected) == 100 && metrics.skipped === nothing
    @test all(st.θ .!= before)
end
