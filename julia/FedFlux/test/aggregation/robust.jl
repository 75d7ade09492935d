include("../setup/ten_clients.jl")
using FedFlux: combine_updates, pairwise_distances, sorting_network, krum_scores
norm64(v) = sqrt(sum(abs2, Float64.(v)))

vectors(rows...) = [Update(; delta = Float32.(collect(r))) for r in rows]
of(a, updates; kw...) = combine_updates(a, updates; kw...).delta
robust(f) =
    [Median(), TrimmedMean(0.2), Krum(f), MultiKrum(f), Bulyan(f), GeometricMedian()]

# Definitions written down plainly, to compare with.
plain_median(X) = [median(X[r, :]) for r in axes(X, 1)]
plain_trimmed(X, b) = [mean(sort(X[r, :])[(1+b):(end-b)]) for r in axes(X, 1)]
plain_distances(X) =
    [sum(abs2, Float64.(X[:, i]) .- Float64.(X[:, j])) for i in axes(X, 2), j in axes(X, 2)]
plain_krum(X, f) = argmin([
    sum(sort(plain_distances(X)[i, setdiff(axes(X, 2), i)])[1:(size(X, 2)-f-2)]) for
    i in axes(X, 2)
])

@testset "published vectors" begin
    u = vectors((1, 2, 3), (-1, 4, -1), (2, 2, 3), (3, 1, 3))
    @test of(Mean(), u) ≈ [1.25, 2.25, 2]
    @test of(Median(), u) == [1.5, 2, 3]
    @test of(TrimmedMean(0.25), u) == [1.5, 2, 3]
    @test of(TrimmedMean(0.25), vectors(0.5, 1, 2, 100)) == [1.5]
end

@testset "mistakes that others made" begin
    # Not by subtracting the extremes.
    @test of(TrimmedMean(0.2), vectors(1, 1.1, 0.9, 1, 1e10)) ≈ [3.1 / 3] rtol = 1e-6
    nan = vectors(
        (1, 1),
        (1.1, 1),
        (NaN, 1),
        (0.9, 1),
        (1, 1.2),
        (1, Inf),
        (1, 1.1),
        (1, 0.9),
        (1, 1)
    )
    for a in robust(1)
        @test all(isfinite, of(a, nan)) && abs(of(a, nan)[1] - 1) <= 0.1001
    end
    for a in [Mean(), NormClipping(1.0), GeometricMedian()]
        # Not a NaN model.
        @test combine_updates(a, vectors((1, 2), (3, 4)); weights = [0, 0]) === nothing
    end
    # The Gram trick gives noise here.
    near = [Update(; delta = 1000 .+ 1.0f-3 .* randn(Xoshiro(i), Float32, 100)) for i = 1:6]
    X = reduce(hcat, (u.delta for u in near))
    D = pairwise_distances(X, 1)
    @test D ≈ plain_distances(X) rtol = 1e-5
    @test all(iszero, D[i, i] for i = 1:6) && D == D'
    for a in [
        Median(),
        TrimmedMean(0.1),
        Krum(0),
        GeometricMedian(),
        NormClipping(1.0),
        CenteredClipping(1.0)
    ]
        # No division by zero.
        @test of(a, vectors((0, 0), (0, 0), (0, 0))) == [0, 0]
    end
end

@testset "a sorting network sorts (0-1 principle: it sorts all zeros and ones)" begin
    for n = 1:10, bits = 0:(2^n-1)
        v = digits(bits; base = 2, pad = n)
        for (i, j) in sorting_network(n)
            v[i] > v[j] && ((v[i], v[j]) = (v[j], v[i]))
        end
        @test issorted(v)
    end
end

@testset "against the definitions, for any size and any number of threads" begin
    rng = Xoshiro(5)
    for (d, n, f) in ((1, 7, 1), (33, 7, 1), (100, 8, 1), (4099, 23, 5), (700, 16, 3))
        X = randn(rng, Float32, d, n) .* exp.(randn(rng, Float32, 1, n))
        u = [Update(; delta = X[1:(d÷2), i], dc = X[(d÷2+1):end, i]) for i = 1:n]
        joined(a) = (
            r = combine_updates(a, u; threads = 1);
            @test combine_updates(a, u; threads = 2) == r;
            vcat(r.delta, r.dc)
        )
        @test joined(Median()) ≈ plain_median(X)
        @test joined(TrimmedMean(0.2)) ≈ plain_trimmed(X, floor(Int, 0.2n)) rtol = 1e-5
        @test joined(Krum(f)) == X[:, plain_krum(X, f)]
        scores = [sum(sort(plain_distances(X)[i, setdiff(1:n, i)])[1:(n-f-2)]) for i = 1:n]
        best(m) = vec(mean(X[:, sortperm(scores)[1:m]]; dims = 2))
        @test joined(MultiKrum(f)) ≈ best(n - f) rtol = 1e-4
        @test joined(MultiKrum(f, 2)) ≈ best(2) rtol = 1e-4
        @test pairwise_distances(X, 2) ≈ plain_distances(X) rtol = 1e-5
    end
