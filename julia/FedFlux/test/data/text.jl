using FedFlux: common_tokens, roles, shakespeare, takes_tokens, windows, words

const PLAY = """
First Citizen:
Before we proceed any further, hear me speak.

All:
Speak, speak.

First Citizen:
You are all: resolved
rather to die

[Exit]

KING RICHARD II:
Ay, no; no, ay.
"""

@testset "a play is split by its roles" begin
    said = roles(PLAY)
    citizen =
        "Before we proceed any further, hear me speak.\n" *
        "You are all: resolved\nrather to die"
    @test said == Dict("First Citizen" => citizen, "All" => "Speak, speak.",
        "KING RICHARD II" => "Ay, no; no, ay.\n")
    @test roles(replace(PLAY, "\n" => "\r\n")) == said
    @test words("Ay, no; don't\nSPEAK") == ["ay", ",", "no", ";", "don't", "\n", "speak"]
    @test roles("甲：\n你好，吃了吗\n\nÉlise:\nOui.") ==
          Dict("甲" => "你好，吃了吗", "Élise" => "Oui.")
    @test words("你好，Été 2x3去") == ["你", "好", "，", "été", "2x3", "去"]
    @test common_tokens([["b", "a", "b"], ["c", "a", "d"]], 10) == ["a", "b", "c", "d"]
    @test common_tokens([["b", "a", "b"], ["c", "a", "d"]], 3) == ["a", "b", "<unknown>"]
    @test windows(collect(1:9), 4) == ([1 5; 2 6; 3 7; 4 8], [2 6; 3 7; 4 8; 5 9])
    @test windows(collect(1:8), 4) == (reshape(1:4, 4, 1), reshape(2:5, 4, 1))
    @test size(windows([1, 2], 4)[1]) == (4, 0)
end

@testset "plays in the encodings of editors" begin
    mktempdir() do dir
        path = joinpath(dir, "play.txt")
        utf16(swap) = reinterpret(UInt8, swap.(transcode(UInt16, PLAY)))
        for bytes in ([codeunits("\ufeff"); codeunits(PLAY)],
            [[0xff, 0xfe]; utf16(htol)], [[0xfe, 0xff]; utf16(hton)])
            write(path, bytes)
            @test roles(FedFlux.read_text(path)) == roles(PLAY)
        end
        for (bytes, words) in ([codeunits(PLAY); 0xe9] => "is not in UTF-8",
            utf16(htol) => "holds zero bytes", [0xff, 0xfe, 0x41] => "in the middle")
            write(path, bytes)
            @test occursin(words, message(() -> shakespeare(path)))
        end
        write(path, "\ufeffhost 2\r\n")
        @test FedFlux.read_machines(path) == [("host", 2)]
        write(path, "\ufeff01\r\n11\r\n")
        @test FedFlux.AvailabilityTrace(path).available == Bool[0 1; 1 1]
    end
end

@testset "samples of a play" begin
    mktempdir() do dir
        path = joinpath(dir, "play.txt")
        write(path, PLAY)
        d, known = shakespeare(path; window = 5, min_characters = 14)
        text(tokens) = join(known[tokens .+ 1])
        # `All` says too little
        @test d.owner == [fill("First Citizen", 12); fill("KING RICHARD II", 2)]
        first_citizen = findall(==("First Citizen"), d.owner)
        said = roles(PLAY)["First Citizen"]
        @test text(vec(d.x[:, first_citizen])) == said[1:60]
        @test text(vec(d.y[:, first_citizen])) == said[2:61]
        # the last fifth of 81 characters
        @test text(d.xtest[:, 1]) == said[65:69] && text(d.ytest[:, 1]) == said[66:70]
        @test occursin("no role with 1000", message(() -> shakespeare(path)))
        missing_file() = shakespeare(joinpath(dir, "missing"))
        @test occursin("there is no file", message(missing_file))
        d, known = shakespeare(path; tokens = "word", window = 2, vocabulary = 5,
            min_characters = 14)
        @test length(known) == 5 && known[5] == "<unknown>" && extrema(d.x) == (0, 4)
        run(; kw...) = FedFlux.run(; dataset = "shakespeare:$path", window = 5,
            min_characters = 14, model = "gru", kw...)
        r = run(partition = "owner", hidden = [6], rounds = 2)
        @test r.holdings["sizes"] == [12, 2] && length(r.history) == 2
        @test last(r.history).accuracy !== nothing
        @test occursin("can't be normalized", message(() -> run(mean = 0.5)))
    end
