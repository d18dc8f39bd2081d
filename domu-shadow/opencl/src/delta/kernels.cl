/* The device's side of the delta engine, in OpenCL C 1.2. Host side: engine.rs; the same digest in Rust: digest.rs.
 *
 * A chunk is 4096 bytes, worked on by a work-group of 64 items. Item l loads the 16-byte vectors l, l+64, l+128 and
 * l+192 (coalesced) and treats their 16 words as one consecutive run of the NH hash, keyed by 22 words of its own.
 * Four NH sums (Toeplitz-shifted keys) a chunk, each 64 bits, are then compressed to 32 bits each. Sums are plain
 * additions, so their order, and with it the shape of the reduction, does not matter. Docs: docs/dirty-tracking.md.
 */
#define CHUNK_BYTES 4096u
#define ITEMS 64u
#define VECTORS 256u           /* 16-byte vectors a chunk */
#define KEYS 22u               /* key words an item needs: its 16 and 6 more for the shifts */
#define BATCH 4u               /* chunks reduced together: 16 sums by 64 items */
#define SUMS (4u * BATCH)
#define STRIDE 68u             /* 64 and padding, so that the reduction meets no bank conflicts */
#define GROUP 8u               /* chunks of a detect group: one bit each in a flag byte */

#define MODE_ALL 1u            /* every chunk counts as changed */
#define MODE_DRY 2u            /* leave the table alone */
#define MODE_BYTEWISE 4u       /* the buffer's start is not 16-byte aligned */

/* 16 bytes at byte `at`, a byte at a time; zero beyond `size`. */
uint4 load_bytes(__global const volatile uchar *bytes, ulong at, ulong size)
{
    uint w[4];
    for (uint i = 0; i < 4u; i++) {
        w[i] = 0;
        for (uint j = 0; j < 4u; j++) {
            ulong k = at + 4u * i + j;
            if (k < size)
                w[i] |= (uint)bytes[k] << (8u * j);
        }
    }
    return (uint4)(w[0], w[1], w[2], w[3]);
}

/* One lane of NH over a vector: two products of keyed words. */
#define NH(v, k, o) \
    ((ulong)((v).x + k[o]) * (ulong)((v).y + k[(o) + 1]) + (ulong)((v).z + k[(o) + 2]) * (ulong)((v).w + k[(o) + 3]))
#define NH_LANE(i) (NH(v0, k, 2 * (i)) + NH(v1, k, 4 + 2 * (i)) + NH(v2, k, 8 + 2 * (i)) + NH(v3, k, 12 + 2 * (i)))
/* This item's four sums of chunk `c` of the batch. */
#define STORE_SUMS(c) do { \
        __local ulong *mine = sums + 4u * (c) * STRIDE + l; \
        mine[0] = NH_LANE(0); \
        mine[STRIDE] = NH_LANE(1); \
        mine[2u * STRIDE] = NH_LANE(2); \
        mine[3u * STRIDE] = NH_LANE(3); \
    } while (0)
#define LOAD_KEYS(k) \
    uint k[KEYS]; \
    for (uint t = 0; t < KEYS; t++) \
        k[t] = key[t * ITEMS + l]

