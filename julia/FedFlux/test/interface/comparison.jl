# Comparisons: grids, tests of chance, runs side by side, and their folders.

using FedFlux: ComparedRun, ComparisonPlan, compare, configurations, comparison_rows, holm,
    paired_t, read_grid, sign_flips

const NONE = Dict{Symbol,Any}()
const SMALL = (; dataset = "digits", model = "softmax_regression", rounds = 2,
    local_steps = 2, clients = 4)

@testset "tests of chance" begin
    # Student's distribution with one and two degrees of freedom has a closed form.
    for d in ([0.02, 0.05], [-0.3, 0.1])
        t = abs(mean(d)) / (std(d) / sqrt(2))
        @test paired_t(d) ≈ 1 - 2 / π * atan(t)
    end
    for d in ([0.01, 0.02, 0.03], [0.5, -0.1, 0.2])
        t = abs(mean(d)) / (std(d) / sqrt(3))
        @test paired_t(d) ≈ 1 - t / sqrt(2 + t^2)
    end
    @test paired_t([0.1]) === nothing && paired_t([0.0, 0.0]) == 1
    # Differences that are all alike have no spread, which must not look like certainty.
    @test paired_t([0.1, 0.1, 0.1]) == 0.25
    @test sign_flips([1, 2, 3]) == 0.25 && sign_flips([1, -2, 3]) == 0.75
    @test sign_flips(Float64[]) === nothing && sign_flips(ones(17)) === nothing
    adjusted = holm([0.01, nothing, 0.04, 0.03])
    @test adjusted[2] === nothing && Float64.(adjusted[[1, 3, 4]]) ≈ [0.03, 0.06, 0.06]
    # With no effect, the level is kept: about one in twenty of many trials is marked.
    rng = Xoshiro(3)
    alarms = count(_ -> paired_t(randn(rng, 3)) <= 0.05, 1:4000)
    @test 0.04 < alarms / 4000 < 0.06
end

@testset "a grid's configurations" begin
    grid = (rules = ["none", "scaffold", ["fedprox(mu=0.1)", "topk(fraction=0.1)"]],
        lr = [0.1, 0.3])
    found = configurations(grid, NONE)
    @test [c.name for c in found][1:3] ==
          ["none, lr=0.1", "none, lr=0.3", "scaffold, lr=0.1"]
    @test found[end].name == "fedprox(mu=0.1) + topk(fraction=0.1), lr=0.3"
    @test found[1].options == Dict(:rules => String[], :lr => 0.1)
    @test configurations([:lr => [1, 2]], NONE)[1].name == "lr=1"
    @test configurations((aggregate = ["mean", "median"],), NONE)[2].name == "median"
    # What decides no number is in no name; what does is.
    folder(; more...) = configurations((; more...), NONE)[1].folder
    @test folder(lr = 1, threads = 2) != folder(lr = 2, threads = 2)
    @test folder(lr = 1, threads = [2]) == folder(lr = 1.0, threads = [1])
    @test configurations((;), NONE; data = "a")[1].folder !=
          configurations((;), NONE; data = "b")[1].folder
    # Several grids: each rule with rates of its own.
    several = configurations(
        [(rules = ["none"], lr = [0.1, 0.2]),
            (rules = ["scaffold"], lr = [0.3])], NONE)
    @test [c.name for c in several] == ["none, lr=0.1", "none, lr=0.2", "scaffold, lr=0.3"]
    for (bad, words) in ((rule = ["none"],) => "did you mean 'rules'",
        (seed = [1],) => "give seeds", (lr = [],) => "at least one value",
        (lr = [0.1, 0.1],) => "is there twice", (lr = ["fast"],) => "a number",
        (lr = fill(0.1, 101), momentum = fill(0.1, 100)) => "at most 10000",
        3 => "expected lists")
        @test_throws words configurations(bad, NONE)
    end
end

@testset "the verdict" begin
    run(name, seed, accuracy) = ComparedRun(; configuration = name, seed, accuracy,
        curve = Dict("round" => [1, 2], "accuracy" => [0.5, accuracy]))
    names = ["a", "b", "c"]
    cs = [FedFlux.Configuration(n, Pair{String,String}[], NONE, n) for n in names]
    figures =
        ("a" => (0.70, 0.60, 0.80), "b" => (0.80, 0.705, 0.90), "c" => (0.9, 0.4, 0.8))
    runs = [run(n, s, v[s]) for (n, v) in figures for s = 1:3]
    rows = comparison_rows(cs, runs, "a", "accuracy", 0.75)
    @test [r.verdict for r in rows] == ["", "better", ""]
    @test rows[2].p_holm ≈ 2 * rows[2].p && rows[1].p === nothing
    @test rows[2].mean ≈ mean(figures[2][2]) && rows[2].sd ≈ std(collect(figures[2][2]))
    @test (rows[2].reached, rows[2].rounds_to_target) == (2, 2.0)
    @test (rows[1].reached, rows[1].runs, rows[1].failed) == (1, 3, 0)
    # A loss is better if it is lower; pairs are those of the seeds that both have.
    losses = [
        ComparedRun(; configuration = r.configuration, r.seed, loss = r.accuracy,
            curve = Dict("round" => [1], "loss" => [r.accuracy])) for r in runs[1:5]
    ]
    @test comparison_rows(cs[1:2], losses, "a", "loss", nothing)[2].difference ≈ 0.1025
    @test FedFlux.verdict(0.1, 0.01, "loss") == "worse"
