/* Allocations of many sizes, made and freed all the time, each with contents that are known: memory [ROUNDS] [LARGEST BYTES] */
#include "user.h"

enum { LIVE = 24 };

struct piece {
    CUdeviceptr at;
    size_t bytes, words;
    uint *expected;
};

static void check(const struct piece *piece)
{
    uint *words = malloc(piece->words * 4);
    OK(cuMemcpyDtoH(words, piece->at, piece->words * 4));
    CHECK(!memcmp(words, piece->expected, piece->words * 4));
    free(words);
}

static void drop(struct piece *piece)
{
    check(piece);
    OK(cuMemFree(piece->at));
    free(piece->expected);
    piece->at = 0;
}

int main(int argc, char **argv)
{
    long rounds = argument(argc, argv, 1, 150);
    size_t largest = argument(argc, argv, 2, 5 << 20);
    struct piece pieces[LIVE] = {0};
    uint64_t sum = 0;
    open_device();
    for (long round = 0; round < rounds; round++) {
        struct piece *piece = &pieces[drawn(LIVE)];
        if (piece->at) {
            if (drawn(3) == 0) {
                drop(piece);
                continue;
            }
            uint64_t count = piece->words < 2048 ? piece->words : 2048;
            advance(piece->at, count, (uint)round, NULL);
            host_advance(piece->expected, count, (uint)round);
            continue;
        }
        /* As many small ones as large ones, odd sizes too. */
        piece->bytes = 4 + drawn(drawn(2) ? 8192 : (uint)largest);
        piece->words = piece->bytes / 4;
        piece->expected = malloc(piece->words * 4);
        OK(cuMemAlloc(&piece->at, piece->bytes));
        CHECK(piece->at % 256 == 0);
        CUdeviceptr base;
        size_t size;
        OK(cuMemGetAddressRange(&base, &size, piece->at + piece->bytes / 2));
        CHECK(base == piece->at && size >= piece->bytes);
        sum += size;
        switch (drawn(3)) {
        case 0:
            for (size_t i = 0; i < piece->words; i++) piece->expected[i] = 0x5a17c0de;
            OK(cuMemsetD32(piece->at, 0x5a17c0de, piece->words));
            break;
        case 1:
            memset(piece->expected, 0x3c, piece->words * 4);
            OK(cuMemsetD8(piece->at, 0x3c, piece->bytes));
            break;
        default:
            host_fill(piece->expected, piece->words, (uint)round);
            OK(cuMemcpyHtoD(piece->at, piece->expected, piece->words * 4));
        }
        if (piece->words > 100) {
            OK(cuMemcpyDtoD(piece->at, piece->at + 200, 160));
            memcpy(piece->expected, (char *)piece->expected + 200, 160);
        }
    }
    for (int i = 0; i < LIVE; i++) {
        if (!pieces[i].at) continue;
        sum += host_digest(pieces[i].expected, pieces[i].words);
        drop(&pieces[i]);
    }
    printf("pieces: %016llx\n", (unsigned long long)sum);

    /* Rows with a pitch. */
    enum { WIDTH = 700, HEIGHT = 900 };
    CUdeviceptr rows;
    size_t pitch;
    OK(cuMemAllocPitch(&rows, &pitch, WIDTH * 4, HEIGHT, 4));
    CHECK(pitch >= WIDTH * 4);
    uint *host = malloc(WIDTH * HEIGHT * 4), *back = calloc(WIDTH * HEIGHT, 4);
    host_fill(host, WIDTH * HEIGHT, 7);
    CUDA_MEMCPY2D in = {.srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = host, .srcPitch = WIDTH * 4,
                        .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = rows, .dstPitch = pitch,
                        .WidthInBytes = WIDTH * 4, .Height = HEIGHT};
    CUDA_MEMCPY2D out = {.srcMemoryType = CU_MEMORYTYPE_DEVICE, .srcDevice = rows, .srcPitch = pitch,
                         .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = back, .dstPitch = WIDTH * 4,
                         .WidthInBytes = WIDTH * 4, .Height = HEIGHT};
    for (int round = 0; round < 5; round++) {
        OK(cuMemcpy2D(&in));
        OK(cuMemsetD2D32(rows + 400, pitch, round, 10, HEIGHT));
        OK(cuMemcpy2D(&out));
        for (int row = 0; row < HEIGHT; row++)
            for (int i = 100; i < 110; i++) host[row * WIDTH + i] = round;
        CHECK(!memcmp(host, back, WIDTH * HEIGHT * 4));
    }
    printf("rows: %016llx\n", (unsigned long long)host_digest(back, WIDTH * HEIGHT));
    OK(cuMemFree(rows));
    free(host);
    free(back);
    close_device();
    return 0;
}
