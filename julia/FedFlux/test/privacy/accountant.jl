# The accountant, against published figures, integrals written out here, and itself.
using FedFlux: discrete_gaussian_rdp, fixed_size_rdp, joint_noise, pld_epsilon, poisson_rdp
using FedFlux: rdp_epsilon, skellam_rdp, tree_noise, update_noise
using FedFlux: RDP_ORDERS, chi_moment, composed_epsilon, fft!, gaussian_epsilon, loss_grid
using FedFlux: roots_of_unity
using FedFlux: SpecialFunctions
using .SpecialFunctions: besselix, erf

"σ, q, T, δ and the ε of RDP and PLD, from tensorflow/privacy and dp-accounting 0.6.0."
const PUBLISHED = [
    (1.3, 150 / 60000, 6000, 1e-5, 0.7242234026, 0.64011),
    (1.0, 0.001, 30000, 1e-7, 1.4154988495, 1.09820),
    (1.5, 0.04, 2250, 1e-5, 7.3293347024, nothing),
    (4.530877117, 1.0, 1, 1e-6, 1.0000002896, nothing),
    (0.67379294682, 0.01, 1, 1e-5, 2.3201308558, 1.0),
    (1.0, 0.1, 100, 1e-5, 7.9038502236, 7.04660)
]

@testset "published ε: σ=$σ, q=$q, T=$steps" for (σ, q, steps, delta, rdp, pld) in PUBLISHED
    plan = (; noise_multiplier = σ, sampling_rate = q, steps, delta)
    @test epsilon(; plan...) ≈ rdp rtol = 1e-6
    pld === nothing || @test epsilon(; plan..., accountant = :pld) ≈ pld rtol = 1e-3
    @test epsilon(; plan..., accountant = :pld) < epsilon(; plan...)
end

"RDP of the sampled Gaussian mechanism, by its definition and the trapezoidal rule."
function integrated_rdp(α, σ, q)
    h = σ / 50
    exponent(x) = -x^2 / 2σ^2 + α * mixed(x)
    function mixed(x)
        t = (2x - 1) / 2σ^2
        return t > 1 ? t + log(q + (1 - q) * exp(-t)) : log1p(q * expm1(t))
    end
    exponents = exponent.(-15σ:h:(α+15σ))
    top = maximum(exponents)
    return (top + log(h * sum(exp.(exponents .- top)) / sqrt(2π * σ^2))) / (α - 1)
end

@testset "RDP at single orders" begin
    published = [6.70579741e-4, 1.08548710e-3, 2.18075656e-3, 2.38460375e-2, 167.416308]
    for (α, rdp) in zip((1.5, 2.5, 5, 50, 100), published)
        @test 50poisson_rdp(α, 2.5, 0.01) ≈ rdp rtol = 1e-4
    end
    # Whole orders are exact, fractional ones at most a little above.
    for (σ, q) in ((0.7, 0.3), (1.5, 0.04), (5.0, 0.5)), α in (2, 5, 20)
        @test poisson_rdp(α, σ, q) ≈ integrated_rdp(α, σ, q) rtol = 1e-9
        @test poisson_rdp(α + 0.3, σ, q) >= integrated_rdp(α + 0.3, σ, q) * (1 - 1e-9)
    end
    # Opacus adds the series with its signs, which is the integral: 7.32911117 for the third
    # row above.
    a = compose!(
        RDPAccountant(; delta = 1e-5),
        α -> integrated_rdp(α, 1.5, 0.04);
        steps = 2250
    )
    @test epsilon(a) ≈ 7.32911117143 rtol = 1e-6
    # A rate so small that 1 is all that is left of A in Float64.
    @test poisson_rdp(1.5, 1.0, 1e-9) ≈ poisson_rdp(2, 1.0, 1e-9) rtol = 1e-6
    # The first term of the expansion in q is α q² (exp(1/σ²) − 1)/2.
    @test 1 < poisson_rdp(1.1, 9.6, 1e-4) / (1.1 * 1e-8 * expm1(1 / 9.6^2) / 2) < 1.2
    @test poisson_rdp(2, 1.0, 1e-9) ≈ 1e-18 * expm1(1) rtol = 1e-6
end

