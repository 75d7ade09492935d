# Samplings that learn from the rounds.
include("../setup/ten_clients.jl")
using FedFlux: draw, observe!

const SIZED = Clients(zeros(Float32, 1, 15), zeros(15), [1:1, 2:3, 4:6, 7:10, 11:15])

@testset "power of choice: the highest losses among candidates by samples" begin
    s = PowerOfChoice(candidates = 3)
    kept = Dict(k => Float64(k) for k = 1:5)
    counts = zeros(Int, 5)
    for round = 1:2000
        rng = Stream(1, :cohort, round)
        candidates = draw(FedFlux.WeightedSampling(), 1:5, SIZED, 3, round, deepcopy(rng))
        cohort = draw(s, kept, 1:5, SIZED, 2, round, rng)
        @test sort(cohort) == sort(candidates)[2:3]
        counts[cohort] .+= 1
    end
    @test issorted(counts) && counts[1] == 0
    # Who never trained comes first; candidates are at least those wanted.
    @test 2 in
          draw(PowerOfChoice(candidates = 5), delete!(copy(kept), 2), 1:5, SIZED, 1, 1,
        Stream(1, :cohort, 1))
    @test length(
        draw(PowerOfChoice(candidates = 1), kept, 1:5, SIZED, 4, 1,
            Stream(1, :cohort, 1))
    ) == 4
    seen = observe!(s, kept, [(; client = 2, loss = 9.0, samples = 2)], 7)
    @test seen[2] == 9.0 && seen[1] == 1.0 && kept[2] == 2.0
end

@testset "Oort: utility, the bar, and new clients" begin
    # All known, no share for new ones: utilities are n·loss over the largest, clipped at
    # the 95th percentile, plus √(0.1 log r / L).
    kept =
        Dict(k => (; loss = [4.0, 1, 1, 1, 3][k], round = [1, 9, 9, 9, 9][k]) for k = 1:5)
    round = 10
    gain = [4.0, 2, 3, 4, 15]
    gain = min.(gain, quantile(gain, 0.95))
    utility = gain ./ maximum(gain) .+ sqrt.(0.1 .* log(round) ./ [1, 9, 9, 9, 9])
    order = sortperm(utility; rev = true)
    s = Oort(explore = 0, least = 0)
    for n = 1:5
        bar = 0.95 * utility[order[n]]
        drawn = Set{Int}()
        for i = 1:200
            cohort = draw(s, kept, 1:5, SIZED, n, round, Stream(i, :cohort, round))
            @test allunique(cohort) && length(cohort) == n
            union!(drawn, cohort)
        end
        @test drawn == Set(findall(>=(bar), utility))
    end
    # In the first round nobody is known; then new clients have their share.
    @test length(draw(Oort(), nothing, 1:5, SIZED, 3, 1, Stream(1, :cohort, 1))) == 3
    some = Dict(k => kept[k] for k = 1:3)
    cohort = draw(Oort(explore = 0.5), some, 1:5, SIZED, 2, 1, Stream(1, :cohort, 1))
    @test count(>(3), cohort) == 1
end

sampled(s) = CohortSampling(3; sampling = s)
const LEARNED = (PowerOfChoice(candidates = 6), Oort(explore = 0.4))

@testset "$(nameof(typeof(s))) in rounds: threads, checkpoints, what is kept" for s in
                                                                                  LEARNED

    f = ten_federated()
    run(parts; kw...) = in_parts(f, TEN_CLIENTS, sampled(s), parts; kw...)
    θ = run([6])
    @test run([6]; threads = 2) == θ
    @test mktempdir(folder -> run([3, 6]; folder)) == θ
    @test θ != in_parts(f, TEN_CLIENTS, CohortSampling(3), [6])
    st, history = fit_ten(f; rounds = 6, sampling = sampled(s))
    @test st.θ == θ
    took_part = union((r.cohort for r in history)...)
    @test Set(keys(st.sampling)) == Set(took_part)
    loss(k) = s isa Oort ? st.sampling[k].loss : st.sampling[k]
    last_loss = last(history).train_loss
    @test mean(loss, last(history).cohort) ≈ last_loss rtol = 1e-5      # equal sizes
end

@testset "what may not follow from losses is refused" begin
    private = (ClientDP(), LocalDP(), DPSGD())
    for s in LEARNED, rule in private
        f = ten_federated(; rules = (rule,), weights = :uniform)
        @test occursin(r"(does not go with rule|can't account for cohorts drawn by)",
            message(() -> fit_ten(f; rounds = 1, sampling = sampled(s))))
    end
    f = ten_federated(; aggregate = SecureMean())
    @test occursin("does not go with SecureMean",
        message(() -> fit_ten(f; rounds = 1, sampling = sampled(LEARNED[1]))))
end
