#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/results_rows.h"

/* A column that a file of an earlier version lacks keeps its initial value; a text becomes "". */
static sb_status get_columns(hid_t group, sb_record *r, sb_err *err)
{
    sb_status st = SB_OK;
    for (int i = 0; i < sb_n_columns && st == SB_OK; i++) {
        const sb_column *c = &sb_columns[i];
        void *field = sb_column_at(c, r);
        bool there = H5Aexists(group, c->name) > 0;
        if (c->kind == SB_KIND_TEXT)
            st = there ? sb_h5_get_text(group, c->name, field, err) : sb_record_set(field, "", err);
        else if (there && c->kind == SB_KIND_INT)
            st = sb_h5_get_int(group, c->name, field, err);
        else if (there)
            st = sb_h5_get_real(group, c->name, field, err);
    }
    return st;
}

static sb_status get_series(hid_t group, sb_series *s, sb_err *err)
{
    if (!sb_h5_owns(group, s->name))
        return SB_OK;
    sb_status st = SB_OK;
    hid_t set = H5Dopen2(group, s->name, H5P_DEFAULT), space = H5Dget_space(set);
    hssize_t n = H5Sget_simple_extent_npoints(space);
    s->data = n < 0 ? NULL : sb_alloc_uninit(n, sizeof *s->data);
    if (n >= 0 && !s->data)
        st = sb_no_memory(err, s->name);
    else if (n < 0 || H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, s->data) < 0)
        st = sb_h5_bad(err, group, s->name, "unreadable; expected numbers");
    else
        s->n = n;
    sb_h5_close(space);
    sb_h5_close(set);
    return st;
}

sb_status sb_provenance_load(hid_t file, const char *name, char **text, sb_err *err)
{
    sb_status st = SB_OK;
    hid_t group = -1, set = -1, type = -1;
    char *bytes = NULL;
    if (!name[0])
        return sb_record_set(text, "", err);
    SB_TRY(sb_h5_open_group(file, "provenance", &group, err));
    set = sb_h5_owns(group, name) ? H5Dopen2(group, name, H5P_DEFAULT) : -1;
    type = H5Dget_type(set);
    if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0) {
        st = sb_h5_bad(err, group, name, "missing; expected a text");
        goto out;
    }
    bytes = sb_alloc((int64_t)H5Tget_size(type) + 1, 1);
    if (!bytes) {
        st = sb_no_memory(err, "provenance");
        goto out;
    }
    if (H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes) < 0) {
        st = sb_h5_bad(err, group, name, "unreadable; expected a text");
        goto out;
    }
    *text = bytes;
    bytes = NULL;
out:
    sb_free(bytes);
    sb_h5_close(type);
    sb_h5_close(set);
    sb_h5_close(group);
    return st;
}

static sb_status get_record(hid_t file, hid_t group, sb_extent extent, sb_record *r, sb_err *err)
{
    sb_status st = SB_OK;
    bool whole = extent == SB_WHOLE;
    char *provenance = NULL;
    SB_TRY(get_columns(group, r, err));
    SB_TRY(sb_h5_get_text(group, "config", &r->config, err));
    SB_TRY(sb_h5_get_text(group, "provenance", whole ? &provenance : &r->provenance, err));
    if (!whole)
        goto out;
    SB_TRY(sb_h5_get_int(group, "pos_bin", &r->pos_bin, err));
    SB_TRY(sb_h5_get_int(group, "map_side", &r->map_side, err));
    SB_TRY(sb_provenance_load(file, provenance, &r->provenance, err));
    for (int i = 0; i < SB_N_SERIES; i++)
        SB_TRY(get_series(group, &r->series[i], err));
out:
    sb_free(provenance);
    return st;
}

struct visiting {
    hid_t file;
    sb_extent extent;
    sb_record_visit visit;
    void *user;
    sb_err *err;
    sb_status st;
};

static herr_t visit_one(hid_t records, const char *name, const H5L_info_t *link, void *user)
{
    struct visiting *v = user;
    sb_record r;
    hid_t group = -1;
    (void)link;
    sb_record_init(&r);
    v->st = sb_key_parse(name, &r.key)
                ? sb_h5_open_group(records, name, &group, v->err)
                : sb_h5_bad(v->err, records, name, "not a record; expected 16 hexadecimal digits");
    if (v->st == SB_OK)
        v->st = get_record(v->file, group, v->extent, &r, v->err);
    if (v->st == SB_OK)
        v->st = v->visit(v->user, &r, v->err);
    sb_record_free(&r);
    sb_h5_close(group);
    return v->st == SB_OK ? 0 : -1;
}

sb_status sb_store_visit(hid_t file, sb_extent extent, sb_record_visit visit, void *user,
                         sb_err *err)
{
    struct visiting v = {file, extent, visit, user, err, SB_OK};
    hid_t records = -1;
    if (extent == SB_COLUMNS && sb_rows_usable(file))
        return sb_rows_visit(file, visit, user, err);
    sb_status st = sb_h5_open_group(file, "records", &records, err);
    if (st == SB_OK && H5Literate(records, H5_INDEX_NAME, H5_ITER_INC, NULL, visit_one, &v) < 0)
        st = v.st != SB_OK ? v.st : sb_h5_bad(err, records, NULL, "damaged; expected records");
    sb_h5_close(records);
    return st;
}

sb_status sb_store_find(hid_t file, uint64_t key, sb_record *r, bool *found, sb_err *err)
{
    hid_t group = -1;
    char at[32];
    (void)snprintf(at, sizeof at, "/records/%016" PRIx64, key);
    *found = sb_h5_owns(file, at);
    if (!*found)
        return SB_OK;
    r->key = key;
    sb_status st = sb_h5_open_group(file, at, &group, err);
    if (st == SB_OK)
        st = get_record(file, group, SB_WHOLE, r, err);
    sb_h5_close(group);
    return st;
}

sb_status sb_store_open(const char *path, hid_t *file, sb_err *err)
{
    sb_status st = SB_OK;
    char *format = NULL;
    int64_t version = 0;
    *file = -1;
    SB_TRY(sb_h5_open(path, file, err));
    SB_TRY(sb_h5_get_text(*file, "format", &format, err));
    SB_TRY(sb_h5_get_int(*file, "version", &version, err));
    if (strcmp(format, SB_STORE_FORMAT) != 0 || version != SB_STORE_VERSION)
        st = sb_h5_bad(err, *file, "@format", "'%s' version %" PRId64 "; expected '%s' version %d",
                       format, version, SB_STORE_FORMAT, SB_STORE_VERSION);
out:
    sb_free(format);
    return st;
}

sb_status sb_file_visit(const char *path, sb_extent extent, sb_record_visit visit, void *user,
                        sb_err *err)
{
    hid_t file = -1;
    sb_status st = sb_store_open(path, &file, err);
    if (st == SB_OK)
        st = sb_store_visit(file, extent, visit, user, err);
    sb_h5_close(file);
    return st;
}
