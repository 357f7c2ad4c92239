/* Line charts: report.chart.make(title, caption) gives a figure to draw curves into. */
(() => {
    const { el, svg } = report.kit;
    const { px, layout, axes } = report.axis;
    const COLOURS = 9, R = 5, NARROW = 480;

    /* Markers of slots 1..9 in a circle of radius 1; those of 10..18 are the same, open. */
    const ring = n => Array.from({ length: n }, (_, i) => {
        const a = 2 * Math.PI * i / n;
        return [Math.sin(a), -Math.cos(a)];
    });
    const SHAPES = [null, [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(p => p.map(v => v * 0.88)), ring(3),
        ring(3).map(([x, y]) => [x, -y]), ring(4).map(p => p.map(v => v * 1.15)), ring(5)];

    const look = slot => ({
        colour: slot ? `var(--c${(slot - 1) % COLOURS + 1})` : "var(--faint)",
        shape: SHAPES[slot ? (slot - 1) % COLOURS % SHAPES.length : 0],
        open: !slot || slot > COLOURS,
    });

    /* Of a curve's colour, but dark (or light) enough to read text in. */
    const legible = slot => `color-mix(in srgb, ${look(slot).colour} 60%, var(--ink))`;

    function marker(slot, x, y) {
        const { colour, shape, open } = look(slot);
        const paint = { fill: open ? "var(--paper)" : colour, stroke: colour, "stroke-width": 1.6 };
        if (!shape)
            return svg("circle", { cx: px(x), cy: px(y), r: 0.85 * R, ...paint });
        const corners = shape.map(p => `${px(x + p[0] * R)} ${px(y + p[1] * R)}`);
        return svg("path", { d: `M${corners.join("L")}Z`, ...paint });
    }

    /* What a key shows of a curve. */
    function sample(slot) {
        const { colour, open } = look(slot);
        const line = { d: "M1 7H33", stroke: colour, "stroke-width": 2, "stroke-dasharray": open ? "6 3" : null };
        return svg("svg", { width: 34, height: 14, "aria-hidden": "true" }, svg("path", line), marker(slot, 17, 7));
    }

    /* ---- marks ---- */
    const path = (at, points) => points.map(([x, y], i) => `${i ? "L" : "M"}${px(at.x(x))} ${px(at.y(y))}`).join("");

    function interval(at, p, stroke) {
        const [x, lo, hi] = [at.x(p.x), at.y(p.lo), at.y(p.hi)];
        return svg("path", { class: "bar", stroke, d: `M${px(x)} ${px(lo)}V${px(hi)}m-4 0h8M${px(x - 4)} ${px(lo)}h8` });
    }

    function curve(c, at, spec) {
        const { colour, open } = look(c.slot);
        const g = svg("g", { class: "curve" });
        for (const p of c.points)
            if (p.lo > 0 && p.hi > 0 && !spec.plain)
                g.append(interval(at, p, colour));
        g.append(svg("path", { class: "line", d: path(at, c.points.map(p => [p.x, p.y])), stroke: colour,
            "stroke-width": spec.plain ? 1.5 : 2, "stroke-dasharray": open ? "7 4" : null }));
        /* Of many points few get a marker, each curve others, so that curves that coincide can be told apart. */
        const every = spec.plain ? Math.max(Math.ceil(c.points.length / (at.width < NARROW ? 3 : 6)), 1) : 1;
        const first = spec.plain ? Math.floor(c.slot * every / (2 * COLOURS)) % every : 0;
        c.points.forEach((p, i) => i % every === first && g.append(marker(c.slot, at.x(p.x), at.y(p.y))));
        return g;
    }

    /* The room that marks take: boxes along every line. */
    function taken(spec, at) {
        const boxes = [];
        const all = [...spec.curves.map(c => c.points.map(p => [p.x, p.y])), ...(spec.lines || []).map(l => l.points)];
        for (const points of all)
            points.forEach(([x, y], i) => {
                const [x1, y1] = [at.x(x), at.y(y)], [x0, y0] = i ? [at.x(points[i - 1][0]), at.y(points[i - 1][1])] : [x1, y1];
                const steps = Math.ceil(Math.hypot(x1 - x0, y1 - y0) / 8) || 1;
                for (let k = 1; k <= steps; k++) {
                    const r = k === steps ? 9 : 2;
                    boxes.push({ x: x0 + (x1 - x0) * k / steps - r, y: y0 + (y1 - y0) * k / steps - r, w: 2 * r, h: 2 * r });
                }
            });
        return boxes;
    }

    const ruler = document.createElement("canvas").getContext("2d");
    const apart = (a, b) => a.x + a.w < b.x || b.x + b.w < a.x || a.y + a.h < b.y || b.y + b.h < a.y;

    /* Name lines at an end where the name covers nothing else. */
    function names(spec, at, root) {
        const used = taken(spec, at), h = 15;
        ruler.font = `600 14px ${getComputedStyle(document.body).fontFamily}`;
        const both = points => [points.at(-1), points[0]];
        const ends = [
            ...(spec.lines || []).map(l => ({ text: l.label, colour: "var(--ink)", ends: both(l.points) })),
            ...(at.width < NARROW ? [] : spec.curves).map(c =>
                ({ text: c.label, colour: legible(c.slot), ends: both(c.points).map(p => [p.x, p.y]) })),
        ];
        /* Where two curves end at one place, no name could say which it means. */
        const tips = ends.flatMap(e => e.ends.map(([x, y]) => ({ e, x: at.x(x), y: at.y(y) })));
        const alone = (e, x, y) => !tips.some(t => t.e !== e && Math.hypot(t.x - x, t.y - y) < 9);
        for (const end of ends) {
            const w = ruler.measureText(end.text).width;
            const places = end.ends.flatMap(([vx, vy]) => {
                const x = at.x(vx), y = at.y(vy);
                return !alone(end, x, y) ? [] : [[x + 10, y - 8], [x - w, y - 25], [x - w, y + 10], [x - 4, y - 25],
                    [x - 4, y + 10], [x - w - 10, y - 8]];
            });
            const box = places.map(([x, y]) => ({ x, y, w, h })).find(b => b.x > at.left && b.x + w <= at.width
                && b.y > at.top - 8 && b.y + h < at.bottom && used.every(t => apart(t, b)));
            if (!box)
                continue;
            used.push(box);
            root.append(svg("text", { class: "name", x: px(box.x), y: px(box.y + 12), style: `fill: ${end.colour}` }, end.text));
        }
    }

    function picture(spec, at) {
        const root = svg("svg", { width: at.width, height: at.height, viewBox: `0 0 ${at.width} ${at.height}`, "aria-hidden": "true" });
        root.append(axes(spec, at));
        if (spec.front && spec.front.length > 1)
            root.append(svg("path", { class: "front", d: path(at, spec.front) }));
        for (const l of spec.lines || [])
            root.append(svg("path", { class: "reference", d: path(at, l.points), "stroke-dasharray": l.dashed ? "7 5" : null }));
        const groups = spec.curves.map(c => curve(c, at, spec));
        root.append(...groups);
        names(spec, at, root);
        const focus = svg("circle", { class: "focus", r: 9, visibility: "hidden" });
        root.append(focus);
        return { root, groups, focus };
    }

    /* ---- the reader's way through the points ---- */
    const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-Infinity, 0], End: [Infinity, 0] };

    /* The point a key leads to: along the curve, or to the curve next above or below. */
    function step(spec, at, now, [dx, dy]) {
        const points = spec.curves[now.curve].points;
        if (dx)
            return { curve: now.curve, point: Math.max(0, Math.min(points.length - 1, now.point + dx)) };
        const x = points[now.point].x;
        const column = spec.curves.map((c, curve) => {
            const away = c.points.map(p => Math.abs(at.x(p.x) - at.x(x)));
            const point = away.indexOf(Math.min(...away));
            return curve === now.curve ? now : { curve, point };
        }).sort((a, b) => at.y(spec.curves[a.curve].points[a.point].y) - at.y(spec.curves[b.curve].points[b.point].y) || a.curve - b.curve);
        const next = column.findIndex(c => c.curve === now.curve) + dy;
        return column[Math.max(0, Math.min(column.length - 1, next))];
    }

    function nearest(spec, at, x, y) {
        let best = null, least = 45 ** 2;
        spec.curves.forEach((c, curve) => c.points.forEach((p, point) => {
            const away = (at.x(p.x) - x) ** 2 + (at.y(p.y) - y) ** 2;
            if (away < least)
                least = away, best = { curve, point };
        }));
        return best;
    }

    /*
     * A figure. draw(spec): spec = { x, y: { title, log, ticks: [[at, text]], to: its end },
     * curves: [{ label, slot, points: [{ x, y, lo, hi, rows: [[name, text]] }] }], lines: [{ label, dashed, points: [[x, y]] }]
     * for reference, front: [[x, y]], plain: points too many for markers }. fade(label): that curve alone stands out.
     */
    function make(title, caption) {
        const plot = el("div", { class: "plot", tabindex: 0, role: "application", "aria-roledescription": "chart" });
        const tip = el("div", { class: "tip", hidden: true });
        const live = el("p", { class: "unseen", "aria-live": "polite" });
        const note = el("p", { class: "note" }, caption);
        const figure = el("figure", { class: "chart" }, title ? el("figcaption", {}, el("h3", {}, title)) : null, plot, live, note);
        let spec = null, at = null, drawn = null, now = null;

        function show(where, aloud) {
            now = where;
            tip.hidden = !where;
            drawn.focus.setAttribute("visibility", where ? "visible" : "hidden");
            if (!where)
                return;
            const c = spec.curves[where.curve], p = c.points[where.point], x = at.x(p.x), y = at.y(p.y);
            drawn.focus.setAttribute("cx", x);
            drawn.focus.setAttribute("cy", y);
            tip.replaceChildren(el("b", { style: `color: ${legible(c.slot)}` }, c.label),
                el("dl", {}, ...p.rows.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])));
            const left = x + 14 + tip.offsetWidth > at.width ? x - 14 - tip.offsetWidth : x + 14;
            tip.style.left = `${Math.max(0, Math.min(left, at.width - tip.offsetWidth))}px`;
            const top = at.width < NARROW ? at.height - 20 : Math.max(0, Math.min(y - 20, at.height - tip.offsetHeight));
            tip.style.top = `${top}px`; /* in a narrow plot it would hide the point */
            if (aloud)
                live.textContent = `${c.label}: ${p.rows.map(r => r.join(" ")).join(", ")}`;
        }

        function draw(next) {
            spec = next || spec;
            const width = plot.clientWidth;
            if (!spec || !width)
                return;
            spec.curves = spec.curves.filter(c => c.points.length);
            figure.classList.toggle("empty", !spec.curves.length);
            if (!spec.curves.length) {
                plot.replaceChildren(el("p", { class: "nothing" },
                    "Nothing to show: every curve is switched off, or none has these values."));
                return;
            }
            at = layout(spec, width);
            drawn = picture(spec, at);
            plot.replaceChildren(drawn.root, tip);
            plot.setAttribute("aria-label", `${spec.y.title} against ${spec.x.title}, ${spec.curves.length} curves. `
                + "Arrow keys move between points.");
            show(null);
        }

        plot.addEventListener("keydown", event => {
            if (event.key === "Escape" && now)
                show(null);
            else if (KEYS[event.key] && spec && spec.curves.length)
                show(now ? step(spec, at, now, KEYS[event.key]) : { curve: 0, point: 0 }, true);
            else
                return;
            event.preventDefault();
        });
        const point = event => {
            if (!spec || !spec.curves.length)
                return;
            const box = plot.getBoundingClientRect();
            show(nearest(spec, at, event.clientX - box.left, event.clientY - box.top));
        };
        plot.addEventListener("pointermove", point);
        plot.addEventListener("pointerdown", point);
        plot.addEventListener("pointerleave", event => event.pointerType === "mouse" && now && show(null));
        plot.addEventListener("blur", () => now && show(null));
        new ResizeObserver(() => requestAnimationFrame(() => at && plot.clientWidth === at.width || draw())).observe(plot);

        function fade(label) {
            const away = i => label !== null && spec.curves[i].label !== label;
            drawn?.groups.forEach((g, i) => g.classList.toggle("faded", away(i)));
        }

        return { figure, note, draw, fade };
    }

    report.chart = { make, sample, look };
})();
