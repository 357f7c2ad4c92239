/* Data of the figure of tasks: the answer's log-probability less dense attention's, paired over
 * samples. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "harness/plot_model.h"

enum { MOST_ROWS = 24, MOST_TASKS = 6, MOST_LEVELS = 6 };

/* What one picture shows. */
typedef struct frame {
    const sb_model_pick *p;
    const char *tasks[MOST_TASKS]; /* in order of the records */
    int n_tasks, n_left_out;
    double lo[MOST_LEVELS], hi[MOST_LEVELS]; /* densities of each level */
} frame;

/* The mean difference to dense over samples, and how often every answer token came first. */
typedef struct gain {
    int64_t n;
    double mean, lo, hi;
    int64_t n_exact, n_exact_dense;
} gain;

static bool is_wanted(const sb_model_run *r)
{
    return !sb_model_is_text(r) && sb_model_is_whole(r);
}

/* Dense attention's run of a task; of the same setting where there is one. */
static const sb_model_run *dense_run(const sb_model *m, const sb_model_run *r)
{
    const sb_model_run *found = NULL;
    for (int64_t i = 0; i < m->n_runs; i++) {
        const sb_record *a = m->runs[i].first, *b = r->first;
        if (sb_model_is_dense(&m->runs[i]) && sb_model_same(a->task, b->task) &&
            a->tokens == b->tokens && (!found || sb_model_same(a->setting, b->setting)))
            found = &m->runs[i];
    }
    return found;
}

static gain measure(const sb_model_run *r, const sb_model_run *dense)
{
    gain g = {.lo = NAN, .hi = NAN};
    double squares = 0;
    for (int64_t i = 0; i < r->n && dense; i++) {
        const sb_record *row = r->rows[i], *other = sb_model_row(dense, row->text);
        double d = other ? row->score - other->score : NAN;
        if (!isfinite(d))
            continue;
        double before = d - g.mean;
        g.n++;
        g.mean += before / (double)g.n;
        squares += before * (d - g.mean);
        g.n_exact += row->exact > 0;
        g.n_exact_dense += other->exact > 0;
    }
    if (g.n < SB_PAIRED_MIN)
        return g;
    double n = (double)g.n;
    double half = sb_student_95(g.n - 1) * sqrt(squares / (n - 1) / n);
    g.lo = g.mean - half;
    g.hi = g.mean + half;
    return g;
}

/* The index of a task, from 0; MOST_TASKS where there is no more room. */
static int task_of(frame *f, const char *task)
{
    int i = 0;
    while (i < f->n_tasks && !sb_model_same(f->tasks[i], task))
        i++;
    if (i == f->n_tasks && i < MOST_TASKS)
        f->tasks[f->n_tasks++] = task;
    return i;
}

/* A column of panels for each task, a row for each block and setting. */
static bool panel_of(frame *f, const sb_model_run *r, const gain *g, sb_model_panel *panel)
{
    char place[64];
    const sb_model_pick *p = f->p;
    int task = task_of(f, r->first->task), block = sb_model_block(p, r);
    int setting = p->n_settings > 1 && !sb_model_is_all(r);
    sb_model_place_text(p, r, place, sizeof place);
    *panel = (sb_model_panel){.row = setting * p->n_blocks + block + 1, .column = task + 1};
    (void)snprintf(panel->title, sizeof panel->title, "%.32s; dense %" PRId64 "/%" PRId64 "%s%s",
                   r->first->task, g->n_exact_dense, g->n, *place ? "; " : "", place);
    return task < MOST_TASKS && block >= 0;
}

static void put_run(sb_sheet *s, frame *f, int64_t i)
{
    const sb_model_run *r = f->p->runs[i];
    const sb_plot_curve *curve = &f->p->curves[f->p->curve[i]];
    sb_model_panel panel;
    if (curve->slot == 0 || r->first->tokens != sb_model_longest(f->p))
        return;
    gain g = measure(r, dense_run(f->p->model, r));
    int level = sb_model_level(f->p, r, r->density);
    if (g.n == 0 || level >= MOST_LEVELS || !panel_of(f, r, &g, &panel)) {
        f->n_left_out++;
        return;
    }
    fprintf(s->csv, "%d,%d,%d,%d", level + 1, panel.row, panel.column, curve->slot);
    sb_sheet_real(s->csv, g.mean);
    sb_sheet_real(s->csv, g.lo);
    sb_sheet_real(s->csv, g.hi);
    fprintf(s->csv, ",%" PRId64, g.n);
    sb_sheet_real(s->csv, r->density);
    sb_sheet_real(s->csv, r->density);
    fprintf(s->csv, ",%" PRId64 "/%" PRId64 ",", g.n_exact, g.n);
    sb_sheet_quoted(s->csv, panel.title);
    fputc(',', s->csv);
    sb_sheet_quoted(s->csv, curve->label);
    fputs(",\"dense\",", s->csv);
    sb_sheet_quoted(s->csv, r->first->params);
    fputc('\n', s->csv);
    s->n_rows++;
    f->lo[level] = f->lo[level] > 0 ? fmin(f->lo[level], r->density) : r->density;
    f->hi[level] = fmax(f->hi[level], r->density);
}

static sb_status put_captions(sb_sheet *s, const frame *f, sb_err *err)
{
    sb_status st = SB_OK;
    for (int d = 0; d < MOST_LEVELS; d++)
        if (f->hi[d] > 0)
            SB_TRY(sb_model_level_key(s, d, f->lo[d], f->hi[d], err));
    SB_TRY(sb_sheet_key(s, 0, err,
                        "Mean log-probability of the answer's tokens, less dense attention's on "
                        "the same sample: mean over samples, 95 %% t interval (none below four). "
                        "Right, and for dense above: in how many samples every answer token was "
                        "the first choice."));
    SB_TRY(sb_model_captions(s, f->p, err));
    SB_TRY(sb_sheet_key(s, 0, err, SB_MODEL_DENSITY_NOTE));
    if (f->n_left_out > 0)
        SB_TRY(sb_sheet_key(s, 0, err,
                            "Settings left out, without dense or beyond what is shown: "
                            "%d.",
                            f->n_left_out));
    SB_TRY(sb_model_omissions(s, f->p, err));
out:
    return st;
}

sb_status sb_model_write_tasks(const sb_model *m, const char *csv_path, const char *key_path,
                               int64_t *n_rows, sb_err *err)
{
    sb_sheet s = {0};
    sb_status st = SB_OK;
    sb_model_pick p;
    frame f = {.p = &p};
    SB_TRY(sb_model_pick_where(m, is_wanted, false, MOST_ROWS, &p, err));
    SB_TRY(sb_sheet_open(&s, csv_path, key_path, err));
    fputs("slot,row,column,place,x,lo,hi,texts,density,own_density,note,panel,curve,baseline,"
          "setting\n",
          s.csv);
    for (int64_t i = 0; i < p.n; i++)
        put_run(&s, &f, i);
    if (s.n_rows > 0)
        SB_TRY(put_captions(&s, &f, err));
out:
    *n_rows = s.n_rows;
    sb_model_pick_free(&p);
    return sb_sheet_close(&s, st, csv_path, err);
}
