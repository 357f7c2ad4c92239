#include "harness/h5util.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/mem.h"

enum {
    MAX_TEXT = 1 << 24, /* bytes of the longest string attribute that is read */
    MAX_FIXED_TEXT =
        1 << 14 /* longer ones go to the file's heap: a header message ends at 64 KiB */
};

void sb_h5_quiet(void)
{
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void sb_h5_close(hid_t id)
{
    if (id >= 0)
        (void)H5Idec_ref(id);
}

sb_status sb_h5_bad(sb_err *err, hid_t object, const char *child, const char *fmt, ...)
{
    char file[256] = "?", path[128] = "", what[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    (void)H5Fget_name(object, file, sizeof file);
    (void)H5Iget_name(object, path, sizeof path);
    const char *slash = child && child[0] != '@' && strcmp(path, "/") != 0 ? "/" : "";
    return sb_fail(err, SB_BAD_DATA, "%s: %s%s%s: %s", file, path, slash, child ? child : "", what);
}

sb_status sb_h5_open(const char *path, hid_t *file, sb_err *err)
{
    struct stat info;
    if (stat(path, &info) < 0 || access(path, R_OK) < 0)
        return sb_fail(err, SB_BAD_DATA, "%s: cannot open: %s; expected an HDF5 file", path,
                       strerror(errno));
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    /* HDF5 locks what it opens, which network file systems often refuse; files appear by rename. */
    (void)H5Pset_file_locking(access, false, true);
    *file = S_ISREG(info.st_mode) ? H5Fopen(path, H5F_ACC_RDONLY, access) : -1;
    sb_h5_close(access);
    if (*file >= 0)
        return SB_OK;
    bool foreign = !S_ISREG(info.st_mode) || H5Fis_hdf5(path) <= 0;
    return sb_fail(err, SB_BAD_DATA, "%s: %s; expected an HDF5 file", path,
                   foreign ? "not an HDF5 file" : "truncated or damaged");
}

bool sb_h5_owns(hid_t parent, const char *name)
{
    H5L_info_t link;
    return H5Lexists(parent, name, H5P_DEFAULT) > 0 &&
           H5Lget_info(parent, name, &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD;
}

sb_status sb_h5_open_group(hid_t parent, const char *name, hid_t *group, sb_err *err)
{
    *group = sb_h5_owns(parent, name) ? H5Gopen2(parent, name, H5P_DEFAULT) : -1;
    return *group >= 0 ? SB_OK : sb_h5_bad(err, parent, name, "missing; expected a group");
}

static sb_status put_scalar(const sb_h5_out *out, hid_t object, const char *name, hid_t type,
                            const void *value, sb_err *err)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attr = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    sb_status st = sb_h5_wrote(out, attr < 0 ? -1 : H5Awrite(attr, type, value), err);
    sb_h5_close(attr);
    sb_h5_close(space);
    return st;
}

hid_t sb_h5_text_type(size_t n)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    (void)H5Tset_size(type, n > 0 ? n : 1);
    (void)H5Tset_strpad(type, H5T_STR_NULLPAD);
    (void)H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

sb_status sb_h5_put_text(const sb_h5_out *out, hid_t object, const char *name, const char *text,
                         sb_err *err)
{
    size_t n = strlen(text);
    bool fixed = n <= MAX_FIXED_TEXT;
    hid_t type = sb_h5_text_type(fixed ? n : H5T_VARIABLE);
    sb_status st = put_scalar(out, object, name, type, fixed ? (const void *)text : &text, err);
    sb_h5_close(type);
    return st;
}

sb_status sb_h5_put_int(const sb_h5_out *out, hid_t object, const char *name, int64_t value,
                        sb_err *err)
{
    return put_scalar(out, object, name, H5T_NATIVE_INT64, &value, err);
}

sb_status sb_h5_put_real(const sb_h5_out *out, hid_t object, const char *name, double value,
                         sb_err *err)
{
    return put_scalar(out, object, name, H5T_NATIVE_DOUBLE, &value, err);
}

sb_status sb_h5_put_dataset(const sb_h5_out *out, hid_t parent, const char *name, hid_t type,
                            int rank, const hsize_t *dims, hid_t create, const void *values,
                            sb_err *err)
{
    hid_t space = rank > 0 ? H5Screate_simple(rank, dims, NULL) : H5Screate(H5S_SCALAR);
    hid_t set = H5Dcreate2(parent, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    herr_t wrote = set < 0 ? -1 : H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    sb_h5_close(set);
    sb_h5_close(space);
    return sb_h5_wrote(out, wrote, err);
}

static sb_status attribute_bad(sb_err *err, hid_t object, const char *name, const char *what,
                               const char *expected)
{
    char at[64];
    (void)snprintf(at, sizeof at, "@%s", name);
    return sb_h5_bad(err, object, at, "attribute %s; expected %s", what, expected);
}

/* HDF5 1.10 converts numbers whose fields lie beyond their bytes, and reads there. */
static bool is_plain_number(hid_t type)
{
    size_t bits = 8 * H5Tget_size(type), sign, e_at, e_bits, m_at, m_bits;
    if (bits > 64 || H5Tget_precision(type) != bits || H5Tget_offset(type) != 0)
        return false;
    if (H5Tget_class(type) == H5T_INTEGER)
        return true;
    return H5Tget_class(type) == H5T_FLOAT &&
           H5Tget_fields(type, &sign, &e_at, &e_bits, &m_at, &m_bits) >= 0 && sign < bits &&
           e_at + e_bits <= bits && m_at + m_bits <= bits;
}

static sb_status open_attribute(hid_t object, const char *name, bool text, hid_t *attr, hid_t *type,
                                sb_err *err)
{
    const char *expected = text ? "a string" : "a number";
    if (H5Aexists(object, name) <= 0)
        return attribute_bad(err, object, name, "is missing", expected);
    *attr = H5Aopen(object, name, H5P_DEFAULT);
    *type = H5Aget_type(*attr);
    hid_t space = H5Aget_space(*attr);
    hssize_t n = H5Sget_simple_extent_npoints(space);
    sb_h5_close(space);
    bool fits = text ? H5Tget_class(*type) == H5T_STRING : is_plain_number(*type);
    if (n != 1 || !fits)
        return attribute_bad(err, object, name, "has another type", expected);
    return SB_OK;
}

static sb_status read_fixed(hid_t attr, hid_t type, char **text)
{
    size_t n = H5Tget_size(type);
    char *fixed = n <= MAX_TEXT ? sb_alloc((int64_t)n + 1, 1) : NULL;
    if (!fixed)
        return SB_NO_MEMORY;
    if (H5Aread(attr, type, fixed) < 0) {
        sb_free(fixed);
        return SB_BAD_DATA;
    }
    if (H5Tget_strpad(type) == H5T_STR_SPACEPAD)
        for (size_t end = strlen(fixed); end > 0 && fixed[end - 1] == ' '; end--)
            fixed[end - 1] = '\0';
    *text = fixed;
    return SB_OK;
}

static sb_status read_variable(hid_t attr, hid_t type, char **text)
{
    char *heap = NULL;
    if (H5Aread(attr, type, &heap) < 0)
        return SB_BAD_DATA;
    *text = sb_strdup(heap ? heap : "");
    (void)H5free_memory(heap);
    return *text ? SB_OK : SB_NO_MEMORY;
}

sb_status sb_h5_get_text(hid_t object, const char *name, char **text, sb_err *err)
{
    hid_t attr = -1, type = -1;
    *text = NULL;
    sb_status st = open_attribute(object, name, true, &attr, &type, err);
    if (st == SB_OK) {
        st = H5Tis_variable_str(type) > 0 ? read_variable(attr, type, text)
                                          : read_fixed(attr, type, text);
        if (st == SB_NO_MEMORY)
            (void)sb_no_memory(err, name);
        else if (st != SB_OK)
            (void)attribute_bad(err, object, name, "is unreadable", "a string");
    }
    sb_h5_close(type);
    sb_h5_close(attr);
    return st;
}

sb_status sb_h5_get_real(hid_t object, const char *name, double *value, sb_err *err)
{
    hid_t attr = -1, type = -1;
    sb_status st = open_attribute(object, name, false, &attr, &type, err);
    if (st == SB_OK && H5Aread(attr, H5T_NATIVE_DOUBLE, value) < 0)
        st = attribute_bad(err, object, name, "is unreadable", "a number");
    sb_h5_close(type);
    sb_h5_close(attr);
    return st;
}

sb_status sb_h5_get_int(hid_t object, const char *name, int64_t *value, sb_err *err)
{
    hid_t attr = -1, type = -1;
    double real = 0;
    sb_status st = open_attribute(object, name, false, &attr, &type, err);
    if (st == SB_OK && H5Tget_class(type) == H5T_FLOAT) {
        if (H5Aread(attr, H5T_NATIVE_DOUBLE, &real) < 0 || !(fabs(real) <= 0x1p53) ||
            real != floor(real))
            st = attribute_bad(err, object, name, "has a fraction", "a whole number");
        else
            *value = (int64_t)real;
    } else if (st == SB_OK && H5Aread(attr, H5T_NATIVE_INT64, value) < 0) {
        st = attribute_bad(err, object, name, "is unreadable", "a whole number");
    }
    sb_h5_close(type);
    sb_h5_close(attr);
    return st;
}

static const struct float_layout {
    sb_dtype dtype;
    size_t bytes, exponent_at, exponent_bits, mantissa_bits, bias;
} layouts[] = {{SB_F32, 4, 23, 8, 23, 127}, {SB_BF16, 2, 7, 8, 7, 127}, {SB_F16, 2, 10, 5, 10, 15}};

hid_t sb_h5_float_type(sb_dtype dtype)
{
    hid_t type = H5Tcopy(H5T_NATIVE_FLOAT);
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        const struct float_layout *l = &layouts[i];
        if (l->dtype != dtype)
            continue;
        /* The fields go first: HDF5 checks each change against what is there. */
        (void)H5Tset_fields(type, 8 * l->bytes - 1, l->exponent_at, l->exponent_bits, 0,
                            l->mantissa_bits);
        (void)H5Tset_precision(type, 8 * l->bytes);
        (void)H5Tset_size(type, l->bytes);
        (void)H5Tset_ebias(type, l->bias);
    }
    return type;
}

bool sb_h5_float_dtype(hid_t type, sb_dtype *dtype)
{
    size_t sign = 0, e_at = 0, e_bits = 0, m_at = 0, m_bits = 0;
    H5T_order_t order = H5Tget_order(type);
    if (H5Tget_class(type) != H5T_FLOAT || H5Tget_norm(type) != H5T_NORM_IMPLIED ||
        (order != H5T_ORDER_LE && order != H5T_ORDER_BE) ||
        H5Tget_fields(type, &sign, &e_at, &e_bits, &m_at, &m_bits) < 0)
        return false;
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        const struct float_layout *l = &layouts[i];
        if (H5Tget_size(type) == l->bytes && H5Tget_precision(type) == 8 * l->bytes &&
            sign == 8 * l->bytes - 1 && e_at == l->exponent_at && e_bits == l->exponent_bits &&
            m_at == 0 && m_bits == l->mantissa_bits && H5Tget_ebias(type) == l->bias) {
            *dtype = l->dtype;
            return true;
        }
    }
    return false;
}

hid_t sb_h5_packed(int rank, const hsize_t *chunk, unsigned level)
{
    hid_t packed = H5Pcreate(H5P_DATASET_CREATE);
    (void)H5Pset_chunk(packed, rank, chunk);
    if (level > 0) {
        (void)H5Pset_shuffle(packed);
        (void)H5Pset_deflate(packed, level);
    }
    (void)H5Pset_obj_track_times(packed, false);
    return packed;
}
