/* Finds CUDA in all ways that programs do, and calls it with all kinds of arguments: linked, or opens NAME */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(it) \
	do { \
		if (!(it)) { \
			fprintf(stderr, "line %d: %s\n", __LINE__, #it); \
			exit(1); \
		} \
	} while (0)

typedef uint64_t word;
typedef struct { char bytes[64]; } handle;
typedef struct { int type, id; } location;

#ifdef LINKED
int cuInit(unsigned);
#endif

static void *library;

static void *find(const char *name)
{
	void *found = dlsym(library, name);
	Dl_info info;
	CHECK(found && dladdr(found, &info));
	const char *file = strrchr(info.dli_fname, '/');
	CHECK(file && !strcmp(file, "/libOpenCL.so.1"));
	return found;
}

/* The first calls of all, at once. */
static void *launch(void *barrier)
{
	int (*cuLaunchKernel)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **) =
		find("cuLaunchKernel");
	int (*cuDriverGetVersion)(int *) = find("cuDriverGetVersion");
	int version = 0;
	pthread_barrier_wait(barrier);
	CHECK(!cuDriverGetVersion(&version) && version == 12345);
	CHECK(!cuLaunchKernel((void *)1, 2, 3, 4, 5, 6, 7, 8, (void *)9, (void **)10, (void **)11));
	return 0;
}

static void arguments(void)
{
	int (*cuTensorMapEncodeIm2colWide)(void *, int, unsigned, void *, const word *, const word *, int, int, unsigned, unsigned,
					   const unsigned *, int, int, int, int, int) = find("cuTensorMapEncodeIm2colWide");
	CHECK(!cuTensorMapEncodeIm2colWide((void *)1, 2, 3, (void *)4, (void *)5, (void *)6, -7, -8, 9, 10, (void *)11, 12, 13, 14, 15, 16));
	int (*cuParamSetf)(void *, int, float) = find("cuParamSetf");
	CHECK(!cuParamSetf((void *)1, 2, 3.5f));
	int (*cuTexRefSetMipmapLevelClamp)(void *, float, float) = find("cuTexRefSetMipmapLevelClamp");
	CHECK(!cuTexRefSetMipmapLevelClamp((void *)1, 2.5f, 3.5f));
	int (*cuIpcOpenEventHandle)(void **, handle) = find("cuIpcOpenEventHandle");
	handle of = { { 1, [63] = 64 } };
	void *event = 0;
	CHECK(!cuIpcOpenEventHandle(&event, of) && event == (void *)64);
	int (*cuMemAdvise_v2)(word, word, int, location) = find("cuMemAdvise_v2");
	CHECK(!cuMemAdvise_v2(1, 2, 3, (location){ 4, 5 }));
	int (*cuFuncGetName)(const char **, void *) = find("cuFuncGetName");
	CHECK(cuFuncGetName(0, 0) == 801);
}

static void lookups(void)
{
	int (*v1)(const char *, void **, int, word) = find("cuGetProcAddress");
	int (*v2)(const char *, void **, int, word, int *) = find("cuGetProcAddress_v2");
	void *function = 0;
	int status = -1;
	CHECK(!v2("cuGetProcAddress", &function, 12000, 0, &status) && function == (void *)v2 && status == 0);
	CHECK(!v2("cuMemcpyHtoD", &function, 3000, 0, 0) && function == find("cuMemcpyHtoD"));
	CHECK(!v2("cuMemcpyHtoD", &function, 12000, 1, 0) && function == find("cuMemcpyHtoD_v2"));
	CHECK(!v2("cuMemcpyHtoD", &function, 12000, 2, 0) && function == find("cuMemcpyHtoD_v2_ptds"));
	int (*copy)(word, const void *, word) = function;
	CHECK(!copy(1ull << 40, "", 3));
	CHECK(!v1("cuMemcpyHtoD", &function, 11000, 0) && function == find("cuMemcpyHtoD_v2"));
	CHECK(v2("cuNothing", &function, 12000, 0, &status) == 500 && !function && status == 1);
	CHECK(v1("cuNothing", &function, 12000, 0) == 500 && !function);
	CHECK(!v1("cuFuture", &function, 12000, 0) && function);
	int (*future)(word, word, word, word, word, word, word, double) = function;
	CHECK(!future(1, 2, 3, 4, 5, 6, 7, 8.5));
}

int main(int count, char **words)
{
#ifdef LINKED
	library = RTLD_DEFAULT;
	CHECK(find("cuInit") == (void *)cuInit && !words[count]);
#else
	CHECK(count == 2 && (library = dlopen(words[1], RTLD_NOW)));
#endif
	pthread_t threads[4];
	pthread_barrier_t barrier;
	pthread_barrier_init(&barrier, 0, 4);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], 0, launch, &barrier);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], 0);
	arguments();
	lookups();
	pid_t child = fork();
	if (!child) {
		arguments();
		_exit(0);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	puts("ok");
	return 0;
}
