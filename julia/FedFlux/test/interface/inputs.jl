# What a trained model takes: the contract of its inputs, in memory and in a file.
using FedFlux: load_result

@testset "samples of another kind are refused" begin
    rng = Xoshiro(2)
    pixels = rand(rng, UInt8, 6, 6, 40)
    labels = Int.(vec(mean(pixels; dims = (1, 2))) .> 127)
    inputs = Dict("bytes" => pixels, "channels" => reshape(pixels, 6, 6, 1, 40),
        "flat" => reshape(pixels, 36, 40), "floats" => Float64.(pixels),
        "Float32" => Float32.(pixels))
    alike = [["bytes", "channels"], ["flat"], ["floats", "Float32"]]
    for (trained, x) in inputs
        r = FedFlux.run(; dataset = Dataset(x, labels, nothing, nothing), model = "mlp",
            hidden = [8], rounds = 1, clients = 2, lr = 1e-4)
        mktempdir() do dir
            saved = load_result(FedFlux.save(joinpath(dir, "saved"), r))
            @test repr(FedFlux.saved_contract(saved.facts)) == repr(r.input)
            for (asked, z) in inputs, model in (r, saved)
                if asked in only(filter(kinds -> trained in kinds, alike))
                    @test predict(model, z) == predict(r, x)
                else
                    @test occursin("as in x_train", message(() -> predict(model, z)))
                end
            end
        end
    end
    @test occursin("x_test: expected uint8 as in x_train, got float32",
        message(() -> Dataset(pixels, labels, Float32.(pixels), labels)))
end

@testset "a saved run that was normalized by its clients predicts" begin
    rng = Xoshiro(3)
    for x in (rand(rng, UInt8, 6, 6, 2, 40), 9 .* randn(rng, 3, 40) .+ 4)
        labels = rand(rng, 0:1, 40)
        r = FedFlux.run(; dataset = Dataset(x, labels, x, labels), model = "mlp",
            hidden = [8], rounds = 1, clients = 2, normalise = "federated")
        mktempdir() do dir
            saved = load_result(FedFlux.save(joinpath(dir, "saved"), r))
            @test accuracy(r) == score(r, x, labels) == score(saved, x, labels)
            @test predict_proba(saved, x) == predict_proba(r, x)
        end
    end
end

@testset "large numbers keep their differences" begin
    times = reshape(1.7e9 .+ range(0, 120, 400), 1, :)     # Float32 has steps of 128
    labels = Int.(vec(times) .> 1.7e9 + 60)
    for x in (times, round.(Int, times)),
        scale in ((; normalise = "federated"), (; mean = 1.7e9 + 60, std = 35))

        r = FedFlux.run(; dataset = Dataset(x, labels, x, labels), model = "mlp",
            hidden = [8], rounds = 20, clients = 4, lr = 1.0, scale...)
        @test accuracy(r) > 0.95
        @test score(r, x, labels) ≈ accuracy(r)
    end
    m, s = FedFlux.federated_moments(Clients(times, labels, [1:100, 101:400]))
    @test only(m) ≈ mean(times) rtol = 1e-15
    @test only(s) ≈ std(times; corrected = false) rtol = 1e-9
    constant = Clients(fill(1.7e9, 1, 5), zeros(5), [1:2, 3:5])
    @test only(last(FedFlux.federated_moments(constant))) == 1
    @test occursin("NaN or Inf",
        message(() -> Dataset(fill(1e300, 1, 2), [0, 1], nothing, nothing)))
end