end

@testset "Bulyan, step by step" begin
    X = randn(Xoshiro(2), Float32, 50, 11)
    left, chosen = collect(1:11), Int[]
    D = plain_distances(X)
    while length(chosen) < 7
        scores = [
            sum(sort([D[i, j] for j in left if j != i])[1:max(length(left)-4, 1)]) for
            i in left
        ]
        push!(chosen, popat!(left, argmin(scores)))
    end
    expected = map(1:50) do r
        v = X[r, chosen]
        mean(v[sortperm(abs.(v .- median(v)))[1:3]])
    end
    @test of(Bulyan(2), [Update(; delta = X[:, i]) for i = 1:11]) ≈ expected rtol = 1e-4
end

@testset "the geometric median has no downhill direction, and leaves out a far point" begin
    rng = Xoshiro(9)
    X = randn(rng, Float32, 20, 9)
    weights = rand(rng, 9)
    z = of(GeometricMedian(), [Update(; delta = X[:, i]) for i = 1:9]; weights)
    pull = sum(weights[i] .* (X[:, i] .- z) ./ norm64(X[:, i] .- z) for i = 1:9)
    @test maximum(abs, pull) < 1e-3 * sum(weights)
    # Between the middle ones.
    @test of(GeometricMedian(), vectors(0, 0, 1, 1e6)) ≈ [0.0] atol = 1.01
    line = of(GeometricMedian(), vectors((0, 0), (1, 0), (5, 0)))
    # In one dimension it is the median.
    @test line ≈ [1, 0] atol = 1e-3
end

@testset "clipping" begin
    u = vectors((3, 4), (0.3, 0.4))
    @test of(NormClipping(1.0), u; weights = [1, 3]) ≈ ([0.6, 0.8] + 3 * [0.3, 0.4]) / 4
    @test of(NormClipping(10.0), u) ≈ of(Mean(), u)
    @test of(CenteredClipping(1.0), u) ≈ ([0.6, 0.8] + [0.3, 0.4]) / 2
    @test of(CenteredClipping(1e9, 3), u) ≈ of(Mean(), u) rtol = 1e-6
    @test of(CenteredClipping(1.0), u; reference = Float32[3, 4]) ≈
          [3, 4] + [-0.6, -0.8] / 2
    far = [u; vectors((1e6, 0))]
    @test sqrt(sum(abs2, of(CenteredClipping(1.0), far))) <= 1 &&
          sqrt(sum(abs2, of(NormClipping(1.0), far))) <= 1
end

@testset "FLTrust" begin
    root = Float32[1, 0]
    updates = vectors((2, 0), (0, 3), (-5, 0), (1, 1))      # cosines 1, 0, −1, √½
    t = sqrt(0.5)
    @test of(FLTrust(), updates; reference = root) ≈
          ([1, 0] + t * [1, 1] / sqrt(2)) / (1 + t)
    @test combine_updates(FLTrust(), vectors((-1, 0), (0, 0)); reference = root) === nothing
    @test occursin("root data", message(() -> of(FLTrust(), updates)))
end

@testset "invariants: within the honest range, and a far update is never chosen" begin
    rng = Xoshiro(4)
    for trial = 1:40
        n = rand(rng, 7:15)
        f = rand(rng, 1:((n-3)÷4))
        honest = randn(rng, Float32, 6, n - f)
        hostile =
            rand(rng, (-1, 1)) .* 10.0f0^rand(rng, 2:30) .* (1 .+ rand(rng, Float32, 6, f))
        X = hcat(honest, hostile)[:, randperm(rng, n)]
        u = [Update(; delta = X[:, i]) for i = 1:n]
        low, high = vec(minimum(honest; dims = 2)), vec(maximum(honest; dims = 2))
        for a in [
            Median(),
            TrimmedMean(min(f / n + 1e-6, 0.49)),
            Krum(f),
            MultiKrum(f, 1),
            Bulyan(f)
        ]
            @test all(low .<= of(a, u) .<= high) skip =
                a isa TrimmedMean && floor(Int, a.fraction * n) < f
        end
        @test Krum(f) isa Krum && of(Krum(f), u) in eachcol(honest)
    end
