using FedFlux: Layout, WorkerPool, cubic, engine, flatten, global_model, links

x, y = blobs(240; features = 8)
clients = Clients(x, y, [1:100, 101:130, 131:240])
image = zeros(Float32, 28, 28, 1, 1)
_, trainer, _ = FedFlux.make_engine(:auto, lenet(), CrossEntropy(), image, 1)
const TRAINERS = trainer == "fast" ? (:zygote, :fast) : (:zygote,)

glorot(seed) = Flux.glorot_uniform(Stream(seed, :init))
net() = Chain(Dense(8 => 20, relu; init = glorot(1)), Dense(20 => 3; init = glorot(2)))
function fitted(rules; rounds = 6, model = net(), n = 3, optimizer = Descent(0.1f0), kw...)
    f = Federated(model; optimizer, batchsize = 16, seed = 4, rules, kw...)
    pool = WorkerPool(f, clients)
    st, history, _ = fit!(f, State(f, pool), clients; rounds, clients_per_round = n,
        test = (x, y), pool)
    return (; st, history, model = global_model(f, st, engine(pool)), f)
end
all_weights(model) = [vec(model[1].weight); vec(model[2].weight)]

# A model without zero weights, in which each link loses the channels `dead`.
function with_dead(model, dead)
    for p in Optimisers.trainables(model)
        p .= randn(Xoshiro(length(p)), Float32, size(p)) ./ 5
    end
    at, θ = FedFlux.positions(model), flatten(model)
    for link in links(model), c in dead
        θ[FedFlux.channel_indices(at, link, c)] .= 0
    end
    return update_model(model, FedFlux.arrays(θ, Layout(model)))
end

@testset "the schedule is Zhu and Gupta's Equation 1" begin
    @test cubic(0.8, 3, 7, 2) == 0 && cubic(0.8, 3, 7, 7) == cubic(0.8, 3, 7, 99) == 0.8
    @test cubic(0.8, 3, 7, 4) ≈ 0.8 + (0 - 0.8) * (1 - 2 / 5)^3
    @test cubic(0.5, 1, 1, 1) == 0.5
    @test issorted([cubic(0.9, 1, 20, t) for t = 1:30])
end

@testset "pruned weights stay zero ($trainer, $optimizer)" for trainer in TRAINERS,
    optimizer in (Descent(0.1f0), Momentum(0.02f0), Adam(0.01f0))

    r = fitted((Prune(0.75; start = 2, stop = 4),); trainer, optimizer)
    @test count(iszero, all_weights(r.model)) == round(Int, 0.75 * 220)
    @test !any(iszero, r.model[2].bias)
    @test count(!=(0), r.st.shared[1]) == 165
    @test sort(unique(r.st.shared[1])) == [0, 2, 3, 4]
    @test r.history[end].accuracy > 0.8
end

@testset "it prunes the smallest of the new global weights" begin
    plain, pruned = fitted((); rounds = 1), fitted((Prune(0.5; stop = 1),); rounds = 1)
    θ, left = all_weights(plain.model), all_weights(pruned.model)
    smallest = sortperm(abs.(θ))[1:110]
    others = setdiff(1:220, smallest)
    @test all(iszero, left[smallest]) && left[others] == θ[others]
end

@testset "only kept values are sent, and each mask once" begin
    n = 8 * 20 + 20 + 20 * 3 + 3
    r = fitted((Prune(0.75; stop = 2),))
    kept = [n, n - round(Int, 220 * cubic(0.75, 1, 2, 1)), n - 165]
    @test [h.bytes_up for h in r.history] == 3 * 4 * kept[[1, 2, 3, 3, 3, 3]]
    down = [h.bytes_down ÷ 3 for h in r.history]
    @test down[1] == 4n && down[4:6] == 4 * kept[[3, 3, 3]]
    mask = cld(n, 8) + 3      # at most a bitmap
    @test 4 * kept[2] < down[2] <= 4 * kept[2] + mask
    @test 4 * kept[3] < down[3] <= 4 * kept[3] + mask
    # a client that joins late receives the whole mask, which is still less than the model
    late = fitted((Prune(0.75; stop = 2),); n = 1, rounds = 12)
    @test all(h -> h.bytes_down <= 4 * kept[3] + mask, late.history[3:end])
end

