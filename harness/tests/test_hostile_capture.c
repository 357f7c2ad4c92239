/* Hostile captures: the program refuses each with exit code 3 and one line, soon and in little
 * memory, and opens no file that a capture names. */

#include <dirent.h>
#include <math.h>

#include "harness/tests/capture_rig.h"
#include "harness/tests/hostile_rig.h"

static const hsize_t shape[3] = {H, N, D};

static void huge_rows(hid_t f)
{
    const hsize_t dims[3] = {H, (hsize_t)1 << 60, D}, chunk[3] = {1, 64, D};
    put(f, Q, sb_h5_float_type(SB_BF16), 3, dims, sb_h5_packed(3, chunk, 1), false);
}
static void most_rows(hid_t f)
{
    const hsize_t dims[3] = {4096, 1 << 27, 4096}, chunk[3] = {1, 64, 64};
    put(f, Q, sb_h5_float_type(SB_BF16), 3, dims, sb_h5_packed(3, chunk, 1), false);
}
static void cycle(hid_t f)
{
    drop(f, "/layers/2");
    (void)H5Lcreate_hard(f, "/layers", f, "/layers/2", H5P_DEFAULT, H5P_DEFAULT);
}
static void root_cycle(hid_t f)
{
    drop(f, "/layers");
    (void)H5Lcreate_hard(f, "/", f, "/layers", H5P_DEFAULT, H5P_DEFAULT);
}
static void soft_layers(hid_t f)
{
    drop(f, "/layers");
    (void)H5Lcreate_soft("/layers", f, "/layers", H5P_DEFAULT, H5P_DEFAULT);
}
static void soft_nowhere(hid_t f)
{
    drop(f, K);
    (void)H5Lcreate_soft("/nowhere", f, K, H5P_DEFAULT, H5P_DEFAULT);
}
static void external_link(hid_t f)
{
    drop(f, K);
    (void)H5Lcreate_external("fifo", K, f, K, H5P_DEFAULT, H5P_DEFAULT);
}
static void external_layers(hid_t f)
{
    drop(f, "/layers");
    (void)H5Lcreate_external("fifo", "/layers", f, "/layers", H5P_DEFAULT, H5P_DEFAULT);
}
static void external_storage(hid_t f)
{
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    (void)H5Pset_external(create, "fifo", 0, H5F_UNLIMITED);
    put(f, Q, sb_h5_float_type(SB_BF16), 3, shape, create, false);
}
/* HDF5 opens the source of an unlimited one to learn its extent. */
static void unlimited_virtual(hid_t f)
{
    const hsize_t most[3] = {H, H5S_UNLIMITED, D}, zero[3] = {0}, one[3] = {1, 1, 1};
    const hsize_t count[3] = {1, H5S_UNLIMITED, 1}, block[3] = {H, 1, D};
    hid_t create = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(3, shape, most);
    hid_t type = sb_h5_float_type(SB_BF16);
    (void)H5Sselect_hyperslab(space, H5S_SELECT_SET, zero, one, count, block);
    EXPECT(H5Pset_virtual(create, space, "fifo", "q", space) >= 0);
    drop(f, Q);
    hid_t set = H5Dcreate2(f, Q, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    EXPECT(set >= 0);
    sb_h5_close(set);
    sb_h5_close(type);
    sb_h5_close(space);
    sb_h5_close(create);
}
static void unknown_filter(hid_t f)
{
    hid_t create = sb_h5_packed(3, shape, 1);
    EXPECT(H5Pset_filter(create, 32015, H5Z_FLAG_OPTIONAL, 0, NULL) >= 0);
    put(f, Q, sb_h5_float_type(SB_BF16), 3, shape, create, true);
}
static void deflate_twice(hid_t f)
{
    hid_t create = sb_h5_packed(3, shape, 1);
    EXPECT(H5Pset_deflate(create, 1) >= 0);
    put(f, Q, sb_h5_float_type(SB_BF16), 3, shape, create, true);
}
static void strings(hid_t f)
{
    put(f, Q, sb_h5_text_type(4), 3, shape, H5P_DEFAULT, true);
}
static void variable_strings(hid_t f)
{
    put(f, Q, sb_h5_text_type(H5T_VARIABLE), 3, shape, H5P_DEFAULT, false);
}
static void variable_lists(hid_t f)
{
    hid_t type = H5Tvlen_create(H5T_NATIVE_FLOAT);
    put(f, Q, type, 3, shape, H5P_DEFAULT, false);
}
static void compound(hid_t f)
{
    hid_t type = H5Tcreate(H5T_COMPOUND, 4);
    (void)H5Tinsert(type, "x", 0, H5T_NATIVE_FLOAT);
    put(f, Q, type, 3, shape, H5P_DEFAULT, true);
}

/* Version 1.10 of the format: chunks at the edge are stored as they are. */
static void unfiltered_edge(hid_t f)
{
    const hsize_t chunk[3] = {H, 5, D};
    hid_t create = sb_h5_packed(3, chunk, 1);
    EXPECT(H5Pset_chunk_opts(create, H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) >= 0);
    EXPECT(H5Fset_libver_bounds(f, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST) >= 0);
    put(f, Q, sb_h5_float_type(SB_BF16), 3, shape, create, true);
}

/* A chunk stored as these bytes in place of what the filters would make. */
static void put_chunk(hid_t f, const hsize_t *chunk, uint32_t skipped, const void *bytes, size_t n)
{
    const hsize_t most[3] = {H5S_UNLIMITED, H5S_UNLIMITED, H5S_UNLIMITED}, at[3] = {0};
    hid_t create = sb_h5_packed(3, chunk, 1), space = H5Screate_simple(3, shape, most);
    hid_t type = sb_h5_float_type(SB_BF16);
    drop(f, Q);
    hid_t set = H5Dcreate2(f, Q, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    EXPECT(H5Dwrite_chunk(set, H5P_DEFAULT, skipped, at, n, bytes) >= 0);
    sb_h5_close(set);
    sb_h5_close(type);
    sb_h5_close(space);
    sb_h5_close(create);
}
static const unsigned char noise[4096] = {0x78, 0x9c, 0xff, 0xff};
static void huge_chunk(hid_t f)
{
    const hsize_t chunk[3] = {4, 1 << 16, 1 << 12};
    put_chunk(f, chunk, 0, noise, sizeof noise);
}
static void chunk_of_noise(hid_t f)
{
    put_chunk(f, shape, 0, noise, sizeof noise);
}
/* HDF5 alone would read beyond what it unpacked. */
static void short_chunk(hid_t f)
{
    static const unsigned char four[64] = {0x78, 0x01, 1, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 4, 0, 1};
    put_chunk(f, shape, 0, four, sizeof four);
}
static void short_unpacked_chunk(hid_t f)
{
    put_chunk(f, shape, 2, noise, 64);
}
static void fill_with(hid_t f, float x)
{
    float *values = malloc(sizeof *values * H * N * D);
    hid_t set = H5Dopen2(f, Q, H5P_DEFAULT);
    for (int64_t i = 0; values && i < H * N * D; i++)
        values[i] = i == 500 ? x : 1;
    EXPECT(values && H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    sb_h5_close(set);
    free(values);
}
static void not_a_number(hid_t f)
{
    fill_with(f, NAN);
}
static void infinite(hid_t f)
{
    fill_with(f, -INFINITY);
}
static void two_lines(hid_t f)
{
    set_text(f, "format", "stem-capture\n\x1b[2J", false);
}
static void odd_number(hid_t f)
{
    hid_t type = H5Tcopy(H5T_STD_I64LE);
    (void)H5Tset_precision(type, 40);
    (void)H5Tset_offset(type, 20);
    set_number(f, "tokens", type, N);
    sb_h5_close(type);
}
static void layer_of_two_lines(hid_t f)
{
    (void)H5Lmove(f, "/layers/2", f, "/layers/2\n\x1b[2J", H5P_DEFAULT, H5P_DEFAULT);
}
static void many_layers(hid_t f)
{
    char name[32];
    for (int i = 11; i < 3000; i++) {
        (void)snprintf(name, sizeof name, "/layers/%d", i);
        (void)H5Lcreate_hard(f, "/layers/10", f, name, H5P_DEFAULT, H5P_DEFAULT);
    }
    drop(f, Q);
}

static const struct hostile {
    const char *name;
    void (*spoil)(hid_t file);
    const char *says;
} cases[] = {
    {"2^60 rows", huge_rows, "extent 1 is 1152921504606846976"},
    {"the most rows", most_rows, "cannot hold"},
    {"a cycle", cycle, "/layers/2"},
    {"a cycle at the root", root_cycle, "expected a layer index"},
    {"a soft link to itself", soft_layers, "expected a group"},
    {"a soft link to nowhere", soft_nowhere, "expected a dataset"},
    {"an external link", external_link, "expected a dataset"},
    {"external layers", external_layers, "expected a group"},
    {"external storage", external_storage, "other files"},
    {"unlimited virtual", unlimited_virtual, "other files"},
    {"an unknown filter", unknown_filter, "filter 32015"},
    {"deflate twice", deflate_twice, "shuffle, then deflate"},
    {"strings", strings, "another element type"},
    {"variable strings", variable_strings, "another element type"},
    {"variable lists", variable_lists, "another element type"},
    {"compound", compound, "another element type"},
    {"an unfiltered edge", unfiltered_edge, "leaves chunks at its edge unfiltered"},
    {"a huge chunk", huge_chunk, "chunks of 4 x 65536 x 4096"},
    {"a chunk of noise", chunk_of_noise, "damaged chunk"},
    {"a short chunk", short_chunk, "damaged chunk"},
    {"a short chunk, not packed", short_unpacked_chunk, "damaged chunk"},
    {"NaN", not_a_number, "nan at head 2, token 9"},
    {"infinity", infinite, "-inf at head"},
    {"a text of two lines", two_lines, "attribute is 'stem-capture"},
    {"a number within a number", odd_number, "@tokens: attribute has another type"},
    {"a layer of two lines", layer_of_two_lines, "expected a layer index"},
    {"3000 layers", many_layers, "missing; expected a dataset"},
};

static void test_cases(void)
{
    TEST("hostile captures");
    EXPECT(mkfifo("fifo", 0600) == 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_plain(SB_BF16);
        hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
        cases[i].spoil(file);
        EXPECT(H5Fclose(file) >= 0);
        hostile_expect(cases[i].name, 3, cases[i].says, "inspect", path);
    }
}

static void test_no_files(void)
{
    TEST("what is no file");
    static const char *const files[] = {"fifo", ".", "/dev/zero", "/dev/full"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        hostile_expect(files[i], 3, "not an HDF5 file", "inspect", files[i]);
    if (geteuid() != 0) {
        EXPECT(chmod(path, 0) == 0);
        hostile_expect("unreadable", 3, "Permission denied", "inspect", path);
        EXPECT(chmod(path, 0600) == 0);
    }
}

static void test_cut(void)
{
    struct stat whole;
    TEST("every truncation is refused");
    write_plain(SB_BF16);
    REQUIRE(stat(path, &whole) == 0);
    for (off_t n = whole.st_size - 1; n > 0; n = n * 7 / 8) {
        EXPECT(truncate(path, n) == 0);
        hostile_expect("cut", 3, path, "inspect", path);
    }
}

/* Files that crashed HDF5 on the way here; one that is read nevertheless is as good as refused. */
static void test_corpus(void)
{
    struct dirent *entry;
    int n = 0;
    TEST("captures that crash HDF5");
    DIR *corpus = opendir(SB_SOURCE_DIR "/harness/tests/corpus/capture");
    REQUIRE(corpus);
    while ((entry = readdir(corpus))) {
        char file[600];
        (void)snprintf(file, sizeof file, SB_SOURCE_DIR "/harness/tests/corpus/capture/%s",
                       entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        int code = hostile_run("inspect", file, NULL);
        EXPECT_MSG(code == 3 && one_line(), "%s: %d, %s", file, code, said);
        n++;
    }
    EXPECT(closedir(corpus) == 0 && n > 0);
}

int main(void)
{
    if (!rig_open() || chdir(folder) != 0)
        return 1;
    test_cases();
    test_no_files();
    test_cut();
    test_corpus();
    return rig_close();
}
