# Softmax regression: the loss of client k on `s z + offset`, and its gradient.
softmax(z) =
    exp.(z .- maximum(z; dims = 1)) ./ sum(exp.(z .- maximum(z; dims = 1)); dims = 1)
function softmax_gradient(w, x, y; scale = 1.0, offset = 0.0)
    W, b = reshape(w[1:18], 3, 6), w[19:21]
    p = softmax(scale .* (W * x .+ b) .+ offset)
    p[CartesianIndex.(y .+ 1, eachindex(y))] .-= 1
    dz = scale .* p ./ length(y)
    return [vec(dz * x'); vec(sum(dz; dims = 2))]
end

# Clients that lack classes: labels 0 and 1, 1 and 2, one 0.
const X, Y = let (x, y) = blobs(160)
    keep = [findall(y .!= 2)[1:20]; findall(y .!= 0)[1:50]; findall(y .== 0)[end]]
    x[:, keep], y[keep]
end
const PARTS = [1:20, 21:70, 71:71]
count_labels(k) = [count(==(c), Y[PARTS[k]]) for c = 0:2]
linear() = softmax_regression(6, 3; rng = Stream(1, :init))
