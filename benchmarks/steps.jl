# Time per training step (loss, gradient, plain SGD) of both engines, on one thread.
#
#     julia --project=julia/FedFlux benchmarks/steps.jl \
#         [--json FILE] [--seconds S] [--fast-only]

using FedFlux, Flux, LinearAlgebra, Printf, Random
using JSON: JSON

struct Case
    name::String
    model::Any
    dims::Dims        # of one sample
    batch::Any             # batch(n) draws n samples and their targets
    flops::Float64    # floating-point operations of a step per sample
end

# The first layer computes no gradient of its input.
dense_flops(ins, outs; first = false) = (first ? 4 : 6) * ins * outs
function conv_flops(pixels, taps, ins, outs; first = false)
    return (first ? 4 : 6) * pixels * taps * ins * outs
end

images(n) = (rand(Float32, 28, 28, 1, n), rand(Int32(0):Int32(9), n))
const TIME, VOCABULARY, HIDDEN = 40, 80, 128
function text(n)
    tokens = rand(Int32(1):Int32(VOCABULARY), TIME, n)
    return tokens, rand(Int32(0):Int32(VOCABULARY-1), TIME, n)
end

function cases()
    case_study_flops =
        conv_flops(196, 9, 1, 16; first = true) + conv_flops(49, 9, 16, 32) +
        conv_flops(16, 9, 32, 64) + dense_flops(1024, 10)
    mcmahan_flops =
        conv_flops(784, 25, 1, 32; first = true) + conv_flops(196, 25, 32, 64) +
        dense_flops(3136, 512) + dense_flops(512, 10)
    lenet_flops =
        conv_flops(784, 25, 1, 6; first = true) + conv_flops(100, 25, 6, 16) +
        dense_flops(400, 120) + dense_flops(120, 84) + dense_flops(84, 10)
    mlp_flops =
        dense_flops(784, 200; first = true) + dense_flops(200, 200) + dense_flops(200, 10)
    lstm_flops =
        TIME * (dense_flops(64 + HIDDEN, 4HIDDEN) + dense_flops(HIDDEN, VOCABULARY))
    lstm = Chain(
        Embedding(VOCABULARY => 64), LSTM(64 => HIDDEN), Dense(HIDDEN => VOCABULARY)
    )
    return [
        Case("case-study CNN", case_study_cnn(), (28, 28, 1), images, case_study_flops),
        Case("McMahan's CNN", mcmahan_cnn(), (28, 28, 1), images, mcmahan_flops),
        Case("LeNet-5", lenet(), (28, 28, 1), images, lenet_flops),
        Case("MLP 784-200-200-10", mlp(784), (28, 28, 1), images, mlp_flops),
        Case("LSTM 128", lstm, (TIME,), text, lstm_flops)
    ]
end

"The minimum and median time of `f` in ms, measured for about `seconds`."
function times(f, seconds)
    f()
    list = Float64[]
    stop = time_ns() + 1e9 * seconds
    while time_ns() < stop || length(list) < 5
        t = time_ns()
        f()
        push!(list, (time_ns() - t) / 1e6)
    end
    return minimum(list), sort(list)[(end+1)÷2]
end

"An engine with a model's parameters, data and an optimizer, as in local training."
struct Stepper{E,S,X,Y}
    engine::E
    rule::Flux.Descent
    state::S
    w::Vector{Float32}
    g::Vector{Float32}
    x::X
    y::Y
end

function Stepper(e, model, x, y)
    w = zeros(Float32, FedFlux.nparams(e))
    FedFlux.to_engine!(w, e, FedFlux.flatten(model))
    return Stepper(e, Flux.Descent(0.01f0), nothing, w, similar(w), x, y)
end

function step!(s::Stepper, idx)
    xb, yb = FedFlux.batch(s.engine, s.x, s.y, idx)
    valgrad!(s.engine, s.g, s.w, xb, yb)
    FedFlux.step!(s.rule, s.state, s.w, s.g)
    return nothing
end

bytes(s, idx) = (step!(s, idx); @allocated step!(s, idx))

"The best rate of a matrix product in GFLOP/s, as the reference for the other rates."
function gemm_peak(seconds)
    a, b, c = rand(Float32, 512, 512), rand(Float32, 512, 512), zeros(Float32, 512, 512)
    return 2 * 512^3 / first(times(() -> mul!(c, a, b), seconds)) / 1e6
end

function measure(case, n, seconds, peak, slow)
    Random.seed!(1)
    x, y = case.batch(n)
    idx = collect(1:n)
    fast = Stepper(LayerEngine(case.model, CrossEntropy(), case.dims, n), case.model, x, y)
    best, median = times(() -> step!(fast, idx), seconds)
    zygote = NaN
    if slow
        stepper = Stepper(ZygoteEngine(case.model, CrossEntropy()), case.model, x, y)
        zygote = first(times(() -> step!(stepper, idx), seconds))
    end
    rate = case.flops * n / best / 1e6
    return (;
        model = case.name, batch = n, fast_ms = best, fast_median_ms = median,
        zygote_ms = zygote, gflops = rate, share_of_gemm = rate / peak,
        bytes = bytes(fast, idx)
    )
end

function option(name, default)
    i = findfirst(==(name), ARGS)
    return i === nothing ? default : ARGS[i+1]
end

function main()
    BLAS.set_num_threads(1)
    seconds = parse(Float64, option("--seconds", "1"))
    peak = gemm_peak(seconds)
    @printf("GEMM 512 × 512 × 512: %.0f GFLOP/s\n\n", peak)
    print("| model | batch | fast, ms | median | zygote, ms | ratio ")
    println("| GFLOP/s | of GEMM | bytes |")
    println("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    rows = []
    for case in cases(), n in (10, 32, 64)
        r = measure(case, n, seconds, peak, !("--fast-only" in ARGS))
        push!(rows, r)
        @printf(
            "| %s | %d | %.3f | %.3f | %.2f | %.1f | %.0f | %.0f%% | %d |\n",
            r.model, n, r.fast_ms, r.fast_median_ms, r.zygote_ms, r.zygote_ms / r.fast_ms,
            r.gflops, 100 * r.share_of_gemm, r.bytes
        )
    end
    file = option("--json", nothing)
    file === nothing && return
    results = Dict(
        "gemm_gflops" => peak, "julia" => string(VERSION), "cpu" => Sys.CPU_NAME,
        "rows" => rows
    )
    write(file, JSON.json(results))
end

main()