@testset "from RDP to ε" begin
    @test rdp_epsilon(2:32, fill(1.1, 31), 1e-5) ≈ 1.32783806176 rtol = 1e-10
    @test rdp_epsilon([2.0, 3.0], [Inf, Inf], 1e-5) == Inf
    @test rdp_epsilon([2.0], [1e-12], 1e-5) == 0
    @test rdp_epsilon([1024.0], [1e-9], 0.9) == 0
    # The looser conversion of Mironov 2017, which older libraries print.
    rdp = [6000poisson_rdp(α, 1.3, 0.0025) for α in RDP_ORDERS]
    @test minimum(@. rdp - log(1e-5) / (RDP_ORDERS - 1)) ≈ 0.941870567 rtol = 1e-6
end

@testset "the sampling decides ε" begin
    plan = (; noise_multiplier = 1.0, sampling_rate = 0.1, steps = 100, delta = 1e-5)
    @test epsilon(; plan..., sampling = :poisson) ≈ 7.90 atol = 0.005
    @test epsilon(; plan..., sampling = :fixed) ≈ 83.9369170977 rtol = 1e-6
    @test epsilon(; plan..., sampling = :none) ≈ 96.1163084251 rtol = 1e-6
    @test epsilon(; plan..., sampling = :none, accountant = :pld) ==
          gaussian_epsilon(0.1, 1e-5)
    # All clients in each round: no amplification, and neighbors twice as far apart.
    everyone = (; noise_multiplier = 1.0, steps = 3, delta = 1e-5)
    @test epsilon(; everyone..., sampling = :fixed) ==
          epsilon(; everyone..., noise_multiplier = 0.5)
end

@testset "fixed size: Theorem 27 by differences in high precision" begin
    # B(k) is the k-th forward difference of exp(j(j − 1)/2σ²) at j = 0.
    difference(k, σ) =
        setprecision(BigFloat, 4096) do
            Float64(
                log(
                    sum(0:k) do j
                        (-1)^(k - j) * binomial(big(k), j) *
                        exp(big(j) * (j - 1) / (2 * big(σ)^2))
                    end
                )
            )
        end
    for σ in (0.5, 1.0, 3.0, 20.0, 500.0), k in (2, 4, 10, 64)
        @test chi_moment(k, σ) ≈ difference(k, σ) rtol = 1e-9 atol = 1e-9
    end
    @test fixed_size_rdp(2, 5.0, 0.1) ≈ log1p(0.01 * 4 * expm1(1 / 25)) rtol = 1e-9
    @test issorted([fixed_size_rdp(α, 5.0, 0.1) for α = 2:256])
end

@testset "the Fourier transform" begin
    x = [complex(sin(3j), cos(j^2)) for j = 1:64]
    definition = [sum(x[j+1] * cispi(-2j * k / 64) for j = 0:63) for k = 0:63]
    @test fft!(copy(x), similar(x), roots_of_unity(64)) ≈ definition rtol = 1e-14
    @test fft!([2.0im], [0.0im], roots_of_unity(1)) == [2.0im]
end

@testset "a grid of losses keeps the mass of both sides" begin
    for removed in (true, false), (σ, q) in ((1.0, 0.1), (0.3, 0.5), (20.0, 0.9))
        grid = loss_grid(σ, q, 1e-3, removed)
        points = 1e-3 .* (grid.first .+ (0:(length(grid.mass)-1)))
        @test sum(grid.mass) + grid.infinite ≈ 1 rtol = 1e-12
        @test sum(grid.mass .* exp.(-points)) ≈ 1 rtol = 1e-9
        # δ(ε) on the grid is the integral of max(0, P − exp(ε) Q).
        n(x, m) = exp(-(x - m)^2 / 2σ^2) / sqrt(2π * σ^2)
        p(x) = removed ? (1 - q) * n(x, 0) + q * n(x, 1) : n(x, 0)
        r(x) = removed ? n(x, 0) : (1 - q) * n(x, 0) + q * n(x, 1)
        ε = 0.05
        δ = sum(max(0, p(x) - exp(ε) * r(x)) for x = -12σ:(σ/2e4):(1+12σ)) * σ / 2e4
        @test grid.infinite + sum(@. grid.mass * max(0, 1 - exp(ε - points))) ≈ δ rtol =
            1e-6
    end
