using FedFlux: ByOwner, Dirichlet, FeatureNoise, IID, LabelSkew, QuantitySkew, Shards
using FedFlux: dirichlet!, holdings, indices, labelcounts, loggamma!, normal!, nsamples
using FedFlux: partition
using FedFlux: InnerDirichlet, Pathological, RedrawnDirichlet, Similarity, Sizes

const PARTITIONERS = [IID(), Dirichlet(0.3), Shards(2), LabelSkew(2), QuantitySkew(0.5),
    FeatureNoise(0.2), Pathological(2), Sizes("square"), InnerDirichlet(0.3),
    Similarity(20), RedrawnDirichlet(0.3)]

@testset "draws have their distributions" begin
    rng = Stream(1, :partition)
    n = 40_000
    z = [normal!(rng) for _ = 1:n]
    @test abs(mean(z)) < 5 / sqrt(n) && abs(var(z) - 1) < 5sqrt(2 / n)
    @test abs(mean(z .^ 4) - 3) < 5sqrt(96 / n)
    for α in (0.3, 1.0, 4.5)
        g = exp.([loggamma!(rng, α) for _ = 1:n])
        @test abs(mean(g) - α) < 5sqrt(α / n)
        # the variance of s² is about (μ₄ - σ⁴)/n, with μ₄ = 3α² + 6α
        @test abs(var(g) - α) < 5sqrt((2α^2 + 6α) / n)
    end
    # Gamma(1) is exponential, its median is log 2
    below_log2 = count(loggamma!(rng, 1) < log(log(2)) for _ = 1:n)
    @test abs(below_log2 - n / 2) < 5sqrt(n / 4)
    p = [dirichlet!(rng, 0.5, 4)[1] for _ = 1:n]
    @test abs(mean(p) - 1 / 4) < 5 * sqrt(3 / 48 / n)
    @test abs(var(p) - 1 / 4 * 3 / 4 / 3) < 0.003
    @test all(isfinite, dirichlet!(rng, 1e-4, 100)) && sum(dirichlet!(rng, 1e-4, 100)) ≈ 1
end

@testset "$(nameof(typeof(p))): each sample once, by the seed alone" for p in PARTITIONERS
    y = rand(Xoshiro(3), 0:9, 1000)
    parted(seed) = p(y, 13, Stream(seed, :partition))
    parts = parted(1)
    @test length(parts) == 13 && all(!isempty, parts)
    @test sort(reduce(vcat, parts)) == 1:1000
    @test parts == parted(1) != parted(2)
end