end

@testset "next-token models" begin
    for (cell, gates) in (("rnn", 1), ("gru", 3), ("lstm", 4))
        model = next_token(11; cell, embedding = 3, hidden = (5, 7), rng = Stream(0, :init))
        logits = model(rand(1:11, 6, 2))
        @test size(logits) == (11, 6, 2) && takes_tokens(model) && takes_tokens(cell)
        recurrent(in, out) = gates * out * (in + out)
        weights = filter(p -> ndims(p) == 2, Optimisers.trainables(model))
        @test sum(length, weights) == 11 * 3 + recurrent(3, 5) + recurrent(5, 7) + 7 * 11
        tokens = rand(1:11, 6, 1)
        later = copy(tokens)
        later[5] = mod1(later[5] + 1, 11)
        # outputs do not depend on later tokens
        @test model(tokens)[:, 1:4] ≈ model(later)[:, 1:4]
        @test !(model(tokens)[:, 5] ≈ model(later)[:, 5])
    end
    @test !takes_tokens(mlp(4, 2)) && !takes_tokens("mlp")
    why(; options...) = message(() -> next_token(5; options...))
    @test occursin("expected rnn, gru or lstm", why(cell = "conv"))
    @test occursin("at least one recurrent layer", why(hidden = ()))
end

@testset "integers are tokens or numbers" begin
    x = [0 1 2; 1 2 0]
    d = Dataset(x, [1 2 0; 2 0 1], nothing, nothing)
    @test d.x == x && eltype(d.x) == Int
    embed(n) = FedFlux.run(; dataset = d, clients = 1, rounds = 1, trainer = "zygote",
        model = Chain(Flux.Embedding(n => 2), Dense(2 => 3)))
    @test embed(4).names[1] == "layers.1.weight"
    @test occursin("holds 2 tokens", message(() -> embed(2)))
    lstm(dataset) = message(() -> FedFlux.run(; dataset, model = "lstm"))
    @test occursin("expected whole numbers from 0, as an array", lstm("digits"))
    @test occursin("the token -1", lstm(Dataset(x .- 1, x, nothing, nothing)))
    # integers are ordinary inputs to other models
    dataset = Dataset(rand(1:9, 4, 20), rand(0:1, 20), nothing, nothing)
    numbers = FedFlux.run(; dataset, model = "mlp", hidden = [3], rounds = 1, clients = 2)
    @test numbers.history[1].train_loss > 0
end

@testset "tokens and labels that no model could hold are refused in one line" begin
    x = [0 1 2; 1 2 0]
    lstm(x, y) = message(
        () -> FedFlux.run(; clients = 1, rounds = 1, model = "lstm", hidden = [2],
            dataset = Dataset(x, y, nothing, nothing))
    )
    for token in (typemax(Int), typemax(Int) - 1, 2^62, 10^6, -1, typemin(Int))
        why = lstm([0 1 2; 1 token 0], x)
        @test occursin("the token $token; expected whole numbers from 0 to 999999", why)
    end
    huge = UInt64[0 1; typemax(UInt64) 0]
    @test occursin("contains 18446744073709551615; expected 64-bit integers",
        lstm(huge, [0 1; 1 0]))
    for label in (typemax(Int), 10^12, 10^6, -1)
        y = [0 1 2; 1 label 0]
        @test occursin("y_train contains the label $label; expected labels in 0..999999",
            lstm(x, y))
        # Labels of samples, and not of tokens, may be any numbers: they are names.
        named = FedFlux.run(; model = "mlp", clients = 1, rounds = 1,
            dataset = Dataset(rand(Float32, 4, 3), [0, label, 1], nothing, nothing))
        @test named.classes == sort([0, label, 1])
    end
    model() = Chain(Flux.Embedding(3 => 2), Dense(2 => 3))
    for token in (0, 4, typemax(Int))
        train() = train_model!(model(), ([1 2 3; 2 token 1], x))
        @test occursin("x_train contains $token, and the model's Embedding holds 3 tokens",
            message(train))
    end
    e = LayerEngine(model(), CrossEntropy(), (2,), 3)
    @test_throws ArgumentError FedFlux.batch(e, [1 2 3; 2 typemax(Int) 1], x, 1:3)
    @test_throws ArgumentError FedFlux.batch(e, x .+ 1, x .+ 10^12, 1:3)
