# What is measured after the rounds of a run: baselines, and the clients' own figures.

"The attack on the model that the run is to make after its rounds, or `nothing`."
function membership_attack(o::Options, f, st, clients, test, pool)
    o.membership == 0 && return nothing
    test === nothing && fail("membership needs test data, which no client holds, to tell ",
        "the clients' samples from")
    return MembershipInference(f, st, clients, test; pool, samples = o.membership)
end

"How good the final models are on the clients' own test data, if they have some."
function figures_of_clients(o::Options, f, st, clients, own_test, pool)
    own_test === nothing && return (;)
    figures = own_figures((worker, k) -> put_global!(worker, st), pool, f, own_test)
    tuned = o.finetune_epochs > 0
    tuned || personalises(f.rules) || return (; figures)
    put! =
        tuned ? finetuner(pool, f, st, clients, o.finetune_epochs) :
        (worker, k) -> put_personal!(worker, f, st, k)
    return (; figures, personal = own_figures(put!, pool, f, own_test))
end

"The accuracy of the clients' fine-tuned models, and the baselines, if asked for."
function compare_with_baselines(o::Options, f, st, clients, test, own_test, pool)
    o.finetune_epochs == 0 && isempty(o.baselines) && return (;)
    nclasses = test_classes(f, test, clients)
    # Fine-tuned models are measured on the clients' own test data, without any other.
    nclasses == 0 && own_test !== nothing && isempty(o.baselines) && return (;)
    nclasses == 0 && fail("finetune_epochs and baselines need test data with classes to ",
        "measure accuracy on")
    counts = labelcounts(clients, nclasses)
    baseline(name) =
        name == "centralized" ?
        centralized_baseline(pool, f, clients, st.round, test) :
        local_baseline(pool, f, clients, st.round, test, counts)
    tuned =
        o.finetune_epochs == 0 ? nothing :
        finetuned_accuracy(pool, f, st, clients, o.finetune_epochs, test, counts)
    baselines = Dict{String,NamedTuple}(name => baseline(name) for name in o.baselines)
    return (; finetuned_accuracy = tuned, baselines)
end
