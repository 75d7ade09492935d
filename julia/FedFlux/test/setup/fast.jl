# Helpers for the tests of the fast engine: comparison with Zygote, on poisoned workspaces.

using FedFlux, Random, Test
using FedFlux: Flux
using .Flux
using FedFlux: LayerEngine, Unsupported, ZygoteEngine, nparams, nstats, fill_workspace!
using FedFlux: to_engine!, to_model!

"The largest absolute value, or 0 if there is none."
largest(a) = maximum(abs, a; init = 0.0f0)
relative(a, b) = largest(a .- b) / max(largest(b), 1.0f-6)

"""
The largest relative error of the gradient, over the model's arrays. The error of an array
is relative to its largest value.
"""
function worst(model, g, exact)
    layout = FedFlux.Layout(model)
    overall = maximum(abs, exact)
    return maximum(layout.slots) do s
        # An array whose gradient vanishes (a bias before a BatchNorm) is compared on the
        # scale of the others.
        scale = max(maximum(abs, exact[s.range]), 1.0f-2 * overall)
        maximum(abs, g[s.range] .- exact[s.range]) / scale
    end
end

targets_for(::CrossEntropy, ŷ) = rand(0:(size(ŷ, 1)-1), size(ŷ)[2:end])
targets_for(::BinaryCrossEntropy, ŷ) = rand(0:1, size(ŷ))
targets_for(::MSE, ŷ) = randn(Float32, size(ŷ))

"""
A max-pool of adjacent windows, by `maximum`: NNlib's gradient treats values as equal that
differ by less than 3e-4.
"""
struct ExactMaxPool
    k::NTuple{2,Int}
end
function (l::ExactMaxPool)(x)
    w, h = size(x)[1:2] .÷ l.k
    c, n = size(x, 3), size(x, 4)
    covered = x[1:(w*l.k[1]), 1:(h*l.k[2]), :, :]
    windows = reshape(covered, l.k[1], w, l.k[2], h, c, n)
    return reshape(maximum(windows; dims = (1, 3)), w, h, c, n)
end

# The layers go into a vector: Zygote compiles each type of layer once, not each chain.
exact_pools(l) = l
function exact_pools(l::MaxPool)
    return length(l.k) == 2 && l.k == l.stride && all(iszero, l.pad) ? ExactMaxPool(l.k) : l
end
exact_pools(l::Chain) = Chain(Any[exact_pools(x) for x in values(l.layers)])
exact_pools(l::SkipConnection) =
    SkipConnection(Chain(Any[exact_pools(l.layers)]), l.connection)
exact_pools(l::Parallel) =
    Parallel(l.connection, Tuple(Chain(Any[exact_pools(x)]) for x in values(l.layers)))

"""
Check loss, gradient and prediction of the fast engine against Zygote's, for batches of
several sizes. Calls the engine twice, on a poisoned workspace.
"""
function check(
    model,
    dims;
    loss = CrossEntropy(),
    batches = (1, 2, 7, 10),
    data = n -> randn(Float32, dims..., n),
    rtol = 1.0f-5,
    cpu = FedFlux.CPU()
)
    Random.seed!(1)
    fast = LayerEngine(model, loss, dims, maximum(batches); cpu)
    slow = ZygoteEngine(exact_pools(model), loss)
    θ = FedFlux.flatten(model)
    θ .+= 0.1f0 .* randn(Float32, length(θ)) .* (θ .== 0)      # biases other than zero
    w, g, exact, back = similar(θ), similar(θ), similar(θ), similar(θ)
    to_engine!(w, fast, θ)
    @test nparams(fast) == length(θ)
    @test to_model!(back, fast, w) == θ
    error = 0.0f0
    for n in batches
        x = data(n)
        y = targets_for(loss, predict(slow, θ, x))
        before = FedFlux.stats!(zeros(Float32, nstats(slow)), slow)
        FedFlux.setstats!(fast, before)
        expected = valgrad!(slow, exact, θ, x, y)
        value = valgrad!(fill_workspace!(fast, 0x00), fill!(g, NaN), w, x, y)
        @test isapprox(value, expected; rtol = 1.0f-5, atol = 1.0f-6)
        error = max(error, worst(model, to_model!(back, fast, g), exact))
        stats(e) = FedFlux.stats!(similar(before), e)
        @test isapprox(stats(fast), stats(slow); rtol = 1.0f-5)
        again = copy(g)
        FedFlux.setstats!(fast, before)
        @test valgrad!(fill_workspace!(fast, 0xff), fill!(g, NaN), w, x, y) === value
        @test g == again
        ŷ = predict(fill_workspace!(fast, 0xff), w, x)
        @test size(ŷ) == size(predict(slow, θ, x))
        @test relative(ŷ, predict(slow, θ, x)) < rtol
    end
    @test error < rtol
    return error
end

"The reason why the engine doesn't support a model, or an empty string if it does."
function unsupported_reason(model, dims; loss = CrossEntropy())
    try
        LayerEngine(model, loss, dims, 2)
        return ""
    catch err
        err isa Unsupported || rethrow()
        return err.reason
    end
end

"A model of these layers for samples of this size, and a Dense behind them."
function conv_net(dims, layers...; outputs = 3)
    front = Chain(layers..., Flux.flatten)
    features = size(front(zeros(Float32, dims..., 1)), 1)
    return Chain(front, Dense(features => outputs))
end

# Integers in random order: NNlib's gradient of a max treats values as equal that differ by
# less than 3e-4.
function distinct(dims)
    values(n) = shuffle(Float32.(1:(prod(dims)*n))) ./ Float32(prod(dims) * n)
    return n -> reshape(values(n), dims..., n)
end
