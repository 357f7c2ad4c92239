/*
 * Dense causal attention by cuDNN's graph API.
 *
 * The graph is the one that cuDNN's engines recognise as fused attention: Q K^T, scale, causal mask
 * by comparing row and column indices, softmax spelled out, P V; its shape and the order of its
 * operations follow NVIDIA/cudnn-frontend (node/scaled_dot_product_flash_attention.h, softmax.h,
 * diagonal_band_mask.h; 3929da2).
 */
#include "methods/kernels/cuda/cudnn.h"

#include <cudnn_graph.h>
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "harness/mem.h"
#include "methods/kernels/cuda/device.h"

typedef cudnnBackendDescriptor_t descriptor;

enum { MAX_DESCRIPTORS = 96, MAX_OPERATIONS = 16, MAX_ENGINES = 8, N_TENSORS = 9 };

/* Tensors that the caller's memory or a host scalar stands behind. */
enum { Q = 1, K, V, O, LSE, SCALE, MASKED, KEYS, QUERIES };

/* ---- the library ---------------------------------------------------------------------------- */

static struct {
    size_t (*version)(void);
    void (*last_error)(char *, size_t);
    cudnnStatus_t (*create)(cudnnHandle_t *);
    cudnnStatus_t (*destroy)(cudnnHandle_t);
    cudnnStatus_t (*set_stream)(cudnnHandle_t, cudaStream_t);
    cudnnStatus_t (*make)(cudnnBackendDescriptorType_t, descriptor *);
    cudnnStatus_t (*drop)(descriptor);
    cudnnStatus_t (*finalize)(descriptor);
    cudnnStatus_t (*set)(descriptor, cudnnBackendAttributeName_t, cudnnBackendAttributeType_t,
                         int64_t, const void *);
    cudnnStatus_t (*get)(descriptor, cudnnBackendAttributeName_t, cudnnBackendAttributeType_t,
                         int64_t, int64_t *, void *);
    cudnnStatus_t (*execute)(cudnnHandle_t, descriptor, descriptor);
    bool loaded;
    char reason[256];
} lib;

static pthread_once_t lib_once = PTHREAD_ONCE_INIT;

static void load_library(void)
{
    const struct {
        const char *name;
        void *function; /* address of a function pointer in lib */
    } symbols[] = {
        {"cudnnGetVersion", &lib.version},
        {"cudnnGetLastErrorString", &lib.last_error},
        {"cudnnCreate", &lib.create},
        {"cudnnDestroy", &lib.destroy},
        {"cudnnSetStream", &lib.set_stream},
        {"cudnnBackendCreateDescriptor", &lib.make},
        {"cudnnBackendDestroyDescriptor", &lib.drop},
        {"cudnnBackendFinalize", &lib.finalize},
        {"cudnnBackendSetAttribute", &lib.set},
        {"cudnnBackendGetAttribute", &lib.get},
        {"cudnnBackendExecute", &lib.execute},
    };
    void *library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(lib.reason, sizeof lib.reason, "%s", dlerror());
        return;
    }
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *address = dlsym(library, symbols[i].name);
        if (!address) {
            snprintf(lib.reason, sizeof lib.reason, "libcudnn.so.9 has no %s", symbols[i].name);
            return;
        }
        /* ISO C has no cast from an object to a function pointer; POSIX gives them one size. */
        memcpy(symbols[i].function, &address, sizeof address);
    }
    lib.loaded = true;
}

sb_status sb_cudnn_open(int64_t *version, sb_err *err)
{
    *version = 0;
    pthread_once(&lib_once, load_library);
    if (!lib.loaded)
        return sb_fail(err, SB_UNAVAILABLE, "cuDNN: %s", lib.reason);
    *version = (int64_t)lib.version();
    return SB_OK;
}

static sb_status failed(sb_err *err, const char *what, cudnnStatus_t status)
{
    char reason[320] = "";
    lib.last_error(reason, sizeof reason);
    return sb_fail(err, SB_UNSUPPORTED, "cuDNN: %s failed with status %d: %s", what, (int)status,
                   reason);
}

/* ---- building the graph --------------------------------------------------------------------- */

struct sb_cudnn_plan {
    sb_problem problem;
    cudnnHandle_t handle;
    descriptor owned[MAX_DESCRIPTORS]; /* freed in reverse */
    int n_owned;
    descriptor operations[MAX_OPERATIONS];
    int n_operations;
    descriptor plan;
    void *workspace;
    int64_t next_uid; /* of the tensors that stay inside the graph */
    float scale, masked;
    int32_t keys, queries;
    sb_status status; /* first failure while building */
    sb_err *err;
};

