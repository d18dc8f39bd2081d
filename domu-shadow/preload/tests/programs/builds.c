/* Builds many programs in many ways, and prints all that a program may learn of them: codes, logs, options, binaries,
 * kernels with all that is told about them, what they compute and print. The same lines are due whichever OpenCL
 * library is between this program and the driver.
 *
 * usage: builds [few | some | all]
 *
 * "all" takes some minutes, "some" makes a fourth of the cases, "few" a third of those.
 *
 * Each case begins with "== NUMBER NAME". A driver that crashes in one, or takes minutes, ends the process there: the
 * line "crash" says so, and the rest is made by another.
 */
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* How a program comes to be. */
enum way {
    BUILD, LISTED, CALLBACK, TWICE, MENDED, LINK, LINK_OF_TWO, LIBRARY, LINK_FAILS, HEADER, BINARY, OBJECT_BINARY,
    LINK_CALLBACK, LINK_LATER
};

static const char *const ways[] = {
    "build", "build for a list", "build with a callback", "built twice", "built after a failure", "compile and link",
    "link two", "link with a library", "link what lacks a function", "compile with a header", "load the binary",
    "link loaded objects", "compile and link with callbacks", "link what was compiled again"
};

struct source { const char *name, *text; };

/* The kernels' arguments are set by what the driver tells of them, if it does; else by these letters, one an argument:
 * b buffer, i int, u ulong, l local memory. Kernels with others are not run. */
