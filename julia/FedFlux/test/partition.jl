using FedFlux: ByOwner, Dirichlet, FeatureNoise, IID, LabelSkew, QuantitySkew, Shards, dirichlet!, holdings, indices, labelcounts,
    loggamma!, nsamples, normal!, partition

const LAWS = [IID(), Dirichlet(0.3), Shards(2), LabelSkew(2), QuantitySkew(0.5), FeatureNoise(0.2)]

@testset "draws have their distributions" begin
    rng = Stream(1, :partition)
    n = 40_000
    z = [normal!(rng) for _ in 1:n]
    @test abs(mean(z)) < 5 / sqrt(n) && abs(var(z) - 1) < 5sqrt(2 / n) && abs(mean(z .^ 4) - 3) < 5sqrt(96 / n)
    for α in (0.3, 1.0, 4.5)
        g = exp.([loggamma!(rng, α) for _ in 1:n])
        @test abs(mean(g) - α) < 5sqrt(α / n)
        @test abs(var(g) - α) < 5sqrt((2α^2 + 6α) / n)     # var of s² ≈ (μ₄ - σ⁴)/n, μ₄ = 3α² + 6α
    end
    below_log2 = count(loggamma!(rng, 1) < log(log(2)) for _ in 1:n)       # Gamma(1) is exponential, its median log 2
    @test abs(below_log2 - n / 2) < 5sqrt(n / 4)
    p = [dirichlet!(rng, 0.5, 4)[1] for _ in 1:n]
    @test abs(mean(p) - 1 / 4) < 5 * sqrt(3 / 48 / n) && abs(var(p) - 1 / 4 * 3 / 4 / 3) < 0.003
    @test all(isfinite, dirichlet!(rng, 1e-4, 100)) && sum(dirichlet!(rng, 1e-4, 100)) ≈ 1
end

@testset "$(nameof(typeof(law))): each sample once, by the seed alone" for law in LAWS
    y = rand(Xoshiro(3), 0:9, 1000)
    parts = law(y, 13, Stream(1, :partition))
    @test length(parts) == 13 && sort(reduce(vcat, parts)) == 1:1000 && all(!isempty, parts)
    @test parts == law(y, 13, Stream(1, :partition)) != law(y, 13, Stream(2, :partition))
end

