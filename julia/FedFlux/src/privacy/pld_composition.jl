# The loss of all steps: the distributions of single steps, convolved through the Fourier
# transform (Koskela, Jälkö, Honkela 2020, arXiv:1906.03049).

"The spacing of the grid of losses: that of dp-accounting."
const LOSS_INTERVAL = 1e-4

"Longer grids become coarser, which costs accuracy and no validity."
const LONGEST_GRID = 2^22

"The mass beyond each end of the composed grid, as a share of δ; it is added to δ."
const TAIL_SHARE = 1e-7

"""
What rounding may add to or take from δ for each step; it is added. The transform's error is
about 2^-53 at each frequency, and raising to the power of the count multiplies it by that.
Beside a transform in 128 bits, δ was wrong by at most this, and by a tenth of it if δ is
small.
"""
const ROUNDING = 2.0^-53

"""
    pld_epsilon(steps, delta; interval = LOSS_INTERVAL)

The smallest ε for `delta` of all `steps`, a list of (noise multiplier, sampling rate,
count), the larger one of removing and of adding a client. Rounded up: losses between points
of the grid and beyond its ends never count for less than they are, and rounding is added to
δ. Infinite if that is more than `delta`: millions of steps and a tiny `delta`.
"""
function pld_epsilon(steps, delta; interval = LOSS_INTERVAL)
    steps = join_unsampled(steps)
    isempty(steps) && return 0.0
    length(steps) == 1 && steps[1].rate == 1 &&
        return gaussian_epsilon(steps[1].noise, delta)
    h = float(interval)
    for (σ, q, _) in steps
        low, high = loss_range(σ, q)
        while high - low > LONGEST_GRID / 4 * h
            h *= 2
        end
    end
    while true
        ε = composed_epsilon(steps, delta, h)
        ε === nothing || return ε
        h *= 2
    end
end

"Steps without sampling are one Gaussian mechanism: 1/σ² adds up."
function join_unsampled(steps)
    every = [(; noise, rate, count) for (noise, rate, count) in steps]
    sampled = filter(s -> s.rate < 1, every)
    precision = sum(s -> s.count / s.noise^2, filter(s -> s.rate == 1, every); init = 0.0)
    precision > 0 && push!(sampled, (; noise = 1 / sqrt(precision), rate = 1.0, count = 1))
    return sampled
end

function composed_epsilon(steps, delta, h)
    counts = [s.count for s in steps]
    grids = map((true, false)) do removed
        [loss_grid(float(s.noise), float(s.rate), h, removed) for s in steps]
    end
    windows = map(g -> window(g, counts, TAIL_SHARE * delta), grids)
    n = nextpow(2, maximum(length, windows))
    n <= LONGEST_GRID || return nothing
    composed = convolve(grids, counts, n)
    return maximum(1:2) do side
        finite = sum(c * log1p(-g.infinite) for (c, g) in zip(counts, grids[side]))
        infinite = TAIL_SHARE * delta + ROUNDING * sum(counts) - expm1(finite)
        mass(i) = max(0.0, reim(composed[mod(i, n)+1])[side])
        epsilon_of_losses(mass, windows[side], infinite, h, delta)
    end
end

"""
    window(grids, counts, tail)

Points of the grid outside of which, on each side, the sum of `counts[i]` losses of each
`grids[i]` has at most the probability `tail`: by Chernoff's bound at a few λ, or all points
if those are fewer.
"""
function window(grids, counts, tail)
    lowest = sum(counts .* [g.first for g in grids])
    highest = lowest + sum(counts .* [length(g.mass) - 1 for g in grids])
    deviation = sqrt(sum(counts .* variance.(grids)))
    longest = maximum(g -> length(g.mass), grids)
    scales = [2.0 .^ (-1:5) ./ longest; sqrt(-2log(tail)) / deviation .* (0.5, 1, 2)...]
    bound(λ) = (sum(counts .* log_mgf.(grids, λ)) - log(tail)) / λ
    for λ in filter(isfinite, scales)
        above, below = bound(λ), bound(-λ)
        isfinite(above) && (highest = min(highest, ceil(Int, above)))
        isfinite(below) && (lowest = max(lowest, floor(Int, below)))
    end
    return lowest:highest
end

function variance(g)
    points = g.first .+ (0:(length(g.mass)-1))
    mean = dot(points, g.mass)
    return sum(g.mass .* (points .- mean) .^ 2)
end

"log E[exp(λ loss/h)] over the finite losses."
function log_mgf(g, λ)
    origin = λ > 0 ? length(g.mass) : 1       # where the largest exponent is 0
    total = sum(g.mass[i] * exp(λ * (i - origin)) for i in eachindex(g.mass))
    return λ * (g.first + origin - 1) + log(total)
end

"""
    convolve((removed, added), counts, n)

The distribution of the sum of `counts[i]` losses of each grid, its point j at
`mod(j, n) + 1`: of a removed client in the real part, of an added one in the imaginary
part, since one complex transform gives those of two real vectors.
"""
function convolve((removed, added), counts, n)
    roots, scratch = roots_of_unity(n), Vector{ComplexF64}(undef, n)
    product = ones(ComplexF64, n ÷ 2 + 1, 2)
    for (r, a, count) in zip(removed, added, counts)
        z = zeros(ComplexF64, n)
        wrap!(z, r, 1)
        wrap!(z, a, im)
        transformed = fft!(z, scratch, roots)
        for k = 0:(n÷2)
            x, y = transformed[k+1], conj(transformed[mod(-k, n)+1])
            product[k+1, 1] *= ((x + y) / 2)^count
            product[k+1, 2] *= ((x - y) / 2im)^count
        end
    end
    z = zeros(ComplexF64, n)
    # The inverse transform is the conjugate of the forward one of the conjugate, over n.
    for k = 0:(n÷2)
        x, y = product[k+1, 1], product[k+1, 2]
        z[k+1] = conj(x + im * y) / n
        z[mod(-k, n)+1] = conj(conj(x) + im * conj(y)) / n
    end
    return conj!(fft!(z, scratch, roots))
end

function wrap!(z, grid, factor)
    for (i, p) in enumerate(grid.mass)
        z[mod(grid.first+i-1, length(z))+1] += p * factor
    end
end

# Downwards from the highest loss: `upper` is the P-mass so far, `lower` its Q-mass times
# exp(loss). δ(loss) = upper − lower; below this point δ(ε) = upper − lower exp(ε − loss).
function epsilon_of_losses(mass, points, infinite, h, delta)
    infinite > delta && return Inf
    upper, lower, decay = infinite, 0.0, exp(-h)
    for i in reverse(points)
        next = lower * decay
        upper - next > delta && return max(0.0, (i + 1) * h + log((upper - delta) / lower))
        i <= 0 && return 0.0
        m = mass(i)
        upper += m
        lower = next + m
    end
    return max(0.0, first(points) * h)
end
