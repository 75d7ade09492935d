# What a client downloads if the server compresses its steps: those of the rounds since
# it last took part, if they are fewer bytes than the model, which it then has itself.

"The steps that a server published, for those that have the model before them."
mutable struct StepHistory
    known::Int                          # rounds up to this one are forgotten
    encoded::Vector{Vector{UInt8}}      # of the rounds after it; no bytes: nothing changed
end

compresses_steps(rules::Tuple) = any(r -> r isa Download, rules)

"""
Take the step of a round that has just ended, as it was published, or `nothing` if the model
stayed as it was. Steps that are together longer than the model, `most` bytes, are
forgotten.
"""
function note_step!(s::StepHistory, step, most)
    push!(s.encoded, step === nothing ? UInt8[] : step.bytes)
    while sum(length, s.encoded; init = 0) > most
        popfirst!(s.encoded)
        s.known += 1
    end
end

"""
    download(s::StepHistory, θ, since) -> (; since, steps) or θ

What a client downloads that has the model with which round `since` began (0: none).
"""
function download(s::StepHistory, θ, since)
    since > s.known || return θ
    steps = s.encoded[(since-s.known):end]
    return sum(length, steps; init = 0) < sizeof(θ) ? (; since, steps) : θ
end

"""
    model_from(sent, states::ClientStates, rules, layout) -> θ

The model that a client downloaded: sent whole, or as steps from the one that it has.
"""
model_from(sent::Vector{Float32}, states, rules, layout) =
    length(sent) == layout.n ? sent :
    fail("holds a model of ", length(sent), " values, and this one has ", layout.n)
function model_from(sent::NamedTuple, states, rules, layout)
    i = findlast(==(field(Int, sent, :since)), states.rounds)
    i === nothing &&
        fail("holds steps from a model that this client has lost: let it join anew")
    θ = copy(states.states[i].θ)
    download = rules[findfirst(r -> r isa Download, rules)]
    own = findfirst(r -> r isa PrivateArrays, rules)
    shared = own === nothing ? nothing : local_arrays(rules[own]).shared
    for bytes in field(Vector{Vector{UInt8}}, sent, :steps)
        isempty(bytes) || (θ .+= decode_kept(download.compressor, bytes, layout.n, layout,
            shared))
    end
    return θ
end
