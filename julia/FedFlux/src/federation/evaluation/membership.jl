# Membership inference on the global model while it trains: are the samples that it was
# trained on told from others by their losses?

"What membership inference made of a round."
const MembershipGuesses =
    @NamedTuple{round::Int, auc::Float64, accuracy::Float64, epsilon::Float64}

"""
    MembershipInference(f, st, clients, test; pool = WorkerPool(f, clients; threads = 1),
                        samples = 500, confidence = 0.95)

An attack on the global model after each round, for [`fit!`](@ref): as its `callback`, or as
`membership`, with what it finds in the history. A sample whose loss is at most some
threshold is taken for one that a client holds (Yeom et al., arXiv:1709.01604, Adversary 2).
It never ends a run. `st` is the state that `fit!` changes.

- `test`: `(x, y)`, samples of the same kind that no client holds.
- `samples`: how many of each are attacked at most, spread over all; half of them choose the
  threshold, the other half count.
- `confidence`: of the limit.

As a callback it keeps in its field `history` a NamedTuple for each round: `round`; `auc`,
the probability that a client's sample has a smaller loss than another (0.5: they look
alike); `accuracy` of the guesses; and `epsilon`, the limit for ε, of pure differential
privacy for one sample, that lies below the true one with this confidence if a fair coin
decided which samples the clients got (Steinke et al., arXiv:2305.08846, Theorem 5.2 with
δ = 0). Small figures prove nothing, since stronger attacks exist.

Throws a [`FedFluxError`](@ref) for fewer than four samples of either kind.

```julia
f = Federated(softmax_regression(4, 2))
clients = Clients(rand(Float32, 4, 60), rand(0:1, 60), [1:30, 31:60])
pool = FedFlux.WorkerPool(f, clients)
st = State(f, pool)
attack = MembershipInference(f, st, clients, (rand(Float32, 4, 60), rand(0:1, 60)))
fit!(f, st, clients; rounds = 2, pool, callback = attack)
last(attack.history).auc
```
"""
struct MembershipInference{F<:Federated,C<:Clients,T<:Tuple,P<:WorkerPool}
    f::F
    st::State
    clients::C
    test::T
    pool::P
    members::Vector{Int}
    others::Vector{Int}
    confidence::Float64
    history::Vector{MembershipGuesses}
end

function MembershipInference(f, st, clients, test;
    pool = WorkerPool(f, clients; threads = 1), samples = 500, confidence = 0.95)
    x, y = test
    held = sort!(unique(clients.order))
    n = min(samples, length(held), numobs(x))
    n >= 4 || fail("membership inference needs four samples of clients and four others; ",
        "there are ", length(held), " and ", numobs(x), ", and samples is ", samples)
    check_confidence(confidence)
    return MembershipInference(f, st, clients, (x, y), pool, spread_over(held, n),
        spread_over(1:numobs(x), n), Float64(confidence), MembershipGuesses[])
end

check_confidence(c) =
    0.5 <= c < 1 || fail("confidence is ", c, "; expected at least 0.5 and less than 1")

spread_over(v, n) = [v[1+(i-1)*length(v)÷n] for i = 1:n]

function (a::MembershipInference)(record)
    push!(a.history, (; record.round, infer_membership(a)...))
    return false
end

"What the attack makes of the model as it is: `(; auc, accuracy, epsilon)`."
infer_membership(::Nothing) = nothing
function infer_membership(a::MembershipInference)
    members = losses_one_by_one(a, a.clients.x, a.clients.y, a.members)
    others = losses_one_by_one(a, a.test..., a.others)
    auc = mean((m < o) + (m == o) / 2 for m in members, o in others)
    right, n = guesses(members, others)
    p = 1 - binomial_upper(n - right, n, a.confidence)
    return (; auc, accuracy = right / n, epsilon = p > 0.5 ? log(p / (1 - p)) : 0.0)
end

"""
How many guesses are right, of how many: samples at odd places choose the threshold, those
at even places count.
"""
function guesses(members, others)
    right(t, places) =
        count(<=(t), view(members, places)) + count(>(t), view(others, places))
    n = length(members)
    choosing, counting = 1:2:n, 2:2:n
    losses = [view(members, choosing); view(others, choosing)]
    threshold = argmax(t -> right(t, choosing), sort!(losses))
    return right(threshold, counting), 2length(counting)
end

function losses_one_by_one(a::MembershipInference, x, y, samples)
    e = engine(a.pool)
    (; θ, stats) = returned_state(a.f, a.st)
    setstats!(e, stats)
    return [sumloss(Returns(nothing), e, a.f.loss, θ, x, y, i:i) for i in samples]
end
