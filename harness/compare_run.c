#include "harness/compare_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/provenance.h"

/* ---- whole records ------------------------------------------------------------------------- */

static void move_record(sb_record *to, sb_record *from)
{
    sb_record_free(to);
    *to = *from;
    sb_record_init(from);
}

static sb_status find_in_cells(const sb_compare_run *run, uint64_t key, sb_record *whole,
                               bool *found, sb_err *err)
{
    hid_t file = -1;
    char *cell = sb_cell_path(run->path, key);
    sb_status st = cell ? SB_OK : sb_no_memory(err, "a file name");
    *found = false;
    if (st == SB_OK && access(cell, F_OK) == 0) {
        st = sb_store_open(cell, &file, err);
        if (st == SB_OK)
            st = sb_store_find(file, key, whole, found, err);
        sb_h5_close(file);
    }
    sb_free(cell);
    return st;
}

static sb_status find_in_csv(const sb_compare_run *run, const int64_t *indices, int64_t n,
                             sb_record *whole, sb_err *err)
{
    sb_record_list list = {0};
    sb_status st = sb_csv_load(run->path, &list, err);
    for (int64_t i = 0; i < n && st == SB_OK; i++)
        for (int64_t j = 0; j < list.n; j++)
            if (list.items[j].key == run->list.items[indices[i]].key)
                move_record(&whole[i], &list.items[j]);
    sb_records_free(list.items, list.n);
    return st;
}

sb_status sb_compare_run_whole(const sb_compare_run *run, const int64_t *indices, int64_t n,
                               sb_record *whole, sb_err *err)
{
    sb_status st = SB_OK;
    hid_t file = -1;
    char *store = sb_sprintf("%s/" SB_RESULTS_H5, run->path);
    for (int64_t i = 0; i < n; i++)
        sb_record_init(&whole[i]);
    SB_CHECK(store, err, SB_NO_MEMORY, "out of memory for a file name");
    for (int64_t i = 0; i < n; i++) {
        uint64_t key = run->list.items[indices[i]].key;
        bool found;
        SB_TRY(find_in_cells(run, key, &whole[i], &found, err));
        if (!found && access(store, F_OK) != 0) {
            st = find_in_csv(run, indices, n, whole, err);
            goto out;
        }
        if (!found && file < 0)
            SB_TRY(sb_store_open(store, &file, err));
        if (!found)
            SB_TRY(sb_store_find(file, key, &whole[i], &found, err));
    }
out:
    for (int64_t i = 0; i < n && st != SB_OK; i++)
        sb_record_free(&whole[i]);
    sb_h5_close(file);
    sb_free(store);
    return st;
}

/* ---- machines ------------------------------------------------------------------------------ */

static char *machine_text(const char *provenance)
{
    int n_cpu, n_gpu, n_cores, n_threads;
    const char *cpu = sb_provenance_value(provenance, "cpu", &n_cpu);
    const char *gpu = sb_provenance_value(provenance, "gpu", &n_gpu);
    const char *cores = sb_provenance_value(provenance, "cores", &n_cores);
    const char *threads = sb_provenance_value(provenance, "threads", &n_threads);
    if (n_cpu == 0)
        return sb_strdup("");
    return sb_sprintf("cpu \"%.*s\", %.*s cores, %.*s threads%s%.*s%s", n_cpu, cpu, n_cores, cores,
                      n_threads, threads, n_gpu > 0 ? ", gpu \"" : "", n_gpu, gpu,
                      n_gpu > 0 ? "\"" : "");
}

static sb_status add_machine(sb_compare_run *run, char *text, int32_t *index, sb_err *err)
{
    if (!text)
        return sb_no_memory(err, "a machine");
    for (*index = 0; *index < run->n_machines; ++*index)
        if (strcmp(run->machines[*index], text) == 0) {
            sb_free(text);
            return SB_OK;
        }
    char **grown = sb_realloc(run->machines, run->n_machines + 1, sizeof *grown);
    if (!grown) {
        sb_free(text);
        return sb_no_memory(err, "a machine");
    }
    run->machines = grown;
    run->machines[run->n_machines++] = text;
    return SB_OK;
}

/* Records that share a provenance share its name: one of them is loaded whole for the text. */
static sb_status find_machines(sb_compare_run *run, sb_err *err)
{
    sb_status st = SB_OK;
    struct known {
        const char *name;
        int32_t machine;
    } *known = NULL;
    int64_t n_known = 0;
    run->machine = sb_alloc(run->list.n, sizeof *run->machine);
    SB_CHECK(run->machine, err, SB_NO_MEMORY, "out of memory for the machines");
    for (int64_t i = 0; i < run->list.n; i++) {
        const char *name = run->list.items[i].provenance;
        int64_t k = 0;
        while (k < n_known && strcmp(known[k].name, name) != 0)
            k++;
        if (k == n_known) {
            sb_record whole;
            struct known *grown = sb_realloc(known, n_known + 1, sizeof *grown);
            SB_CHECK(grown, err, SB_NO_MEMORY, "out of memory for the machines");
            known = grown;
            SB_TRY(sb_compare_run_whole(run, &i, 1, &whole, err));
            char *text = machine_text(whole.provenance ? whole.provenance : "");
            sb_record_free(&whole);
            known[n_known] = (struct known){.name = name};
            SB_TRY(add_machine(run, text, &known[n_known].machine, err));
            n_known++;
        }
        run->machine[i] = known[k].machine;
    }
out:
    sb_free(known);
    return st;
}

