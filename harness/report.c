#include "harness/report.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/fs.h"
#include "harness/mem.h"
#include "harness/report_maps.h"
#include "harness/report_page.h"
#include "harness/report_text.h"

/* All that a page is filled with. */
typedef struct filler {
    sb_report_view view;
    sb_report_maps maps;
    sb_record *records;
    sb_record *stand_ins;
    sb_plot_group *groups;
    char *config;
    char name[NAME_MAX + 1];
    FILE *out;
} filler;

/* ---- placeholders of the page ----------------------------------------------------------- */

static sb_status put_summary(const filler *f, sb_err *err)
{
    sb_status st = SB_OK;
    char title[SB_NAME_BYTES];
    SB_TRY(sb_report_write_run(f->out, &f->view, err));
    for (int64_t i = 0; i < f->view.n_groups; i++) {
        const sb_plot_group *g = &f->groups[i];
        fputs("<h3>", f->out);
        sb_html_text(f->out, sb_report_title(g, title));
        fputs("</h3>\n", f->out);
        SB_TRY(sb_report_write_best(f->out, g, err));
        if (sb_report_is_model(g)) {
            sb_report_write_model_note(f->out, g);
            continue;
        }
        sb_report_write_speed(f->out, g);
        sb_report_write_worst(f->out, g);
    }
out:
    return st;
}

static bool is_named(const sb_report_asset *asset, const char *ending)
{
    size_t n = strlen(asset->name), n_ending = strlen(ending);
    return n >= n_ending && strcmp(asset->name + n - n_ending, ending) == 0;
}

static void put_assets(const filler *f, const char *ending)
{
    for (int i = 0; i < sb_n_report_assets; i++)
        if (is_named(&sb_report_assets[i], ending))
            (void)fwrite(sb_report_assets[i].bytes, 1, sb_report_assets[i].n_bytes, f->out);
}

static sb_status put_style(const filler *f, sb_err *err)
{
    (void)err;
    put_assets(f, ".css");
    return SB_OK;
}

static sb_status put_scripts(const filler *f, sb_err *err)
{
    (void)err;
    put_assets(f, ".js");
    return SB_OK;
}

static sb_status put_provenance(const filler *f, sb_err *err)
{
    return sb_report_write_provenance(f->out, &f->view, err);
}

static sb_status put_data(const filler *f, sb_err *err)
{
    return sb_report_write_json(f->out, &f->view, &f->maps, err);
}

/* Lines of the page, and what is put in their place. */
static const struct {
    const char *line;
    sb_status (*put)(const filler *f, sb_err *err);
} places[] = {{"@STYLE@\n", put_style},
              {"@SUMMARY@\n", put_summary},
              {"@PROVENANCE@\n", put_provenance},
              {"@DATA@\n", put_data},
              {"@SCRIPT@\n", put_scripts}};
enum { N_PLACES = sizeof places / sizeof places[0] };

/* A line of n bytes as it is, but for the run's name in place of "@TITLE@". */
static void put_line(const filler *f, const char *line, size_t n)
{
    static const char title[] = "@TITLE@";
    for (size_t i = 0; i < n; i++) {
        if (strncmp(line + i, title, sizeof title - 1) == 0) {
            sb_html_text(f->out, f->name);
            i += sizeof title - 2;
        } else {
            fputc(line[i], f->out);
        }
    }
}

static sb_status put_page(const filler *f, sb_err *err)
{
    sb_status st = SB_OK;
    const char *line = "";
    for (int i = 0; i < sb_n_report_assets; i++)
        if (is_named(&sb_report_assets[i], ".html"))
            line = (const char *)sb_report_assets[i].bytes;
    for (size_t n; *line && st == SB_OK; line += n) {
        int at = 0;
        n = strcspn(line, "\n");
        n += line[n] == '\n';
        while (at < N_PLACES && strncmp(line, places[at].line, strlen(places[at].line)) != 0)
            at++;
        if (at < N_PLACES)
            st = places[at].put(f, err);
        else
            put_line(f, line, n);
    }
    return st;
}

/* ---- the report ------------------------------------------------------------------------- */

static sb_status add_groups(filler *f, const sb_record *records, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n = f->view.n;
    for (int64_t i = 0; i < n && st == SB_OK; i++)
        if (sb_plot_opens_group(records, i))
            st = sb_plot_group_build(records, n, &records[i], &f->groups[f->view.n_groups++], err);
    return st;
}

static sb_status gather(filler *f, const char *run_dir, sb_err *err)
{
    sb_status st = SB_OK;
    int64_t n = 0;
    char *path = sb_sprintf("%s/config.yaml", run_dir), real[PATH_MAX];
    SB_CHECK(path, err, SB_NO_MEMORY, "out of memory for a path");
    SB_TRY(sb_results_read(run_dir, &f->records, &n, err));
    f->view = (sb_report_view){.name = f->name, .records = f->records, .n = n};
    SB_CHECK(n > 0, err, SB_BAD_DATA, "%s: no record to report", run_dir);
    SB_TRY(sb_fs_read(path, &f->config, err));
    f->view.config = f->config;
    (void)snprintf(f->name, sizeof f->name, "%s",
                   sb_base_name(realpath(run_dir, real) ? real : run_dir));
    f->view.groups = f->groups = sb_alloc(n, sizeof *f->groups);
    SB_CHECK(f->groups, err, SB_NO_MEMORY, "out of memory for the groups of records");
    SB_TRY(sb_report_stand_ins(f->records, n, &f->stand_ins, err));
    SB_TRY(add_groups(f, f->records, err));
    SB_TRY(add_groups(f, f->stand_ins, err));
out:
    sb_free(path);
    return st;
}

static void filler_free(filler *f)
{
    for (int64_t i = 0; i < f->view.n_groups; i++)
        sb_plot_group_free(&f->groups[i]);
    sb_free(f->groups);
    sb_report_stand_ins_free(f->stand_ins, f->view.n);
    sb_free(f->config);
    sb_report_maps_free(&f->maps);
    sb_records_free(f->records, f->view.n);
}

/* Write the page aside, then put it in the place of `path`; its size to *n_bytes. */
static sb_status write_page(filler *f, const char *path, int64_t *n_bytes, sb_err *err)
{
    sb_status st = SB_OK;
    char *temporary = sb_sprintf("%s.tmp", path);
    if (!temporary)
        return sb_no_memory(err, "a path");
    f->out = fopen(temporary, "wb");
    if (!f->out) {
        st = sb_fs_fail(err, temporary, "create");
        goto out;
    }
    st = put_page(f, err);
    *n_bytes = ftell(f->out);
    bool failed = ferror(f->out) != 0;
    failed |= fclose(f->out) != 0;
    if (failed && st == SB_OK)
        st = sb_fs_fail(err, temporary, "write");
    if (st != SB_OK) {
        (void)unlink(temporary);
        goto out;
    }
    st = sb_fs_commit(temporary, path, err);
out:
    sb_free(temporary);
    return st;
}

sb_status sb_report_write(const char *run_dir, const char *path, int n_threads, int64_t *n_bytes,
                          sb_err *err)
{
    sb_status st = SB_OK;
    filler f = {0};
    SB_TRY(gather(&f, run_dir, err));
    SB_TRY(sb_report_maps_make(&f.view, run_dir, n_threads, &f.maps, err));
    SB_TRY(write_page(&f, path, n_bytes, err));
out:
    filler_free(&f);
    return st;
}