end

@testset "PLD: an upper bound that closes in" begin
    # Gaussian steps on the grid, against the formula of Balle & Wang.
    for σ in (0.7, 3.0), steps in (1, 40)
        exact = gaussian_epsilon(σ / sqrt(steps), 1e-6)
        gridded = composed_epsilon([(; noise = σ, rate = 1.0, count = steps)], 1e-6, 1e-4)
        @test exact < gridded < exact * (1 + 1e-4)
    end
    Φ(x) = (1 + erf(x / sqrt(2))) / 2
    ε = gaussian_epsilon(2.0, 1e-5)
    @test Φ(1 / 4 - 2ε) - exp(ε) * Φ(-1 / 4 - 2ε) ≈ 1e-5 rtol = 1e-6
    # Finer grids give less, but little less.
    at(interval) = pld_epsilon([(1.3, 0.0025, 6000)], 1e-5; interval)
    @test at(4e-4) > at(2e-4) > at(1e-4) > at(5e-5) > 0.64
    @test at(1e-4) < 1.0005 * at(2e-5)
    # δ too small for the rounding of so many steps: RDP's ε.
    many = (; noise_multiplier = 2.0, sampling_rate = 0.001, steps = 10^7, delta = 1e-12)
    @test epsilon(; many..., accountant = :pld) == epsilon(; many...)
    # A long grid becomes coarser, so that it fits.
    @test 870 <
          epsilon(; noise_multiplier = 0.5, sampling_rate = 0.5, steps = 1000,
              delta = 1e-5, accountant = :pld) < 880
end

@testset "σ for ε" begin
    plan = (; sampling_rate = 0.04, steps = 2250, delta = 1e-5)
    @test noise_multiplier(; epsilon = 8, plan...) ≈ 1.416 atol = 5e-4
    # dp-accounting's calibrate_dp_mechanism, with tolerances of 1e-9 and 1e-6.
    @test noise_multiplier(; epsilon = 8, plan...) ≈ 1.4158731795 atol = 1e-5
    @test noise_multiplier(; epsilon = 8, plan..., accountant = :pld) ≈ 1.3458989949 atol =
        1e-5
    for accountant in (:rdp, :pld), (target, sampling) in ((0.5, :poisson), (20, :none))
        σ = noise_multiplier(; epsilon = target, plan..., sampling, accountant)
        @test epsilon(; noise_multiplier = σ, plan..., sampling, accountant) <= target
        less = 0.9999 * σ
        @test epsilon(; noise_multiplier = less, plan..., sampling, accountant) > target
    end
    @test noise_multiplier(; epsilon = 1, steps = 0, delta = 1e-5) <= 1e-6
    @test occursin("epsilon is 1.0e-300; expected one that",
        message(() -> noise_multiplier(; epsilon = 1e-300, steps = 1, delta = 1e-15)))
end

@testset "more noise, fewer steps, smaller rates cost less" begin
    plan = (; noise_multiplier = 1.1, sampling_rate = 0.02, steps = 300, delta = 1e-6)
    for accountant in (:rdp, :pld)
        ε(; changed...) = epsilon(; plan..., accountant, changed...)
        @test issorted([ε(; noise_multiplier = σ) for σ in (4, 2, 1.5, 1, 0.7, 0.4)])
        @test issorted([ε(; sampling_rate = q) for q in (1e-4, 1e-3, 0.01, 0.1, 0.5, 1)])
        @test issorted([ε(; steps = t) for t in (0, 1, 10, 100, 1000)])
        @test issorted([ε(; delta) for delta in (0.1, 1e-3, 1e-6, 1e-9)])
        @test ε(; steps = 0) == 0
    end
end