static const struct source sources[] = {
    { "no arguments", "kernel void none() { }" },
    { "no arguments, void", "kernel void none(void) { }" },
    { "no arguments, prints", "kernel void hello() { printf(\"hello %d\\n\", (int)get_global_id(0)); }" },
    { "one with and one without", "kernel void none() { }\nkernel void b_some(global int *a) { a[get_global_id(0)] = 3; }" },
    { "one with and one without, prints",
      "kernel void hello() { printf(\"hello\\n\"); }\n"
      "kernel void bu_some(global ulong *a, ulong by) { a[get_global_id(0)] = by; }\n"
      "kernel void b_more(global int *a) { a[get_global_id(0)] = 4; printf(\"%d\\n\", a[0]); }" },
    { "prints its argument", "kernel void i_tell(int n) { printf(\"told %d %s %v4d\\n\", n, \"text\", (int4)(n)); }" },
    { "prints in a function", "void say(int n) { printf(\"say %d\\n\", n); }\nkernel void hello() { say(7); }" },
    { "printf is a name only", "kernel void b_k(global int *printf) { printf[get_global_id(0)] = 1; }" },
    { "calls a kernel", "kernel void b_in(global int *a) { a[get_global_id(0)] = 5; }\n"
      "kernel void b_out(global int *a) { b_in(a); }" },
    { "no kernel", "int twice(int a) { return 2 * a; }" },
    { "nothing", "" },
    { "blank", "  \n" },
    { "comment", "// nothing here\n/* nor here */\n" },
    { "address spaces", "kernel void bbbl_k(global int *a, global const int *restrict b, constant int *c,\n"
      " local int *d) { d[0] = 1; a[get_global_id(0)] = b[0] + c[0] + d[0]; }" },
    { "qualifiers", "kernel void bbb_k(volatile global int *a, const global int *restrict b, global const volatile int *c)\n"
      " { a[get_global_id(0)] = b[0] + c[0]; }" },
    { "scalars", "kernel void k(char a, uchar b, short c, ushort d, int e, uint f, long g, ulong h, float i, global int *o)\n"
      " { *o = a + b + c + d + e + f + g + h + i; }" },
    { "spelled scalars", "kernel void k(unsigned char a, unsigned b, signed int c, long int d, unsigned long int e,\n"
      " const int f) { }" },
    { "vectors", "kernel void k(char2 a, float3 b, int4 c, ulong8 d, float16 e, global float4 *o) { *o = b.xyzz; }" },
    { "structure", "struct pair { int a; float b; };\ntypedef struct { struct pair p; ulong n[3]; } both;\n"
      "kernel void k(struct pair p, both q, global both *o) { o->p = p; o->n[0] = q.n[1]; }" },
    { "union and enum", "typedef union { int i; float f; } either; enum color { RED, GREEN };\n"
      "kernel void k(either e, enum color c, global int *o) { *o = e.i + c; }" },
    { "typedef", "typedef unsigned int word; typedef global int *place;\nkernel void k(word w, place p) { *p = w; }" },
    { "eight bytes", "kernel void bu_k(global ulong *a, ulong n) { a[get_global_id(0)] = n; }" },
    { "double", "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\nkernel void k(double d, global double *o) { *o = d; }" },
    { "half", "kernel void k(global half *h, global float *o) { *o = vload_half(0, h); }" },
    { "half value", "#pragma OPENCL EXTENSION cl_khr_fp16 : enable\nkernel void k(half h, global half *o) { *o = h; }" },
    { "size_t", "kernel void k(size_t n) { }" },
    { "bool", "kernel void k(bool b) { }" },
    { "pointer to pointer", "kernel void k(global int **a) { }" },
    { "pointer without space", "kernel void k(int *a) { }" },
    { "unnamed", "kernel void k(global int *, int) { }" },
    { "returns", "kernel int k(global int *a) { return 1; }" },
    { "images", "kernel void k(read_only image2d_t a, write_only image2d_t b, read_only image3d_t c, image1d_t d,\n"
      " read_only image2d_array_t e, image1d_buffer_t f, image1d_array_t g) { write_imagef(b, (int2)(0), (float4)(1)); }" },
    { "image read and written", "kernel void k(read_write image2d_t a) { write_imagef(a, (int2)(0), (float4)(1)); }" },
    { "sampler", "constant sampler_t s = CLK_ADDRESS_CLAMP | CLK_FILTER_NEAREST;\n"
      "kernel void k(read_only image2d_t a, sampler_t t, global float4 *o) {\n"
      " *o = read_imagef(a, s, (int2)(0)) + read_imagef(a, t, (int2)(0)); }" },
    { "pipe", "kernel void k(read_only pipe int p, global int *o) { int n; read_pipe(p, &n); *o = n; }" },
    { "queue", "kernel void k(queue_t q, global int *o) { *o = 1; }" },
    { "block", "kernel void b_k(global int *a) { int (^twice)(int) = ^(int n) { return 2 * n; }; a[0] = twice(3); }" },
    { "generic address", "int get(int *p) { return *p; }\nkernel void b_k(global int *a) { int n = 3; a[0] = get(a) + get(&n); }" },
    { "constant at program scope", "constant int table[4] = { 3, 5, 7, 9 };\n"
      "kernel void b_k(global int *a) { a[get_global_id(0)] = table[get_global_id(0) & 3]; }" },
    { "variable at program scope", "global int counter = 5;\nkernel void b_k(global int *a) { a[get_global_id(0)] = counter; }" },
    { "static variable", "kernel void b_k(global int *a) { static global int n = 2; a[get_global_id(0)] = n; }" },
    { "local variable", "kernel void b_k(global int *a) { local int n[64]; n[get_local_id(0)] = 1;\n"
      " barrier(CLK_LOCAL_MEM_FENCE); a[get_global_id(0)] = n[0]; }" },
    { "required size", "kernel __attribute__((reqd_work_group_size(4, 1, 1))) void b_k(global int *a) { a[get_global_id(0)] = 1; }" },
    { "required size without arguments", "__attribute__((reqd_work_group_size(4, 1, 1))) kernel void k() { }" },
    { "size hint", "kernel __attribute__((work_group_size_hint(8, 2, 1))) void b_k(global int *a) { a[get_global_id(0)] = 1; }" },
    { "vector hint", "kernel __attribute__((vec_type_hint(float4))) void b_k(global int *a) { a[get_global_id(0)] = 1; }" },
    { "sub-group size", "kernel __attribute__((intel_reqd_sub_group_size(8))) void b_k(global int *a) { a[0] = 1; }" },
    { "unknown attribute", "kernel __attribute__((no_such_attribute)) void b_k(global int *a) { a[0] = 1; }" },
    { "unrolled", "kernel void b_k(global int *a) { __attribute__((opencl_unroll_hint(4))) for (int i = 0; i < 8; i++) a[i] = i; }" },
    { "packed", "struct __attribute__((packed)) odd { char a; int b; };\nkernel void k(struct odd o, global int *a) { *a = o.b; }" },
    { "many arguments", "kernel void k(global int *a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k0,\n"
      " int l, int m, int n, int o, int p, int q, int r, int s, int t, int u, int v, int w, int x, int y, int z) { *a = z; }" },
    { "many kernels", "#define K(n) kernel void bi_k##n(global int *a, int b) { a[get_global_id(0)] = b + n; }\n"
      "K(1) K(2) K(3) K(4) K(5) K(6) K(7) K(8)\nkernel void none() { }" },
    { "macros", "kernel void b_k(global int *a) {\n a[0] = __OPENCL_VERSION__; a[1] = __OPENCL_C_VERSION__;\n"
      "#ifdef X\n a[2] = X;\n#else\n a[2] = -1;\n#endif\n a[3] = __LINE__; }" },
    { "warnings", "#warning \"look here\"\nkernel void b_k(global int *a) { int unused; a[0] = 1; a[1] == 2; }" },
    { "warnings without arguments", "#warning \"look here\"\nkernel void k() { int n = 1; n == 2; printf(\"%d\\n\", n); }" },
    { "undeclared", "kernel void k(global int *a) { a[0] = missing; }" },
    { "undeclared without arguments", "kernel void k() { printf(\"%d\\n\", missing); }" },
    { "undeclared function", "kernel void k(global int *a) { a[0] = absent(1); }" },
    { "undefined function", "int absent(int n);\nkernel void k(global int *a) { a[0] = absent(1); }" },
    { "undefined function without arguments", "int absent(int n);\nkernel void k() { printf(\"%d\\n\", absent(1)); }" },
    { "syntax", "kernel void k(global int *a { a[0] = 1; }" },
    { "syntax at the end", "kernel void k() { printf(\"x\");" },
    { "#error", "#error no way\nkernel void k() { printf(\"x\"); }" },
    { "#include", "#include \"no_such_file.h\"\nkernel void k() { printf(\"x\"); }" },
    { "recursion", "int f(int n) { return n ? f(n - 1) + n : 0; }\nkernel void k(global int *a) { a[0] = f(a[1]); }" },
    { "too much local memory", "kernel void k(global int *a) { local int n[1 << 24]; n[get_local_id(0)] = a[0]; a[1] = n[a[2]]; }" },
    { "atomics", "kernel void b_k(global int *a) { atomic_add(a, 1); atomic_max(a + 1, 7); }" },
    { "mathematics", "kernel void b_k(global float *a) { a[get_global_id(0)] = native_sin(1.0f) + fma(2.0f, 3.0f, 4.0f); }" },
    { "line ends", "kernel void b_k(global int *a)\r\n{\r\n a[get_global_id(0)] = 6; // \303\244\r\n}\r\n" },
    { "long name", "kernel void b_kernel_with_a_name_that_goes_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on"
      "(global int *an_argument_with_a_name_that_goes_on_and_on_and_on_and_on_and_on_and_on_and_on) { }" },
    { "option by pragma", "#pragma OPENCL FP_CONTRACT OFF\nkernel void b_k(global float *a) { a[0] = a[1] * a[2] + 1; }" },
};

