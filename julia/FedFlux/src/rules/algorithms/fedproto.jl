# FedProto: Tan et al., FedProto: Federated Prototype Learning across Heterogeneous Clients,
# arXiv:2105.00243, Algorithm 1.

"""
    FedProto(; lam = 1)

Clients share prototypes, the mean features of each class, and keep their models to
themselves. The loss of a sample with label y and features h, what the last layer takes,
gets the term `λ ‖h − C̄_y‖²/d`, where d is the number of features and

    C̄_c = Σₖ n_kc C_kc / Σₖ n_kc

is the mean of the clients' own prototypes `C_kc`, weighted by their numbers of samples. A
class that nobody of a cohort has keeps its prototype, and one that nobody has had yet adds
nothing. A client's prototypes are the mean features that its model had in the last epoch of
its training, as each sample was seen. The paper computes them after training, in one more
pass.

The global model keeps its initial values: what counts are the clients' own
(`personal_accuracy`). Needs cross-entropy on integer labels. Throws a
[`FedFluxError`](@ref) for a model that doesn't end with a linear Dense layer with a bias.

Tan et al., arXiv:2105.00243, Algorithm 1.

```julia
Federated(mlp(4, 2; hidden = (8,)); rules = (FedProto(lam = 1),))
```
"""
struct FedProto <: Rule
    lam::Float32
    features::Int
    classes::Int
end
FedProto(; lam = 1) = FedProto(lam, 0, 0)

check_model(r::FedProto, model) = check_linear_end(r, model)

function prepare(r::FedProto, layout, training)
    output_layer("FedProto", layout)
    classes, features = layout.slots[end-1].dims
    return FedProto(r.lam, features, classes)
end

init(r::FedProto, θ) =
    ((; means = zeros32(r.features * r.classes), known = zeros32(r.classes)), nothing)

for_client(::FedProto, shared, client) = shared

download_bytes(::FedProto, s, bytes, ctx) =
    sum(sizeof, s.shared) + (s.private === nothing ? bytes : 0)

personalises(::FedProto) = true
personal!(::FedProto, private, m) = copy_personal!(m, private)

function receive!(r::FedProto, s, m, ctx, own)
    personal!(r, s.private, m)
    return (; sums = zeros32(r.features * r.classes), counts = zeros32(r.classes))
end

teaches(::FedProto) = true

function teach!(r::FedProto, s, student, teachers, labels, ctx)
    (; sums, counts) = s.private
    (; means, known) = s.shared
    (; h, dh) = student
    # A new epoch begins when all samples were seen.
    sum(counts) >= ctx.samples && (fill!(sums, 0); fill!(counts, 0))
    term, n = 0.0f0, length(labels)
    for (j, y) in enumerate(labels)
        counts[y+1] += 1
        for i = 1:r.features
            at = y * r.features + i
            sums[at] += h[i, j]
            known[y+1] == 0 && continue
            gap = h[i, j] - means[at]
            term += gap^2
            dh[i, j] += 2 * r.lam / (n * r.features) * gap
        end
    end
    return r.lam / (n * r.features) * term
end

# The aggregator weighs by ctx.weight, so everything is divided by it: samples count alike.
function client!(::FedProto, s, u, ctx)
    (; sums, counts) = s.private
    fill!(u.stats, 0)
    delta = Masked(fill!(u.delta, 0), Int[])
    private = (; w = copy(ctx.w), stats = copy(ctx.stats))
    return private,
    Update(u; delta, sums = sums ./ ctx.weight, counts = counts ./ ctx.weight)
end

kept(::FedProto, shared, name, known) = Int[]
hide!(::FedProto, shared, v) = fill!(v, 0)

nobody_sent(r::FedProto, u) =
    Update(u; sums = zeros32(r.features * r.classes), counts = zeros32(r.classes))

function server!(r::FedProto, s, ū, ctx)
    means, known = copy(s.shared.means), copy(s.shared.known)
    for c in findall(>(0), ū.counts)
        of_class = ((c-1)*r.features+1):(c*r.features)
        means[of_class] .= view(ū.sums, of_class) ./ ū.counts[c]
        known[c] = 1
    end
    return (; means, known), Update(ū; delta = zero(ū.delta))
end