@testset "dirichlet" begin
    y = repeat(0:4, 400)
    # the share of a label has the variance of a Dirichlet's component, (1/N)(1 - 1/N)/(Nα + 1)
    N, α = 5, 0.7
    shares = reduce(vcat, [vec(labelcounts(partition(Dirichlet(α), y', y, N, seed), 5)) ./ 400 for seed in 1:400])
    @test abs(var(shares; mean = 1 / N) / (1 / N * (1 - 1 / N) / (N * α + 1)) - 1) < 0.1
    @test all(n -> abs(n - 400) < 40, length.(Dirichlet(1e6)(y, N, Stream(0, :partition))))
    small = Dirichlet(0.01; min_size = 25)(y, 50, Stream(0, :partition))
    @test minimum(length.(small)) == 25 && sort(reduce(vcat, small)) == 1:2000
    @test Dirichlet(0.01; min_size = 40)(y, 50, Stream(0, :partition)) |> parts -> all(==(40), length.(parts))
    @test occursin("expected at most 40", message(() -> Dirichlet(0.01; min_size = 41)(y, 50, Stream(0, :partition))))
    @test occursin("goes by labels", message(() -> Dirichlet()(rand(20), 2, Stream(0, :partition))))
end

@testset "shards" begin
    y = shuffle(Xoshiro(1), repeat(0:9, 20))
    clients = partition(Shards(2), y', y, 10, 4)      # 20 shards of 10: each is of one label
    counts = labelcounts(clients, 10)
    @test all(==(20), sum(counts; dims = 1)) && all(in((0, 10, 20)), counts) && all(<=(2), sum(>(0), counts; dims = 1))
    @test occursin("shards for each of 101 clients", message(() -> Shards(2)(y, 101, Stream(0, :partition))))
end

@testset "labels" begin
    y = repeat(0:3, 12)
    @test labelcounts(partition(LabelSkew(2), y', y, 4, 0), 4) == [6 0 0 6; 6 6 0 0; 0 6 6 0; 0 0 6 6]
    @test labelcounts(partition(LabelSkew(1), y', y, 8, 0), 4) == [6 0 0 0 6 0 0 0; 0 6 0 0 0 6 0 0; 0 0 6 0 0 0 6 0; 0 0 0 6 0 0 0 6]
    @test labelcounts(partition(LabelSkew(1), y', y, 2, 0), 4) == [12 0; 0 12; 0 0; 0 0]     # nobody holds 2 and 3
    @test occursin("there are 4 labels", message(() -> LabelSkew(5)(y, 4, Stream(0, :partition))))
    @test occursin("fewer clients than 5", message(() -> LabelSkew(1)([0, 1, 2, 3], 5, Stream(0, :partition))))
end

@testset "quantity" begin
    y = repeat(0:1, 5000)
    parts = QuantitySkew(0.5; min_size = 20)(y, 10, Stream(0, :partition))
    @test minimum(length.(parts)) >= 20 && maximum(length.(parts)) > 2000
    large = parts[argmax(length.(parts))]
    @test abs(mean(y[large]) - 0.5) < 5 / sqrt(4length(large))       # the mix of labels is everybody's
end

@testset "noise" begin
    x, y = zeros(Float32, 100, 400), rand(Xoshiro(2), 0:1, 400)
    clients = partition(FeatureNoise(0.4), x, y, 4, 9)
    for k in 1:4
        seen = vec(clients.x[:, indices(clients, k)])
        @test abs(var(seen) / (0.4 * k / 4) - 1) < 5sqrt(2 / length(seen)) && abs(mean(seen)) < 5sqrt(0.1k / length(seen))
    end
    @test all(iszero, x)
    @test clients.x == partition(FeatureNoise(0.4), x, y, 4, 9).x
    @test partition(FeatureNoise(0.0), x, y, 4, 9).x == x
end

@testset "by owner" begin
    x, y = rand(Float32, 2, 5), [0, 1, 0, 1, 0]
    owner = ["carol", "ann", "bob", "ann", "carol"]
    clients = Clients(x, y; owner)
    @test [indices(clients, k) for k in 1:3] == [[2, 4], [3], [1, 5]]
    @test occursin("owners of 5 samples, and there are 4", message(() -> Clients(x[:, 1:4], y[1:4]; owner)))
    d = Dataset(x, y, x, y; owner = [7, 7, -1, 7, -1])
    r = FedFlux.run(; dataset = d, partition = "owner", model = "softmax_regression", rounds = 1)
    @test r.holdings["sizes"] == [2, 3] && r.holdings["labels"] == [[2, 0], [1, 2]]
    @test occursin("give owner", message(() -> FedFlux.run(; dataset = "digits", partition = "owner")))
    @test occursin("there are 5 for training", message(() -> Dataset(x, y, x, y; owner = [1, 2])))
end

@testset "runs name their partition" begin
    for text in ("dirichlet(alpha=0.1, min_size=10)", "shards(k=3)", "labels(k=2)", "quantity(alpha=0.3)", "noise(level=0.5)")
        r = FedFlux.run(; dataset = "digits", partition = text, model = "softmax_regression", rounds = 1, lr = 0.1)
        @test sum(r.holdings["sizes"]) == 1437
    end
end

@testset "who holds what" begin
    clients = Clients(rand(Float32, 2, 6), [0, 1, 2, 0, 1, 2], [[1, 4], [2, 3, 5, 6]])
    text = sprint(describe, clients)
    @test occursin(r"client +samples +label 0 +label 1 +label 2", text) && occursin(r"2 +4 +0 +2 +2", text)
    @test occursin("2 clients, 6 samples: 2 to 4 a client, median 3.0; 1 to 2 labels a client", text)
    numbers = Clients(rand(Float32, 2, 4), rand(Float32, 4), [[1], [2], [3, 4]])
    @test occursin("… and 1 more", sprint((io, c) -> describe(io, c; rows = 2), numbers))
    @test !haskey(holdings(numbers), "labels")
    many = Clients(rand(Float32, 1, 3000), rand(0:4, 3000), [[i, i + 1500] for i in 1:1500])
    @test holdings(many)["sizes"].median == 2 && haskey(holdings(many), "labels_held") && !haskey(holdings(many), "labels")
    letters = Clients(rand(Float32, 1, 30), collect(0:29), [1:10, 11:30])
    @test occursin(r"2 +20 +20", sprint(describe, letters))
end
