/* Axes of a chart: what they span, where their labels go, and the pixels of a value. */
(() => {
    const { svg, num } = report.kit;
    const LABEL = 8, LINE = 18; /* pixels of a character and of a line of a label */
    const px = v => v.toFixed(1);

    function logTicks(lo, hi) {
        const span = Math.log10(hi / lo), ticks = [];
        const labelled = span <= 1.3 ? [1, 2, 5, 3, 7] : span <= 3 ? [1, 2, 5] : [1];
        for (let e = Math.floor(Math.log10(lo)); e <= Math.log10(hi); e++)
            for (let m = 1; m <= 9; m++) {
                const at = Number(`${m}e${e}`), rank = labelled.indexOf(m);
                if (at >= lo && at <= hi)
                    ticks.push({ at, text: rank < 0 ? "" : num(at), rank });
            }
        return ticks;
    }

    function linearTicks(lo, hi, most) {
        const raw = (hi - lo) / Math.max(most, 2), ten = 10 ** Math.floor(Math.log10(raw));
        const step = [1, 2, 2.5, 5, 10].find(s => s * ten >= raw) * ten, ticks = [];
        for (let i = Math.ceil(lo / step); i * step <= hi * (1 + 1e-9); i++)
            ticks.push({ at: i * step, text: num(i * step), rank: 0 });
        return ticks;
    }

    /* Drop the labels that have no room, the least round first. `room` is the space of a label in pixels. */
    function thin(ticks, pixel, room) {
        const placed = [];
        for (const tick of [...ticks].sort((a, b) => a.rank - b.rank)) {
            const at = pixel(tick.at), half = room(tick.text) / 2;
            if (tick.text && placed.some(p => Math.abs(p.at - at) < p.half + half))
                tick.text = "";
            else if (tick.text)
                placed.push({ at, half });
        }
    }

    /* Domain of the values and the map to 0..1. */
    function domain(axis, values) {
        let lo = Math.min(...values), hi = Math.max(...values);
        if (axis.log) {
            const pad = Math.max((hi / lo) ** 0.05, 2 / Math.sqrt(hi / lo), 1.02);
            lo /= pad, hi *= pad;
            return { lo, hi, part: v => Math.log(v / lo) / Math.log(hi / lo) };
        }
        lo = Math.min(0, lo);
        hi = axis.to || lo + (hi - lo || 1) * 1.06;
        return { lo, hi, part: v => (v - lo) / (hi - lo) };
    }

    /* Where everything goes for a spec in a width: x and y give pixels. */
    function layout(spec, width) {
        const drawn = (axis, v) => v !== null && v !== undefined && (!axis.log || v > 0);
        const points = spec.curves.flatMap(c => c.points);
        const lines = (spec.lines || []).flatMap(l => l.points);
        const xs = domain(spec.x, [...points.map(p => p.x), ...lines.map(p => p[0])].filter(v => drawn(spec.x, v)));
        const ys = domain(spec.y, [...points.flatMap(p => [p.y, p.lo, p.hi]), ...lines.map(p => p[1])]
            .filter(v => drawn(spec.y, v)));
        const height = Math.round(Math.max(300, Math.min(400, width * 0.66)));
        const top = 30, bottom = height - 50, right = width - 14;
        const y = v => bottom - ys.part(v) * (bottom - top);
        const yTicks = spec.y.log ? logTicks(ys.lo, ys.hi) : linearTicks(ys.lo, ys.hi, (bottom - top) / 60);
        thin(yTicks, y, () => LINE);
        const left = 16 + LABEL * Math.max(...yTicks.map(t => t.text.length));
        const x = v => left + xs.part(v) * (right - left);
        const given = (spec.x.ticks || []).map(([at, text]) => ({ at, text, rank: 0 })).filter(t => t.at >= xs.lo && t.at <= xs.hi);
        const xTicks = spec.x.ticks ? given
            : spec.x.log ? logTicks(xs.lo, xs.hi) : linearTicks(xs.lo, xs.hi, (right - left) / 70);
        thin(xTicks, x, text => LABEL * text.length + 10);
        return { width, height, left, right, top, bottom, x, y, xTicks, yTicks };
    }

    function axes(spec, at) {
        const g = svg("g", { class: "axes" });
        for (const t of at.yTicks) {
            const y = px(at.y(t.at)), to = t.text ? `H${at.right}` : "h5";
            g.append(svg("path", { class: t.text ? "grid" : "tick", d: `M${at.left} ${y}${to}` }));
            g.append(svg("text", { x: at.left - 7, y: px(at.y(t.at) + 5), "text-anchor": "end" }, t.text));
        }
        for (const t of at.xTicks) {
            const x = px(at.x(t.at)), to = t.text ? `V${at.top}` : "v-5";
            g.append(svg("path", { class: t.text ? "grid" : "tick", d: `M${x} ${at.bottom}${to}` }));
            g.append(svg("text", { x, y: at.bottom + 19, "text-anchor": "middle" }, t.text));
        }
        g.append(svg("path", { class: "frame", d: `M${at.left} ${at.top}V${at.bottom}H${at.right}` }),
            svg("text", { class: "title", x: 0, y: 15 }, spec.y.title),
            svg("text", { class: "title", x: at.right, y: at.height - 6, "text-anchor": "end" }, spec.x.title));
        return g;
    }

    report.axis = { px, layout, axes };
})();