@testset "with compression, only kept values are encoded" begin
    r = fitted((Prune(0.75; stop = 2), Quantize(8), Download(Quantize(8))); rounds = 8)
    kept = 243 - 165
    @test r.history[end].bytes_up == 3 * (4 + kept)
    @test r.history[end].bytes_down == 3 * (4 + kept)
    @test count(iszero, all_weights(r.model)) == 165
    @test r.history[end].accuracy > 0.8
    @test fitted((Prune(0.75; stop = 2), PowerSGD(1))).history[end].accuracy > 0.8
end

@testset "channels are pruned as a whole ($trainer)" for trainer in TRAINERS
    images = randn(Xoshiro(1), Float32, 12, 12, 1, 40)
    labels = rand(Xoshiro(2), 0:3, 40)
    model = Chain(Conv((3, 3), 1 => 6, relu; pad = 1), MaxPool((2, 2)),
        Conv((3, 3), 6 => 8; bias = false), BatchNorm(8, relu), Flux.flatten,
        Dense(4 * 4 * 8 => 10, relu), Dense(10 => 4))
    f = Federated(model; rules = (PruneChannels(0.5; stop = 3),), batchsize = 10, trainer,
        optimizer = Adam(0.01f0))
    data = Clients(images, labels, [1:20, 21:40])
    pool = WorkerPool(f, data)
    st, history, _ = fit!(f, State(f, pool), data; rounds = 5, pool)
    m = global_model(f, st, engine(pool))
    dead(w) = count(c -> all(iszero, c), eachslice(w; dims = ndims(w)))
    @test dead(m[1].weight) == 3 && dead(m[3].weight) == 4
    @test dead(permutedims(m[6].weight)) == 5 && dead(permutedims(m[7].weight)) == 0
    @test count(iszero, m[1].bias) == 3 && count(iszero, m[4].γ) == 4
    @test count(iszero, m[4].β) == 4 && count(iszero, m[6].bias) == 5
    small = shrink(m)
    @test size(small[1].weight) == (3, 3, 1, 3) && size(small[3].weight) == (3, 3, 3, 4)
    @test size(small[6].weight) == (5, 64) && size(small[7].weight) == (4, 5)
    @test small(images) ≈ m(images) rtol = 1e-5
    # exactly the small model is sent
    @test history[end].bytes_up == 2 * (4 * length(flatten(small)) + 4 * 16)
    # the small model can be trained
    f = Federated(small; batchsize = 10, trainer)
    pool = WorkerPool(f, data)
    @test fit!(f, State(f, pool), data; rounds = 1, pool)[3] == "rounds"
end

@testset "the small model computes the same outputs" begin
    images = rand(Xoshiro(1), Float32, 28, 28, 1, 5)
    nested = Chain(Chain(Conv((3, 3), 1 => 8), BatchNorm(8), relu, Dropout(0.5)),
        GlobalMeanPool(), Flux.flatten, Dense(8 => 8, tanh), Dense(8 => 2))
    named = Chain(; a = Conv((5, 5), 1 => 8, swish; stride = 3), b = MeanPool((2, 2)),
        c = Conv((2, 2), 8 => 6, relu), d = Flux.flatten, e = Dense(54 => 3))
    for model in (mcmahan_cnn(), lenet(), case_study_cnn(), nested, named)
        Flux.testmode!(model)
        half = with_dead(model, 2:4)
        @test length(links(model)) >= 2
        small = shrink(half)
        @test length(flatten(small)) < length(flatten(half))
        @test small(images) ≈ half(images) rtol = 1e-5
        @test typeof(small) <: Chain && length(small) == length(half)
    end
    whole = lenet()
    @test flatten(shrink(whole)) == flatten(whole)
    @test shrink(whole)[1].weight !== whole[1].weight
    nothing_left = with_dead(Chain(Dense(4 => 3, relu), Dense(3 => 2)), 1:3)
    @test size(shrink(nothing_left)[1].weight) == (1, 4)
    @test shrink(nothing_left)(ones(Float32, 4)) == nothing_left(ones(Float32, 4))
end