static const char *const options[] = {
    NULL, "", " ", "-DX=1", "-D X=1", "-DX=1 ", "-DX=\"3\"", "-DX='3'", "-D", "-DX=1 -D", "-DX=\"3", "-I", "-I .",
    "-I /no/such/folder", "-w", "-Werror", "-g", "-s", "-cl-kernel-arg-info", "-cl-kernel-arg-info -DX=2",
    "-DX=2 -cl-kernel-arg-info", "-cl-kernel-arg-infos", "-D-cl-kernel-arg-info", "-cl-opt-disable",
    "-cl-fast-relaxed-math", "-cl-single-precision-constant", "-cl-denorms-are-zero", "-cl-mad-enable",
    "-cl-unsafe-math-optimizations", "-cl-finite-math-only", "-cl-no-signed-zeros", "-cl-strict-aliasing",
    "-cl-fp32-correctly-rounded-divide-sqrt", "-cl-uniform-work-group-size", "-cl-no-subgroup-ifp", "-cl-std=CL1.0",
    "-cl-std=CL1.1", "-cl-std=CL1.2", "-cl-std=CL2.0", "-cl-std=CL3.0", "-cl-std=CLC++", "-cl-std=CLC++2021",
    "-cl-std=CL9.9", "-cl-std=", "-cl-std", "-cl-nv-verbose", "-cl-nv-maxrregcount=32", "-cl-nv-opt-level=0",
    "-cl-intel-greater-than-4GB-buffer-required", "-cl-no-such-option", "--no-such-option", "-x spir", "-x clc",
    "file.cl", "-create-library", "-O0", "-O3",
    "-DX=1 -DA=1 -DB=2 -DC=3 -DD=4 -DE=5 -DF=6 -DG=7 -DH=8 -DI=9 -DJ=10 -DK=11 -DL=12 -DM=13 -DN=14 -DO=15 -DP=16",
};

