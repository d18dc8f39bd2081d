// The kernels of these programs. scripts/files/ptx makes kernels.ptx beside it.
typedef unsigned int uint;
typedef unsigned long long ulong;

extern "C" {

__device__ uint counters[1024];
__device__ uint *keeper;
__constant__ uint factor = 3;

// Also on the host: user.h.
static __device__ uint mixed(uint value)
{
    value = (value ^ (value >> 16)) * 0x7feb352du;
    value = (value ^ (value >> 15)) * 0x846ca68bu;
    return value ^ (value >> 16);
}

static __device__ ulong index()
{
    return (ulong)blockIdx.x * blockDim.x + threadIdx.x;
}

__global__ void fill(uint *words, ulong count, uint seed)
{
    for (ulong i = index(); i < count; i += (ulong)gridDim.x * blockDim.x) words[i] = mixed((uint)i + seed);
}

__global__ void advance(uint *words, ulong count, uint by)
{
    ulong i = index();
    if (i < count) words[i] = words[i] * 3 + by;
}

// Independent of the order in which threads run.
__global__ void digest(const uint *words, ulong count, ulong *sum)
{
    ulong own = 0;
    for (ulong i = index(); i < count; i += (ulong)gridDim.x * blockDim.x)
        own += (ulong)mixed(words[i] ^ mixed((uint)i)) << (i & 15);
    atomicAdd(sum, own);
}

// One word of every `step`-th 4 KiB.
__global__ void touch(uint *words, ulong chunks, uint step, uint seed)
{
    ulong chunk = index() * step + seed % step;
    if (chunk < chunks) words[chunk * 1024 + seed % 1024] += seed | 1;
}

__global__ void count(uint *counter)
{
    if (index() == 0) *counter += 1;
}

// That many rounds of a generator for each word.
__global__ void work(uint *words, ulong count, uint rounds)
{
    ulong i = index();
    if (i >= count) return;
    uint x = words[i] | 1;
    for (uint round = 0; round < rounds; round++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
    }
    words[i] = x;
}

// Each block of 64 reverses its part.
__global__ void reverse(uint *words)
{
    __shared__ uint part[64];
    part[threadIdx.x] = words[index()];
    __syncthreads();
    words[index()] = part[63 - threadIdx.x];
}

// With shared memory of the size that the launch says.
__global__ void rotate(uint *words, uint by)
{
    extern __shared__ uint group[];
    group[threadIdx.x] = words[index()];
    __syncthreads();
    words[index()] = group[(threadIdx.x + by) % blockDim.x];
}

__global__ void with_globals(uint *words, ulong count)
{
    ulong i = index();
    if (i >= count) return;
    counters[i & 1023] += 1;
    words[i] = words[i] * factor + counters[i & 1023];
    if (i == 0 && keeper) *keeper += 1;
}

struct node {
    node *next;
    uint value, padding;
};

// Nodes in one allocation or many, linked by their addresses; a single thread walks them.
__global__ void follow(node *first, ulong *sum)
{
    ulong own = 0;
    for (node *at = first; at; at = at->next) {
        own = own * 31 + at->value;
        at->value += 1;
    }
    *sum = own;
}

// All blocks wait for one another `rounds` times: only for a cooperative launch, and only where blocks run at once.
__global__ void together(uint *words, uint *arrived, uint rounds)
{
    for (uint round = 1; round <= rounds; round++) {
        uint value = words[(index() + 1) % (gridDim.x * blockDim.x)];
        __syncthreads();
        if (threadIdx.x == 0) {
            __threadfence();
            atomicAdd(arrived, 1u);
            while (*(volatile uint *)arrived < gridDim.x * (2 * round - 1)) {}
        }
        __syncthreads();
        words[index()] = value + round;
        __syncthreads();
        if (threadIdx.x == 0) {
            __threadfence();
            atomicAdd(arrived, 1u);
            while (*(volatile uint *)arrived < gridDim.x * 2 * round) {}
        }
        __syncthreads();
    }
}

__global__ void axpy(float *y, const float *x, float a, uint n)
{
    uint i = (uint)index();
    if (i < n) y[i] = a * x[i] + y[i];
}

// One step of wave.c, on a closed string.
__global__ void wave_step(const uint *now, uint *before, ulong points)
{
    ulong i = index();
    if (i >= points) return;
    before[i] = now[i ? i - 1 : points - 1] + now[i + 1 < points ? i + 1 : 0] - before[i];
}

// Of patterns.c: a word of a chunk at a version.
static __device__ uint word(ulong at, uint version)
{
    uint v = (uint)at * 2654435761u ^ (uint)(at >> 32) * 2246822519u ^ version * 3266489917u;
    return (v ^ v >> 15) * 2654435761u;
}

// A block of 128 threads for each chunk; the j-th of a step is number (start + j * stride) modulo all.
__global__ void touch_chunks(uint *words, ulong first, ulong chunks, ulong all, ulong start, ulong stride, uint version)
{
    ulong chunk = (start + (ulong)blockIdx.x * stride % all) % all;
    if (chunk < first || chunk >= first + chunks) return;
    for (uint i = threadIdx.x; i < 1024; i += blockDim.x) words[(chunk - first) * 1024 + i] = word(chunk * 1024 + i, version);
}

__global__ void check_chunks(const uint *words, const uint *versions, ulong first, uint *wrong)
{
    ulong chunk = blockIdx.x;
    for (uint i = threadIdx.x; i < 1024; i += blockDim.x)
        if (words[chunk * 1024 + i] != word((first + chunk) * 1024 + i, versions[chunk])) atomicAdd(wrong, 1u);
}

__global__ void stream(const uint4 *from, uint4 *to, uint rounds, uint count)
{
    uint4 sum = {0, 0, 0, 0};
    for (uint round = 0; round < rounds; round++)
        for (uint i = (uint)index(); i < count; i += gridDim.x * blockDim.x) {
            uint4 one = from[i];
            sum.x += one.x ^ round;
            sum.y += one.y ^ round;
            sum.z += one.z ^ round;
            sum.w += one.w ^ round;
        }
    to[index()] = sum;
}

__global__ void poke(uint *at) { *at = 1; }

__global__ void nothing() {}
}
