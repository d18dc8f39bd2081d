/* The device's side of the delta engine, in CUDA C++. Host side: kernels.rs; the same digest in Rust: runtime's digest.rs; the same
 * kernels for OpenCL: opencl/src/delta/kernels.cl. scripts/files/ptx makes kernels.ptx of this.
 *
 * A chunk is 4096 bytes, worked on by a warp. Lane t loads the 16-byte vectors t, t+32, … t+224 (coalesced): those of the reference's
 * items t and t+32 in turn. An item treats its 16 words as one run of the NH hash, keyed by 22 words of its own. The four NH sums
 * are added up over the warp, and each is compressed to 32 bits. No shared memory and no barrier: a warp never waits for
 * another. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define CHUNK_BYTES 4096u
#define WARP 32u
#define WARPS 8u               /* of a block */
#define ALL 0xffffffffu
#define ITEMS 64u
#define KEYS 22u               /* key words an item needs: its 16 and 6 more for the shifts */
#define GROUP 8u               /* chunks of a detect group: one bit each in a flag byte */

#define MODE_ALL 1u            /* every chunk counts as changed */
#define MODE_DRY 2u            /* leave the table alone */

/* One session's keys, as the host lays them out. */
struct Keys {
    u32 item[KEYS * ITEMS];    /* word k of item l at k * 64 + l */
    u64 finish[12];            /* three for each lane of the digest */
    u32 zero[4];               /* the digest of zeros */
};

struct Chunk {
    uint4 v[8];
};

/* Byte `at`, loaded once; zero beyond `size`. */
static __device__ __forceinline__ u64 load_byte(const u8 *bytes, u64 at, u64 size)
{
    return at < size ? *(const volatile u8 *)(bytes + at) : 0;
}

/* 16 bytes at byte `at`, each loaded once. */
static __device__ __forceinline__ uint4 load_bytes(const u8 *bytes, u64 at, u64 size)
{
    u64 low = 0, high = 0;
#pragma unroll 1
    for (u32 i = 0; i < 8u; i++) {
        low |= load_byte(bytes, at + i, size) << (8u * i);
        high |= load_byte(bytes, at + 8u + i, size) << (8u * i);
    }
    return make_uint4((u32)low, (u32)(low >> 32), (u32)high, (u32)(high >> 32));
}