@testset "composition is a sum" begin
    for Account in (RDPAccountant, PLDAccountant)
        once, often = Account(; delta = 1e-5), Account(; delta = 1e-5)
        compose!(once, 1.2, 0.05; steps = 30)
        compose!(once, 0.9, 0.02; steps = 10)
        for t = 1:40
            t % 4 == 0 ? compose!(often, 0.9, 0.02) : compose!(often, 1.2, 0.05)
        end
        @test epsilon(once) ≈ epsilon(often) rtol = 1e-12
    end
    mixed = compose!(PLDAccountant(; delta = 1e-5), 1.0, 0.1; steps = 100)
    before = epsilon(mixed)
    @test before < epsilon(compose!(mixed, 1e4)) < 1.001 * before
    # Steps without sampling are one Gaussian.
    several = PLDAccountant(; delta = 1e-5)
    foreach(σ -> compose!(several, σ, 0.1, :none), (3.0, 4.0, 4.0))
    @test epsilon(several) ≈ gaussian_epsilon(1 / sqrt(1 / 9 + 2 / 16), 1e-5) rtol = 1e-9
end

@testset "an adaptive clip's bits" begin
    @test joint_noise(update_noise(1.0, 5.0), 10.0) ≈ 1.0
    @test update_noise(1.0, 5.0) ≈ (1 - 1 / 100)^-0.5
    @test occursin("expected more than 0.5", message(() -> update_noise(1.0, 0.5)))
end

@testset "extremes are numbers" begin
    for σ in (1e-300, 1e-6, 1e-3, 1e3, 1e9, 1e300), q in (1e-12, 0.5, 1.0),
        steps in (1, 10^6),
        (sampling, accountant) in
        ((:poisson, :rdp), (:fixed, :rdp), (:poisson, :pld))

        (accountant, q, steps, σ) == (:pld, 0.5, 10^6, 1e-3) && continue      # 2 seconds
        ε = epsilon(; noise_multiplier = σ, sampling_rate = q, steps, delta = 1e-5,
            sampling,
            accountant)
        @test ε >= 0 && !isnan(ε)
        @test σ != 1e-300 || ε == Inf
        @test σ < 1e9 || ε < 1e-2
    end
end

"The Rényi divergence between a distribution of whole numbers and itself shifted by 1."
function shifted_divergence(p, α)
    pairs = [(p[i], p[i+1]) for i = 1:(length(p)-1) if min(p[i], p[i+1]) > 1e-300]
    return log(sum(exp(α * log(a) + (1 - α) * log(b)) for (a, b) in pairs)) / (α - 1)
end

@testset "integer noise costs no more than its bound" begin
    for variance in (4.0, 25.0), α in (2, 5, 16)
        skellam = [besselix(abs(k), variance) for k = -60:60]      # e^-v I_k(v)
        @test sum(skellam) ≈ 1 rtol = 1e-9
        bound = skellam_rdp(α; variance, l1 = 1, l2 = 1)
        @test shifted_divergence(skellam, α) <= bound < 3shifted_divergence(skellam, α)
    end
    for sigma in (0.5, 0.7, 2.0), clients in (1, 2, 5), α in (2, 5)
        gaussian = [exp(-k^2 / 2sigma^2) for k = -20:20]
        one = gaussian ./ sum(gaussian)
        total = one
        for _ = 2:clients
            total = [
                sum(total[j] * get(one, i - j + 1, 0.0) for j in eachindex(total))
                for i = 1:(length(total)+40)
            ]
        end
        bound = discrete_gaussian_rdp(α; sigma, clients, l1 = 1, l2 = 1, dimension = 1)
        @test shifted_divergence(total, α) <= bound * (1 + 1e-9)
        @test bound >= α / (2clients * sigma^2) * (1 - 1e-12)
    end
    @test discrete_gaussian_rdp(3; sigma = 4, clients = 1, l1 = 9, l2 = 3, dimension = 9) ==
          3 / 2 * 9 / 16
end

