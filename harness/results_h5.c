#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/fs.h"
#include "harness/h5util.h"
#include "harness/hash.h"
#include "harness/mem.h"
#include "harness/results_store.h"

enum {
    MAX_ATTRIBUTES = 512, /* so many stay in the group's header, where they are cheapest */
    CHUNK = 1 << 16,
    LEVEL = 6,
    VERSION = 1
};
static const char format_name[] = "stembench-results";

static sb_status make_group(const sb_h5_out *out, const char *name, sb_err *err)
{
    hid_t group = H5Gcreate2(out->file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    sb_h5_close(group);
    return sb_h5_wrote(out, group, err);
}

sb_status sb_store_create(const char *path, const char *config, sb_h5_out *out, sb_err *err)
{
    sb_status st = SB_OK;
    SB_TRY(sb_h5_create(path, SB_H5_CHECKED, out, err));
    SB_TRY(sb_h5_put_text(out, out->file, "format", format_name, err));
    SB_TRY(sb_h5_put_int(out, out->file, "version", VERSION, err));
    if (config)
        SB_TRY(sb_h5_put_text(out, out->file, "config", config, err));
    SB_TRY(make_group(out, "records", err));
    SB_TRY(make_group(out, "provenance", err));
out:
    return st;
}

static sb_status put_columns(const sb_h5_out *out, hid_t group, const sb_record *r, sb_err *err)
{
    sb_status st = SB_OK;
    for (int i = 0; i < sb_n_columns && st == SB_OK; i++) {
        const sb_column *c = &sb_columns[i];
        const void *field = sb_column_of(c, r);
        if (c->kind == SB_KIND_TEXT) {
            const char *text = *(char *const *)field;
            st = sb_h5_put_text(out, group, c->name, text ? text : "", err);
        } else if (c->kind == SB_KIND_INT) {
            st = sb_h5_put_int(out, group, c->name, *(const int64_t *)field, err);
        } else {
            st = sb_h5_put_real(out, group, c->name, *(const double *)field, err);
        }
    }
    return st;
}

static sb_status put_series(const sb_h5_out *out, hid_t group, const sb_record *r, int id,
                            sb_err *err)
{
    const sb_series *s = &r->series[id];
    if (s->n == 0)
        return SB_OK;
    bool square = id == SB_SERIES_PATTERN_MAP && r->map_side * r->map_side == s->n;
    hsize_t side = (hsize_t)r->map_side, flat = (hsize_t)s->n;
    const hsize_t dims[2] = {square ? side : flat, side};
    const hsize_t chunk[2] = {dims[0] < CHUNK ? dims[0] : CHUNK, side};
    int rank = square ? 2 : 1;
    hid_t packed = sb_h5_packed(rank, chunk, LEVEL);
    sb_status st = sb_h5_put_dataset(out, group, sb_series_names[id], H5T_NATIVE_DOUBLE, rank, dims,
                                     packed, s->data, err);
    sb_h5_close(packed);
    return st;
}

/* Stores a text once, under its hash: `name`, 17 bytes. No text has the name "". */
static sb_status put_provenance(const sb_h5_out *out, const char *text, char *name, sb_err *err)
{
    name[0] = '\0';
    if (!text || !text[0])
        return SB_OK;
    size_t n = strlen(text);
    char at[32];
    (void)snprintf(name, 17, "%016" PRIx64, sb_hash64(text, n, 0));
    (void)snprintf(at, sizeof at, "/provenance/%s", name);
    hid_t type = sb_h5_text_type(n);
    sb_status st = sb_h5_put_dataset(out, out->file, at, type, 0, NULL, H5P_DEFAULT, text, err);
    sb_h5_close(type);
    return st;
}

static sb_status put_record(const sb_h5_out *out, const sb_record *r, sb_err *err)
{
    sb_status st = SB_OK;
    char at[32], provenance[17];
    (void)snprintf(at, sizeof at, "/records/%016" PRIx64, r->key);
    hid_t create = H5Pcreate(H5P_GROUP_CREATE), group = -1;
    (void)H5Pset_attr_phase_change(create, MAX_ATTRIBUTES, MAX_ATTRIBUTES - 1);
    (void)H5Pset_obj_track_times(create, false);
    SB_TRY(put_provenance(out, r->provenance, provenance, err));
    group = H5Gcreate2(out->file, at, H5P_DEFAULT, create, H5P_DEFAULT);
    SB_TRY(sb_h5_wrote(out, group, err));
    SB_TRY(put_columns(out, group, r, err));
    SB_TRY(sb_h5_put_int(out, group, "pos_bin", r->pos_bin, err));
    SB_TRY(sb_h5_put_int(out, group, "map_side", r->map_side, err));
    SB_TRY(sb_h5_put_text(out, group, "config", r->config ? r->config : "", err));
    SB_TRY(sb_h5_put_text(out, group, "provenance", provenance, err));
    for (int i = 0; i < SB_N_SERIES; i++)
        SB_TRY(put_series(out, group, r, i, err));
out:
    sb_h5_close(group);
    sb_h5_close(create);
    return st;
}

sb_status sb_cell_write(const char *path, const sb_record *r, sb_err *err)
{
    sb_h5_out file = {0};
    sb_status st = sb_store_create(path, NULL, &file, err);
    if (st == SB_OK)
        st = put_record(&file, r, err);
    if (st == SB_OK)
        st = sb_h5_commit(&file, err);
    sb_h5_discard(&file);
    return st;
}

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

static sb_status get_record(hid_t file, hid_t group, bool whole, sb_record *r, sb_err *err)
{
    sb_status st = SB_OK;
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

struct load {
    hid_t file;
    bool whole;
    const sb_key_set *skip;
    sb_record_list *list;
    sb_err *err;
    sb_status st;
};

static herr_t load_one(hid_t records, const char *name, const H5L_info_t *link, void *user)
{
    struct load *l = user;
    sb_record *r = NULL;
    hid_t group = -1;
    uint64_t key;
    (void)link;
    l->st = sb_key_parse(name, &key)
                ? SB_OK
                : sb_h5_bad(l->err, records, name, "not a record; expected 16 hexadecimal digits");
    if (l->st == SB_OK && l->skip && sb_key_has(l->skip, key))
        return 0;
    if (l->st == SB_OK)
        l->st = sb_h5_open_group(records, name, &group, l->err);
    if (l->st == SB_OK)
        l->st = sb_record_push(l->list, &r, l->err);
    if (l->st == SB_OK) {
        r->key = key;
        l->st = get_record(l->file, group, l->whole, r, l->err);
    }
    sb_h5_close(group);
    return l->st == SB_OK ? 0 : -1;
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
    if (strcmp(format, format_name) != 0 || version != VERSION)
        st = sb_h5_bad(err, *file, "@format", "'%s' version %" PRId64 "; expected '%s' version %d",
                       format, version, format_name, VERSION);
out:
    sb_free(format);
    return st;
}

sb_status sb_store_load(const char *path, bool whole, const sb_key_set *skip, sb_record_list *list,
                        sb_err *err)
{
    struct load l = {.file = -1, .whole = whole, .skip = skip, .list = list, .err = err};
    hid_t records = -1;
    sb_status st = SB_OK;
    SB_TRY(sb_store_open(path, &l.file, err));
    SB_TRY(sb_h5_open_group(l.file, "records", &records, err));
    if (H5Literate(records, H5_INDEX_NAME, H5_ITER_INC, NULL, load_one, &l) < 0)
        st = l.st != SB_OK ? l.st : sb_h5_bad(err, records, NULL, "damaged; expected records");
out:
    sb_h5_close(records);
    sb_h5_close(l.file);
    return st;
}
