# Data sets from files, which these tests write in the real formats, and drawn ones.
using FedFlux: load_dataset, data_file, files_of, check_files

why(name; more...) = message(() -> load_dataset(name; more...))
dataset(name; more...) = first(load_dataset(name; more...))

"A part of LEAF's folder with one file for each user."
function leaf_folder(users; test = users)
    folder = mktempdir()
    for (part, data) in (("train", users), ("test", test))
        path = mkpath(joinpath(folder, part))
        for (i, (user, (x, y))) in enumerate(data)
            content = Dict("users" => [user], "num_samples" => [length(y)],
                "user_data" => Dict(user => Dict("x" => x, "y" => y)))
            write(joinpath(path, "all_$i.json"), FedFlux.JSON.json(content))
        end
    end
    return folder
end

@testset "LEAF's FEMNIST and synthetic data" begin
    image(k) = [(i == k ? 0.5 : 1.0) for i = 1:784]
    users = ["f01_2" => ([image(2), image(30)], [61, 0]), "f00_1" => ([image(1)], [5])]
    folder = leaf_folder(users)
    d = dataset("leaf:$folder")
    @test size(d.x) == (28, 28, 1, 3) && d.owner == ["f01_2", "f01_2", "f00_1"]
    @test d.x[2, 1, 1, 1] == 0.5f0 == d.x[2, 2, 1, 2]     # row by row, as NumPy has them
    @test d.y == [61, 0, 5] && d.owner_test == d.owner && d.dtype == "float32"
    points = leaf_folder(["a" => ([[1.5, 2.0, 3], [4, 5, 6]], [1.0, "2"])])
    d = dataset("leaf:$points")
    @test d.x == [1.5 4; 2 5; 3 6] && d.y == [1, 2]
    r = FedFlux.run(dataset = "leaf:$folder", partition = "owner", rounds = 1,
        model = "softmax_regression", local_steps = 1)
    @test [row.name for row in r.clients] == ["f00_1", "f01_2"]
end

@testset "LEAF's Shakespeare and Sent140" begin
    said = leaf_folder(["ROMEO" => (["abc ", "bc d"], ["d", "é"])])
    d = dataset("leaf:$said")
    letters = FedFlux.LEAF_LETTERS
    @test length(letters) == 80
    @test [letters[i+1] for i in d.x[:, 1]] == collect("abc ")
    @test [letters[i+1] for i in d.y[:, 1]] == collect("bc d") && d.y[end, 2] == 80
    tweet(text) = ["1", "Mon", "NO_QUERY", "me", text, "training"]
    folder = leaf_folder(["me" => ([tweet("So good, so"), tweet("bad")], [1, "0"])])
    d = dataset("leaf:$folder"; text = (; window = 3, vocabulary = 4))
    # so, of which there are most; the first one of the others; and all others
    @test d.x == [1 0; 3 0; 2 3] && d.y == [1, 0]
end

@testset "LEAF's folders that are none" begin
    folder = mktempdir()
    @test occursin("there is no folder", why("leaf:$folder"))
    mkpath.(joinpath.(folder, ("train", "test")))
    @test occursin("no .json file", why("leaf:$folder"))
    file = joinpath(folder, "train", "a.json")
    for (text, words) in ("{" => "can't be read as JSON", "[]" => "expected an object",
        "{\"users\": [1]}" => "list of names",
        "{\"users\": [\"a\"], \"num_samples\": []}" => "as many num_samples",
        "{\"users\": [\"a\"], \"num_samples\": [1]}" => "object as user_data",
        "{\"users\": [\"a\"], \"num_samples\": [1], \"user_data\": {}}" => "with lists",
        "{\"users\": [\"a\"], \"num_samples\": [2], " *
        "\"user_data\": {\"a\": {\"x\": [[1]], \"y\": [1]}}}" => "expected 2, as",
        repeat("[", 10^6) => "can't be read as JSON")
        write(file, text)
        @test occursin(words, why("leaf:$folder")) && occursin(file, why("leaf:$folder"))
    end
    bad(x, y) = why("leaf:$(leaf_folder(["u" => (x, y)]))")
    @test occursin("has 1 numbers; expected 2", bad([[1, 2], [1]], [0, 1]))
    @test occursin("is 0.5; expected a whole number", bad([[1, 2]], [0.5]))
    @test occursin("expected one character", bad(["ab"], ["cd"]))
    @test occursin("neither lists nor texts", bad([1], [0]))
    @test occursin("neither numbers nor texts", bad([["a"]], [0]))
    @test occursin("expected a path behind it", why("leaf"))
