# Which rules don't go together, and why.

"Rules that keep, on both sides, how far clients drift from the mean of all."
const DriftCorrection = Union{ControlVariates,FedDyn,FedDC,FedADMM}
"Rules that ask for the gradient of a batch at other points."
const Regrading = Union{FedSAM,PerFedAvg,PFedMe,APFL,Mime}
"Rules whose server's model follows from the plain weighted mean of the updates."
const MeanFollowing = Union{FedDyn,FedDC,FedADMM}
"Rules that weigh the updates anew in each round."
const Reweighing = Union{QFFL,AFL,TERM}
"Rules whose clients report numbers beside their update."
const Reporting = Union{FedNova,Reweighing,FedDisco,FedExP,FedCM,FedADMM}

conflict(
    ::Union{FedProx,MeanFollowing},
    ::FedNova
) = "FedNova's normalization holds for plain local steps only"
conflict(
    a::Union{Reweighing,FedDisco,FedNova,FedExP},
    b::MeanFollowing
) = "$(nameof(typeof(b)))'s correction holds for the plain weighted mean only"
conflict(
    ::Union{DriftCorrection,ServerDirection},
    ::Union{DriftCorrection,ServerDirection}
) = "both correct the drift of local steps"
conflict(
    ::FedSGD,
    ::Union{DriftCorrection,FedProx,ServerDirection,FedRS,Regrading}
) = "FedSGD takes no local steps that could be corrected"
conflict(
    ::FedExP,
    ::Union{Reweighing,FedDisco,FedNova}
) = "both set the length of the server's step"
conflict(
    ::ServerDirection,
    ::PrivateArrays
) = "its momentum has nothing for private arrays, whose steps it would only shorten"
conflict(
    ::FedADMM,
    ::PrivateArrays
) = "its dual variables would pull on private arrays, too"
conflict(::PrivateArrays, ::PrivateArrays) = "both say which arrays are shared"
conflict(
    ::FedRS,
    ::Union{DriftCorrection,ServerDirection,FedSAM}
) = "it trains the last layer on a scale that the correction doesn't know"
conflict(
    ::LabelCounts,
    ::Union{PFedMe,APFL}
) = "the latter trains a second model, whose logits would be left as they are"
conflict(
    ::Union{PerFedAvg,PFedMe},
    ::Union{FedProx,DriftCorrection,ServerDirection,FedNova,FedSAM}
) = "the former's steps aren't along gradients that could be changed or counted"
conflict(
    ::FedProto,
    ::Union{DriftCorrection,ServerDirection,Regrading,Reporting,AFL,FedSGD,Asynchronous,
        LabelCounts,FedNTD,MOON,Pruning,Compressor,Download,CentralDP,LocalDP,DPSGD}
) = "FedProto sends class means, and no update that the other could work on"
conflict(
    ::FedALA,
    ::Union{DriftCorrection,ServerDirection,FedNova,FedSGD,Asynchronous,LabelCounts}
) = "FedALA's clients don't begin at the global model, and the other rule counts on that"
conflict(
    ::Mime,
    ::Union{FedSAM,PerFedAvg,PFedMe,APFL,LabelCounts}
) = "Mime corrects each step by the gradient of the plain loss, and the other changes it"
conflict(
    ::Mime,
    ::Union{Reweighing,FedExP}
) = "half of what Mime sends are gradients, which the other would scale as if it were steps"
conflict(
    ::Mime,
    c::Compressor
) =
    c isa CountSketch || feedback(c) ?
    "updates and gradients alternate, and what the compressor keeps of one would be " *
    "added to the other; with feedback=false nothing is kept" : nothing
conflict(
    ::FedDisco,
    ::CountSketch
) = "what the sketches leave out would have the weights of another round"
conflict(
    ::DPSGD,
    ::FedDisco
) = "clients would tell of their labels too, which carries no noise"
conflict(
    ::IFCA,
    ::Union{DriftCorrection,ServerDirection,PrivateArrays,FedNova,Reweighing,FedDisco,
        FedExP,Asynchronous,Pruning,Download}
) = "it counts on one model for all, and IFCA has one for each cluster"
conflict(
    ::IFCA,
    ::Union{CentralDP,LocalDP,DPSGD}
) = "which cluster a client chooses tells of its data, and carries no noise"
conflict(
    ::IFCA,
    c::Compressor
) =
    c isa CountSketch || feedback(c) ?
    "what the compressor keeps may be of another cluster; with feedback=false nothing is " *
    "kept" : nothing
conflict(
    ::Scaffnew,
    ::DPSGD
) = "the number of steps is random, and ε counts those of the local training"
conflict(
    ::FedAsync,
    ::Union{QFFL,TERM,FedNova}
) = "FedAsync's share of a client is that of its model, which the other scales"
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
    ::Asynchronous,
    ::Union{DriftCorrection,ServerDirection,AFL,Pruning,CountSketch,Download}
) = "clients start from older models, and the server's state is newer"

conflict(
    ::Reporting,
    ::Union{CentralDP,LocalDP}
) = "what clients report beside their update would need a clip and noise of its own"
conflict(
    ::Asynchronous,
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
