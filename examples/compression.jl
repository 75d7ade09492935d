# Accuracy by bytes sent: one federation, run with each kind of compression. Prints the
# table of docs/compression.md and draws its figure.
#
#     julia --project=julia/FedFlux -t auto examples/compression.jl \
#         [path.npz] [figure.svg] [rounds]
#
# Without a path it uses MNIST if it is cached or can be downloaded, else digits.
using FedFlux, Printf

const WAYS = [
    "as they are" => (;),
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
    "top-k 1 %, download 8 bits" =>
        (; rules = ["topk(fraction=0.01)"], download = "quantize(bits=8)"),
    "pruned to 10 %" => (; rules = ["prune(sparsity=0.9, stop=15)"]),
    "half the channels" => (; rules = ["prune_channels(fraction=0.5, stop=15)"])
]

function measure(dataset, rounds)
    map(WAYS) do (name, options)
        common = (; dataset, rounds, clients = 10, batch_size = 10, lr = 0.05)
        history = FedFlux.run(; common..., options...).history
        accuracies = [r.accuracy for r in history]
        println(stderr, name, ": ", last(accuracies))
        rules = copy(get(options, :rules, String[]))
        haskey(options, :download) && push!(rules, "download = $(options.download)")
        (;
            name,
            rules = join(rules, "; "),
            accuracies,
            sent = cumsum(r.bytes_up for r in history),
            up = sum(r -> r.bytes_up, history),
            down = sum(r -> r.bytes_down, history)
        )
    end
end

function print_table(rows)
    println("| way | `rules` | accuracy | bytes up | fewer up | fewer down |")
    println("| --- | --- | --- | --- | --- | --- |")
    whole = first(rows)
    for r in rows
        rules = isempty(r.rules) ? "" : "`$(r.rules)`"
        @printf(
            "| %s | %s | %.4f | %.2f MB | %.1f× | %.1f× |\n",
            r.name, rules, last(r.accuracies), r.up / 1e6, whole.up / r.up,
            whole.down / r.down
        )
    end
end

# The figure: accuracy after each round over the bytes sent so far, on a logarithmic axis.

const WIDTH, HEIGHT, LEFT, BOTTOM, RIGHT, TOP = 860, 470, 60, 50, 210, 20
# Eight colors that color-blind readers can tell apart, and three ways to dash a line.
const COLORS =
    ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
        "#7f7f7f")
const DASHES = ("none", "6 2", "2 2")

"10^d bytes, with a unit."
function bytes_label(d)
    d < 3 && return "$(10^d) B"
    d < 6 && return "$(10^(d - 3)) kB"
    d < 9 && return "$(10^(d - 6)) MB"
    return "$(10^(d - 9)) GB"
end

function draw(rows, path)
    bytes = extrema(b for r in rows for b in r.sent)
    lowest = max(0.0, floor(10 * minimum(last(r.accuracies) for r in rows)) / 10 - 0.1)
    decades = floor(Int, log10(bytes[1])):ceil(Int, log10(bytes[2]))
    span = last(decades) - first(decades)
    x(b) = LEFT + (WIDTH - LEFT - RIGHT) * (log10(b) - first(decades)) / span
    y(a) = TOP + (HEIGHT - TOP - BOTTOM) * (1 - (max(a, lowest) - lowest) / (1 - lowest))
    open(path, "w") do io
        print(io, """<svg xmlns="http://www.w3.org/2000/svg" """)
        print(io, """viewBox="0 0 $WIDTH $HEIGHT" """)
        println(io, """font-family="sans-serif" font-size="12">""")
        println(io, """<rect width="$WIDTH" height="$HEIGHT" fill="white"/>""")
        for d in decades
            line(io, x(10.0^d), y(1), x(10.0^d), y(lowest))
            text(io, x(10.0^d), y(lowest) + 18, "middle", bytes_label(d))
        end
        for a = lowest:0.05:1.0
            line(io, x(10.0^first(decades)), y(a), x(10.0^last(decades)), y(a))
            text(io, LEFT - 8, y(a) + 4, "end", @sprintf("%.2f", a))
        end
        middle = (LEFT + WIDTH - RIGHT) / 2
        text(io, middle, HEIGHT - 10, "middle", "bytes that all clients have sent")
        text(io, LEFT, TOP - 6, "start", "test accuracy")
        for (i, r) in enumerate(rows)
            color, dash = COLORS[mod1(i, 8)], DASHES[mod1(cld(i, 8), 3)]
            polyline(io, x.(r.sent), y.(r.accuracies), color, dash)
            circle(io, x(last(r.sent)), y(last(r.accuracies)), color)
            at = TOP + 18 + 22 * (i - 1)
            left, up = WIDTH - RIGHT + 18, at - 4
            print(io, """<line x1="$left" y1="$up" x2="$(left + 18)" y2="$up" """)
            println(io, """stroke="$color" stroke-width="4" stroke-dasharray="$dash"/>""")
            text(io, WIDTH - RIGHT + 42, at, "start", r.name)
        end
        println(io, "</svg>")
    end
end

function polyline(io, xs, ys, color, dash)
    points = join((@sprintf("%.1f,%.1f", x, y) for (x, y) in zip(xs, ys)), " ")
    print(io, """<polyline points="$points" fill="none" stroke="$color" """)
    println(io, """stroke-dasharray="$dash" stroke-width="1.8"/>""")
end

function circle(io, x, y, color)
    @printf(io, """<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>\n""", x, y, color)
end

function line(io, x1, y1, x2, y2)
    @printf(io, """<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" """, x1, y1, x2, y2)
    println(io, """stroke="#dddddd"/>""")
end

function text(io, x, y, anchor, words)
    @printf(
        io, """<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>\n""", x, y, anchor, words
    )
end

dataset = isempty(ARGS) ? "auto" : ARGS[1]
rows = measure(dataset, length(ARGS) < 3 ? 30 : parse(Int, ARGS[3]))
print_table(rows)
draw(rows, length(ARGS) < 2 ? "compression.svg" : ARGS[2])