end

@testset "a trimmed mean that trims nobody is warned of" begin
    warned(a, n) = FedFlux.worth_warning(a, n)
    @test occursin("trims nobody: 0.1 of 8 updates is less", warned(TrimmedMean(), 8))
    @test occursin("a fraction from 0.13 on", warned(TrimmedMean(), 8))
    @test all(n -> warned(TrimmedMean(), n) === nothing, 10:40)
    @test all(3:30) do n
        told = warned(TrimmedMean(0.001), n)
        lowest = parse(Float64, match(r"from ([\d.]+) on", told)[1])
        warned(TrimmedMean(lowest), n) === nothing
    end
    @test warned(TrimmedMean(0), 8) === warned(Median(), 8) === nothing
    told = String[]
    clients, _ = quadratic_clients(2, 4)
    f = Federated(Point(zeros(Float32, 2)); loss = mean_of_outputs, batchsize = 1,
        aggregate = TrimmedMean())
    pool = FedFlux.WorkerPool(f, clients.x)
    fit!(f, State(f, pool), clients; rounds = 1, pool, warn = w -> push!(told, w))
    @test length(told) == 1 && occursin("0.1 of 4 updates", only(told))
end

@testset "preconditions" begin
    few = vectors(1, 2, 3, 4)
    @test occursin("Krum needs 5 updates and got 4", message(() -> of(Krum(1), few)))
    @test occursin(
        "MultiKrum needs 5 updates and got 4",
        message(() -> of(MultiKrum(1), few))
    )
    @test occursin("Bulyan needs 7 updates and got 4", message(() -> of(Bulyan(1), few)))
    for bad in (
        () -> Krum(-1),
        () -> MultiKrum(1, 0),
        () -> Bulyan(-1),
        () -> TrimmedMean(0.5),
        () -> NormClipping(0),
        () -> CenteredClipping(-1),
        () -> FLTrust(0)
    )
        @test occursin("expected", message(bad))
    end
    @test occursin(
        "update 2 has the shape",
        message(
            () -> of(Median(), [Update(; delta = [1.0f0]), Update(; delta = [1.0f0, 2])])
        )
    )
    @test combine_updates(Median(), []) === nothing
end

# Attackers of one scale: all at one point, some at each end of a line, or anywhere.
const ATTACKS = Dict(
    "one point" =>
        (rng, d, f, scale) -> repeat(2rand(rng, Float32, d) .- 1, 1, f) .* scale,
    "two ends" =>
        (rng, d, f, scale) ->
            (2rand(rng, Float32, d) .- 1) .*
            [isodd(i) ? scale : -scale for _ = 1:1, i = 1:f],
    "anywhere" => (rng, d, f, scale) -> (2rand(rng, Float32, d, f) .- 1) .* scale,
    "all of Float32" => (rng, d, f, scale) -> rand(rng, (-scale, scale), d, f)
)
const SCALES = [1.0f1 .^ (0:2:38); 3.0f38]

"""
The bound of each aggregator on the distance between its result and the mean `m` of the
honest updates, none of which is farther than `R` from `m`. It holds for `f` hostile updates
of `n`, whatever they are; `H` are the honest ones, `root` is FLTrust's.
"""
function allowed(a, H, n, f, root)
    m = vec(mean(Float64.(H); dims = 2))
    R = maximum(norm64(h .- m) for h in eachcol(H))
    spread = norm64(maximum(H; dims = 2) .- minimum(H; dims = 2))
    α = f / n
    # Each coordinate lies within the honest range (Yin et al. 2018).
    a isa Union{Median,TrimmedMean} && return spread
    # The values nearest to the median lie at most one range beyond it: n − 3f or more of
    # those to choose from are honest, and n − 4f are kept (El Mhamdi et al. 2018).
    a isa Bulyan && return 2spread
    # A chosen hostile update has n − 2f − 1 honest ones among its n − f − 2 nearest, and
    # the sum of their squared distances is at most that of an honest update, (n − f − 2)
    # (2R)² (Blanchard et al. 2017, Proposition 2, for given updates).
    a isa Union{Krum,MultiKrum} && return R * (1 + 2sqrt((n - f - 2) / (n - 2f - 1)))
    # Lopuhaä and Rousseeuw 1991, Theorem 2.2.
    a isa GeometricMedian && return 2(1 - α) / (1 - 2α) * R
    # Each hostile update moves the mean by at most its clipped length; no honest one is
    # clipped here.
    a isa NormClipping && return α * (a.c + norm64(m))
    # One step from 0 leaves α(τ + ‖m‖), the next α(τ + what the last one left), where no
    # honest update is clipped; with more than one step that takes α < ½.
    a isa CenteredClipping &&
        return foldl((e, _) -> α * (a.tau + e), 1:a.iterations; init = norm64(m))
    # Cao et al. 2021, Lemma 1.
    a isa FLTrust && return 3norm64(root .- m) + 2norm64(m)
