# Which rules and aggregators don't go together, and why.

"""
    conflict(r::Rule, a::Aggregator) -> reason or nothing

Why a rule can't be used with an aggregator, or `nothing`.
"""
function conflict(r::Rule, a::Aggregator)
    sees_each(r) && a isa Union{SecureMean,CKKS} &&
        return "its server sees each update with its sender, and here nobody does"
    why = needs_mean(r)
    return why === nothing || ismean(a) ? nothing :
           "it needs the weighted mean of the updates, and $(title(a)) is none: " *
           why
end

"""
    needs_mean(r::Rule) -> reason or nothing

Why the server's part of a rule is right for the weighted mean of the updates alone, as
[`ismean`](@ref) tells of an aggregator; `nothing` if any aggregate does.
"""
needs_mean(::Rule) = nothing
needs_mean(::Union{Reweighing,FedCM}) = "its server divides by what clients report"
needs_mean(::FedProto) = "its server weighs class means by their numbers of samples"
needs_mean(
    ::Union{MimeLite,Mime}
) = "its momentum is the mean of the clients' full gradients"
needs_mean(::FedDisco) = "its server weighs the updates anew"
needs_mean(::IFCA) = "each cluster's model takes a mean of its own"
needs_mean(::FedExP) = "its server's step grows with what clients report"
needs_mean(
    ::FedNova
) = "its server multiplies by what clients report, whatever bound the aggregate keeps"
needs_mean(
    ::DriftCorrection
) = "what its server keeps is the mean of what its clients keep"
needs_mean(::CountSketch) = "sketches add up, and nothing else can be made of them"
needs_mean(::CentralDP) = "the noise is meant for the sum of all updates"

conflict(
    ::Asynchronous,
    ::FLTrust
) = "FLTrust gives every update the same length, which cancels the weight of stale ones"
conflict(
    ::DPSGD,
    ::FLTrust
) = "the server trains on the samples set aside without clipping and noise"

conflict(
    ::Union{Compressor,Pruning,Download},
    ::CKKS
) = "an encrypted vector has all its values, whatever they are, so it gets no smaller"
conflict(
    ::Union{Reweighing,FedExP,FedProto},
    ::CKKS
) = "its server divides by means that may be as small as the error of the encryption"

conflict(
    ::CentralDP,
    ::SecureMean
) = "a cohort may be too small for masks; its parameter noise adds noise under them"

conflict(
    ::Union{Compressor,Pruning},
    ::SecureMean
) = "the masked vector is dense, so what the rule leaves out would be sent all the same"
conflict(
    ::Asynchronous,
    ::SecureMean
) = "clients send at different times, and masks cancel only in the sum of one cohort"
conflict(
    ::AFL,
    ::SecureMean
) = "it reports each client's loss in a place of its own, which the sum would show"

conflict(::Union{FedNova,QFFL,TERM,FedExP,FedCM}, a::SecureMean) =
    a.noise === nothing ? nothing : "it reports metrics, which the noise doesn't cover"

conflict(::Union{DriftCorrection,FedProto}, a::SecureMean) =
    a.clip === nothing ? nothing :
    "its clients keep what they sent, and the sum holds it clipped and with noise"

conflict(::Union{LocalDP,DPSGD}, a::SecureMean) =
    a.noise === nothing ? nothing :
    "with its noise each protects something else, and the history tells one ε"

"""
    conflict(r::Rule, optimizer) -> reason or nothing

Why a rule can't be used with an optimizer of the server's, or `nothing`.
"""
conflict(::Rule, ::Optimisers.AbstractRule) = nothing
conflict(
    ::Mime,
    ::Optimisers.AbstractRule
) = "the optimizer would step in the rounds in which clients only send their gradients"

conflict(
    ::IFCA,
    ::Optimisers.AbstractRule
) = "each cluster's model takes the mean of its own updates"

check_server(rules, ::Nothing) = nothing
function check_server(rules, optimizer)
    for r in rules
        reason = conflict(r, optimizer)
        reason === nothing || fail("rule ", nameof(typeof(r)), " and a server optimizer, ",
            nameof(typeof(optimizer)), ", don't go together: ", reason)
    end
end

function check_aggregator(rules, aggregate)
    for r in rules
        reason = conflict(r, aggregate)
        reason === nothing ||
            fail("rule ", nameof(typeof(r)), " and aggregate ", title(aggregate),
                " don't go together: ", reason)
    end
end

"Throw if BatchNorm would be sent with noise: a variance may become negative."
function check_statistics(rules, aggregate, model)
    noisy = any(r -> r isa Union{CentralDP,LocalDP}, rules) || adds_noise(aggregate)
    noisy && !isempty(statistics(model)) && !any(r -> r isa FedBN, rules) &&
        fail("the model has BatchNorm, and noise would make its variances negative: use ",
            "GroupNorm or LayerNorm, freeze it, or keep the statistics private with rule ",
            "FedBN")
end

adds_noise(aggregate) = false
adds_noise(a::SecureMean) = a.noise !== nothing
