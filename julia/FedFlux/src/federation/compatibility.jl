# Which rules go together, and in which order. Federated checks this when it is made.

"""
    chain_position(r::Rule) -> Int

Where a rule stands in a chain, whatever the order in which rules are given: 0 for those
that change the loss itself, 1 for those that read the whole local update (and a user's
own), 2 for what replaces it, 3 for what reweighs it, 4 for staleness, 5 for private arrays,
6 for pruning, 7 for the privacy of what is sent, 8 for compression, 9 for what measures
what is sent, 10 for the compression of the download.
"""
chain_position(::Rule) = 1
chain_position(::Union{LabelCounts,FedSAM,PerFedAvg,PFedMe,FedNTD,MOON,FedALA}) = 0
chain_position(::FedSGD) = 2
chain_position(::Union{FedNova,QFFL,AFL,TERM}) = 3
chain_position(::FedBuff) = 4
chain_position(::Union{PrivateArrays,FedProto}) = 5
chain_position(::Pruning) = 6
chain_position(::Union{CentralDP,LocalDP}) = 7
chain_position(::Compressor) = 8
chain_position(::FedExP) = 9
chain_position(::Download) = 10

"The rules in the order of their positions, after checking that all go together."
function ordered_chain(rules::Tuple)
    for r in rules
        r isa Rule || fail("rules contain ", repr(r), ", a ", typeof(r),
            "; expected FedFlux.Rule objects")
    end
    chain = Tuple(sort!(collect(Any, rules); by = chain_position, alg = MergeSort))
    for i in eachindex(chain), j = 1:(i-1)
        reason = something(conflict(chain[j], chain[i]), conflict(chain[i], chain[j]), "")
        isempty(reason) ||
            fail("rules ", nameof(typeof(chain[j])), " and ", nameof(typeof(chain[i])),
                " don't go together: ", reason)
    end
    return chain
end

"""
    conflict(a::Rule, b::Rule) -> reason or nothing

Why two rules can't be used together, or `nothing`. Asked in both orders.
"""
function conflict(a::Rule, b::Rule)
    personalises(a) && personalises(b) && return "both give clients models of their own"
    single = chain_position(a) == chain_position(b) in (3, 6, 7, 8, 9, 10)
    single && return "only one of this kind can be used"
    typeof(a) == typeof(b) && chain_position(a) != 1 && return "it is given twice"
    return nothing
end

"Rules that keep, on both sides, how far clients drift from the mean of all."
const DriftCorrection = Union{Scaffold,FedDyn,FedDC,FedADMM}
"Rules with a momentum of the server's in the clients' steps."
const ServerMomentum = Union{FedCM,MimeLite}
"Rules that ask for the gradient of a batch at other points."
const Regrading = Union{FedSAM,PerFedAvg,PFedMe,APFL}
"Rules whose server's model follows from the plain weighted mean of the updates."
const MeanFollowing = Union{FedDyn,FedDC,FedADMM}
"Rules that weigh the updates anew in each round."
const Reweighing = Union{QFFL,AFL,TERM}
"Rules whose clients report numbers beside their update."
const Reporting = Union{FedNova,Reweighing,FedExP,FedCM,FedADMM}