end

@testset "no scale of attack breaks $name" for (name, make, most) in (
    ("Median", (n, f) -> Median(), n -> (n - 1) ÷ 2),
    ("TrimmedMean", (n, f) -> TrimmedMean(f / n), n -> (n - 1) ÷ 2),
    ("Krum", (n, f) -> Krum(f), n -> (n - 3) ÷ 2),
    ("MultiKrum", (n, f) -> MultiKrum(f), n -> (n - 3) ÷ 2),
    ("Bulyan", (n, f) -> Bulyan(f), n -> (n - 3) ÷ 4),
    ("GeometricMedian", (n, f) -> GeometricMedian(), n -> (n - 1) ÷ 2),
    ("CenteredClipping", (n, f) -> CenteredClipping(50.0), n -> n - 1),
    ("CenteredClipping, 5 steps", (n, f) -> CenteredClipping(400.0, 5), n -> (n - 1) ÷ 2),
    ("NormClipping", (n, f) -> NormClipping(50.0), n -> n - 1),
    ("FLTrust", (n, f) -> FLTrust(), n -> n - 1)
)
    rng = Xoshiro(11)
    for d in (20, 1100), n in (10, 15), f in unique((1, most(n) ÷ 2, most(n)))
        a = make(n, f)
        H = 0.5f0 .+ randn(rng, Float32, d, n - f)
        m = vec(mean(Float64.(H); dims = 2))
        root = Float32.(m) .+ 0.1f0 .* randn(rng, Float32, d)
        bound = allowed(a, H, n, f, root)
        for (kind, attack) in ATTACKS, scale in SCALES
            X = hcat(H, attack(rng, d, f, scale))[:, randperm(rng, n)]
            ū = combine_updates(a, [Update(; delta = X[:, i]) for i = 1:n];
                reference = a isa FLTrust ? root : nothing)
            @test ū !== nothing && norm64(ū.delta .- m) <= bound * (1 + 1e-5)
        end
    end
end

@testset "honest updates may be huge too" begin
    rng = Xoshiro(16)
    hostile = 1.0f38 .* (2rand(rng, Float32, 30, 3) .- 1)
    X = hcat(hostile, 1.0f25 .* randn(rng, Float32, 30, 9))
    u = [Update(; delta = x) for x in eachcol(X)]
    H = X[:, 4:end] .* 1.0f-25
    for a in (Krum(3), MultiKrum(3), Bulyan(2), Median(), TrimmedMean(0.25),
        GeometricMedian())
        m = mean(Float64.(H); dims = 2)
        f = a isa Bulyan ? 2 : 3
        mine = a isa Bulyan ? u[2:end] : u
        @test norm64(of(a, mine) ./ 1.0f25 .- m) <= allowed(a, H, length(mine), f, nothing)
    end
    # Clipped and rescaled, not ignored.
    same = [Update(; delta = fill(3.0f38, 100)) for _ = 1:10]
    @test of(CenteredClipping(1e-3), same) ≈ fill(1e-4, 100) rtol = 1e-5
    @test of(NormClipping(1e-3), same) ≈ fill(1e-4, 100) rtol = 1e-5
    @test of(FLTrust(), same; reference = fill(1.0f-5, 100)) ≈ fill(1e-5, 100) rtol = 1e-5
end