/* 16 bytes that are loaded exactly once, whatever is done with them: what is hashed is what is stored. */
static __device__ __forceinline__ uint4 load_once(const uint4 *at)
{
    uint4 v;
    asm volatile("ld.volatile.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(__cvta_generic_to_global(at)));
    return v;
}

/* A buffer may start anywhere; its last chunk may be short. */
static __device__ __forceinline__ bool is_whole(const u8 *bytes, u64 at, u64 size)
{
    return at + CHUNK_BYTES <= size && ((u64)bytes & 15u) == 0;
}

template <bool ONCE> static __device__ __forceinline__ Chunk load(const u8 *bytes, u64 at, u64 size, u32 t)
{
    Chunk c;
    if (is_whole(bytes, at, size)) {
        const uint4 *p = (const uint4 *)(bytes + at) + t;
#pragma unroll
        for (u32 i = 0; i < 8u; i++)
            c.v[i] = ONCE ? load_once(p + i * WARP) : __ldcs(p + i * WARP);
    } else {
#pragma unroll
        for (u32 i = 0; i < 8u; i++)
            c.v[i] = load_bytes(bytes, at + 16u * (t + i * WARP), size);
    }
    return c;
}

/* The key words of items t and t+32. */
struct LaneKeys {
    u32 item[2][KEYS];
    u64 high, low, add;
    u32 zero;
};

static __device__ __forceinline__ LaneKeys load_keys(const Keys *keys, u32 t)
{
    LaneKeys k;
#pragma unroll
    for (u32 i = 0; i < KEYS; i++) {
        k.item[0][i] = __ldg(&keys->item[i * ITEMS + t]);
        k.item[1][i] = __ldg(&keys->item[i * ITEMS + WARP + t]);
    }
    const u32 lane = t / 8u;
    k.high = __ldg(&keys->finish[3u * lane]);
    k.low = __ldg(&keys->finish[3u * lane + 1u]);
    k.add = __ldg(&keys->finish[3u * lane + 2u]);
    k.zero = __ldg(&keys->zero[lane]);
    return k;
}

static __device__ __forceinline__ u64 from_other(u64 value, u32 distance)
{
    const u32 low = __shfl_xor_sync(ALL, (u32)value, distance);
    const u32 high = __shfl_xor_sync(ALL, (u32)(value >> 32), distance);
    return (u64)high << 32 | low;
}

/* Word t/8 of the chunk's digest. All lanes of the warp call it. */
static __device__ __forceinline__ u32 digest(const Chunk &c, const LaneKeys &k, u32 t)
{
    u64 sum[4] = {0, 0, 0, 0};
#pragma unroll
    for (u32 i = 0; i < 8u; i++) {
        const u32 *key = k.item[i & 1u] + 4u * (i >> 1);
#pragma unroll
        for (u32 lane = 0; lane < 4u; lane++) {
            const u32 *shifted = key + 2u * lane;
            sum[lane] += (u64)(c.v[i].x + shifted[0]) * (c.v[i].y + shifted[1]);
            sum[lane] += (u64)(c.v[i].z + shifted[2]) * (c.v[i].w + shifted[3]);
        }
    }
    /* Each half of the warp keeps two of the sums, each quarter one. */
    const bool upper = t & 16u, odd = t & 8u;
    const u64 a = (upper ? sum[2] : sum[0]) + from_other(upper ? sum[0] : sum[2], 16u);
    const u64 b = (upper ? sum[3] : sum[1]) + from_other(upper ? sum[1] : sum[3], 16u);
    u64 y = (odd ? b : a) + from_other(odd ? a : b, 8u);
    y += from_other(y, 4u);
    y += from_other(y, 2u);
    y += from_other(y, 1u);
    return (u32)((k.high * (y >> 32) + k.low * (u32)y + k.add) >> 32);
}

/* Which of the chunks first .. end differ from the table. A warp does 8 chunks at a time and writes two bytes: a bit a chunk for
 * "changed", and one for "changed, and all zero now". A chunk of zeros is sent as such whatever happens to it next, so its
 * digest goes into the table here. */
extern "C" __global__ void __launch_bounds__(WARP * WARPS, 2)
detect(const u8 *bytes, u64 size, u32 first, u32 end, u32 *table, const Keys *keys, u16 *flags, u32 flags_at, u32 mode)
{
    const u32 t = threadIdx.x % WARP;
    const u32 groups = (end - first + GROUP - 1u) / GROUP;
    const LaneKeys k = load_keys(keys, t);
    for (u32 group = blockIdx.x * WARPS + threadIdx.x / WARP; group < groups; group += gridDim.x * WARPS) {
        const u32 begin = first + group * GROUP;
        u32 changed = 0, zeros = 0;
#pragma unroll 1
        for (u32 i = 0; i < GROUP && begin + i < end; i++) {
            const u64 chunk = begin + i;
            u32 *const word = table + 4u * chunk + t / 8u;
            const u32 before = *word;
            const Chunk c = load<false>(bytes, chunk * CHUNK_BYTES, size, t);
            const u32 now = digest(c, k, t);
            const u32 is_changed = (mode & MODE_ALL) || __any_sync(ALL, now != before);
            const u32 is_zero = is_changed && __all_sync(ALL, now == k.zero);
            if (is_zero && !(mode & MODE_DRY) && t % 8u == 0)
                *word = now;
            changed |= is_changed << i;
            zeros |= is_zero << i;
        }
        if (t == 0)
            flags[flags_at + group] = (u16)(changed | zeros << 8);
    }
}

/* Copies listed chunks into the staging memory and puts the digests of the copies into the table. An entry is (chunk,
 * destination in 8-byte units). The source may change under our hands. */
extern "C" __global__ void __launch_bounds__(WARP * WARPS, 2)
gather(const u8 *bytes, u64 size, u32 *table, const Keys *keys, const uint2 *entries, u32 first, u32 end, u8 *staging)
{
    const u32 t = threadIdx.x % WARP;
    const LaneKeys k = load_keys(keys, t);
    for (u32 at = first + blockIdx.x * WARPS + threadIdx.x / WARP; at < end; at += gridDim.x * WARPS) {
        const uint2 entry = entries[at];
        const u64 from = (u64)entry.x * CHUNK_BYTES;
        const Chunk c = load<true>(bytes, from, size, t);
        u8 *const to = staging + 8ull * entry.y;
        const u64 left = size - from;
        if (left >= CHUNK_BYTES && !(entry.y & 1u)) {
            uint4 *const vectors = (uint4 *)to + t;
#pragma unroll
            for (u32 i = 0; i < 8u; i++)
                vectors[i * WARP] = c.v[i];
        } else {
            /* The buffer's end, or a chunk behind such an end: 8 bytes at a time, none that begin beyond the end. */
            const u32 room = left < CHUNK_BYTES ? (u32)left : CHUNK_BYTES;
            uint2 *const halves = (uint2 *)to + 2u * t;
#pragma unroll
            for (u32 i = 0; i < 8u; i++) {
                const u32 offset = 16u * (t + i * WARP);
                if (offset < room)
                    halves[i * 2u * WARP] = make_uint2(c.v[i].x, c.v[i].y);
                if (offset + 8u < room)
                    halves[i * 2u * WARP + 1u] = make_uint2(c.v[i].z, c.v[i].w);
            }
        }
        const u32 now = digest(c, k, t);
        if (t % 8u == 0)
            table[4ull * entry.x + t / 8u] = now;
    }
}
