/*
 * simulate_html.c - the report of a simulation: inline SVG and CSS, no script, light and dark.
 *
 * Colours are CSS variables, so that one drawing serves both colour schemes; every mark has a
 * <title>, which browsers show under the pointer.
 */
#include "simulate_html.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

enum { WIDTH = 720, HEAT_CELLS = 20, HEAT_PIXELS = 18, CHART_HEIGHT = 160 };

static const char head[] =
    "<!doctype html>\n<html lang=en><meta charset=utf-8>"
    "<meta name=viewport content='width=device-width,initial-scale=1'>"
    "<meta name=color-scheme content='light dark'>\n<title>borgctl simulate</title>\n<style>\n"
    ":root{--bg:#fbfaf8;--card:#fff;--ink:#1d2430;--dim:#667085;--line:#e3e1dc;--a:#2f6fde;"
    "--b:#e08a1e;--c:#2a9d74;--bad:#c8443c}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#12161d;--card:#1a2029;--ink:#e6e9ef;"
    "--dim:#98a2b3;--line:#2c3440;--a:#6ea2ff;--b:#f2b25c;--c:#57c79c;--bad:#f07f77}}\n"
    "body{margin:0 auto;max-width:960px;padding:28px 20px 60px;background:var(--bg);"
    "color:var(--ink);font:15px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:24px;margin:0}h2{font-size:16px;margin:0 0 4px}p{margin:0 0 12px;"
    "color:var(--dim)}\n"
    "section{background:var(--card);border:1px solid var(--line);border-radius:10px;"
    "padding:18px 20px;margin-top:18px;overflow-x:auto}\n"
    ".tiles{display:flex;flex-wrap:wrap;gap:12px;margin-top:18px}"
    ".tile{background:var(--card);border:1px solid var(--line);border-radius:10px;"
    "padding:10px 16px;min-width:104px}"
    ".tile b{display:block;font-size:22px;font-weight:600}.tile span{color:var(--dim);"
    "font-size:13px}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "td,th{padding:3px 14px 3px 0;text-align:right;font-weight:400;border-bottom:1px solid "
    "var(--line);white-space:nowrap}th{color:var(--dim)}td:first-child,th:first-child,.l"
    "{text-align:left;white-space:normal}\n"
    "svg{display:block;max-width:100%;height:auto}text{fill:var(--dim);font:12px system-ui,"
    "sans-serif}.end{text-anchor:end}.mid{text-anchor:middle}\n"
    ".a{fill:var(--a)}.b{fill:var(--b)}.c{fill:var(--c)}.bad{fill:var(--bad)}"
    ".base{fill:var(--line)}.rule{stroke:var(--line);fill:none}"
    ".mark{stroke:var(--ink);stroke-width:2}.line{fill:none;stroke-width:1.6}"
    ".area{fill-opacity:.18}.sa{stroke:var(--a)}.sb{stroke:var(--b)}.sc{stroke:var(--c)}"
    ".sbad{stroke:var(--bad)}\n"
    ".key{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 5px 0 12px}"
    ".ka{background:var(--a)}.kb{background:var(--b)}.kc{background:var(--c)}"
    ".kbad{background:var(--bad)}.kbase{background:var(--line)}\n</style>\n";

void html_escape(struct buf *to, const char *text)
{
    static const struct {
        char byte;
        const char *entity;
    } entities[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    for (const char *p = text; *p != '\0'; p++) {
        size_t i = 0;
        while (i < ARRAY_SIZE(entities) && entities[i].byte != *p)
            i++;
        if (i < ARRAY_SIZE(entities))
            buf_printf(to, "%s", entities[i].entity);
        else
            buf_printf(to, "%c", (unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p);
    }
}

static double share(int64_t part, int64_t whole)
{
    return whole <= 0 ? 0 : (double)part / (double)whole;
}

static void tile(struct buf *to, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void tile(struct buf *to, const char *name, const char *fmt, ...)
{
    char text[64];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_printf(to, "<div class=tile><b>%s</b><span>%s</span></div>\n", text, name);
}

static void write_tiles(struct buf *to, const struct findings *found)
{
    const struct sim_figures *f = found->figures;
    buf_printf(to, "<div class=tiles>\n");
    tile(to, "machines", "%" PRIu32, f->machines);
    tile(to, "tasks", "%" PRIu64, f->tasks);
    tile(to, "placed", "%.1f%%", 100 * share((int64_t)f->placed, (int64_t)f->tasks));
    tile(to, "pending", "%" PRIu64, f->pending);
    tile(to, "evicted", "%" PRIu64, f->evicted);
    tile(to, "median pass", "%.2f ms", (double)f->pass_us_p50 / 1e3);
    tile(to, "longest pass", "%.1f ms", (double)f->pass_us_max / 1e3);
    buf_printf(to, "</div>\n");
}

/* Count machines by the share of their cpu and of their ram that is used; the last step includes
 * 100%. */
static uint32_t count_heat(const struct cell *cell, uint32_t counts[HEAT_CELLS][HEAT_CELLS])
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < cell->machine_count; i++) {
        const struct machine *m = cell->machines[i];
        if (m->state != MACHINE_UP)
            continue;
        double cpu = share(m->reserved.v[RES_CPU], m->capacity.v[RES_CPU]);
        double ram = share(m->reserved.v[RES_RAM], m->capacity.v[RES_RAM]);
        uint32_t x = (uint32_t)MIN(cpu * HEAT_CELLS, HEAT_CELLS - 1.0);
        uint32_t y = (uint32_t)MIN(ram * HEAT_CELLS, HEAT_CELLS - 1.0);
        counts[y][x]++;
        most = MAX(most, counts[y][x]);
    }
    return most;
}

static uint32_t log2_of(uint32_t n)
{
    return n == 0 ? 0 : 32 - (uint32_t)__builtin_clz(n);
}

static void write_heat(struct buf *to, const struct cell *cell)
{
    enum { LEFT = 48, SIDE = HEAT_CELLS * HEAT_PIXELS };
    uint32_t counts[HEAT_CELLS][HEAT_CELLS] = {{0}};
    uint32_t most = count_heat(cell, counts);
    buf_printf(
        to,
        "<section><h2>Machines by utilisation</h2><p>Each square shows the machines with this "
        "share of their cpu and ram in use; a stronger colour means more machines, in doublings up "
        "to %u. Full machines are at the top right; far from the diagonal one resource is left "
        "without the other.</p>\n<svg viewBox='0 0 %d %d' width=%d role=img>\n",
        most, LEFT + SIDE + 20, SIDE + 50, LEFT + SIDE + 20);
    for (int y = 0; y < HEAT_CELLS; y++)
        for (int x = 0; x < HEAT_CELLS; x++) {
            uint32_t count = counts[y][x];
            buf_printf(to, "<rect x=%d y=%d width=%d height=%d class=%s fill-opacity='%.2f'>",
                       LEFT + x * HEAT_PIXELS, (HEAT_CELLS - 1 - y) * HEAT_PIXELS + 4,
                       HEAT_PIXELS - 1, HEAT_PIXELS - 1, count > 0 ? "a" : "base",
                       count > 0 ? 0.2 + 0.8 * log2_of(count) / log2_of(most) : 0.5);
            buf_printf(to, "<title>%u machines: cpu %d-%d%%, ram %d-%d%%</title></rect>\n", count,
                       x * 5, x * 5 + 5, y * 5, y * 5 + 5);
        }
    for (int tick = 0; tick <= 100; tick += 25) {
        buf_printf(to, "<text class=mid x=%d y=%d>%d%%</text>", LEFT + SIDE * tick / 100, SIDE + 22,
                   tick);
        buf_printf(to, "<text class=end x=%d y=%d>%d%%</text>\n", LEFT - 6,
                   SIDE - SIDE * tick / 100 + 10, tick);
    }
    buf_printf(to,
               "<text class=mid x=%d y=%d>cpu</text><text x=2 y=%d>ram</text></svg></section>\n",
               LEFT + SIDE / 2, SIDE + 42, SIDE / 2 - 20);
}

static void bar(struct buf *to, double from, double part, int y, const char *class,
                const char *title)
{
    enum { LEFT = 64, SPAN = WIDTH - LEFT - 70 };
    buf_printf(to, "<rect x='%.1f' y=%d width='%.1f' height=18 rx=2 class=%s><title>%s</title>",
               LEFT + from * SPAN, y, MAX(part, 0.0) * SPAN, class, title);
    buf_printf(to, "</rect>\n");
}

/* Draw one resource: placed, stranded, other free, and the demand of all tasks as a mark. */
static void write_resource(struct buf *to, const struct sim_figures *f, enum resource r, int y)
{
    CLEANUP(buf_release) struct buf title = {0};
    double used = share(f->used.v[r], f->capacity.v[r]);
    double stranded = share(f->stranded.v[r], f->capacity.v[r]);
    double asked = share(f->demand.v[r], f->capacity.v[r]);
    /* The bar ends at 133% of the capacity; a larger demand is drawn at its end. */
    buf_printf(to, "<text x=0 y=%d>", y + 14);
    html_escape(to, resource_name(r, &f->resource_names));
    buf_printf(to, "</text>");
    bar(to, 0, 0.75, y, "base", "capacity");
    buf_printf(&title, "placed %.1f%%", 100 * used);
    bar(to, 0, used * 0.75, y, "a", buf_text(&title));
    buf_clear(&title);
    buf_printf(&title, "stranded %.1f%%", 100 * stranded);
    bar(to, used * 0.75, stranded * 0.75, y, "b", buf_text(&title));
    double at = 64 + MIN(asked * 0.75, 1.0) * (WIDTH - 134);
    buf_printf(to,
               "<line class=mark x1='%.1f' x2='%.1f' y1=%d y2=%d><title>asked for "
               "%.1f%%</title></line><text class=end x=%d y=%d>%.1f%%</text>\n",
               at, at, y - 3, y + 21, 100 * asked, WIDTH, y + 14, 100 * used);
}

static void write_resources(struct buf *to, const struct findings *found)
{
    const struct sim_figures *f = found->figures;
    int rows = 0;
    for (enum resource r = 0; r < RES_COUNT; r++)
        rows += f->capacity.v[r] > 0;
    buf_printf(to,
               "<section><h2>Resources</h2><p><span class='key ka'></span>placed"
               "<span class='key kb'></span>stranded: free on the %" PRIu32
               " machines without room for a task of mean size<span class='key kbase'></span>other "
               "free; the mark is the demand of all tasks</p>\n<svg viewBox='0 0 %d %d' width=%d "
               "role=img>\n",
               f->stranded_machines, WIDTH, rows * 34, WIDTH);
    int y = 4;
    for (enum resource r = 0; r < RES_COUNT; r++) {
        if (f->capacity.v[r] <= 0)
            continue;
        write_resource(to, f, r, y);
        y += 34;
    }
    buf_printf(to, "</svg></section>\n");
}

struct curve {
    const char *class; /* of the line */
    const char *fill;  /* of the area below the line; NULL: none */
    enum { PENDING, RUNNING, USED } what;
    enum resource resource;
};

static double value_of(const struct findings *found, const struct curve *curve, uint32_t i)
{
    const struct sample *s = &found->history->samples[i];
    if (curve->what == USED)
        return share(s->used.v[curve->resource], found->figures->capacity.v[curve->resource]);
    return (double)(curve->what == PENDING ? s->pending_max : s->running);
}

static void write_curve(struct buf *to, const struct findings *found, const struct curve *curve,
                        double top)
{
    enum { LEFT = 64, SPAN = WIDTH - LEFT - 8 };
    const struct history *h = found->history;
    for (int pass = curve->fill == NULL ? 1 : 0; pass < 2; pass++) {
        buf_printf(to, "<path class='%s' d='M%d %d", pass == 0 ? curve->fill : curve->class, LEFT,
                   CHART_HEIGHT);
        for (uint32_t i = 0; i < h->sample_count; i++)
            buf_printf(to, "L%.1f %.1f",
                       LEFT + SPAN * share(h->samples[i].second, MAX(h->until_s, 1)),
                       CHART_HEIGHT - (CHART_HEIGHT - 8) * value_of(found, curve, i) / top);
        if (pass == 0)
            buf_printf(to, "V%dZ", CHART_HEIGHT);
        buf_printf(to, "'/>\n");
    }
}

static void write_chart(struct buf *to, const struct findings *found, const struct curve *curves,
                        size_t count, double top, const char *top_text)
{
    buf_printf(to, "<svg viewBox='0 0 %d %d' width=%d role=img>\n", WIDTH, CHART_HEIGHT + 24,
               WIDTH);
    buf_printf(to, "<path class=rule d='M64 %dH%dM64 8H%d'/>", CHART_HEIGHT, WIDTH - 8, WIDTH - 8);
    for (size_t i = 0; i < count; i++)
        write_curve(to, found, &curves[i], top);
    buf_printf(to,
               "<text class=end x=58 y=14>%s</text><text class=end x=58 y=%d>0</text>"
               "<text x=64 y=%d>0</text><text class=end x=%d y=%d>%.1f h</text></svg>\n",
               top_text, CHART_HEIGHT, CHART_HEIGHT + 18, WIDTH - 8, CHART_HEIGHT + 18,
               (double)found->history->until_s / 3600);
}

static void write_history(struct buf *to, const struct findings *found)
{
    static const struct curve queue[] = {{"line sbad", "bad area", PENDING, RES_CPU}};
    static const struct curve used[] = {{"line sa", "a area", USED, RES_CPU},
                                        {"line sc", NULL, USED, RES_RAM},
                                        {"line sb", NULL, USED, RES_GPU}};
    bool has_gpus = found->figures->capacity.v[RES_GPU] > 0;
    char most[24];
    if (found->history == NULL) {
        buf_printf(to, "<section><h2>Queue over time</h2><p>The simulation shows one moment: all "
                       "tasks arrived at "
                       "once. See --arrivals.</p></section>\n");
        return;
    }
    snprintf(most, sizeof most, "%" PRIu64, found->history->pending_max);
    buf_printf(to, "<section><h2>Queue over time</h2><p>Tasks pending, at the worst moment of each "
                   "stretch.</p>\n");
    write_chart(to, found, queue, 1, (double)MAX(found->history->pending_max, 1U), most);
    buf_printf(to,
               "</section>\n<section><h2>Utilisation over time</h2><p><span class='key "
               "ka'></span>cpu<span class='key kc'></span>ram%s</p>\n",
               has_gpus ? "<span class='key kb'></span>gpu" : "");
    write_chart(to, found, used, has_gpus ? 3 : 2, 1, "100%");
    buf_printf(to, "</section>\n");
}

static void write_bands(struct buf *to, const struct findings *found)
{
    const struct sim_band *bands = found->figures->bands;
    uint64_t most = 1;
    for (int b = 0; b < BAND_COUNT; b++)
        most = MAX(most, bands[b].tasks);
    buf_printf(to,
               "<section><h2>Placements by band</h2><p><span class='key ka'></span>placed<span "
               "class='key kbad'></span>pending; of the live tasks</p>\n<table><tr><th>band<th>"
               "<th>tasks<th>placed<th>pending%s\n",
               found->history == NULL ? "" : "<th>waits<th>p50 s<th>p99 s<th>longest s");
    for (int b = BAND_COUNT - 1; b >= 0; b--) {
        double scale = 260.0 / (double)most;
        double placed = (double)bands[b].placed * scale;
        buf_printf(
            to,
            "<tr><td>%s<td class=l><svg width=260 height=14><rect class=a height=14 "
            "width='%.1f'/><rect class=bad height=14 x='%.1f' width='%.1f'/></svg><td>%" PRIu64
            "<td>%" PRIu64 "<td>%" PRIu64,
            band_text((enum band)b), placed, placed, (double)bands[b].pending * scale,
            bands[b].tasks, bands[b].placed, bands[b].pending);
        if (found->history != NULL) {
            const struct waits *w = &found->history->bands[b];
            buf_printf(to, "<td>%" PRIu64 "<td>%" PRIu32 "<td>%" PRIu32 "<td>%" PRIu32, w->count,
                       w->p50_s, w->p99_s, w->max_s);
        }
        buf_printf(to, "\n");
    }
    buf_printf(to, "</table></section>\n");
}

void html_what_if(struct buf *to, const struct sim *sim, const struct what_if *w)
{
    buf_printf(to,
               "<section><h2>What if %" PRIu32 " machines go</h2><p>%" PRIu64
               " tasks lose their machine, %" PRIu64 " are evicted, %" PRIu64
               " stay pending. The figures above are from before.</p>\n<table><tr><th>job<th>"
               "priority<th>lost<th>evicted<th>pending<th class=l>why\n",
               w->removed_count, w->lost, w->evicted, w->pending);
    for (size_t i = 0; i < w->job_count; i++) {
        const struct job *job = cell_job(sim->cell, w->jobs[i].job);
        buf_printf(to, "<tr><td>");
        html_escape(to, job->spec.name);
        buf_printf(to, "<td>%" PRIu32 "<td>%" PRIu32 "<td>%" PRIu32 "<td>%" PRIu32 "<td class=l>",
                   job->spec.priority, w->jobs[i].lost, w->jobs[i].evicted, w->jobs[i].pending);
        html_escape(to, w->jobs[i].pending > 0 ? job->reason : "");
        buf_printf(to, "\n");
    }
    buf_printf(to, "</table></section>\n");
}

static void write_figures(struct buf *to, const struct findings *found)
{
    const struct sim_figures *f = found->figures;
    const struct resources *all[] = {&f->capacity, &f->demand, &f->used, &f->stranded};
    buf_printf(to, "<section><h2>Figures</h2><table><tr><th>resource<th>capacity<th>asked for"
                   "<th>placed<th>stranded\n");
    for (enum resource r = 0; r < RES_COUNT; r++) {
        if (f->capacity.v[r] == 0 && f->demand.v[r] == 0)
            continue;
        buf_printf(to, "<tr><td>");
        html_escape(to, resource_name(r, &f->resource_names));
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
            buf_printf(to, "<td>");
            report_amount(to, r, all[i]->v[r]);
        }
        buf_printf(to, "\n");
    }
    buf_printf(to,
               "</table><p style='margin-top:12px'>%" PRIu64 " jobs. %zu passes: median %.2f ms, "
               "p99 %.2f ms, longest %.2f ms, together %.2f s.</p></section>\n",
               f->jobs, f->passes, (double)f->pass_us_p50 / 1e3, (double)f->pass_us_p99 / 1e3,
               (double)f->pass_us_max / 1e3, (double)f->pass_us_total / 1e6);
}

static void write_ignored(struct buf *to, const struct sim_ignored *ignored)
{
    struct ignored_row rows[IGNORED_ROWS];
    report_ignored(ignored, rows);
    buf_printf(to, "<section><h2>Parts of the trace that were ignored or changed</h2><table>\n");
    for (size_t i = 0; i < IGNORED_ROWS; i++)
        if (rows[i].count > 0)
            buf_printf(to, "<tr><td>%" PRIu64 "<td class=l>%s\n", rows[i].count, rows[i].text);
    buf_printf(to, "<tr><td><td class=l>priorities %s\n</table></section>\n",
               ignored->priorities_2011 ? "mapped from the scale of 2011, 0 to 11" : "unchanged");
}

/* One row per policy: a dot per trial, a bar to the 90th percentile, the bound as a mark. */
static void write_compact(struct buf *to, const struct compact_bound *bound,
                          const struct compact *results, const bool *done)
{
    double top = bound->percent;
    for (int p = 0; p < POLICY_COUNT; p++)
        top = done[p] ? MAX(top, results[p].percent) : top;
    buf_printf(to,
               "<section><h2>Machines needed, %% of the cell</h2><p>%" PRIu64 " tasks packed from "
               "scratch on machines drawn at random, %d trials (dots) and their 90th percentile; "
               "the mark is the lower bound for any scheduler. Hard constraints of %" PRIu64
               " jobs larger than half the cell were made soft.</p>\n"
               "<table><tr><th>policy<th><th>machines<th>of cell<th>over bound\n",
               bound->tasks, COMPACT_TRIALS, bound->softened);
    for (enum policy p = 0; p < POLICY_COUNT; p++) {
        const struct compact *c = &results[p];
        if (!done[p])
            continue;
        buf_printf(to,
                   "<tr><td>%s<td class=l><svg width=420 height=26><rect class=a y=6 height=14 "
                   "rx=2 width='%.1f' fill-opacity='.35'/>",
                   policy_text(p), 400 * c->percent / top);
        for (int t = 0; t < COMPACT_TRIALS; t++)
            buf_printf(to,
                       "<circle class=a cy=13 cx='%.1f' r=3 fill-opacity='.6'><title>%" PRIu32
                       " machines</title></circle>",
                       400 * (100.0 * c->needed[t] / bound->machines) / top, c->needed[t]);
        buf_printf(to,
                   "<line class=mark x1='%.1f' x2='%.1f' y1=2 y2=24><title>bound "
                   "%.1f%%</title></line></svg><td>%" PRIu32 "<td>%.1f%%<td>%.1f%%\n",
                   400 * bound->percent / top, 400 * bound->percent / top, bound->percent,
                   c->machines, c->percent, 100 * (c->percent / bound->percent - 1));
    }
    buf_printf(to, "</table></section>\n");
}

static void write_head(struct buf *to, const char *title, const char *source,
                       const struct workload *workload, bool with_policy)
{
    buf_printf(to, "%s<h1>%s</h1><p>", head, title);
    html_escape(to, source);
    if (with_policy && workload->from_trace)
        buf_printf(to, " &middot; policy %s", policy_text(workload->policy));
    buf_printf(to, "</p>\n");
}

void html_report(struct buf *to, const char *source, const struct findings *found,
                 const struct sim *sim)
{
    write_head(to, "Simulation of a cell", source, found->workload, true);
    write_tiles(to, found);
    write_heat(to, sim->cell);
    write_resources(to, found);
    write_history(to, found);
    write_bands(to, found);
    write_figures(to, found);
    if (found->workload->from_trace)
        write_ignored(to, &found->workload->ignored);
}

void html_compact(struct buf *to, const char *source, const struct workload *workload,
                  const struct compact_bound *bound, const struct compact *results,
                  const bool *done)
{
    write_head(to, "Cell compaction", source, workload, false);
    write_compact(to, bound, results, done);
    if (workload->from_trace)
        write_ignored(to, &workload->ignored);
}

int html_write(const char *path, const struct buf *page, struct err *err)
{
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return err_errno(err, errno, "cannot write %s", path);
    size_t written = fwrite(page->bytes, 1, page->size, file);
    if (fclose(file) != 0 || written != page->size)
        return err_errno(err, errno, "cannot write %s", path);
    return 0;
}
