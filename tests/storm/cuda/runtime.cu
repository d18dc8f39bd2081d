// runtime: what the CUDA runtime offers beside plain kernels: textures and surfaces, grids that synchronise, kernels that launch kernels,
// memory of the host that kernels write to, symbols, printf, Thrust. Built by nvcc, with the static runtime:
//     nvcc -O2 -std=c++17 -rdc=true -arch=native -o runtime runtime.cu
// Prints one RESULT for each part; ends with 2 at the first call that fails.
#include <cooperative_groups.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thrust/device_vector.h>
#include <thrust/reduce.h>
#include <thrust/scan.h>
#include <thrust/sort.h>
#include <unistd.h>

namespace cg = cooperative_groups;
constexpr int SIDE = 256, WORDS = SIDE * SIDE;

#define CALL(call) \
    do { \
        cudaError_t error = (call); \
        if (error != cudaSuccess) { \
            std::printf("FAILED %s: %s\n", #call, cudaGetErrorString(error)); \
            std::exit(2); \
        } \
    } while (0)

__constant__ unsigned factor;
__device__ unsigned total;

__global__ void through_texture(cudaTextureObject_t from, cudaSurfaceObject_t to)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    unsigned word = tex2D<unsigned>(from, (x + 1) % SIDE, y) * factor + y;
    surf2Dwrite(word, to, x * (int)sizeof word, y);
}

__global__ void together(unsigned *words, int rounds)
{
    cg::grid_group grid = cg::this_grid();
    for (int round = 0; round < rounds; round++) {
        for (unsigned i = grid.thread_rank(); i < WORDS; i += grid.size())
            words[WORDS + i] = words[(i + 4099) % WORDS] * 22695477u + round;
        grid.sync();
        for (unsigned i = grid.thread_rank(); i < WORDS; i += grid.size())
            words[i] = words[WORDS + i];
        grid.sync();
    }
}

__global__ void child(unsigned *words, unsigned by) { atomicAdd(&words[blockIdx.x], by * (threadIdx.x + 1)); }
__global__ void parent(unsigned *words)
{
    child<<<64, 32>>>(words, threadIdx.x + 1);
    atomicAdd(&total, 1);
}

__global__ void to_the_host(volatile unsigned *word, unsigned value)
{
    *word = value;
    __threadfence_system();
}
__global__ void says(int number) { printf("RESULT said: %d\n", number); }

static unsigned long long digest(const unsigned *words, size_t count)
{
    unsigned long long h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < count; i++)
        h = (h ^ words[i]) * 0x100000001b3ull;
    return h;
}

int main(int argc, char **argv)
{
    int turns = argc > 1 ? std::atoi(argv[1]) : 300;
    cudaStream_t stream;
    CALL(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    cudaArray_t arrays[2];
    cudaTextureObject_t textures[2];
    cudaSurfaceObject_t surfaces[2];
    auto format = cudaCreateChannelDesc<unsigned>();
    std::vector<unsigned> host(2 * WORDS);
    for (int i = 0; i < WORDS; i++)
        host[i] = i * 2654435761u;
    for (int i = 0; i < 2; i++) {
        CALL(cudaMallocArray(&arrays[i], &format, SIDE, SIDE, cudaArraySurfaceLoadStore));
        cudaResourceDesc resource = {};
        resource.resType = cudaResourceTypeArray;
        resource.res.array.array = arrays[i];
        cudaTextureDesc how = {};
        how.readMode = cudaReadModeElementType;
        CALL(cudaCreateTextureObject(&textures[i], &resource, &how, nullptr));
        CALL(cudaCreateSurfaceObject(&surfaces[i], &resource));
    }
    CALL(cudaMemcpy2DToArray(arrays[0], 0, 0, host.data(), SIDE * 4, SIDE * 4, SIDE, cudaMemcpyHostToDevice));
    unsigned *words, *counts, *mapped, *seen;
    CALL(cudaMalloc(&words, 2 * WORDS * 4));
    CALL(cudaMalloc(&counts, 64 * 4));
    CALL(cudaMemset(counts, 0, 64 * 4));
    CALL(cudaMemcpy(words, host.data(), WORDS * 4, cudaMemcpyHostToDevice));
    CALL(cudaHostAlloc(&mapped, 4096, cudaHostAllocMapped));
    CALL(cudaHostGetDevicePointer(&seen, mapped, 0));
    int blocks, device, processors;
    CALL(cudaGetDevice(&device));
    CALL(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
    CALL(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, together, 128, 0));
    blocks = std::min(blocks * processors, 264);
    thrust::device_vector<unsigned> sorted(host.begin(), host.begin() + WORDS);
    unsigned long long answers = 0;
    for (int turn = 0; turn < turns; turn++) {
        unsigned by = 2 * turn + 1;
        CALL(cudaMemcpyToSymbolAsync(factor, &by, sizeof by, 0, cudaMemcpyHostToDevice, stream));
        through_texture<<<dim3(SIDE / 16, SIDE / 16), dim3(16, 16), 0, stream>>>(textures[turn % 2], surfaces[1 - turn % 2]);
        CALL(cudaGetLastError());
        int rounds = 3;
        void *arguments[] = {&words, &rounds};
        CALL(cudaLaunchCooperativeKernel((void *)together, dim3(blocks), dim3(128), arguments, 0, stream));
        parent<<<1, 16, 0, stream>>>(counts);
        CALL(cudaGetLastError());
        to_the_host<<<1, 1, 0, stream>>>(seen, turn + 1);
        // A spin on the host, as zero-copy programs do it.
        while (*(volatile unsigned *)mapped != (unsigned)turn + 1)
            if (cudaStreamQuery(stream) != cudaErrorNotReady && *(volatile unsigned *)mapped != (unsigned)turn + 1) {
                CALL(cudaStreamSynchronize(stream));
                if (*(volatile unsigned *)mapped != (unsigned)turn + 1) {
                    std::printf("FAILED: the host does not see what turn %d wrote\n", turn);
                    return 2;
                }
            }
        answers += *(volatile unsigned *)mapped;
        thrust::inclusive_scan(sorted.begin(), sorted.end(), sorted.begin());
        thrust::sort(sorted.begin(), sorted.end());
    }
    CALL(cudaStreamSynchronize(stream));
    says<<<1, 1>>>(turns);
    CALL(cudaDeviceSynchronize());
    std::printf("RESULT host: %llu\n", answers);
    CALL(cudaMemcpy2DFromArray(host.data(), SIDE * 4, arrays[turns % 2], 0, 0, SIDE * 4, SIDE, cudaMemcpyDeviceToHost));
    std::printf("RESULT texture: %016llx\n", digest(host.data(), WORDS));
    CALL(cudaMemcpy(host.data(), words, 2 * WORDS * 4, cudaMemcpyDeviceToHost));
    std::printf("RESULT together: %016llx\n", digest(host.data(), 2 * WORDS));
    CALL(cudaMemcpy(host.data(), counts, 64 * 4, cudaMemcpyDeviceToHost));
    unsigned launched;
    CALL(cudaMemcpyFromSymbol(&launched, total, sizeof launched));
    std::printf("RESULT children: %016llx of %u\n", digest(host.data(), 64), launched);
    std::printf("RESULT sorted: %u %u\n", (unsigned)sorted[WORDS / 2], thrust::reduce(sorted.begin(), sorted.end()));
    return 0;
}
