/* The plots: which curves at which length, and what is read off each of their points. */
(() => {
    const { el, num, tokens, select, mean } = report.kit;

    const LAYER_ERRORS = [
        ["rel_l2", "relative L2 error", v => v, true],
        ["rel_l2_p95", "95th percentile of the rows' errors", v => v, true],
        ["cosine_mean", "1 − mean cosine of the rows", v => 1 - v, false],
        ["mass_recall", "attention mass left out", v => 1 - v, false],
    ];
    const MODEL_ERRORS = [
        ["logit_kl", "KL(dense, method), nats", v => v, true],
        ["logit_mse", "mean squared difference of logits", v => v, true],
        ["top1", "share of first choices that differ", v => 1 - v, false],
        ["ppl", "perplexity", v => v, true],
        ["rel_l2", "relative L2 error of the residual stream", v => v, true],
    ];
    const TIMES = [["total", "select + attend"], ["select", "select alone"], ["attend", "attend alone"]];
    const ROWS = [
        ["pos_rel_l2", "relative L2 error", v => v, true],
        ["pos_mass_recall", "attention mass left out", v => 1 - v, false],
        ["budget", "key blocks kept in a row of blocks", v => v, false],
    ];
    const BUDGET = "budget = (attend + select FLOPs) / dense causal FLOPs";
    const DENSITY = "density = kept / all causal blocks, forced blocks included";
    const over = () => `Errors: geometric mean over ${group.model ? "texts" : "layers"}; all else: mean.`;
    const MANY = 60; /* curves that all have their names on the page */
    const NEAR = 1.5; /* a curve stands for a density if it has a point within this factor */

    /* Densities that many curves have in common, one of each 5 %: [density, number of curves]. */
    function levels(points) {
        const found = [];
        for (const p of [...points].sort((a, b) => a.density - b.density)) {
            const last = found.at(-1);
            if (last && p.density <= last.from * 1.05)
                last.curves.add(p.curve), last.all.push(p.density);
            else
                found.push({ from: p.density, curves: new Set([p.curve]), all: [p.density] });
        }
        return found.map(f => [f.all[f.all.length >> 1], f.curves.size]);
    }

    function nearest(points, density) {
        const off = p => Math.abs(Math.log(p.density / density));
        const best = points.filter(p => p.density > 0).sort((a, b) => off(a) - off(b))[0];
        return best && off(best) <= Math.log(NEAR) ? best : null;
    }

    /* What both sections show: the page has one of each. */
    let run, position, charts, rows, keys, at; /* figures, boxes of names, selects */
    let group, setting, shown; /* the group, what tells its points apart, and the curves that are switched on */
    let pointsOf, used; /* the points of each curve, and the curves that have any */

    /* The first is the points' own. */
    const errors = () => group.model ? MODEL_ERRORS : LAYER_ERRORS;
    const method = i => run.get(pointsOf[i][0].records[0], "method");
    const length = () => Number(at.tokens.input.value);
    const here = () => group.points.filter(p => p.tokens === length());

    function byCurve(points) {
        const lists = group.curves.map(() => []);
        points.forEach(p => lists[p.curve].push(p));
        return lists;
    }

    /* The parameters of a point in which the points of its method differ. */
    function settings() {
        const seen = new Map();
        for (const p of group.points) {
            const words = new Set(p.params.split(" "));
            const had = seen.get(method(p.curve));
            seen.set(method(p.curve), had ? new Set([...had].filter(w => words.has(w))) : words);
        }
        return p => p.params.split(" ").filter(w => w && !seen.get(method(p.curve)).has(w)).join(" ");
    }

    function open(next) {
        group = next;
        pointsOf = byCurve(group.points);
        used = group.curves.map((_, i) => i).filter(i => pointsOf[i].length);
        setting = settings();
        at.error.set(errors().map(e => [e[0], e[1]]));
        const some = used.filter(i => group.curves[i].slot > 0).length;
        at.curves.set([["", some < used.length ? `chosen (${some} of ${used.length})` : `all (${used.length})`],
            ...(some < used.length ? [["*", "all"]] : []), ["-", "none"],
            ...[...new Set(used.map(method))].map(m => [`=${m}`, `${m} only`])], "");
        at.tokens.set([...group.lengths].reverse().map(t => [t, `${t} tokens`]), group.points.reduce((most, p) => Math.max(most, p.tokens), 0));
        choose("");
        lengthChanged(length());
        offer();
        refresh();
    }

    /* What the run has not measured is not asked for. */
    function offer() {
        const known = group.points.some(p => p.rel_l2 > 0), times = group.points.some(p => p.total_ms > 0);
        charts.flops.figure.hidden = charts.density.figure.hidden = at.error.box.hidden = !known;
        charts.time.figure.hidden = at.time.box.hidden = !times;
        charts.speed.figure.hidden = !known || !times;
        charts.length.figure.hidden = at.density.box.hidden = !times || group.lengths.length < 2;
        position.hidden = !group.points.some(p => ROWS.some(row => series(p, row).length));
    }

    function choose(what) {
        shown = new Set(used.filter(i => what === "" ? group.curves[i].slot > 0 : what === "*" || what === `=${method(i)}`));
    }

    function lengthChanged(t) {
        const found = levels(group.points.filter(p => p.tokens === t && p.density > 0));
        const most = Math.max(0, ...found.map(f => f[1]));
        const away = f => Math.abs(Math.log(f[0] / 0.25));
        const first = found.filter(f => f[1] === most).sort((a, b) => away(a) - away(b))[0];
        for (const s of [at.density, at.near])
            s.set(found.map(f => [f[0], `about ${num(f[0], 2)}`]), first ? first[0] : "");
    }

    /* All names, or of very many the chosen ones and those that are switched on, up to as many. */
    function named() {
        return used.length <= MANY ? used : used.filter(i => group.curves[i].slot > 0 || shown.has(i)).slice(0, MANY);
    }

    function switchOf(box, i) {
        const curve = group.curves[i];
        const light = () => fade(shown.has(i) ? curve.label : null), dim = () => fade(null);
        return el("button", {
            type: "button", "aria-pressed": String(shown.has(i)),
            onclick: event => {
                shown.has(i) ? shown.delete(i) : shown.add(i);
                const place = [...box.children].indexOf(event.currentTarget);
                refresh();
                box.children[place]?.focus({ preventScroll: true });
            },
            onpointerenter: light, onpointerleave: dim, onfocus: light, onblur: dim,
        }, report.chart.sample(curve.slot), curve.label);
    }

    function key(box) {
        const names = named(), rest = used.length - names.length;
        box.replaceChildren(...names.map(i => switchOf(box, i)),
            rest ? el("span", {}, `and ${rest} more, shown with Curves: all`) : "");
    }
    const fade = label => [...Object.values(charts), rows].forEach(x => x.fade(label));

    function errorOf(p) {
        const [name, , f, log] = errors().find(e => e[0] === at.error.input.value);
        return isOwn() ? p.rel_l2 : mean(p.records.map(i => run.get(i, name)).map(v => v === null ? null : f(v)), log);
    }

    const isOwn = () => at.error.input.value === errors()[0][0];
    const errorTitle = () => errors().find(e => e[0] === at.error.input.value)[1];

    /* All that is known of a point, as the tooltip has it. */
    function facts(p) {
        const dense = group.dense_ms[group.lengths.indexOf(p.tokens)];
        const ms = v => v === null ? "-" : `${num(v, 3)} ms`;
        const list = [["density", num(p.density, 3)], ["budget", num(p.budget, 3)], [errors()[0][1], num(p.rel_l2, 3)],
            [errorTitle(), isOwn() ? "-" : num(errorOf(p), 3)],
            ["select", ms(p.select_ms)], ["attend", ms(p.attend_ms)],
            ["total", p.total_ms === null ? "-" : `${ms(p.total_ms)} (${num(p.total_ms_lo, 3)} to ${num(p.total_ms_hi, 3)})`],
            ["speedup", p.total_ms && dense ? num(dense / p.total_ms, 3) : "-"],
            ["tokens", String(p.tokens)], ["setting", setting(p) || "-"]];
        return list.filter(row => row[1] !== "-");
    }

    /* The shown curves with the points of `list` for which x and y have values. */
    function curves(list, x, y, lo = () => null, hi = () => null) {
        const lists = byCurve(list);
        return group.curves.map((curve, i) => ({ label: curve.label, slot: curve.slot,
            points: !shown.has(i) ? [] : lists[i]
                .map(p => ({ x: x(p), y: y(p), lo: lo(p), hi: hi(p), rows: facts(p) }))
                .filter(p => p.x > 0 && p.y > 0).sort((a, b) => a.x - b.x) }));
    }

    /* The shown points with nothing better at as low a budget. */
    function front(points) {
        const best = points.filter(p => p.pareto && p.rel_l2 > 0).sort((a, b) => a.budget - b.budget);
        return best.map(p => [p.budget, p.rel_l2]);
    }

    function drawErrors(points) {
        const y = { title: errorTitle(), log: true };
        const own = group.dense_rel_l2[group.lengths.indexOf(length())];
        const foot = own > 0 && isOwn() ? ` The dense kernel's own error: ${num(own, 2)}.` : "";
        charts.flops.draw({ x: { title: "budget, share of dense FLOPs", log: true }, y, curves: curves(points, p => p.budget, errorOf),
            front: isOwn() ? front(points.filter(p => shown.has(p.curve))) : null });
        charts.density.draw({ x: { title: "density", log: true }, y, curves: curves(points, p => p.density, errorOf) });
        charts.flops.note.textContent = `${BUDGET}. Grey: no other point has as little of both. ${over()}`;
        charts.density.note.textContent = `${DENSITY}. ${group.model ? "Of all layers and heads; in decoding, of the prefill alone. " : ""}${over()}${foot}`;
    }

    function drawTime(points) {
        const what = at.time.input.value, value = p => p[`${what}_ms`];
        const bound = name => p => what === "total" ? p[name] : null;
        const drawn = curves(points, p => p.density, value, bound("total_ms_lo"), bound("total_ms_hi"));
        const all = drawn.flatMap(x => x.points), dense = group.dense_ms[group.lengths.indexOf(length())];
        const log = Math.max(...all.map(p => p.y)) > 4 * (dense || Math.min(...all.map(p => p.y)));
        const from = log ? Math.min(...all.map(p => p.x)) : 0, to = Math.max(...all.map(p => p.x));
        const title = `time of one layer, ms (${TIMES.find(t => t[0] === what)[1]})`;
        charts.time.draw({ x: { title: "density", log }, y: { title, log }, curves: drawn,
            lines: dense && all.length ? [{ label: "dense", points: [[from, dense], [to, dense]] },
                { label: "ideal", dashed: true, points: [[from, from * dense], [to, to * dense]] }] : [] });
    }

    function drawSpeed(points) {
        const drawn = curves(points, p => p.total_ms, errorOf), dense = group.dense_ms[group.lengths.indexOf(length())];
        const ys = drawn.flatMap(x => x.points.map(p => p.y));
        charts.speed.note.textContent = `Down and left is better. ${over()}`;
        charts.speed.draw({ x: { title: "time of one layer, ms (select + attend)", log: true },
            y: { title: errorTitle(), log: true }, curves: drawn,
            lines: dense && ys.length ? [{ label: "dense", points: [[dense, Math.min(...ys)], [dense, Math.max(...ys)]] }] : [] });
    }

    function drawLength() {
        const wanted = Number(at.density.input.value), ratio = (p, ms) => group.dense_ms[group.lengths.indexOf(p.tokens)] / ms;
        const points = group.curves.flatMap((_, i) => group.lengths.map(t =>
            nearest(pointsOf[i].filter(p => p.tokens === t && p.total_ms > 0), wanted)).filter(Boolean));
        const drawn = curves(points, p => p.tokens, p => ratio(p, p.total_ms), p => ratio(p, p.total_ms_hi), p => ratio(p, p.total_ms_lo));
        const ticks = group.lengths.map(t => [t, tokens(t)]);
        charts.length.draw({ x: { title: `length, tokens (density about ${num(wanted, 2)})`, log: true, ticks },
            y: { title: "speedup over dense", log: true }, curves: drawn,
            lines: [{ label: "dense", points: [[group.lengths[0], 1], [group.lengths.at(-1), 1]] }] });
    }

    /* A series of a point by position: [[tokens, value]] over its layers. */
    function series(p, [name, , f, log]) {
        const all = p.records.map(i => run.data.series[name][i]), bin = run.data.series.pos_bin[p.records[0]];
        if (all.some(s => !s || s.length !== all[0].length))
            return [];
        const width = name === "budget" ? p.tokens / all[0].length : bin; /* budgets are by row of blocks */
        return all[0].map((_, b) => [(b + 0.5) * width, mean(all.map(s => s[b]).map(v => v === null ? null : f(v)), log)]);
    }

    function drawRows(points) {
        const what = ROWS.find(r => r[0] === at.rows.input.value), wanted = Number(at.near.input.value), log = what[0] !== "budget";
        const lists = byCurve(points);
        const drawn = group.curves.map((curve, i) => {
            const p = shown.has(i) && nearest(lists[i], wanted);
            const facts = (x, y) => [["query token", num(Math.round(x))], [what[1], num(y, 3)], ["density", num(p.density, 3)]];
            return { label: curve.label, slot: curve.slot, points: (p ? series(p, what) : []).filter(v => v[1] > 0)
                .map(([x, y]) => ({ x, y, rows: facts(x, y) })) };
        });
        /* Rows that keep every block are as good as exact, and would squeeze the others. */
        const floor = log ? Math.max(0, ...drawn.flatMap(x => x.points.map(p => p.y))) / 100 : 0;
        drawn.forEach(x => { x.points = x.points.filter(p => p.y >= floor); });
        const unit = 2 ** Math.floor(Math.log2(length() / 4) + 0.001), ticks = [];
        for (let t = 0; t <= length(); t += unit)
            ticks.push([t, tokens(t)]);
        rows.draw({ x: { title: "query position, tokens", ticks, to: length() }, y: { title: what[1], log }, curves: drawn, plain: true });
        const cut = log ? "Not drawn: what is below 1 % of the largest value, such as rows that keep every block. " : "";
        rows.note.textContent = `Each curve at its setting nearest the density, within a factor of ${NEAR}. ${cut}`
            + `${what[3] ? "Geometric mean" : "Mean"} over layers ${group.layers.join(", ")}; ${length()} tokens; ${group.title}.`;
    }

    function refresh() {
        const points = here();
        keys.forEach(key);
        drawErrors(points);
        drawTime(points);
        drawSpeed(points);
        drawLength();
        drawRows(points);
    }

    function makeFigures() {
        const { make } = report.chart;
        charts = {
            flops: make("Error against FLOPs", ""),
            density: make("Error against density", ""),
            time: make("Time against density", `${DENSITY}. Black: dense; dashed: ideal, dense time × density. Bars: 95 % interval of the median.`),
            speed: make("Error against time", ""),
            length: make("Speedup against length",
                "speedup = dense time / (select + attend); above 1 is faster than dense. Bars: from the time's 95 % interval."),
        };
        rows = make("", "");
        keys = [el("div", { class: "key" }), el("div", { class: "key" })];
    }

    function makeSelects(groups) {
        at = {
            group: select("Input", value => open(groups[Number(value)])),
            tokens: select("Length", value => { lengthChanged(Number(value)); refresh(); }),
            curves: select("Curves", value => { choose(value); refresh(); }),
            error: select("Error", refresh),
            time: select("Time", refresh),
            density: select("Speedup at density", value => { at.near.input.value = value; refresh(); }),
            near: select("Density", value => { at.density.input.value = value; refresh(); }),
            rows: select("Show", refresh),
        };
        at.group.set(groups.map((g, i) => [i, g.title]));
        at.time.set(TIMES);
        at.rows.set(ROWS.map(r => [r[0], r[1]]));
    }

    function build(theRun, plots, thePosition) {
        run = theRun;
        position = thePosition;
        const groups = run.data.groups.filter(g => g.points.length);
        if (!groups.length)
            return;
        plots.hidden = false;
        makeFigures();
        makeSelects(groups);
        const fields = (...names) => el("div", { class: "fields" }, ...names.map(n => at[n].box));
        plots.append(fields("group", "tokens", "curves", "error", "time", "density"), keys[0],
            el("div", { class: "charts" }, ...Object.values(charts).map(x => x.figure)));
        position.append(fields("near", "rows"), keys[1], rows.figure);
        open(groups[0]);
    }

    report.plots = { build };
})();
