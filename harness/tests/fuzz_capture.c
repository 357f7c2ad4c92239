/* Captures from any bytes: each is read or refused with one line that names the file; nothing stays
 * allocated and no HDF5 object open. */

#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "harness/dataset.h"
#include "harness/h5util.h"
#include "harness/tests/fuzz_rig.h"

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t n_bytes, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n_bytes, size_t most, unsigned seed);

const char *__asan_default_options(void);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*call)(void));

enum { MAX_LAYERS_READ = 4 };

/* Where HDF5 refuses a damaged file, it forgets blocks of its own (ours are counted here) or has
 * asked for more memory than there is. */
const char *__asan_default_options(void)
{
    return "detect_leaks=0:allocator_may_return_null=1";
}

/* Of the one file, in memory, that every input is written to. */
static char path[] = "/dev/shm/stembench-fuzz-XXXXXX";
static int fd = -1;

/* A child that dies is no finding: the fuzzer would write it down as one. */
static void die_unnoticed(void)
{
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(NULL);
}

static void remove_file(void)
{
    (void)unlink(path);
}

static void write_file(const uint8_t *bytes, size_t n_bytes)
{
    if (fd < 0) {
        fd = mkstemp(path);
        fuzz_require(fd >= 0 && atexit(remove_file) == 0);
        fuzz_require(pthread_atfork(NULL, NULL, die_unnoticed) == 0);
    }
    fuzz_require(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, n_bytes, 0) == (ssize_t)n_bytes);
}

static void read_layer(const sb_capture *cap, const sb_layer_info *layer)
{
    sb_tensors t;
    sb_tensor_stats stats;
    sb_err err = {0};
    sb_status st = sb_capture_read(cap, layer->index, cap->tokens, SB_F32, &t, &err);
    fuzz_check(st, SB_BAD_DATA, &err);
    sb_tensors_free(&t);
    err = (sb_err){0};
    st = sb_capture_stats(cap, layer->index, 'k', &stats, &err);
    fuzz_check(st, SB_BAD_DATA, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    sb_capture cap;
    sb_err err = {0};
    write_file(bytes, n_bytes);
    sb_status st = sb_capture_open(path, &cap, &err);
    fuzz_check(st, SB_BAD_DATA, &err);
    for (int64_t i = 0; st == SB_OK && i < cap.n_layers && i < MAX_LAYERS_READ; i++)
        read_layer(&cap, &cap.layers[i]);
    sb_capture_close(&cap);
    fuzz_require(sb_mem_live() == 0);
    fuzz_require(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == 0);
    return 0;
}

static unsigned next_random(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Overwrites a few fields: what HDF5 reads hangs on offsets, which insertions would only break.
 * Fields are made of bytes from elsewhere, of corner values, or of one changed byte. */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n_bytes, size_t most, unsigned seed)
{
    static const uint64_t corners[] = {
        0,          1,          2,          8,         0x7f,           0xff,      0xffff,
        0x7fffffff, 0xffffffff, 1ull << 40, INT64_MAX, UINT64_MAX - 7, UINT64_MAX};
    enum { N_CORNERS = sizeof corners / sizeof corners[0] };
    unsigned state = seed;
    if (n_bytes < 16 || next_random(&state) % 16 == 0)
        return LLVMFuzzerMutate(bytes, n_bytes, most);
    for (unsigned n = 1 + next_random(&state) % 4; n > 0; n--) {
        size_t width = (size_t)1 << next_random(&state) % 4, kind = next_random(&state) % 3;
        size_t at = next_random(&state) % (n_bytes - width + 1);
        if (kind == 0)
            memmove(bytes + at, bytes + next_random(&state) % (n_bytes - width + 1), width);
        else if (kind == 1)
            memcpy(bytes + at, &corners[next_random(&state) % N_CORNERS], width);
        else
            bytes[at] = (uint8_t)(bytes[at] + (next_random(&state) % 2 ? next_random(&state) : 1));
    }
    return n_bytes;
}