end

@testset "labels that don't fit the model's outputs are refused before training" begin
    x = [0 1 2; 1 2 0]
    lstm(y; ytest = nothing) = message(
        () -> FedFlux.run(; clients = 1, rounds = 1, model = "lstm", hidden = [2],
            dataset = Dataset(x, y, ytest === nothing ? nothing : x, ytest))
    )
    @test occursin(
        "y_train holds targets of size (), an array of size (3,), and the " *
        "model gives outputs of size (3, 2) for a sample; expected targets of " *
        "size (2,)", lstm([0, 1, 2]))
    @test occursin("y_train holds targets of size (3,)", lstm([x; x[1:1, :]]))
    @test occursin("y_test holds targets of size ()", lstm(x; ytest = [0, 1, 2]))
    flat = message(
        () -> FedFlux.run(; clients = 1, rounds = 1, model = "mlp",
            dataset = Dataset(rand(Float32, 4, 3), x, nothing, nothing))
    )
    @test occursin("expected one label per sample", flat)
    short() =
        train_model!(Chain(Flux.Embedding(3 => 2), Dense(2 => 3)), (x .+ 1, [0, 1, 2]))
    @test occursin("y_train holds targets of size ()", message(short))
end

@testset "an lstm learns a simple language" begin
    # Each token is followed by the next one modulo 5: a perfect model has loss 0, the best
    # model without memory log 5.
    starts = rand(Xoshiro(1), 0:4, 40)
    x = [mod(s + t, 5) for t = 0:9, s in starts]
    d = Dataset(x, mod.(x .+ 1, 5), x, mod.(x .+ 1, 5))
    r = FedFlux.run(; dataset = d, model = "lstm", hidden = [12], clients = 4, rounds = 15,
        local_epochs = 5, optimizer = "adam", lr = 0.02, batch_size = 10)
    @test FedFlux.accuracy(r) == 1 && last(r.history).test_loss < 0.2
    @test size(r.model(x .+ 1)) == (5, 10, 40)
end

const TEST_DATA = get(ENV, "FEDFLUX_TEST_DATA",
    joinpath(@__DIR__, "..", "..", "..", "..", "..", "shared", "data"))
const PLAYS = joinpath(TEST_DATA, "tinyshakespeare", "input.txt")

@testset "federated roles beat the unigram baseline" begin
    if isfile(PLAYS)
        d, known = shakespeare(PLAYS; min_characters = 2000)
        @test length(known) == 64 && length(unique(d.owner)) == 99
        # the unigram baseline: each character with its share of the training text, or
        # always the most frequent character
        shares = [count(==(token), d.y) for token = 0:(length(known)-1)] ./ length(d.y)
        baseline = -mean(log(shares[token+1]) for token in d.ytest)
        most_frequent = mean(d.ytest .== argmax(shares) - 1)
        r = FedFlux.run(; dataset = d, partition = "owner", model = "lstm", hidden = [64],
            clients_per_round = 10, rounds = 20, batch_size = 10,
            optimizer = "adam", lr = 0.01, eval_every = 5)
        losses = [h.test_loss for h in r.history if h.test_loss !== nothing]
        @test length(losses) == 4 && issorted(losses; rev = true)
        @test last(losses) < baseline - 0.8
        @test FedFlux.accuracy(r) > 2most_frequent
        r = FedFlux.run(; dataset = d, partition = "owner", model = "transformer",
            embedding = 32, hidden = [64], clients_per_round = 10, rounds = 4,
            batch_size = 10, optimizer = "adam", lr = 0.01, eval_every = 2)
        losses = [h.test_loss for h in r.history if h.test_loss !== nothing]
        @test issorted(losses; rev = true) && last(losses) < baseline - 0.3
        @test r.trainer == "fast"
    else
        @test_skip "there is no $PLAYS; set FEDFLUX_TEST_DATA"
    end
end