end

@testset "runs side by side, kept and gone on with" begin
    folder = mktempdir()
    kinds = String[]
    note(event) = (push!(kinds, event.kind); false)
    c = compare((lr = [0.1, 0.5],); seeds = [3, 7], folder, callback = note, SMALL...)
    @test count(==("end"), kinds) == 4 && count(==("round"), kinds) == 8
    alone = FedFlux.run(; SMALL..., lr = 0.5, seed = 7)
    same = only(r for r in c.runs if r.configuration == "lr=0.5" && r.seed == 7)
    @test same.params_sha256 == alone.params_sha256 && same.accuracy == accuracy(alone)
    @test same.curve["accuracy"] == [r.accuracy for r in alone.history]
    @test same.bytes_up == sum(r.bytes_up for r in alone.history)
    loaded = FedFlux.load_result(joinpath(folder, same.folder, "result.safetensors"))
    @test loaded.facts["params_sha256"] == alone.params_sha256

    table() = read(joinpath(folder, "table.csv"), String)
    before, written = table(), mtime(joinpath(folder, same.folder, "result.safetensors"))
    empty!(kinds)
    # The grid that was written is the grid; nothing is repeated.
    grid = read_grid(joinpath(folder, "comparison.toml"))
    @test grid.settings[:seeds] == [3, 7] && grid.grid == [[:lr => [0.1, 0.5]]]
    compare(joinpath(folder, "comparison.toml"); folder, callback = note)
    @test filter(!=("tick"), kinds) == fill("kept", 4) && table() == before
    @test mtime(joinpath(folder, same.folder, "result.safetensors")) == written

    # A run that was killed after its first round goes on from there, and finds the same.
    other = mktempdir()
    half = joinpath(other, dirname(same.folder), "seed-7")
    FedFlux.run(; SMALL..., lr = 0.5, seed = 7, rounds = 1, checkpoint = half)
    empty!(kinds)
    again = compare((lr = [0.1, 0.5],); seeds = [3, 7], folder = other, callback = note,
        SMALL...)
    @test count(==("round"), kinds) == 7
    @test [r.params_sha256 for r in again.runs] == [r.params_sha256 for r in c.runs]
    @test [r.mean for r in again.rows] == [r.mean for r in c.rows]
    ended = (; SMALL..., rounds = 10^6, callback = event -> event.kind == "round")
    @test_throws "the comparison was ended" compare((lr = [0.1],); ended...)
    @test_throws "another run writes" begin
        lock = FedFlux.FolderLock(folder)
        compare((lr = [0.1],); folder, SMALL...)
    end
    @test occursin("accuracy", sprint(show, MIME"text/plain"(), c))
end

@testset "what fails, and what is refused" begin
    c = compare((aggregate = ["mean", "krum(f=1)"],); seeds = 1, SMALL...)
    @test c.rows[2].failed == 1 && c.rows[2].mean === nothing
    @test occursin("needs", only(r.error for r in c.runs if r.error !== nothing))
    @test occursin("krum(f=1), seed 1: ", sprint(show, MIME"text/plain"(), c))
    objects = (rules = [String[], [FedProx(mu = 0.1)]],)
    same = compare(objects; seeds = 1, SMALL...)
    @test same.runs[2].params_sha256 ==
          FedFlux.run(; SMALL..., rules = "fedprox(mu=0.1)", seed = 1).params_sha256
    refused = (; folder = mktempdir()) => "Julia object",
    (; baseline = "x") => "expected one of",
    (; metric = "f1") => "accuracy, personal_accuracy, loss", (; seeds = 0) => "seeds",
    (; seeds = [1, 1]) => "different integers", (; parallel = 0) => "parallel",
    (; target = "high") => "target", (; engine = "reference") => "reference"
    for (more, words) in refused
        @test_throws words compare(objects; SMALL..., more...)
    end
    @test_throws "there is no file" compare("no/such.toml")
    file = joinpath(mktempdir(), "grid.toml")
    for (text, words) in ("grid = 3" => "to be tables", "[gird]" => "did you mean 'grid'",
        "a = [" => "expected TOML", "[grid]\nlrs = [1]" => "unknown option 'lrs'")
        write(file, text)
        @test_throws words compare(file)
    end
end
