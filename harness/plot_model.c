/* Records with a model in the loop: runs over texts, and what is known of them. */
#include "harness/plot_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/provenance.h"
#include "methods/method.h"

static const char *text(const char *field)
{
    return field ? field : "";
}

bool sb_model_same(const char *a, const char *b)
{
    return strcmp(text(a), text(b)) == 0;
}

bool sb_model_usable(const sb_record *r)
{
    return sb_model_same(r->status, "ok") && r->tokens > 0 && *text(r->task);
}

static bool same_model(const sb_record *a, const sb_record *b)
{
    return sb_model_same(a->model, b->model) && sb_model_same(a->dtype, b->dtype) &&
           sb_model_same(a->backend, b->backend);
}

bool sb_model_opens(const sb_record *records, int64_t i)
{
    if (!sb_model_usable(&records[i]))
        return false;
    for (int64_t j = 0; j < i; j++)
        if (sb_model_usable(&records[j]) && same_model(&records[j], &records[i]))
            return false;
    return true;
}

/* ---- gathering ------------------------------------------------------------------------------ */

static bool same_place(const sb_record *a, const sb_record *b)
{
    return a->block == b->block && a->tokens == b->tokens && sb_model_same(a->method, b->method) &&
           sb_model_same(a->setting, b->setting) && sb_model_same(a->row_range, b->row_range) &&
           sb_model_same(a->layer_set, b->layer_set) && sb_model_same(a->head_set, b->head_set) &&
           sb_model_same(a->task, b->task);
}

/* A budget that was solved for differs from text to text. */
static bool same_run(const sb_record *a, const sb_record *b)
{
    if (!same_place(a, b) || !sb_model_same(a->match_target, b->match_target))
        return false;
    return *text(a->match_target) ? sb_plot_same_curve(a, b) : sb_model_same(a->params, b->params);
}

static int64_t run_of(sb_model *m, const sb_record *r)
{
    for (int64_t i = 0; i < m->n_runs; i++)
        if (same_run(m->runs[i].first, r))
            return i;
    m->runs[m->n_runs] = (sb_model_run){.first = r};
    return m->n_runs++;
}

static int by_text(const void *a, const void *b)
{
    const sb_record *const *x = a, *const *y = b;
    int order = strcmp(text((*x)->text), text((*y)->text));
    if (order != 0)
        return order;
    return (*x)->cell < (*y)->cell ? -1 : (*x)->cell > (*y)->cell;
}

static void finish_run(sb_model_run *r)
{
    int64_t n = 0;
    double sum = 0;
    qsort(r->rows, (size_t)r->n, sizeof *r->rows, by_text);
    for (int64_t i = 0; i < r->n; i++)
        if (n == 0 || !sb_model_same(r->rows[n - 1]->text, r->rows[i]->text))
            r->rows[n++] = r->rows[i];
    r->n = n;
    for (int64_t i = 0; i < n; i++)
        sum += r->rows[i]->density;
    r->density = sum / (double)n;
}

/* runs_of [n] is room. */
static void fill(sb_model *m, const sb_record *records, int64_t n, int64_t *runs_of)
{
    for (int64_t i = 0; i < n; i++) {
        bool ours = sb_model_usable(&records[i]) && same_model(&records[i], m->first);
        runs_of[i] = ours ? run_of(m, &records[i]) : -1;
        if (ours)
            m->runs[runs_of[i]].n++;
    }
    const sb_record **at = m->rows;
    for (int64_t k = 0; k < m->n_runs; k++) {
        m->runs[k].rows = at;
        at += m->runs[k].n;
        m->runs[k].n = 0;
    }
    for (int64_t i = 0; i < n; i++)
        if (runs_of[i] >= 0) {
            sb_model_run *r = &m->runs[runs_of[i]];
            r->rows[r->n++] = &records[i];
        }
    for (int64_t k = 0; k < m->n_runs; k++)
        finish_run(&m->runs[k]);
}

/* "positions: N" of the run's provenance, else of its config. */
static sb_status find_positions(sb_model *m, sb_err *err)
{
    sb_status st = SB_OK;
    char *config = NULL, *path = sb_sprintf("%s/config.yaml", m->run_dir);
    int n;
    SB_CHECK(path, err, SB_NO_MEMORY, "out of memory for a path");
    SB_TRY(sb_fs_read(path, &config, err));
    const char *value = sb_provenance_value(m->first->provenance, "positions", &n);
    if (n == 0)
        value = sb_provenance_value(config, "positions", &n);
    long long positions = n > 0 ? strtoll(value, NULL, 10) : 0;
    m->positions = positions > 0 ? positions : 0;
out:
    sb_free(config);
    sb_free(path);
    return st;
}

