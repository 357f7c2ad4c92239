#include "harness/h5util.h"
#include "harness/mem.h"
#include "harness/merge_source.h"
#include "harness/nodes.h"

#include <inttypes.h>
#include <stdio.h>

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

static sb_status renumber(const sb_h5_out *to, const sb_stub *stub, sb_nodes *nodes, sb_err *err)
{
    int64_t number;
    char at[32];
    sb_status st = sb_nodes_number(nodes, stub->node, &number, err);
    if (st != SB_OK)
        return st;
    (void)snprintf(at, sizeof at, "/records/%016" PRIx64, stub->key);
    hid_t group = H5Gopen2(to->file, at, H5P_DEFAULT);
    st = sb_record_renumber(to, group, "node", number, err);
    sb_h5_close(group);
    return st;
}

/* `nodes` NULL: the numbers are there already. */
static sb_status copy_chosen(const sb_source *source, const sb_choice *cells, sb_nodes *nodes,
                             const sb_h5_out *to, sb_err *err)
{
    hid_t from = -1;
    sb_status st = SB_OK;
    if (source->stubs.n == 0)
        return SB_OK;
    SB_TRY(sb_store_open(source->store, &from, err));
    for (int64_t i = 0; i < source->stubs.n; i++) {
        const sb_stub *stub = &source->stubs.items[i];
        if (cells[stub->cell].stub != stub)
            continue;
        SB_TRY(sb_record_copy(from, to, stub->key, err));
        if (nodes)
            SB_TRY(renumber(to, stub, nodes, err));
    }
out:
    sb_h5_close(from);
    return st;
}

sb_status sb_merge_write(const char *run_path, const char *config, const sb_source *sources,
                         int64_t n_parts, const sb_choice *cells, int64_t n_cells, sb_err *err)
{
    sb_status st = SB_OK;
    sb_nodes nodes;
    sb_h5_out to = {0};
    char *store = sb_sprintf("%s/" SB_RESULTS_H5, run_path);
    SB_TRY(sb_nodes_open(run_path, &nodes, err));
    SB_CHECK(store, err, SB_NO_MEMORY, "out of memory for a file name");
    SB_TRY(number_hosts(&nodes, cells, n_cells, n_parts, err));
    SB_TRY(sb_store_create(store, config, &to, err));
    for (int64_t i = 0; i <= n_parts; i++)
        SB_TRY(copy_chosen(&sources[i], cells, i < n_parts ? &nodes : NULL, &to, err));
    SB_TRY(sb_h5_commit(&to, err));
out:
    sb_h5_discard(&to);
    sb_nodes_close(&nodes);
    sb_free(store);
    return st;
}
