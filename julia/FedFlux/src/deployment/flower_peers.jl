# Peers that know nothing of FedFlux: a plain Flower client, which sends new weights, and a
# plain server, such as Flower's own FedAvg, which sends weights and wants new ones.

"""
    take_reply!(s::ServerSession, k, arrays, samples) -> reason or nothing

Take in the new weights of a plain client, arrays in model order, that trained on `samples`.
It knows no rules, so a federation that has some rejects it.
"""
take_reply!(s::ServerSession, k, arrays::Vector{<:Array}, samples) =
    take_or_reject(() -> plain_update(s, k, arrays, samples), s, k)

function plain_update(s::ServerSession, k, arrays, samples)
    (; f, st) = s
    s.stage == "train" || fail("holds weights in the clear, and the stage is ", s.stage)
    isempty(f.rules) || fail("is of a plain client, which doesn't know the rule ",
        nameof(typeof(first(f.rules))))
    isempty(st.stats) || fail("is of a plain client, and the model has statistics")
    samples == nsamples(s.clients, k) || fail("claims ", samples, " samples, and client ",
        k, " joined with ", nsamples(s.clients, k))
    delta = flat_model(arrays, f.layout, engine(s.pool)) .- st.θ
    # It tells no loss of its training.
    return Trained(k, Update(; delta), st.round + 1, 0.0, 0, s.downloaded[k])
end

# In the place of a federation's name.
const PLAIN_SERVER = zeros(UInt8, ID_BYTES)

"""
    answer!(c::ClientSession, arrays, kept) -> (facts, arrays, kept)

Train from the weights that a plain server sent, arrays in model order, and give the new
ones. The rules work on the client alone: those that need a server of FedFlux are refused
with a [`FedFluxError`](@ref).
"""
function answer!(c::ClientSession, arrays::Vector{<:Array}, kept)
    isempty(arrays) && fail("the server sent no arrays")
    ready = prepare!(c, size(last(arrays), 1), model_size(nothing, arrays, nothing))
    (; f, pool) = ready
    e = engine(pool)
    st = State(f, e)
    st.θ .= flat_model(arrays, f.layout, e)
    like = expected_shape(f.rules, st, 1)
    keys(like.vectors) == (:delta,) && isempty(like.metrics) && like.stats == 0 ||
        fail("the server knows no rules and no statistics, and this client would send ",
            join((keys(like.vectors)..., keys(like.metrics)...), ", "))
    f.aggregate isa Mean || fail("the server takes the plain mean, and aggregate is ",
        nameof(typeof(f.aggregate)), " here")
    states = ClientStates(kept, PLAIN_SERVER)
    before = maximum(states.rounds; init = 0)
    check_round(c, f, before + 1)       # each message is a round
    st.round = before
    kept_state = state_after!(states, before, before)
    private = kept_state === nothing ? private_init(f.rules, st.θ) : kept_state.private
    trained = with_blas_threads(() -> local_round(ready, st, 1, 1, private, 1), 1)
    remember!(states, st.round + 1, (; trained.private))
    θ = st.θ .+ decoded(trained.update.delta)
    facts = (; client = 1, round = st.round + 1, stage = "train",
        train_facts(c, trained)...)
    return facts, FedFlux.arrays(to_model!(similar(θ), e, θ), f.layout), kept_bytes(states)
end
