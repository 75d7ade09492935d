# The order of a chain of rules, and what holds for every pair of them.

"""
    chain_position(r::Rule) -> Int

Where a rule stands in a chain, whatever the order in which rules are given: 0 for those
that change the loss itself, 1 for those that read the whole local update (and a user's
own), 2 for what replaces it, 3 for what reweighs it, 4 for staleness, 5 for private arrays,
6 for pruning, 7 for the privacy of what is sent, 8 for compression, 9 for what measures
what is sent, 10 for the compression of the download, 11 for what reads the server's step.
"""
chain_position(::Rule) = 1
chain_position(::Union{LabelCounts,FedSAM,PerFedAvg,PFedMe,FedNTD,MOON,FedALA}) = 0
chain_position(::FedSGD) = 2
chain_position(::Union{FedNova,QFFL,AFL,TERM,FedDisco}) = 3
chain_position(::Asynchronous) = 4
chain_position(::Union{PrivateArrays,FedProto}) = 5
chain_position(::Pruning) = 6
chain_position(::Union{CentralDP,LocalDP}) = 7
chain_position(::Compressor) = 8
chain_position(::FedExP) = 9
chain_position(::Download) = 10
chain_position(::EMA) = 11

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
    for (x, y) in ((a, b), (b, a))
        x isa EMA && personalises(y) &&
            return "a client's own model goes with the " *
                   "last model, and not with an average of all"
    end
    for (x, y) in ((a, b), (b, a))
        sees_each(x) && y isa Union{CountSketch,CentralDP} &&
            return "the server sees no update for itself, only the sum"
    end
    single = chain_position(a) == chain_position(b) in (3, 4, 6, 7, 8, 9, 10, 11)
    single && return "only one of this kind can be used"
    typeof(a) == typeof(b) && chain_position(a) != 1 && return "it is given twice"
    return nothing
end
