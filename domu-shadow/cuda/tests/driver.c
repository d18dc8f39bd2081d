/* A libcuda.so.1 that only says what it got. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t word;
typedef struct { char bytes[64]; } handle;
typedef struct { int type, id; } location;

__attribute__((constructor)) static void begin(void)
{
	/* Opened once in a process. */
	if (getenv("DRIVER_IS_OPEN"))
		abort();
	setenv("DRIVER_IS_OPEN", "1", 1);
}

int cuInit(unsigned flags) { return flags ? 1 : 0; }
int cuDriverGetVersion(int *version) { *version = 12345; return 0; }
int cuGetErrorName(int code, const char **name) { *name = code == 1 ? "one" : "other"; return 0; }
int cuCtxGetApiVersion(word context, unsigned *version) { *version = context + 1; return 0; }

/* The three versions of one function. */
int cuMemcpyHtoD(unsigned to, const void *from, unsigned bytes) { return to == 1 && from && bytes == 2 ? 0 : 11; }
int cuMemcpyHtoD_v2(word to, const void *from, word bytes) { return to == 1ull << 40 && from && bytes == 2 ? 0 : 12; }
int cuMemcpyHtoD_v2_ptds(word to, const void *from, word bytes) { return to == 1ull << 40 && from && bytes == 3 ? 0 : 13; }

/* A capture without a graph to write to fails and goes on; it ends with a failure where the graph is -1. */
static int captured;
int cuStreamBeginCapture_v2(void *stream, int mode) { return captured++ || !stream || mode != 1 ? 22 : 0; }
int cuStreamEndCapture(void *stream, void **graph)
{
	if (!graph || !stream)
		return 1;
	captured = 0;
	return graph == (void **)-1 ? 901 : 0;
}
int cuStreamIsCapturing(void *stream, int *status) { *status = captured; return stream ? 0 : 1; }

/* Only by cuGetProcAddress. */
static int future(word a, word b, word c, word d, word e, word f, word g, double h)
{
	return a == 1 && b == 2 && c == 3 && d == 4 && e == 5 && f == 6 && g == 7 && h == 8.5 ? 0 : 14;
}

int cuLaunchKernel(void *f, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned g, unsigned shared, void *stream,
		   void **arguments, void **extra)
{
	int right = f == (void *)1 && a == 2 && b == 3 && c == 4 && d == 5 && e == 6 && g == 7 && shared == 8 && stream == (void *)9 &&
		    arguments == (void **)10 && extra == (void **)11;
	return right ? 0 : 15;
}
int cuTensorMapEncodeIm2colWide(void *map, int type, unsigned rank, void *at, const word *dims, const word *strides, int low, int up,
				unsigned channels, unsigned pixels, const unsigned *steps, int leave, int mode, int swizzle, int l2, int fill)
{
	int right = map == (void *)1 && type == 2 && rank == 3 && at == (void *)4 && dims == (void *)5 && strides == (void *)6 && low == -7 &&
		    up == -8 && channels == 9 && pixels == 10 && steps == (void *)11 && leave == 12 && mode == 13 && swizzle == 14 &&
		    l2 == 15 && fill == 16;
	return right ? 0 : 16;
}
int cuParamSetf(void *f, int offset, float value) { return f == (void *)1 && offset == 2 && value == 3.5f ? 0 : 17; }
int cuTexRefSetMipmapLevelClamp(void *t, float low, float high) { return t == (void *)1 && low == 2.5f && high == 3.5f ? 0 : 18; }
int cuIpcOpenEventHandle(void **event, handle of) { *event = (void *)(word)of.bytes[63]; return of.bytes[0] == 1 ? 0 : 19; }
int cuMemAdvise_v2(word at, word bytes, int advice, location where)
{
	return at == 1 && bytes == 2 && advice == 3 && where.type == 4 && where.id == 5 ? 0 : 20;
}
int cuGraphicsMapResources(unsigned count, void *resources, void *stream)
{
	return count == 1 && resources == (void *)2 && stream == (void *)3 ? 0 : 21;
}

int cuGetProcAddress_v2(const char *name, void **function, int version, word flags, int *status)
{
	*function = 0;
	if (!strcmp(name, "cuMemcpyHtoD"))
		*function = version < 3020 ? (void *)cuMemcpyHtoD : flags & 2 ? (void *)cuMemcpyHtoD_v2_ptds : (void *)cuMemcpyHtoD_v2;
	if (!strcmp(name, "cuFuture"))
		*function = (void *)future;
	if (!strcmp(name, "cuGetProcAddress"))
		*function = (void *)cuGetProcAddress_v2;
	if (status)
		*status = *function ? 0 : 1;
	return *function ? 0 : 500;
}
int cuGetProcAddress(const char *name, void **function, int version, word flags)
{
	return cuGetProcAddress_v2(name, function, version, flags, 0);
}