end

@testset "UCI Adult" begin
    folder = mktempdir()
    row(age, class, education, label) = join(
        [age, class, 77516, education, 13,
            "Never-married", "Adm-clerical", "Not-in-family", "White", "Male", 2174, 0,
            40,
            "United-States", label], ", ")
    train = [row(39, "State-gov", "Bachelors", "<=50K"), row(50, "?", "Doctorate", ">50K")]
    test = ["|1x3 Cross validator", row(25, "Private", "11th", "<=50K."), ""]
    write(joinpath(folder, "adult.data"), join(train, '\n') * "\n\n")
    write(joinpath(folder, "adult.test"), join(test, '\n'))
    d = dataset("adult:$folder")
    # six numbers; two classes of work, two educations and one value of six other columns
    @test size(d.x) == (6 + 2 + 2 + 6, 2) && size(d.xtest) == (16, 1)
    @test d.x[1:6, 1] == [39, 77516, 13, 2174, 0, 40]
    @test d.x[7:10, :] == [0 1; 1 0; 1 0; 0 1]         # ? before State-gov
    @test d.xtest[7:10, 1] == zeros(4)
    @test d.y == ["<=50K", ">50K"] && d.ytest == ["<=50K"]
    @test d.owner == ["others", "Doctorate"] && d.owner_test == ["others"]
    write(joinpath(folder, "adult.test"), row(25, "Private", "11th", "50K"))
    @test occursin("adult.test, line 1: expected <=50K or >50K", why("adult:$folder"))
    write(joinpath(folder, "adult.data"), train[1] * "\n1, 2")
    @test occursin("adult.data, line 2: expected 15 fields, got 2", why("adult:$folder"))
    write(joinpath(folder, "adult.data"), replace(train[1], "39" => "old"))
    @test occursin("line 1: expected a number as age, got \"old\"", why("adult:$folder"))
    @test occursin("no file", why("adult:$(mktempdir())"))
end

@testset "UCI HAR" begin
    folder = mktempdir()
    function write_part(part, labels, subjects; features = 561)
        path = mkpath(joinpath(folder, part))
        lines = [
            join(("  $(k + 0.25e-3 * j)" for j = 1:features), "") for
            k in eachindex(labels)
        ]
        write(joinpath(path, "X_$part.txt"), join(lines, '\n'))
        write(joinpath(path, "y_$part.txt"), join(labels, '\n') * "\n")
        write(joinpath(path, "subject_$part.txt"), join(subjects, "\n"))
    end
    write_part("train", [5, 1, 6], [1, 1, 3])
    write_part("test", [2], [2])
    d = dataset("har:$folder")
    @test size(d.x) == (561, 3) && d.x[4, 2] == Float32(2 + 1e-3)
    @test d.y == [5, 1, 6] && d.ytest == [2] && d.owner == [1, 1, 3]
    write_part("test", [7], [2])
    @test occursin("label outside 1 to 6", why("har:$folder"))
    write_part("train", [1, 2], [1])
    @test occursin("2 samples, 2 labels and 1 subjects", why("har:$folder"))
    write_part("train", [1], [1]; features = 560)
    @test occursin("X_train.txt, line 1: expected 561 numbers, got 560", why("har:$folder"))
end

