#include "harness/merge_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/provenance.h"

sb_status sb_source_fold(const char *path, const char *config, sb_err *err)
{
    sb_run_dir *dir = NULL;
    sb_status st = sb_run_dir_open(path, config, false, &dir, err);
    if (st == SB_OK)
        st = sb_run_dir_finish(dir, NULL, 0, err);
    sb_run_dir_close(dir);
    return st;
}

struct reading {
    hid_t file;
    sb_source *source;
    sb_err *err;
    sb_status st;
};

static void read_value(const char *text, const char *name, char *value, size_t bytes)
{
    int n;
    const char *at = sb_provenance_value(text, name, &n);
    (void)snprintf(value, bytes, "%.*s", n, at);
}

static herr_t add_origin(hid_t group, const char *name, const H5L_info_t *link, void *user)
{
    struct reading *r = user;
    char *text = NULL, build[17];
    (void)group;
    (void)link;
    sb_source *s = r->source;
    sb_origin *grown = sb_realloc(s->origins, s->n_origins + 1, sizeof *grown);
    r->st = grown ? SB_OK : sb_no_memory(r->err, "provenance");
    s->origins = grown ? grown : s->origins;
    if (r->st == SB_OK)
        r->st = sb_provenance_load(r->file, name, &text, r->err);
    if (r->st == SB_OK) {
        sb_origin *o = &s->origins[s->n_origins++];
        (void)snprintf(o->name, sizeof o->name, "%s", name);
        read_value(text, "utc", o->utc, sizeof o->utc);
        read_value(text, "build_id", build, sizeof build);
        o->build = strtoull(build, NULL, 16);
    }
    sb_free(text);
    return r->st == SB_OK ? 0 : -1;
}

static sb_status read_origins(sb_source *source, sb_err *err)
{
    struct reading r = {.file = -1, .source = source, .err = err};
    hid_t group = -1;
    sb_status st = SB_OK;
    SB_TRY(sb_store_open(source->store, &r.file, err));
    SB_TRY(sb_h5_open_group(r.file, "provenance", &group, err));
    if (H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, add_origin, &r) < 0)
        st = r.st != SB_OK ? r.st : sb_h5_bad(err, group, NULL, "damaged; expected texts");
out:
    sb_h5_close(group);
    sb_h5_close(r.file);
    return st;
}

sb_status sb_source_open(const char *path, sb_source *source, sb_err *err)
{
    *source = (sb_source){.store = sb_sprintf("%s/" SB_RESULTS_H5, path)};
    if (!source->store)
        return sb_no_memory(err, "a file name");
    sb_status st = sb_run_scan(path, false, &source->stubs, err);
    return st == SB_OK && access(source->store, F_OK) == 0 ? read_origins(source, err) : st;
}

void sb_source_close(sb_source *source)
{
    sb_free(source->origins);
    sb_free(source->stubs.items);
    sb_free(source->store);
    *source = (sb_source){0};
}

static int by_name(const void *name, const void *origin)
{
    return strcmp(name, ((const sb_origin *)origin)->name);
}

const sb_origin *sb_source_origin(const sb_source *source, const sb_stub *stub)
{
    if (source->n_origins == 0)
        return NULL;
    return bsearch(stub->provenance, source->origins, (size_t)source->n_origins,
                   sizeof *source->origins, by_name);
}
