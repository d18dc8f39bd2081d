// Kernels of the interpreter's tests. kernels.ptx is what NVRTC 12.9 makes of it for compute_70.
typedef unsigned long long u64;
typedef unsigned u32;
typedef unsigned char u8;

__device__ int counter = 7;
__constant__ float factors[4] = {1.f, 2.f, 3.f, 4.f};
__device__ int *pointer_to_counter = &counter;

extern "C" __global__ void add(float *a, const float *b, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        a[i] = a[i] + b[i] * factors[i & 3];
}

// The sum of all, through shared memory, barriers and an atomic operation.
extern "C" __global__ void reduce(const u32 *in, u32 *out, int n)
{
    __shared__ u32 part[256];
    int t = threadIdx.x;
    u32 v = 0;
    for (int i = blockIdx.x * blockDim.x + t; i < n; i += gridDim.x * blockDim.x)
        v += in[i];
    part[t] = v;
    __syncthreads();
    for (int k = 128; k; k >>= 1) {
        if (t < k)
            part[t] += part[t + k];
        __syncthreads();
    }
    if (t == 0)
        atomicAdd(out, part[0]);
}

// 64-bit arithmetic, vectors, shuffles, dynamic shared memory.
extern "C" __global__ void hash(const ulonglong2 *in, u64 *out, u64 seed)
{
    extern __shared__ u64 sums[];
    u64 h = seed ^ threadIdx.x;
    for (int i = 0; i < 4; i++) {
        ulonglong2 v = in[i * blockDim.x + threadIdx.x];
        u64 k = v.x ^ h;
        h += v.y + (u64)(u32)k * (u32)(k >> 32);
        h = (h ^ (h >> 47)) * 0x9E3779B97F4A7C15ull;
        h = __umul64hi(h, seed) ^ h;
    }
    for (int o = 16; o; o >>= 1)
        h += __shfl_down_sync(0xffffffff, h, o);
    if ((threadIdx.x & 31) == 0)
        sums[threadIdx.x / 32] = h;
    __syncthreads();
    if (threadIdx.x == 0) {
        u64 sum = 0;
        for (int i = 0; i < blockDim.x / 32; i++)
            sum += sums[i];
        out[0] = sum;
    }
}

extern "C" __global__ void reals(double *d, float *f)
{
    int i = threadIdx.x;
    d[i] = sqrt(d[i]) / 3.0 + fma(d[i], 2.0, 1.0);
    f[i] = floorf(fminf(sqrtf(f[i]) * 1.5f, 3.25f)) + (float)i / 4.f + (float)(int)d[i];
}

extern "C" __global__ void integers(int *s, u32 *u)
{
    int i = threadIdx.x;
    int a = s[i], b = i - 16;
    u32 c = u[i];
    s[i] = (b ? a / b + a % b : 5) + (a >> 3) + max(a, b) * min(a, -b) + __mulhi(a, b * 1000003);
    u[i] = __popc(c) + __clz(c) + __brev(c) + __ffs(c) + c % 7 + c / 5 + __funnelshift_l(c, a, 5)
           + __byte_perm(c, a, 0x3210 + i) + (short)c * (signed char)a + (u8)(c >> 3);
}

// Lanes that part in loops of different length, and a table of branches.
extern "C" __global__ void parted(u32 *out)
{
    u32 x = threadIdx.x, n = 0;
    while (x != 1 && x != 0) {
        x = x & 1 ? 3 * x + 1 : x / 2;
        n++;
    }
    int local[8];
    for (int i = 0; i < 8; i++)
        local[i] = i * (int)n;
    switch (n & 7) {
    case 0: n += 11; break;
    case 1: n += 22; break;
    case 2: n *= 3; break;
    case 3: n ^= 0x55; break;
    case 4: n -= 9; break;
    default: n = ~n;
    }
    out[threadIdx.x] = n + local[(n + threadIdx.x) & 7];
}

extern "C" __global__ void votes(u32 *out)
{
    u32 odd = __ballot_sync(0xffffffff, threadIdx.x & 1);
    int all = __all_sync(0xffffffff, threadIdx.x < 64), any = __any_sync(0xffffffff, threadIdx.x == 40);
    int count = __syncthreads_count(threadIdx.x % 3 == 0);
    int some = __syncthreads_or(threadIdx.x == 5);
    out[threadIdx.x] = odd + all * 2 + any * 4 + count * 8 + some * 1024 + __shfl_xor_sync(0xffffffff, threadIdx.x, 3)
                       + __shfl_sync(0xffffffff, threadIdx.x, 7, 16);
}

extern "C" __global__ void atomics(u32 *u, u64 *l, float *f)
{
    atomicMax(&u[0], threadIdx.x);
    atomicOr(&u[1], 1u << (threadIdx.x & 31));
    atomicInc(&u[2], 9);
    atomicCAS(&u[3], 0, 77);
    atomicAdd(l, 1ull << 33);
    atomicAdd(f, 0.5f);
    atomicAdd(pointer_to_counter, 1);
}

__device__ __noinline__ u32 twice(u32 a, u32 b) { return b ? a * b + 1 : 3; }

struct Values { u64 p[4]; int n; };

extern "C" __global__ void calls(Values values, u32 *out)
{
    out[threadIdx.x] = twice(threadIdx.x, values.n) + twice(out[threadIdx.x], 2) + (u32)values.p[values.n & 3];
}

// Waits until the program says go.
extern "C" __global__ void wait_for(volatile u32 *go, u32 *out)
{
    while (!*go)
        ;
    out[threadIdx.x] = 5;
}

// All blocks wait for each other.
extern "C" __global__ void meet(u32 *arrived)
{
    if (threadIdx.x == 0) {
        atomicAdd(arrived, 1);
        while (*(volatile u32 *)arrived < gridDim.x)
            ;
    }
    __syncthreads();
}

extern "C" __global__ void work(u32 *out, u32 rounds)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x, x = i + 1;
    for (u32 n = 0; n < rounds; n++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
    }
    out[i] = x;
}

extern "C" __global__ void stop() { __trap(); }