@testset "layers that are unknown or do not keep zeros are not pruned" begin
    @test isempty(links(Chain(Dense(4 => 3, sigmoid), Dense(3 => 2))))
    @test isempty(links(Chain(Dense(4 => 3, relu), x -> x .+ 1, Dense(3 => 2))))
    @test isempty(links(Chain(Conv((1, 1), 2 => 4), Conv((1, 1), 4 => 4; groups = 2))))
    @test isempty(links(Chain(Dense(4 => 3), BatchNorm(3; affine = false), Dense(3 => 2))))
    tied = Dense(3 => 3, relu)
    @test length(links(Chain(tied, tied, Dense(3 => 3, relu), Dense(3 => 1)))) == 1
    single() = Federated(softmax_regression(8, 3); rules = (PruneChannels(0.5),))
    @test occursin("prune_channels finds no two layers", message(single))
end

@testset "what is private is not pruned: half of the shared weights are" begin
    head = 181:243                                           # of net(), weight and bias
    for rule in (FedPer(), FedRep())
        plain = fitted((rule,); rounds = 1).model
        r = fitted((rule, Prune(0.5; stop = 1)); rounds = 1)
        θ, left = vec(plain[1].weight), vec(r.model[1].weight)
        smallest = sortperm(abs.(θ))[1:80]
        @test findall(iszero, left) == sort(smallest)
        @test left[setdiff(1:160, smallest)] == θ[setdiff(1:160, smallest)]
        @test r.model[2].weight == net()[2].weight           # as untrained as before
        more = fitted((rule, Prune(0.5; stop = 1)); rounds = 4)
        @test all(k -> !any(iszero, more.st.private[k][1].w), 1:3)
        @test all(iszero, more.st.shared[2][head])
    end
    # Channels: those of a private layer stay; of a layer that reads, only the weights.
    deep() = Chain(Dense(8 => 6, relu; init = glorot(1)),
        Dense(6 => 4, relu; init = glorot(2)), Dense(4 => 3; init = glorot(3)))
    pruned(rule) = fitted((rule, PruneChannels(0.5; stop = 1)); model = deep(), rounds = 2)
    dead(l) = count(row -> all(iszero, row), eachrow(l.weight))
    r = pruned(FedPer(head = 1))
    @test dead.(r.model.layers) == (3, 2, 0) && r.model[3].weight == deep()[3].weight
    r = pruned(FedPer(head = 2))
    @test dead.(r.model.layers) == (3, 0, 0) && r.model[2].weight == deep()[2].weight
    everything = FedPer(arrays = ["layers.1.weight", "layers.2", "layers.3"])
    @test occursin("clients share", message(() -> pruned(everything)))
    @test occursin(
        "PruneChannels",
        message(() -> Federated(deep();
            rules = (FedBN(), PruneChannels(0.5))))
    )
end

@testset "settings and order are checked" begin
    @test occursin("sparsity of prune is 1", message(() -> Prune(1.0)))
    @test occursin("start and stop", message(() -> Prune(0.5; start = 5, stop = 3)))
    refusal(rules...) = message(() -> Federated(net(); rules))
    chain(rules...) = Federated(net(); rules).rules
    @test chain(TopK(0.1), Prune(0.5)) == (Prune(0.5), TopK(0.1))
    @test occursin("only one of this kind", refusal(TopK(0.1), SignSGD()))
    @test occursin("only one of this kind", refusal(Prune(0.5), PruneChannels(0.5)))
    @test chain(Download(TopK(0.1)), FedProx(0.01)) == (FedProx(0.01), Download(TopK(0.1)))
    @test FedFlux.build("rule", "prune(sparsity=0.5, stop=3)") == Prune(0.5; stop = 3)
    @test FedFlux.build("rule", "prune_channels") == PruneChannels(0.5)
end

@testset "a resumed run gives the same bits, with masks and residuals" begin
    options = (; dataset = "digits", model = "mlp", hidden = [16], rounds = 6, clients = 5,
        clients_per_round = 3, lr = 0.1, download = "quantize(bits=8)",
        rules = ["prune(sparsity=0.6, start=2, stop=5)", "topk(fraction=0.1)"])
    whole = FedFlux.run(; options...)
    mktempdir() do folder
        FedFlux.run(; options..., checkpoint = folder, callback = r -> r.round == 3)
        resumed = FedFlux.run(; resume = folder)
        @test resumed.resumed == 3
        @test resumed.params_sha256 == whole.params_sha256
        sizes(run) = [(r.bytes_up, r.bytes_down) for r in run.history]
        @test sizes(resumed) == sizes(whole)
    end
end
