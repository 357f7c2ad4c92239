#include "harness/nodes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/hash.h"
#include "harness/mem.h"
#include "harness/results_store.h"

int64_t sb_host_id(void)
{
    char name[256] = {0}, id[64] = {0};
    (void)gethostname(name, sizeof name - 1);
    FILE *file = fopen("/etc/machine-id", "re");
    if (file) {
        (void)fread(id, 1, sizeof id, file);
        (void)fclose(file);
    }
    return (int64_t)(sb_hash64(name, sizeof name, sb_hash64(id, sizeof id, 0)) >> 1);
}

sb_status sb_nodes_open(const char *run_path, sb_nodes *nodes, sb_err *err)
{
    char *text = NULL, *end = NULL;
    *nodes = (sb_nodes){.path = sb_sprintf("%s/" SB_NODES, run_path)};
    if (!nodes->path)
        return sb_no_memory(err, "a file name");
    sb_status st = sb_fs_read(nodes->path, &text, err);
    for (char *at = text; at && st == SB_OK; at = end) {
        uint64_t host = strtoull(at, &end, 16);
        if (end == at)
            break;
        st = sb_keys_push(&nodes->hosts, host, err);
    }
    nodes->n_saved = nodes->hosts.n;
    sb_free(text);
    return st;
}

sb_status sb_nodes_number(sb_nodes *nodes, int64_t host, int64_t *number, sb_err *err)
{
    for (*number = 0; *number < nodes->hosts.n; ++*number)
        if (nodes->hosts.list[*number] == (uint64_t)host)
            return SB_OK;
    return sb_keys_push(&nodes->hosts, (uint64_t)host, err);
}

sb_status sb_nodes_save(sb_nodes *nodes, sb_err *err)
{
    enum { LINE = 17 };
    if (nodes->n_saved == nodes->hosts.n)
        return SB_OK;
    char *text = sb_alloc(nodes->hosts.n * LINE + 1, 1);
    if (!text)
        return sb_no_memory(err, "the nodes");
    for (int64_t i = 0; i < nodes->hosts.n; i++)
        (void)snprintf(text + i * LINE, LINE + 1, "%016" PRIx64 "\n", nodes->hosts.list[i]);
    sb_status st = sb_fs_write(nodes->path, text, strlen(text), err);
    if (st == SB_OK)
        nodes->n_saved = nodes->hosts.n;
    sb_free(text);
    return st;
}

void sb_nodes_close(sb_nodes *nodes)
{
    sb_free(nodes->hosts.list);
    sb_free(nodes->path);
    *nodes = (sb_nodes){0};
}
