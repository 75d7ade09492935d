# A rule behind one type, so that rounds are compiled once for all rules, and not for each.
const F = FedFlux

struct ErasedRule <: Rule
    inner::Rule
end
F.chain_position(r::ErasedRule) = F.chain_position(r.inner)
F.conflict(a::ErasedRule, b::ErasedRule) = F.conflict(a.inner, b.inner)
F.conflict(a::ErasedRule, b::Rule) = F.conflict(a.inner, b)
F.conflict(a::Rule, b::ErasedRule) = F.conflict(a, b.inner)
F.conflict(r::ErasedRule, a::Aggregator) = F.conflict(r.inner, a)
F.check_model(r::ErasedRule, model) = F.check_model(r.inner, model)
F.prepare(r::ErasedRule, layout, training) =
    ErasedRule(F.prepare(r.inner, layout, training))
F.init(r::ErasedRule, θ) = F.init(r.inner, θ)
F.for_client(r::ErasedRule, shared, client) = F.for_client(r.inner, shared, client)
F.download_bytes(r::ErasedRule, s, bytes, ctx) = F.download_bytes(r.inner, s, bytes, ctx)
F.conflict(r::ErasedRule, o::F.Optimisers.AbstractRule) = F.conflict(r.inner, o)
F.local_steps(r::ErasedRule, s, steps, ctx) = F.local_steps(r.inner, s, steps, ctx)
F.returned(r::ErasedRule, shared, θ) = F.returned(r.inner, shared, θ)
F.receive!(r::ErasedRule, s, m, ctx, own) = F.receive!(r.inner, s, m, ctx, own)
F.correct!(r::ErasedRule, s, g, w, ctx) = F.correct!(r.inner, s, g, w, ctx)
F.client!(r::ErasedRule, s, u, ctx) = F.client!(r.inner, s, u, ctx)
F.sent(r::ErasedRule, s, private, u, ctx) = F.sent(r.inner, s, private, u, ctx)
F.hide!(r::ErasedRule, shared, v) = F.hide!(r.inner, shared, v)
F.admitted(r::ErasedRule, shared, u) = F.admitted(r.inner, shared, u)
F.kept(r::ErasedRule, shared, name, known) = F.kept(r.inner, shared, name, known)
F.server!(r::ErasedRule, s, ū, ctx) = F.server!(r.inner, s, ū, ctx)
F.publish!(r::ErasedRule, s, Δ, ctx) = F.publish!(r.inner, s, Δ, ctx)
F.hides_cohort(r::ErasedRule) = F.hides_cohort(r.inner)
F.secret_cohorts(r::ErasedRule) = F.secret_cohorts(r.inner)
F.nobody_sent(r::ErasedRule, u, N) = F.nobody_sent(r.inner, u, N)
F.guarantee(r::ErasedRule, f, sampling, clients) =
    F.guarantee(r.inner, f, sampling, clients)
F.teaches(r::ErasedRule) = F.teaches(r.inner)
F.teachers(r::ErasedRule, s, ctx) = F.teachers(r.inner, s, ctx)
F.teach!(r::ErasedRule, s, student, more...) = F.teach!(r.inner, s, student, more...)
F.personalises(r::ErasedRule) = F.personalises(r.inner)
F.personal!(r::ErasedRule, shared, private, m) =
    F.personal!(r.inner, shared, private, m)
F.sees_each(r::ErasedRule) = F.sees_each(r.inner)
F.each!(r::ErasedRule, s, u, ctx) = F.each!(r.inner, s, u, ctx)

"The rule behind one type, but for those that a federation asks for by their type."
erased(r::Rule) =
    r isa Union{F.Asynchronous,FedBN,ClientDP,LocalDP,DPSGD} ? r : ErasedRule(r)
inner(r) = r isa ErasedRule ? r.inner : r
