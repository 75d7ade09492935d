# The input projection of a recurrent layer's gates: from columns of features, or straight
# from tokens.

"An embedding fused with the recurrent layer after it."
struct TokenRecurrent{E<:Embedding,R<:Recurrent}
    embedding::E
    recurrent::R
end

"""
Fuse a first embedding with a recurrent layer after it, if a batch holds at least as many
`tokens` as the vocabulary. A token's projection is the same wherever it occurs, so one
column per token of the vocabulary is enough.
"""
function fuse_embedding(list, tokens)
    length(list) >= 2 || return list
    first, second = list[1].layer, list[2].layer
    first isa Embedding && second isa Recurrent || return list
    size(first.weight, 2) <= tokens || return list
    return [NamedLayer(TokenRecurrent(first, second), list[2].name); list[3:end]]
end

function output_shape(l::TokenRecurrent, s::Shape)
    return output_shape(l.recurrent, output_shape(l.embedding, s))
end

function make_operation(l::TokenRecurrent, b::Builder, s::Shape, x, dx, y, dy)
    rows = ngates(Cell(l.recurrent.cell)) * y.C
    return build_recurrent(l.recurrent, b, token_projection(l, b, x, rows), y, dy)
end

vocabulary(o::RecurrentOp) = vocabulary(o.inputs)

"The projection of features: one GEMM over the columns of all time steps."
struct FeatureProjection{DX}
    x::Buffer
    dx::DX
    wi::Int
    gemm::Gemm
    packed::Int     # workspace: a block of wi, transposed
    examples::ExampleWeights
end

"""
The projection of tokens. `table` (kH, vocabulary) holds the projection of each token, and
later its gradient.
"""
struct TokenProjection
    x::Buffer
    embedding::Int
    vocabulary::Int
    wi::Int
    gemm::Gemm
    packed::Int
    table::Int
    examples::ExampleWeights
    places::Vector{Int32}      # of each token among an example's different tokens; 0: none
    xoffsets::Vector{Int32}    # of an example's tokens in the embedding
    yoffsets::Vector{Int32}    # of its steps in the gates
end

function feature_projection(l, b::Builder, x, dx, rows, columns)
    gemm = Gemm(b.cpu, rows, x.C, x.C, rows, columns)
    wi = parameter!(b, l.cell.Wi)
    packed = workspace!(b, packing_length(gemm))
    examples = ExampleWeights(b, x.C, rows, x.W; keep = false)
    return FeatureProjection(x, dx, wi, gemm, packed, examples)
end

function token_projection(l::TokenRecurrent, b::Builder, x, rows)
    E, V = size(l.embedding.weight)
    gemm = Gemm(b.cpu, rows, E, E, rows, V)
    embedding = parameter!(b, l.embedding.weight)
    wi = parameter!(b, l.recurrent.cell.Wi)
    packed = workspace!(b, packing_length(gemm))
    table = workspace!(b, rows * V)
    yoffsets = Int32[rows * t for t = 0:(x.W-1)]
    examples = ExampleWeights(b, E, rows, x.W; keep = false)
    return TokenProjection(
        x, embedding, V, wi, gemm, packed, table, examples,
        zeros(Int32, V), zeros(Int32, x.W), yoffsets
    )
end

vocabulary(::FeatureProjection) = 0
vocabulary(s::TokenProjection) = s.vocabulary

"Prepare the projections of a batch."
prepare!(::FeatureProjection, p::Pass, bias) = nothing
function prepare!(s::TokenProjection, p::Pass, bias)
    table, wi, embedding = at(p.arena, s.table), at(p.w, s.wi), at(p.w, s.embedding)
    gemm!(identity, s.gemm, table, wi, embedding, s.vocabulary; bias)
end

"Write the projections of `n` columns, from sample `lo` on, to `gates`."
function project!(s::FeatureProjection, p::Pass, gates, lo, n, bias)
    gemm!(identity, s.gemm, gates, at(p.w, s.wi), address(p, s.x, lo), n; bias)
end

function project!(s::TokenProjection, p::Pass, gates, lo, n, bias)
    rows = s.gemm.M
    for i = 0:(n-1)
        unsafe_copyto!(at(gates, i * rows), table_column(s, p, lo, i), rows)
    end
end

"The column of the table for the `i`-th token (from 0) after the start of sample `lo`."
@inline function table_column(s::TokenProjection, p::Pass, lo, i)
    token = Int(unsafe_load(Ptr{Int32}(address(p, s.x, lo)), i + 1))
    return at(p.arena, s.table + s.gemm.M * (token - 1))
end

"""
The gradients of the weights, and of the bias unless `db` is null, from the gradient of the
gates of `n` columns, from sample `lo` on; added to what is there if `accumulate`.
"""
function project_weights!(s::FeatureProjection, p::Pass, gates, lo, n, db, accumulate)
    gemm_weight_gradient!(s.gemm, at(p.g, s.wi), gates, address(p, s.x, lo), n; accumulate)
    db == C_NULL || sum_columns!(db, gates, s.gemm.M, n, accumulate)
end

function project_weights!(s::TokenProjection, p::Pass, gates, lo, n, db, accumulate)
    rows = s.gemm.M
    accumulate || zeros!(at(p.arena, s.table), rows * s.vocabulary)
    for i = 0:(n-1)
        add_values!(table_column(s, p, lo, i), at(gates, i * rows), rows)
    end
end

"The gradient of the inputs from that of the gates of `n` columns, from sample `lo` on."
function project_inputs!(s::FeatureProjection, p::Pass, gates, lo, n)
    s.dx === nothing && return
    dx, packed = address(p, s.dx, lo), at(p.arena, s.packed)
    gemm_input_gradient!(s.gemm, dx, at(p.w, s.wi), gates, n, packed)
end

project_inputs!(::TokenProjection, p::Pass, gates, lo, n) = nothing

"Compute the gradients that need the whole batch."
finish!(::FeatureProjection, p::Pass, db) = nothing
function finish!(s::TokenProjection, p::Pass, db)
    table, packed = at(p.arena, s.table), at(p.arena, s.packed)
    gemm_weight_gradient!(s.gemm, at(p.g, s.wi), table, at(p.w, s.embedding), s.vocabulary)
    db == C_NULL || sum_columns!(db, table, s.gemm.M, s.vocabulary, false)
    dembedding = at(p.g, s.embedding)
    gemm_input_gradient!(s.gemm, dembedding, at(p.w, s.wi), table, s.vocabulary, packed)
end