static descriptor make(sb_cudnn_plan *g, cudnnBackendDescriptorType_t type)
{
    descriptor d = NULL;
    cudnnStatus_t status;
    if (g->status != SB_OK)
        return NULL;
    if (g->n_owned == MAX_DESCRIPTORS) {
        g->status = sb_fail(g->err, SB_INTERNAL, "cuDNN: more than %d descriptors", g->n_owned);
        return NULL;
    }
    if ((status = lib.make(type, &d)) != CUDNN_STATUS_SUCCESS) {
        g->status = failed(g->err, "creating a descriptor", status);
        return NULL;
    }
    return g->owned[g->n_owned++] = d;
}

static void set(sb_cudnn_plan *g, descriptor d, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t n, const void *values)
{
    cudnnStatus_t status;
    if (g->status == SB_OK &&
        (status = lib.set(d, name, type, n, values)) != CUDNN_STATUS_SUCCESS) {
        char what[64];
        snprintf(what, sizeof what, "setting attribute %d", (int)name);
        g->status = failed(g->err, what, status);
    }
}

static void set_descriptor(sb_cudnn_plan *g, descriptor d, cudnnBackendAttributeName_t name,
                           descriptor value)
{
    if (value)
        set(g, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static descriptor finalize(sb_cudnn_plan *g, descriptor d, const char *what)
{
    cudnnStatus_t status;
    if (g->status == SB_OK && (status = lib.finalize(d)) != CUDNN_STATUS_SUCCESS)
        g->status = failed(g->err, what, status);
    return d;
}

static descriptor tensor(sb_cudnn_plan *g, int64_t uid, cudnnDataType_t type, const int64_t dims[4],
                         const int64_t strides[4], bool is_virtual, bool by_value)
{
    int64_t alignment = 16;
    descriptor d = make(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(g, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
    set(g, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(g, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    set(g, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    set(g, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(g, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    set(g, d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
    return finalize(g, d, "describing a tensor");
}

/* A contiguous [B, heads, rows, columns]; with `transposed`, its view as [B, heads, columns, rows].
 */
static descriptor matrix(sb_cudnn_plan *g, int64_t uid, cudnnDataType_t type, int64_t heads,
                         int64_t rows, int64_t columns, bool transposed)
{
    int64_t dims[4] = {g->problem.n_batch, heads, rows, columns};
    int64_t strides[4] = {heads * rows * columns, rows * columns, columns, 1};
    if (transposed) {
        dims[2] = columns, dims[3] = rows;
        strides[2] = 1, strides[3] = columns;
    }
    return tensor(g, uid, type, dims, strides, false, false);
}

/* What lives between two operations: [B, H, T, S], or a column of it. */
static descriptor inner(sb_cudnn_plan *g, cudnnDataType_t type, bool column)
{
    const sb_problem *p = &g->problem;
    int64_t width = column ? 1 : p->kv_len;
    int64_t dims[4] = {p->n_batch, p->n_heads, p->q_len, width};
    int64_t strides[4] = {p->n_heads * p->q_len * width, p->q_len * width, width, 1};
    return tensor(g, g->next_uid++, type, dims, strides, true, false);
}

static descriptor scalar(sb_cudnn_plan *g, int64_t uid, cudnnDataType_t type)
{
    const int64_t ones[4] = {1, 1, 1, 1};
    return tensor(g, uid, type, ones, ones, false, true);
}

static void add_operation(sb_cudnn_plan *g, descriptor d)
{
    finalize(g, d, "adding an operation");
    if (g->status == SB_OK)
        g->operations[g->n_operations++] = d;
}

static void matmul(sb_cudnn_plan *g, descriptor a, descriptor b, descriptor c)
{
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    descriptor how = make(g, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set(g, how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    finalize(g, how, "describing a product");
    descriptor d = make(g, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    set_descriptor(g, d, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
    set_descriptor(g, d, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
    set_descriptor(g, d, CUDNN_ATTR_OPERATION_MATMUL_CDESC, c);
    set_descriptor(g, d, CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    add_operation(g, d);
}

/* y = mode(x, b), or of x, b and t; b and t may be NULL. */
static descriptor pointwise(sb_cudnn_plan *g, cudnnPointwiseMode_t mode, cudnnDataType_t compute,
                            int64_t axis, descriptor x, descriptor b, descriptor t, descriptor y)
{
    descriptor how = make(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(g, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(g, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    if (axis >= 0)
        set(g, how, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &axis);
    finalize(g, how, "describing a pointwise operation");
    descriptor d = make(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_descriptor(g, d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    set_descriptor(g, d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    set_descriptor(g, d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    set_descriptor(g, d, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t);
    set_descriptor(g, d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    add_operation(g, d);
    return y;
}

static descriptor reduce(sb_cudnn_plan *g, cudnnReduceTensorOp_t op, descriptor x, descriptor y)
{
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    descriptor how = make(g, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    set(g, how, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &op);
    set(g, how, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    finalize(g, how, "describing a reduction");
    descriptor d = make(g, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    set_descriptor(g, d, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    set_descriptor(g, d, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    set_descriptor(g, d, CUDNN_ATTR_OPERATION_REDUCTION_DESC, how);
    add_operation(g, d);
    return y;
}

/* Keep scores where row + keys - queries >= column. */
static descriptor causal(sb_cudnn_plan *g, descriptor scores)
{
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT, i32 = CUDNN_DATA_INT32;
    descriptor row =
        pointwise(g, CUDNN_POINTWISE_GEN_INDEX, f32, 2, scores, NULL, NULL, inner(g, i32, false));
    descriptor column =
        pointwise(g, CUDNN_POINTWISE_GEN_INDEX, f32, 3, scores, NULL, NULL, inner(g, i32, false));
    if (g->keys != g->queries) {
        row = pointwise(g, CUDNN_POINTWISE_ADD, i32, 3, row, scalar(g, KEYS, i32), NULL,
                        inner(g, i32, false));
        row = pointwise(g, CUDNN_POINTWISE_SUB, i32, 3, row, scalar(g, QUERIES, i32), NULL,
                        inner(g, i32, false));
    }
    descriptor seen = pointwise(g, CUDNN_POINTWISE_CMP_GE, CUDNN_DATA_BOOLEAN, -1, row, column,
                                NULL, inner(g, CUDNN_DATA_BOOLEAN, false));
    return pointwise(g, CUDNN_POINTWISE_BINARY_SELECT, f32, -1, scores, scalar(g, MASKED, f32),
                     seen, inner(g, f32, false));
}

static void attention(sb_cudnn_plan *g)
{
    const sb_problem *p = &g->problem;
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
    cudnnDataType_t io = p->dtype == SB_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
    descriptor q = matrix(g, Q, io, p->n_heads, p->q_len, p->dim, false);
    descriptor k = matrix(g, K, io, p->n_kv_heads, p->kv_len, p->dim, true);
    descriptor v = matrix(g, V, io, p->n_kv_heads, p->kv_len, p->dim_v, false);
    descriptor o = matrix(g, O, io, p->n_heads, p->q_len, p->dim_v, false);
    descriptor lse = matrix(g, LSE, f32, p->n_heads, p->q_len, 1, false);

    descriptor product = inner(g, f32, false);
    matmul(g, q, k, product);
    descriptor scores = pointwise(g, CUDNN_POINTWISE_MUL, f32, -1, product, scalar(g, SCALE, f32),
                                  NULL, inner(g, f32, false));
    scores = causal(g, scores);
    descriptor most = reduce(g, CUDNN_REDUCE_TENSOR_MAX, scores, inner(g, f32, true));
    descriptor less =
        pointwise(g, CUDNN_POINTWISE_SUB, f32, -1, scores, most, NULL, inner(g, f32, false));
    descriptor exps =
        pointwise(g, CUDNN_POINTWISE_EXP, f32, -1, less, NULL, NULL, inner(g, f32, false));
    descriptor sum = reduce(g, CUDNN_REDUCE_TENSOR_ADD, exps, inner(g, f32, true));
    descriptor log_sum =
        pointwise(g, CUDNN_POINTWISE_LOG, f32, -1, sum, NULL, NULL, inner(g, f32, true));
    pointwise(g, CUDNN_POINTWISE_ADD, f32, -1, most, log_sum, NULL, lse);
    descriptor shares =
        pointwise(g, CUDNN_POINTWISE_DIV, f32, -1, exps, sum, NULL, inner(g, io, false));
    matmul(g, shares, v, o);
}

/* ---- plans ---------------------------------------------------------------------------------- */

/* The first engine of the heuristics that makes a plan; its workspace in bytes. */
static int64_t choose_engine(sb_cudnn_plan *g, descriptor graph)
{
    cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    descriptor configs[MAX_ENGINES];
    int64_t n_configs = 0, n_bytes = 0;
    descriptor heuristics = make(g, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set_descriptor(g, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(g, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    finalize(g, heuristics, "asking for engines");
    for (int i = 0; i < MAX_ENGINES; i++)
        configs[i] = make(g, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (g->status != SB_OK)
        return 0;
    lib.get(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, MAX_ENGINES,
            &n_configs, configs);
    for (int64_t i = 0; i < n_configs && i < MAX_ENGINES && !g->plan; i++) {
        descriptor plan = make(g, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
        set(g, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &g->handle);
        set_descriptor(g, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configs[i]);
        if (g->status == SB_OK && lib.finalize(plan) == CUDNN_STATUS_SUCCESS)
            g->plan = plan;
    }
    if (g->plan)
        lib.get(g->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, NULL,
                &n_bytes);
    else if (g->status == SB_OK)
        g->status = failed(g->err, "finding an engine for this shape", CUDNN_STATUS_NOT_SUPPORTED);
    return n_bytes;
}

static sb_status check_shape(const sb_problem *p, sb_err *err)
{
    if (p->dtype == SB_F32)
        return sb_fail(err, SB_UNSUPPORTED, "cuDNN's fused attention takes bf16 and f16, not f32");
    for (int64_t b = 0; b < p->n_batch; b++)
        if (sb_q_len(p, b) != p->q_len || sb_kv_len(p, b) != p->kv_len)
            return sb_fail(err, SB_UNSUPPORTED, "the cuDNN baseline takes no ragged batches");
    return SB_OK;
}

sb_status sb_cudnn_plan_create(const sb_problem *p, sb_stream stream, sb_cudnn_plan **plan,
                               sb_err *err)
{
    sb_status st = SB_OK;
    int64_t version;
    sb_cudnn_plan *g = NULL;
    cudnnStatus_t status;
    *plan = NULL;
    SB_TRY(check_shape(p, err));
    SB_TRY(sb_cudnn_open(&version, err));
    g = sb_alloc(1, sizeof *g);
    SB_CHECK(g, err, SB_NO_MEMORY, "out of memory for a cuDNN plan");
    g->problem = *p;
    g->problem.q_lens = g->problem.kv_lens = g->problem.prompt_lens = NULL;
    g->err = err;
    g->next_uid = N_TENSORS + 1;
    g->scale = (float)p->scale;
    g->masked = -INFINITY;
    g->keys = (int32_t)p->kv_len;
    g->queries = (int32_t)p->q_len;
    status = lib.create(&g->handle);
    SB_CHECK(status == CUDNN_STATUS_SUCCESS, err, SB_UNAVAILABLE, "cuDNN: no handle, status %d",
             (int)status);
    lib.set_stream(g->handle, stream);

    attention(g);
    descriptor graph = make(g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(g, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &g->handle);
    set(g, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, g->n_operations,
        g->operations);
    finalize(g, graph, "building the graph");
    int64_t n_bytes = choose_engine(g, graph);
    SB_TRY(g->status);
    SB_TRY(sb_cuda_malloc(n_bytes, "cuDNN's workspace", &g->workspace, err));
    g->err = NULL;
    *plan = g;
    return SB_OK;
out:
    sb_cudnn_plan_destroy(g);
    return st;
}

sb_status sb_cudnn_attend(sb_cudnn_plan *g, const sb_inputs *in, const sb_outputs *out, sb_err *err)
{
    int64_t uids[N_TENSORS] = {Q, K, V, O, LSE, SCALE, MASKED, KEYS, QUERIES};
    /* cuDNN takes writable addresses for all, and leaves inputs as they are. */
    union {
        const void *input;
        void *any;
    } q = {in->q}, k = {in->k}, v = {in->v};
    void *pointers[N_TENSORS] = {q.any,     k.any,      v.any,    out->o,     out->lse,
                                 &g->scale, &g->masked, &g->keys, &g->queries};
    int64_t n = g->keys != g->queries ? N_TENSORS : N_TENSORS - 2;
    int n_planned = g->n_owned;
    g->err = err;
    g->status = SB_OK;
    /* A pack cannot be written again once it is finalized. */
    descriptor pack = make(g, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    set(g, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, uids);
    set(g, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n, pointers);
    set(g, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &g->workspace);
    finalize(g, pack, "binding the tensors");
    if (g->status == SB_OK) {
        cudnnStatus_t status = lib.execute(g->handle, g->plan, pack);
        if (status != CUDNN_STATUS_SUCCESS)
            g->status = failed(err, "attention", status);
    }
    while (g->n_owned > n_planned)
        lib.drop(g->owned[--g->n_owned]);
    g->err = NULL;
    return g->status;
}

void sb_cudnn_plan_destroy(sb_cudnn_plan *g)
{
    if (!g)
        return;
    for (int i = g->n_owned - 1; i >= 0; i--)
        lib.drop(g->owned[i]);
    if (g->handle)
        lib.destroy(g->handle);
    sb_cuda_free(g->workspace);
    sb_free(g);
}
