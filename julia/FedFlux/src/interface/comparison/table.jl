# The table of a comparison: a row for each configuration, tested against the baseline.

const COMPARED = ("accuracy", "personal_accuracy", "loss")

lower_is_better(metric) = metric == "loss"

"The runs that ended, in the order of the seeds."
of_configuration(runs, name) =
    filter(r -> r.configuration == name && r.error === nothing, runs)

figure_of(run::ComparedRun, metric) = getfield(run, Symbol(metric))

"The metric that is asked for or, if none is, accuracy if all runs have one, else the loss."
function chosen_metric(metric, runs)
    ended = filter(r -> r.error === nothing, runs)
    if metric !== nothing
        all(r -> figure_of(r, metric) !== nothing, ended) ||
            fail("metric: expected one that all runs have, got ", metric, "; of ",
                first(r.configuration for r in ended if figure_of(r, metric) === nothing),
                " there is none")
        return metric
    end
    return all(r -> r.accuracy !== nothing, ended) ? "accuracy" : "loss"
end

"The first round whose figure reaches the target, or `nothing`."
function rounds_to(run::ComparedRun, metric, target)
    reached(v) = v !== nothing && (lower_is_better(metric) ? v <= target : v >= target)
    i = findfirst(reached, run.curve[metric])
    return i === nothing ? nothing : run.curve["round"][i]
end

"A target if none is given: what the baseline ends with in the mean, rounded to be reached."
function usual_target(runs, metric)
    isempty(runs) && return nothing
    final = mean(r -> figure_of(r, metric), runs)
    isfinite(final) || return nothing
    return lower_is_better(metric) ? ceil(final; sigdigits = 2) : floor(final; digits = 2)
end

"""
    comparison_rows(configurations, runs, baseline, metric, target) -> Vector of NamedTuples

The table: for each configuration the number of its `runs`, of the metric the `mean`, the
standard deviation over the seeds (`sd`), `min` and `max`; the mean `difference` to the
baseline, paired over the seeds, with the p-values of [`paired_t`](@ref) (`p`, and `p_holm`
adjusted by [`holm`](@ref)) and of [`sign_flips`](@ref) (`p_signs`); the `verdict`, "better"
or "worse" if `p_holm` is at most $LEVEL; the mean number of `rounds_to_target` over the
runs that `reached` it; the means of `epsilon`, `bytes_up`, `bytes_down` and `seconds`; and
how many `failed`.
"""
function comparison_rows(configurations, runs, baseline, metric, target)
    against = Dict(
        r.seed => figure_of(r, metric) for r in of_configuration(runs, baseline))
    rows = map(configurations) do c
        own = of_configuration(runs, c.name)
        figures = Float64[figure_of(r, metric) for r in own]
        paired =
            c.name == baseline ? Float64[] :
            Float64[
                figure_of(r, metric) - against[r.seed] for
                r in own if haskey(against, r.seed)]
        compared = !isempty(paired) && all(isfinite, paired)
        reached =
            target === nothing ? Int[] :
            Int[n for n in map(r -> rounds_to(r, metric, target), own) if n !== nothing]
        failed = count(r -> r.configuration == c.name && r.error !== nothing, runs)
        (; configuration = c.name, settings = c.settings, runs = length(own), failed,
            mean = mean_or_nothing(figures),
            sd = length(figures) < 2 ? nothing : std(figures),
            min = minimum(figures; init = Inf), max = maximum(figures; init = -Inf),
            difference = compared ? mean(paired) : nothing,
            p = compared ? paired_t(paired) : nothing,
            p_signs = compared ? sign_flips(paired) : nothing,
            rounds_to_target = mean_or_nothing(reached), reached = length(reached),
            epsilon = mean_or_nothing([r.epsilon for r in own if r.epsilon !== nothing]),
            bytes_up = mean_or_nothing([r.bytes_up for r in own]),
            bytes_down = mean_or_nothing([r.bytes_down for r in own]),
            seconds = mean_or_nothing([r.seconds for r in own]))
    end
    adjusted = holm([row.p for row in rows])
    return [
        (; row..., p_holm = p, verdict = verdict(row.difference, p, metric))
        for (row, p) in zip(rows, adjusted)
    ]
end

function verdict(difference, p, metric)
    (p === nothing || p > LEVEL) && return ""
    return (difference > 0) == lower_is_better(metric) ? "worse" : "better"
end

"What the marks in the table mean, and what they can't mean."
function how_tested(c)
    n, compared = length(c.seeds), count(r -> r.p !== nothing, c.rows)
    length(c.rows) < 2 && return ""
    compared == 0 &&
        return "Nothing is tested: that takes two seeds of the baseline and of another."
    tests = compared == 1 ? "comparison" : "comparisons"
    text = """
        better, worse: differs from $(c.baseline) at the 5 % level in a paired t-test over \
        $n seeds (two-sided; p is Holm-adjusted for $compared $tests). The test takes \
        differences for normal. It speaks of other seeds, not of other data."""
    smallest = 2 / 2.0^n
    smallest > LEVEL || return text
    return text * " " * """
        Without that assumption $n seeds can't tell: an exact sign-flip test gives \
        p ≥ $(round(smallest; sigdigits = 2)) whatever the runs are."""
end

"""
    show_table(io, c::Comparison)

Print the table as text, and what its marks mean.
"""
function show_table(io::IO, c)
    title = c.target === nothing ? "rounds to target" : "rounds to $(brief(c.target))"
    private = any(r -> r.epsilon !== nothing, c.rows)
    headings = ["", replace(c.metric, '_' => ' '), "vs $(c.baseline)", "p", "", title,
        "MB up", "s", (private ? ["ε"] : [])...]
    lines = [headings, map(row -> cells(row, c, private), c.rows)...]
    widths = [maximum(length(line[i]) for line in lines) for i in eachindex(headings)]
    for line in lines
        aligned = [
            i in (1, 5) ? rpad(line[i], widths[i]) : lpad(line[i], widths[i])
            for i in eachindex(line) if widths[i] > 0
        ]
        println(io, rstrip(join(aligned, "  ")))
    end
    for r in c.runs
        r.error === nothing ||
            println(io, r.configuration, ", seed ", r.seed, ": ", r.error)
    end
    note = how_tested(c)
    isempty(note) || println(io, note)
end

function cells(row, c, private)
    spread = row.sd === nothing ? "" : " ± $(brief(row.sd))"
    figure = row.mean === nothing ? "failed" : brief(row.mean) * spread
    difference =
        row.difference === nothing ? "" :
        (row.difference < 0 ? "-" : "+") * brief(abs(row.difference))
    rounds = row.rounds_to_target === nothing ? "–" : one_digit(row.rounds_to_target)
    row.reached < row.runs && row.reached > 0 &&
        (rounds *= " ($(row.reached) of $(row.runs))")
    row.mean === nothing && (rounds = "")
    return [row.configuration, figure, difference,
        row.p_holm === nothing ? "" : string(round(row.p_holm; sigdigits = 2)),
        row.verdict, rounds,
        row.bytes_up === nothing ? "" : string(round(row.bytes_up / 1e6; sigdigits = 3)),
        row.seconds === nothing ? "" : one_digit(row.seconds),
        (private ? [row.epsilon === nothing ? "" : brief(row.epsilon)] : [])...]
end

one_digit(x) = string(round(x; digits = 1))

"A figure with four digits after the point, or four that count."
brief(x) = abs(x) < 10 ? string(round(x; digits = 4)) : string(round(x; sigdigits = 4))
