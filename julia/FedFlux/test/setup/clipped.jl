# Helpers for the tests of clipped gradients: the sum written out, from Zygote's gradients.

using FedFlux: flatten
using LinearAlgebra: norm
using Statistics: median

"Both engines for a model, its parameters with biases other than zero, in both orders."
function engine_pair(model, dims, loss, maxbatch; cpu = FedFlux.CPU())
    fast = LayerEngine(model, loss, dims, maxbatch; cpu)
    slow = ZygoteEngine(exact_pools(model), loss)
    θ = flatten(model)
    θ .+= 0.1f0 .* randn(Float32, length(θ)) .* (θ .== 0)
    return fast, slow, θ, to_engine!(similar(θ), fast, θ)
end

"Each example's gradient as a column, by Zygote, from the definition."
function each_gradient(slow, θ, x, y)
    last_dim(a) = ndims(a) == 1 ? (i -> a[i:i]) : (i -> selectdim(a, ndims(a), i:i))
    gradients = map(1:size(x, ndims(x))) do i
        g = similar(θ)
        valgrad!(slow, g, θ, last_dim(x)(i), last_dim(y)(i))
        g
    end
    return reduce(hcat, gradients)
end

"The bytes that a plain step and a clipped one allocate."
function step_bytes(e, g, w, b)
    steps() = (valgrad!(e, g, w, b...); clipped_gradient!(e, g, w, b..., 0.1); nothing)
    steps()
    return @allocated steps()
end

clipped(g, clip) = g .* min(1, clip / norm(g))

"""
Check the clipped sums of both engines, on poisoned workspaces, against the sum written out:
with a clip above, below and amid the examples' norms.
"""
function check_clipped(
    model, dims; loss = CrossEntropy(), batches = (1, 7), rtol = 1.0f-5,
    data = n -> randn(Float32, dims..., n), cpu = FedFlux.CPU()
)
    Random.seed!(1)
    fast, slow, θ, w = engine_pair(model, dims, loss, maximum(batches); cpu)
    g, back, exact = similar(θ), similar(θ), similar(θ)
    for n in batches
        x = data(n)
        y = targets_for(loss, predict(slow, θ, x))
        each = each_gradient(slow, θ, x, y)
        norms = norm.(eachcol(each))
        for clip in (2maximum(norms), minimum(norms) / 3, median(norms))
            expected = sum(clipped(c, clip) for c in eachcol(each))
            value = clipped_gradient!(fast, fill!(g, NaN), w, x, y, clip)
            @test worst(model, to_model!(back, fast, g), expected) < rtol
            @test value == valgrad!(fast, exact, w, x, y)
            if n <= 7 && clip == median(norms)
                @test clipped_gradient!(slow, exact, θ, x, y, clip) ≈ value rtol = 1e-5
                @test worst(model, exact, expected) < rtol
            end
            again = copy(g)
            for byte in (0x00, 0xff)
                clipped_gradient!(fill_workspace!(fast, byte), fill!(g, NaN), w, x, y, clip)
                @test g == again
            end
            clip < minimum(norms) && @test norm(g) <= n * clip * (1 + 1e-6)
        end
        # Where nothing is clipped, it is the plain gradient of the sum of the losses.
        clipped_gradient!(fast, g, w, x, y, Inf)
        valgrad!(fast, exact, w, x, y)
        @test worst(model, g, n .* exact) < rtol
    end
end