#define COUNT(list) (sizeof list / sizeof *list)

static cl_platform_id platform;
static cl_device_id device;
static cl_context context;
static cl_command_queue queue;
static volatile int calls;

static void CL_CALLBACK called(cl_program program, void *user)
{
    (void)program, (void)user;
    __sync_fetch_and_add(&calls, 1);
}

/* Callbacks may come from another thread; more than the one that is due would come soon. */
static void await_call(void)
{
    for (int i = 0; i < 2000 && !calls; i++)
        usleep(1000);
    usleep(20000);
    printf("callbacks: %d\n", calls);
    calls = 0;
}

static unsigned long long digest(const unsigned char *bytes, size_t size)
{
    unsigned long long hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash;
}

/* Takes out what differs from run to run: names of temporary files, numbers for them, and what pocl's linker says of all that
 * it has linked before. */
static size_t settle(char *text)
{
    static const char *const chatter[] = { "ignoring debug info", "<unknown>:" };
    for (int which = 0; which < 2; which++) {
        char *at = strstr(text, chatter[which]), *end = at ? strstr(at, "Device ") : NULL;
        if (end)
            memmove(at, end, strlen(end) + 1);
    }
    for (char *at = text; (at = strstr(at, "tempfile_")); at++)
        for (char *name = at + 9; *name && *name != '.'; name++)
            *name = 'x';
    for (char *at = text; (at = strstr(at, "/tmp/")); at++)
        for (char *name = at + 5; *name && !strchr(" :\n", *name); name++)
            *name = 'x';
    /* "NUMBER:LINE:COLUMN", as Intel's compiler calls sources. */
    for (char *at = text; *at; at++) {
        int file = strspn(at, "0123456789"), line = file ? strspn(at + file + 1, "0123456789") : 0;
        if (line && at[file] == ':' && at[file + 1 + line] == ':')
            memmove(at, at + file, strlen(at + file) + 1);
        else if (file)
            at += file - 1;
    }
    return strlen(text) + 1;
}

static void show(const char *what, cl_uint param, cl_int code, unsigned char *bytes, size_t size)
{
    printf("  %s %#x: %d", what, param, code);
    if (!code) {
        int is_text = size > 1 && bytes[size - 1] == 0;
        for (size_t i = 0; is_text && i + 1 < size; i++)
            is_text = bytes[i] >= ' ' || bytes[i] == '\n' || bytes[i] == '\t' || bytes[i] == '\r';
        if (is_text)
            size = settle((char *)bytes);
        printf(", %zu bytes: ", size);
        if (is_text)
            printf("%s", (const char *)bytes);
        else
            for (size_t i = 0; i < size && i < 256; i++)
                printf("%02x", bytes[i]);
    }
    putchar('\n');
}

#define ASK(what, first, last, call) do { \
        for (cl_uint param = first; param <= last; param++) { \
            static unsigned char value[1 << 20]; \
            size_t size = sizeof value, got = 0; \
            memset(value, 0, 4096); \
            cl_int code = call; \
            show(what, param, code, value, got); \
        } \
    } while (0)