/* The batch's sums to digests: digests[4 * chunk + lane]. All items of the group call it. */
void fold(__local ulong *sums, __local ulong *parts, __local uint *digests, __global const ulong *finish, uint l)
{
    barrier(CLK_LOCAL_MEM_FENCE);
    ulong part = 0;
    for (uint j = 0; j < ITEMS / 4u; j++)
        part += sums[(l / 4u) * STRIDE + l % 4u + 4u * j];
    parts[l] = part;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (l < SUMS) {
        ulong y = parts[4u * l] + parts[4u * l + 1u] + parts[4u * l + 2u] + parts[4u * l + 3u];
        __global const ulong *f = finish + 3u * (l % 4u);
        digests[l] = (uint)((f[0] * (y >> 32) + f[1] * (y & 0xffffffffUL) + f[2]) >> 32);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

uint4 digest_of(__local const uint *digests, uint c)
{
    return (uint4)(digests[4u * c], digests[4u * c + 1u], digests[4u * c + 2u], digests[4u * c + 3u]);
}

/* Which of the chunks first .. end differ from the table. One group does 8 chunks and writes two bytes: a bit a
 * chunk for "changed", and one for "changed, and all zero now". A chunk of zeros is sent as such whatever
 * happens to it next, so its digest goes into the table here. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void detect(__global const uchar *bytes, const ulong size, const uint first, const uint end, __global uint4 *table,
            __global const uint *key, __global const ulong *finish, const uint4 zero, __global uchar2 *flags,
            const uint flags_at, const uint mode)
{
    __local ulong sums[SUMS * STRIDE];
    __local ulong parts[ITEMS];
    __local uint digests[SUMS];
    __local uint marks[GROUP];
    const uint l = (uint)get_local_id(0);
    const uint group = (uint)get_group_id(0);
    const uint begin = first + group * GROUP;
    LOAD_KEYS(k);

    for (uint batch = 0; batch < GROUP; batch += BATCH) {
        for (uint c = 0; c < BATCH; c++) {
            const uint chunk = begin + batch + c;
            const ulong at = (ulong)chunk * CHUNK_BYTES;
            uint4 v0 = 0, v1 = 0, v2 = 0, v3 = 0;
            if (chunk < end) {
                if (at + CHUNK_BYTES <= size && !(mode & MODE_BYTEWISE)) {
                    __global const uint4 *p = (__global const uint4 *)(bytes + at) + l;
                    v0 = p[0];
                    v1 = p[ITEMS];
                    v2 = p[2u * ITEMS];
                    v3 = p[3u * ITEMS];
                } else {
                    v0 = load_bytes(bytes, at + 16u * l, size);
                    v1 = load_bytes(bytes, at + 16u * (l + ITEMS), size);
                    v2 = load_bytes(bytes, at + 16u * (l + 2u * ITEMS), size);
                    v3 = load_bytes(bytes, at + 16u * (l + 3u * ITEMS), size);
                }
            }
            STORE_SUMS(c);
        }
        fold(sums, parts, digests, finish, l);
        if (l < BATCH) {
            const uint chunk = begin + batch + l;
            uint mark = 0;
            if (chunk < end) {
                const uint4 digest = digest_of(digests, l);
                if ((mode & MODE_ALL) || any(digest != table[chunk])) {
                    mark = 1u;
                    if (all(digest == zero)) {
                        mark = 3u;
                        if (!(mode & MODE_DRY))
                            table[chunk] = zero;
                    }
                }
            }
            marks[batch + l] = mark;
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (l == 0) {
        uint changed = 0, zeros = 0;
        for (uint i = 0; i < GROUP; i++) {
            changed |= (marks[i] & 1u) << i;
            zeros |= (marks[i] >> 1) << i;
        }
        flags[flags_at + group] = (uchar2)((uchar)changed, (uchar)zeros);
    }
}

/* Vector `at` of a chunk with `room` bytes: 8 bytes at a time, none that begin beyond its end. */
void store_short(__global uint2 *to, uint at, uint room, uint4 v)
{
    const uint i = 2u * at;
    if (8u * i < room)
        to[i] = v.xy;
    if (8u * i + 8u < room)
        to[i + 1u] = v.zw;
}

/* Copies listed chunks into the staging memory and puts the digests of the copies into the table.
 *
 * An entry is (chunk, destination in 8-byte units). The source may change under our hands: it is `volatile`, so that
 * each word is loaded exactly once and what is hashed is what was stored. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void gather(__global const uchar *bytes, const ulong size, __global uint4 *table, __global const uint *key,
            __global const ulong *finish, __global const uint2 *entries, const uint first, const uint end,
            __global uchar *staging, const uint mode)
{
    __local ulong sums[SUMS * STRIDE];
    __local ulong parts[ITEMS];
    __local uint digests[SUMS];
    const uint l = (uint)get_local_id(0);
    const uint begin = first + (uint)get_group_id(0) * BATCH;
    LOAD_KEYS(k);

    for (uint c = 0; c < BATCH; c++) {
        uint4 v0 = 0, v1 = 0, v2 = 0, v3 = 0;
        if (begin + c < end) {
            const uint2 entry = entries[begin + c];
            const ulong at = (ulong)entry.x * CHUNK_BYTES;
            __global uchar *to = staging + (ulong)entry.y * 8u;
            if (at + CHUNK_BYTES <= size && !(mode & MODE_BYTEWISE)) {
                __global const volatile uint4 *p = (__global const volatile uint4 *)(bytes + at) + l;
                v0 = p[0];
                v1 = p[ITEMS];
                v2 = p[2u * ITEMS];
                v3 = p[3u * ITEMS];
            } else {
                v0 = load_bytes(bytes, at + 16u * l, size);
                v1 = load_bytes(bytes, at + 16u * (l + ITEMS), size);
                v2 = load_bytes(bytes, at + 16u * (l + 2u * ITEMS), size);
                v3 = load_bytes(bytes, at + 16u * (l + 3u * ITEMS), size);
            }
            if (at + CHUNK_BYTES <= size && !(entry.y & 1u)) {
                __global uint4 *d = (__global uint4 *)to + l;
                d[0] = v0;
                d[ITEMS] = v1;
                d[2u * ITEMS] = v2;
                d[3u * ITEMS] = v3;
            } else {
                /* The buffer's end, or a chunk behind such an end. Not in a loop that selects the vector: pocl 5.0 makes
                 * wrong code of that, at random (proof.rs). */
                const uint room = (uint)min((ulong)CHUNK_BYTES, size - at);
                __global uint2 *d = (__global uint2 *)to;
                store_short(d, l, room, v0);
                store_short(d, l + ITEMS, room, v1);
                store_short(d, l + 2u * ITEMS, room, v2);
                store_short(d, l + 3u * ITEMS, room, v3);
            }
        }
        STORE_SUMS(c);
    }
    fold(sums, parts, digests, finish, l);
    if (l < BATCH && begin + l < end)
        table[entries[begin + l].x] = digest_of(digests, l);
}
