#include "harness/plot_peers.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/timing.h"

static const char header[] = "head_dim,tokens,dtype,round,ours_ms,peer_ms,peer,version";

/* One row, as a peer of a single round. */
static bool parse(const char *line, sb_peer *p)
{
    char peer[32], version[40];
    double ours_ms;
    int round, end = 0;
    *p = (sb_peer){.n_rounds = 1};
    int n = sscanf(line, "%" SCNd64 ",%" SCNd64 ",%7[a-z0-9],%d,%lf,%lf,%31[^,],%39[^,]%n",
                   &p->head_dim, &p->tokens, p->dtype, &round, &ours_ms, &p->peer_ms, peer, version,
                   &end);
    if (n != 8 || line[end] != '\0' || !(ours_ms > 0) || !(p->peer_ms > 0))
        return false;
    p->ratio = p->peer_ms / ours_ms;
    (void)snprintf(p->name, sizeof p->name, "%s %s", peer, version);
    return true;
}

static bool same_shape(const sb_peer *a, const sb_peer *b)
{
    return a->head_dim == b->head_dim && a->tokens == b->tokens &&
           strcmp(a->dtype, b->dtype) == 0 && strcmp(a->name, b->name) == 0;
}

/* Median of the number at `offset` over the rounds of rows[0]'s shape; `samples` [n] is room. */
static double median_of(const sb_peer *rows, int64_t n, size_t offset, double *samples)
{
    int64_t n_samples = 0;
    for (int64_t i = 0; i < n; i++)
        if (same_shape(&rows[i], &rows[0]))
            memcpy(&samples[n_samples++], (const char *)&rows[i] + offset, sizeof *samples);
    return sb_median(samples, n_samples);
}

/* Rounds to shapes, in place: a shape is written where rows have been read already. */
static int64_t fold(sb_peer *rows, int64_t n, double *samples)
{
    int64_t n_peers = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t seen = 0;
        while (seen < n_peers && !same_shape(&rows[seen], &rows[i]))
            seen++;
        if (seen < n_peers) {
            rows[seen].n_rounds++;
            continue;
        }
        sb_peer p = rows[i];
        p.peer_ms = median_of(rows + i, n - i, offsetof(sb_peer, peer_ms), samples);
        p.ratio = median_of(rows + i, n - i, offsetof(sb_peer, ratio), samples);
        rows[n_peers++] = p;
    }
    return n_peers;
}

static sb_status read_rows(char *text, const char *path, sb_peer *rows, int64_t *n, sb_err *err)
{
    char *rest = NULL;
    int64_t line = 0;
    for (char *at = strtok_r(text, "\r\n", &rest); at; at = strtok_r(NULL, "\r\n", &rest)) {
        if (line++ == 0 ? strcmp(at, header) == 0 : parse(at, &rows[*n]))
            *n += line > 1;
        else
            return sb_fail(err, SB_BAD_DATA, "%s:%" PRId64 ": '%.60s'; expected %s%s", path, line,
                           at, line > 1 ? "a row of " : "", header);
    }
    return SB_OK;
}

sb_status sb_peers_read(const char *run_dir, sb_peer **peers, int64_t *n, sb_err *err)
{
    sb_status st = SB_OK;
    char *text = NULL, *path = sb_sprintf("%s/peers.csv", run_dir);
    double *samples = NULL;
    int64_t n_lines = 1;
    *peers = NULL;
    *n = 0;
    SB_CHECK(path, err, SB_NO_MEMORY, "out of memory for a path");
    SB_TRY(sb_fs_read(path, &text, err));
    if (!text)
        goto out;
    for (const char *at = text; *at; at++)
        n_lines += *at == '\n';
    *peers = sb_alloc(n_lines, sizeof **peers);
    samples = sb_alloc(n_lines, sizeof *samples);
    SB_CHECK(*peers && samples, err, SB_NO_MEMORY, "out of memory for peers");
    SB_TRY(read_rows(text, path, *peers, n, err));
    *n = fold(*peers, *n, samples);
out:
    if (st != SB_OK) {
        sb_free(*peers);
        *peers = NULL;
        *n = 0;
    }
    sb_free(samples);
    sb_free(text);
    sb_free(path);
    return st;
}
