# The inputs' part of a recurrent layer's gates: from columns of features, or straight from tokens.

"An embedding and the recurrent layer behind it, as one layer."
struct TokenRecurrent{E<:Embedding,R<:Recurrent}
    embedding::E
    recurrent::R
end

"""
An embedding whose batches have more tokens than its vocabulary, and the recurrent layer behind it, are computed as one: what
a token adds to the gates is the same wherever it stands, so there are only as many columns to compute as tokens in the vocabulary.
"""
function tokens_to_gates(list, tokens)
    length(list) >= 2 && list[1].layer isa Embedding && list[2].layer isa Recurrent || return list
    size(list[1].layer.weight, 2) <= tokens || return list
    return [Step(TokenRecurrent(list[1].layer, list[2].layer), list[2].name); list[3:end]]
end

shape_after(l::TokenRecurrent, s::Shape) = shape_after(l.recurrent, shape_after(l.embedding, s))

build(l::TokenRecurrent, b::Builder, s::Shape, x, dx, y, dy) =
    recurrent(l.recurrent, b, token_inputs(l, b, x, ngates(Cell(l.recurrent.cell)) * y.C), y, dy)

vocabulary(o::RecurrentOp) = vocabulary(o.inputs)

"Features: one product over the columns of all time steps."
struct FeatureInputs{DX,P<:Product}
    x::Buffer
    dx::DX
    wi::Int
    product::P
    block::Int     # workspace: a block of wi, transposed
end

"Tokens: `table` (kH, vocabulary) holds the inputs' part of each token, and then its gradient."
struct TokenInputs{P<:Product}
    x::Buffer
    embedding::Int
    vocabulary::Int
    wi::Int
    product::P
    block::Int
    table::Int
end

function feature_inputs(l, b::Builder, x, dx, rows, columns)
    product = Product(b.cpu, rows, x.C, x.C, rows, columns)
    return FeatureInputs(x, dx, parameter!(b, l.cell.Wi), product, workspace!(b, scratch(product)))
end

function token_inputs(l::TokenRecurrent, b::Builder, x, rows)
    E, V = size(l.embedding.weight)
    product = Product(b.cpu, rows, E, E, rows, V)
    return TokenInputs(x, parameter!(b, l.embedding.weight), V, parameter!(b, l.recurrent.cell.Wi), product, workspace!(b, scratch(product)),
                       workspace!(b, rows * V))
end

vocabulary(::FeatureInputs) = 0
vocabulary(s::TokenInputs) = s.vocabulary

"What is done once, before the samples are."
prepare!(::FeatureInputs, p::Pass, bias) = nothing
prepare!(s::TokenInputs, p::Pass, bias) =
    multiply!(identity, s.product, at(p.arena, s.table), at(p.w, s.wi), at(p.w, s.embedding), s.vocabulary; bias)

"The gates' part of `n` columns, from sample `lo` on."
input_gates!(s::FeatureInputs, p::Pass, gates, lo, n, bias) =
    multiply!(identity, s.product, gates, at(p.w, s.wi), address(p, s.x, lo), n; bias)

function input_gates!(s::TokenInputs, p::Pass, gates, lo, n, bias)
    rows = s.product.M
    for i in 0:n-1
        unsafe_copyto!(at(gates, i * rows), table_column(s, p, lo, i), rows)
    end
end

"The column of the table for token `i` (from 0) after the beginning of sample `lo`."
@inline table_column(s::TokenInputs, p::Pass, lo, i) =
    at(p.arena, s.table + s.product.M * (Int(unsafe_load(Ptr{Int32}(address(p, s.x, lo)), i + 1)) - 1))

"Back from the gradient of the gates, `n` columns from sample `lo` on; parameters' gradients are added up if `adds`."
function input_back!(s::FeatureInputs, p::Pass, gates, lo, n, db, adds)
    outer!(s.product, at(p.g, s.wi), gates, address(p, s.x, lo), n; adds)
    db == C_NULL || sum_columns!(db, gates, s.product.M, n, adds)
    s.dx === nothing || multiply_back!(s.product, address(p, s.dx, lo), at(p.w, s.wi), gates, n, at(p.arena, s.block))
end

function input_back!(s::TokenInputs, p::Pass, gates, lo, n, db, adds)
    rows = s.product.M
    adds || zeros!(at(p.arena, s.table), rows * s.vocabulary)
    for i in 0:n-1
        add_values!(table_column(s, p, lo, i), at(gates, i * rows), rows)
    end
end

"What is done once, after the samples are."
finish!(::FeatureInputs, p::Pass, db) = nothing
function finish!(s::TokenInputs, p::Pass, db)
    table = at(p.arena, s.table)
    outer!(s.product, at(p.g, s.wi), table, at(p.w, s.embedding), s.vocabulary)
    db == C_NULL || sum_columns!(db, table, s.product.M, s.vocabulary, false)
    multiply_back!(s.product, at(p.g, s.embedding), at(p.w, s.wi), table, s.vocabulary, at(p.arena, s.block))
end
