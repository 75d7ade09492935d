# Aggregators against NumPy, in one run:
#
#     julia --project=ENV -t2 benchmarks/aggregators.jl [clients] [parameters]
#
# NumPy runs first, in its own process, with as many BLAS threads as Julia has threads. Each
# figure is the best of up to three runs. The time includes adding the updates (Julia copies
# each one), but not creating them.

using FedFlux, Random
using FedFlux: start, add!, finish

n = parse(Int, get(ARGS, 1, "100"))
d = parse(Int, get(ARGS, 2, "1000000"))
threads = Threads.nthreads()
python = get(ENV, "PYTHON", "python3")

numpy = """
import time, numpy as np
X = np.random.default_rng(1).standard_normal(($n, $d), dtype=np.float32)
w = np.full($n, 1 / $n, np.float32)
b, f = $n // 10, 10

def krum_gram():  # float32, by one matrix product: inaccurate for small distances
    s = np.einsum('ij,ij->i', X, X)
    D = s[:, None] + s[None, :] - 2 * (X @ X.T)
    np.fill_diagonal(D, np.inf)
    return X[np.partition(D, $n - f - 3, axis=1)[:, :$n - f - 2].sum(1).argmin()]

def krum_gram64():  # the same in float64, accurate
    A = X.astype(np.float64)
    s = np.einsum('ij,ij->i', A, A)
    D = s[:, None] + s[None, :] - 2 * (A @ A.T)
    np.fill_diagonal(D, np.inf)
    return X[np.partition(D, $n - f - 3, axis=1)[:, :$n - f - 2].sum(1).argmin()]

def krum_differences():
    D = np.full(($n, $n), np.inf)
    for i in range($n):
        for j in range(i):
            v = X[i] - X[j]
            D[i, j] = D[j, i] = v @ v
    return X[np.partition(D, $n - f - 3, axis=1)[:, :$n - f - 2].sum(1).argmin()]

def trimmed():
    return np.partition(X, (b, $n - b - 1), axis=0)[b:$n - b].mean(0)

cases = [
    ('mean', lambda: X.mean(0), 3),
    ('mean, one product', lambda: w @ X, 3),
    ('median', lambda: np.median(X, axis=0), 1),
    ('trimmed mean', trimmed, 1),
    ('Krum, Gram', krum_gram, 3),
    ('Krum, Gram in float64', krum_gram64, 3),
    ('Krum, differences', krum_differences, 1),
]
for name, call, times in cases:
    took = []
    for _ in range(times):
        t = time.perf_counter(); call(); took.append(time.perf_counter() - t)
    print(f'{name}\\t{min(took)}', flush=True)
"""
command = addenv(
    `$python -c $numpy`, "OPENBLAS_NUM_THREADS" => threads, "OMP_NUM_THREADS" =>
        threads
)
numpy_seconds = Dict{String,Float64}()
for line in eachline(command)
    name, seconds = split(line, '\t')
    numpy_seconds[name] = parse(Float64, seconds)
end

updates = [Update(; delta = randn(Xoshiro(i), Float32, d)) for i = 1:n]

function once(a)
    GC.gc()
    return @elapsed begin
        acc = start(a, n)
        for u in updates
            acc = add!(a, acc, u, 1.0)
        end
        finish(a, acc, threads)
    end
end
best(a) = minimum(once(a) for _ = 1:4)      # the first run compiles

# (aggregator, its names in NumPy's table)
aggregators = (
    (Mean(), ("mean", "mean, one product")),
    (Median(), ("median",)),
    (TrimmedMean(0.1), ("trimmed mean",)),
    (Krum(10), ("Krum, Gram", "Krum, Gram in float64", "Krum, differences")),
    (MultiKrum(10), ()),
    (Bulyan(10), ()),
    (GeometricMedian(), ())
)

println("$n clients × $d parameters, $threads threads; seconds")
for (a, names) in aggregators
    seconds = best(a)
    comparisons = map(names) do name
        ratio = round(numpy_seconds[name] / seconds; digits = 1)
        "   NumPy's $name $(round(numpy_seconds[name]; digits = 3)): $(ratio)×"
    end
    ours = lpad(round(seconds; digits = 3), 7)
    println(rpad(nameof(typeof(a)), 16), ours, join(comparisons))
end
