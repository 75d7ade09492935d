# Labels of any type: numbered for the run, and given back by its result.

using FedFlux: label_numbers, number_labels

@testset "labels are numbered unless they are the numbers" begin
    x = rand(Xoshiro(1), Float32, 3, 6)
    data(y, ytest = nothing) =
        Dataset(x, y, ytest === nothing ? nothing : x, ytest)
    numbered(y, ytest = nothing; loss = CrossEntropy(), kw...) =
        number_labels(data(y, ytest), loss; kw...)
    for same in ([0, 1, 2, 0, 1, 2], UInt8[1, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0])
        d = data(same)
        @test number_labels(d, CrossEntropy()) === d
    end
    # A class may stand in the test data alone.
    @test numbered([0, 2, 0, 2, 0, 2], [1, 1, 1, 1, 1, 1]).classes === nothing
    for (given, classes) in (["b", "a", "c", "a", "b", "c"] => ["a", "b", "c"],
        [:no, :yes, :yes, :no, :no, :yes] => [:no, :yes], [5, 1, 9, 1, 5, 9] => [1, 5, 9],
        [true, false, true, true, false, true] => [false, true],
        [-1, 1, 1, -1, 1, -1] => [-1, 1])
        d = numbered(given, reverse(given))
        @test d.classes == classes && classes[d.y .+ 1] == given
        @test classes[d.ytest .+ 1] == reverse(given)
    end
    @test numbered([1, 3, 1, 3, 1, 3]; keep_integers = true).classes === nothing
    @test numbered([-1, 1, 1, -1, 1, -1]; keep_integers = true).classes == [-1, 1]
    @test numbered(["b", "a", "a", "a", "b", "b"]; loss = BinaryCrossEntropy()).y ==
          [1, 0, 0, 0, 1, 1]
    @test number_labels(data(Float32[1, 3, 5, 1, 3, 5]), MSE()).classes === nothing
    why(args...; kw...) = message(() -> numbered(args...; kw...))
    @test occursin("y_test contains the label \"z\"",
        why(["a", "b", "a", "b", "a", "b"], ["a", "b", "z", "b", "a", "b"]))
    @test occursin("holds 3 classes (\"a\", \"b\", \"c\"); expected two",
        why(["b", "a", "c", "a", "b", "c"]; loss = BinaryCrossEntropy()))
    @test occursin("holds texts, such as \"b\"",
        why(["b", "a", "c", "a", "b", "c"]; loss = MSE()))
    @test occursin("same on all of them",
        message(() -> FedFlux.with_numbers(data(["b", "a", "c", "a", "b", "c"]))))
end

@testset "a result gives the labels back" begin
    rng = Xoshiro(3)
    codes = repeat(0:2, 20)
    x = randn(rng, Float32, 4, 60) .+ 3 .* (codes' .== 0:3)
    names = ["setosa", "versicolor", "virginica"]
    small(y) = FedFlux.run(dataset = Dataset(x, y, x, y), model = "softmax_regression",
        clients = 3, rounds = 3, lr = 0.5, rules = "ditto")
    plain, named = small(codes), small(names[codes .+ 1])
    @test plain.params_sha256 == named.params_sha256       # the same run, bit for bit
    @test plain.classes === nothing && named.classes == names
    @test predict(named, x) == names[predict(plain, x) .+ 1]
    y = names[codes .+ 1]
    @test score(named, x, y) == score(plain, x, codes) > 0.8
    @test score(named, x, y; metric = (y, ŷ) -> y[1] * ŷ[1]) == "setosasetosa"
    @test score(named, x, y; metric = "f1") == score(plain, x, codes; metric = "f1")
    @test occursin("label \"rose\"", message(() -> score(named, x, fill("rose", 60))))
    own = personal(named, 1)
    @test predict(own, x) isa Vector{String}
    path = FedFlux.save(joinpath(mktempdir(), "r.safetensors"), named)
    saved = FedFlux.load_result(path)
    @test predict(saved, x) == predict(named, x) && score(saved, x, y) == accuracy(named)
    @test small(codes .+ 1).params_sha256 == plain.params_sha256
    clients = Clients(x, codes, [1:30, 31:60])
    shown = sprint(io -> describe(io, clients; classes = names))
    @test occursin(
        "client   samples   setosa versicolor virginica",
        replace(shown, r" {4,}" => "   ")
    )
end