/* Whether a program's binary tells of that program alone: Intel's counts programs in it, pocl's has what has run. */
static int is_reproducible;

static size_t binary_of(cl_program program, unsigned char **binary)
{
    size_t size = 0;
    *binary = NULL;
    cl_int code = clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL);
    *binary = calloc(1, size + 1);
    cl_int second = code ? code : clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof *binary, binary, NULL);
    printf("  binary: %d, %d", code, second);
    if (is_reproducible && !code && !second)
        printf(", %zu bytes, %016llx", size, digest(*binary, size));
    putchar('\n');
    return code || second ? 0 : size;
}

/* What a kernel's name says of its arguments, before the first underscore. */
static int set_arguments(cl_kernel kernel, const char *name, cl_uint count, cl_mem buffer)
{
    if (count && (strcspn(name, "_") != count || strspn(name, "biul") != count))
        return 0;
    for (cl_uint at = 0; at < count; at++) {
        cl_int i = 11;
        cl_ulong u = 0x1122334455667788;
        cl_int code = name[at] == 'b' ? clSetKernelArg(kernel, at, sizeof buffer, &buffer)
            : name[at] == 'i' ? clSetKernelArg(kernel, at, sizeof i, &i)
            : name[at] == 'u' ? clSetKernelArg(kernel, at, sizeof u, &u) : clSetKernelArg(kernel, at, 256, NULL);
        printf("  set %u: %d\n", at, code);
        if (code)
            return 0;
    }
    return 1;
}

static void run(cl_kernel kernel, const char *name, cl_uint count)
{
    unsigned host[128] = { 0 };
    cl_int code;
    cl_mem buffer = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, sizeof host, host, &code);
    size_t items = 4; /* one work-group, so that it prints in order */
    if (set_arguments(kernel, name, count, buffer)) {
        fflush(stdout);
        cl_int ran = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, &items, 0, NULL, NULL);
        cl_int finished = clFinish(queue);
        code = clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof host, host, 0, NULL, NULL);
        printf("  run: %d, %d, %d, %016llx, %d %d %d %d\n", ran, finished, code,
            digest((void *)host, sizeof host), (int)host[0], (int)host[1], (int)host[2], (int)host[3]);
    }
    clReleaseMemObject(buffer);
}

static void show_kernel(cl_kernel kernel)
{
    char name[256] = "";
    cl_uint args = 0;
    ASK("kernel", CL_KERNEL_FUNCTION_NAME, CL_KERNEL_NUM_ARGS, clGetKernelInfo(kernel, param, size, value, &got));
    ASK("kernel", CL_KERNEL_ATTRIBUTES, CL_KERNEL_ATTRIBUTES, clGetKernelInfo(kernel, param, size, value, &got));
    clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, sizeof args, &args, NULL);
    for (cl_uint at = 0; at <= args; at++)
        ASK("argument", CL_KERNEL_ARG_ADDRESS_QUALIFIER, CL_KERNEL_ARG_NAME,
            clGetKernelArgInfo(kernel, at, param, size, value, &got));
    ASK("work-group", CL_KERNEL_WORK_GROUP_SIZE, CL_KERNEL_PRIVATE_MEM_SIZE,
        clGetKernelWorkGroupInfo(kernel, device, param, size, value, &got));
    if (!clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name, name, NULL))
        run(kernel, name, args);
}

/* Some drivers tell other options than those that the program passed; the shadow does not. */
static void show_options(cl_program program, const char *passed)
{
    char text[1024] = "";
    cl_int code = clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_OPTIONS, sizeof text, text, NULL);
    if (code || strcmp(text, passed ? passed : ""))
        printf("  options: %d %s\n", code, text);
    else
        printf("  options: as passed\n");
}

