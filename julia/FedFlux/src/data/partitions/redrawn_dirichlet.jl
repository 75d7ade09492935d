# Dirichlet shares, drawn until the smallest client is large enough.

"""
    RedrawnDirichlet(alpha = 0.5, min_size = 10)

Label skew as NIID-Bench draws it (Li et al. 2022, arXiv:2102.02079): for each label, the
clients' shares are drawn from a symmetric Dirichlet(`alpha`), and a client that has its
equal share of all samples gets none. All is drawn again until the smallest client has
`min_size` samples, at most 1,000 times. [`Dirichlet`](@ref) draws once, and fills small
clients from the largest.

```julia
FedFlux.RedrawnDirichlet(0.5)(rand(0:9, 1000), 10, Stream(0, :partition))
```
"""
struct RedrawnDirichlet
    alpha::Float64
    min_size::Int
end
RedrawnDirichlet(alpha = 0.5; min_size = 10) = RedrawnDirichlet(alpha, min_size)

construct(::Val{:partition}, ::Val{:dirichlet_redrawn}; alpha, min_size) =
    RedrawnDirichlet(alpha, min_size)

const MOST_DRAWS = 1000

function (partitioner::RedrawnDirichlet)(y, clients, rng)
    held = by_label(single_labels("dirichlet_redrawn", y))
    (; alpha, min_size) = partitioner
    n = numobs(y)
    min_size <= n ÷ clients || fail("partition dirichlet_redrawn: min_size is ", min_size,
        " for ", clients, " clients, and there are ", n, " samples; expected at most ",
        n ÷ clients)
    for _ = 1:MOST_DRAWS
        parts = draw_shares!(held, alpha, clients, n, rng)
        minimum(length, parts) >= min_size && return parts
    end
    fail("partition dirichlet_redrawn: in ", MOST_DRAWS, " draws, some client had fewer ",
        "than ", min_size, " samples: use a larger alpha than ", alpha, ", fewer clients, ",
        "a smaller min_size, or dirichlet, which fills small clients")
end

function draw_shares!(held, alpha, clients, n, rng)
    parts = [Int[] for _ = 1:clients]
    for samples in held
        shuffle!(rng, samples)
        shares = dirichlet!(rng, alpha, clients)
        for (k, part) in enumerate(parts)
            length(part) * clients >= n && (shares[k] = 0)
        end
        # All that aren't full may have drawn zero.
        sum(shares) > 0 || (shares .= [length(part) * clients < n for part in parts])
        foreach(append!, parts, proportional_cuts(samples, shares ./ sum(shares)))
    end
    return parts
end
