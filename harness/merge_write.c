#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/merge_source.h"
#include "harness/nodes.h"
#include "harness/results_rows.h"

/* Hosts get their numbers in the order of cells, whatever the order of the parts. */
static sb_status number_hosts(sb_nodes *nodes, const sb_choice *cells, int64_t n_cells,
                              int64_t n_parts, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t number;
    for (int64_t i = 0; i < n_cells && st == SB_OK; i++)
        if (cells[i].stub && cells[i].source < n_parts)
            st = sb_nodes_number(nodes, cells[i].stub->node, &number, err);
    return st == SB_OK ? sb_nodes_save(nodes, err) : st;
}

typedef struct writing {
    hid_t from;
    const sb_source *source;
    const sb_choice *cells; /* [n_cells] */
    int64_t n_cells;
    sb_nodes *nodes; /* NULL: the numbers are there already */
    sb_h5_out to;
    sb_rows rows;
} writing;

static bool is_chosen(const writing *w, const sb_record *r)
{
    if (r->cell < 0 || r->cell >= w->n_cells)
        return false;
    const sb_stub *chosen = w->cells[r->cell].stub, *mine = w->source->stubs.items;
    return chosen && chosen >= mine && chosen < mine + w->source->stubs.n && chosen->key == r->key;
}

static sb_status write_chosen(void *user, sb_record *r, sb_err *err)
{
    writing *w = user;
    sb_status st = SB_OK;
    if (!is_chosen(w, r))
        return SB_OK;
    SB_TRY(sb_record_copy(w->from, &w->to, r, err));
    if (w->nodes) {
        SB_TRY(sb_nodes_number(w->nodes, r->node, &r->node, err));
        SB_TRY(sb_record_renumber(&w->to, r->key, "node", r->node, err));
    }
    st = sb_rows_put(&w->rows, r, err);
out:
    return st;
}

static sb_status write_source(writing *w, const sb_source *source, sb_nodes *nodes, sb_err *err)
{
    sb_status st = SB_OK;
    w->source = source;
    w->nodes = nodes;
    w->from = -1;
    if (source->stubs.n == 0)
        return SB_OK;
    SB_TRY(sb_store_open(source->store, &w->from, err));
    sb_store_pass_once(w->from);
    st = sb_store_visit(w->from, SB_COLUMNS, write_chosen, w, err);
out:
    sb_h5_close(w->from);
    return st;
}

sb_status sb_merge_write(const char *run_path, const char *config, const sb_source *sources,
                         int64_t n_parts, const sb_choice *cells, int64_t n_cells, sb_err *err)
{
    sb_status st = SB_OK;
    sb_nodes nodes;
    writing w = {.cells = cells, .n_cells = n_cells};
    char *store = sb_sprintf("%s/" SB_RESULTS_H5, run_path);
    SB_TRY(sb_nodes_open(run_path, &nodes, err));
    SB_CHECK(store, err, SB_NO_MEMORY, "out of memory for a file name");
    SB_TRY(number_hosts(&nodes, cells, n_cells, n_parts, err));
    SB_TRY(sb_store_create(store, config, &w.to, err));
    sb_store_pass_once(w.to.file);
    w.rows.out = &w.to;
    for (int64_t i = 0; i <= n_parts; i++)
        SB_TRY(write_source(&w, &sources[i], i < n_parts ? &nodes : NULL, err));
    SB_TRY(sb_rows_finish(&w.rows, err));
    sb_rows_close(&w.rows);
    SB_TRY(sb_h5_commit(&w.to, err));
out:
    sb_rows_close(&w.rows);
    sb_h5_discard(&w.to);
    sb_nodes_close(&nodes);
    sb_free(store);
    return st;
}