conflict(
    ::Union{FedProx,MeanFollowing},
    ::FedNova
) = "FedNova's normalization holds for plain local steps only"
conflict(
    a::Union{Reweighing,FedNova,FedExP},
    b::MeanFollowing
) = "$(nameof(typeof(b)))'s correction holds for the plain weighted mean only"
conflict(
    ::Union{DriftCorrection,ServerMomentum},
    ::Union{DriftCorrection,ServerMomentum}
) = "both correct the drift of local steps"
conflict(
    ::FedSGD,
    ::Union{DriftCorrection,FedProx,ServerMomentum,FedRS,Regrading}
) = "FedSGD takes no local steps that could be corrected"
conflict(
    ::FedExP,
    ::Union{Reweighing,FedNova}
) = "both set the length of the server's step"
conflict(
    ::ServerMomentum,
    ::PrivateArrays
) = "its momentum has nothing for private arrays, whose steps it would only shorten"
conflict(
    ::FedADMM,
    ::PrivateArrays
) = "its dual variables would pull on private arrays, too"
conflict(::PrivateArrays, ::PrivateArrays) = "both say which arrays are shared"
conflict(
    ::FedRS,
    ::Union{DriftCorrection,ServerMomentum,FedSAM}
) = "it trains the last layer on a scale that the correction doesn't know"
conflict(
    ::LabelCounts,
    ::Union{PFedMe,APFL}
) = "the latter trains a second model, whose logits would be left as they are"
conflict(
    ::Union{PerFedAvg,PFedMe},
    ::Union{FedProx,DriftCorrection,ServerMomentum,FedNova,FedSAM}
) = "the former's steps aren't along gradients that could be changed or counted"
conflict(
    ::FedProto,
    ::Union{DriftCorrection,ServerMomentum,Regrading,Reporting,AFL,FedSGD,FedBuff,
        LabelCounts,FedNTD,MOON,Pruning,Compressor,Download,CentralDP,LocalDP,DPSGD}
) = "FedProto sends class means, and no update that the other could work on"
conflict(
    ::FedALA,
    ::Union{DriftCorrection,ServerMomentum,FedNova,FedSGD,FedBuff,LabelCounts}
) = "FedALA's clients don't begin at the global model, and the other rule counts on that"
conflict(
    ::Union{FedNTD,MOON},
    ::Union{FedNTD,MOON}
) = "both add a term to the loss, and one at a time can"
conflict(
    ::Union{FedNTD,MOON},
    ::Union{Regrading,LabelCounts,FedSGD}
) = "the former adds to the loss of local steps, which the other changes or goes without"
conflict(
    ::Union{FedNTD,MOON},
    ::DPSGD
) = "the former's term has a gradient that is neither clipped nor noisy"
conflict(
    ::Regrading,
    ::DPSGD
) = "the former asks for gradients that are neither clipped nor noisy"
conflict(
    ::DPSGD,
    ::MimeLite
) = "clients would send their full gradient too, which is neither clipped nor noisy"
conflict(::FedSGD, ::FedNova) = "FedSGD takes no local steps that could be normalized"
conflict(::FedSGD, ::PrivateArrays) = "FedSGD takes no local steps, which train them"
conflict(
    ::Union{FedDyn,FedDC,FedExP},
    ::CountSketch
) = "only the sum of sketches is decoded, so that no client knows what became of its own"
conflict(
    ::FedADMM,
    c::Compressor
) =
    c isa CountSketch || feedback(c) ?
    "what a message leaves out is in the next one already; use feedback=false" : nothing
conflict(
    ::Reweighing,
    c::Compressor
) =
    feedback(c) ?
    "it weighs each round anew, and what the compressor keeps of the rounds before has " *
    "their weights; with feedback=false nothing is kept" : nothing
conflict(
    ::PruneChannels,
    ::FedBN
) = "a channel's scale and shift are private, so that no server can prune it"
conflict(
    ::FedBuff,
    ::Union{DriftCorrection,ServerMomentum,AFL,Pruning,CountSketch,Download}
) = "clients start from older models, and the server's state is newer"

conflict(
    ::Reporting,
    ::Union{CentralDP,LocalDP}
) = "what clients report beside their update would need a clip and noise of its own"
conflict(
    ::FedBuff,
    ::CentralDP
) = "who trains next follows from who was fastest, which is no cohort to account for"
conflict(
    ::CentralDP,
    ::Compressor
) = "encoding may make an update longer than it was clipped to"
conflict(::FedNova, ::KeepOptimizer) = "momentum of earlier rounds is in no round's work"
conflict(::FedSGD, ::KeepOptimizer) = "clients send a gradient, and take no step"
conflict(
    ::DPSGD,
    ::Union{DPSGD,CentralDP,LocalDP}
) = "each protects something else, and the history tells one ε"
conflict(
    ::DPSGD,
    ::FedSGD
) = "FedSGD's gradient goes over all examples in turn, and DPSGD draws its batches"
conflict(
    ::DPSGD,
    ::Union{Ditto,FedRep,FedRoD,FedALA}
) = "the latter also trains on the examples without clipping and noise"
conflict(
    ::DPSGD,
    ::Reweighing
) = "clients would send their losses too, which carry no noise"
conflict(
    ::DPSGD,
    ::LabelCounts
) = "each step follows the client's label counts, which carry no noise"

"""
    conflict(r::Rule, a::Aggregator) -> reason or nothing

Why a rule can't be used with an aggregator, or `nothing`.
"""
function conflict(r::Rule, a::Aggregator)
    why = needs_mean(r)
    return why === nothing || ismean(a) ? nothing :
           "it needs the weighted mean of the updates, and $(title(a)) is none: " *
           why
end

"""
    needs_mean(r::Rule) -> reason or nothing

Why the server's part of a rule is right for the weighted mean of the updates alone, as
[`ismean`](@ref) tells of an aggregator; `nothing` where any aggregate does.
"""
needs_mean(::Rule) = nothing
needs_mean(::Union{Reweighing,FedCM}) = "its server divides by what clients report"
needs_mean(::FedProto) = "its server weighs class means by their numbers of samples"
needs_mean(::MimeLite) = "its momentum is the mean of the clients' full gradients"
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
    ::FedBuff,
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
    ::FedBuff,
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
