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
    MAX_LINKS = 32,       /* likewise */
    SMALL = 128,          /* numbers so few that packing them costs more than it saves */
    CHUNK = 1 << 16,
    LEVEL = 6
};

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
    SB_TRY(sb_h5_put_text(out, out->file, "format", SB_STORE_FORMAT, err));
    SB_TRY(sb_h5_put_int(out, out->file, "version", SB_STORE_VERSION, err));
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

/* Within the header of the dataset. */
static hid_t compact(void)
{
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    (void)H5Pset_layout(create, H5D_COMPACT);
    (void)H5Pset_obj_track_times(create, false);
    return create;
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
    hid_t create = s->n <= SMALL ? compact() : sb_h5_packed(rank, chunk, LEVEL);
    sb_status st = sb_h5_put_dataset(out, group, sb_series_names[id], H5T_NATIVE_DOUBLE, rank, dims,
                                     create, s->data, err);
    sb_h5_close(create);
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
    (void)H5Pset_link_phase_change(create, MAX_LINKS, MAX_LINKS - 1);
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