@testset "the geometric median: attackers move it by the same, however far they are" begin
    rng = Xoshiro(12)
    H, direction = randn(rng, Float32, 20, 7), randn(rng, Float32, 20, 3)
    at(scale; weights = ones(10)) = of(GeometricMedian(),
        [Update(; delta = x) for x in eachcol(hcat(H, scale .* direction))]; weights)
    far = at(1.0f4)
    for scale in (1.0f8, 1.0f10, 1.0f19, 1.0f21, 1.0f30, 1.0f37)
        @test at(scale) ≈ far atol = 1e-2
    end
    # Less than half of the weight, however many they are.
    few = [Update(; delta = x) for x in eachcol(hcat(H[:, 1:3], 1.0f30 .* H))]
    z = of(GeometricMedian(), few; weights = [fill(2, 3); fill(0.8, 7)])
    @test norm64(z .- mean(H[:, 1:3]; dims = 2)) < 100
    # An update in the middle of each coordinate that isn't the geometric median: the pulls
    # of the others don't balance there.
    corner = vectors((0, 0), (10, 1), (10, 1.5), (-1, -10), (-1, -10.5))
    z = of(GeometricMedian(), corner)
    pull = sum((u.delta .- z) ./ norm64(u.delta .- z) for u in corner)
    @test norm64(pull) < 1e-3
end

@testset "distances of any size" begin
    for scale in (1.0f-30, 1.0f0, 1.0f19, 1.0f25, 1.7f38)
        X = scale .* (2rand(Xoshiro(13), Float32, 2100, 9) .- 1)
        z = X[:, 1] .* 0.9f0
        @test FedFlux.squared_distances(X, z, 1) ≈
              [sum(abs2, Float64.(X[:, i]) .- z) for i = 1:9] rtol = 1e-12
        scale < 1 || @test pairwise_distances(X, 2) ≈ plain_distances(X) rtol = 1e-5
    end
    # The close ones stay close where another is far.
    X = hcat(randn(Xoshiro(14), Float32, 1100, 6), fill(3.0f38, 1100, 2))
    @test pairwise_distances(X, 1)[1:6, 1:6] ≈ plain_distances(X)[1:6, 1:6] rtol = 1e-5
    @test pairwise_distances(X, 1) == pairwise_distances(X, 2)
end

@testset "a weighted median of each coordinate" begin
    rng = Xoshiro(15)
    for (d, n) in ((1, 1), (33, 7), (100, 8), (4099, 13))
        X, w = randn(rng, Float32, d, n), rand(rng, n) .* (rand(rng, n) .< 0.8)
        w[1] += 0.1
        w ./= sum(w)
        v = FedFlux.weighted_median(X, w, 1)
        @test v == FedFlux.weighted_median(X, w, 2)
        @test all(1:d) do r
            v[r] in X[r, :] &&
                sum(w[X[r, :] .< v[r]]) <= 0.5 + 1e-6 &&
                sum(w[X[r, :] .> v[r]]) <= 0.5 + 1e-6
        end
    end
end

@testset "FLTrust's own update follows the schedule, and no rule adds vectors" begin
    nine = Clients(TEN_X, TEN_Y, [k:(k+11) for k = 1:12:108])
    root = Clients(TEN_X, TEN_Y, nine.order, nine.starts, collect(109:120))
    step() = begin
        f = ten_federated(; aggregate = FLTrust(12), schedule = (StepDecay(every = 1),))
        pool = WorkerPool(f, root; threads = 1)
        st = State(f, pool)
        θs = [copy(st.θ)]
        for _ = 1:2
            round!(f, st, root, 1:9; pool)
            push!(θs, copy(st.θ))
        end
        sqrt.(sum.(abs2, diff(θs)))
    end
    first_step, second = step()
    @test second < 0.3 * first_step                          # the rate fell to a tenth
    @test first_step > 0
    why = message(() -> ten_federated(; aggregate = FLTrust(12), rules = (Scaffold(),)))
    @test occursin("Scaffold and aggregate FLTrust don't go together", why)
    u = Update(; delta = Float32[1, 2], other = Float32[3, 4])
    why = message(() -> combine_updates(FLTrust(), [u]; reference = Float32[1, 2]))
    @test occursin("4 values and the server's own 2", why)
end

@testset "what a client reports is not measured" begin
    far(v) = Update(; delta = Float32[v, 0], metrics = (; work = Float32[1e6v]))
    updates = far.(Float32[1, 1.1, 0.9, 1, 1.05])
    plain = [Update(; u.delta) for u in updates]
    for a in (Krum(1), NormClipping(0.5), GeometricMedian(), CenteredClipping(1.0))
        @test combine_updates(a, updates).delta == combine_updates(a, plain).delta
    end
    @test combine_updates(Median(), updates).metrics.work ≈ [1.01e6] rtol = 1e-5
end