static void show_build(cl_program program, const char *passed)
{
    ASK("build", CL_PROGRAM_BUILD_STATUS, CL_PROGRAM_BUILD_STATUS,
        clGetProgramBuildInfo(program, device, param, size, value, &got));
    show_options(program, passed);
    ASK("build", CL_PROGRAM_BUILD_LOG, CL_PROGRAM_BUILD_LOG,
        clGetProgramBuildInfo(program, device, param, size, value, &got));
    cl_build_status status = CL_BUILD_NONE;
    clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_STATUS, sizeof status, &status, NULL);
    if (status != CL_BUILD_SUCCESS)
        return; /* the rest means nothing, and drivers say this and that */
    ASK("build", CL_PROGRAM_BINARY_TYPE, CL_PROGRAM_BINARY_TYPE,
        clGetProgramBuildInfo(program, device, param, size, value, &got));
    ASK("build", CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE, CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE,
        clGetProgramBuildInfo(program, device, param, size, value, &got));
    cl_program_binary_type type = CL_PROGRAM_BINARY_TYPE_NONE;
    clGetProgramBuildInfo(program, device, CL_PROGRAM_BINARY_TYPE, sizeof type, &type, NULL);
    if (type == CL_PROGRAM_BINARY_TYPE_EXECUTABLE)
        ASK("program", CL_PROGRAM_NUM_KERNELS, CL_PROGRAM_KERNEL_NAMES,
            clGetProgramInfo(program, param, size, value, &got));
    unsigned char *binary;
    binary_of(program, &binary);
    free(binary);
}

static void show_program(cl_program program, const char *passed)
{
    cl_kernel kernels[64];
    cl_uint count = 0;
    show_build(program, passed);
    printf("  kernels: %d", clCreateKernelsInProgram(program, 64, kernels, &count));
    printf(", %u\n", count);
    for (cl_uint at = 0; at < count; at++) {
        show_kernel(kernels[at]);
        clReleaseKernel(kernels[at]);
    }
    cl_int code;
    cl_kernel none = clCreateKernel(program, "no_such_kernel", &code);
    printf("  absent kernel: %d %d\n", code, none != NULL);
}

static cl_program created(const char *text)
{
    cl_int code;
    cl_program program = clCreateProgramWithSource(context, 1, &text, NULL, &code);
    if (!program)
        printf("  create: %d\n", code);
    return program;
}

static cl_program compiled(const char *text, const char *opts)
{
    cl_program program = created(text);
    printf("  compile: %d\n", clCompileProgram(program, 0, NULL, opts, 0, NULL, NULL, NULL, NULL));
    show_build(program, opts);
    return program;
}

static cl_program linked(const char *opts, cl_uint count, const cl_program *inputs)
{
    cl_int code = 1;
    cl_program program = clLinkProgram(context, 0, NULL, opts, count, inputs, NULL, NULL, &code);
    printf("  link: %d %d\n", code, program != NULL);
    return program;
}

static cl_program loaded(cl_program from)
{
    unsigned char *binary;
    cl_int code, status = 1;
    size_t size = binary_of(from, &binary);
    if (!size)
        return NULL;
    cl_program program = clCreateProgramWithBinary(context, 1, &device, &size, (const unsigned char **)&binary, &status, &code);
    printf("  load: %d, %d\n", code, status);
    return program;
}

