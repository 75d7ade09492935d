# Accuracy by bytes: one federation, run with each way to send less. Prints the table of docs/compression.md and draws its
# picture.
#
#     julia --project=julia/FedFlux -t auto examples/compression.jl [path.npz] [picture.svg] [rounds]
#
# Without a path it takes MNIST where it is cached or can be downloaded, else digits.
using FedFlux, Printf

const WAYS = ["as they are" => (;),
              "top-k 1 %" => (; rules = ["topk(fraction=0.01)"]),
              "top-k 1.5 %" => (; rules = ["topk(fraction=0.015)"]),
              "top-k 0.1 %" => (; rules = ["topk(fraction=0.001)"]),
              "top-k 1 %, no feedback" => (; rules = ["topk(fraction=0.01, feedback=false)"]),
              "random-k 5 %" => (; rules = ["randk(fraction=0.05)"]),
              "8 bits" => (; rules = ["quantize(bits=8)"]),
              "4 bits" => (; rules = ["quantize(bits=4)"]),
              "2 bits" => (; rules = ["quantize(bits=2)"]),
              "QSGD, 4 levels" => (; rules = ["qsgd(levels=4)"]),
              "ternary" => (; rules = ["ternary"]),
              "sign" => (; rules = ["sign"]),
              "PowerSGD, rank 2" => (; rules = ["powersgd(rank=2)"]),
              "sketch 5×4000" => (; rules = ["sketch(rows=5, cols=4000, k=1000)"]),
              "top-k 1 %, download 8 bits" => (; rules = ["topk(fraction=0.01)"], download = "quantize(bits=8)"),
              "pruned to 10 %" => (; rules = ["prune(sparsity=0.9, stop=15)"]),
              "half the channels" => (; rules = ["prune_channels(fraction=0.5, stop=15)"])]

function measure(dataset, rounds)
    map(WAYS) do (name, options)
        result = FedFlux.run(; dataset, rounds, clients = 10, batch_size = 10, lr = 0.05, options...)
        up, down = sum(r -> r.bytes_up, result.history), sum(r -> r.bytes_down, result.history)
        accuracies = [r.accuracy for r in result.history]
        println(stderr, name, ": ", last(accuracies))
        (; name, rules = join([get(options, :rules, String[]); haskey(options, :download) ? ["download = $(options.download)"] : String[]], "; "),
           accuracies, sent = cumsum(r.bytes_up for r in result.history), up, down)
    end
end

function print_table(rows)
    println("| way | `rules` | accuracy | bytes up | fewer up | fewer down |\n| --- | --- | --- | --- | --- | --- |")
    whole = first(rows)
    for r in rows
        @printf("| %s | %s | %.4f | %.2f MB | %.1f× | %.1f× |\n", r.name, isempty(r.rules) ? "" : "`$(r.rules)`", last(r.accuracies), r.up / 1e6,
                whole.up / r.up, whole.down / r.down)
    end
end

# The picture: accuracy after each round over the bytes sent so far, on a logarithmic axis.

const WIDTH, HEIGHT, LEFT, BOTTOM, RIGHT, TOP = 860, 470, 60, 50, 210, 20
const COLOURS = ["#000000", "#1f77b4", "#3182bd", "#6baed6", "#9e9ac8", "#ff7f0e", "#2ca02c", "#31a354", "#a1d99b", "#d62728", "#e377c2", "#8c564b",
                 "#17becf", "#bcbd22", "#08519c", "#7f7f7f", "#bdbdbd"]

function draw(rows, path)
    bytes = extrema(b for r in rows for b in r.sent)
    lowest = max(0.0, floor(10 * minimum(last(r.accuracies) for r in rows)) / 10 - 0.1)
    decades = floor(Int, log10(bytes[1])):ceil(Int, log10(bytes[2]))
    x(b) = LEFT + (WIDTH - LEFT - RIGHT) * (log10(b) - first(decades)) / (last(decades) - first(decades))
    y(a) = TOP + (HEIGHT - TOP - BOTTOM) * (1 - (max(a, lowest) - lowest) / (1 - lowest))
    open(path, "w") do io
        println(io, """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $WIDTH $HEIGHT" font-family="sans-serif" font-size="12">
                       <rect width="$WIDTH" height="$HEIGHT" fill="white"/>""")
        for d in decades
            line(io, x(10.0^d), y(1), x(10.0^d), y(lowest))
            text(io, x(10.0^d), y(lowest) + 18, "middle", d < 3 ? "$(10^d) B" : d < 6 ? "$(10^(d - 3)) kB" : d < 9 ? "$(10^(d - 6)) MB" : "$(10^(d - 9)) GB")
        end
        for a in lowest:0.05:1.0
            line(io, x(10.0^first(decades)), y(a), x(10.0^last(decades)), y(a))
            text(io, LEFT - 8, y(a) + 4, "end", @sprintf("%.2f", a))
        end
        text(io, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "middle", "bytes that all clients have sent")
        text(io, LEFT, TOP - 6, "start", "test accuracy")
        for (i, (r, colour)) in enumerate(zip(rows, COLOURS))
            points = join((@sprintf("%.1f,%.1f", x(b), y(a)) for (b, a) in zip(r.sent, r.accuracies)), " ")
            println(io, """<polyline points="$points" fill="none" stroke="$colour" stroke-width="1.8"/>""")
            println(io, @sprintf("""<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>""", x(last(r.sent)), y(last(r.accuracies)), colour))
            at = TOP + 18 + 22 * (i - 1)
            println(io, """<rect x="$(WIDTH - RIGHT + 18)" y="$(at - 6)" width="18" height="4" fill="$colour"/>""")
            text(io, WIDTH - RIGHT + 42, at, "start", r.name)
        end
        println(io, "</svg>")
    end
end

line(io, x1, y1, x2, y2) = println(io, @sprintf("""<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#dddddd"/>""", x1, y1, x2, y2))
text(io, x, y, anchor, words) = println(io, @sprintf("""<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>""", x, y, anchor, words))

rows = measure(isempty(ARGS) ? "auto" : ARGS[1], length(ARGS) < 3 ? 30 : parse(Int, ARGS[3]))
print_table(rows)
draw(rows, length(ARGS) < 2 ? "compression.svg" : ARGS[2])
