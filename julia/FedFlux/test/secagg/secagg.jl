# Secure aggregation: the cryptography against published vectors, the sums against plain
# ones, and what the parties refuse.
using FedFlux: chacha20_xor!, hkdf_sha256, public_key, seal, unseal, shared_secret,
    random_bytes, KeyPair, add_mask!, subtract_mask!, share_secret, recover_secret, FIELD,
    Share, advertise!, share!, mask!, unmask!, deliver!, advertised!, shared!, masked!,
    unmasked!, draw_neighbors, message_bytes, RoundAborted, PublicKeys, NeighborKeys,
    SealedShares, ShareBundle, ReceivedShares, MaskedVector, PairKey, UnmaskRequest,
    UnmaskShares

bytes(hex) = hex2bytes(replace(hex, r"\s" => ""))

@testset "HKDF: RFC 5869, appendix A" begin
    okm = hkdf_sha256(fill(0x0b, 22), bytes("000102030405060708090a0b0c"),
        bytes("f0f1f2f3f4f5f6f7f8f9"), 42)
    @test okm == bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf
        34007208d5b887185865")
    okm = hkdf_sha256(collect(0x00:0x4f), collect(0x60:0xaf), collect(0xb0:0xff), 82)
    @test okm == bytes("b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c
        59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71
        cc30c58179ec3e87c14c01d5c1f3434f1d87")
    okm = hkdf_sha256(fill(0x0b, 22), UInt8[], UInt8[], 42)
    @test okm == bytes("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d
        9d201395faa4b61a96c8")
    @test occursin("8160", message(() -> hkdf_sha256(UInt8[1], UInt8[], UInt8[], 8161)))
end

@testset "X25519: RFC 7748, sections 5.2 and 6.1" begin
    @test shared_secret(
        bytes("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
        bytes("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    ) == bytes("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    alice = bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    bob = bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    @test public_key(alice) ==
          bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    @test public_key(bob) ==
          bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    @test shared_secret(alice, public_key(bob)) == shared_secret(bob, public_key(alice)) ==
          bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    # Points of low order, for which the secret would be zero.
    for low in (zeros(UInt8, 32), [0x01; zeros(UInt8, 31)])
        @test occursin("low order", message(() -> shared_secret(alice, low)))
    end
    @test occursin("31 bytes", message(() -> shared_secret(alice, zeros(UInt8, 31))))
    @test occursin("33 bytes", message(() -> public_key(zeros(UInt8, 33))))
end

@testset "ChaCha20: RFC 8439, sections 2.3.2 and 2.8.2" begin
    key, nonce = collect(0x00:0x1f), bytes("000000090000004a00000000")
    @test chacha20_xor!(zeros(UInt8, 64), key, 1; nonce) ==
          bytes("10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e
                 d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e")
    text =
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip " *
        "for the future, sunscreen would be it."
    key, nonce = collect(0x80:0x9f), bytes("070000004041424344454647")
    header = bytes("50515253c0c1c2c3c4c5c6c7")
    sealed = seal(key, Vector{UInt8}(text), header; nonce)
    @test sealed == bytes("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
        3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
        92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
        3ff4def08e4b7a9de576d26586cec64b6116 1ae10b594f09e26a7e902ecbd0600691")
    @test String(unseal(key, sealed, header; nonce)) == text
    @test unseal(key, sealed, header[1:(end-1)]; nonce) === nothing
    @test unseal(key, sealed[1:15], header; nonce) === nothing
end

@testset "a mask is the key's ChaCha20 stream: $T, $n values" for T in (UInt32, UInt64),
    n in (0, 1, 16, 4095, 4096, 4097, 50_000)

    key, x = random_bytes(32), rand(T, n)
    stream = reinterpret(T, chacha20_xor!(zeros(UInt8, n * sizeof(T)), key, 0))
    masked = add_mask!(copy(x), key)
    @test masked == x .+ stream
    @test subtract_mask!(masked, key) == x
    n > 1 && @test add_mask!(copy(x), [key[1:31]; ~key[32]]) != x .+ stream
    @test (@allocated add_mask!(x, key)) < 20_000        # a block, not the stream
end

"Lagrange's interpolation at 0 of points (x, y), anew and in BigInts."
function interpolate(points, p)
    total = big(0)
    for (i, (xi, yi)) in enumerate(points)
        term = big(yi)
        for (j, (xj, _)) in enumerate(points)
            i == j || (term = mod(term * xj * invmod(xj - xi, p), p))
        end
        total += term
    end
    return mod(total, p)
end

@testset "Shamir's shares: $t of $n" for (t, n) in
                                         ((1, 1), (2, 3), (7, 10), (10, 10), (67, 100))
    secret = random_bytes(32)
    holders = UInt32.(sort!(shuffle(1:10n)[1:n]))
    shares = share_secret(secret, t, holders)
    some = sort!(shuffle(1:n)[1:t])
    @test recover_secret(shares[some], holders[some], t) == secret
    @test recover_secret(shares, holders, t) == secret
    @test FIELD == big(2)^61 - 1
    for limb = 1:5      # bytes 1 to 7, 8 to 14, …, 29 to 32
        part = secret[(7limb-6):min(7limb, 32)]
        points = [(big(holders[i]), big(shares[i][limb])) for i in some]
        @test interpolate(points, big(FIELD)) ==
              sum(big(256) .^ (0:(length(part)-1)) .* part)
        # The polynomial has degree t − 1, no less: t − 1 points lead elsewhere.
        t > 1 && @test interpolate(points[2:end], big(FIELD)) !=
              sum(big(256) .^ (0:(length(part)-1)) .* part)
    end
    few = message(() -> recover_secret(shares[1:(t-1)], holders[1:(t-1)], t))
    @test occursin("$(t - 1) shares came, and $t are needed", few)
    t > 2 || continue
    forced = try
        recover_secret(shares[1:(t-1)], holders[1:(t-1)], t - 1)
    catch err
        err.message
    end
    @test forced != secret
end

@testset "t − 1 shares look the same whatever the secret" begin
    # 16 equal parts of the field; 99.99 % of χ² (15 degrees of freedom) are below 44.3.
    for secret in (zeros(UInt8, 32), fill(0xff, 32))
        counts = zeros(Int, 16)
        for _ = 1:2000
            for share in share_secret(secret, 3, UInt32[1, 2, 3])[1:2], v in share
                counts[1+Int(v>>57)] += 1
            end
        end
        expected = sum(counts) / 16
        @test sum(abs2, counts .- expected) / expected < 44.3
    end
end

const GRAPHS = ((100, 10), (12, 10), (11, 10), (5, 10), (7, nothing))

@testset "every client has k neighbors, both ways: $n clients, $k" for (n, k) in GRAPHS
    ids = UInt32.(shuffle(1:1000)[1:n])
    graph = draw_neighbors(ids, k)
    @test Set(keys(graph)) == Set(ids)
    degree = min(something(k, n), n - 1)
    @test all(v -> length(v) == degree && allunique(v), values(graph))
    @test all(id in graph[v] && v != id for id in ids for v in graph[id])
    # Another round has another circle.
    degree < n - 1 && @test Set.(getindex.(Ref(graph), ids)) !=
          Set.(getindex.(Ref(draw_neighbors(ids, k)), ids))
end

"The parties and all messages of a round of `n` clients; `edit` may change what is sent."
function play(n = 6; words = 5, round = 3, T = UInt32, x = [rand(T, words) for _ = 1:n],
    edit = (stage, m) -> m, skip = Dict(), kw...)
    setup = SecureSetup{T}(; round, words, kw...)
    clients, server = [SecureClient(setup, id) for id = 1:n], SecureServer(setup)
    asked = Set(1:n)            # who is left out is asked no more
    there(c, stage) = get(skip, Int(c.id), 5) > stage && c.id in asked
    sent = Dict{Int,Any}()
    function stage!(f, number)
        sent[number] = Dict(c.id => edit(number, f(c)) for c in clients if there(c, number))
        foreach(m -> deliver!(server, m), values(sent[number]))
    end
    stage!(advertise!, 1)
    keys = advertised!(server)
    stage!(c -> share!(c, keys[c.id]), 2)
    boxes = shared!(server)
    stage!(c -> mask!(c, boxes[c.id], x[c.id]), 3)
    requests = masked!(server)
    intersect!(asked, Base.keys(requests))
    stage!(c -> unmask!(c, requests[c.id]), 4)
    total = unmasked!(server)
    return (; x, total, clients, server, sent, keys, boxes, requests)
end

"The sum modulo the ring, in BigInts."
plain(x, T) = T.(mod.(sum(v -> big.(v), x), big(2)^(8sizeof(T))))

"The same by a plain loop, for long vectors."
function plain_loop(x)
    total = zeros(UInt128, length(first(x)))
    for v in x, j in eachindex(total)
        total[j] += v[j]
    end
    return total .% eltype(first(x))
end

const KINDS = ((10, UInt32), (nothing, UInt32), (10, UInt64))

@testset "exact: 100 × 50,000, $k neighbors, stage $stage, $T" for (k, T) in KINDS,
    stage = 0:5

    rng = Xoshiro(stage)
    x = [rand(rng, T, 50_000) for _ = 1:100]
    before = deepcopy(x)
    who = shuffle(rng, 1:100)[1:12]
    vanishes = zeros(Int, 100)
    vanishes[who] .= stage == 5 ? rand(rng, 1:4, 12) : stage      # 5: some in each
    o = secure_sum(x; neighbours = k, threshold = 0.4, vanishes)
    @test o.aborted === nothing
    there = filter(i -> !(vanishes[i] in 1:3), 1:100)
    @test o.arrived == there
    @test o.sum == plain_loop(x[there])
    @test o.sum[1:50] == plain([v[1:50] for v in x[there]], T)
    @test x == before
end

@testset "the messages: sizes, and that they are plain data" begin
    r = play(6; words = 1000, neighbours = 4)
    @test r.total == plain(r.x, UInt32)
    @test [message_bytes(r.sent[stage][1]) for stage = 1:4] ==
          [4 + 4 + 64, 4 + 4 + 32 + 4 * (4 + 4 + 80 + 16), 4 + 4 + 4000, 4 + 4 + 4 * 40]
    o = secure_sum(r.x; neighbours = 4)
    @test o.bytes_up == 6 .* [72, 456, 4008, 168]
    @test o.bytes_down == 6 .* [0, 4 + 4 * 72, 4 + 4 * 104, 4 + 4 * 4]
    isplain(x) =
        x isa Union{Integer,Vector{<:Union{Integer,Share}}} ||
        x isa Vector && all(isplain, x) ||
        !(x isa Vector) && all(i -> isplain(getfield(x, i)), 1:nfields(x))
    @test all(isplain(m) for stage in values(r.sent) for m in values(stage))
    @test !occursin(r"\[0x|seed", sprint(show, r.clients[1]))
end

@testset "a masked vector shows nothing, and each round has fresh keys" begin
    x = [zeros(UInt32, 4096) for _ = 1:6]
    rounds = [play(6; x, words = 4096) for _ = 1:2]
    for r in rounds, m in values(r.sent[3])
        counts = zeros(Int, 16)
        foreach(v -> counts[1+Int(v>>28)] += 1, m.values)
        @test sum(abs2, counts .- 256) / 256 < 44.3      # χ², as above
    end
    a, b = rounds
    secrets(r) = [v for c in values(r.sent[1]) for v in (c.sealing, c.masking)]
    @test allunique([secrets(a); secrets(b)])
    @test a.sent[3][1].values != b.sent[3][1].values
    # Even the sum of all masked vectors does: the clients' own masks are still in it.
    @test reduce(+, [m.values for m in values(a.sent[3])]) != a.total == zeros(UInt32, 4096)
    # A client forgets its secrets.
    @test all(c -> iszero(c.seed) && iszero(c.masking.secret) && isempty(c.held), a.clients)
end

@testset "too few are left: the round is aborted with the reason" begin
    x = [rand(UInt32, 10) for _ = 1:20]
    before = deepcopy(x)
    for (stage, words) in ((1, "are left after advertising keys, and 3 are needed"),
        (2, "are left after sharing secrets"),
        (3, "are left after sending the masked vector"), (4, "are left after unmasking"))

        o = secure_sum(x; vanishes = [fill(stage, 18); 0; 0])
        @test occursin(words, o.aborted) && o.sum === nothing && x == before
        @test sum(o.bytes_up) > 0
    end
    # At the threshold it goes on, one below it stops: 3 of 5 neighbors.
    ok(n, stage) =
        secure_sum(x[1:6]; threshold = 0.6, vanishes = [fill(stage, n); zeros(Int, 6 - n)])
    for stage in (2, 3)
        @test ok(2, stage).sum == plain(x[3:6], UInt32)
        @test occursin("2 of the 5 neighbors of client 4 are left", ok(3, stage).aborted)
    end
    @test ok(2, 4).sum == plain(x[1:6], UInt32)
    @test occursin("neighbors of client", ok(4, 4).aborted)
    @test occursin("0 clients are left", secure_sum(Vector{UInt32}[]).aborted)
end

"Six clients of round 3 up to the request, each with the vector [1] masked."
function six_masked()
    setup = SecureSetup{UInt32}(; round = 3, words = 1)
    clients, server = [SecureClient(setup, id) for id = 1:6], SecureServer(setup)
    foreach(c -> deliver!(server, advertise!(c)), clients)
    keys = advertised!(server)
    foreach(c -> deliver!(server, share!(c, keys[c.id])), clients)
    boxes = shared!(server)
    foreach(c -> mask!(c, boxes[c.id], UInt32[1]), clients)
    return clients
end

@testset "never both shares of one client" begin
    r = play(6; skip = Dict(2 => 3))
    @test r.total == plain(r.x[[1, 3, 4, 5, 6]], UInt32)
    request = r.requests[1]
    @test request.vanished == [2] && sort(request.arrived) == [3, 4, 5, 6]
    # Client 1 answered once, and does so no more.
    again = UnmaskRequest(3, UInt32[2, 3, 4, 5], UInt32[6])
    @test occursin("holds no share", message(() -> unmask!(r.clients[1], again)))
    # The server asks for too much.
    function asked(arrived, vanished; round = 3)
        first, request = six_masked()[1], UnmaskRequest(round, arrived, vanished)
        reason = message(() -> unmask!(first, request))
        # A refusal costs nothing: the right request is still answered.
        right = UnmaskRequest(3, UInt32[2, 3, 4, 5, 6], UInt32[])
        @test reason == "no error was thrown" || unmask!(first, right) isa UnmaskShares
        @test occursin("4 stages", message(() -> unmask!(first, right))) ||
              occursin("holds no share", message(() -> unmask!(first, right)))
        return reason
    end
    @test asked(UInt32[2, 3, 4, 5], UInt32[6]) == "no error was thrown"
    @test occursin("names a client twice", asked(UInt32[2, 3, 4, 5, 6], UInt32[6]))
    @test occursin("names a client twice", asked(UInt32[2, 2, 3, 4, 5], UInt32[6]))
    @test occursin("holds no share of client 1", asked(UInt32[1, 2, 3, 4, 5], UInt32[]))
    @test occursin("with 2 neighbors left", asked(UInt32[2, 3], UInt32[4, 5, 6]))
    @test occursin(
        "round 4 came in round 3",
        asked(UInt32[2, 3, 4, 5], UInt32[6]; round = 4)
    )
end

flip(v, i) = (w = copy(v); w[i] ⊻= 0x01; w)

"Stage 2's message of client `id`, with the shares that `alter` makes of its own."
garbled(id, alter) =
    (stage, m) ->
        stage == 2 && m.client == id ?
        ShareBundle(m.round, m.client, m.commitment, alter(m.shares)) : m
resealed(s, i) = SealedShares(s.from, s.to, flip(s.sealed, i))

@testset "a share that can't be opened costs no more than its mask" begin
    for i in (1, 40, 80, 81, 96)     # in the shares, and in the tag
        edit = garbled(5, shares -> [resealed(shares[1], i); shares[2:end]])
        r = play(; edit)
        @test r.total == plain(r.x, UInt32) && isempty(r.server.blamed)
        @test [p.client for p in r.sent[3][1].unopened] == [5]
        # Both sides, one of which vanishes later.
        for skip in (Dict(), Dict(1 => 3), Dict(5 => 3), Dict(1 => 4), Dict(5 => 4))
            both =
                (stage, m) -> garbled(1, v -> [v[1:3]; resealed(v[4], i); v[5]])(stage,
                    edit(stage, m))
            r = play(; edit = both, skip)
            there = filter(k -> get(skip, k, 5) > 3, 1:6)
            @test r.total == plain(r.x[there], UInt32)
        end
    end
end

@testset "who garbles its shares is left out, and named; the others' sum is right" begin
    every(shares) = resealed.(shares, 7)
    for (id, k) in ((5, nothing), (2, 4)), most in (every, v -> [every(v[1:3]); v[4:end]])
        r = play(7; edit = garbled(id, most), neighbours = k, threshold = 0.6)
        @test r.total == plain(r.x[setdiff(1:7, id)], UInt32)
        @test sort!(Int.(collect(r.server.arrived))) == setdiff(1:7, id)
        @test only(r.server.blamed)[1] == id
        @test occursin("sealed shares that", only(r.server.blamed)[2])
    end
    # It vanishes besides, before its vector or after it.
    for stage in (3, 4)
        r = play(7; edit = garbled(5, every), skip = Dict(5 => stage))
        @test r.total == plain(r.x[[1, 2, 3, 4, 6, 7]], UInt32)
    end
    # Two of ten do, and a third vanishes.
    edit(stage, m) = garbled(3, every)(stage, garbled(8, every)(stage, m))
    r = play(10; edit, skip = Dict(1 => 3), threshold = 0.5)
    @test r.total == plain(r.x[[2, 4, 5, 6, 7, 9, 10]], UInt32)
    @test sort!(Int.(collect(keys(r.server.blamed)))) == [3, 8]
end

@testset "a false complaint costs its maker's mask only" begin
    # Client 2 claims that it can't open what client 4 sent, and tells the mask.
    function edit(stage, m)
        stage == 3 && m.client == 2 || return m
        key = PairKey(4, zeros(UInt8, 32))
        return MaskedVector{UInt32}(m.round, m.client, m.values, [key])
    end
    r = play(; edit)
    @test r.server.arrived == Set(1:6) && isempty(r.server.blamed)
end

@testset "shares of another sender, or for another receiver" begin
    r = play()
    box = r.boxes[1].shares
    setup = SecureSetup{UInt32}(; round = 3, words = 5)
    swap(s, from, to) = SealedShares(from, to, s.sealed)
    fresh() = (c = SecureClient(setup, 1); advertise!(c); share!(c, r.keys[1]); c)
    given(shares) = message(() -> mask!(fresh(), ReceivedShares(3, shares), r.x[1]))
    @test occursin("can open the shares of 0 neighbors; expected at least 3", given(box))
    @test occursin("from 2 for 3", given([swap(box[1], 2, 3); box[2:end]]))
    @test occursin("from 9 for 1", given([swap(box[1], 9, 1); box[2:end]]))
    @test occursin("names a client twice", given([box[1]; box]))
end

wrong(share) = (share[1] ⊻ 0x1000, share[2:end]...)    # X25519 drops low bits
"Client 1's last message with wrong shares: all of `seeds`, of `keys`, or the first seed."
lying(id, seeds, keys) =
    (stage, m) ->
        stage == 4 && m.client == id ?
        UnmaskShares(m.round, m.client, seeds(m.seeds), keys(m.keys)) : m
first_wrong(v) = [wrong(v[1]); v[2:end]]
all_wrong(v) = wrong.(v)

@testset "wrong shares in the last stage don't count if enough right ones came" begin
    for (edit, skip) in ((lying(1, first_wrong, identity), Dict()),
        (lying(1, all_wrong, identity), Dict()),
        (lying(1, all_wrong, all_wrong), Dict(2 => 3)),
        (lying(1, identity, all_wrong), Dict(2 => 3)))
        r = play(; edit, skip, threshold = 0.6)
        @test r.total == plain(r.x[setdiff(1:6, keys(skip))], UInt32)
        @test only(r.server.blamed)[1] == 1
        @test occursin("sent a wrong share of client", only(r.server.blamed)[2])
    end
    # Three of twelve lie, and six are needed.
    edit(stage, m) = foldl((m, id) -> lying(id, all_wrong, identity)(stage, m), (1, 5, 9);
        init = m)
    r = play(12; edit, threshold = 0.5)
    @test r.total == plain(r.x, UInt32)
    @test sort!(Int.(collect(keys(r.server.blamed)))) == [1, 5, 9]
    # None is left over: the round is aborted, and the server doesn't know who it was.
    @test_throws RoundAborted play(; edit = lying(1, all_wrong, identity), threshold = 1)
    # A client that commits itself to another seed.
    committed(stage, m) =
        stage == 2 && m.client == 3 ?
        ShareBundle(m.round, m.client, flip(m.commitment, 1), m.shares) : m
    reason = try
        play(; edit = committed)
    catch err
        err.reason
    end
    @test occursin("client 3 has a seed that no 3 of the 5 shares of it give", reason)
end

@testset "a key of low order is refused from its owner" begin
    server = SecureServer(SecureSetup{UInt32}(; round = 3, words = 1))
    key = random_bytes(32)
    for keys in ((zeros(UInt8, 32), public_key(key)), (public_key(key), zeros(UInt8, 32)))
        sent = PublicKeys(3, 1, keys...)
        @test occursin("low order", message(() -> deliver!(server, sent)))
    end
end

@testset "no neighbor is the number 0, which would get the secret itself" begin
    for holders in (UInt32[0, 1, 2], UInt32[1, 1, 2])
        why = message(() -> share_secret(random_bytes(32), 2, holders))
        @test occursin("from 1 on", why)
    end
    setup = SecureSetup{UInt32}(; round = 3, words = 1)
    c, others = SecureClient(setup, 1), [SecureClient(setup, id) for id = 2:4]
    keys = advertise!.(others)
    advertise!(c)
    zeroth = PublicKeys(3, 0, keys[1].sealing, keys[1].masking)
    given = NeighborKeys(3, [keys; zeroth])
    @test occursin("the number 0", message(() -> share!(c, given)))
end

@testset "a left-out client's mask is told instead of its shares, never beside" begin
    clients = six_masked()
    asks(arrived, vanished, excluded) =
        message(() -> unmask!(clients[1], UnmaskRequest(3, arrived, vanished, excluded)))
    @test occursin("names a client twice", asks(UInt32[2, 3, 4, 5], UInt32[], UInt32[5]))
    @test occursin("names a client twice", asks(UInt32[2, 3, 4], UInt32[5], UInt32[5]))
    @test occursin("holds no share", asks(UInt32[2, 3, 4, 5], UInt32[], UInt32[7]))
    @test occursin("2 neighbors left", asks(UInt32[2, 3], UInt32[], UInt32[4, 5, 6]))
end

@testset "sizes, rounds and turns are checked on arrival" begin
    setup = SecureSetup{UInt32}(; round = 3, words = 5, neighbours = 4)
    server = SecureServer(setup)
    refused(words, m, s = server) = @test occursin(words, message(() -> deliver!(s, m)))
    key = random_bytes(32)
    refused("31 bytes", PublicKeys(3, 1, key[1:31], key))
    refused("33 bytes", PublicKeys(3, 1, key, [key; 0x00]))
    refused("of round 2 came in round 3", PublicKeys(2, 1, key, key))
    refused("number 0", PublicKeys(3, 0, key, key))
    refused(
        "came in stage 1, and belongs to stage 3",
        MaskedVector(UInt32(3), UInt32(1), UInt32[])
    )
    refused("takes none", MaskedVector(UInt32(3), UInt32(1), UInt64[1, 2, 3, 4, 5]))
    refused("takes none", "text")
    clients = [SecureClient(setup, id) for id = 1:6]
    ads = advertise!.(clients)
    foreach(m -> deliver!(server, m), ads)
    refused("sent a PublicKeys twice", ads[1])
    keys = advertised!(server)

    client_refuses(words, m) =
        @test occursin(words, message(() -> share!(clients[1], m)))
    mine = keys[1].keys
    client_refuses("of round 9 came in round 3", NeighborKeys(9, mine))
    client_refuses("was given 1 neighbors", NeighborKeys(3, mine[1:1]))
    client_refuses("was given 5 neighbors", NeighborKeys(3, ads[2:6]))
    client_refuses("itself", NeighborKeys(3, [mine[1:3]; ads[1]]))
    client_refuses("twice", NeighborKeys(3, [mine[1:3]; mine[3]]))
    client_refuses(
        "31 bytes",
        NeighborKeys(
            3,
            [mine[1:3];
                PublicKeys(3, mine[4].client, key, key[1:31])]
        )
    )
    @test occursin(
        "low order",
        message(
            () -> share!(SecureClient(setup, 1) |>
                   (c -> (advertise!(c); c)),
                NeighborKeys(
                    3,
                    [mine[1:3];
                        PublicKeys(3, mine[4].client, zeros(UInt8, 32), key)]
                ))
        )
    )
    @test occursin("stage 2 was asked for",
        message(() -> share!(SecureClient(setup, 1), keys[1])))

    bundles = [share!(c, keys[c.id]) for c in clients]
    b = bundles[1]
    remake(; commitment = b.commitment, shares = b.shares) =
        ShareBundle(3, 1, commitment, shares)
    refused("a commitment has 3 bytes", remake(commitment = UInt8[1, 2, 3]))
    refused("one share to each", remake(shares = b.shares[1:3]))
    refused("one share to each", remake(shares = [b.shares[2]; b.shares[2:end]]))
    refused(
        "has 95 bytes",
        remake(
            shares = [SealedShares(1, b.shares[1].to,
                    b.shares[1].sealed[1:95]); b.shares[2:end]]
        )
    )
    foreach(m -> deliver!(server, m), bundles[1:5])
    boxes = shared!(server)
    refused("came in stage 3", bundles[6])

    x = rand(UInt32, 5)
    @test occursin("has 4 values; expected 5",
        message(() -> mask!(clients[1], boxes[1], x[1:4])))
    masked = [mask!(clients[i], boxes[i], x) for i = 1:5]
    @test occursin("stage 3 was asked for",
        message(() -> mask!(clients[1], boxes[1], x)))
    refused("sent 4 values; expected 5", MaskedVector(UInt32(3), UInt32(1), x[1:4]))
    refused("did not take part", MaskedVector(UInt32(3), UInt32(6), x))
    foreach(m -> deliver!(server, m), masked)
    refused("sent a MaskedVector twice", masked[1])
    requests = masked!(server)
    answers = [unmask!(clients[i], requests[i]) for i = 1:5]
    a = answers[1]
    refused("shares of seeds and of keys, and masks; expected",
        UnmaskShares(3, 1, a.seeds[2:end], a.keys))
    refused("no element of the field",
        UnmaskShares(3, 1, [ntuple(_ -> FIELD, 5); a.seeds[2:end]], a.keys))
    foreach(m -> deliver!(server, m), answers)
    @test unmasked!(server) == UInt32(5) .* x

    # a message of an earlier round, relabeled: its keys are others
    old = play(6; neighbours = 4)
    late = SecureClient(setup, 1)
    advertise!(late)
    share!(late, old.keys[1])
    @test occursin("can open the shares of 0", message(() -> mask!(late, old.boxes[1], x)))
end

@testset "settings out of range" begin
    refused(words; kw...) = @test occursin(words,
        message(() -> SecureSetup{UInt32}(; round = 1, words = 1, kw...)))
    refused("neighbours is 3; expected an even number"; neighbours = 3)
    refused("neighbours is 0"; neighbours = 0)
    refused("threshold is 0"; threshold = 0)
    refused("threshold is 1.01"; threshold = 1.01)
    refused("words is -1"; words = -1)
    x = [UInt32[1], UInt32[1, 2]]
    @test occursin("1 and 2 values", message(() -> secure_sum(x)))
    @test occursin("stage from 0 to 4",
        message(() -> secure_sum(x[[1, 1, 1]]; vanishes = [0, 0, 5])))
    setup = SecureSetup{UInt32}(; round = 1, words = 1)
    @test occursin("id is 0", message(() -> SecureClient(setup, 0)))
end