/* ---- loading ------------------------------------------------------------------------------- */

static void filter(sb_compare_run *run, const sb_where *where)
{
    int64_t n = 0;
    for (int64_t i = 0; i < run->list.n; i++) {
        if (sb_where_meets(where, &run->list.items[i]))
            run->list.items[n++] = run->list.items[i];
        else
            sb_record_free(&run->list.items[i]);
    }
    run->n_left_out = run->list.n - n;
    run->list.n = n;
}

static sb_status name_cells(sb_compare_run *run, bool by_columns, sb_err *err)
{
    run->ids = sb_alloc(run->list.n, sizeof *run->ids);
    if (!run->ids)
        return sb_no_memory(err, "the cells of a run");
    for (int64_t i = 0; i < run->list.n; i++) {
        sb_record *r = &run->list.items[i];
        sb_err why = {0};
        sb_status st = sb_cell_id_make(r, by_columns, &run->ids[i], &why);
        if (st != SB_OK)
            return sb_fail(err, st, "%s: %s", run->path, why.msg);
        run->n_ids++;
        sb_free(r->config);
        r->config = NULL;
    }
    return SB_OK;
}

static int by_identity(const void *a, const void *b, void *user)
{
    const sb_compare_run *run = user;
    return strcmp(run->ids[*(const int64_t *)a].text, run->ids[*(const int64_t *)b].text);
}

static sb_status order(sb_compare_run *run, sb_err *err)
{
    char label[200];
    int64_t n = run->list.n;
    run->order = sb_alloc(n, sizeof *run->order);
    if (!run->order)
        return sb_no_memory(err, "the order of cells");
    for (int64_t i = 0; i < n; i++)
        run->order[i] = i;
    qsort_r(run->order, (size_t)n, sizeof *run->order, by_identity, run);
    for (int64_t i = 1; i < n; i++) {
        int64_t a = run->order[i - 1], b = run->order[i];
        if (strcmp(run->ids[a].text, run->ids[b].text) != 0)
            continue;
        const sb_record *x = &run->list.items[a], *y = &run->list.items[b];
        return sb_fail(err, SB_BAD_DATA,
                       "%s: records %016" PRIx64 " and %016" PRIx64
                       " are one cell (%s, layer %" PRId64 ", %" PRId64
                       " tokens); expected distinct cells of one build: "
                       "finish the run, or start over with --fresh",
                       run->path, x->key, y->key, sb_compare_label(run, a, label, sizeof label),
                       x->layer, x->tokens);
    }
    return SB_OK;
}

sb_status sb_compare_run_load(const char *path, const sb_where *where, sb_compare_run *run,
                              sb_err *err)
{
    sb_status st = SB_OK;
    *run = (sb_compare_run){.path = path};
    sb_h5_quiet();
    SB_TRY(sb_run_load(path, SB_COLUMNS, &run->list, err));
    sb_records_sort(run->list.items, run->list.n);
    filter(run, where);
    run->from_csv = run->list.n > 0;
    for (int64_t i = 0; i < run->list.n; i++)
        run->from_csv &= run->list.items[i].config[0] == '\0';
    SB_TRY(find_machines(run, err));
out:
    return st;
}

sb_status sb_compare_run_identify(sb_compare_run *run, bool by_columns, sb_err *err)
{
    sb_status st = name_cells(run, by_columns, err);
    return st == SB_OK ? order(run, err) : st;
}

void sb_compare_run_free(sb_compare_run *run)
{
    for (int64_t i = 0; i < run->n_ids; i++)
        sb_free(run->ids[i].text);
    for (int32_t i = 0; i < run->n_machines; i++)
        sb_free(run->machines[i]);
    sb_free(run->machines);
    sb_free(run->machine);
    sb_free(run->order);
    sb_free(run->ids);
    sb_records_free(run->list.items, run->list.n);
    *run = (sb_compare_run){0};
}

const char *sb_compare_label(const sb_compare_run *run, int64_t i, char *buf, size_t bytes)
{
    const sb_cell_id *id = &run->ids[i];
    (void)snprintf(buf, bytes, "%.*s", (int)(id->n_label - id->n_shape), id->text + id->n_shape);
    char *gap = strchr(buf, '\n');
    if (gap)
        *gap = gap[1] ? ' ' : '\0';
    return buf;
}