/* Objects are released at the end of the process only: what one case leaves is part of the next one's trial. */
static void make(enum way way, const char *text, const char *opts)
{
    static const char *const other = "int absent(int n) { return n + 40; }\nkernel void other() { }";
    cl_program program = NULL, inputs[2];
    const char *passed = opts;
    cl_int code;
    switch (way) {
    case BUILD:
    case LISTED:
        program = created(text);
        printf("  build: %d\n", clBuildProgram(program, way == LISTED, way == LISTED ? &device : NULL, opts, NULL, NULL));
        break;
    case CALLBACK:
        program = created(text);
        printf("  build: %d\n", clBuildProgram(program, 0, NULL, opts, called, NULL));
        await_call();
        break;
    case TWICE:
        program = created(text);
        printf("  build: %d\n", clBuildProgram(program, 0, NULL, opts, NULL, NULL));
        show_build(program, opts);
        passed = "-DX=5";
        printf("  build again: %d\n", clBuildProgram(program, 0, NULL, passed, NULL, NULL));
        break;
    case MENDED:
        program = created(text);
        printf("  build: %d\n", clBuildProgram(program, 0, NULL, "-Dkernel=wrong", NULL, NULL));
        show_build(program, "-Dkernel=wrong");
        printf("  build again: %d\n", clBuildProgram(program, 0, NULL, opts, NULL, NULL));
        break;
    case LINK:
        inputs[0] = compiled(text, opts);
        program = linked(NULL, 1, inputs);
        break;
    case LINK_OF_TWO:
        inputs[0] = compiled(text, opts), inputs[1] = compiled(other, NULL);
        program = linked("", 2, inputs);
        break;
    case LIBRARY: {
        cl_program part = compiled(other, NULL);
        inputs[0] = compiled(text, opts), inputs[1] = linked("-create-library", 1, &part);
        if (inputs[1])
            show_build(inputs[1], "-create-library"), program = linked(NULL, 2, inputs);
        break;
    }
    case LINK_FAILS:
        inputs[0] = compiled(text, opts);
        inputs[1] = compiled("int nowhere(int); kernel void needs(global int *a) { a[0] = nowhere(a[1]); }", NULL);
        program = linked(NULL, 2, inputs);
        break;
    case HEADER: {
        cl_program header = created("#define SIX 6\n#ifndef X\n#define X 1\n#endif\n");
        const char *name = "six.h";
        static char joined[1 << 14];
        snprintf(joined, sizeof joined, "#include \"six.h\"\nkernel void b_six(global int *a) { a[0] = SIX; }\n%s", text);
        inputs[0] = created(joined);
        printf("  compile: %d\n", clCompileProgram(inputs[0], 0, NULL, opts, 1, &header, &name, NULL, NULL));
        show_build(inputs[0], opts);
        program = linked(NULL, 1, inputs);
        break;
    }
    case BINARY:
        inputs[0] = created(text);
        printf("  build: %d\n", clBuildProgram(inputs[0], 0, NULL, opts, NULL, NULL));
        program = loaded(inputs[0]);
        if (program)
            printf("  build again: %d\n", clBuildProgram(program, 0, NULL, NULL, NULL, NULL));
        break;
    case OBJECT_BINARY:
        inputs[0] = loaded(compiled(text, opts)), inputs[1] = loaded(compiled(other, NULL));
        if (inputs[0] && inputs[1])
            program = linked(NULL, 2, inputs);
        break;
    case LINK_CALLBACK:
        inputs[0] = created(text);
        printf("  compile: %d\n", clCompileProgram(inputs[0], 0, NULL, opts, 0, NULL, NULL, called, NULL));
        await_call();
        program = clLinkProgram(context, 0, NULL, NULL, 1, inputs, called, NULL, &code);
        printf("  link: %d %d\n", code, program != NULL);
        await_call();
        break;
    case LINK_LATER:
        inputs[0] = compiled(text, opts);
        program = linked(NULL, 1, inputs);
        printf("  compile again: %d\n", clCompileProgram(inputs[0], 0, NULL, "-DX=9", 0, NULL, NULL, NULL, NULL));
        break;
    }
    if (program)
        show_program(program, way >= LINK ? NULL : passed); /* links and loaded programs have no options here */
}

static int first, number, stride = 1;

static void one(enum way way, const struct source *source, const char *opts)
{
    if (number++ < first || number % stride)
        return;
    printf("== %d %s: %s: %s%s\n", number - 1, ways[way], source->name, opts ? opts : "", opts ? "" : "(null)");
    fflush(stdout);
    alarm(300);
    make(way, source->text, opts);
    fflush(stdout);
}

