# Data sets that are drawn: Li et al.'s synthetic(α, β) and NIID-Bench's FCUBE.

const SYNTHETIC_FEATURES, SYNTHETIC_CLASSES = 60, 10
const MOST_OF_DEVICE = 100_000      # samples; the law of their numbers has no bound

"""
    synthetic(; alpha = 1.0, beta = 1.0, devices = 30, seed = 0) -> Dataset

Devices that each draw a model and inputs of their own. Device k has

    u_k ~ N(0, α²),   W_k, b_k ~ N(u_k, 1),   B_k ~ N(0, β²),   v_k ~ N(B_k, 1),
    x ~ N(v_k, Σ),    Σ_jj = j^(-1.2),        y = argmax(W_k x + b_k),

with 60 features, 10 classes and ⌊exp(4 + 2z)⌋ + 50 samples, z ~ N(0, 1), at most 100,000.
The last tenth of each device's samples is test data. α and β are standard deviations, as in
the authors' program. The owners are the devices, from 1.

Li et al., arXiv:1812.06127, section 5.1.

```julia
FedFlux.run(dataset = "synthetic(alpha=0.5, beta=0.5)", partition = "owner")
```
"""
function synthetic(; alpha = 1.0, beta = 1.0, devices = 30, seed = 0)
    drawn = [device(Stream(seed, :data, 0, k), alpha, beta) for k = 1:devices]
    first_part(n) = 1:(9n÷10)
    last_part(n) = (9n÷10+1):n
    part(range) = join_last([x[:, range(size(x, 2))] for (x, _) in drawn])
    labels(range) = concatenated(Int, [y[range(length(y))] for (_, y) in drawn])
    owners(range) = concatenated(Int,
        [fill(k, length(range(length(y)))) for (k, (_, y)) in enumerate(drawn)])
    return Dataset(part(first_part), labels(first_part), part(last_part),
        labels(last_part); name = "synthetic", owner = owners(first_part),
        owner_test = owners(last_part))
end

function device(rng, α, β)
    n = min(floor(Int, exp(4 + 2 * normal!(rng))), MOST_OF_DEVICE - 50) + 50
    u, B = α * normal!(rng), β * normal!(rng)
    W = [u + normal!(rng) for _ = 1:SYNTHETIC_CLASSES, _ = 1:SYNTHETIC_FEATURES]
    b = [u + normal!(rng) for _ = 1:SYNTHETIC_CLASSES]
    v = [B + normal!(rng) for _ = 1:SYNTHETIC_FEATURES]
    σ = [j^-0.6 for j = 1:SYNTHETIC_FEATURES]
    x = [v[j] + σ[j] * normal!(rng) for j = 1:SYNTHETIC_FEATURES, _ = 1:n]
    y = [argmax(W * s + b) - 1 for s in eachcol(x)]
    return Float32.(x), y
end

"""
    fcube(; samples = 4000, seed = 0) -> Dataset

Points in the cube [-1, 1]³, of class 0 if their first coordinate is positive and of class 1
if not. Each of four owners holds an octant and the one opposite, with as many points in
both, so that owners differ in features and not in labels. A quarter as many points are test
data. `samples` is rounded down to a multiple of 8.

Li et al., arXiv:2102.02079, section 4.2.

```julia
FedFlux.run(dataset = "fcube", partition = "owner", model = "mlp", hidden = [8])
```
"""
function fcube(; samples = 4000, seed = 0)
    train = cube_points(Stream(seed, :data, 1), max(samples ÷ 8, 1))
    test = cube_points(Stream(seed, :data, 2), max(samples ÷ 32, 1))
    return Dataset(train.x, train.y, test.x, test.y; name = "fcube", owner = train.owner,
        owner_test = test.owner)
end

"`n` points of each octant."
function cube_points(rng, n)
    x, y, owner = zeros(Float32, 3, 8n), zeros(Int, 8n), zeros(Int, 8n)
    for i = 1:(8n)
        k = (i - 1) ÷ 2n            # the owner from 0, whose octants alternate
        signs = (1, k < 2 ? 1 : -1, iseven(k) ? 1 : -1)
        y[i], owner[i] = (i - 1) % 2, k + 1
        for j = 1:3
            x[j, i] = (y[i] == 0 ? 1 : -1) * signs[j] * (1 - rand(rng, Float32))
        end
    end
    return (; x, y, owner)
end
