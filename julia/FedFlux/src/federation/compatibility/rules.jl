# Which rules don't go together, and why.

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
