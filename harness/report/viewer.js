/* The pattern viewer: which blocks a setting keeps, over where the exact attention mass is. */
(() => {
    const { el, num, tokens, select } = report.kit;
    const { MEAN, level, load, rowOf } = report.maps;
    const LEFT = 40, RIGHT = 48, TOP = 8, BOTTOM = 26, FONT = 14;
    const MODES = [["both", "kept and dropped"], ["mass", "attention mass"], ["kept", "kept blocks"], ["missed", "dropped mass"]];

    /* ---- drawing ---- */
    function theme() {
        const style = getComputedStyle(document.documentElement);
        const rgb = name => [1, 3, 5].map(at => parseInt(style.getPropertyValue(name).trim().slice(at, at + 2), 16));
        const ramp = name => [0, 1, 2].map(i => rgb(`--${name}${i}`));
        return { kept: ramp("kept"), dropped: ramp("dropped"), missed: ramp("missed"), ink: style.getPropertyValue("--ink"),
            faint: style.getPropertyValue("--faint"), mark: style.getPropertyValue("--mark") };
    }

    const mix = (a, b, t) => a.map((v, i) => v + (b[i] - v) * t);
    const along = (ramp, t) => t < 0.5 ? mix(ramp[0], ramp[1], 2 * t) : mix(ramp[1], ramp[2], 2 * t - 1);

    function colour(mode, ink, share, mass) {
        const t = mass > 0 ? level(mass) : 0;
        if (mode === "mass")
            return along(ink.kept, t);
        if (mode === "kept")
            return mix(ink.dropped[0], ink.kept[1], share);
        if (mode === "missed")
            return mix(along(ink.missed, t), ink.dropped[0], share);
        return mix(along(ink.dropped, t), along(ink.kept, t), share);
    }

    /* A cell is a whole number of device pixels, so that edges are sharp. */
    function geometry(canvas, side) {
        const scale = devicePixelRatio || 1, room = canvas.parentNode.clientWidth - LEFT - RIGHT;
        const k = Math.max(1, Math.floor(Math.min(room, 560) * scale / side));
        const size = k * side, x = Math.round(LEFT * scale), y = Math.round(TOP * scale);
        canvas.width = x + size + Math.round(RIGHT * scale);
        canvas.height = y + size + Math.round(BOTTOM * scale);
        canvas.style.width = `${canvas.width / scale}px`;
        canvas.style.height = `${canvas.height / scale}px`;
        Object.assign(canvas.dataset, { x, y, k, side });
        return { scale, k, size, x, y, side };
    }

    function cells(view, mode, ink) {
        const image = new ImageData(view.side, view.side);
        for (let i = 0; i < view.share.length; i++)
            if (view.live[i])
                image.data.set([...colour(mode, ink, view.share[i], view.mass ? view.mass[i] : 0), 255], 4 * i);
        const small = el("canvas", { width: view.side, height: view.side });
        small.getContext("2d").putImageData(image, 0, 0);
        return small;
    }

    /* Axes in tokens, and right of the map what is kept of each row: of its mass, or where that is unknown of its cells. */
    function frame(pen, at, view, length, ink) {
        pen.font = `${FONT * at.scale}px system-ui, sans-serif`;
        pen.fillStyle = ink.faint;
        const bar = (RIGHT - 10) * at.scale, x0 = at.x + at.size + 8 * at.scale;
        for (let q = 0; q <= 4; q++) {
            const on = at.size * q / 4, text = tokens(Math.round(length * q / 4));
            pen.textAlign = q === 0 ? "left" : q === 4 ? "right" : "center";
            pen.textBaseline = "top";
            pen.fillText(text, at.x + on, at.y + at.size + 6 * at.scale);
            pen.textAlign = "right";
            pen.textBaseline = q === 0 ? "top" : q === 4 ? "bottom" : "middle";
            pen.fillText(text, at.x - 6 * at.scale, at.y + on);
        }
        pen.textBaseline = "top";
        pen.textAlign = "right";
        pen.fillText("keys →, queries ↓", at.x + at.size, at.y + 2 * at.scale);
        pen.textAlign = "center";
        pen.fillText("0 – 1", x0 + bar / 2, at.y + at.size + 6 * at.scale);
        pen.fillStyle = `rgb(${ink.dropped[0]})`;
        pen.fillRect(x0, at.y, bar, at.size);
        pen.fillStyle = `rgb(${ink.kept[1]})`;
        for (let r = 0; r < view.side; r++) {
            const row = rowOf(view, r), part = row.covered === null ? row.kept / row.all : row.covered;
            pen.fillRect(x0, at.y + r * at.k, bar * part, at.k);
        }
    }

    function pointer(pen, at, cell, ink) {
        pen.strokeStyle = ink.mark;
        pen.lineWidth = Math.max(1, Math.round(at.scale));
        pen.strokeRect(at.x - 0.5, at.y + cell.r * at.k - 0.5, (cell.r + 1) * at.k + 1, at.k + 1);
        pen.lineWidth *= 2;
        pen.strokeRect(at.x + cell.c * at.k - 1, at.y + cell.r * at.k - 1, at.k + 2, at.k + 2);
    }

    /* ---- words ---- */
    const percent = v => `${num(100 * v, 3)} %`;

    function say(view, length, cell) {
        const width = length / view.side, span = i => `${Math.floor(i * width)}–${Math.ceil((i + 1) * width) - 1}`;
        if (!cell) {
            let kept = 0, all = 0, covered = 0;
            for (let r = 0; r < view.side; r++) {
                const row = rowOf(view, r);
                kept += row.kept, all += row.all, covered += row.covered / view.side;
            }
            const hold = view.mass ? `, which hold ${percent(covered)} of the attention mass` : "";
            return [`All rows: ${percent(kept / all)} of the blocks kept${hold}.`,
                "Point at the map, or focus it and use the arrow keys, to read single blocks and rows."];
        }
        const i = cell.r * view.side + cell.c, share = view.share[i], row = rowOf(view, cell.r);
        const state = share >= 1 ? "kept" : share <= 0 ? "dropped" : `${percent(share)} kept`;
        const mass = m => m < 1.06e-5 ? "at most 0.001 %" : percent(m); /* the least that a map tells apart */
        const its = view.mass ? `; ${mass(view.mass[i])} of these queries' mass` : "";
        const covered = row.covered === null ? "" : `, ${percent(row.covered)} of the mass covered`;
        const missed = row.missed > 0.0005 ? `; most of what is dropped: keys ${span(row.at)}, ${percent(row.missed)}` : "";
        return [`Queries ${span(cell.r)}, keys ${span(cell.c)}: ${state}${its}.`,
            `Row: ${num(row.kept, 3)} of ${row.all} blocks kept (${percent(row.kept / row.all)})${covered}${missed}.`];
    }

    /* ---- one map ---- */
    const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], PageUp: [-8, 0], PageDown: [8, 0],
        Home: [0, -Infinity], End: [0, Infinity] };

    /* `state` is shared by the panels: { input, head, mode, cell: { r, c } in shares of the side, moved() }. */
    function panel(run, name, state) {
        const canvas = el("canvas", { tabindex: 0, role: "application", "aria-roledescription": "heat map" });
        const words = [el("p", {}), el("p", {}), el("p", {})], params = el("p", { class: "params" });
        const live = el("p", { class: "unseen", "aria-live": "polite" });
        const setting = select(name, () => update());
        const box = el("div", { class: "panel" }, setting.box, el("div", { class: "map" }, canvas), ...words, params, live);
        let view = null, pattern = null, at = null, ticket = 0;

        const cell = () => {
            if (!state.cell)
                return null;
            const r = Math.min(view.side - 1, Math.floor(state.cell.r * view.side));
            return { r, c: Math.min(r, Math.floor(state.cell.c * view.side)) };
        };

        async function update() {
            const mine = ++ticket;
            pattern = run.data.maps.patterns[Number(setting.input.value)];
            if (!pattern)
                return;
            try {
                const loaded = await load(run.data.maps, pattern, state.head);
                if (mine !== ticket)
                    return;
                view = loaded;
            } catch (error) {
                words[0].textContent = `This map cannot be decompressed: ${error.message}`;
                return;
            }
            const facts = [["rel_l2", "relative L2 error of this layer"], ["mass_recall", "mass recall"], ["speedup", "speedup"]]
                .map(([name, text]) => [text, run.get(pattern.record, name)]).filter(([, v]) => v !== null)
                .map(([text, v]) => `${text} ${num(v, 3)}`);
            words[2].textContent = facts.length ? `All heads: ${facts.join(", ")}.` : "";
            params.textContent = run.get(pattern.record, "params");
            const chosen = setting.input.selectedOptions[0].textContent;
            canvas.setAttribute("aria-label", `Blocks kept by ${chosen}. Arrow keys move between blocks.`);
            draw();
        }

        function draw() {
            if (!view || !canvas.parentNode.clientWidth)
                return;
            const ink = theme(), pen = canvas.getContext("2d"), here = cell();
            at = geometry(canvas, view.side);
            pen.imageSmoothingEnabled = false;
            pen.drawImage(cells(view, view.mass ? state.mode : "kept", ink), at.x, at.y, at.size, at.size);
            const length = run.get(pattern.record, "tokens");
            frame(pen, at, view, length, ink);
            if (here)
                pointer(pen, at, here, ink);
            const text = say(view, length, here);
            text.forEach((t, i) => { words[i].textContent = t; });
            if (document.activeElement === canvas && here)
                live.textContent = text.join(" ");
            canvas.dataset.record = pattern.record;
        }

        const go = (r, c) => {
            r = Math.max(0, Math.min(view.side - 1, r));
            state.cell = { r: (r + 0.5) / view.side, c: (Math.max(0, Math.min(r, c)) + 0.5) / view.side };
            state.moved();
        };
        const point = event => {
            if (!view)
                return;
            const edge = canvas.getBoundingClientRect();
            const c = Math.floor(((event.clientX - edge.left) * at.scale - at.x) / at.k);
            const r = Math.floor(((event.clientY - edge.top) * at.scale - at.y) / at.k);
            if (r >= 0 && r < view.side && c >= 0 && c < view.side)
                go(r, c);
        };
        canvas.addEventListener("pointermove", point);
        canvas.addEventListener("pointerdown", point);
        canvas.addEventListener("keydown", event => {
            const move = MOVES[event.key], here = view && cell();
            if (move && view)
                here ? go(here.r + move[0], here.c + move[1]) : go(view.side - 1, 0);
            else if (event.key === "Escape" && here)
                state.cell = null, state.moved();
            else
                return;
            event.preventDefault();
        });
        return { box, setting, update, draw };
    }

    function scale(name, text) {
        const ticks = [[1e-5, "0.001 %"], [1e-3, "0.1 %"], [1e-2, "1 %"], [1, "100 %"]];
        return el("div", { class: "scale" }, el("span", {}, text), el("div", { class: `ramp ${name}` }),
            el("div", { class: "ends" }, ...ticks.map(([m, t]) => el("span", { style: `left: ${100 * level(m)}%` }, t))));
    }

    /* ---- the section ---- */
    function build(run, section) {
        const { patterns, masses, note } = run.data.maps;
        section.hidden = !patterns.length && !note;
        if (!patterns.length) {
            section.append(el("p", { class: "note" }, note));
            return;
        }
        const columns = ["capture", "dtype", "layer", "tokens"];
        const inputOf = i => columns.map(c => run.get(i, c)).join("\n");
        const density = p => run.get(p.record, "density");
        const longest = [...patterns].sort((a, b) => run.get(b.record, "tokens") - run.get(a.record, "tokens"));
        const inputs = [...new Set(longest.map(p => inputOf(p.record)))];
        const captures = new Set(patterns.map(p => columns.slice(0, 2).map(c => run.get(p.record, c)).join()));
        const labels = new Map(run.data.groups.flatMap(g => g.points.flatMap(p => p.records.map(i => [i, g.curves[p.curve].label]))));
        const label = p => labels.get(p.record) || run.get(p.record, "method");

        const state = { head: 0, mode: "both", cell: null, moved: () => panels.forEach(p => p.draw()) };
        const input = select("Input", () => enter());
        const head = select("Head", v => { state.head = Number(v); panels.forEach(p => p.update()); });
        const mode = select("Show", v => { state.mode = v; state.moved(); });
        const panels = [panel(run, "Left", state), panel(run, "Right", state)];
        section.append(el("p", { class: "note" }, masses.length
            ? "Which key blocks two settings keep, over where the exact attention of the layer is: a cell is a block of keys, "
                + "a row a block of queries, and the shade of a cell its share of the row's attention mass, on a logarithmic "
                + "scale. Bars on the right: share of each row's mass inside the kept blocks."
            : "Which key blocks two settings keep: a cell is a block of keys, a row a block of queries. Bars on the right: "
                + "share of each row's blocks that is kept."));
        if (note)
            section.append(el("p", { class: "note" }, note));
        section.append(el("div", { class: "fields" }, input.box, head.box, mode.box),
            el("div", { class: "panels" }, ...panels.map(p => p.box)),
            masses.length ? el("div", { class: "scales" }, scale("kept", "kept, by attention mass"),
                scale("dropped", "dropped, by attention mass"), scale("missed", "dropped mass alone")) : "");
        input.set(inputs.map(k => {
            const [capture, dtype, layer, n] = k.split("\n");
            return [k, `${captures.size > 1 ? `${capture.split("/").at(-1)}, ${dtype}, ` : ""}layer ${layer}, ${n} tokens`];
        }));
        mode.set(masses.length ? MODES : MODES.filter(m => m[0] === "kept"));
        state.mode = mode.input.value;

        const mine = () => patterns.map((p, k) => [p, k]).filter(([p]) => inputOf(p.record) === input.input.value)
            .sort((a, b) => a[0].record - b[0].record);

        /* Of a list, the first that is about as close to a density as any. */
        function closest(list, to) {
            const off = ([p]) => Math.abs(density(p) - to), least = Math.min(...list.map(off));
            return list.find(e => off(e) <= least + 0.02 * to);
        }

        /* The settings of the input; each panel keeps its method at about its density, and at first two methods face each other. */
        function enter() {
            const list = mine(), had = panels.map(p => patterns[Number(p.setting.input.value)]);
            const first = closest(list.filter(([p]) => label(p) === label(list[0][0])), 0.2);
            const other = list.filter(([p]) => run.get(p.record, "method") !== run.get(first[0].record, "method"));
            const start = [first, closest(other.length ? other : list, density(first[0]))];
            panels.forEach((p, i) => {
                const kin = had[i] && p.setting.input.value !== "" ? list.filter(([q]) => label(q) === label(had[i])) : [];
                const wanted = kin.length ? closest(kin, density(had[i])) : start[i];
                const text = q => `${label(q)}, density ${num(density(q), 3)}`;
                p.setting.set(list.map(([q, k]) => [k, text(q), run.get(q.record, "method")]), wanted[1]);
            });
            const most = Math.max(...list.map(([p]) => p.heads));
            head.set([...(most > 1 ? Array.from({ length: most }, (_, h) => [h, `head ${h}`]) : []), [MEAN, "mean of heads"]], state.head);
            state.head = Number(head.input.value);
            panels.forEach(p => p.update());
        }
        enter();

        run.hasPattern = i => patterns.some(p => p.record === i);
        run.showPattern = i => {
            input.input.value = inputOf(i);
            enter();
            panels[0].setting.input.value = patterns.findIndex(p => p.record === i);
            panels[0].update();
            section.scrollIntoView();
            panels[0].setting.input.focus({ preventScroll: true });
        };
        new ResizeObserver(() => requestAnimationFrame(state.moved)).observe(section);
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", state.moved);
    }

    report.viewer = { build };
})();