@testset "DP-FTRL: σ over the sensitivity of the worst client" begin
    # How often each node of the full binary trees holds an update, by counting.
    function worst(rounds, restart, participations, separation)
        best = 0
        for bits = 1:(2^rounds-1)
            times = filter(t -> isodd(bits >> (t - 1)), 1:rounds)
            length(times) <= participations && all(>=(separation), diff(times)) || continue
            nodes = Dict{Any,Int}()
            for t in times, level = 0:floor(Int, log2(restart))
                tree, leaf = fldmod(t - 1, restart)
                node = (tree, level, leaf >> level)
                nodes[node] = get(nodes, node, 0) + 1
            end
            best = max(best, sum(abs2, values(nodes)))
        end
        return best
    end
    for (rounds, restart, participations, separation) in
        (
        (7, 7, 1, 7),
        (8, 8, 1, 8),
        (8, 8, 2, 4),
        (8, 8, 8, 1),
        (9, 4, 3, 2),
        (10, 3, 1, 9)
    )
        σ = tree_noise(1.0, rounds; restart, participations, min_separation = separation)
        squared = worst(rounds, restart, participations, separation)
        @test σ^-2 >= squared * (1 - 1e-12)
        participations == 1 && @test σ^-2 ≈ squared
        participations == rounds && @test σ^-2 ≈ squared
    end
    @test tree_noise(2.0, 100) ≈ 2 / sqrt(ceil(log2(101)))
    @test tree_noise(2.0, 100; restart = 10) ≈ 2 / sqrt(4)
end

@testset "bad values are named" begin
    plan = (; noise_multiplier = 1.0, sampling_rate = 0.1, steps = 10, delta = 1e-5)
    said(; changed...) = message(() -> epsilon(; plan..., changed...))
    for σ in (0, -1, NaN, Inf, "1")
        @test startswith(said(; noise_multiplier = σ), "noise_multiplier is ")
    end
    @test said(; noise_multiplier = -1) ==
          "noise_multiplier is -1; expected a positive number"
    for q in (0, -0.1, 1.1, NaN, "all")
        @test occursin("expected a number above 0 and at most 1", said(; sampling_rate = q))
    end
    for δ in (0, 1, -1e-5, NaN, nothing)
        @test occursin("expected a number between 0 and 1", said(; delta = δ))
    end
    for n in (-1, 1.5, true, nothing, big(10)^30)
        @test occursin("steps is $n; expected a whole number from 0", said(; steps = n))
    end
    @test occursin("expected :poisson, :fixed or :none", said(; sampling = :all))
    @test occursin("expected :rdp or :pld", said(; accountant = :gdp))
    @test occursin(
        "can't account sampling :fixed",
        said(; sampling = :fixed, accountant = :pld)
    )
    @test occursin("expected numbers above 1",
        message(() -> RDPAccountant(; delta = 1e-5, orders = [0.5, 2])))
    pld = PLDAccountant(; delta = 1e-5)
    @test occursin("Gaussian noise alone", message(() -> compose!(pld, identity)))
    rdp = RDPAccountant(; delta = 1e-5)
    @test occursin("not negative", message(() -> compose!(rdp, α -> NaN)))
    @test occursin(
        "sigma is 0.4",
        message(
            () -> discrete_gaussian_rdp(2; sigma = 0.4,
                clients = 2, l1 = 1, l2 = 1, dimension = 1)
        )
    )
    @test occursin(
        "variance is -1",
        message(() -> skellam_rdp(2; variance = -1, l1 = 1, l2 = 1))
    )
    @test occursin(
        "participations is 0",
        message(() -> tree_noise(1.0, 5; participations = 0))
    )
    @test sprint(show, rdp) == "RDPAccountant(ε = 0.0, δ = 1.0e-5)"
    @test sprint(show, pld) == "PLDAccountant(0 steps, δ = 1.0e-5)"
    @test all(iszero, rdp.rdp) && epsilon(rdp) == 0 && isempty(pld.steps)
end

@testset "docstring examples: $file" for file in
                                         [
    "accountant",
    "calibration",
    "distributed_noise",
    "audit_bounds",
    "tree"
]
    source = read(joinpath(pkgdir(FedFlux), "src", "privacy", "$file.jl"), String)
    examples = [m[1] for m in eachmatch(r"```julia\n(.*?)```"s, source)]
    @test !isempty(examples)
    for example in examples
        for m in eachmatch(r"^(?:.*\S)? *# ([\d.e-]+)$"m, example)
            upto = example[1:(m.offset+ncodeunits(m.match)-1)]
            expected = parse(Float64, m[1])
            digits = length(replace(m[1], r"[^\d]" => "")) - 1
            value = include_string(@__MODULE__, upto)
            @test value ≈ expected rtol = 0.6 * 10.0^(1 - digits)
        end
    end
end
