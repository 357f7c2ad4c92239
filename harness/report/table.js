/* The table of records: columns to choose, filter, sort, and all of a record on demand. */
(() => {
    const { el, svg, num } = report.kit;
    const PAGE = 100;
    const USUAL = ["cell", "curve", "status", "layer", "tokens", "density", "rel_l2", "mass_recall",
        "select_ms", "attend_ms", "total_ms", "speedup"];
    const USUAL_OF_MODEL = ["cell", "curve", "status", "text", "task", "setting", "tokens", "density", "logit_kl",
        "top1", "ppl", "score"];
    const OPS = {
        "=": (a, b) => a === b, "!=": (a, b) => a !== b, "<": (a, b) => a < b, "<=": (a, b) => a <= b,
        ">": (a, b) => a > b, ">=": (a, b) => a >= b,
    };

    /* Columns of results.csv, and first the curve of the plots that a record is on. */
    function columnsOf(run) {
        const label = new Map();
        for (const g of run.data.groups)
            for (const p of g.points)
                p.records.forEach(i => label.set(i, g.curves[p.curve].label));
        const curve = i => label.get(i) || [run.get(i, "method"), run.get(i, "variant")].filter(Boolean).join(" ");
        const columns = run.data.columns.map((c, k) => ({ name: c.name, text: c.kind === "text", of: i => run.data.records[i][k] }));
        columns.splice(1, 0, { name: "curve", text: true, of: curve });
        return columns;
    }

    /*
     * A test of a record from words such as `method=stem density<0.3 layer=2 prose`: of a column by its values (~: contains),
     * else of the text of the whole record. Quotes hold words together. `bad`: words that compare a number with none.
     */
    function filterOf(columns, text) {
        const tests = [], bad = [];
        for (const quoted of text.match(/(?:[^\s"]|"[^"]*"?)+/g) || []) {
            const word = quoted.replaceAll('"', "").toLowerCase();
            const [, name, op, value] = word.match(/^([a-z0-9_]+)(!=|<=|>=|=|<|>|~)(.*)$/) || [];
            const column = name && columns.find(c => c.name === name);
            if (!column)
                tests.push(i => columns.some(c => String(c.of(i) ?? "").toLowerCase().includes(word)));
            else if (op === "~")
                tests.push(i => String(column.of(i) ?? "").toLowerCase().includes(value));
            else if (column.text)
                tests.push(i => OPS[op](column.of(i).toLowerCase(), value));
            else if (value === "" || Number.isNaN(Number(value)))
                bad.push(quoted);
            else
                tests.push(i => column.of(i) !== null && OPS[op](column.of(i), Number(value)));
        }
        return { test: i => tests.every(t => t(i)), bad };
    }

    /* Numbers by size, texts by letter; nothing last whichever way; equals in the order they had. */
    function sorted(rows, column, down) {
        const none = v => v === null || v === "";
        const sign = down ? -1 : 1;
        const by = (a, b) => column.text ? (a < b ? -1 : a > b ? 1 : 0) : a - b;
        return rows.map(i => [i, column.of(i)])
            .sort(([, a], [, b]) => none(a) || none(b) ? none(a) - none(b) : sign * by(a, b))
            .map(row => row[0]);
    }

    function csv(columns, rows) {
        const cell = v => v === null ? "" : /[",\r\n]/.test(v) ? `"${String(v).replaceAll('"', '""')}"` : String(v);
        return [columns.map(c => c.name), ...rows.map(i => columns.map(c => c.of(i)))].map(r => r.map(cell).join(",")).join("\n") + "\n";
    }

    /* Bars of one value a head. */
    function heads(title, values) {
        const most = Math.max(...values.filter(v => v !== null)), pitch = 24, high = 80;
        const chart = svg("svg", { width: pitch * values.length, height: high + 18, role: "img",
            "aria-label": `${title}: ${values.map((v, i) => `head ${i} ${num(v, 3)}`).join(", ")}` });
        values.forEach((v, i) => {
            const height = v > 0 ? Math.max(1, high * v / most) : 0;
            chart.append(svg("rect", { x: i * pitch, y: high - height, width: pitch - 5, height },
                svg("title", {}, `head ${i}: ${num(v)}`)),
                svg("text", { x: i * pitch + (pitch - 5) / 2, y: high + 15, "text-anchor": "middle" }, String(i)));
        });
        return el("div", { class: "heads" }, el("p", {}, `${title}, at most ${num(most, 3)}`), el("div", { class: "bars" }, chart));
    }

    /* Every column of a record, its errors by head and the way to its pattern. */
    function details(run, columns, i) {
        const box = el("div", { class: "details" });
        for (const [name, title] of [["head_rel_l2", "Relative L2 error by head"], ["head_mass_recall", "Mass recall by head"]])
            if (run.data.series[name][i] && run.data.series[name][i].some(v => v !== null))
                box.append(heads(title, run.data.series[name][i]));
        if (run.showPattern && run.hasPattern(i))
            box.append(el("p", {}, el("button", { type: "button", onclick: () => run.showPattern(i) }, "Show its pattern")));
        box.append(el("dl", {}, ...columns.map(c => [c.name, c.of(i)]).filter(f => f[1] !== null && f[1] !== "")
            .map(([name, v]) => el("div", {}, el("dt", {}, name), el("dd", {}, typeof v === "number" ? num(v, 6) : v)))));
        return box;
    }

    function build(run, section) {
        const total = run.data.records.length;
        if (!total)
            return;
        section.hidden = false;
        const columns = columnsOf(run);
        const all = run.data.records.map((_, i) => i);
        let shown = new Set(all.every(i => run.get(i, "task")) ? USUAL_OF_MODEL : USUAL), rows = all, down = false, by = null, most = PAGE;

        const count = el("p", { class: "note", "aria-live": "polite" });
        const filter = el("input", { type: "search", spellcheck: "false", autocomplete: "off", autocapitalize: "off",
            placeholder: "method=stem density<0.3 layer=2", "aria-describedby": "filter-help",
            oninput: () => { most = PAGE; refresh(); } });
        const chooser = el("details", { class: "chooser" }, el("summary", {}, "Columns"), el("div", {}, ...columns.map(c =>
            el("label", {}, el("input", { type: "checkbox", checked: shown.has(c.name), value: c.name,
                onchange: e => { e.target.checked ? shown.add(c.name) : shown.delete(c.name); refresh(); } }), c.name))));
        const take = el("button", { type: "button" }, "Copy as CSV");
        const table = el("table", {}, el("caption", { class: "unseen" }, "Records"));
        const more = el("button", { type: "button", onclick: () => { most += PAGE; refresh(); } });
        take.addEventListener("click", () => report.kit.copy(csv(visible(), rows), take, table));
        const box = el("label", { class: "field wide" }, el("span", {}, "Filter"), filter);
        section.append(el("div", { class: "fields" }, box, take), chooser,
            el("p", { class: "note", id: "filter-help" }, "Words as column=value, !=, <, <=, >, >= or ~ (contains), or any "
                + "text of a record, such as mu=0.7. A row opens to all of its columns."),
            count, el("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Table of records" }, table), more);

        const visible = () => columns.filter(c => shown.has(c.name));

        function head() {
            const order = c => c !== by ? null : down ? "descending" : "ascending";
            const arrow = c => el("span", { "aria-hidden": "true" }, c !== by ? "" : down ? " ▼" : " ▲");
            const sort = c => el("button", { type: "button", onclick: () => sortBy(c) }, c.name, arrow(c));
            return el("thead", {}, el("tr", {}, el("td"), ...visible().map(c =>
                el("th", { scope: "col", "aria-sort": order(c), class: c.text ? null : "number" }, sort(c)))));
        }

        function sortBy(column) {
            down = by === column ? !down : false;
            by = column;
            refresh();
            table.querySelector("th[aria-sort] button").focus();
        }

        function line(i) {
            const open = el("button", { type: "button", "aria-expanded": "false",
                "aria-label": `Details of record ${run.get(i, "cell")}` }, "▸");
            const row = el("tr", { class: "row" }, el("td", {}, open), ...visible().map(c => {
                const v = c.of(i), long = c.text && v.length > 40;
                return el("td", { class: c.text ? (long ? "long" : null) : "number", title: long ? v : null }, c.text ? v : num(v));
            }));
            row.addEventListener("click", () => {
                if (String(getSelection()))
                    return; /* text was marked, to copy it */
                const was = open.getAttribute("aria-expanded") === "true";
                open.setAttribute("aria-expanded", String(!was));
                open.textContent = was ? "▸" : "▾";
                if (was)
                    row.nextElementSibling.remove();
                else
                    row.after(el("tr", { class: "detail" }, el("td", { colspan: visible().length + 1 }, details(run, columns, i))));
            });
            return row;
        }

        function refresh() {
            const { test, bad } = filterOf(columns, filter.value);
            rows = all.filter(test);
            if (by)
                rows = sorted(rows, by, down);
            filter.setAttribute("aria-invalid", String(bad.length > 0));
            count.textContent = `${rows.length} of ${total} records${bad.length ? `; not a number: ${bad.join(" ")}` : ""}`;
            const body = el("tbody", {}, ...rows.slice(0, most).map(line));
            table.replaceChildren(table.caption, head(), body);
            more.hidden = rows.length <= most;
            more.textContent = `Show ${Math.min(PAGE, rows.length - most)} more of ${rows.length - most}`;
        }
        refresh();
    }

    report.table = { build };
})();