static void try_reproducing(void)
{
    const char *text = "kernel void k(global int *a) { a[get_global_id(0)] = 1; }";
    cl_mem buffer = clCreateBuffer(context, 0, 64, NULL, NULL);
    unsigned char *binaries[2] = { NULL, NULL };
    size_t sizes[2] = { 0 }, items = 4;
    for (int at = 0; at < 2; at++) {
        cl_program program = clCreateProgramWithSource(context, 1, &text, NULL, NULL);
        clBuildProgram(program, 0, NULL, "", NULL, NULL);
        clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof sizes[at], &sizes[at], NULL);
        binaries[at] = calloc(1, sizes[at]);
        clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binaries[at], &binaries[at], NULL);
        cl_kernel kernel = clCreateKernel(program, "k", NULL);
        clSetKernelArg(kernel, 0, sizeof buffer, &buffer);
        clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, &items, 0, NULL, NULL);
        clFinish(queue);
    }
    is_reproducible = sizes[0] == sizes[1] && !memcmp(binaries[0], binaries[1], sizes[0]);
    if (first == 0)
        printf("binaries: %s\n", is_reproducible ? "reproducible" : "not reproducible");
}

static const struct source *named(const char *name)
{
    for (size_t at = 0; at < COUNT(sources); at++)
        if (!strcmp(sources[at].name, name))
            return &sources[at];
    abort();
}

/* The most telling ones, in all ways. */
static const char *const telling[] = {
    "no arguments, prints", "address spaces", "undeclared without arguments", "macros",
    "no arguments", "one with and one without, prints", "warnings", "undefined function",
    "undefined function without arguments", "variable at program scope", "required size"
};

static void cases(int is_all)
{
    size_t tell = is_all ? COUNT(telling) : 4;
    for (size_t at = 0; at < COUNT(sources); at++)
        one(BUILD, &sources[at], NULL);
    for (size_t at = 0; at < COUNT(options); at++)
        one(BUILD, named("macros"), options[at]);
    for (int way = LINK_LATER; way >= BUILD; way--)
        for (size_t at = 0; at < tell; at++)
            one(way, named(telling[at]), "-DX=1");
    if (!is_all)
        return;
    for (size_t at = 0; at < COUNT(sources); at++) {
        one(LINK, &sources[at], NULL);
        one(BUILD, &sources[at], "-cl-kernel-arg-info");
        one(BUILD, &sources[at], "-cl-std=CL2.0");
        one(BUILD, &sources[at], "-cl-std=CL3.0");
    }
    for (size_t at = 0; at < COUNT(options); at++) {
        one(BUILD, named("no arguments, prints"), options[at]);
        one(LINK, named("macros"), options[at]);
    }
}

static int work(const char *what)
{
    if (!strcmp(what, "few"))
        stride = 3;
    cl_int code = clGetPlatformIDs(1, &platform, NULL);
    if (code || (code = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL))) {
        fprintf(stderr, "builds: no device: %d\n", code);
        return 2;
    }
    context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    queue = context ? clCreateCommandQueue(context, device, 0, &code) : NULL;
    if (!queue) {
        fprintf(stderr, "builds: no queue: %d\n", code);
        return 2;
    }
    try_reproducing();
    cases(!strcmp(what, "all"));
    puts("end");
    return 0;
}

/* Runs the cases in a process of its own, from one on; where it ended, if it crashed there. */
static int in_process(int from, const char *what, int *status)
{
    int out[2], at = -1;
    char *line = NULL, text[16];
    size_t room = 0;
    if (pipe(out))
        exit(2);
    snprintf(text, sizeof text, "%d", from);
    pid_t child = fork();
    if (child == 0) {
        dup2(out[1], 1);
        close(out[0]), close(out[1]);
        execl("/proc/self/exe", "builds", what, text, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *lines = fdopen(out[0], "r");
    while (getline(&line, &room, lines) >= 0) {
        sscanf(line, "== %d ", &at);
        fputs(line, stdout);
    }
    fclose(lines);
    free(line);
    waitpid(child, status, 0);
    return at;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "some";
    if (argc > 2) {
        first = atoi(argv[2]);
        return work(what);
    }
    for (int from = 0, status;;) {
        int at = in_process(from, what, &status);
        if (WIFEXITED(status)) {
            fflush(stdout);
            _exit(WEXITSTATUS(status)); /* the storm's report is the worker's */
        }
        if (at < from)
            return 3;
        printf("\ncrash: signal %d\n", WTERMSIG(status));
        from = at + 1;
    }
}
