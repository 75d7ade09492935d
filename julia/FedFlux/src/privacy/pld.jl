# Privacy-loss distributions (PLD): the distribution of L = log P(x)/Q(x) for x ~ P, where P
# and Q are the noisy sums with and without one client. Losses of steps add up:
# pld_composition.jl convolves their distributions, and δ(ε) = E[max(0, 1 − exp(ε − L))].
#
# A loss is kept as probabilities on a grid of spacing h. "Connect the dots" (Doroshenko et
# al. 2022, arXiv:2207.04380) splits the mass between two points of the grid so that both P
# and Q keep theirs: δ(ε) is then exact on the grid and never too small between its points.

"Standard deviations on each side of a Gaussian that are kept; less than e^-50 is beyond."
const KEPT_DEVIATIONS = 9.75

"""
The loss of one step on the grid: `mass[i]` is the probability of the loss
`(first + i - 1)h`, `infinite` that of an infinite one.
"""
struct LossGrid
    first::Int
    mass::Vector{Float64}
    infinite::Float64
end

"log((1 − q)N(0, σ²) + q N(1, σ²)) − log N(0, σ²) at `x`."
function mixture_loss(x, σ, q)
    t = (2x - 1) / σ / 2σ
    return t > 1 ? t + log(q + (1 - q) * exp(-t)) : log1p(q * expm1(t))
end

"The `x` of a loss, −Inf for one below all."
function mixture_loss_inverse(loss, σ, q)
    loss > 1 && return σ * (σ * (loss + log1p(-(1 - q) * exp(-loss)) - log(q))) + 0.5
    change = expm1(loss) / q
    return change > -1 ? σ * (σ * log1p(change)) + 0.5 : -Inf
end

"The lowest and the highest loss that a grid must hold if a client is removed."
loss_range(σ, q) =
    map(x -> mixture_loss(x, σ, q), (-1, 1) .* KEPT_DEVIATIONS .* σ .+ (0, 1))

"""
    loss_grid(σ, q, h, removed)

The loss of one step of the Gaussian mechanism with noise multiplier `σ` on a Poisson cohort
with rate `q`, on a grid of spacing `h`. If a client is removed, P is the mixture
(1 − q)N(0, σ²) + q N(1, σ²) and Q is N(0, σ²); if one is added, the two change places.
What lies below the grid is moved up to its first point, what lies above to infinity.
"""
function loss_grid(σ, q, h, removed)
    low, high = removed ? loss_range(σ, q) : .-reverse(loss_range(σ, q))
    first, last = floor(Int, low / h), ceil(Int, high / h)
    mass = zeros(last - first + 1)
    tails_at(i) = gaussian_tails(mixture_loss_inverse(removed ? i * h : -i * h, σ, q), σ)
    mixed(p) = (1 - q) * p[1] + q * p[2]
    here = tails_at(first)
    mass[1] = removed ? mixed(here.below) : here.above[1]
    for i = 1:(length(mass)-1)
        next = tails_at(first + i)
        between = removed ? interval(here, next) : interval(next, here)
        p, r = removed ? (mixed(between), between[1]) : (between[1], mixed(between))
        up = upper_share(p, r, (first + i - 1) * h, h)
        mass[i] += p - up
        mass[i+1] += up
        here = next
    end
    return LossGrid(first, mass, removed ? mixed(here.above) : here.below[1])
end

# Of the mass p between the losses l and l + h, the part that goes to l + h: the rest at l,
# together with it, has the mass r under Q. All of it where r is too small for Float64.
upper_share(p, r, l, h) =
    r > 1e-290 && l < 600 ? clamp((p - exp(l) * r) / -expm1(-h), 0, p) : p

"The probabilities below and above `x` of N(0, σ²) and of N(1, σ²)."
function gaussian_tails(x, σ)
    z = (x / σ, (x - 1) / σ) ./ sqrt(2)
    return (; z, below = erfc.(.-z) ./ 2, above = erfc.(z) ./ 2)
end

"The probabilities between two points, each as a difference of the smaller tails."
interval(a, b) =
    map(a.z, b.below .- a.below, a.above .- b.above) do z, below, above
        max(0.0, z > 0 ? above : below)
    end

"""
    gaussian_epsilon(σ, delta)

The smallest ε for `delta` of the Gaussian mechanism with noise multiplier `σ`, from the
exact δ(ε) = Φ(1/2σ − εσ) − exp(ε) Φ(−1/2σ − εσ). Balle & Wang 2018, arXiv:1805.06530,
Theorem 8.
"""
function gaussian_epsilon(σ, delta)
    gaussian_delta(0.0, σ) <= delta && return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(high, σ) > delta
        low, high = high, 2high
    end
    while high - low > 1e-12 * high
        middle = (low + high) / 2
        gaussian_delta(middle, σ) > delta ? (low = middle) : (high = middle)
    end
    return high
end

function gaussian_delta(ε, σ)
    a, b = ε * σ - 1 / 2σ, ε * σ + 1 / 2σ
    return (erfc(a / sqrt(2)) - exp(-a^2 / 2) * erfcx(b / sqrt(2))) / 2
end