sb_status sb_model_build(const sb_record *records, int64_t n, const sb_record *first,
                         const char *run_dir, sb_model *m, sb_err *err)
{
    sb_status st = SB_OK;
    *m = (sb_model){.run_dir = run_dir, .first = first};
    int64_t *runs_of = sb_alloc(n, sizeof *runs_of);
    m->runs = sb_alloc(n, sizeof *m->runs);
    m->rows = sb_alloc(n, sizeof *m->rows);
    SB_CHECK(runs_of && m->runs && m->rows, err, SB_NO_MEMORY, "out of memory for plot data");
    fill(m, records, n, runs_of);
    SB_TRY(find_positions(m, err));
out:
    sb_free(runs_of);
    if (st != SB_OK)
        sb_model_free(m);
    return st;
}

void sb_model_free(sb_model *m)
{
    sb_free(m->rows);
    sb_free(m->runs);
    *m = (sb_model){0};
}

/* ---- runs ------------------------------------------------------------------------------------ */

bool sb_model_is_text(const sb_model_run *r)
{
    return sb_model_same(r->first->task, "text");
}

bool sb_model_is_dense(const sb_model_run *r)
{
    const sb_method *method = sb_method_find(text(r->first->method));
    return method && !method->select;
}

bool sb_model_is_whole(const sb_model_run *r)
{
    return sb_model_same(r->first->layer_set, "all") && sb_model_same(r->first->head_set, "all") &&
           sb_model_same(r->first->row_range, "0-1") && !sb_model_is_dense(r);
}

bool sb_model_is_whole_text(const sb_model_run *r)
{
    return sb_model_is_text(r) && sb_model_is_whole(r);
}

bool sb_model_is_all(const sb_model_run *r)
{
    return sb_model_same(r->first->setting, "all");
}

const sb_record *sb_model_row(const sb_model_run *r, const char *name)
{
    for (int64_t i = 0; i < r->n; i++)
        if (sb_model_same(r->rows[i]->text, name))
            return r->rows[i];
    return NULL;
}

double sb_model_value(const sb_record *row, enum sb_model_measure measure)
{
    return measure == SB_MODEL_KL ? row->logit_kl : row->logit_mse;
}

sb_ratio sb_model_mean(const sb_model_run *r, enum sb_model_measure measure)
{
    sb_paired sum = {0};
    for (int64_t i = 0; i < r->n; i++)
        sb_paired_add(&sum, sb_model_value(r->rows[i], measure), 1);
    return sb_paired_ratio(&sum);
}

sb_ratio sb_model_ratio(const sb_model_run *r, const sb_model_run *base,
                        enum sb_model_measure measure)
{
    sb_paired sum = {0};
    for (int64_t i = 0; i < r->n; i++) {
        const sb_record *other = sb_model_row(base, r->rows[i]->text);
        if (other)
            sb_paired_add(&sum, sb_model_value(r->rows[i], measure),
                          sb_model_value(other, measure));
    }
    return sb_paired_ratio(&sum);
}

/* What the line through two rows of the baseline has at a density. */
static double on_line(const sb_record *a, const sb_record *b, double density,
                      enum sb_model_measure measure)
{
    double at = log(density / a->density) / log(b->density / a->density);
    return sb_model_value(a, measure) *
           pow(sb_model_value(b, measure) / sb_model_value(a, measure), at);
}

sb_ratio sb_model_pair_ratio(const sb_model_pair *pair, enum sb_model_measure measure)
{
    if (!pair->other)
        return sb_model_ratio(pair->run, pair->base, measure);
    sb_paired sum = {0};
    for (int64_t i = 0; i < pair->run->n; i++) {
        const sb_record *row = pair->run->rows[i], *a = sb_model_row(pair->base, row->text),
                        *b = sb_model_row(pair->other, row->text);
        if (a && b)
            sb_paired_add(&sum, sb_model_value(row, measure), on_line(a, b, row->density, measure));
    }
    return sb_paired_ratio(&sum);
}
