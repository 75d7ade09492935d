# What a client has answered. Of answers that hold noise, or shares of a secret, there is
# one for each round and stage: who could ask again would average the noise away.

const Answered = Tuple{Int,String}      # a round and a stage
const MOST_ANSWERED = 1000              # of them are remembered; older rounds are closed

"Whether a client of `f` answers once only: a second answer would tell more than the first."
answers_once(f::Federated) =
    f.aggregate isa Union{SecureMean,CKKS} || any(r -> r isa Union{LocalDP,DPSGD}, f.rules)

"Refuse to answer what was answered, or is of a closed round."
function check_unanswered(s, header)
    (; round, stage) = header
    round > s.closed ||
        fail("asks for round ", round, ", and the server has said that it ",
            "would not go back behind round ", s.closed + 1)
    (round, stage) in s.answered && fail("asks for another answer to the stage ", stage,
        " of round ", round,
        ": a second one would show what the noise or the masks of ",
        "the first hide")
    return nothing
end

function note_answer!(s, header)
    push!(s.answered, (header.round, header.stage))
    length(s.answered) > MOST_ANSWERED && close_rounds!(s, first(first(s.answered)))
    return nothing
end

"Forget the answers in rounds up to `last`, which get no other ones."
function close_rounds!(s, last)
    s.closed = max(s.closed, last)
    filter!(a -> first(a) > s.closed, s.answered)
end
