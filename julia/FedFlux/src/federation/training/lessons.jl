# Rules that add to the loss: they meet the end of the model in each step, and that of
# frozen models on the same batch.

"""
What a rule that teaches needs in a client's round: its state, and memory for the student's
and the teachers' logits and features.
"""
struct Lesson{R<:Rule,S,C,T<:Tuple}
    rule::R
    state::S
    ctx::C
    models::T                  # of the teachers
    student::Ends
    teachers::Vector{Ends}
    labels::Vector{Int}        # of the batch
    kept::Vector{Float32}      # where the engine's statistics are kept meanwhile
end

"The lesson of the rule in a chain that teaches; `nothing` if none does."
lesson(::Tuple{}, s, engine, t, y, ctx) = nothing
lesson(rules::Tuple, s, engine, t, y, ctx) =
    teaches(first(rules)) ? Lesson(first(rules), head(s), engine, t, y, ctx) :
    lesson(Base.tail(rules), rest(s), engine, t, y, ctx)

function Lesson(rule::Rule, state, engine, t, y, ctx)
    eltype(y) <: Integer && y isa AbstractVector && !mixes(t.augment) ||
        fail("rule ", nameof(typeof(rule)), " needs one integer label for each sample: ",
            "expected cross-entropy without mixup, on labels that are no sequences")
    models = teachers(rule, state, ctx)
    n = min(t.batchsize, maxbatch(engine))
    return Lesson(rule, state, ctx, models, Ends(engine, n),
        Ends[Ends(engine, n) for _ in models],
        Int[], zeros32(nstats(engine)))
end

"The loss of a batch, and its gradient, with what a lesson adds."
lesson_gradient!(::Nothing, engine, g, w, x, y, labels) = valgrad!(engine, g, w, x, y)

function lesson_gradient!(l::Lesson, engine, g, w, x, y, labels)
    copyto!(resize!(l.labels, length(labels)), labels)
    stats!(l.kept, engine)
    for i in eachindex(l.teachers)
        setstats!(engine, l.models[i].stats)
        ends!(l.teachers[i], engine, l.models[i].w, x)
    end
    setstats!(engine, l.kept)
    return valgrad!(Teaching(l), engine, g, w, x, y, l.student)
end

"The call of a rule's `teach!` in the middle of a gradient."
struct Teaching{L<:Lesson}
    lesson::L
end
((; lesson)::Teaching)(n) = teach!(
    lesson.rule, lesson.state, lesson.student, lesson.teachers, lesson.labels,
    lesson.ctx)