@testset "dirichlet" begin
    y = repeat(0:4, 400)
    # a label's share has the variance of a Dirichlet component, (1/N)(1 - 1/N)/(Nα + 1)
    N, α = 5, 0.7
    counts(seed) = vec(labelcounts(partition(Dirichlet(α), y', y, N, seed), 5))
    shares = reduce(vcat, [counts(seed) ./ 400 for seed = 1:400])
    expected = 1 / N * (1 - 1 / N) / (N * α + 1)
    @test abs(var(shares; mean = 1 / N) / expected - 1) < 0.1
    @test all(n -> abs(n - 400) < 40, length.(Dirichlet(1e6)(y, N, Stream(0, :partition))))
    parted(min_size) = Dirichlet(0.01; min_size)(y, 50, Stream(0, :partition))
    small = parted(25)
    @test minimum(length.(small)) == 25 && sort(reduce(vcat, small)) == 1:2000
    @test all(==(40), length.(parted(40)))
    @test occursin("expected at most 40", message(() -> parted(41)))
    numbers() = Dirichlet()(rand(20), 2, Stream(0, :partition))
    @test occursin("goes by labels", message(numbers))
end

@testset "shards" begin
    y = shuffle(Xoshiro(1), repeat(0:9, 20))
    clients = partition(Shards(2), y', y, 10, 4)      # 20 shards of 10: one label per shard
    counts = labelcounts(clients, 10)
    @test all(==(20), sum(counts; dims = 1)) && all(in((0, 10, 20)), counts)
    @test all(<=(2), sum(>(0), counts; dims = 1))
    too_many() = Shards(2)(y, 101, Stream(0, :partition))
    @test occursin("shards for each of 101 clients", message(too_many))
end

@testset "labels" begin
    y = repeat(0:3, 12)
    counts(k, clients) = labelcounts(partition(LabelSkew(k), y', y, clients, 0), 4)
    @test counts(2, 4) == [6 0 0 6; 6 6 0 0; 0 6 6 0; 0 0 6 6]
    six = [6 0 0 0; 0 6 0 0; 0 0 6 0; 0 0 0 6]
    @test counts(1, 8) == [six six]
    @test counts(1, 2) == [12 0; 0 12; 0 0; 0 0]     # nobody holds 2 and 3
    why(k, y, clients) = message(() -> LabelSkew(k)(y, clients, Stream(0, :partition)))
    @test occursin("there are 4 labels", why(5, y, 4))
    @test occursin("fewer clients than 5", why(1, [0, 1, 2, 3], 5))
end

@testset "quantity" begin
    y = repeat(0:1, 5000)
    parts = QuantitySkew(0.5; min_size = 20)(y, 10, Stream(0, :partition))
    @test minimum(length.(parts)) >= 20 && maximum(length.(parts)) > 2000
    large = parts[argmax(length.(parts))]
    # all clients have the same mix of labels
    @test abs(mean(y[large]) - 0.5) < 5 / sqrt(4length(large))
end

@testset "noise" begin
    x, y = zeros(Float32, 100, 400), rand(Xoshiro(2), 0:1, 400)
    clients = partition(FeatureNoise(0.4), x, y, 4, 9)
    for k = 1:4
        seen = vec(clients.x[:, indices(clients, k)])
        n = length(seen)
        @test abs(var(seen) / (0.4 * k / 4) - 1) < 5sqrt(2 / n)
        @test abs(mean(seen)) < 5sqrt(0.1k / n)
    end
    @test all(iszero, x)
    @test clients.x == partition(FeatureNoise(0.4), x, y, 4, 9).x
    @test partition(FeatureNoise(0.0), x, y, 4, 9).x == x
end

@testset "by owner" begin
    x, y = rand(Float32, 2, 5), [0, 1, 0, 1, 0]
    owner = ["carol", "ann", "bob", "ann", "carol"]
    clients = Clients(x, y; owner)
    @test [indices(clients, k) for k = 1:3] == [[2, 4], [3], [1, 5]]
    too_many() = Clients(x[:, 1:4], y[1:4]; owner)
    @test occursin("owners of 5 samples, and there are 4", message(too_many))
    d = Dataset(x, y, x, y; owner = [7, 7, -1, 7, -1])
    r = FedFlux.run(; dataset = d, partition = "owner", model = "softmax_regression",
        rounds = 1)
    @test r.holdings["sizes"] == [2, 3] && r.holdings["labels"] == [[2, 0], [1, 2]]
    unowned() = FedFlux.run(; dataset = "digits", partition = "owner")
    @test occursin("give owner", message(unowned))
    too_few() = Dataset(x, y, x, y; owner = [1, 2])
    @test occursin("there are 5 for training", message(too_few))
end

@testset "runs name their partition" begin
    for text in ("dirichlet(alpha=0.1, min_size=10)", "shards(k=3)", "labels(k=2)",
        "quantity(alpha=0.3)", "noise(level=0.5)")
        r = FedFlux.run(; dataset = "digits", model = "softmax_regression", rounds = 1,
            lr = 0.1, partition = text)
        @test sum(r.holdings["sizes"]) == 1437
    end
end

@testset "the table and the report of what clients hold" begin
    clients = Clients(rand(Float32, 2, 6), [0, 1, 2, 0, 1, 2], [[1, 4], [2, 3, 5, 6]])
    text = sprint(describe, clients)
    @test occursin(r"client +samples +label 0 +label 1 +label 2", text)
    @test occursin(r"2 +4 +0 +2 +2", text)
    @test occursin(
        "2 clients, 6 samples: 2 to 4 per client, median 3.0; " *
        "1 to 2 labels per client", text)
    numbers = Clients(rand(Float32, 2, 4), rand(Float32, 4), [[1], [2], [3, 4]])
    two_rows = sprint((io, c) -> describe(io, c; rows = 2), numbers)
    @test occursin("… and 1 more", two_rows)
    @test !haskey(holdings(numbers), "labels")
    many = Clients(rand(Float32, 1, 3000), rand(0:4, 3000), [[i, i + 1500] for i = 1:1500])
    @test holdings(many)["sizes"].median == 2
    @test haskey(holdings(many), "labels_held") && !haskey(holdings(many), "labels")
    letters = Clients(rand(Float32, 1, 30), collect(0:29), [1:10, 11:30])
    @test occursin(r"2 +20 +20", sprint(describe, letters))
end
