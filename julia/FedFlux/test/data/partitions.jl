# The partitions that papers and benchmark libraries name.

using FedFlux: InnerDirichlet, Pathological, RedrawnDirichlet, Similarity, Sizes

parted(p, y, clients, seed = 1) = p(y, clients, Stream(seed, :partition))
labels_of(parts, y) = [sort!(unique(y[part])) for part in parts]

@testset "pathological, as PFLlib deals" begin
    y = shuffle(Xoshiro(1), repeat(0:9, 100))
    parts = parted(Pathological(2), y, 20)
    # Twenty clients of two labels: clients 1 to 4 hold 0 and 1, the next 2 and 3.
    @test labels_of(parts, y) == [[2 * (c ÷ 4), 2 * (c ÷ 4) + 1] for c = 0:19]
    @test all(==(50), length.(parts))
    @test all(part -> count(==(y[first(part)]), y[part]) == 25, parts)
    # Three clients of three labels: one label each goes to one client, and one is left out.
    @test labels_of(parted(Pathological(3), y, 3), y) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    @test occursin("at most as many", message(() -> parted(Pathological(11), y, 3)))
    @test occursin("fewer clients", message(() -> parted(Pathological(1), [0, 1, 1], 3)))
end

@testset "sizes follow their law" begin
    y = zeros(Int, 1000)
    sizes(law, n; o...) = length.(parted(Sizes(law; o...), y, n))
    @test sizes("linear", 4) == [100, 200, 300, 400]
    @test all(abs.(sizes("square", 4) .- 1000 .* [1, 4, 9, 16] ./ 30) .<= 1)
    exponential = sizes("exponential", 5)
    @test all(abs.(exponential .- 1000 .* exp.(1:5) ./ sum(exp.(1:5))) .<= 1)
    many = sizes("exponential", 900; min_size = 1)
    @test minimum(many) == 1 && sum(many) == 1000
    @test minimum(sizes("square", 30; min_size = 5)) == 5
    @test occursin("expected linear", message(() -> parted(Sizes("cubic"), y, 3)))
end

@testset "inner dirichlet: equal sizes, mixes of the client's own" begin
    y = repeat(0:4, 400)
    parts = parted(InnerDirichlet(0.1), y, 7)
    @test sort(length.(parts)) == [285, 285, 286, 286, 286, 286, 286]
    # The share of a client's largest label: near 1/5 for a large alpha.
    top(alpha) =
        mean(1:20) do seed
            parts = parted(InnerDirichlet(alpha), y, 20, seed)
            mean(part -> maximum(c -> count(==(c), y[part]), 0:4) / length(part), parts)
        end
    @test top(1e6) < 0.3 && top(0.05) > 0.6
    # A single client's mix is a Dirichlet draw: the variance of a share is 4/25/(5α + 1).
    shares = map(1:400) do seed
        part = parted(InnerDirichlet(1.0), repeat(0:4, 2000), 100, seed)[1]
        count(i -> mod(i, 5) == 1, part) / length(part)
    end
    @test abs(mean(shares) - 0.2) < 5 * sqrt(0.16 / 6 / 400)
    @test 0.8 < var(shares) / (0.16 / 6 + 0.16 * (1 - 1 / 6) / 100) < 1.25
end

@testset "similarity" begin
    y = shuffle(Xoshiro(2), repeat(0:9, 100))
    @test all(<=(2), length.(labels_of(parted(Similarity(0), y, 10), y)))
    @test labels_of(parted(Similarity(0), y, 10), y) == [[c] for c = 0:9]
    half = parted(Similarity(50), y, 10)
    @test all(==(100), length.(half))
    # Half of a client's samples have one label or two neighbors, the other half any.
    common(part) = sum(sort!([count(==(l), y[part]) for l = 0:9]; rev = true)[1:2])
    @test all(part -> 50 <= common(part) < 75, half)
    @test all(part -> common(part) < 45, parted(Similarity(100), y, 10))
    @test all(in((33, 34)), length.(parted(Similarity(35), y[1:100], 3)))
end

@testset "redrawn dirichlet: the smallest has min_size, nobody far more than a share" begin
    y = repeat(0:9, 100)
    for seed = 1:5
        sizes = length.(parted(RedrawnDirichlet(0.3; min_size = 40), y, 10, seed))
        @test minimum(sizes) >= 40 && sum(sizes) == 1000
        # A client takes at most one label more once it has its share.
        @test maximum(sizes) < 100 + 100
    end
    text = message(() -> parted(RedrawnDirichlet(0.01; min_size = 40), y, 20))
    @test occursin("in 1000 draws", text) && occursin("larger alpha", text)
    @test occursin(
        "at most 100",
        message(() -> parted(RedrawnDirichlet(1.0; min_size = 101), y, 10))
    )
end

@testset "by name in a run" begin
    names = ["pathological(k=3)", "sizes(law=square,min_size=2)", "similarity(percent=30)",
        "inner_dirichlet(alpha=0.3)", "dirichlet_redrawn(alpha=1,min_size=5)"]
    for partition in names
        r = FedFlux.run(; dataset = "digits", model = "softmax_regression", clients = 5,
            rounds = 1, partition)
        @test length(r.clients) == 5
    end
    @test occursin(
        "law",
        message(
            () -> FedFlux.run(; dataset = "digits", rounds = 1,
                partition = "sizes(law=cubic)")
        )
    )
end