@testset "synthetic(α, β)" begin
    d = dataset("synthetic(0.5, beta=2, devices=40)")      # the first ones need no names
    counts = [count(==(k), d.owner) for k = 1:40]
    tests = [count(==(k), d.owner_test) for k = 1:40]
    sizes = counts .+ tests
    @test all(>=(50), sizes) && counts == 9 .* sizes .÷ 10 && maximum(sizes) > 500
    @test abs(median(log.(sizes .- 49)) - 4) < 1            # exp(4 + 2z) more than 50
    @test sort(unique([d.y; d.ytest])) == 0:9 && size(d.x, 1) == 60
    k = argmax(counts)
    own = d.x[:, d.owner .== k]
    spread = vec(var(own; dims = 2)) ./ [j^-1.2 for j = 1:60]
    @test all(0.6 .< spread .< 1.5)
    centers = [mean(d.x[:, d.owner .== k]) for k = 1:40]      # B_k, and some noise
    @test 1.3 < std(centers) < 2.8
    alike = dataset("synthetic(alpha=0, beta=0, devices=40)")
    @test std([mean(alike.x[:, alike.owner .== k]) for k = 1:40]) < 0.3
    # Each device's labels are those of its own linear model, which no other shares.
    function device_again(k)
        rng = FedFlux.Stream(0, :data, 0, k)
        z() = FedFlux.normal!(rng)
        z()
        u, B = 0.5z(), 2z()
        W = permutedims(reshape([u + z() for _ = 1:600], 10, 60))
        return W, [u + z() for _ = 1:10]
    end
    W, b = device_again(k)
    scores = W' * Float64.(own) .+ b
    @test mean([argmax(c) - 1 for c in eachcol(scores)] .== d.y[d.owner .== k]) > 0.999
    @test dataset("synthetic(0.5, beta=2, devices=40)").x == d.x
    @test dataset("synthetic(0.5, 2, 40, seed=1)").x != d.x
    @test occursin("parameter alpha", why("synthetic(alpha=-1)"))
    @test occursin("no parameter 'gamma'; it takes alpha, beta", why("synthetic(gamma=1)"))
end

@testset "FCUBE" begin
    d = dataset("fcube")
    @test size(d.x) == (3, 4000) && size(d.xtest) == (3, 1000)
    @test d.y == (d.x[1, :] .< 0) && all(-1 .<= d.x .<= 1)
    for k = 1:4
        own = d.x[:, d.owner .== k]
        signs = unique(sign.(c) for c in eachcol(own))
        @test length(signs) == 2 && signs[1] == -signs[2] && size(own, 2) == 1000
        @test count(==(0), d.y[d.owner .== k]) == 500
        @test all(c -> sign.(c) in signs, eachcol(d.xtest[:, d.owner_test .== k]))
    end
    @test abs(mean(abs.(d.x)) - 0.5) < 0.01
    r = FedFlux.run(dataset = "fcube(samples=800)", partition = "owner", model = "mlp",
        hidden = [8], rounds = 2)
    @test length(r.clients) == 4
end

@testset "what MLDatasets reads is looked at before" begin
    folder = mktempdir()
    @test occursin("no file", why("cifar10"; dir = folder))
    mkpath(joinpath(folder, "cifar-10-batches-bin"))
    for (file, size) in files_of("cifar10", "")
        open(io -> truncate(io, size), joinpath(folder, file), "w")     # takes no disk
    end
    @test check_files("cifar10", "", folder) === nothing
    open(
        io -> truncate(io, 5),
        joinpath(folder, "cifar-10-batches-bin/test_batch.bin"),
        "w"
    )
    @test occursin("test_batch.bin has 5 bytes; expected 30730000",
        why("cifar10"; dir = folder))
    @test occursin("emnist-letters.mat", why("emnist:letters"; dir = folder))
    @test occursin("emnist-balanced.mat", why("emnist"; dir = folder))
    @test occursin("expected emnist:balanced, emnist:byclass", why("emnist:all"))
    @test occursin("expected no part", why("svhn:extra"))
    @test occursin("digits takes no parameters", why("digits(3)"))
    @test occursin("synthetic(…), fcube(…)", why("imagenet"))
end
