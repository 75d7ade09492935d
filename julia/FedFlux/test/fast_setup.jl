# What the tests of the fast engine share: comparison with Zygote's gradient, on poisoned workspaces.

using FedFlux, Random, Test
using FedFlux: Flux
using .Flux
using FedFlux: LayerEngine, Unsupported, ZygoteEngine, nparams, nstats, poison!, to_engine!, to_model!

relative(a, b) = maximum(abs, a .- b; init = 0.0f0) / max(maximum(abs, b; init = 0.0f0), 1.0f-6)

"Largest relative error of an array's gradient, over the model's arrays; each against the largest value in it."
function worst(model, g, exact)
    layout = FedFlux.Layout(model)
    largest = maximum(abs, exact)
    return maximum(layout.slots) do s
        # An array whose gradient vanishes (a bias before a BatchNorm) is compared on the scale of the others.
        maximum(abs, g[s.range] .- exact[s.range]) / max(maximum(abs, exact[s.range]), 1.0f-2 * largest)
    end
end

targets_for(::CrossEntropy, ŷ) = rand(0:size(ŷ, 1)-1, size(ŷ)[2:end])
targets_for(::BinaryCrossEntropy, ŷ) = rand(0:1, size(ŷ))
targets_for(::MSE, ŷ) = randn(Float32, size(ŷ))

"A max-pool of windows side by side, by `maximum`: NNlib's gradient takes values for equal that differ by less than 3e-4."
struct ExactMaxPool
    k::NTuple{2,Int}
end
function (l::ExactMaxPool)(x)
    w, h = size(x)[1:2] .÷ l.k
    windows = reshape(x[1:w*l.k[1], 1:h*l.k[2], :, :], l.k[1], w, l.k[2], h, size(x, 3), size(x, 4))
    return reshape(maximum(windows; dims = (1, 3)), w, h, size(x, 3), size(x, 4))
end

# The layers go into a vector: Zygote then compiles each kind of layer once, and not each chain.
exact_pools(l) = l
exact_pools(l::MaxPool) = l.k == l.stride && all(iszero, l.pad) ? ExactMaxPool(l.k) : l
exact_pools(l::Chain) = Chain(Any[exact_pools(x) for x in values(l.layers)])

"""
Check loss, gradient and prediction of the fast engine against Zygote's on batches of several sizes: the workspace
poisoned, and called twice.
"""
function check(model, dims; loss = CrossEntropy(), batches = (1, 2, 7, 10), data = n -> randn(Float32, dims..., n), rtol = 1.0f-5,
               cpu = FedFlux.CPU())
    Random.seed!(1)
    fast, slow = LayerEngine(model, loss, dims, maximum(batches); cpu), ZygoteEngine(exact_pools(model), loss)
    θ = FedFlux.flatten(model)
    θ .+= 0.1f0 .* randn(Float32, length(θ)) .* (θ .== 0)      # biases that aren't zero
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
        value = valgrad!(poison!(fast, 0x00), fill!(g, NaN), w, x, y)
        @test isapprox(value, expected; rtol = 1.0f-5, atol = 1.0f-6)
        error = max(error, worst(model, to_model!(back, fast, g), exact))
        @test isapprox(FedFlux.stats!(similar(before), fast), FedFlux.stats!(similar(before), slow); rtol = 1.0f-5)
        again = copy(g)
        FedFlux.setstats!(fast, before)
        @test valgrad!(poison!(fast, 0xff), fill!(g, NaN), w, x, y) === value
        @test g == again
        ŷ = predict(poison!(fast, 0xff), w, x)
        @test size(ŷ) == size(predict(slow, θ, x))
        @test relative(ŷ, predict(slow, θ, x)) < rtol
    end
    @test error < rtol
    return error
end
